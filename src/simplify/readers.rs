//! Where the values of a program are made and read.

use std::collections::HashMap;

use crate::program::{Op, OpKind, Operand, Program, ValueId};

/// The positions of the ops, outside of blocks, that make and read each value.
pub(super) struct Readers {
    /// By each result, the position of its op.
    made: HashMap<ValueId, usize>,
    /// By each value, the positions of the ops that read it. The end of the program stands for outputs and blocks.
    read: HashMap<ValueId, Vec<usize>>,
}

impl Readers {
    pub fn of(program: &Program) -> Self {
        let mut made = HashMap::new();
        let mut read: HashMap<ValueId, Vec<usize>> = HashMap::new();
        let end = program.ops.len();
        for (position, op) in program.ops.iter().enumerate() {
            made.extend(op.results.iter().map(|id| (*id, position)));
            let place = if op.blocks.is_empty() { position } else { end };
            op.each_read(&mut |id| read.entry(id).or_default().push(place));
        }
        for output in &program.outputs {
            read.entry(output.value).or_default().push(end);
        }
        Self { made, read }
    }

    /// The op that makes a value.
    pub fn maker<'p>(&self, program: &'p Program, id: ValueId) -> Option<&'p Op> {
        program.ops.get(*self.made.get(&id)?)
    }

    /// The op that alone reads a value, once, and its position.
    pub fn only<'p>(&self, program: &'p Program, id: ValueId) -> Option<(usize, &'p Op)> {
        match self.read.get(&id)?.as_slice() {
            [position] => Some((*position, program.ops.get(*position)?)),
            _ => None,
        }
    }

    /// The value of which another is a copy, or that value itself.
    pub fn original(&self, program: &Program, mut id: ValueId) -> ValueId {
        while let Some(op) = self.maker(program, id)
            && op.kind == OpKind::Known("assign")
            && let Some(Operand::One(copied)) = op.operands.first()
        {
            id = *copied;
        }
        id
    }
}
