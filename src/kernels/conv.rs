//! Convolution and transposed convolution over one to three spatial axes, by im2col and a matrix product
//! (GEMM). [`unfold`] and [`fold`] are im2col and col2im alone.
//!
//! A window has one tap for each element of the filter along the spatial axes.

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::matmul::product;
use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::{Array, refuse_too_large};

/// How a window moves along one spatial axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowAxis {
    /// The kernel size: the number of taps.
    pub kernel: usize,
    /// The distance between neighbouring windows, in elements.
    pub stride: usize,
    /// The distance between neighbouring taps of a window, in elements.
    pub dilation: usize,
    /// The padding: the number of zeros before and after the elements.
    pub pads: [usize; 2],
}

impl WindowAxis {
    /// An axis of extent 1 that stays as it is.
    const NONE: Self = Self {
        kernel: 1,
        stride: 1,
        dilation: 1,
        pads: [0; 2],
    };

    /// The dilated kernel size: the number of elements from a window's first tap to its last.
    pub fn reach(&self) -> usize {
        let taps = self.kernel.saturating_sub(1);
        self.dilation.saturating_mul(taps).saturating_add(1)
    }

    /// The number of windows on an axis of extent `image`.
    ///
    /// # Errors
    /// When the padded axis is shorter than a window, or the stride is 0.
    pub fn count(&self, image: usize) -> Result<usize> {
        let [before, after] = self.pads;
        let padded = image.saturating_add(before).saturating_add(after);
        let reach = self.reach();
        padded
            .checked_sub(reach)
            .and_then(|rest| rest.checked_div(self.stride))
            .map(|steps| steps + 1)
            .ok_or_else(|| {
                Error::malformed(format!("a window of {reach} does not fit into {padded}"))
            })
    }

    /// The position, on an axis of extent `image`, of tap number `tap` of window number `window`. None if
    /// the tap is in the padding.
    pub fn pixel(&self, window: usize, tap: usize, image: usize) -> Option<usize> {
        let padded = window * self.stride + tap * self.dilation;
        padded
            .checked_sub(self.pads[0])
            .filter(|pixel| *pixel < image)
    }
}

/// The values of up to three axes, filled up to three with `missing` in front.
pub(super) fn on_three_axes<T: Copy>(values: &[T], missing: T) -> Result<[T; 3]> {
    let mut axes = [missing; 3];
    let place = 3_usize.checked_sub(values.len());
    let place = place.ok_or_else(|| Error::internal("an image of more than three axes"))?;
    axes[place..].copy_from_slice(values);
    Ok(axes)
}

/// How windows lie on the spatial axes of a tensor, which are filled up to three with axes of extent 1 in front.
struct Geometry {
    window: [WindowAxis; 3],
    /// The extents of the axes.
    image: [usize; 3],
    /// The number of windows along each axis.
    positions: [usize; 3],
}

impl Geometry {
    fn new(window: &[WindowAxis], image: &[usize], positions: &[usize]) -> Result<Self> {
        Ok(Self {
            window: on_three_axes(window, WindowAxis::NONE)?,
            image: on_three_axes(image, 1)?,
            positions: on_three_axes(positions, 1)?,
        })
    }

    fn taps(&self) -> usize {
        self.window.iter().map(|axis| axis.kernel).product()
    }

    fn pixels(&self) -> usize {
        self.image.iter().product()
    }

    fn windows(&self) -> usize {
        self.positions.iter().product()
    }

    /// Calls `f` for each window, in row-major order, with the window's number and the position of the
    /// element that its tap number `tap` is on. Windows whose tap is in the padding are left out.
    fn for_each_pixel(&self, tap: usize, mut f: impl FnMut(usize, usize)) {
        let [depth, height, width] = self.window;
        let taps = [
            tap / (height.kernel * width.kernel),
            tap / width.kernel % height.kernel,
            tap % width.kernel,
        ];
        let [d, h, w] = self.image;
        let [_, rows, columns] = self.positions;
        for line in 0..self.positions[0] * rows {
            let z = depth.pixel(line / rows, taps[0], d);
            let y = height.pixel(line % rows, taps[1], h);
            let (Some(z), Some(y)) = (z, y) else {
                continue;
            };
            for column in 0..columns {
                if let Some(x) = width.pixel(column, taps[2], w) {
                    f(line * columns + column, (z * h + y) * w + x);
                }
            }
        }
    }
}

fn not_contiguous() -> Error {
    Error::internal("an array is not contiguous")
}

/// `x` (`[n, c, …]`) convolved with `filter` (`[o, c / groups, …]`), as `[n, o, …]`.
///
/// # Errors
/// When the channels do not match, the padded spatial axes of `x` are shorter than a window, or there is
/// not enough memory.
pub(crate) fn conv<T: Real>(
    x: &Array<T>,
    filter: &Array<T>,
    window: &[WindowAxis],
    groups: usize,
) -> Result<ArrayD<T>> {
    let (&[n, c, ref image @ ..], &[o, group_channels, ..]) = (x.shape(), filter.shape()) else {
        return Err(Error::internal("a convolution of operands without axes"));
    };
    if group_channels * groups != c || !o.is_multiple_of(groups) {
        return Err(mismatch(c, filter, groups));
    }
    let axes = window.iter().zip(image);
    let positions: Vec<usize> = axes
        .map(|(axis, image)| axis.count(*image))
        .collect::<Result<_>>()?;
    let geometry = Geometry::new(window, image, &positions)?;
    let (pixels, windows) = (geometry.pixels(), geometry.windows());
    let depth = group_channels * geometry.taps();
    let group_outputs = o / groups;
    let x = x.as_standard_layout();
    let filter = filter.as_standard_layout();
    let shape: Vec<usize> = [n, o].into_iter().chain(positions).collect();
    let mut result = ArrayD::zeros(IxDyn(&shape));
    let images = x.as_slice().ok_or_else(not_contiguous)?;
    let filters = filter.as_slice().ok_or_else(not_contiguous)?;
    let output = result.as_slice_mut().ok_or_else(not_contiguous)?;
    if output.is_empty() || images.is_empty() {
        return Ok(result);
    }
    refuse_too_large(&[depth, windows])?;
    let group_images = images.chunks(group_channels * pixels);
    let group_results = output.chunks_mut(group_outputs * windows);
    for (index, (image, result)) in group_images.zip(group_results).enumerate() {
        let group = index % groups;
        let filter = &filters[group * group_outputs * depth..][..group_outputs * depth];
        let columns = columns(image, &geometry);
        product(result, filter, &columns, [group_outputs, depth, windows]);
    }
    Ok(result)
}

fn mismatch<T>(channels: usize, filter: &Array<T>, groups: usize) -> Error {
    let shape = filter.shape();
    Error::malformed(format!(
        "{channels} channels and a filter of shape {shape:?} do not make {groups} groups"
    ))
}

/// The im2col matrix of one batch element, or of one group of its channels: a row per channel and tap, a
/// column per window, row-major, with zeros for the padding.
fn columns<T: Real>(image: &[T], geometry: &Geometry) -> Vec<T> {
    let (taps, pixels, windows) = (geometry.taps(), geometry.pixels(), geometry.windows());
    let mut columns = vec![T::zero(); image.len() / pixels * taps * windows];
    let rows = columns.par_chunks_mut(windows).enumerate();
    rows.for_each(|(row, elements)| {
        let channel = &image[row / taps * pixels..][..pixels];
        geometry.for_each_pixel(row % taps, |window, pixel| {
            elements[window] = channel[pixel];
        });
    });
    columns
}

/// The windows of `x` (`[n, c, …]`) as columns (im2col), `[n, c · taps, windows]`.
///
/// # Errors
/// When the padded spatial axes of `x` are shorter than a window, or there is not enough memory.
pub(crate) fn unfold<T: Real>(x: &Array<T>, window: &[WindowAxis]) -> Result<ArrayD<T>> {
    let &[n, c, ref image @ ..] = x.shape() else {
        return Err(Error::internal("images without axes"));
    };
    let axes = window.iter().zip(image);
    let positions: Vec<usize> = axes
        .map(|(axis, image)| axis.count(*image))
        .collect::<Result<_>>()?;
    let geometry = Geometry::new(window, image, &positions)?;
    let shape = [n, c * geometry.taps(), geometry.windows()];
    refuse_too_large(&shape)?;
    let x = x.as_standard_layout();
    let images = x.as_slice().ok_or_else(not_contiguous)?;
    let each = (c * geometry.pixels()).max(1);
    let columns = images
        .chunks(each)
        .flat_map(|image| columns(image, &geometry));
    ArrayD::from_shape_vec(shape.to_vec(), columns.collect())
        .map_err(|_| Error::internal("windows lost elements"))
}

/// The columns of `x` (`[n, c · taps, windows]`), added up at the elements that [`unfold`] would take them
/// from (col2im). The result is `[n, c, …]`, with the spatial extents `image`.
///
/// # Errors
/// When `x` does not have as many columns as there are windows, its columns do not hold a whole number of
/// channels, or there is not enough memory.
pub(crate) fn fold<T: Real>(
    x: &Array<T>,
    window: &[WindowAxis],
    image: &[usize],
) -> Result<ArrayD<T>> {
    let axes = window.iter().zip(image);
    let positions: Vec<usize> = axes
        .map(|(axis, image)| axis.count(*image))
        .collect::<Result<_>>()?;
    let geometry = Geometry::new(window, image, &positions)?;
    let (taps, windows) = (geometry.taps(), geometry.windows());
    let (n, c) = match *x.shape() {
        [n, columns, count] if count == windows && columns % taps == 0 => (n, columns / taps),
        ref other => {
            return Err(Error::malformed(format!(
                "columns of shape {other:?} for {windows} windows of {taps} elements"
            )));
        }
    };
    let shape: Vec<usize> = [n, c].into_iter().chain(image.iter().copied()).collect();
    refuse_too_large(&shape)?;
    let mut result = ArrayD::zeros(IxDyn(&shape));
    let x = x.as_standard_layout();
    let columns = x.as_slice().ok_or_else(not_contiguous)?;
    let images = result.as_slice_mut().ok_or_else(not_contiguous)?;
    if !images.is_empty() {
        let each = columns.chunks((c * taps * windows).max(1));
        for (image, columns) in images.chunks_mut(c * geometry.pixels()).zip(each) {
            add_columns(image, columns, &geometry);
        }
    }
    Ok(result)
}

/// The transpose of a convolution: each element of `x` (`[n, c, …]`) adds its multiple of `filter`
/// (`[c, o / groups, …]`) to the elements of its window in the result. The result is `[n, o, …]`, with the
/// spatial extents `output`.
///
/// # Errors
/// When the channels do not match, or there is not enough memory.
pub(crate) fn conv_transpose<T: Real>(
    x: &Array<T>,
    filter: &Array<T>,
    window: &[WindowAxis],
    output: &[usize],
    groups: usize,
) -> Result<ArrayD<T>> {
    let (&[n, c, ref positions @ ..], &[filter_channels, group_outputs, ..]) =
        (x.shape(), filter.shape())
    else {
        return Err(Error::internal("a convolution of operands without axes"));
    };
    if filter_channels != c || !c.is_multiple_of(groups) {
        return Err(mismatch(c, filter, groups));
    }
    let geometry = Geometry::new(window, output, positions)?;
    let (pixels, windows) = (geometry.pixels(), geometry.windows());
    let (depth, group_channels) = (group_outputs * geometry.taps(), c / groups);
    let shape = [n, group_outputs * groups]
        .into_iter()
        .chain(output.iter().copied());
    let shape: Vec<usize> = shape.collect();
    refuse_too_large(&shape)?;
    let mut result = ArrayD::zeros(IxDyn(&shape));
    let x = x.as_standard_layout();
    let filter = filter.as_standard_layout();
    let inputs = x.as_slice().ok_or_else(not_contiguous)?;
    let filters = filter.as_slice().ok_or_else(not_contiguous)?;
    let images = result.as_slice_mut().ok_or_else(not_contiguous)?;
    if images.is_empty() || inputs.is_empty() {
        return Ok(result);
    }
    refuse_too_large(&[depth, windows])?;
    let group_inputs = inputs.chunks(group_channels * windows);
    let group_images = images.chunks_mut(group_outputs * pixels);
    for (index, (input, image)) in group_inputs.zip(group_images).enumerate() {
        let group = index % groups * group_channels * depth;
        let filter = transposed(&filters[group..][..group_channels * depth], depth);
        let mut columns = vec![T::zero(); depth * windows];
        product(
            &mut columns,
            &filter,
            input,
            [depth, group_channels, windows],
        );
        add_columns(image, &columns, &geometry);
    }
    Ok(result)
}

/// The transpose of a row-major matrix with this number of columns.
fn transposed<T: Real>(matrix: &[T], columns: usize) -> Vec<T> {
    let column = |column: usize| matrix[column..].iter().step_by(columns);
    (0..columns).flat_map(column).copied().collect()
}

/// Adds columns to the elements that [`columns`] would take them from (col2im).
fn add_columns<T: Real>(image: &mut [T], columns: &[T], geometry: &Geometry) {
    let (taps, pixels, windows) = (geometry.taps(), geometry.pixels(), geometry.windows());
    let channels = image.par_chunks_mut(pixels).enumerate();
    channels.for_each(|(channel, image)| {
        for tap in 0..taps {
            let row = &columns[(channel * taps + tap) * windows..][..windows];
            geometry.for_each_pixel(tap, |window, pixel| image[pixel] += row[window]);
        }
    });
}
