//! The definition of an op.

use super::argument::Arg;
use super::complex::{Complex, ComplexRewrite};
use super::control::Control;
use super::form::{Form, Rewrite};
use super::interface::Parse;
use super::reader::OpReader;
use crate::error::Result;
use crate::program::Op;
use crate::tensor::DType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

/// Every floating-point type.
pub const FLOATS: &[DType] = &[F16, BF16, F32, F64];
/// Every type but bool.
pub const NUMBERS: &[DType] = &[U8, I8, I16, I32, I64, F16, BF16, F32, F64];
/// Every type but bool and the integers of 8 and 16 bits.
pub const WIDE: &[DType] = &[I32, I64, F16, BF16, F32, F64];
/// Every type.
pub const ANY: &[DType] = &[Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64];

/// The definition of one op: everything that is known of it.
///
/// [`OpDef::new`] makes the usual one, and the methods behind it say what is special:
///
/// ```
/// use paddle2onnx::operator::{Accuracy, Arg, Binding, FLOATS, Form, OpDef, Parse};
///
/// # const parse: Parse = |_| Err(paddle2onnx::Error::unsupported("an example"));
/// const LAYER_NORM: OpDef = OpDef::new(
///     "layer_norm",
///     &[Arg::Tensor("x"), Arg::Optional("scale"), Arg::Optional("bias")],
///     &[Form::legacy(
///         &["layer_norm"],
///         &[Binding::Slot("X"), Binding::Optional("Scale"), Binding::Optional("Bias")],
///         &["Y"],
///     )],
///     parse,
/// )
/// .with_dtypes(FLOATS)
/// .with_accuracy(Accuracy::Accumulated);
/// ```
pub struct OpDef {
    /// The PHI name. Programs of Paddle 3 spell the op so, with a `_` at the end where the result overwrites the first
    /// operand. A custom op has its dialect in front, as in `custom_op.my_relu`.
    pub name: &'static str,
    /// The arguments of the PHI signature that are tensors or may be (shapes, axes, scalars), in the signature's order.
    pub operands: &'static [Arg],
    /// The PHI names of the results that are computed, in PHI's order. Results that training alone reads are not.
    pub results: &'static [&'static str],
    /// The positions of these results in PIR, where results that are not computed stand before them.
    pub result_positions: Option<&'static [usize]>,
    /// The spellings in programs of the older format, `ProgramDesc`.
    pub legacy: &'static [Form],
    /// The spellings in programs of Paddle 3 that differ from `name` and `operands`.
    pub pir: &'static [Form],
    /// The attributes, in any spelling, that do not change the result of an inference.
    pub ignored: &'static [&'static str],
    /// For an op that is a sequence of others: emits those in its place, whatever the spelling.
    pub apart: Option<Rewrite>,
    /// What becomes of complex operands and results.
    pub complex: Complex,
    /// The element types that the first operand may have, or the first result where there is no operand.
    pub dtypes: &'static [DType],
    /// The lowest opset in which ONNX expresses the op. Some of its attributes may need a higher one.
    pub opset: u32,
    /// How closely two right implementations agree.
    pub accuracy: Accuracy,
    /// Whether the op may be computed although Paddle would not: it has a result for all operands whose types and shapes
    /// fit it, whatever their elements are.
    pub is_speculatable: bool,
    /// Whether it chooses among boxes, its first operand, by scores, its second, and drops those that overlap better ones.
    pub(crate) chooses_boxes: bool,
    /// For a product, which is linear in its first operand and in its second, a weight: its channels.
    pub(crate) channels: Option<Channels>,
    /// What can't be converted, each as a noun.
    pub limits: &'static [&'static str],
    /// Whether files have it. Otherwise readers alone make it.
    pub(crate) is_in_files: bool,
    /// Reads the operands and attributes of one occurrence, once and typed.
    pub(crate) parse: Reading,
}

/// For an occurrence of a product whose result and weight have these ranks, the axes of both that are the same: a factor for
/// each position along the one may as well be applied along the other. None if there are no such axes.
pub(crate) type Channels = fn(&Op, [usize; 2]) -> Option<[usize; 2]>;

/// What reads an occurrence of an op.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    /// For an op without blocks.
    Plain(Parse),
    /// For an op that holds blocks.
    Control(fn(&mut OpReader<'_>) -> Result<Box<dyn Control>>),
}

impl OpDef {
    /// An op with one result, `out`, on tensors of any type, exact at every opset.
    pub const fn new(
        name: &'static str,
        operands: &'static [Arg],
        legacy: &'static [Form],
        parse: Parse,
    ) -> Self {
        Self::read_by(name, operands, legacy, Reading::Plain(parse))
    }

    pub(crate) const fn read_by(
        name: &'static str,
        operands: &'static [Arg],
        legacy: &'static [Form],
        parse: Reading,
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
            complex: Complex::Refused,
            dtypes: ANY,
            opset: 7,
            accuracy: Accuracy::Exact,
            is_speculatable: false,
            chooses_boxes: false,
            channels: None,
            limits: &[],
            is_in_files: true,
            parse,
        }
    }

    /// Unsets [`OpDef::is_in_files`].
    pub(crate) const fn in_no_file(mut self) -> Self {
        self.is_in_files = false;
        self
    }

    /// Whether the op holds blocks of other ops.
    pub(crate) const fn holds_blocks(&self) -> bool {
        matches!(self.parse, Reading::Control(_))
    }

    /// Sets [`OpDef::results`].
    pub const fn with_results(mut self, results: &'static [&'static str]) -> Self {
        self.results = results;
        self
    }

    /// Sets [`OpDef::result_positions`].
    pub const fn with_result_positions(mut self, positions: &'static [usize]) -> Self {
        self.result_positions = Some(positions);
        self
    }

    /// Sets [`OpDef::pir`].
    pub const fn with_pir(mut self, pir: &'static [Form]) -> Self {
        self.pir = pir;
        self
    }

    /// Sets [`OpDef::ignored`].
    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Self {
        self.ignored = ignored;
        self
    }

    /// The op does to either part of complex operands, which have these names, what it does to real ones.
    pub const fn part_by_part(mut self, operands: &'static [&'static str]) -> Self {
        self.complex = Complex::PartByPart(operands);
        self
    }

    /// Of complex operands, the op takes the real parts alone.
    pub const fn on_real_parts(mut self) -> Self {
        self.complex = Complex::RealParts;
        self
    }

    /// The op is others where operands or results are complex.
    pub const fn on_complex(mut self, rewrite: ComplexRewrite) -> Self {
        self.complex = Complex::Rewritten(rewrite);
        self
    }

    /// Sets [`OpDef::dtypes`].
    pub const fn with_dtypes(mut self, dtypes: &'static [DType]) -> Self {
        self.dtypes = dtypes;
        self
    }

    /// Sets [`OpDef::opset`].
    pub const fn with_opset(mut self, opset: u32) -> Self {
        self.opset = opset;
        self
    }

    /// Sets [`OpDef::accuracy`].
    pub const fn with_accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// Sets [`OpDef::is_speculatable`].
    pub const fn speculatable(mut self) -> Self {
        self.is_speculatable = true;
        self
    }

    /// Sets [`OpDef::chooses_boxes`].
    pub(crate) const fn choosing_boxes(mut self) -> Self {
        self.chooses_boxes = true;
        self
    }

    /// Sets [`OpDef::channels`].
    pub(crate) const fn with_channels(mut self, channels: Channels) -> Self {
        self.channels = Some(channels);
        self
    }

    /// Sets [`OpDef::limits`].
    pub const fn with_limits(mut self, limits: &'static [&'static str]) -> Self {
        self.limits = limits;
        self
    }
}

/// How closely two right implementations of an op agree, in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accuracy {
    /// To the bit: elements are moved or converted.
    Exact,
    /// Up to the rounding of a few operations per element.
    Rounded,
    /// Up to the rounding of a long sum, or of a transcendental function.
    Accumulated,
    /// As `Accumulated`, for an op whose result has the shape of its operand, and each element sums along an axis of it.
    AlongAxis,
    /// Up to the rounding of numbers near 1, from which runtimes compute results however small: a sigmoid is
    /// `(1 + tanh(x / 2)) / 2`.
    NearOne,
    /// Up to the rounding of positions between elements, which grows with the extents of the operand.
    Positions,
    /// To the bit, but for elements so near to the edge between two steps that the rounding of the operands decides.
    Stepped,
    /// Not at all: the elements are random numbers.
    Random,
}

impl Accuracy {
    /// The magnitude of numbers from which results may be computed, however small these are: 1 or, as a rule, 0.
    pub(crate) fn hidden_magnitude(self) -> f64 {
        if self == Accuracy::NearOne { 1.0 } else { 0.0 }
    }
}
