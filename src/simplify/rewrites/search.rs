//! A way through the ops of a program, from which a rewrite knows those before each.

use std::collections::HashMap;

use super::{count_reads, each_list, is, known_shapes, operand};
use crate::operator::Registry;
use crate::program::{Op, Program, ValueId};
use crate::simplify::replaced::Replaced;
use crate::tensor::Dim;

/// What is known of a program on the way through its ops.
pub(super) struct Search<'s> {
    pub program: &'s mut Program,
    pub reads: HashMap<ValueId, usize>,
    /// How often the shape alone of each value is read.
    shape_reads: HashMap<ValueId, usize>,
    pub shapes: Vec<Vec<Dim>>,
    pub replaced: Replaced,
    /// Ops to be put in front of the one that is rewritten.
    pub in_front: Vec<Op>,
}

impl<'s> Search<'s> {
    pub fn of(program: &'s mut Program, registry: &Registry) -> Self {
        Self {
            reads: count_reads(program),
            shape_reads: count_shape_reads(program),
            shapes: known_shapes(program, registry),
            replaced: Replaced::default(),
            in_front: Vec::new(),
            program,
        }
    }

    /// Rewrites each op by `rewritten`, which keeps what it needs of the ops before it in a map.
    pub fn each_op<V>(mut self, rewritten: fn(&mut Self, &mut Op, &mut HashMap<ValueId, V>)) {
        let ops = std::mem::take(&mut self.program.ops);
        let ops = each_list(ops, &mut |ops| {
            let mut before = HashMap::new();
            let mut kept = Vec::with_capacity(ops.len());
            for mut op in ops {
                rewritten(&mut self, &mut op, &mut before);
                kept.append(&mut self.in_front);
                kept.push(op);
            }
            kept
        });
        self.program.ops = ops;
        self.replaced.apply(self.program);
    }

    /// What is known of the first operand of an op, if nothing else reads it.
    pub fn of_alone<'v, V>(&self, op: &Op, before: &'v HashMap<ValueId, V>) -> Option<&'v V> {
        let x = operand(op, 0)?;
        before.get(&x).filter(|_| self.reads.get(&x) == Some(&1))
    }

    /// As [`Search::of_alone`], if nothing else reads the elements. What computes them has to stay for what reads the shape,
    /// which seldom becomes a node, since shapes are known by then as far as they can be.
    pub fn of_elements_alone<'v, V>(
        &self,
        op: &Op,
        before: &'v HashMap<ValueId, V>,
    ) -> Option<&'v V> {
        let x = operand(op, 0)?;
        let count = |reads: &HashMap<ValueId, usize>| reads.get(&x).copied().unwrap_or_default();
        before
            .get(&x)
            .filter(|_| count(&self.reads) == count(&self.shape_reads) + 1)
    }
}

/// How often ops that give shapes read each value.
fn count_shape_reads(program: &Program) -> HashMap<ValueId, usize> {
    let mut reads = HashMap::new();
    let gives_shape = |op: &&Op| is(op, "shape") || is(op, "shape64");
    let shapes = program.all_ops().filter(gives_shape);
    for x in shapes.filter_map(|op| operand(op, 0)) {
        *reads.entry(x).or_insert(0) += 1;
    }
    reads
}
