//! The vocabulary in which ops are defined.

use super::operator::Parsed;
use super::reader::OpReader;
use crate::error::Result;
use crate::normalise::{Builder, Draft};

/// The definition of one op: everything that the crate knows of it.
pub(crate) struct OpDef {
    /// The PHI name.
    pub name: &'static str,
    /// The PHI argument names of the tensors (and of shapes, axes and scalars that may be
    /// tensors), in the order of the PHI signature.
    pub operands: &'static [&'static str],
    /// How programs before Paddle 3 spell it.
    pub legacy: &'static [Legacy],
    /// How closely two right implementations agree.
    pub accuracy: Accuracy,
    /// Reads operands and attributes, once and typed.
    pub parse: fn(&mut OpReader<'_>) -> Parsed,
}

/// How closely two right implementations of an op agree, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accuracy {
    /// To the bit: data is moved or converted.
    Exact,
    /// Up to the rounding of a few operations per element.
    Rounded,
    /// Up to the rounding of a long sum, or of a transcendental function.
    Accumulated,
}

/// One legacy form of an op. Attributes keep their names unless renamed.
pub(crate) struct Legacy {
    /// Op types in `ProgramDesc`.
    pub names: &'static [&'static str],
    /// Where each PHI operand comes from.
    pub operands: &'static [From],
    /// The slots of the results, in PHI's order. Other slots are not computed.
    pub results: &'static [&'static str],
    /// Attributes whose PHI name differs, as (legacy, PHI).
    pub renamed: &'static [(&'static str, &'static str)],
    /// Attributes that say nothing about the result of an inference.
    pub ignored: &'static [&'static str],
    /// For forms that differ by more than names: takes what the table gives, and emits the op.
    pub rewrite: Option<Rewrite>,
}

/// See [`Legacy::rewrite`].
pub(crate) type Rewrite = fn(&mut Builder<'_>, Draft) -> Result<()>;

/// Where a PHI operand comes from in a legacy op.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    /// The one variable of this slot.
    Slot(&'static str),
    /// The same, where the slot may be empty.
    Optional(&'static str),
    /// All variables of this slot.
    List(&'static str),
    /// A list of integers: the first of `slots` that is not empty wins (one tensor of rank 1, or
    /// a list of tensors with one element each), else the attribute.
    IntArray {
        attr: &'static str,
        slots: &'static [&'static str],
    },
    /// A single number: the slot's tensor if there is one, else the attribute.
    Scalar {
        attr: &'static str,
        slot: &'static str,
    },
    /// Given by [`Legacy::rewrite`].
    Rewrite,
}

impl Legacy {
    /// A form that differs from PHI by its names alone.
    pub const fn new(
        names: &'static [&'static str],
        operands: &'static [From],
        results: &'static [&'static str],
    ) -> Self {
        Self {
            names,
            operands,
            results,
            renamed: &[],
            ignored: &[],
            rewrite: None,
        }
    }

    pub const fn renaming(mut self, renamed: &'static [(&'static str, &'static str)]) -> Self {
        self.renamed = renamed;
        self
    }

    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    pub const fn rewriting(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }
}
