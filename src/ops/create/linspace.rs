//! A given number of evenly spaced numbers (`linspace`), or of powers with such exponents (`logspace`).
//!
//! Paddle: `phi/kernels/{linspace,logspace}_kernel.h`. ONNX: Range, Mul, Add, Sub, Where and Pow in float64, or a
//! constant for integers.

use super::arange::{RANGED, constant_number, number, scalar};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "linspace",
        &[
            Arg::Tensor("start"),
            Arg::Tensor("stop"),
            Arg::Tensor("number"),
        ],
        &[Form::legacy(
            &["linspace"],
            &[
                Binding::Slot("Start"),
                Binding::Slot("Stop"),
                Binding::Slot("Num"),
            ],
            &["Out"],
        )],
        |op| Linspace::parse(op, None),
    )
    .with_limits(&["integers between computed bounds"])
    .with_dtypes(RANGED)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "logspace",
        &[
            Arg::Tensor("start"),
            Arg::Tensor("stop"),
            Arg::Tensor("num"),
            Arg::Tensor("base"),
        ],
        &[Form::legacy(
            &["logspace"],
            &[
                Binding::Slot("Start"),
                Binding::Slot("Stop"),
                Binding::Slot("Num"),
                Binding::Slot("Base"),
            ],
            &["Out"],
        )],
        |op| {
            let base = op.operand("base")?;
            Linspace::parse(op, Some(base))
        },
    )
    .with_dtypes(&[DType::F32, DType::F64])
    .with_accuracy(Accuracy::Accumulated),
];

/// `number` evenly spaced numbers from `start` to `stop`, both included; with a `base`, the powers of it that have
/// these exponents.
struct Linspace {
    start: ValueId,
    stop: ValueId,
    number: ValueId,
    base: Option<ValueId>,
    /// The element type: that of `start` in Paddle 1, which states none.
    dtype: Option<DType>,
}

impl Linspace {
    fn parse(op: &mut OpReader<'_>, base: Option<ValueId>) -> Parsed {
        let number = if base.is_some() { "num" } else { "number" };
        Ok(Box::new(Self {
            start: op.operand("start")?,
            stop: op.operand("stop")?,
            number: op.operand(number)?,
            base,
            dtype: op.optional_attr("dtype")?,
        }))
    }

    fn dtype(&self, facts: &Facts<'_>) -> DType {
        self.dtype.unwrap_or(facts.dtype(self.start))
    }

    /// The evenly spaced numbers. The first half is counted from the start and the second from the stop, so that both
    /// are exact.
    fn spaced(&self, (start, stop): (f64, f64), count: i64) -> Result<Vec<f64>> {
        let count = usize::try_from(count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::malformed("no numbers to space evenly"))?;
        refuse_too_large(&[count])?;
        if count == 1 {
            return Ok(vec![start]);
        }
        let step = (stop - start) / (count - 1) as f64;
        let at = |place: usize| match place < count / 2 {
            true => start + step * place as f64,
            false => stop - step * (count - place - 1) as f64,
        };
        Ok((0..count).map(at).collect())
    }
}

impl Function for Linspace {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.dtype(facts);
        if !RANGED.contains(&dtype) {
            return Err(Error::unsupported(format!("evenly spaced {dtype}")));
        }
        let extent = match facts.content(self.number) {
            Some([extent]) => extent.clone(),
            _ => Dim::Unknown,
        };
        if extent.known().is_some_and(|extent| extent < 1) {
            return Err(Error::malformed(format!("{extent} evenly spaced numbers")));
        }
        Ok(Fact::new(dtype, vec![extent]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if !self.dtype(g).is_float() {
            return self.lower_constant(g);
        }
        let (start, stop) = (
            scalar(g, self.start, DType::F64)?,
            scalar(g, self.stop, DType::F64)?,
        );
        let count = scalar(g, self.number, DType::F64)?;
        let (zero, one, two) = (
            g.scalar(DType::F64, 0.0),
            g.scalar(DType::F64, 1.0),
            g.scalar(DType::F64, 2.0),
        );
        let distance = g.node("Sub", &[stop, start], []);
        let last = g.node("Sub", &[count, one], []);
        // A single number has no step; any divisor but 0 will do.
        let steps = g.node("Max", &[last, one], []);
        let step = g.node("Div", &[distance, steps], []);
        let places = g.node("Range", &[zero, count, one], []);
        let walked = g.node("Mul", &[places, step], []);
        let from_start = g.node("Add", &[start, walked], []);
        let left = g.node("Sub", &[last, places], []);
        let left = g.node("Mul", &[left, step], []);
        let from_stop = g.node("Sub", &[stop, left], []);
        let half = g.node("Div", &[last, two], []);
        // The middle one of an odd number of elements is as far from the start as from the stop.
        let is_late = g.node("Less", &[half, places], []);
        let mut spaced = g.node("Where", &[is_late, from_stop, from_start], []);
        if let Some(base) = self.base {
            let base = scalar(g, base, DType::F64)?;
            spaced = g.node("Pow", &[base, spaced], []);
        }
        let dtype = self.dtype(g);
        Ok(g.cast(spaced, DType::F64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let bounds = (number(values, self.start)?, number(values, self.stop)?);
        let count = single(&values.integers(self.number)?, "number")?;
        let mut spaced = self.spaced(bounds, count)?;
        if let Some(base) = self.base {
            let base = number(values, base)?;
            spaced = spaced.into_iter().map(|power| base.powf(power)).collect();
        }
        let dtype = self.dtype.unwrap_or(values.get(self.start)?.dtype());
        Ok(Tensor::vector(spaced).cast(values.dtype(dtype)))
    }
}

impl Linspace {
    /// Emits integers as a constant. They are truncated fractions, so that a rounding error may change them: only
    /// Paddle's order of operations is right.
    ///
    /// # Errors
    /// When an operand is computed from the inputs.
    fn lower_constant(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let numbers = [self.start, self.stop, self.number].map(|id| constant_number(g, id));
        let [Some(start), Some(stop), Some(count)] = numbers else {
            return Err(Error::unsupported(
                "evenly spaced integers whose bounds are computed from the inputs",
            ));
        };
        let spaced = self.spaced((start, stop), count as i64)?;
        let dtype = self.dtype(g);
        Ok(g.constant(Tensor::vector(spaced).cast(dtype)))
    }
}
