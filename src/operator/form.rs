//! How files spell an op.

use crate::error::Result;
use crate::program::{Builder, Draft, ValueId};

/// One spelling that an op has in files, and how it differs from the op's definition. Attributes keep their names
/// unless they are renamed.
pub struct Form {
    /// The op's types in `ProgramDesc`, or its names in PIR.
    pub names: &'static [&'static str],
    /// Where each operand of the definition comes from, in the definition's order.
    pub operands: &'static [Binding],
    /// For PIR, where operands have positions alone: a name for each position, which `operands` refers to.
    pub positions: &'static [&'static str],
    /// The operand that the result overwrites; in `ProgramDesc` the output slot, whose variable is read before.
    pub overwritten: Option<&'static str>,
    /// For PIR: results that only training changes, so that they hold what an operand holds. Pairs of the positions of
    /// the result and the operand.
    pub kept: &'static [(usize, usize)],
    /// For `ProgramDesc`: the output slots that hold the results of the definition, in its order. Other output slots
    /// are not computed.
    pub results: &'static [&'static str],
    /// Attributes that have another name in the definition, as pairs of the name in this form and the PHI name.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Attributes of this form that do not change the result of an inference.
    pub ignored: &'static [&'static str],
    /// For a form that differs by more than names: takes what the other fields give, emits the op, and returns its
    /// results.
    pub rewrite: Option<Rewrite>,
}

/// Emits other ops for one that was read, and returns the values that stand for its results.
///
/// # Errors
/// When an operand or attribute is not what the op expects.
pub type Rewrite = fn(&mut Builder, Draft) -> Result<Vec<ValueId>>;

/// Where an operand comes from.
#[derive(Debug, Clone, Copy)]
pub enum Binding {
    /// The one tensor in this slot.
    Slot(&'static str),
    /// The one tensor in this slot, which may be empty.
    Optional(&'static str),
    /// All tensors in this slot.
    List(&'static str),
    /// A list of integers. The first of `slots` that is not empty is taken: one tensor of rank 1, or several of one
    /// element each. If all are empty, the attribute is, which may name such tensors, too.
    IntArray {
        /// The attribute's name.
        attr: &'static str,
        /// The slots, the preferred one first.
        slots: &'static [&'static str],
    },
    /// A single number: the tensor in the first of `slots` that is not empty, else the attribute.
    Scalar {
        /// The attribute's name.
        attr: &'static str,
        /// The slots, the preferred one first.
        slots: &'static [&'static str],
    },
    /// Nowhere: [`Form::rewrite`] gives it.
    Rewrite,
}

impl Form {
    /// A form in `ProgramDesc` that differs from the definition by names alone.
    pub const fn legacy(
        names: &'static [&'static str],
        operands: &'static [Binding],
        results: &'static [&'static str],
    ) -> Self {
        Self {
            names,
            operands,
            positions: &[],
            overwritten: None,
            kept: &[],
            results,
            renamed: &[],
            ignored: &[],
            rewrite: None,
        }
    }

    /// A form in PIR. `positions` names the operands, and `operands` says which of them the definition's are.
    pub const fn pir(
        names: &'static [&'static str],
        positions: &'static [&'static str],
        operands: &'static [Binding],
    ) -> Self {
        let mut form = Self::legacy(names, operands, &[]);
        form.positions = positions;
        form
    }

    /// Sets [`Form::overwritten`].
    pub const fn overwriting(mut self, operand: &'static str) -> Self {
        self.overwritten = Some(operand);
        self
    }

    /// Sets [`Form::kept`].
    pub const fn keeping(mut self, kept: &'static [(usize, usize)]) -> Self {
        self.kept = kept;
        self
    }

    /// Sets [`Form::renamed`].
    pub const fn renaming(mut self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        self.renamed = renamed;
        self
    }

    /// Sets [`Form::ignored`].
    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    /// Sets [`Form::rewrite`].
    pub const fn rewriting(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }
}
