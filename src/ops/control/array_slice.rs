//! Lists of tensors of which items are taken (`array_pop`, `slice_array`): what is left, or what was taken, is a list.
//!
//! A list is one tensor, with the items along its first axis ([`super::array`]). Paddle: `phi/kernels/array_kernel.h`,
//! and `SliceArrayKernel` in `phi/kernels/slice_kernel.h`. ONNX: Slice, Concat and Gather.

use super::array::{item, joined, slice};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{
    Arg, Binding, Form, Function, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId, single};
use crate::tensor::{Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new("array_pop", &[Arg::Tensor("array")], &[], Pop::parse)
        .with_results(&["array_out", "out"])
        .with_pir(&[
            Form::pir(&["array_pop"], &["array"], &[Binding::Slot("array")]).overwriting("array"),
        ]),
    OpDef::new(
        "slice_array",
        &[
            Arg::Tensor("input"),
            Arg::IntArray("starts"),
            Arg::IntArray("ends"),
        ],
        &[],
        Part::parse,
    ),
];

/// The list without the item at a position, and that item.
struct Pop {
    array: ValueId,
    /// Counts from the end where it is negative.
    index: i64,
}

impl Pop {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            array: op.operand("array")?,
            index: op.attr("index")?,
        }))
    }
}

impl Operator for Pop {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let array = facts.get(self.array);
        let (count, item) = array.shape.split_first().ok_or_else(no_list)?;
        let mut rest = vec![
            count
                .known()
                .map_or(Dim::Unknown, |n| Dim::Known((n - 1).max(0))),
        ];
        rest.extend_from_slice(item);
        let item = Fact::new(array.dtype, item.to_vec());
        Ok(vec![Fact::new(array.dtype, rest), item])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let array = g.value(self.array)?;
        let index = g.constant(Tensor::scalar(self.index));
        let item = g.node("Gather", &[array, index], [("axis", NodeAttr::Int(0))]);
        let mut kept = Vec::new();
        if self.index != 0 {
            kept.push(g.slice(array, 0, self.index, 0));
        }
        if self.index != -1 {
            kept.push(g.slice(array, self.index.saturating_add(1), i64::MAX, 0));
        }
        Ok(vec![g.concat(&kept, 0), item])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let array = values.get(self.array)?;
        let (index, taken) = item(array, self.index)?;
        let count = array.shape()[0];
        let rest = joined(&slice(array, 0, index), &slice(array, index + 1, count))?;
        Ok(vec![rest, taken])
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

fn no_list() -> Error {
    Error::malformed("a tensor where a list was expected")
}

/// The items `start..end`. Bounds count from the end where they are negative, and are clipped to the number of items. A
/// start of -1 with an end at or before the first item gives the last item. Paddle refuses other empty parts.
struct Part {
    input: ValueId,
    starts: ValueId,
    ends: ValueId,
}

impl Part {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            input: op.operand("input")?,
            starts: op.operand("starts")?,
            ends: op.operand("ends")?,
        }))
    }

    /// The bounds of the part of a list of `count` items, the end behind the start.
    fn bounds(start: i64, end: i64, count: i64) -> Result<(i64, i64)> {
        let clip = |bound: i64| if bound < 0 { bound + count } else { bound }.max(0);
        let (first, mut last) = (clip(start), clip(end).min(count));
        if start == -1 && last == 0 {
            last = first + 1;
        }
        if first >= last || last > count {
            return Err(Error::malformed(format!(
                "takes the items {start} to {end} of a list of {count}, which are none"
            )));
        }
        Ok((first, last))
    }

    /// The end for ONNX's Slice, in a vector.
    fn lowered_end(
        &self,
        g: &mut Lowering<'_>,
        list: TensorId,
        start: TensorId,
    ) -> Result<TensorId> {
        let end = g.int_array(self.ends)?;
        let known = |ids: Option<Vec<i64>>| ids.and_then(|ids| ids.first().copied());
        let is_not_last = known(g.integers(self.starts)).is_some_and(|start| start != -1);
        let is_behind = known(g.integers(self.ends)).is_some_and(|end| end > 0);
        if is_not_last || is_behind {
            return Ok(end);
        }
        let (zero, last, most) = (g.vector(&[0]), g.vector(&[-1]), g.vector(&[i64::MAX]));
        let one = g.vector(&[1]);
        let count = g.shape_slice(list, 0, 1);
        let from_end = g.node("Add", &[end, count], []);
        let is_negative = g.node("Less", &[end, zero], []);
        let position = g.node("Where", &[is_negative, from_end, end], []);
        let is_before = g.node("Less", &[position, one], []);
        let is_last = g.node("Equal", &[start, last], []);
        let is_special = g.node("And", &[is_last, is_before], []);
        Ok(g.node("Where", &[is_special, most, end], []))
    }
}

impl Function for Part {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let list = facts.get(self.input);
        let mut shape = list.shape.clone();
        let count = shape.first_mut().ok_or_else(no_list)?;
        let bounds = facts.integers(self.starts).zip(facts.integers(self.ends));
        *count = match (bounds, count.known()) {
            (Some((starts, ends)), Some(count)) => {
                let bounds = (single(&starts, "starts")?, single(&ends, "ends")?);
                let (first, last) = Self::bounds(bounds.0, bounds.1, count)?;
                Dim::Known(last - first)
            }
            _ => Dim::Unknown,
        };
        Ok(Fact::new(list.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let list = g.value(self.input)?;
        let start = g.int_array(self.starts)?;
        let end = self.lowered_end(g, list, start)?;
        let axis = g.vector(&[0]);
        Ok(g.node("Slice", &[list, start, end, axis], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let list = values.get(self.input)?;
        let start = single(&values.integers(self.starts)?, "starts")?;
        let end = single(&values.integers(self.ends)?, "ends")?;
        let count = list.shape().first().copied().unwrap_or_default();
        let (first, last) = Self::bounds(start, end, count as i64)?;
        Ok(slice(list, first as usize, last as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::Part;

    #[test]
    fn bounds_of_parts() {
        let bounds = |start, end| Part::bounds(start, end, 5).ok();
        assert_eq!(bounds(0, 2), Some((0, 2)));
        assert_eq!(bounds(-2, i64::MAX), Some((3, 5)));
        assert_eq!(bounds(-9, -1), Some((0, 4)));
        assert_eq!(bounds(-1, 0), Some((4, 5)));
        assert_eq!(bounds(-1, -7), Some((4, 5)));
        assert_eq!(bounds(-2, 0), None);
        assert_eq!(bounds(5, 9), None);
        assert_eq!(Part::bounds(-1, 0, 0).ok(), None);
    }
}
