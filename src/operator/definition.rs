//! The vocabulary in which ops are defined.

use super::form::{Form, Rewrite};
use super::interface::Parse;
use crate::tensor::DType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

/// Every floating-point type.
pub(crate) const FLOATS: &[DType] = &[F16, BF16, F32, F64];
/// Every type but bool.
pub(crate) const NUMBERS: &[DType] = &[U8, I8, I16, I32, I64, F16, BF16, F32, F64];
/// Every number but the narrow integers.
pub(crate) const WIDE: &[DType] = &[I32, I64, F16, BF16, F32, F64];
/// Every type.
pub(crate) const ANY: &[DType] = &[Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64];

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
    pub parse: Parse,
}

/// A definition, and what sets it apart from the usual.
impl OpDef {
    /// An op with one result, on tensors of any type, exact at every opset.
    pub const fn new(
        name: &'static str,
        operands: &'static [Arg],
        legacy: &'static [Form],
        parse: Parse,
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

    pub const fn with_result_positions(mut self, positions: &'static [usize]) -> Self {
        self.result_positions = Some(positions);
        self
    }

    pub const fn with_pir(mut self, pir: &'static [Form]) -> Self {
        self.pir = pir;
        self
    }

    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    pub const fn with_dtypes(mut self, dtypes: &'static [DType]) -> Self {
        self.dtypes = dtypes;
        self
    }

    pub const fn with_opset(mut self, opset: u32) -> Self {
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
