//! The element that occurs most often along an axis: `mode`.
//!
//! Paddle: `phi/kernels/mode_kernel.h`, `phi/kernels/funcs/mode.h`. ONNX: Equal, ReduceSum, ReduceMax and ReduceMin.

use super::median::{TYPES, lower_kept, lower_rows};
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::kernels::{map, reduce};
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::axes::reduced_shape;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{Bool, I64};
use crate::tensor::{Array, Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "mode",
    &[Arg::Tensor("x")],
    &[Form::legacy(
        &["mode"],
        &[Binding::Slot("X")],
        &["Out", "Indices"],
    )],
    Mode::parse,
)
.with_opset(9)
.with_dtypes(TYPES)
.with_results(&["out", "indices"])];

/// The element that occurs most often along an axis, or the smallest of those that are tied, and its last position, as
/// int64.
struct Mode {
    x: ValueId,
    axis: i64,
    keepdim: bool,
}

impl Mode {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            axis: op.attr_or("axis", -1)?,
            keepdim: op.attr_or("keepdim", false)?,
        }))
    }

    /// The last position of the mode of the elements in `row`.
    fn of<T: Element + PartialOrd>(row: &[T]) -> usize {
        let count = |x: &T| row.iter().filter(|other| *other == x).count();
        let mut best = (0, 0);
        for (position, element) in row.iter().enumerate() {
            let (frequency, chosen) = (count(element), &row[best.1]);
            let is_better = frequency > best.0 || frequency == best.0 && element <= chosen;
            if is_better {
                best = (frequency, position);
            }
        }
        best.1
    }

    fn evaluated<T: Element + PartialOrd>(&self, x: &Array<T>) -> Result<Vec<Tensor>> {
        let axes = [normalize_axis(self.axis, x.ndim())?];
        let shape = reduced_shape(x.shape(), &axes, self.keepdim, &1);
        reduce::refuse_none(x.shape(), &axes, "mode")?;
        let values = reduce::reduce(x, &axes, |row: &[T]| row[Self::of(row)])?;
        let positions = reduce::reduce(x, &axes, |row: &[T]| Self::of(row) as i64)?;
        Ok(vec![
            T::tensor(map::reshape(&values.into(), &shape)?),
            i64::tensor(map::reshape(&positions.into(), &shape)?),
        ])
    }
}

impl Operator for Mode {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let x = facts.get(self.x);
        let mut shape = x.shape.clone();
        if !shape.is_empty() {
            let axes = [normalize_axis(self.axis, shape.len())?];
            shape = reduced_shape(&shape, &axes, self.keepdim, &Dim::Known(1));
        }
        Ok(vec![
            Fact::new(x.dtype, shape.clone()),
            Fact::new(I64, shape),
        ])
    }

    /// Counts the occurrences of each element by a comparison with all others along the axis: this takes memory that is
    /// quadratic in the extent.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let rank = g.rank(self.x);
        let x = g.value(self.x)?;
        if rank == 0 {
            return Ok(vec![x, g.scalar(I64, 0.0)]);
        }
        let axes = [normalize_axis(self.axis, rank)?];
        let (x, _) = lower_rows(g, self.x, &axes)?;
        let (down, along) = (
            g.unsqueeze(x, &[rank as i64]),
            g.unsqueeze(x, &[rank as i64 - 1]),
        );
        let is_same = g.node("Equal", &[down, along], []);
        let ones = g.cast(is_same, Bool, I64);
        let counts = g.reduce("ReduceSum", ones, &[rank], false);
        let last = [rank - 1];
        let most = g.reduce("ReduceMax", counts, &last, true);
        let is_most = g.node("Equal", &[counts, most], []);
        let largest = g.reduce("ReduceMax", x, &last, true);
        let candidates = g.node("Where", &[is_most, x, largest], []);
        let value = g.reduce("ReduceMin", candidates, &last, true);
        let is_value = g.node("Equal", &[x, value], []);
        let extent = g.shape_slice(x, -1, i64::MAX);
        let places = g.count_up(extent);
        let nowhere = g.scalar(I64, -1.0);
        let places = g.node("Where", &[is_value, places, nowhere], []);
        let position = g.reduce("ReduceMax", places, &last, true);
        let results = [value, position];
        Ok(results
            .map(|x| lower_kept(g, x, rank, &axes, self.keepdim))
            .into())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        if x.shape().is_empty() {
            return Ok(vec![x.clone(), Tensor::scalar(0_i64)]);
        }
        with_array!(x, x => self.evaluated(x))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
