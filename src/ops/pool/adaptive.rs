//! Adaptive windows in ONNX, which has none.
//!
//! `count` windows cover an image of some extent: number `p` goes from `⌊p · extent / count⌋` to
//! `⌈(p + 1) · extent / count⌉`. Along axes where they are of one size and equally far apart, they are
//! windows of ONNX's. Along others, the elements of each window are gathered, which needs no extent
//! before a run. A product with a matrix would make no number of every average of an image that holds
//! one which is not finite.

use super::windows::Windows;
use crate::error::Result;
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::ops::shared::image::ints;
use crate::program::ValueId;
use crate::tensor::{DType, Dim};

/// What becomes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Max,
    Average,
}

/// How many windows there are, and over what.
pub(super) struct Sizes<'s> {
    /// The operand that says how many windows there are.
    pub operand: ValueId,
    /// What is known of it.
    pub kernel: &'s [Dim],
    /// The extents of the image.
    pub image: &'s [Dim],
    /// The image's type.
    pub dtype: DType,
}

/// The windows along one axis.
enum Along {
    /// One over all.
    Whole,
    /// Fixed ones, of a kernel and a stride.
    Fixed([usize; 2]),
    Uneven,
}

impl Along {
    fn of(windows: &Windows, axis: usize, size: &Dim, image: &Dim) -> Result<Self> {
        if size.same(image) {
            return Ok(Along::Fixed([1, 1]));
        }
        let fixed = match (size.known(), image.extent()) {
            (Some(1), None) => return Ok(Along::Whole),
            (Some(_), Some(image)) => windows.axis(axis, size, image)?.evenly(),
            _ => None,
        };
        Ok(fixed.map_or(Along::Uneven, Along::Fixed))
    }
}

/// The kernel and the stride along every axis, if all windows are fixed ones.
pub(super) fn fixed(windows: &Windows, sizes: &Sizes<'_>) -> Result<Option<[Vec<usize>; 2]>> {
    let (mut kernels, mut strides) = (Vec::new(), Vec::new());
    for (axis, (size, image)) in sizes.kernel.iter().zip(sizes.image).enumerate() {
        let Along::Fixed([kernel, stride]) = Along::of(windows, axis, size, image)? else {
            return Ok(None);
        };
        kernels.push(kernel);
        strides.push(stride);
    }
    Ok(Some([kernels, strides]))
}

/// Emits the pooling of `x` (`[n, c, …]`).
pub(super) fn lower(
    g: &mut Lowering<'_>,
    x: TensorId,
    windows: &Windows,
    sizes: &Sizes<'_>,
    reduction: Reduction,
) -> Result<TensorId> {
    let (global, local, reduce) = match reduction {
        Reduction::Max => ("GlobalMaxPool", "MaxPool", "ReduceMax"),
        Reduction::Average => ("GlobalAveragePool", "AveragePool", "ReduceMean"),
    };
    if sizes.kernel.iter().all(|size| *size == Dim::Known(1)) {
        return Ok(g.node(global, &[x], []));
    }
    let axes = sizes.kernel.iter().zip(sizes.image).enumerate();
    let along: Vec<Along> = axes
        .map(|(axis, (size, image))| Along::of(windows, axis, size, image))
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
            let bounds = Bounds::new(g, y, windows, sizes, axis)?;
            y = match reduction {
                Reduction::Average => bounds.average(g, y, sizes, axis),
                Reduction::Max => {
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

/// Emits the position in the image of the largest element of each window of `x` (`[n, c, …]`), the
/// first if there are several, as int64.
pub(super) fn lower_positions(
    g: &mut Lowering<'_>,
    x: TensorId,
    windows: &Windows,
    sizes: &Sizes<'_>,
) -> Result<TensorId> {
    let axes = sizes.kernel.len();
    let mut gathered = x;
    let mut along = Vec::new();
    for axis in 0..axes {
        let bounds = Bounds::new(g, x, windows, sizes, axis)?;
        let last = bounds.last(g);
        let members = bounds.members(g, last);
        // Each axis before has become two.
        gathered = g.node("Gather", &[gathered, members], [on_axis(2 + 2 * axis)]);
        along.push((bounds, members));
    }
    // [n, c, windows …, elements …], and these as one axis.
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
    // The number among the window's elements, taken apart from its last axis on.
    let mut position = None;
    let mut lines = None;
    for (axis, (bounds, members)) in along.iter().enumerate().rev() {
        let count = g.shape_slice(*members, 1, 2);
        // What is repeated stands behind what it repeats, so that it never comes first.
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

/// Where the windows along an axis begin and end, as int64 vectors.
struct Bounds {
    starts: TensorId,
    ends: TensorId,
    /// The largest number of elements in one, if it is known.
    longest: Option<usize>,
}

impl Bounds {
    fn new(
        g: &mut Lowering<'_>,
        x: TensorId,
        windows: &Windows,
        sizes: &Sizes<'_>,
        axis: usize,
    ) -> Result<Self> {
        let (size, image) = (&sizes.kernel[axis], &sizes.image[axis]);
        let known = match (size.known(), image.extent()) {
            (Some(_), Some(image)) => Some(windows.axis(axis, size, image)?),
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

    /// Emits the last element of each window, as a column.
    fn last(&self, g: &mut Lowering<'_>) -> TensorId {
        let one = g.scalar(DType::I64, 1.0);
        let last = g.node("Sub", &[self.ends, one], []);
        g.unsqueeze(last, &[1])
    }

    /// Emits the elements of each window as a row: those that have less than others have `filler` behind
    /// them.
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

    /// Emits the averages along an axis of the image.
    fn average(
        &self,
        g: &mut Lowering<'_>,
        x: TensorId,
        sizes: &Sizes<'_>,
        axis: usize,
    ) -> TensorId {
        let (rank, axis) = (sizes.kernel.len() + 2, axis + 2);
        // Windows that have less elements than others have the zero behind the last.
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
