//! Adaptive pooling in ONNX, which has no operator for it.
//!
//! `count` windows cover an axis of some extent: number `p` goes from `⌊p · extent / count⌋` to
//! `⌈(p + 1) · extent / count⌉`. Along axes where they are of one size and equally far apart, MaxPool and AveragePool
//! have the same windows. Along others, the elements of each window are gathered and reduced, for which no extent has
//! to be known before a run. A matrix product with zeros outside of each window is no alternative: one element that
//! is infinite or NaN would make all averages along its axis NaN.

use super::geometry::PoolGeometry;
use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::ops::shared::image::ints;
use crate::program::ValueId;
use crate::tensor::{DType, Dim};

/// How a window is reduced to one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolReduction {
    Max,
    Average,
}

/// What is known of the output and the input of an adaptive pool.
pub(super) struct AdaptiveSizes<'s> {
    /// The operand that states the number of windows along each spatial axis.
    pub operand: ValueId,
    /// What is known of these numbers.
    pub kernel: &'s [Dim],
    /// The spatial extents of the input.
    pub image: &'s [Dim],
    /// The element type of the input.
    pub dtype: DType,
}

/// The windows along one spatial axis.
enum Along {
    /// One window over an extent that is not known.
    Whole,
    /// Windows of one size, equally far apart: the kernel size and the stride.
    Fixed([usize; 2]),
    /// All others, also those that are not known.
    Uneven,
}

impl Along {
    fn of(geometry: &PoolGeometry, axis: usize, size: &Dim, image: &Dim) -> Result<Self> {
        if size.same(image) {
            return Ok(Along::Fixed([1, 1]));
        }
        let fixed = match (size.known(), image.extent()) {
            (Some(1), None) => return Ok(Along::Whole),
            (Some(_), Some(image)) => geometry.axis(axis, size, image)?.evenly(),
            _ => None,
        };
        Ok(fixed.map_or(Along::Uneven, Along::Fixed))
    }
}

/// The kernel size and the stride along every spatial axis, if all of them have fixed windows.
pub(super) fn fixed(
    geometry: &PoolGeometry,
    sizes: &AdaptiveSizes<'_>,
) -> Result<Option<[Vec<usize>; 2]>> {
    let (mut kernels, mut strides) = (Vec::new(), Vec::new());
    for (axis, (size, image)) in sizes.kernel.iter().zip(sizes.image).enumerate() {
        let Along::Fixed([kernel, stride]) = Along::of(geometry, axis, size, image)? else {
            return Ok(None);
        };
        kernels.push(kernel);
        strides.push(stride);
    }
    Ok(Some([kernels, strides]))
}

/// Emits the adaptive pooling of `x` (`[n, c, …]`): one pooling node for all axes with fixed windows, a reduction of
/// whole axes, and Gather and a reduction for each axis with uneven windows.
pub(super) fn lower(
    g: &mut Lowering<'_>,
    x: TensorId,
    geometry: &PoolGeometry,
    sizes: &AdaptiveSizes<'_>,
    reduction: PoolReduction,
) -> Result<TensorId> {
    let (global, local, reduce) = match reduction {
        PoolReduction::Max => ("GlobalMaxPool", "MaxPool", "ReduceMax"),
        PoolReduction::Average => ("GlobalAveragePool", "AveragePool", "ReduceMean"),
    };
    if sizes.kernel.iter().all(|size| *size == Dim::Known(1)) {
        return Ok(g.node(global, &[x], []));
    }
    let axes = sizes.kernel.iter().zip(sizes.image).enumerate();
    let along: Vec<Along> = axes
        .map(|(axis, (size, image))| Along::of(geometry, axis, size, image))
        .collect::<Result<_>>()?;
    let mut y = x;
    let fixed = along.iter().map(|along| match along {
        Along::Fixed(fixed) => *fixed,
        Along::Whole | Along::Uneven => [1, 1],
    });
    let (kernels, strides): (Vec<usize>, Vec<usize>) = fixed.map(|[k, s]| (k, s)).unzip();
    if kernels.iter().any(|kernel| *kernel != 1) {
        let attrs = [
            ("kernel_shape", ints(&kernels)),
            ("strides", ints(&strides)),
        ];
        y = g.node(local, &[y], attrs);
    }
    let is_whole = |axis: &usize| matches!(along[*axis - 2], Along::Whole);
    let whole: Vec<usize> = (2..along.len() + 2).filter(is_whole).collect();
    if !whole.is_empty() {
        y = g.reduce(reduce, y, &whole, true);
    }
    for (axis, along) in along.iter().enumerate() {
        if matches!(along, Along::Uneven) {
            let bounds = Bounds::new(g, y, geometry, sizes, axis)?;
            y = match reduction {
                PoolReduction::Average => bounds.average(g, y, sizes, axis),
                PoolReduction::Max => {
                    let last = bounds.last(g);
                    let members = bounds.members(g, last);
                    let axis = axis + 2;
                    let gathered = g.node("Gather", &[y, members], [on_axis(axis)]);
                    g.reduce(reduce, gathered, &[axis + 1], false)
                }
            };
        }
    }
    Ok(y)
}

fn on_axis(axis: usize) -> (&'static str, NodeAttr) {
    ("axis", NodeAttr::Int(axis as i64))
}

/// Emits the position of the largest element of each window of `x` (`[n, c, …]`), of equal ones the first, as int64:
/// its index over the spatial axes in row-major order.
pub(super) fn lower_positions(
    g: &mut Lowering<'_>,
    x: TensorId,
    geometry: &PoolGeometry,
    sizes: &AdaptiveSizes<'_>,
) -> Result<TensorId> {
    let axes = sizes.kernel.len();
    let mut gathered = x;
    let mut along = Vec::new();
    for axis in 0..axes {
        let bounds = Bounds::new(g, x, geometry, sizes, axis)?;
        let last = bounds.last(g);
        let members = bounds.members(g, last);
        // Each axis before has become two, for windows and their elements.
        gathered = g.node("Gather", &[gathered, members], [on_axis(2 + 2 * axis)]);
        along.push((bounds, members));
    }
    // [n, c, windows …, elements …], with the axes of elements flattened.
    let windows_first = (0..axes).map(|axis| 2 + 2 * axis);
    let elements = (0..axes).map(|axis| 3 + 2 * axis);
    let order: Vec<usize> = [0, 1]
        .into_iter()
        .chain(windows_first)
        .chain(elements)
        .collect();
    let gathered = g.transpose(gathered, &order);
    let mut shape = vec![0; axes + 2];
    shape.push(-1);
    let shape = g.vector(&shape);
    let elements = g.node("Reshape", &[gathered, shape], []);
    let attrs = [("axis", NodeAttr::Int(-1)), ("keepdims", NodeAttr::Int(0))];
    let mut number = g.node("ArgMax", &[elements], attrs);
    // The number among the window's elements is taken apart into an index for each axis, the last axis first.
    let mut position = None;
    let mut lines = None;
    for (axis, (bounds, members)) in along.iter().enumerate().rev() {
        let count = g.shape_slice(*members, 1, 2);
        // Short windows repeat their last element, but behind it, so that ArgMax never finds the repetition.
        let tap = g.node("Mod", &[number, count], []);
        number = g.node("Div", &[number, count], []);
        let behind: Vec<i64> = (1..(axes - axis) as i64).collect();
        let start = g.unsqueeze(bounds.starts, &behind);
        let mut pixel = g.node("Add", &[start, tap], []);
        let extent = g.shape_slice(x, axis as i64 + 2, axis as i64 + 3);
        if let (Some(inner), Some(pixels)) = (position, lines) {
            pixel = g.node("Mul", &[pixel, pixels], []);
            pixel = g.node("Add", &[pixel, inner], []);
            lines = Some(g.node("Mul", &[extent, pixels], []));
        } else {
            lines = Some(extent);
        }
        position = Some(pixel);
    }
    Ok(position.unwrap_or(number))
}

/// The first element of each window along a spatial axis, and the one behind its last, as int64 vectors.
struct Bounds {
    starts: TensorId,
    ends: TensorId,
    /// The extent of the longest window, if it is known.
    longest: Option<usize>,
}

impl Bounds {
    fn new(
        g: &mut Lowering<'_>,
        x: TensorId,
        geometry: &PoolGeometry,
        sizes: &AdaptiveSizes<'_>,
        axis: usize,
    ) -> Result<Self> {
        let (size, image) = (&sizes.kernel[axis], &sizes.image[axis]);
        let known = match (size.known(), image.extent()) {
            (Some(_), Some(image)) => Some(geometry.axis(axis, size, image)?),
            _ => None,
        };
        if let Some(spans) = known.and_then(|windows| windows.listed()) {
            let starts: Vec<i64> = spans.iter().map(|span| span.inside.start as i64).collect();
            let ends: Vec<i64> = spans.iter().map(|span| span.inside.end as i64).collect();
            return Ok(Self {
                starts: g.vector(&starts),
                ends: g.vector(&ends),
                longest: spans.iter().map(|span| span.inside.len()).max(),
            });
        }
        let count = match size.known() {
            Some(count) => g.scalar(DType::I64, count as f64),
            None => {
                let counts = g.int_array(sizes.operand)?;
                let axis = axis as i64;
                let count = g.slice(counts, axis, axis + 1, 0);
                g.squeeze(count, &[0])
            }
        };
        let axis = axis as i64 + 2;
        let extent = g.shape_slice(x, axis, axis + 1);
        let zero = g.scalar(DType::I64, 0.0);
        let one = g.scalar(DType::I64, 1.0);
        let numbers = g.node("Range", &[zero, count, one], []);
        let products = g.node("Mul", &[numbers, extent], []);
        let starts = g.node("Div", &[products, count], []);
        // Rounded up: ⌈a / b⌉ = ⌊(a + b - 1) / b⌋.
        let next = g.node("Add", &[products, extent], []);
        let rest = g.node("Sub", &[count, one], []);
        let next = g.node("Add", &[next, rest], []);
        let ends = g.node("Div", &[next, count], []);
        Ok(Self {
            starts,
            ends,
            longest: None,
        })
    }

    /// Emits the index of the last element of each window, `[windows, 1]`.
    fn last(&self, g: &mut Lowering<'_>) -> TensorId {
        let one = g.scalar(DType::I64, 1.0);
        let last = g.node("Sub", &[self.ends, one], []);
        g.unsqueeze(last, &[1])
    }

    /// Emits the indices of the elements of each window, `[windows, elements]`. The rows of windows that have fewer
    /// elements than the longest end with `filler`.
    fn members(&self, g: &mut Lowering<'_>, filler: TensorId) -> TensorId {
        let one = g.scalar(DType::I64, 1.0);
        let steps = match self.longest {
            Some(longest) => {
                let steps: Vec<i64> = (0..longest as i64).collect();
                g.vector(&steps)
            }
            None => {
                let lengths = g.node("Sub", &[self.ends, self.starts], []);
                let longest = g.reduce("ReduceMax", lengths, &[], false);
                let zero = g.scalar(DType::I64, 0.0);
                g.node("Range", &[zero, longest, one], [])
            }
        };
        let starts = g.unsqueeze(self.starts, &[1]);
        let members = g.node("Add", &[starts, steps], []);
        let ends = g.unsqueeze(self.ends, &[1]);
        let is_inside = g.node("Less", &[members, ends], []);
        g.node("Where", &[is_inside, members, filler], [])
    }

    /// Emits the mean of each window along a spatial axis of `x`.
    fn average(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        sizes: &AdaptiveSizes<'_>,
        axis: usize,
    ) -> TensorId {
        let (rank, axis) = (sizes.kernel.len() + 2, axis + 2);
        // The rows of short windows end with the index of the zero that is put behind the last element.
        let behind = g.shape_slice(x, axis as i64, axis as i64 + 1);
        let mut pads = vec![0; 2 * rank];
        pads[rank + axis] = 1;
        let (pads, zero) = (g.vector(&pads), g.scalar(sizes.dtype, 0.0));
        let mode = ("mode", NodeAttr::String("constant"));
        let x = g.node("Pad", &[x, pads, zero], [mode]);
        let members = self.members(g, behind);
        let gathered = g.node("Gather", &[x, members], [on_axis(axis)]);
        let sum = g.reduce("ReduceSum", gathered, &[axis + 1], false);
        let lengths = g.node("Sub", &[self.ends, self.starts], []);
        let lengths = g.cast(lengths, DType::I64, sizes.dtype);
        let others: Vec<i64> = (1..(rank - axis) as i64).collect();
        let lengths = g.unsqueeze(lengths, &others);
        g.node("Div", &[sum, lengths], [])
    }
}
