//! How long the values of a run are needed.

use std::collections::{HashMap, HashSet};

use crate::program::{Block, Op, Program, ValueId};

/// When values may be dropped in a run of the ops of a program, or of a block.
pub(super) struct Lifetimes {
    /// For each op, what ends with it.
    pub ops: Vec<Lifetime>,
}

/// What ends with an op.
pub(super) struct Lifetime {
    /// The values that nothing reads after the op: those whose last reader it is, and its results without a reader.
    pub dead: Vec<ValueId>,
    /// The lifetimes in each of its blocks.
    pub blocks: Vec<Lifetimes>,
}

impl Lifetimes {
    /// Those of a program. Its outputs never end.
    pub fn of_program(program: &Program) -> Self {
        let outputs = program.outputs().iter().map(|output| output.value);
        Self::of(program.ops(), &outputs.collect(), &|_| true)
    }

    /// Those of a block, which drops no values but its own.
    fn of_block(block: &Block) -> Self {
        let results = block.ops.iter().flat_map(|op| &op.results);
        let own: HashSet<ValueId> = results.chain(&block.arguments).copied().collect();
        let returned = block.results.iter().copied().collect();
        Self::of(&block.ops, &returned, &|id| own.contains(&id))
    }

    fn of(ops: &[Op], returned: &HashSet<ValueId>, is_own: &dyn Fn(ValueId) -> bool) -> Self {
        let mut last_use: HashMap<ValueId, usize> = HashMap::new();
        for (position, op) in ops.iter().enumerate() {
            let mut uses = |id: ValueId| {
                last_use.insert(id, position);
            };
            op.each_read(&mut uses);
            op.results.iter().for_each(|id| uses(*id));
        }
        let mut dead = vec![Vec::new(); ops.len()];
        for (id, position) in last_use {
            if is_own(id) && !returned.contains(&id) {
                dead[position].push(id);
            }
        }
        dead.iter_mut().for_each(|ids| ids.sort_unstable());
        let ops = ops.iter().zip(dead).map(|(op, dead)| Lifetime {
            dead,
            blocks: op.blocks.iter().map(Self::of_block).collect(),
        });
        Self { ops: ops.collect() }
    }
}
