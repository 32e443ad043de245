//! Writing to a strided slice of a tensor: `set_value_with_tensor` and `set_value`.

use ndarray::IxDyn;

use super::bounds::{Bounds, OPEN_END, Steps, distinct_axes};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Function, OpReader, Parsed, Values};
use crate::ops::shared::values::merge_values;
use crate::program::{Attr, Builder, Draft, Fact, Facts, FromAttr, Operand, ValueId};
use crate::tensor::{Array, Element, Tensor, with_array};

/// `x` with `values` written to a strided slice of it. They are broadcast to the shape of the slice, from
/// which the axes in `decrease_axes` are removed, and to which `none_axes` add axes of extent 1.
///
/// Paddle: `phi/kernels/set_value_kernel.h`. ONNX: Slice of the positions of all elements, then
/// ScatterElements; Expand where all of `x` is written.
pub(crate) struct SetValue {
    x: ValueId,
    values: ValueId,
    bounds: Bounds,
    decrease_axes: Vec<i64>,
    none_axes: Vec<i64>,
}

impl SetValue {
    pub fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            values: op.operand("values")?,
            bounds: Bounds::parse(op, "steps")?,
            decrease_axes: op.attr_or("decrease_axes", Vec::new())?,
            none_axes: op.attr_or("none_axes", Vec::new())?,
        }))
    }

    /// For each axis of the shape that `values` are broadcast to, the axis of `x` that it comes from, or
    /// `None` if it is added. `none_axes` counts the axes of the slice before any is removed.
    fn axes(&self, rank: usize) -> Result<Vec<Option<usize>>> {
        let removed = distinct_axes(&self.decrease_axes, rank)?;
        let mut none = self.none_axes.iter().peekable();
        let mut axes = Vec::new();
        for axis in 0..rank {
            while none.next_if(|none| **none <= axis as i64).is_some() {
                axes.push(None);
            }
            if !removed.contains(&axis) {
                axes.push(Some(axis));
            }
        }
        axes.extend(none.map(|_| None));
        Ok(axes)
    }
}

impl Function for SetValue {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let rank = facts.rank(self.x);
        let steps = self.bounds.known(facts, self.x)?.unwrap_or_default();
        let is_odd = |steps: &Steps| steps.stride < 0 && (OPEN_END + 1..0).contains(&steps.end);
        if self.bounds.are_older && steps.iter().any(is_odd) {
            return Err(Error::unsupported(
                "a negative end with a negative step, which Paddle's versions take differently",
            ));
        }
        self.axes(rank)?;
        if facts.dtype(self.x) != facts.dtype(self.values) {
            let (x, values) = (facts.dtype(self.x), facts.dtype(self.values));
            return Err(Error::unsupported(format!("{values} written to {x}")));
        }
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, values) = (g.value(self.x)?, g.value(self.values)?);
        let shape = g.node("Shape", &[x], []);
        let flat = g.vector(&[-1]);
        if self.bounds.axes.is_empty() && self.none_axes.is_empty() {
            let whole = g.node("Expand", &[values, shape], []);
            // `values` may have more axes than `x`, of extent 1, which Expand keeps.
            return Ok(g.node("Reshape", &[whole, shape], []));
        }
        // The position of each element in the flat `x`: a slice of them says where to write.
        let count = g.node("Size", &[x], []);
        let count = g.unsqueeze(count, &[0]);
        let places = g.count_up(count);
        let places = g.node("Reshape", &[places, shape], []);
        let mut part = self.bounds.lower(g, places, self.x)?;
        let rank = g.rank(self.x);
        let removed = distinct_axes(&self.decrease_axes, rank)?;
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        part = g.squeeze(part, &removed);
        let added = self.axes(rank)?.into_iter().enumerate();
        let added = added.filter(|(_, axis)| axis.is_none());
        let added: Vec<i64> = added.map(|(position, _)| position as i64).collect();
        part = g.unsqueeze(part, &added);
        let part_shape = g.node("Shape", &[part], []);
        let values = g.node("Expand", &[values, part_shape], []);
        let values = g.node("Reshape", &[values, flat], []);
        let places = g.node("Reshape", &[part, flat], []);
        let elements = g.node("Reshape", &[x, flat], []);
        let axis = ("axis", NodeAttr::Int(0));
        let written = g.node("ScatterElements", &[elements, places, values], [axis]);
        Ok(g.node("Reshape", &[written, shape], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let rank = x.shape().len();
        let steps = self.bounds.of(values, x.shape())?;
        let mut positions: Vec<Vec<usize>> = x.shape().iter().map(|e| (0..*e).collect()).collect();
        for steps in steps {
            positions[steps.axis] = steps.positions(x.shape()[steps.axis]);
        }
        let axes = self.axes(rank)?;
        let written = values.get(self.values)?.cast(x.dtype());
        with_array!(x, x => set(x, &written, &positions, &axes))
    }
}

/// `x` with `values` written wherever the position along each axis is one of its `positions`. `axes` is
/// that of [`SetValue::axes`].
fn set<T: Element>(
    x: &Array<T>,
    values: &Tensor,
    positions: &[Vec<usize>],
    axes: &[Option<usize>],
) -> Result<Tensor> {
    let fail = || Error::malformed("a value that does not fit what it is written to");
    let values = T::array(values).ok_or_else(fail)?;
    let extents = axes
        .iter()
        .map(|axis| axis.map_or(1, |axis| positions[axis].len()));
    let shape: Vec<usize> = extents.collect();
    let surplus = values.ndim().saturating_sub(shape.len());
    let values = map::reshape(values, &values.shape()[surplus..])?;
    let values = values.broadcast(IxDyn(&shape)).ok_or_else(fail)?;
    let mut result = x.to_owned();
    for (place, value) in values.indexed_iter() {
        // A removed axis has one position, the first in its list.
        let mut target: Vec<usize> = Vec::with_capacity(positions.len());
        for (axis, positions) in positions.iter().enumerate() {
            let at = axes.iter().position(|other| *other == Some(axis));
            let position = positions
                .get(at.map_or(0, |at| place[at]))
                .ok_or_else(fail)?;
            target.push(*position);
        }
        *result.get_mut(IxDyn(&target)).ok_or_else(fail)? = *value;
    }
    Ok(T::tensor(result.into()))
}

/// Makes a constant operand `values` of the numbers that the program spells out in attributes, if it
/// gives no tensor.
pub(crate) fn value_as_operand(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    merge_values(&mut draft);
    if let Some(steps @ Operand::Absent) = draft.operands.last_mut() {
        // Paddle 2.0 has none.
        let axes = draft.attrs.get("axes").and_then(Vec::<i64>::from_attr);
        let ones = vec![1_i64; axes.map_or(0, |axes| axes.len())];
        *steps = Operand::One(builder.constant(Tensor::vector(ones)));
    }
    let values = draft.attrs.remove("values");
    let shape = draft.attrs.remove("shape");
    if let [Operand::One(x), Operand::Absent, ..] = draft.operands[..] {
        let shape = shape.as_ref().and_then(Vec::<i64>::from_attr);
        let shape = shape.unwrap_or_default().into_iter().map(usize::try_from);
        let shape: Vec<usize> = shape
            .collect::<Result<_, _>>()
            .map_err(|_| Error::malformed("a negative extent"))?;
        let values = match values {
            Some(Attr::Ints(values)) => Tensor::from_elements(&shape, values)?,
            Some(Attr::Floats(values)) => Tensor::from_elements(&shape, values)?,
            Some(Attr::Bools(values)) => Tensor::from_elements(&shape, values)?,
            _ => return Err(Error::malformed("no values are given")),
        };
        let values = builder.constant(values.cast(builder.dtype(x)));
        if let Some(operand) = draft.operands.get_mut(1) {
            *operand = Operand::One(values);
        }
    }
    Ok(builder.emit(draft))
}
