//! Convolution and transposed convolution over one to three spatial axes, by im2col and a matrix product
//! (GEMM); [`direct`](super::direct) computes many small groups. [`unfold`] and [`fold`] are im2col and col2im alone.
//!
//! A window has one tap for each element of the filter along the spatial axes.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;

use ndarray::{ArrayD, ArrayView2, ArrayViewMut2, Axis, IxDyn};
use rayon::prelude::*;

use super::direct::{self, Planes};
use super::matmul::{new_product, product, product_on_threads};
use super::real::Real;
use super::threads::{filled, for_each_chunk};
use crate::error::{Error, Result};
use crate::tensor::{Array, Panels, refuse_too_large};

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

    /// Those of `count` windows whose tap number `tap` is on an element of an axis of extent `image`, rather than in
    /// the padding.
    fn inside(&self, tap: usize, image: usize, count: usize) -> Range<usize> {
        let (padding, tap) = (self.pads[0], tap * self.dilation);
        let first = padding.saturating_sub(tap).div_ceil(self.stride);
        let end = (image + padding).saturating_sub(tap).div_ceil(self.stride);
        first.min(count)..end.min(count)
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
pub(super) struct Geometry {
    pub window: [WindowAxis; 3],
    /// The extents of the axes.
    pub image: [usize; 3],
    /// The number of windows along each axis.
    pub positions: [usize; 3],
}

impl Geometry {
    fn new(window: &[WindowAxis], image: &[usize], positions: &[usize]) -> Result<Self> {
        Ok(Self {
            window: on_three_axes(window, WindowAxis::NONE)?,
            image: on_three_axes(image, 1)?,
            positions: on_three_axes(positions, 1)?,
        })
    }

    pub fn taps(&self) -> usize {
        self.window.iter().map(|axis| axis.kernel).product()
    }

    /// The position of tap number `tap` in a window, along each axis.
    pub fn tap(&self, tap: usize) -> [usize; 3] {
        let [_, height, width] = self.window;
        [
            tap / (height.kernel * width.kernel),
            tap / width.kernel % height.kernel,
            tap % width.kernel,
        ]
    }

    pub fn pixels(&self) -> usize {
        self.image.iter().product()
    }

    pub fn windows(&self) -> usize {
        self.positions.iter().product()
    }

    /// Whether each element is a window of its own, so that its im2col matrix is the image.
    fn is_pointwise(&self) -> bool {
        self.window.iter().all(|axis| *axis == WindowAxis::NONE)
    }

    /// The runs of each tap over these windows.
    fn runs(&self, windows: &Range<usize>) -> Vec<Vec<Run>> {
        let [_, rows, columns] = self.positions;
        let lines = windows.start / columns..windows.end.div_ceil(columns);
        let of_tap = |tap: usize| {
            let taps = self.tap(tap);
            let [depth, height, width] = self.window;
            let [d, h, w] = self.image;
            let inside = width.inside(taps[2], w, columns);
            let run = |line: usize| {
                let z = depth.pixel(line / rows, taps[0], d)?;
                let y = height.pixel(line % rows, taps[1], h)?;
                let first = line * columns;
                let start = windows.start.max(first + inside.start);
                let end = windows.end.min(first + inside.end);
                let x = width.pixel(start - first, taps[2], w)?;
                (start < end).then(|| Run {
                    windows: start - windows.start..end - windows.start,
                    pixel: (z * h + y) * w + x,
                })
            };
            lines.clone().filter_map(run).collect()
        };
        (0..self.taps()).map(of_tap).collect()
    }
}

/// Neighbouring windows of which a tap is on an element, rather than in the padding.
struct Run {
    /// Their numbers, counted from the first window of the tile.
    windows: Range<usize>,
    /// The position of the first one's element. From window to window, it moves by the stride along the last axis.
    pixel: usize,
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
    let images = x.as_slice().ok_or_else(not_contiguous)?;
    let filters = filter.as_slice().ok_or_else(not_contiguous)?;
    if shape.contains(&0) || images.is_empty() || depth == 0 {
        return Ok(ArrayD::zeros(IxDyn(&shape)));
    }
    let mut result = ArrayD::uninit(IxDyn(&shape));
    let output = result.as_slice_mut().ok_or_else(not_contiguous)?;
    if let Some(planes) = Planes::if_better(&geometry, groups, group_outputs) {
        let (by, parts) = ((&geometry, &planes), [group_channels, group_outputs]);
        direct::convolve(output, images, filters, by, groups, parts);
        // SAFETY: every window of every output has been computed.
        return Ok(unsafe { result.assume_init() });
    }
    refuse_too_large(&[depth, windows])?;
    let group_images = images.chunks(group_channels * pixels);
    let group_results = output.chunks_mut(group_outputs * windows);
    for (index, (image, result)) in group_images.zip(group_results).enumerate() {
        let group = index % groups * group_outputs * depth;
        let filter = &filters[group..][..group_outputs * depth];
        let filter = matrix(filter, [group_outputs, depth])?;
        let result = ArrayViewMut2::from_shape((group_outputs, windows), result);
        convolve(
            result.map_err(|_| not_contiguous())?,
            image,
            filter,
            &geometry,
        )?;
    }
    // SAFETY: the products are all windows of all outputs.
    Ok(unsafe { result.assume_init() })
}

/// A row-major matrix.
fn matrix<T>(elements: &[T], extents: [usize; 2]) -> Result<ArrayView2<'_, T>> {
    ArrayView2::from_shape(extents, elements).map_err(|_| not_contiguous())
}

/// The convolution of one batch element, or of one group of its channels: `[o, windows]` from an image `[c, pixels]`
/// and a filter `[o, c · taps]`.
fn convolve<T: Real>(
    mut result: ArrayViewMut2<'_, MaybeUninit<T>>,
    image: &[T],
    filter: ArrayView2<'_, T>,
    geometry: &Geometry,
) -> Result<()> {
    let (depth, windows) = (filter.ncols(), geometry.windows());
    let Some(len) = tile_len(depth, windows) else {
        let columns = if geometry.is_pointwise() {
            Cow::Borrowed(image)
        } else {
            columns(image, geometry, 0..windows).into()
        };
        product_on_threads(result, filter, matrix(&columns, [depth, windows])?);
        return Ok(());
    };
    let tiles = result.axis_chunks_iter_mut(Axis(1), len).into_par_iter();
    tiles.enumerate().try_for_each(|(index, result)| {
        let windows = index * len..index * len + result.ncols();
        if geometry.is_pointwise() {
            let columns = matrix(image, [depth, geometry.windows()])?;
            product(result, filter, columns.slice_axis(Axis(1), windows.into()));
        } else {
            let extents = [depth, windows.len()];
            let columns = columns(image, geometry, windows);
            product(result, filter, matrix(&columns, extents)?);
        }
        Ok(())
    })
}

/// The number of windows whose columns a thread makes and multiplies at once, so that they stay in its cache. None if
/// there are so few windows that threads had better share in one product of all of them.
fn tile_len(depth: usize, windows: usize) -> Option<usize> {
    /// The number of elements that a core's own cache holds.
    const CACHED: usize = 1 << 17;
    /// What a matrix product computes at once is a multiple of this, or a divisor.
    const UNIT: usize = Panels::WIDTH;
    /// Tiles, if smaller ones would do, so that no thread waits long for the last.
    const ENOUGH: usize = 16;
    let len = (CACHED / depth)
        .min(windows / ENOUGH)
        .next_multiple_of(UNIT);
    (windows >= ENOUGH * UNIT / 2).then_some(len)
}

fn mismatch<T>(channels: usize, filter: &Array<T>, groups: usize) -> Error {
    let shape = filter.shape();
    Error::malformed(format!(
        "{channels} channels and a filter of shape {shape:?} do not make {groups} groups"
    ))
}

/// Columns of the im2col matrix of one batch element, or of one group of its channels: a row per channel and tap, a
/// column for each of `windows`, row-major, with zeros for the padding.
fn columns<T: Real>(image: &[T], geometry: &Geometry, windows: Range<usize>) -> Vec<T> {
    let (pixels, count, stride) = (geometry.pixels(), windows.len(), geometry.window[2].stride);
    let runs = geometry.runs(&windows);
    let len = image.len() / pixels * runs.len() * count;
    // SAFETY: each row is written from its start to its end.
    unsafe {
        filled(len, runs.len() * count, len, |channel, columns| {
            let channel = &image[channel * pixels..][..pixels];
            for (runs, row) in runs.iter().zip(columns.chunks_mut(count)) {
                fill_row(row, channel, runs, stride);
            }
        })
    }
}

/// Writes a row of the im2col matrix: the elements of each run, and zeros between runs.
fn fill_row<T: Real>(row: &mut [MaybeUninit<T>], channel: &[T], runs: &[Run], stride: usize) {
    let zero = MaybeUninit::new(T::zero());
    let mut written = 0;
    for Run { windows, pixel } in runs {
        row[written..windows.start].fill(zero);
        let (elements, pixels) = (&mut row[windows.clone()], &channel[*pixel..]);
        if stride == 1 {
            elements.write_copy_of_slice(&pixels[..windows.len()]);
        } else {
            // A run that ends beyond the channel would be an error of this crate.
            let last = (windows.len() - 1) * stride;
            let pixels = pixels[..=last].iter().step_by(stride);
            elements.iter_mut().zip(pixels).for_each(|(to, from)| {
                to.write(*from);
            });
        }
        written = windows.end;
    }
    row[written..].fill(zero);
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
        .flat_map(|image| columns(image, &geometry, 0..geometry.windows()));
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
        let filter = &filters[group..][..group_channels * depth];
        let filter = matrix(filter, [group_channels, depth])?;
        let input = matrix(input, [group_channels, windows])?;
        let columns = new_product(filter.t(), input);
        add_columns(
            image,
            columns.as_slice().ok_or_else(not_contiguous)?,
            &geometry,
        );
    }
    Ok(result)
}

/// Adds columns to the elements that [`columns`] would take them from (col2im).
fn add_columns<T: Real>(image: &mut [T], columns: &[T], geometry: &Geometry) {
    let (pixels, windows, stride) = (
        geometry.pixels(),
        geometry.windows(),
        geometry.window[2].stride,
    );
    let runs = geometry.runs(&(0..windows));
    for_each_chunk(image, pixels, columns.len(), |channel, image| {
        let columns = columns[channel * runs.len() * windows..].chunks(windows);
        for (runs, row) in runs.iter().zip(columns) {
            for Run { windows, pixel } in runs {
                let pixels = image[*pixel..].iter_mut().step_by(stride);
                pixels
                    .zip(&row[windows.clone()])
                    .for_each(|(sum, x)| *sum += *x);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An axis of an image: its extent, and how windows move along it.
    fn axis() -> impl Strategy<Value = (usize, WindowAxis)> {
        let window = (1usize..5, 1usize..4, 1usize..3, [0usize..4, 0usize..4]);
        (1usize..24, window).prop_filter_map("a window fits", |(image, window)| {
            let (kernel, stride, dilation, pads) = window;
            let axis = WindowAxis {
                kernel,
                stride,
                dilation,
                pads,
            };
            axis.count(image).is_ok().then_some((image, axis))
        })
    }

    /// Small whole numbers, whose products and sums are exact in any order.
    fn numbers(shape: &[usize]) -> Array<f32> {
        let mut next = 0_u32;
        let mut number = || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (next >> 28) as f32 - 7.0
        };
        ArrayD::from_shape_simple_fn(shape, &mut number).into()
    }

    /// A convolution by its definition, along two axes.
    fn defined(
        x: &Array<f32>,
        filter: &Array<f32>,
        [rows, columns]: [WindowAxis; 2],
        groups: usize,
    ) -> ArrayD<f32> {
        let [n, h, w] = [0, 2, 3].map(|axis| x.shape()[axis]);
        let [o, c] = [0, 1].map(|axis| filter.shape()[axis]);
        let extents = [n, o, rows.count(h).unwrap(), columns.count(w).unwrap()];
        ArrayD::from_shape_fn(&extents[..], |at| {
            let mut sum = 0.0;
            for (index, weight) in filter.index_axis(Axis(0), at[1]).indexed_iter() {
                let y = rows.pixel(at[2], index[1], h);
                let x_position = columns.pixel(at[3], index[2], w);
                if let (Some(y), Some(x_position)) = (y, x_position) {
                    let channel = at[1] / (o / groups) * c + index[0];
                    sum += weight * x[[at[0], channel, y, x_position]];
                }
            }
            sum
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// By planes, by tiles of columns, and by columns of all windows at once.
        #[test]
        fn convolutions_are_those_of_their_definition(
            axes in [axis(), axis()],
            n in 1usize..3,
            groups in 1usize..4,
            parts in [1usize..4, 1usize..7],
            wide: bool,
        ) {
            let [(h, rows), (w, columns)] = axes;
            let w = if wide { w + 200 } else { w };
            let [c, o] = parts;
            let x = numbers(&[n, c * groups, h, w]);
            let filter = numbers(&[o * groups, c, rows.kernel, columns.kernel]);
            let result = conv(&x, &filter, &[rows, columns], groups).unwrap();
            prop_assert_eq!(result, defined(&x, &filter, [rows, columns], groups));
        }

        /// The sum of an image's products with a fold is that of its columns' products: each is the other's transpose.
        #[test]
        fn fold_is_the_transpose_of_unfold(axes in [axis(), axis()], c in 1usize..4) {
            let [(h, rows), (w, columns)] = axes;
            let window = [rows, columns];
            let image = numbers(&[1, c, h, w]);
            let unfolded: Array<f32> = unfold(&image, &window).unwrap().into();
            let other = numbers(unfolded.shape());
            let folded = fold(&other, &window, &[h, w]).unwrap();
            prop_assert_eq!((&folded * &image).sum(), (&unfolded * &other).sum());
        }
    }
}
