//! Reductions of all elements up to each position of an axis: `cumsum`, `cumprod`, `logcumsumexp`, `cummax`, `cummin`.
//!
//! Paddle: `phi/kernels/{cum,cumprod,cum_maxmin}_kernel.h`. ONNX: CumSum. The others become ReduceProd,
//! ReduceLogSumExp, ReduceMax or ReduceMin over the elements along the axis, broadcast to each of its positions and
//! masked by Where.

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::scan::Span;
use crate::kernels::{map, scan};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, Macs, NUMBERS, OpDef, OpReader, Operator,
    Parse, Parsed, Values, WIDE,
};
use crate::program::{Attr, Fact, Facts, FromAttr, ValueId, single};
use crate::tensor::DType::{I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, normalize_axis, with_array};

const X: Binding = Binding::Slot("X");

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "cumsum",
        &[Arg::Tensor("x"), Arg::Scalar("axis")],
        &[Form::legacy(
            &["cumsum"],
            &[
                X,
                Binding::Scalar {
                    attr: "axis",
                    slots: &[],
                },
            ],
            &["Out"],
        )],
        Cumulative::cumsum,
    )
    .with_opset(11)
    .part_by_part(&["x"])
    .with_limits(&["a computed axis"])
    .with_dtypes(NUMBERS)
    .with_accuracy(Accuracy::AlongAxis),
    of_axis("cumprod", &[plain(&["cumprod"])], Cumulative::cumprod)
        .with_opset(9)
        .with_dtypes(WIDE),
    of_axis(
        "logcumsumexp",
        &[plain(&["logcumsumexp"])],
        Cumulative::logcumsumexp,
    )
    .with_opset(9)
    .with_dtypes(FLOATS),
    extreme("cummax", &[extremes(&["cummax"])], |op| {
        Extremes::parse(op, true)
    })
    .with_opset(9),
    extreme("cummin", &[extremes(&["cummin"])], |op| {
        Extremes::parse(op, false)
    })
    .with_opset(9),
];

const fn plain(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[X], &["Out"])
}

const fn extremes(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("x")], &["out", "indices"])
}

const fn of_axis(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse).with_accuracy(Accuracy::AlongAxis)
}

const fn extreme(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse)
        .with_results(&["out", "indices"])
        .with_dtypes(WIDE)
}

/// What is made of the elements up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accumulation {
    Sum,
    Product,
    LogSumExp,
}

/// Where an op has its axis: in an attribute or in an operand.
#[derive(Debug, Clone, Copy)]
enum Along {
    Constant(i64),
    Operand(ValueId),
}

/// The sum, product, or logarithm of the sum of exponentials, of the elements up to each position of an axis. `span`
/// says whether those behind the position count instead, and whether the one at the position counts.
struct Cumulative {
    x: ValueId,
    axis: Along,
    /// Whether `x` is flattened to a vector first.
    flatten: bool,
    span: Span,
    accumulation: Accumulation,
}

impl Cumulative {
    fn cumsum(op: &mut OpReader<'_>) -> Parsed {
        let axis = Along::Operand(op.operand("axis")?);
        Self::parse(op, axis, Accumulation::Sum)
    }

    fn cumprod(op: &mut OpReader<'_>) -> Parsed {
        let axis = Along::Constant(op.attr("dim")?);
        Self::parse(op, axis, Accumulation::Product)
    }

    fn logcumsumexp(op: &mut OpReader<'_>) -> Parsed {
        let axis = Along::Constant(op.attr_or("axis", -1)?);
        Self::parse(op, axis, Accumulation::LogSumExp)
    }

    fn parse(op: &mut OpReader<'_>, axis: Along, accumulation: Accumulation) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis,
            flatten: op.attr_or("flatten", false)?,
            span: Span {
                reverse: op.attr_or("reverse", false)?,
                exclusive: op.attr_or("exclusive", false)?,
            },
            accumulation,
        }))
    }

    fn dtype(&self, facts: &Facts<'_>) -> DType {
        facts.dtype(self.x)
    }

    /// The axis counted from 0, for an `x` of this rank, which is not 0.
    fn axis(&self, facts: &Facts<'_>, rank: usize) -> Result<usize> {
        let axis = match self.axis {
            Along::Constant(axis) => axis,
            Along::Operand(axis) => facts.constant_integer(axis, "axis")?,
        };
        normalize_axis(axis, rank)
    }

    fn computed<T: Element>(&self, x: &Array<T>, axis: usize) -> Array<T> {
        match self.accumulation {
            Accumulation::Sum => scan::sums(x, axis, self.span),
            Accumulation::Product => scan::products(x, axis, self.span),
            Accumulation::LogSumExp => scan::log_sum_exps(x, axis, self.span),
        }
    }
}

impl Function for Cumulative {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        if !self.flatten {
            if !shape.is_empty() {
                self.axis(facts, shape.len())?;
            }
            return Ok(Fact::new(self.dtype(facts), shape.to_vec()));
        }
        let count = Macs::product(shape).and_then(|count| i64::try_from(count).ok());
        let extent = match shape {
            [only] => only.clone(),
            _ => count.map_or(Dim::Unknown, Dim::Known),
        };
        Ok(Fact::new(self.dtype(facts), vec![extent]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = self.dtype(g);
        let wide = dtype.widened();
        let x = g.value(self.x)?;
        let x = g.cast(x, dtype, wide);
        let rank = g.rank(self.x);
        let (x, axis, rank) = if self.flatten {
            let shape = g.vector(&[-1]);
            (g.node("Reshape", &[x, shape], []), 0, 1)
        } else if rank == 0 {
            (g.unsqueeze(x, &[0]), 0, 1)
        } else {
            (x, self.axis(g, rank)?, rank)
        };
        let mut result = match self.accumulation {
            Accumulation::Sum => {
                let axis = g.constant(Tensor::scalar(axis as i64));
                let attrs = [
                    ("exclusive", NodeAttr::Int(self.span.exclusive.into())),
                    ("reverse", NodeAttr::Int(self.span.reverse.into())),
                ];
                g.node("CumSum", &[x, axis], attrs)
            }
            Accumulation::Product => {
                Square::new(g, x, (axis, rank), self.span).reduce(g, "ReduceProd", wide, 1.0)
            }
            Accumulation::LogSumExp => {
                let square = Square::new(g, x, (axis, rank), self.span);
                square.reduce(g, "ReduceLogSumExp", wide, f64::NEG_INFINITY)
            }
        };
        if !self.flatten && g.rank(self.x) == 0 {
            result = g.squeeze(result, &[0]);
        }
        Ok(g.cast(result, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let shape = x.shape();
        let axis = match self.axis {
            _ if self.flatten || shape.is_empty() => 0,
            Along::Constant(axis) => normalize_axis(axis, shape.len())?,
            Along::Operand(axis) => {
                normalize_axis(single(&values.integers(axis)?, "axis")?, shape.len())?
            }
        };
        let is_vector = self.flatten || shape.is_empty();
        let inner = if is_vector {
            vec![x.len()]
        } else {
            shape.to_vec()
        };
        let outer = if self.flatten {
            vec![x.len()]
        } else {
            shape.to_vec()
        };
        with_array!(x, x => {
            let result = self.computed(&map::reshape(x, &inner)?, axis);
            map::reshape(&result, &outer).map(Element::tensor)
        })
    }
}

/// Emitted tensors for a reduction at each position of an axis: the elements along the axis, which are broadcast to all
/// positions, and a mask of those that count at each of them.
struct Square {
    /// The operand with the axis swapped with the last one, and an axis of extent 1 before it, for the positions:
    /// `[…, 1, extent]`.
    elements: TensorId,
    /// Whether each element counts at each position: bools, `[positions, elements]`.
    counts: TensorId,
    /// The int64 vector 0, 1, 2, … along the axis.
    positions: TensorId,
    /// The permutation that swaps the axis with the last one, and so is its own inverse.
    swap: Vec<usize>,
    /// The axis of `elements` that is reduced.
    last: usize,
}

impl Square {
    fn new(g: &mut Lowering<'_>, x: TensorId, (axis, rank): (usize, usize), span: Span) -> Self {
        let (axis_start, axis_end) = (axis as i64, axis as i64 + 1);
        let extent = g.shape_slice(x, axis_start, axis_end);
        let extent = g.squeeze(extent, &[0]);
        let (zero, one) = (g.scalar(I64, 0.0), g.scalar(I64, 1.0));
        let positions = g.node("Range", &[zero, extent, one], []);
        let places = g.unsqueeze(positions, &[1]);
        let (first, second) = if span.reverse {
            (places, positions)
        } else {
            (positions, places)
        };
        let counts = if span.exclusive {
            g.node("Less", &[first, second], [])
        } else {
            g.compare_or_equal("Less", first, second)
        };
        let mut swap: Vec<usize> = (0..rank).collect();
        swap.swap(axis, rank - 1);
        let x = g.transpose(x, &swap);
        let elements = g.unsqueeze(x, &[rank as i64 - 1]);
        Self {
            elements,
            counts,
            positions,
            swap,
            last: rank,
        }
    }

    /// Emits the reduction of the elements that count; the others are replaced by `neutral`, which does not change the
    /// result.
    fn reduce(
        &self,
        g: &mut Lowering<'_>,
        op_type: &'static str,
        dtype: DType,
        neutral: f64,
    ) -> TensorId {
        let neutral = g.scalar(dtype, neutral);
        let elements = g.node("Where", &[self.counts, self.elements, neutral], []);
        let reduced = g.reduce(op_type, elements, &[self.last], false);
        g.transpose(reduced, &self.swap)
    }

    /// Emits the last of the counted positions whose element equals `result`, as int32.
    fn last_position(&self, g: &mut Lowering<'_>, result: TensorId) -> TensorId {
        let result = g.transpose(result, &self.swap);
        let result = g.unsqueeze(result, &[self.last as i64]);
        let is_result = g.node("Equal", &[self.elements, result], []);
        let is_found = g.node("And", &[is_result, self.counts], []);
        let nowhere = g.scalar(I64, -1.0);
        let found = g.node("Where", &[is_found, self.positions, nowhere], []);
        let found = g.cast(found, I64, I32);
        let last = g.reduce("ReduceMax", found, &[self.last], false);
        g.transpose(last, &self.swap)
    }
}

/// The largest or smallest element up to each position of an axis, and its position: the last one of those that are
/// tied.
struct Extremes {
    x: ValueId,
    axis: i64,
    dtype: DType,
    is_largest: bool,
}

impl Extremes {
    fn parse(op: &mut OpReader<'_>, is_largest: bool) -> Parsed {
        let dtype = DType::from_attr(&op.attr_or("dtype", Attr::Int(I64.paddle_code()))?);
        let dtype = dtype.filter(|dtype| matches!(dtype, I32 | I64));
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            dtype: dtype.ok_or_else(|| {
                Error::unsupported("`dtype`: positions that are not int32 or int64")
            })?,
            is_largest,
        }))
    }
}

impl Operator for Extremes {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let shape = facts.shape(self.x);
        if !shape.is_empty() {
            normalize_axis(self.axis, shape.len())?;
        }
        Ok(vec![
            Fact::new(facts.dtype(self.x), shape.to_vec()),
            Fact::new(self.dtype, shape.to_vec()),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        if rank == 0 {
            let zero = g.scalar(self.dtype, 0.0);
            return Ok(vec![x, zero]);
        }
        let axis = normalize_axis(self.axis, rank)?;
        let span = Span {
            reverse: false,
            exclusive: false,
        };
        let dtype = g.dtype(self.x);
        let (op_type, neutral) = match (self.is_largest, dtype) {
            (true, I32) => ("ReduceMax", i32::MIN.into()),
            (true, I64) => ("ReduceMax", i64::MIN as f64),
            (true, _) => ("ReduceMax", f64::NEG_INFINITY),
            (false, I32) => ("ReduceMin", i32::MAX.into()),
            (false, I64) => ("ReduceMin", i64::MAX as f64),
            (false, _) => ("ReduceMin", f64::INFINITY),
        };
        let square = Square::new(g, x, (axis, rank), span);
        let result = square.reduce(g, op_type, dtype, neutral);
        let positions = square.last_position(g, result);
        let positions = g.cast(positions, I32, self.dtype);
        Ok(vec![result, positions])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        if x.shape().is_empty() {
            return Ok(vec![x.clone(), Tensor::scalar(0_i64).cast(self.dtype)]);
        }
        let axis = normalize_axis(self.axis, x.shape().len())?;
        let (found, positions) = with_array!(x, x => {
            let (found, positions) = if self.is_largest {
                scan::extremes(x, axis, PartialOrd::ge)
            } else {
                scan::extremes(x, axis, PartialOrd::le)
            };
            (Element::tensor(found), positions)
        });
        Ok(vec![found, i64::tensor(positions).cast(self.dtype)])
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
