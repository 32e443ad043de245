//! Evenly spaced numbers, and unit matrices.
//!
//! Paddle: `phi/kernels/{arange,linspace,logspace,eye}_kernel.h`. ONNX: Range, EyeLike.

use super::def::{Accuracy, Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed, single};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::Values;
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

/// The types that ONNX's Range has, and Paddle's kernels too.
const RANGED: &[DType] = &[DType::I32, DType::I64, DType::F32, DType::F64];

/// Longer sequences are made at run time instead of being stored.
const LONGEST_CONSTANT: usize = 1024;

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "arange",
        &[
            Arg::Scalar("start"),
            Arg::Scalar("end"),
            Arg::Scalar("step"),
        ],
        &[Form::legacy(
            &["range"],
            &[From::Slot("Start"), From::Slot("End"), From::Slot("Step")],
            &["Out"],
        )],
        Arange::parse,
    )
    .taking(RANGED)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "linspace",
        &[
            Arg::Tensor("start"),
            Arg::Tensor("stop"),
            Arg::Tensor("number"),
        ],
        &[Form::legacy(
            &["linspace"],
            &[From::Slot("Start"), From::Slot("Stop"), From::Slot("Num")],
            &["Out"],
        )],
        |op| Linspace::parse(op, None),
    )
    .taking(RANGED)
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
                From::Slot("Start"),
                From::Slot("Stop"),
                From::Slot("Num"),
                From::Slot("Base"),
            ],
            &["Out"],
        )],
        |op| {
            let base = op.operand("base")?;
            Linspace::parse(op, Some(base))
        },
    )
    .taking(&[DType::F32, DType::F64])
    .with_accuracy(Accuracy::Accumulated),
    OpDef::new(
        "eye",
        &[Arg::Scalar("num_rows"), Arg::Scalar("num_columns")],
        &[Form::legacy(
            &["eye"],
            &[
                From::Scalar {
                    attr: "num_rows",
                    slots: &[],
                },
                From::Scalar {
                    attr: "num_columns",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Eye::parse,
    )
    .taking(&[DType::I32, DType::I64, DType::F32, DType::F64]),
];

/// The one number in an operand, if it is a constant.
fn constant_number(facts: &Facts<'_>, id: ValueId) -> Option<f64> {
    match facts.constant_value(id)?.to_f64_vec()[..] {
        [number] => Some(number),
        _ => None,
    }
}

/// The one number in an operand.
fn number(values: &Values<'_>, id: ValueId) -> Result<f64> {
    match values.get(id)?.to_f64_vec()[..] {
        [number] => Ok(number),
        _ => Err(Error::malformed("several elements where a number is due")),
    }
}

/// An operand of one element as a scalar of another type.
fn scalar(g: &mut Lowering<'_>, id: ValueId, dtype: DType) -> Result<TensorId> {
    if let Some(constant) = g.constant_value(id) {
        let [number] = constant.cast(dtype).to_f64_vec()[..] else {
            return Err(Error::malformed("several elements where a number is due"));
        };
        if dtype.is_float() {
            return Ok(g.scalar(dtype, number));
        }
        // Not by way of f64, which does not hold all integers.
        let number = single(&constant.to_i64_vec(), "number")?;
        return Ok(g.constant(Tensor::scalar(number).cast(dtype)));
    }
    let x = g.value(id)?;
    let axes: Vec<i64> = (0..g.rank(id) as i64).collect();
    let x = g.squeeze(x, &axes);
    Ok(g.cast(x, g.dtype(id), dtype))
}

/// `start`, `start + step`, … up to, not including, `end`.
struct Arange {
    start: ValueId,
    end: ValueId,
    step: ValueId,
    /// That of `start`, if it is not stated.
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

    /// How many integers there are.
    fn count(start: i64, end: i64, step: i64) -> Result<usize> {
        if step == 0 {
            return Err(Error::malformed("a step of 0"));
        }
        let (distance, step) = (i128::from(end) - i128::from(start), i128::from(step));
        let count = (distance + step - step.signum()) / step;
        usize::try_from(count.max(0)).map_err(|_| Error::malformed("a range without an end"))
    }

    /// The integers, if they and their number are known.
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

    /// How many numbers there are, as far as that is known.
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

/// How many steps there are. Paddle computes this in the type of the result.
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
        // Counted down from 0, since ONNX Runtime makes a Slice of a Gather by a Range, and an end of
        // -1 means the last element there.
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

/// `number` numbers from `start` to `stop`, both included; with a base, its powers by them.
struct Linspace {
    start: ValueId,
    stop: ValueId,
    number: ValueId,
    base: Option<ValueId>,
    dtype: DType,
}

impl Linspace {
    fn parse(op: &mut OpReader<'_>, base: Option<ValueId>) -> Parsed {
        let number = if base.is_some() { "num" } else { "number" };
        Ok(Box::new(Self {
            start: op.operand("start")?,
            stop: op.operand("stop")?,
            number: op.operand(number)?,
            base,
            dtype: op.attr("dtype")?,
        }))
    }

    /// The first half is counted from the start and the second from the stop, so that both are met.
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
        if !RANGED.contains(&self.dtype) {
            return Err(Error::unsupported(format!("evenly spaced {}", self.dtype)));
        }
        let extent = match facts.content(self.number) {
            Some([extent]) => extent.clone(),
            _ => Dim::Unknown,
        };
        if extent.known().is_some_and(|extent| extent < 1) {
            return Err(Error::malformed(format!("{extent} evenly spaced numbers")));
        }
        Ok(Fact::new(self.dtype, vec![extent]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        if !self.dtype.is_float() {
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
        // The middle one of an odd number comes from both sides alike.
        let is_late = g.node("Less", &[half, places], []);
        let mut spaced = g.node("Where", &[is_late, from_stop, from_start], []);
        if let Some(base) = self.base {
            let base = scalar(g, base, DType::F64)?;
            spaced = g.node("Pow", &[base, spaced], []);
        }
        Ok(g.cast(spaced, DType::F64, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let bounds = (number(values, self.start)?, number(values, self.stop)?);
        let count = single(&values.integers(self.number)?, "number")?;
        let mut spaced = self.spaced(bounds, count)?;
        if let Some(base) = self.base {
            let base = number(values, base)?;
            spaced = spaced.into_iter().map(|power| base.powf(power)).collect();
        }
        Ok(Tensor::vector(spaced).cast(values.dtype(self.dtype)))
    }
}

impl Linspace {
    /// Integers are cut from fractions, so that rounding decides; only Paddle's order of operations
    /// is right.
    fn lower_constant(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let numbers = [self.start, self.stop, self.number].map(|id| constant_number(g, id));
        let [Some(start), Some(stop), Some(count)] = numbers else {
            return Err(Error::unsupported(
                "evenly spaced integers whose bounds are computed from the inputs",
            ));
        };
        let spaced = self.spaced((start, stop), count as i64)?;
        Ok(g.constant(Tensor::vector(spaced).cast(self.dtype)))
    }
}

/// A matrix with ones on its diagonal.
struct Eye {
    rows: ValueId,
    columns: ValueId,
    dtype: DType,
}

impl Eye {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            rows: op.operand("num_rows")?,
            columns: op.operand("num_columns")?,
            dtype: op.attr("dtype")?,
        }))
    }

    /// Both extents. A number of columns that is -1 is that of the rows.
    fn extents(rows: f64, columns: f64) -> (i64, i64) {
        let rows = rows as i64;
        let columns = columns as i64;
        (rows, if columns == -1 { rows } else { columns })
    }

    /// What is known of an extent before a run.
    fn extent(facts: &Facts<'_>, id: ValueId) -> Dim {
        match (constant_number(facts, id), facts.content(id)) {
            (Some(number), _) => Dim::Known(number as i64),
            (None, Some([dim])) => dim.clone(),
            _ => Dim::Unknown,
        }
    }

    fn is_square(&self, facts: &Facts<'_>) -> bool {
        Self::extent(facts, self.columns) == Dim::Known(-1)
    }

    fn shape(&self, facts: &Facts<'_>) -> [Dim; 2] {
        let columns = if self.is_square(facts) {
            self.rows
        } else {
            self.columns
        };
        [self.rows, columns].map(|id| Self::extent(facts, id))
    }
}

impl Function for Eye {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(self.dtype, self.shape(facts).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.shape(g);
        let shape = if let Some(shape) = g.dims(&shape) {
            shape
        } else {
            let rows = g.int_array(self.rows)?;
            let columns = if self.is_square(g) {
                rows
            } else {
                g.int_array(self.columns)?
            };
            g.concat(&[rows, columns], 0)
        };
        let zero = g.scalar(DType::F32, 0.0);
        let zeros = g.node("Expand", &[zero, shape], []);
        // ONNX Runtime has no kernel for all types.
        let eye = g.node(
            "EyeLike",
            &[zeros],
            [("dtype", NodeAttr::Int(DType::F32.onnx_code().into()))],
        );
        Ok(g.cast(eye, DType::F32, self.dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (rows, columns) =
            Self::extents(number(values, self.rows)?, number(values, self.columns)?);
        let extent = |e: i64| usize::try_from(e).map_err(|_| Error::malformed("a negative extent"));
        let (rows, columns) = (extent(rows)?, extent(columns)?);
        refuse_too_large(&[rows, columns])?;
        let mut eye = vec![0_i64; rows * columns];
        for place in 0..rows.min(columns) {
            eye[place * columns + place] = 1;
        }
        Ok(Tensor::from_elements(&[rows, columns], eye)?.cast(values.dtype(self.dtype)))
    }
}
