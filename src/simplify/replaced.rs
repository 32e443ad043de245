//! Values in whose place others are read.

use std::collections::HashMap;

use crate::program::{Op, Program, ValueId};

/// For each value that another replaces, that value, which may be replaced as well.
#[derive(Default)]
pub(super) struct Replaced(HashMap<ValueId, ValueId>);

impl Replaced {
    pub fn insert(&mut self, old: ValueId, new: ValueId) {
        // A value that stands for itself would be followed for ever.
        let new = self.latest(new);
        if new != old {
            self.0.insert(old, new);
        }
    }

    /// Replaces the first of each pair by the second.
    pub fn extend(&mut self, pairs: impl IntoIterator<Item = (ValueId, ValueId)>) {
        pairs
            .into_iter()
            .for_each(|(old, new)| self.insert(old, new));
    }

    /// Whether another is read in place of this value.
    pub fn holds(&self, value: ValueId) -> bool {
        self.0.contains_key(&value)
    }

    fn latest(&self, mut value: ValueId) -> ValueId {
        while let Some(new) = self.0.get(&value) {
            value = *new;
        }
        value
    }

    pub fn apply_to(&self, value: &mut ValueId) {
        *value = self.latest(*value);
    }

    /// Makes an op, and those in its blocks, read what replaces.
    pub fn apply_to_op(&self, op: &mut Op) {
        op.each_read_mut(&mut |value| self.apply_to(value));
    }

    /// Makes all that a program reads and returns what replaces it.
    pub fn apply(&self, program: &mut Program) {
        program.ops.iter_mut().for_each(|op| self.apply_to_op(op));
        let outputs = program.outputs.iter_mut();
        outputs.for_each(|output| self.apply_to(&mut output.value));
    }
}
