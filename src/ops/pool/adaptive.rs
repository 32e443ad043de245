//! Adaptive pooling in ONNX, which has no operator for it.
//!
//! `count` windows cover an axis of some extent: number `p` goes from `⌊p · extent / count⌋` to
//! `⌈(p + 1) · extent / count⌉`. Along axes where they are of one size and equally far apart, MaxPool and AveragePool
//! have the same windows. Along others, averages over windows that are known are a product with a matrix of shares, in
//! which one element that is infinite or NaN makes all averages along its axis NaN. Elsewhere, the elements of each
//! window are gathered and reduced, for which no extent has to be known before a run.

use super::geometry::PoolGeometry;
use super::uneven::Bounds;
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
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
/// whole axes, and for each axis with uneven windows a MatMul, or Gather and a reduction.
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
            let bounds = bounds(g, y, geometry, sizes, axis)?;
            y = match reduction {
                PoolReduction::Average => {
                    bounds.average(g, y, (axis + 2, sizes.image.len() + 2), sizes.dtype)
                }
                PoolReduction::Max => bounds.max(g, y, axis + 2),
            };
        }
    }
    Ok(y)
}

/// The windows along every spatial axis.
pub(super) fn all_bounds(
    g: &mut Lowering<'_>,
    x: TensorId,
    geometry: &PoolGeometry,
    sizes: &AdaptiveSizes<'_>,
) -> Result<Vec<Bounds>> {
    let axes = 0..sizes.kernel.len();
    axes.map(|axis| bounds(g, x, geometry, sizes, axis))
        .collect()
}

/// The windows along a spatial axis.
fn bounds(
    g: &mut Lowering<'_>,
    x: TensorId,
    geometry: &PoolGeometry,
    sizes: &AdaptiveSizes<'_>,
    axis: usize,
) -> Result<Bounds> {
    let (size, image) = (&sizes.kernel[axis], &sizes.image[axis]);
    let known = match (size.known(), image.extent()) {
        (Some(_), Some(image)) => Some(geometry.axis(axis, size, image)?),
        _ => None,
    };
    let spans = known.and_then(|windows| windows.listed());
    if let Some((spans, extent)) = spans.zip(image.extent()) {
        return Ok(Bounds::listed(g, &spans, extent));
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
    Ok(Bounds {
        starts,
        ends,
        longest: None,
        shares: None,
    })
}
