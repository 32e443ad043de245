//! Medians along axes: `median`, `nanmedian`.
//!
//! Paddle: `phi/kernels/{median,nanmedian}_kernel.h`. ONNX: TopK, and Gather or GatherElements.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::order::sort_positions;
use crate::kernels::reduce;
use crate::operator::{Arg, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::axes::{listed_axes, reduced_shape};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, F32, F64, I32, I64};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_array};

/// The element types that medians and modes are defined for.
pub(super) const TYPES: &[DType] = &[I32, I64, F32, F64];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "median",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[],
        |op| Median::parse(op, false),
    )
    .with_opset(11)
    .with_limits(&["computed axes"])
    .with_dtypes(TYPES)
    .with_results(&["out", "medianindex"]),
    OpDef::new(
        "nanmedian",
        &[Arg::Tensor("x"), Arg::IntArray("axis")],
        &[],
        |op| Median::parse(op, true),
    )
    .with_opset(11)
    .with_dtypes(TYPES)
    .with_results(&["out", "medianindex"]),
];

/// The median of the elements along axes: the one in the middle when they are sorted. If their number is even, it is
/// the mean of the two in the middle or, in the mode `min`, the smaller of them.
///
/// The second result holds int64 positions among the elements along the axes, in row-major order: those of the two in
/// the middle, along a new last axis, or that of the smaller one in the mode `min`.
struct Median {
    x: ValueId,
    axis: Option<ValueId>,
    keepdim: bool,
    is_min: bool,
    /// Whether NaNs are left out; else the median of elements with a NaN among them is NaN.
    skips_nan: bool,
}

/// The two elements in the middle and their positions, as tensors with a last axis of extent 1.
struct Middle {
    values: [TensorId; 2],
    positions: [TensorId; 2],
}

impl Median {
    fn parse(op: &mut OpReader<'_>, skips_nan: bool) -> Parsed {
        let mode: String = op.attr_or("mode", "avg".to_owned())?;
        if !matches!(mode.as_str(), "avg" | "min") {
            return Err(Error::malformed(format!("a median of mode {mode:?}")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.optional("axis")?,
            keepdim: op.attr_or("keepdim", false)?,
            is_min: mode == "min",
            skips_nan,
        }))
    }

    fn axes(&self, facts: &Facts<'_>) -> Result<Vec<usize>> {
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| facts.constant_integers(axis, "axis"))?;
        listed_axes(&listed, facts.rank(self.x))
    }

    /// Emits the two elements in the middle along the last axis of `x`, which has this extent, if it is known.
    fn lower_middle(&self, g: &mut Lowering<'_>, x: TensorId, extent: Option<i64>) -> Middle {
        let axis = ("axis", NodeAttr::Int(-1));
        let [count, left, right] = if let Some(extent) = extent {
            [extent / 2 + 1, (extent - 1) / 2, extent / 2].map(|number| g.vector(&[number]))
        } else {
            let extent = g.shape_slice(x, -1, i64::MAX);
            let [one, two] = [1, 2].map(|number| g.vector(&[number]));
            let last = g.node("Sub", &[extent, one], []);
            let left = g.node("Div", &[last, two], []);
            let right = g.node("Div", &[extent, two], []);
            [g.node("Add", &[right, one], []), left, right]
        };
        let attrs = [axis.clone(), ("largest", NodeAttr::Int(0))];
        let sorted = g.node_with_outputs("TopK", vec![Some(x), Some(count)], attrs, 2);
        let at = |g: &mut Lowering<'_>, from| {
            [left, right].map(|place| g.node("Gather", &[from, place], [axis.clone()]))
        };
        Middle {
            values: at(g, sorted[0]),
            positions: at(g, sorted[1]),
        }
    }

    /// Emits the two elements in the middle of those along the last axis of `x` that are not NaN. `is_nan` says which
    /// elements are; `valid` is the number of the others, as int64 with a last axis of extent 1.
    fn lower_middle_of_valid(
        g: &mut Lowering<'_>,
        (x, dtype): (TensorId, DType),
        is_nan: TensorId,
        valid: TensorId,
    ) -> Middle {
        let axis = ("axis", NodeAttr::Int(-1));
        let infinity = g.scalar(dtype, f64::INFINITY);
        let x = g.node("Where", &[is_nan, infinity, x], []);
        let extent = g.shape_slice(x, -1, i64::MAX);
        let attrs = [axis.clone(), ("largest", NodeAttr::Int(0))];
        let sorted = g.node_with_outputs("TopK", vec![Some(x), Some(extent)], attrs, 2);
        let [zero, one, two] = [0, 1, 2].map(|number| g.vector(&[number]));
        let last = g.node("Sub", &[extent, one], []);
        let before = g.node("Sub", &[valid, one], []);
        let before = g.extreme("Max", before, zero, I64);
        let left = g.node("Div", &[before, two], []);
        let right = g.node("Div", &[valid, two], []);
        let right = g.extreme("Min", right, last, I64);
        let at = |g: &mut Lowering<'_>, from| {
            [left, right].map(|place| g.node("GatherElements", &[from, place], [axis.clone()]))
        };
        Middle {
            values: at(g, sorted[0]),
            positions: at(g, sorted[1]),
        }
    }

    /// Emits the median, given the two elements in the middle.
    fn lower_value(
        &self,
        g: &mut Lowering<'_>,
        [left, right]: [TensorId; 2],
        dtype: DType,
    ) -> TensorId {
        if self.is_min {
            return left;
        }
        let two = g.scalar(dtype, 2.0);
        let sum = g.node("Add", &[left, right], []);
        let mean = g.node("Div", &[sum, two], []);
        if !dtype.is_float() {
            return mean;
        }
        // Two equal elements are their own mean, while their sum may overflow.
        let is_same = g.node("Equal", &[left, right], []);
        g.node("Where", &[is_same, left, mean], [])
    }

    /// The median of the elements in `row`, and the positions of the two in the middle. For a median that is NaN, these
    /// are the position of the first NaN or, where NaNs are left out, -1.
    fn of<T: Element + PartialOrd>(&self, row: &[T]) -> (T, [i64; 2]) {
        let is_nan = |x: &T| x.to_f64().is_nan();
        // The median of no elements is that of one NaN.
        let nan = row.iter().position(is_nan).or(row.is_empty().then_some(0));
        let mut order: Vec<usize> = (0..row.len()).filter(|at| !is_nan(&row[*at])).collect();
        if let Some(first) = nan.filter(|_| !self.skips_nan || order.is_empty()) {
            let place = if self.skips_nan { -1 } else { first as i64 };
            return (T::from_f64(f64::NAN), [place; 2]);
        }
        sort_positions(&mut order, &|a, b| {
            row[a].partial_cmp(&row[b]).unwrap_or(Ordering::Equal)
        });
        let (left, right) = (order[(order.len() - 1) / 2], order[order.len() / 2]);
        let value = if self.is_min || row[left] == row[right] {
            row[left]
        } else if T::DTYPE.is_float() {
            T::from_f64((row[left].to_f64() + row[right].to_f64()) / 2.0)
        } else {
            T::from_i64(row[left].to_i64().wrapping_add(row[right].to_i64()) / 2)
        };
        (value, [left as i64, right as i64])
    }

    fn evaluated<T: Element + PartialOrd>(
        &self,
        x: &Array<T>,
        axes: &[usize],
    ) -> Result<Vec<Tensor>> {
        let shape = reduced_shape(x.shape(), axes, self.keepdim, &1);
        let middles = reduce::reduce(x, axes, |row: &[T]| self.of(row))?;
        let values = middles.iter().map(|(value, _)| *value).collect();
        let values = Tensor::from_elements(&shape, values)?;
        let positions = middles.iter().map(|(_, positions)| positions);
        let positions = if self.is_min {
            let left = positions.map(|[left, _]| *left);
            Tensor::from_elements(&shape, left.collect())?
        } else {
            let pairs = positions.flatten().copied();
            Tensor::from_elements(&[shape.as_slice(), &[2]].concat(), pairs.collect())?
        };
        Ok(vec![values, positions])
    }
}

/// Emits a tensor with `axes` moved behind its other axes and merged to one, whose extent is returned as well, if it is
/// known.
pub(super) fn lower_rows(
    g: &mut Lowering<'_>,
    id: ValueId,
    axes: &[usize],
) -> Result<(TensorId, Option<i64>)> {
    let x = g.value(id)?;
    let kept: Vec<usize> = (0..g.rank(id))
        .filter(|axis| !axes.contains(axis))
        .collect();
    let extent = Macs::product(axes.iter().map(|axis| &g.shape(id)[*axis]));
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let x = g.transpose(x, &order);
    let extent = extent.and_then(|extent| i64::try_from(extent).ok());
    if axes.len() == 1 {
        return Ok((x, extent));
    }
    let mut shape = vec![0; kept.len()];
    shape.push(-1);
    let shape = g.vector(&shape);
    Ok((g.node("Reshape", &[x, shape], []), extent))
}

/// Emits Pad by one NaN along the last axis of `x`, the axis `last`, if it has no elements; the median of none is NaN.
fn or_nan(g: &mut Lowering<'_>, x: TensorId, dtype: DType, last: usize) -> TensorId {
    let extent = g.shape_slice(x, -1, i64::MAX);
    let zero = g.vector(&[0]);
    let is_none = g.node("Equal", &[extent, zero], []);
    let behind = g.cast(is_none, Bool, I64);
    let others = g.vector(&vec![0; 2 * last + 1]);
    let pads = g.concat(&[others, behind], 0);
    let nan = g.scalar(dtype, f64::NAN);
    g.node("Pad", &[x, pads, nan], [])
}

/// Emits `x` without its last axis, of extent 1, into which [`lower_rows`] merged `axes` of an operand of this rank.
/// With `keepdim`, each of `axes` comes back with extent 1.
pub(super) fn lower_kept(
    g: &mut Lowering<'_>,
    x: TensorId,
    rank: usize,
    axes: &[usize],
    keepdim: bool,
) -> TensorId {
    let x = g.squeeze(x, &[(rank - axes.len()) as i64]);
    if !keepdim {
        return x;
    }
    let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
    g.unsqueeze(x, &axes)
}

impl Operator for Median {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let x = facts.get(self.x);
        let shape = reduced_shape(&x.shape, &self.axes(facts)?, self.keepdim, &Dim::Known(1));
        let mut positions = shape.clone();
        positions.extend((!self.is_min).then_some(Dim::Known(2)));
        Ok(vec![Fact::new(x.dtype, shape), Fact::new(I64, positions)])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let axes = self.axes(g)?;
        let (mut x, extent) = lower_rows(g, self.x, &axes)?;
        if extent.is_none_or(|extent| extent == 0) && dtype.is_float() {
            x = or_nan(g, x, dtype, rank - axes.len());
        }
        let nan = dtype.is_float().then(|| {
            let is_nan = g.node("IsNaN", &[x], []);
            let ones = g.cast(is_nan, Bool, I64);
            let last = [rank - axes.len()];
            (is_nan, g.reduce("ReduceSum", ones, &last, true))
        });
        let (middle, no_value) = match nan {
            None => (self.lower_middle(g, x, extent), None),
            Some((is_nan, count)) if self.skips_nan => {
                let extent = g.shape_slice(x, -1, i64::MAX);
                let valid = g.node("Sub", &[extent, count], []);
                let zero = g.scalar(I64, 0.0);
                let is_none = g.node("Equal", &[valid, zero], []);
                let nowhere = g.scalar(I64, -1.0);
                let middle = Self::lower_middle_of_valid(g, (x, dtype), is_nan, valid);
                (middle, Some((is_none, nowhere)))
            }
            Some((is_nan, count)) => {
                let is_any = g.cast(count, I64, Bool);
                let ones = g.cast(is_nan, Bool, I32);
                let first = g.node("ArgMax", &[ones], [("axis", NodeAttr::Int(-1))]);
                (self.lower_middle(g, x, extent), Some((is_any, first)))
            }
        };
        let mut value = self.lower_value(g, middle.values, dtype);
        let mut positions = middle.positions;
        if let Some((is_nan, place)) = no_value {
            let number = g.scalar(dtype, f64::NAN);
            value = g.node("Where", &[is_nan, number, value], []);
            positions = positions.map(|at| g.node("Where", &[is_nan, place, at], []));
        }
        let kept = |g: &mut Lowering<'_>, x| lower_kept(g, x, rank, &axes, self.keepdim);
        let value = kept(g, value);
        let [left, right] = positions.map(|at| kept(g, at));
        if self.is_min {
            return Ok(vec![value, left]);
        }
        let last = if self.keepdim {
            rank
        } else {
            rank - axes.len()
        } as i64;
        let pair = [left, right].map(|at| g.unsqueeze(at, &[last]));
        Ok(vec![value, g.concat(&pair, last)])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let listed = self
            .axis
            .map_or(Ok(Vec::new()), |axis| values.integers(axis))?;
        let axes = listed_axes(&listed, x.shape().len())?;
        if !x.dtype().is_float() {
            reduce::refuse_none(x.shape(), &axes, "median")?;
        }
        with_array!(x, x => self.evaluated(x, &axes))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
