//! Parts of a tensor, by ranges along axes: `slice`.

use std::collections::BTreeSet;

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map::part_of;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "slice",
    &[
        Arg::Tensor("input"),
        Arg::IntArray("starts"),
        Arg::IntArray("ends"),
    ],
    &[Form::legacy(
        &["slice"],
        &[
            Binding::Slot("Input"),
            Binding::IntArray {
                attr: "starts",
                slots: &["StartsTensor", "StartsTensorList"],
            },
            Binding::IntArray {
                attr: "ends",
                slots: &["EndsTensor", "EndsTensorList"],
            },
        ],
        &["Out"],
    )],
    Slice::parse,
)
.part_by_part(&["input"])];

/// The elements `starts[i]..ends[i]` along `axes[i]`. Bounds count from the end where they are negative,
/// and are clipped to the extent. Axes in `decrease_axis` must have one element left, and are removed.
///
/// Paddle: `phi/kernels/slice_kernel.h`, `phi/kernels/funcs/slice_utils.h`.
/// ONNX: Slice and Squeeze; Gather for a single position along one axis.
struct Slice {
    input: ValueId,
    starts: ValueId,
    ends: ValueId,
    axes: Vec<i64>,
    decrease_axis: Vec<i64>,
}

/// The bounds of a slice along one axis.
#[derive(Debug, Clone, Copy)]
struct Range {
    axis: usize,
    start: i64,
    end: i64,
}

impl Range {
    /// Both bounds as positions in an axis of `extent`, the end not before the start.
    fn clip(self, extent: i64) -> (i64, i64) {
        let clip = |position: i64| {
            let from_start = if position < 0 {
                position.saturating_add(extent)
            } else {
                position
            };
            from_start.clamp(0, extent)
        };
        let start = clip(self.start);
        (start, clip(self.end).max(start))
    }
}

impl Slice {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // Says which bounds are known when the program is built; here the operands say it.
        op.ignore("infer_flags");
        Ok(Box::new(Self {
            input: op.operand("input")?,
            starts: op.operand("starts")?,
            ends: op.operand("ends")?,
            axes: op.attr("axes")?,
            decrease_axis: op.attr_or("decrease_axis", Vec::new())?,
        }))
    }

    /// The range along each axis, for starts and ends that are known.
    fn ranges(&self, rank: usize, starts: &[i64], ends: &[i64]) -> Result<Vec<Range>> {
        if starts.len() != self.axes.len() || ends.len() != self.axes.len() {
            return Err(Error::malformed(format!(
                "{} axes, {} starts and {} ends",
                self.axes.len(),
                starts.len(),
                ends.len()
            )));
        }
        let removed = self.removed(rank)?;
        let bounds = self.axes.iter().zip(starts.iter().zip(ends));
        bounds
            .map(|(axis, (start, end))| {
                let axis = normalize_axis(*axis, rank)?;
                // Along a removed axis, the start alone counts: Paddle writes -1..0 for the last element.
                let end = match (removed.contains(&axis), *start) {
                    (false, _) => *end,
                    (true, -1) => i64::MAX,
                    (true, start) => start.saturating_add(1),
                };
                let start = *start;
                Ok(Range { axis, start, end })
            })
            .collect()
    }

    /// The axes to remove, in ascending order.
    fn removed(&self, rank: usize) -> Result<Vec<usize>> {
        let axes = self.decrease_axis.iter();
        let axes = axes.map(|axis| normalize_axis(*axis, rank));
        let mut axes = axes.collect::<Result<Vec<usize>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    /// The range along each axis, if all bounds are known before a run.
    fn known_ranges(&self, facts: &Facts<'_>) -> Result<Option<Vec<Range>>> {
        let bounds = facts.integers(self.starts).zip(facts.integers(self.ends));
        bounds
            .map(|(starts, ends)| self.ranges(facts.rank(self.input), &starts, &ends))
            .transpose()
    }

    /// What is known before a run of the elements of the result, if `input` is a vector.
    fn content(&self, facts: &Facts<'_>, ranges: &[Range]) -> Option<Vec<Dim>> {
        let content = facts.content(self.input)?;
        let [range] = ranges else {
            return None;
        };
        if facts.rank(self.input) != 1 {
            return None;
        }
        let (start, end) = range.clip(i64::try_from(content.len()).ok()?);
        let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        content.get(range).map(<[Dim]>::to_vec)
    }

    /// The range, if there is one alone and its axis is removed, so that it takes a single position.
    fn index(&self, g: &Lowering<'_>, ranges: &[Range]) -> Result<Option<Range>> {
        let removed = self.removed(g.rank(self.input))?;
        Ok(match ranges {
            [range] if removed == [range.axis] => Some(*range),
            _ => None,
        })
    }
}

impl Function for Slice {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.input).to_vec();
        let axes = self
            .axes
            .iter()
            .map(|axis| normalize_axis(*axis, shape.len()));
        let distinct: BTreeSet<usize> = axes.collect::<Result<_>>()?;
        if distinct.len() < self.axes.len() {
            return Err(Error::malformed(format!(
                "an axis twice in {:?}",
                self.axes
            )));
        }
        let ranges = self.known_ranges(facts)?;
        let mut content = None;
        match &ranges {
            Some(ranges) => {
                for range in ranges {
                    shape[range.axis] = sliced_extent(&shape[range.axis], *range);
                }
                content = self.content(facts, ranges);
            }
            None => {
                for axis in &self.axes {
                    shape[normalize_axis(*axis, facts.rank(self.input))?] = Dim::Unknown;
                }
            }
        }
        for axis in self.removed(shape.len())?.into_iter().rev() {
            if shape[axis] == Dim::Known(0) {
                return Err(Error::malformed(format!(
                    "an element that is not there is taken from axis {axis}"
                )));
            }
            shape.remove(axis);
        }
        Ok(Fact::new(facts.dtype(self.input), shape).with_content(content))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let input = g.value(self.input)?;
        let rank = g.rank(self.input);
        let ranges = self.known_ranges(g)?;
        if let Some(ranges) = &ranges
            && let Some(range) = self.index(g, ranges)?
        {
            let index = g.constant(Tensor::scalar(range.start));
            let axis = ("axis", NodeAttr::Int(range.axis as i64));
            return Ok(g.node("Gather", &[input, index], [axis]));
        }
        let (starts, ends) = match &ranges {
            Some(ranges) => {
                let starts: Vec<i64> = ranges.iter().map(|range| range.start).collect();
                let ends: Vec<i64> = ranges.iter().map(|range| range.end).collect();
                (g.vector(&starts), g.vector(&ends))
            }
            None => (g.int_array(self.starts)?, g.int_array(self.ends)?),
        };
        let axes = g.vector(&self.axes);
        let slice = g.node("Slice", &[input, starts, ends, axes], []);
        let removed = self.removed(rank)?;
        let removed: Vec<i64> = removed.into_iter().map(|axis| axis as i64).collect();
        Ok(g.squeeze(slice, &removed))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let input = values.get(self.input)?;
        let rank = input.shape().len();
        let (starts, ends) = (values.integers(self.starts)?, values.integers(self.ends)?);
        let ranges = self.ranges(rank, &starts, &ends)?;
        let removed = self.removed(rank)?;
        with_array!(input, input => {
            let mut view = input.clone();
            for range in ranges {
                let (start, end) = range.clip(view.len_of(Axis(range.axis)) as i64);
                let bounds = ndarray::Slice::from(start as isize..end as isize);
                view.slice_axis_inplace(Axis(range.axis), bounds);
            }
            for axis in removed.into_iter().rev() {
                if view.len_of(Axis(axis)) != 1 {
                    return Err(Error::malformed(format!(
                        "axis {axis} has {} elements where 1 is taken",
                        view.len_of(Axis(axis))
                    )));
                }
                view.index_axis_inplace(Axis(axis), 0);
            }
            Ok(Element::tensor(part_of(input.len(), view)?))
        })
    }
}

/// The extent of a slice of an axis of `extent`.
fn sliced_extent(extent: &Dim, range: Range) -> Dim {
    match extent {
        Dim::Known(extent) => {
            let (start, end) = range.clip(*extent);
            Dim::Known(end - start)
        }
        // From the first element to beyond the last. Paddle writes 2^31 - 1 or 10^7 for an open end.
        _ if range.start == 0 && range.end >= 10_000_000 => extent.clone(),
        // One element, wherever it is.
        _ if range.end == range.start.saturating_add(1)
            || range.end == i64::MAX && range.start == -1 =>
        {
            Dim::Known(1)
        }
        _ => Dim::Unknown,
    }
}
