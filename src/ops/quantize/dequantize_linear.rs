//! `dequantize_linear`: whole numbers as numbers on a scale.

use super::levels::parse_qmax;
use super::quantize_linear::{LEGACY, OPERANDS};
use super::scales::Scales;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_reals};
use crate::operator::{Accuracy, Form, Function, OpDef, OpReader, Parse, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Tensor};

pub(super) const OPS: &[OpDef] = &[
    definition(
        "dequantize_linear",
        &[Form::legacy(&["dequantize_linear"], LEGACY, &["Y"])],
        |op| Dequantize::parse(op, false),
    ),
    // What `convert --dequantize` makes of it.
    definition("dequantize_weight", &[], |op| Dequantize::parse(op, true)).in_no_file(),
];

const fn definition(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, OPERANDS, legacy, parse)
        .with_dtypes(&[DType::F32, DType::I8])
        .ignoring(&["moving_rate"])
        .with_accuracy(Accuracy::Rounded)
        .with_limits(&["float8"])
}

/// `x · scale / qmax` in the element type of `scale`, which has one element, or one for each position along `quant_axis`.
/// `x` holds whole numbers, of int8 or of float32. The zero point is not read, in any version of Paddle.
///
/// Paddle: `phi/kernels/impl/quantize_linear_impl.h`. ONNX: DequantizeLinear where the whole numbers are in int8: those
/// of `quantize_linear`, and weights, which are stored so; otherwise Mul.
struct Dequantize {
    x: ValueId,
    scales: Scales,
    /// The number that stands for the scale.
    max_range: f64,
    /// Whether the op only observes what passes through it.
    is_observer: bool,
    /// Whether weights are written in float32, and no integers are left.
    is_folded: bool,
}

impl Dequantize {
    fn parse(op: &mut OpReader<'_>, is_folded: bool) -> Parsed {
        // Dequantisation is the same in training, and without rounding.
        op.ignore("is_test");
        op.ignore("round_type");
        // Made of `fake_dequantize_max_abs`, which may have any number.
        let max_range: Option<f64> = op.optional_attr("max_range")?;
        let max_range = match max_range {
            Some(max_range) => max_range,
            None => parse_qmax(op)?.into(),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            scales: Scales::parse(op)?,
            max_range,
            is_observer: op.attr_or("only_observer", false)?,
            is_folded,
        }))
    }

    fn numbers<T: Real>(&self, x: &Array<T>, scales: &Array<T>) -> Result<ndarray::ArrayD<T>> {
        let max_range = T::from_f64(self.max_range);
        self.scales
            .apply(x, scales, |x, scale| x * scale / max_range)
    }

    /// The int8 tensor that holds what `x` does, if there is one: for a weight of whole numbers in float32, one that is
    /// made when the model is written.
    fn integers(&self, g: &mut Lowering<'_>) -> Result<Option<TensorId>> {
        if g.dtype(self.x) == DType::I8 {
            return g.value(self.x).map(Some);
        }
        if let Some(known) = g.as_int8(self.x) {
            return Ok(Some(known));
        }
        let mut are_whole = true;
        let is_weight = g.visit_weight(self.x, &mut |_, x| {
            are_whole &= x.fract() == 0.0 && (-128.0..=127.0).contains(&x);
        })?;
        if !is_weight || !are_whole {
            return Ok(None);
        }
        g.weight_by_channel(self.x, DType::I8, None, |_, x| x)
            .map(Some)
    }
}

impl Function for Dequantize {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        if self.is_observer && facts.dtype(self.x) != DType::F32 {
            return Err(Error::unsupported("an observer of integers"));
        }
        self.scales.check(facts, shape)?;
        Ok(Fact::new(facts.dtype(self.scales.value), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if self.is_observer {
            return g.value(self.x);
        }
        let rank = g.rank(self.x);
        let dtype = g.dtype(self.scales.value);
        let steps = self.scales.known(g)?.map(|scales| {
            let step = |scale: &f32| (f64::from(*scale) / self.max_range) as f32;
            scales.iter().map(step).collect::<Vec<f32>>()
        });
        if self.is_folded
            && g.is_stored(self.x)
            && dtype == DType::F32
            && let Some(steps) = steps
        {
            let number = move |channel, x: f32| x * steps.get(channel).copied().unwrap_or_default();
            return g.weight_by_channel(self.x, DType::F32, self.scales.axis, number);
        }
        let integers = self.integers(g)?;
        match (integers, steps) {
            (Some(integers), Some(steps)) if self.scales.fit_opset(g) && dtype == DType::F32 => {
                Ok(g.quantization("DequantizeLinear", integers, &steps, self.scales.axis))
            }
            (integers, steps) => {
                let x = match integers {
                    Some(integers) => g.cast(integers, DType::I8, dtype),
                    None => g.value(self.x)?,
                };
                if let Some(steps) = steps.filter(|_| dtype == DType::F32) {
                    let steps = self.scales.constant(g, &steps, rank)?;
                    return Ok(g.node("Mul", &[x, steps], []));
                }
                let scale = self.scales.computed(g, rank)?;
                let product = g.node("Mul", &[x, scale], []);
                let max_range = g.scalar(dtype, self.max_range);
                Ok(g.node("Div", &[product, max_range], []))
            }
        }
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        if self.is_observer {
            return Ok(x.clone());
        }
        let scales = values.get(self.scales.value)?;
        with_reals!(&x.cast(scales.dtype()), scales, (x, scales) => {
            self.numbers(x, scales)?
        })
    }
}
