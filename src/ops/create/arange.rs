//! Evenly spaced numbers from a start to an end: `arange`.
//!
//! Paddle: `phi/kernels/arange_kernel.h`. ONNX: Range.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

/// The element types that both ONNX's Range and Paddle's CPU kernels have.
pub(super) const RANGED: &[DType] = &[DType::I32, DType::I64, DType::F32, DType::F64];

/// Sequences of more integers than this are made at run time instead of being stored.
const LONGEST_CONSTANT: usize = 1024;

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "arange",
    &[
        Arg::Scalar("start"),
        Arg::Scalar("end"),
        Arg::Scalar("step"),
    ],
    &[Form::legacy(
        &["range"],
        &[
            Binding::Slot("Start"),
            Binding::Slot("End"),
            Binding::Slot("Step"),
        ],
        &["Out"],
    )],
    Arange::parse,
)
.with_dtypes(RANGED)
.with_accuracy(Accuracy::Rounded)];

/// The number in an operand of one element, if the operand is a constant.
pub(super) fn constant_number(facts: &Facts<'_>, id: ValueId) -> Option<f64> {
    match facts.constant_value(id)?.to_f64_vec()[..] {
        [number] => Some(number),
        _ => None,
    }
}

/// The number in an operand of one element.
pub(super) fn number(values: &Values<'_>, id: ValueId) -> Result<f64> {
    match values.get(id)?.to_f64_vec()[..] {
        [number] => Ok(number),
        _ => Err(Error::malformed("several elements where a number is due")),
    }
}

/// Emits an operand of one element as a scalar of the type `dtype`.
pub(super) fn scalar(g: &mut Lowering<'_>, id: ValueId, dtype: DType) -> Result<TensorId> {
    if let Some(constant) = g.constant_value(id) {
        let [number] = constant.cast(dtype).to_f64_vec()[..] else {
            return Err(Error::malformed("several elements where a number is due"));
        };
        if dtype.is_float() {
            return Ok(g.scalar(dtype, number));
        }
        // Not by way of f64, which does not represent every int64.
        let number = single(&constant.to_i64_vec(), "number")?;
        return Ok(g.constant(Tensor::scalar(number).cast(dtype)));
    }
    let x = g.value(id)?;
    let axes: Vec<i64> = (0..g.rank(id) as i64).collect();
    let x = g.squeeze(x, &axes);
    Ok(g.cast(x, g.dtype(id), dtype))
}

/// The vector of `start`, `start + step`, … up to, but without, `end`.
struct Arange {
    start: ValueId,
    end: ValueId,
    step: ValueId,
    /// The element type of the result: that of `start`, if none is stated.
    dtype: Option<DType>,
}

impl Arange {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            start: op.operand("start")?,
            end: op.operand("end")?,
            step: op.operand("step")?,
            dtype: op.optional_attr("dtype")?,
        }))
    }

    fn dtype(&self, start: DType) -> DType {
        self.dtype.unwrap_or(start)
    }

    /// The number of integers in a range.
    fn count(start: i64, end: i64, step: i64) -> Result<usize> {
        if step == 0 {
            return Err(Error::malformed("a step of 0"));
        }
        let (distance, step) = (i128::from(end) - i128::from(start), i128::from(step));
        let count = (distance + step - step.signum()) / step;
        usize::try_from(count.max(0)).map_err(|_| Error::malformed("a range without an end"))
    }

    /// The elements of an integer result, if all operands are known and it has at most [`LONGEST_CONSTANT`] elements.
    fn integers(&self, facts: &Facts<'_>) -> Result<Option<Vec<i64>>> {
        let [start, end, step] = [self.start, self.end, self.step]
            .map(|id| facts.integers(id).filter(|elements| elements.len() == 1));
        let (Some(start), Some(end), Some(step)) = (start, end, step) else {
            return Ok(None);
        };
        let count = Self::count(start[0], end[0], step[0])?;
        if count > LONGEST_CONSTANT {
            return Ok(None);
        }
        let places =
            (0..count as i64).map(|place| start[0].wrapping_add(place.wrapping_mul(step[0])));
        Ok(Some(places.collect()))
    }

    /// The extent of the result, as far as it is known before a run.
    fn extent(&self, facts: &Facts<'_>) -> Result<Dim> {
        let numbers = [self.start, self.end, self.step].map(|id| constant_number(facts, id));
        if let [Some(start), Some(end), Some(step)] = numbers {
            let count = if self.dtype(facts.dtype(self.start)).is_float() {
                float_count(start, end, step)?
            } else {
                Self::count(start as i64, end as i64, step as i64)?
            };
            return Ok(Dim::from(count));
        }
        let content = |id| facts.content(id).unwrap_or_default();
        Ok(
            match (content(self.start), content(self.end), content(self.step)) {
                ([Dim::Known(0)], [end], [Dim::Known(1)]) => end.clone(),
                ([Dim::Known(start)], [Dim::Known(end)], [Dim::Known(step)]) => {
                    Dim::from(Self::count(*start, *end, *step)?)
                }
                _ => Dim::Unknown,
            },
        )
    }
}

/// The number of elements in a range of floats, by float64 arithmetic.
fn float_count(start: f64, end: f64, step: f64) -> Result<usize> {
    let count = ((end - start) / step).ceil();
    // A limit far beyond any memory.
    if count.is_nan() || count > (1_u64 << 52) as f64 {
        return Err(Error::malformed("a range without an end"));
    }
    Ok(count.max(0.0) as usize)
}

impl Function for Arange {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = self.dtype(facts.dtype(self.start));
        if !RANGED.contains(&dtype) {
            return Err(Error::unsupported(format!("a range of {dtype}")));
        }
        let content = if dtype.is_float() {
            None
        } else {
            self.integers(facts)?
        };
        let shape = vec![match &content {
            Some(content) => Dim::from(content.len()),
            None => self.extent(facts)?,
        }];
        let content = content.map(|content| content.into_iter().map(Dim::Known).collect());
        Ok(Fact::new(dtype, shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.dtype(g.dtype(self.start));
        if !dtype.is_float()
            && let Some(integers) = self.integers(g)?
        {
            return Ok(g.constant(Tensor::vector(integers).cast(dtype)));
        }
        let start = scalar(g, self.start, dtype)?;
        let end = scalar(g, self.end, dtype)?;
        let step = scalar(g, self.step, dtype)?;
        let is_back = constant_number(g, self.step).is_some_and(|step| step < 0.0);
        if dtype.is_float() || !is_back {
            return Ok(g.node("Range", &[start, end, step], []));
        }
        // Counts down from 0 and adds `start`, since ONNX Runtime turns a Gather whose indices come from a
        // Range into a Slice, where an end of -1 means the last element.
        let zero = g.scalar(dtype, 0.0);
        let distance = g.node("Sub", &[end, start], []);
        let steps = g.node("Range", &[zero, distance, step], []);
        Ok(g.node("Add", &[steps, start], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let dtype = self.dtype(values.get(self.start)?.dtype());
        if !dtype.is_float() {
            let [start, end, step] = [self.start, self.end, self.step]
                .map(|id| single(&values.integers(id)?, "start, end or step"));
            let (start, step) = (start?, step?);
            let count = Self::count(start, end?, step)?;
            refuse_too_large(&[count])?;
            let places =
                (0..count as i64).map(|place| start.wrapping_add(place.wrapping_mul(step)));
            return Ok(Tensor::vector(places.collect::<Vec<i64>>()).cast(dtype));
        }
        let [start, end, step] = [self.start, self.end, self.step].map(|id| number(values, id));
        let (start, step) = (start?, step?);
        let count = float_count(start, end?, step)?;
        refuse_too_large(&[count])?;
        let places = (0..count).map(|place| start + place as f64 * step);
        Ok(Tensor::vector(places.collect::<Vec<f64>>()).cast(values.dtype(dtype)))
    }
}
