//! How files spell an op: the forms that a definition has in either format.

use crate::error::Result;
use crate::program::{Builder, Draft, ValueId};

/// One form that an op has in files. Attributes keep their names unless renamed.
pub(crate) struct Form {
    /// Op types in `ProgramDesc`, or op names in PIR.
    pub names: &'static [&'static str],
    /// Where each PHI operand comes from.
    pub operands: &'static [Binding],
    /// Names for the operands of a PIR op, which have positions alone.
    pub positions: &'static [&'static str],
    /// The operand that a PIR op overwrites with its result.
    pub overwritten: Option<&'static str>,
    /// The results of a PIR op that hold what an operand does, which training alone changes, with
    /// the operand: both by position.
    pub kept: &'static [(usize, usize)],
    /// The slots of the results, in PHI's order. Other slots are not computed.
    pub results: &'static [&'static str],
    /// Attributes whose PHI name differs, as (this form's, PHI's).
    pub renamed: &'static [(&'static str, &'static str)],
    /// Attributes of this form that say nothing about the result of an inference.
    pub ignored: &'static [&'static str],
    /// An attribute that programs from before Paddle 3 get, whose kernels did something else.
    pub former: Option<&'static str>,
    /// For forms that differ by more than names: takes what the table gives, emits the op, and
    /// returns the results.
    pub rewrite: Option<Rewrite>,
}

/// See [`Form::rewrite`].
pub(crate) type Rewrite = fn(&mut Builder, Draft) -> Result<Vec<ValueId>>;

/// Where a PHI operand comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Binding {
    /// The one tensor of this slot.
    Slot(&'static str),
    /// The same, where the slot may be empty.
    Optional(&'static str),
    /// All tensors of this slot.
    List(&'static str),
    /// A list of integers: the first of `slots` that is not empty wins (one tensor of rank 1, or
    /// a list of tensors with one element each), else the attribute, which may name such tensors
    /// too.
    IntArray {
        attr: &'static str,
        slots: &'static [&'static str],
    },
    /// A single number: the first of `slots` that is not empty, else the attribute.
    Scalar {
        attr: &'static str,
        slots: &'static [&'static str],
    },
    /// Given by [`Form::rewrite`].
    Rewrite,
}

impl Form {
    /// A form in `ProgramDesc` that differs from PHI by its names alone.
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
            former: None,
            rewrite: None,
        }
    }

    /// A form in PIR, with names for its operands, from which those of the definition come.
    pub const fn pir(
        names: &'static [&'static str],
        positions: &'static [&'static str],
        operands: &'static [Binding],
    ) -> Self {
        let mut form = Self::legacy(names, operands, &[]);
        form.positions = positions;
        form
    }

    pub const fn overwriting(mut self, operand: &'static str) -> Self {
        self.overwritten = Some(operand);
        self
    }

    pub const fn keeping(mut self, kept: &'static [(usize, usize)]) -> Self {
        self.kept = kept;
        self
    }

    pub const fn renaming(mut self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        self.renamed = renamed;
        self
    }

    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    pub const fn formerly(mut self, attr: &'static str) -> Self {
        self.former = Some(attr);
        self
    }

    pub const fn rewriting(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }
}
