//! The `fake_` ops, which quantise or dequantise in float32, as exports of quantisers before and in training have them.
//! All of them are made of `abs_max`, `quantize_linear` and `dequantize_linear`.
//!
//! Paddle: `phi/kernels/impl/fake_{quantize,dequantize}_kernel_impl.h`.

use super::levels::largest_level;
use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, ValueId};
use crate::tensor::DType;

const X: &[Binding] = &[Binding::Slot("X")];
const X_ARG: &[Arg] = &[Arg::Tensor("x")];
const OUT_AND_SCALE: &[&str] = &["out", "out_scale"];
const SLOTS: &[&str] = &["Out", "OutScale"];
const F32: &[DType] = &[DType::F32];

/// A `fake_` op on a tensor whose largest element gives the scale.
macro_rules! of_abs_max {
    ($name:literal, $apart:expr) => {
        decomposed(
            $name,
            X_ARG,
            &[Form::legacy(&[$name], X, SLOTS)],
            F32,
            $apart,
        )
        .with_results(OUT_AND_SCALE)
    };
}

/// A `fake_` op on a tensor and the scale that training has found. Training alone reads the operands behind these.
macro_rules! of_scale {
    ($name:literal, [$($state:literal $slot:literal),*], $apart:expr) => {
        decomposed(
            $name,
            &[
                Arg::Tensor("x"),
                Arg::Tensor("in_scale"),
                $(Arg::Optional($state)),*
            ],
            &[Form::legacy(
                &[$name],
                &[
                    Binding::Slot("X"),
                    Binding::Slot("InScale"),
                    $(Binding::Optional($slot)),*
                ],
                SLOTS,
            )],
            F32,
            $apart,
        )
        .with_results(OUT_AND_SCALE)
        .ignoring(&["moving_rate", "window_size"])
        .with_limits(&["training mode"])
    };
}

pub(super) const OPS: &[OpDef] = &[
    of_abs_max!("fake_quantize_abs_max", |builder, draft| {
        by_abs_max(builder, draft, false, false)
    }),
    of_abs_max!("fake_quantize_dequantize_abs_max", |builder, draft| {
        by_abs_max(builder, draft, false, true)
    })
    .with_opset(9),
    of_abs_max!(
        "fake_channel_wise_quantize_dequantize_abs_max",
        |builder, draft| by_abs_max(builder, draft, true, true)
    ),
    decomposed(
        "fake_channel_wise_quantize_abs_max",
        &[Arg::Tensor("x"), Arg::Optional("scale")],
        &[Form::legacy(
            &["fake_channel_wise_quantize_abs_max"],
            &[Binding::Slot("X"), Binding::Optional("OutScale")],
            SLOTS,
        )
        .overwriting("OutScale")],
        F32,
        channel_wise,
    )
    .with_opset(9)
    .with_results(OUT_AND_SCALE),
    of_scale!(
        "fake_quantize_range_abs_max",
        ["iter" "Iter"],
        |builder, draft| by_scale(builder, draft, false)
    )
    .with_opset(9),
    of_scale!(
        "fake_quantize_moving_average_abs_max",
        ["in_accum" "InAccum", "in_state" "InState"],
        |builder, draft| by_scale(builder, draft, false)
    )
    .with_opset(9),
    of_scale!(
        "fake_quantize_dequantize_moving_average_abs_max",
        ["in_accum" "InAccum", "in_state" "InState"],
        |builder, draft| by_scale(builder, draft, true)
    )
    .with_opset(9),
    decomposed(
        "fake_dequantize_max_abs",
        &[Arg::Tensor("x"), Arg::Tensor("scale")],
        &[Form::legacy(
            &["fake_dequantize_max_abs"],
            &[Binding::Slot("X"), Binding::Slot("Scale")],
            &["Out"],
        )],
        F32,
        dequantized,
    ),
    decomposed(
        "fake_channel_wise_dequantize_max_abs",
        &[Arg::Tensor("x"), Arg::List("scales")],
        &[Form::legacy(
            &["fake_channel_wise_dequantize_max_abs"],
            &[Binding::Slot("X"), Binding::List("Scales")],
            &["Out"],
        )],
        F32,
        channel_wise_dequantized,
    ),
    decomposed(
        "moving_average_abs_max_scale",
        &[
            Arg::Tensor("x"),
            Arg::Optional("in_accum"),
            Arg::Optional("in_state"),
        ],
        &[Form::legacy(
            &["moving_average_abs_max_scale"],
            &[
                Binding::Slot("X"),
                Binding::Optional("InAccum"),
                Binding::Optional("InState"),
            ],
            &["Out"],
        )],
        F32,
        observed,
    )
    .ignoring(&["moving_rate"]),
];

/// How a tensor is quantised.
struct Quantised {
    /// The axis with a scale for each position, or -1.
    axis: i64,
    qmax: i32,
    round_type: i64,
}

impl Quantised {
    fn take(parts: &mut Decomposition<'_>, axis: i64) -> Result<Self> {
        let bits: i64 = parts.attr("bit_length", 8)?;
        Ok(Self {
            axis,
            qmax: largest_level(bits)?,
            round_type: parts.attr("round_type", 1)?,
        })
    }

    /// The axis of a channel-wise op, which Paddle's kernels take only if it is 0 or 1.
    fn take_axis(parts: &mut Decomposition<'_>) -> Result<i64> {
        let axis: i64 = parts.attr("quant_axis", 0)?;
        match axis {
            0 | 1 => Ok(axis),
            other => Err(Error::malformed(format!("a quant_axis of {other}"))),
        }
    }

    /// Emits `abs_max`.
    fn scale(&self, parts: &mut Decomposition<'_>, x: ValueId) -> ValueId {
        parts.op("abs_max", &[x], &[("axis", Attr::Int(self.axis))], 1)
    }

    /// Emits `quantize_linear` and, if that is asked for, `dequantize_linear`.
    fn emit(
        &self,
        parts: &mut Decomposition<'_>,
        x: ValueId,
        scale: ValueId,
        and_back: bool,
    ) -> ValueId {
        let rank = parts.rank(x);
        let attrs = [
            ("quant_axis", Attr::Int(self.axis)),
            ("qmax", Attr::Int(self.qmax.into())),
            ("round_type", Attr::Int(self.round_type)),
        ];
        let operands = [Some(x), Some(scale), None];
        let levels = parts.op("quantize_linear", &operands, &attrs, rank);
        if !and_back {
            return levels;
        }
        dequantize(parts, levels, scale, self.axis, self.qmax.into())
    }
}

/// Emits `dequantize_linear`.
fn dequantize(
    parts: &mut Decomposition<'_>,
    x: ValueId,
    scale: ValueId,
    axis: i64,
    max_range: f64,
) -> ValueId {
    let attrs = [
        ("quant_axis", Attr::Int(axis)),
        ("max_range", Attr::Float(max_range)),
    ];
    let operands = [Some(x), Some(scale), None];
    parts.op("dequantize_linear", &operands, &attrs, parts.rank(x))
}

/// Quantises by the scale that the largest element gives, of the whole or along an axis.
fn by_abs_max(
    builder: &mut Builder,
    draft: Draft,
    is_channel_wise: bool,
    and_back: bool,
) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let axis = match is_channel_wise {
        true => Quantised::take_axis(&mut parts)?,
        false => -1,
    };
    let quantised = Quantised::take(&mut parts, axis)?;
    let x = parts.operand(0)?;
    let scale = quantised.scale(&mut parts, x);
    let result = quantised.emit(&mut parts, x, scale, and_back);
    parts.finish(&[result, scale])
}

/// Quantises along an axis: by the largest elements, or, in evaluation mode, by what the variable of the scales holds.
fn channel_wise(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let axis = Quantised::take_axis(&mut parts)?;
    let quantised = Quantised::take(&mut parts, axis)?;
    let is_test = parts.attr("is_test", false)?;
    let x = parts.operand(0)?;
    let scale = match (is_test, parts.optional(1)) {
        (false, _) => quantised.scale(&mut parts, x),
        (true, Some(scale)) => scale,
        (true, None) => {
            return Err(Error::unsupported(
                "evaluation mode with a scale that nothing has written",
            ));
        }
    };
    let result = quantised.emit(&mut parts, x, scale, false);
    parts.finish(&[result, scale])
}

/// Quantises by the scale that training has found.
fn by_scale(builder: &mut Builder, draft: Draft, and_back: bool) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let quantised = Quantised::take(&mut parts, -1)?;
    if !parts.attr("is_test", false)? {
        return Err(Error::unsupported(
            "training mode, in which every run changes the scale; export the model in evaluation mode",
        ));
    }
    let (x, scale) = (parts.operand(0)?, parts.operand(1)?);
    let result = quantised.emit(&mut parts, x, scale, and_back);
    parts.finish(&[result, scale])
}

/// `x · scale / max_range`
fn dequantized(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let max_range: f64 = parts.attr("max_range", 127.0)?;
    let (x, scale) = (parts.operand(0)?, parts.operand(1)?);
    let result = dequantize(&mut parts, x, scale, -1, max_range);
    parts.finish(&[result])
}

/// `x · scale / qmax` along an axis; or, with two scales, those of a weight along an axis of the product, and that of the
/// other operand.
fn channel_wise_dequantized(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let bits: Vec<i64> = parts.attr("quant_bits", vec![8])?;
    let axis: i64 = parts.attr("quant_axis", 0)?;
    let columns: i64 = parts.attr("x_num_col_dims", 1)?;
    let (x, scales) = (parts.operand(0)?, parts.list(1)?);
    let largest = |position: usize| -> Result<f64> {
        let bits = bits.get(position).copied();
        let bits = bits.ok_or_else(|| Error::malformed("fewer quant_bits than scales"))?;
        Ok(largest_level(bits)?.into())
    };
    let result = match scales.as_slice() {
        [scale] => dequantize(&mut parts, x, *scale, axis, largest(0)?),
        [weight, other] => {
            let x = dequantize(&mut parts, x, *weight, columns, largest(0)?);
            dequantize(&mut parts, x, *other, -1, largest(1)?)
        }
        other => return Err(Error::malformed(format!("{} scales", other.len()))),
    };
    parts.finish(&[result])
}

/// `x`, which training observes.
fn observed(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    parts.finish(&[x])
}
