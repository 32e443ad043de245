//! The vocabulary in which ops are defined.

use super::operator::Parsed;
use super::reader::OpReader;
use crate::error::Result;
use crate::normalise::{Builder, Draft};
use crate::program::ValueId;
use crate::tensor::DType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

/// Every floating-point type.
pub(super) const FLOATS: &[DType] = &[F16, BF16, F32, F64];
/// Every type but bool.
pub(super) const NUMBERS: &[DType] = &[U8, I8, I16, I32, I64, F16, BF16, F32, F64];
/// Every number but the narrow integers.
pub(super) const WIDE: &[DType] = &[I32, I64, F16, BF16, F32, F64];
/// Every type.
pub(super) const ANY: &[DType] = &[Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64];

/// The definition of one op: everything that the crate knows of it.
pub(crate) struct OpDef {
    /// The PHI name. Programs of Paddle 3 spell the op so, with a `_` behind it where the result
    /// overwrites the first operand.
    pub name: &'static str,
    /// The tensors (and shapes, axes and scalars that may be tensors) of the PHI signature, in its
    /// order.
    pub operands: &'static [Arg],
    /// The PHI names of the results, in PHI's order. Those that only training reads stand behind
    /// them and are not computed.
    pub results: &'static [&'static str],
    /// Where PIR has the results, if those that only training reads stand before them.
    pub result_positions: Option<&'static [usize]>,
    /// How programs before Paddle 3 spell it.
    pub legacy: &'static [Form],
    /// How else programs of Paddle 3 spell it.
    pub pir: &'static [Form],
    /// Attributes that say nothing about the result of an inference, in whatever form.
    pub ignored: &'static [&'static str],
    /// For ops that are others in a row: takes one apart, in whatever form.
    pub apart: Option<Rewrite>,
    /// The element types that the first operand may have, or the result where there is none.
    pub dtypes: &'static [DType],
    /// The lowest opset in which ONNX expresses the op, if not with all of its attributes.
    pub opset: u32,
    /// How closely two right implementations agree.
    pub accuracy: Accuracy,
    /// Reads operands and attributes, once and typed.
    pub parse: fn(&mut OpReader<'_>) -> Parsed,
}

/// A definition, and what sets it apart from the usual.
impl OpDef {
    /// An op with one result, on tensors of any type, exact at every opset.
    pub const fn new(
        name: &'static str,
        operands: &'static [Arg],
        legacy: &'static [Form],
        parse: fn(&mut OpReader<'_>) -> Parsed,
    ) -> Self {
        Self {
            name,
            operands,
            results: &["out"],
            result_positions: None,
            legacy,
            pir: &[],
            ignored: &[],
            apart: None,
            dtypes: ANY,
            opset: 11,
            accuracy: Accuracy::Exact,
            parse,
        }
    }

    pub const fn with_results(mut self, results: &'static [&'static str]) -> Self {
        self.results = results;
        self
    }

    pub const fn resulting(mut self, positions: &'static [usize]) -> Self {
        self.result_positions = Some(positions);
        self
    }

    pub const fn spelled(mut self, pir: &'static [Form]) -> Self {
        self.pir = pir;
        self
    }

    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    pub const fn taking(mut self, dtypes: &'static [DType]) -> Self {
        self.dtypes = dtypes;
        self
    }

    pub const fn since(mut self, opset: u32) -> Self {
        self.opset = opset;
        self
    }

    pub const fn with_accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }
}

/// An argument of a PHI signature that is an operand, by its name there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg {
    /// One tensor.
    Tensor(&'static str),
    /// One tensor, which may be absent.
    Optional(&'static str),
    /// A list of tensors.
    List(&'static str),
    /// A list of integers: one tensor of rank 1, or a list of tensors with one element each.
    IntArray(&'static str),
    /// A single number.
    Scalar(&'static str),
}

impl Arg {
    pub const fn name(self) -> &'static str {
        match self {
            Arg::Tensor(name)
            | Arg::Optional(name)
            | Arg::List(name)
            | Arg::IntArray(name)
            | Arg::Scalar(name) => name,
        }
    }
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
    /// Not at all: its values are drawn.
    Random,
}

/// One form that an op has in files. Attributes keep their names unless renamed.
pub(crate) struct Form {
    /// Op types in `ProgramDesc`, or op names in PIR.
    pub names: &'static [&'static str],
    /// Where each PHI operand comes from.
    pub operands: &'static [From],
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
pub(crate) enum From {
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
        operands: &'static [From],
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
        operands: &'static [From],
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
