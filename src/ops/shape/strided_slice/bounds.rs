//! Where a slice by steps starts and ends, as NumPy has it and as Paddle 2 had it.
//!
//! Paddle: `phi/kernels/funcs/{strided_slice,slice_utils}.h`.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{OpReader, Values};
use crate::program::{Facts, ValueId};
use crate::tensor::{DType, Dim, Tensor, normalize_axis};

/// Before Paddle 3, an end of -1 with a negative stride is no position: it is how `x[::-1]` is
/// written. Since then, that is [`OPEN_END`], and -1 the last element, as in NumPy. Other bounds that
/// lie before the first element, with a negative stride, stood for the first.
pub(crate) const OLDER_BOUNDS: &str = "older_bounds";

/// The end of a way back that takes the first element as well.
pub(super) const OPEN_END: i64 = i32::MIN as i64;

/// Every `stride`-th element of one axis, from `start` up to, not including, `end`. Bounds count
/// from the end where they are negative, and are clipped, as in NumPy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub axis: usize,
    start: i64,
    pub end: i64,
    pub stride: i64,
}

impl Steps {
    /// What these bounds, as Paddle had them before version 3, are in NumPy, along an axis of this
    /// extent.
    fn modern(mut self, extent: &Dim) -> Self {
        if self.stride < 0 {
            // Of an unknown axis, not as far back as what stands for no end.
            let first = extent.known().map_or(OPEN_END + 1, |extent| -extent);
            self.start = self.start.max(first);
            self.end = match self.end {
                -1 => OPEN_END,
                end => end.max(first),
            };
        }
        self
    }

    /// Whether [`Steps::modern`] says it all, since no bound lies before the first element of
    /// an axis that is not known.
    fn is_clear(self, extent: &Dim) -> bool {
        self.stride > 0 || extent.known().is_some() || self.start.min(self.end) >= -1
    }

    /// The first position in an axis of `extent`, and how many there are.
    fn range(self, extent: usize) -> (i64, usize) {
        let extent = i64::try_from(extent).unwrap_or(i64::MAX);
        // Going back, the position before the first is where to stop at the latest.
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

    /// The positions in an axis of `extent`.
    pub fn positions(self, extent: usize) -> Vec<usize> {
        let (first, count) = self.range(extent);
        let places = (0..count as i64).map(|place| first + place * self.stride);
        places
            .filter_map(|position| usize::try_from(position).ok())
            .collect()
    }

    /// How many there are.
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

/// The bounds of each axis, from the lists of an op.
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

pub(crate) fn distinct_axes(axes: &[i64], rank: usize) -> Result<BTreeSet<usize>> {
    axes.iter()
        .map(|axis| normalize_axis(*axis, rank))
        .collect()
}

/// Where an op starts, ends and how it steps.
pub(crate) struct Bounds {
    starts: ValueId,
    ends: ValueId,
    strides: ValueId,
    pub axes: Vec<i64>,
    /// See [`OLDER_BOUNDS`].
    pub are_older: bool,
}

impl Bounds {
    pub fn parse(op: &mut OpReader<'_>, strides: &str) -> Result<Self> {
        Ok(Self {
            starts: op.operand("starts")?,
            ends: op.operand("ends")?,
            strides: op.operand(strides)?,
            axes: op.attr("axes")?,
            are_older: op.attr_or(OLDER_BOUNDS, false)?,
        })
    }

    /// The steps along axes of these extents.
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
                *steps = steps.modern(&shape[steps.axis]);
            }
        }
        Ok(all)
    }

    /// The bounds, if they are known before a run.
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

    /// The bounds in a run.
    pub fn of(&self, values: &Values<'_>, shape: &[usize]) -> Result<Vec<Steps>> {
        let shape: Vec<Dim> = shape.iter().copied().map(Dim::from).collect();
        let [starts, ends, strides] =
            [self.starts, self.ends, self.strides].map(|id| values.integers(id));
        self.steps(&shape, &starts?, &ends?, &strides?)
    }

    /// The shape of what these steps, if they are known, leave of a tensor.
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

    /// Emits the starts and ends as NumPy has them, of a tensor that has the shape of `like`.
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
            if older.iter().all(|steps| steps.is_clear(&shape[steps.axis])) {
                let clear = older.iter().map(|steps| steps.modern(&shape[steps.axis]));
                let (starts, ends): (Vec<i64>, Vec<i64>) =
                    clear.map(|steps| (steps.start, steps.end)).unzip();
                return Ok([g.vector(&starts), g.vector(&ends)]);
            }
        }
        // Where the way leads forth, this is no change.
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
