//! Where a strided slice starts and ends, in the meaning of NumPy and Paddle 3, and in that of Paddle 2.
//!
//! Paddle: `phi/kernels/funcs/{strided_slice,slice_utils}.h`.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{OpReader, Values};
use crate::program::{Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor, normalize_axis};

/// The end of a slice with a negative stride that takes the first element as well.
pub(super) const OPEN_END: i64 = i32::MIN as i64;
/// The end that Python wrote for an open one up to Paddle 2.1.
const FARTHEST: i64 = -10_000_000;

/// A slice along one axis: every `stride`-th element from `start` up to, not including, `end`. Bounds
/// count from the end where they are negative, and are clipped, as in NumPy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub axis: usize,
    start: i64,
    pub end: i64,
    pub stride: i64,
}

impl Steps {
    /// Translates bounds of a program from before Paddle 3 to those of NumPy, along an axis of `extent`.
    ///
    /// They differ if the stride is negative. In older programs, an end of -1 is no position but takes the first
    /// element as well: this is how `x[::-1]` is written. Paddle 3 writes [`OPEN_END`] for it, and -1 is the last
    /// element, as in NumPy. Other bounds that lie before the first element stand for the first in older programs.
    ///
    /// Up to Paddle 2.1, where `takes_first`, an end before the first element takes that as well: its Python wrote
    /// `x[::-1]` with an end of -10 000 000.
    fn modern(mut self, extent: &Dim, takes_first: bool) -> Self {
        if takes_first && self.is_behind_first(extent) {
            self.end = -1;
        }
        if self.stride < 0 {
            // Without the extent, a bound is only kept from being read as `OPEN_END`.
            let first = extent.known().map_or(OPEN_END + 1, |extent| -extent);
            self.start = self.start.max(first);
            self.end = match self.end {
                -1 => OPEN_END,
                end => end.max(first),
            };
        }
        self
    }

    /// Whether the end lies before the first element, as far as that is known.
    fn is_behind_first(&self, extent: &Dim) -> bool {
        let first = extent.known().map_or(FARTHEST + 1, |extent| -extent);
        self.stride < 0 && self.end < first
    }

    /// Whether [`Steps::modern`] is right without an extent that only a run knows: the stride is
    /// positive, the extent is known, or neither bound can lie before the first element.
    fn is_clear(self, extent: &Dim, takes_first: bool) -> bool {
        let is_open = takes_first && self.is_behind_first(extent);
        let ends_inside = self.end >= -1 || is_open;
        self.stride > 0 || extent.known().is_some() || (self.start >= -1 && ends_inside)
    }

    /// The first position that is taken along an axis of `extent`, and the number of positions.
    fn range(self, extent: usize) -> (i64, usize) {
        let extent = i64::try_from(extent).unwrap_or(i64::MAX);
        // With a negative stride, -1 is the end that takes the first element as well.
        let (low, high) = if self.stride > 0 {
            (0, extent)
        } else {
            (-1, extent - 1)
        };
        let clip = |position: i64| {
            let from_start = if position < 0 {
                position.saturating_add(extent)
            } else {
                position
            };
            from_start.clamp(low, high)
        };
        let (first, end) = (clip(self.start), clip(self.end));
        let distance = if self.stride > 0 {
            end - first
        } else {
            first - end
        };
        let count = u64::try_from(distance).map_or(0, |d| d.div_ceil(self.stride.unsigned_abs()));
        (first, usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The positions that are taken along an axis of `extent`, in the order of the result.
    pub fn positions(self, extent: usize) -> Vec<usize> {
        let (first, count) = self.range(extent);
        let places = (0..count as i64).map(|place| first + place * self.stride);
        places
            .filter_map(|position| usize::try_from(position).ok())
            .collect()
    }

    /// The extent of the slice along an axis of `extent`.
    fn count(self, extent: &Dim) -> Dim {
        const NO_END: i64 = i32::MAX as i64;
        match extent.extent() {
            Some(extent) => Dim::from(self.range(extent).1),
            None if self.stride == 1 && self.start == 0 && self.end >= NO_END => extent.clone(),
            None if self.stride == -1 && self.start >= NO_END && self.end <= OPEN_END => {
                extent.clone()
            }
            None => Dim::Unknown,
        }
    }
}

/// The slices along each axis, from the lists of an op: its axes, starts, ends and strides.
fn steps(
    axes: &[i64],
    rank: usize,
    (starts, ends, strides): (&[i64], &[i64], &[i64]),
) -> Result<Vec<Steps>> {
    if [starts, ends, strides]
        .iter()
        .any(|list| list.len() != axes.len())
    {
        return Err(Error::malformed(format!(
            "{} axes, {} starts, {} ends and {} strides",
            axes.len(),
            starts.len(),
            ends.len(),
            strides.len()
        )));
    }
    if strides.contains(&0) {
        return Err(Error::malformed("a stride of 0"));
    }
    let distinct: BTreeSet<usize> = distinct_axes(axes, rank)?;
    if distinct.len() != axes.len() {
        return Err(Error::malformed(format!("an axis twice in {axes:?}")));
    }
    let bounds = starts.iter().zip(ends).zip(strides);
    let all = axes
        .iter()
        .zip(bounds)
        .map(|(axis, ((start, end), stride))| {
            Ok(Steps {
                axis: normalize_axis(*axis, rank)?,
                start: *start,
                end: *end,
                stride: *stride,
            })
        });
    all.collect()
}

/// The positions of `axes` among `rank` axes, in ascending order and without repetition.
pub(crate) fn distinct_axes(axes: &[i64], rank: usize) -> Result<BTreeSet<usize>> {
    axes.iter()
        .map(|axis| normalize_axis(*axis, rank))
        .collect()
}

/// The operands and attributes that say where a strided slice starts and ends, with which stride, and
/// along which axes.
pub(crate) struct Bounds {
    starts: ValueId,
    ends: ValueId,
    strides: ValueId,
    pub axes: Vec<i64>,
    /// Whether they are those of a program from before Paddle 3; see [`Steps::modern`].
    pub are_older: bool,
    /// Whether an end before the first element takes that as well.
    pub take_first: bool,
}

impl Bounds {
    /// Reads the bounds of an op that calls its operand of strides `strides`.
    pub fn parse(op: &mut OpReader<'_>, strides: &str) -> Result<Self> {
        Ok(Self {
            starts: op.operand("starts")?,
            ends: op.operand("ends")?,
            strides: op.operand(strides)?,
            axes: op.attr("axes")?,
            are_older: op.is_former(),
            take_first: false,
        })
    }

    /// The slices along each axis of a tensor of `shape`, with bounds in the meaning of NumPy.
    fn steps(
        &self,
        shape: &[Dim],
        starts: &[i64],
        ends: &[i64],
        strides: &[i64],
    ) -> Result<Vec<Steps>> {
        let mut all = steps(&self.axes, shape.len(), (starts, ends, strides))?;
        if self.are_older {
            for steps in &mut all {
                *steps = steps.modern(&shape[steps.axis], self.take_first);
            }
        }
        Ok(all)
    }

    /// The slices of `x` along each axis, if all bounds are known before a run.
    pub fn known(&self, facts: &Facts<'_>, x: ValueId) -> Result<Option<Vec<Steps>>> {
        let shape = facts.shape(x);
        let [starts, ends, strides] =
            [self.starts, self.ends, self.strides].map(|id| facts.integers(id));
        let (Some(starts), Some(ends), Some(strides)) = (starts, ends, strides) else {
            distinct_axes(&self.axes, shape.len())?;
            return Ok(None);
        };
        self.steps(shape, &starts, &ends, &strides).map(Some)
    }

    /// The slices along each axis of a tensor of `shape`, in a run.
    pub fn of(&self, values: &Values<'_>, shape: &[usize]) -> Result<Vec<Steps>> {
        let shape: Vec<Dim> = shape.iter().copied().map(Dim::from).collect();
        let [starts, ends, strides] =
            [self.starts, self.ends, self.strides].map(|id| values.integers(id));
        self.steps(&shape, &starts?, &ends?, &strides?)
    }

    /// The shape of the slice of a tensor of `shape`. Without `steps`, the extents along the sliced axes
    /// are unknown.
    pub fn sliced(&self, shape: &[Dim], steps: Option<&[Steps]>) -> Result<Vec<Dim>> {
        let mut sliced = shape.to_vec();
        match steps {
            Some(steps) => {
                for steps in steps {
                    sliced[steps.axis] = steps.count(&shape[steps.axis]);
                }
            }
            None => {
                for axis in distinct_axes(&self.axes, shape.len())? {
                    sliced[axis] = Dim::Unknown;
                }
            }
        }
        Ok(sliced)
    }

    /// Emits the starts and the ends, in the meaning of NumPy and ONNX, of a slice of `x`, which has the
    /// shape of `like`.
    fn lower_bounds(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        like: ValueId,
    ) -> Result<[TensorId; 2]> {
        let strides = if self.are_older {
            g.constant_integers(self.strides, "strides")?
        } else {
            Vec::new()
        };
        if strides.iter().all(|stride| *stride > 0) {
            return Ok([g.int_array(self.starts)?, g.int_array(self.ends)?]);
        }
        let ends = g.constant_integers(self.ends, "ends")?;
        if let Some(starts) = g.integers(self.starts) {
            let shape = g.shape(like);
            let older = steps(&self.axes, shape.len(), (&starts, &ends, &strides))?;
            let take_first = self.take_first;
            let mut each = older.iter();
            if each.all(|steps| steps.is_clear(&shape[steps.axis], take_first)) {
                let clear = older.iter();
                let clear = clear.map(|steps| steps.modern(&shape[steps.axis], take_first));
                let (starts, ends): (Vec<i64>, Vec<i64>) =
                    clear.map(|steps| (steps.start, steps.end)).unzip();
                return Ok([g.vector(&starts), g.vector(&ends)]);
            }
        }
        if self.take_first {
            return Err(Error::needs_extents(
                "a negative stride, with which Paddle up to 2.1 takes the first element where the end lies before it",
            ));
        }
        // With a positive stride, a bound that is clipped at the first element means the same.
        let (extents, axes) = (g.node("Shape", &[x], []), g.vector(&self.axes));
        let extents = g.node("Gather", &[extents, axes], []);
        let first = g.node("Neg", &[extents], []);
        let starts = g.int_array(self.starts)?;
        let starts = g.extreme("Max", starts, first, DType::I64);
        let bounds = ends.iter().zip(&strides);
        let is_open: Vec<bool> = bounds.map(|(end, s)| *end == -1 && *s < 0).collect();
        let is_open = g.constant(Tensor::vector(is_open));
        let (ends, open) = (g.vector(&ends), g.vector(&[OPEN_END]));
        let ends = g.extreme("Max", ends, first, DType::I64);
        Ok([starts, g.node("Where", &[is_open, open, ends], [])])
    }

    /// Emits the slice of `x`, which has the shape of `like`.
    pub fn lower(&self, g: &mut Lowering<'_>, x: TensorId, like: ValueId) -> Result<TensorId> {
        if self.axes.is_empty() {
            return Ok(x);
        }
        let [starts, ends] = self.lower_bounds(g, x, like)?;
        let axes = g.vector(&self.axes);
        let strides = g.int_array(self.strides)?;
        Ok(g.node("Slice", &[x, starts, ends, axes, strides], []))
    }
}
