//! `quantize_linear`: the whole number that is nearest to each element on a scale.

use super::levels::{INT8, Levels, Rounding};
use super::scales::Scales;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::with_reals;
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::rounding::lower_round_away;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{DType, Tensor};

/// The operands of both ops; training alone reads the last two, and nothing the zero point.
pub(super) const OPERANDS: &[Arg] = &[
    Arg::Tensor("x"),
    Arg::Tensor("scale"),
    Arg::Optional("zero_point"),
    Arg::Optional("in_accum"),
    Arg::Optional("in_state"),
];

/// Where these are in programs of the older format.
pub(super) const LEGACY: &[Binding] = &[
    Binding::Slot("X"),
    Binding::Slot("Scale"),
    Binding::Optional("ZeroPoint"),
    Binding::Optional("InAccum"),
    Binding::Optional("InState"),
];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "quantize_linear",
    OPERANDS,
    &[Form::legacy(&["quantize_linear"], LEGACY, &["Y"])],
    Quantize::parse,
)
.with_dtypes(&[DType::F32])
.ignoring(&["moving_rate"])
.with_accuracy(Accuracy::Stepped)
.with_limits(&["training mode", "float8"])];

/// `round(x · qmax / scale)`, clipped as [`Rounding`] says, in float32. `scale` has one element, or one for each position
/// along `quant_axis`. The zero point is not read, in any version of Paddle.
///
/// Paddle: `phi/kernels/impl/quantize_linear_impl.h`. ONNX: QuantizeLinear for 8 bits and known scales; otherwise Mul,
/// Round and Clip.
struct Quantize {
    x: ValueId,
    scales: Scales,
    levels: Levels,
    /// Whether the op only observes what passes through it.
    is_observer: bool,
}

impl Quantize {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        refuse_training(op)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scales: Scales::parse(op)?,
            levels: Levels::parse(op)?,
            is_observer: op.attr_or("only_observer", false)?,
        }))
    }

    /// The steps between two levels, for QuantizeLinear. It rounds halves to even numbers; where they are to go away from
    /// zero, the step is two units in the last place smaller, which moves halves over the edge, and next to nothing else.
    fn steps(&self, scales: &[f32]) -> Vec<f32> {
        let narrowed = match self.levels.rounding {
            Rounding::Even => 1.0,
            Rounding::Away => 1.0 - 2_f64.powi(-22),
        };
        let step =
            |scale: &f32| (f64::from(*scale) / f64::from(self.levels.qmax) * narrowed) as f32;
        scales.iter().map(step).collect()
    }

    /// The int8 tensor of a weight that is quantised when the model is written.
    fn weight(&self, g: &mut Lowering<'_>, scales: Vec<f32>) -> Result<TensorId> {
        let levels = self.levels;
        let mapping = move |channel, x: f32| {
            let scale = scales.get(channel).copied().unwrap_or(1.0);
            levels.level(x, scale)
        };
        g.weight_by_channel(self.x, DType::I8, self.scales.axis, mapping)
    }

    /// Emits QuantizeLinear, for 8 bits.
    fn lower_int8(&self, g: &mut Lowering<'_>, scales: &[f32]) -> Result<TensorId> {
        let mut x = g.value(self.x)?;
        if self.levels.rounding == Rounding::Away && !g.is_nonnegative(x) {
            // The lowest level is -127 then, but that of int8 is -128. Above, QuantizeLinear clips at 127 itself.
            let lowest: Vec<f32> = scales.iter().map(|scale| -scale).collect();
            let lowest = self.scales.constant(g, &lowest, g.rank(self.x))?;
            x = g.node("Max", &[x, lowest], []);
        }
        let steps = self.steps(scales);
        Ok(g.quantization("QuantizeLinear", x, &steps, self.scales.axis))
    }

    /// Emits the arithmetic of Paddle's kernel.
    fn lower_composed(&self, g: &mut Lowering<'_>, scales: Option<&[f32]>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let (scale, multiplier) = match scales {
            Some(scales) => {
                let multipliers: Vec<f32> = scales
                    .iter()
                    .map(|scale| self.levels.multiplier(*scale))
                    .collect();
                (
                    self.scales.constant(g, scales, rank)?,
                    self.scales.constant(g, &multipliers, rank)?,
                )
            }
            None => {
                let scale = self.scales.computed(g, rank)?;
                (scale, self.computed_multiplier(g, scale))
            }
        };
        if self.levels.rounding == Rounding::Even {
            let product = g.node("Mul", &[multiplier, x], []);
            let rounded = g.node("Round", &[product], []);
            let [lowest, highest] = [-self.levels.qmax - 1, self.levels.qmax]
                .map(|level| g.scalar(DType::F32, level.into()));
            return Ok(g.clip(rounded, DType::F32, lowest, highest));
        }
        let lowest = g.node("Neg", &[scale], []);
        let below = g.node("Min", &[x, scale], []);
        let clipped = g.node("Max", &[below, lowest], []);
        let product = g.node("Mul", &[multiplier, clipped], []);
        Ok(lower_round_away(g, product, DType::F32))
    }

    fn computed_multiplier(&self, g: &mut Lowering<'_>, scale: TensorId) -> TensorId {
        let [one, tiny, least, qmax] =
            [1.0, 1e-30, 1e-6, self.levels.qmax.into()].map(|number| g.scalar(DType::F32, number));
        let is_large = g.node("Greater", &[scale, tiny], []);
        let larger = g.node("Add", &[scale, least], []);
        let divisor = g.node("Where", &[is_large, scale, larger], []);
        let inverse = g.node("Div", &[one, divisor], []);
        g.node("Mul", &[qmax, inverse], [])
    }
}

/// Refuses an op whose scales every run changes.
pub(super) fn refuse_training(op: &mut OpReader<'_>) -> Result<()> {
    if op.attr_or("is_test", true)? {
        return Ok(());
    }
    Err(Error::unsupported(
        "training mode, in which every run changes the scales; export the model in evaluation mode",
    ))
}

impl Function for Quantize {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        self.scales.check(facts, shape)?;
        Ok(Fact::new(DType::F32, shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if self.is_observer {
            return g.value(self.x);
        }
        let scales = self.scales.known(g)?;
        let Some(scales) = scales else {
            return self.lower_composed(g, None);
        };
        let is_int8 = self.levels.qmax <= INT8;
        if is_int8 && g.is_stored(self.x) {
            let weight = self.weight(g, scales)?;
            return Ok(g.whole_numbers(weight));
        }
        let is_positive = scales
            .iter()
            .all(|scale| *scale > 1e-30 && scale.is_finite());
        if self.levels.qmax == INT8 && is_positive && self.scales.fit_opset(g) {
            let integers = self.lower_int8(g, &scales)?;
            return Ok(g.whole_numbers(integers));
        }
        self.lower_composed(g, Some(&scales))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if self.is_observer {
            return Ok(x.clone());
        }
        with_reals!(x, values.get(self.scales.value)?, (x, scales) => {
            self.scales.apply(x, scales, |x, scale| self.levels.level(x, scale))?
        })
    }
}
