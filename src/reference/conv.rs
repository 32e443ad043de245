//! Convolution: each window becomes a column, and a matrix product does the rest.

use ndarray::ArrayD;
use rayon::prelude::*;

use super::matmul::product;
use super::normalize::zeros;
use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

/// How a window of two axes moves over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// The filter's extents, in taps.
    pub kernel: [usize; 2],
    /// Pixels between windows.
    pub strides: [usize; 2],
    /// Pixels between the taps of a window.
    pub dilations: [usize; 2],
    /// Zeros before and after each axis.
    pub pads: [[usize; 2]; 2],
}

impl Window {
    /// The extents of the output.
    ///
    /// # Errors
    /// When the image is smaller than a window.
    pub fn output(&self, image: [usize; 2]) -> Result<[usize; 2]> {
        let extent = |axis: usize| {
            let [before, after] = self.pads[axis];
            let padded = image[axis].saturating_add(before).saturating_add(after);
            let taps = self.kernel[axis].saturating_sub(1);
            let window = self.dilations[axis].saturating_mul(taps).saturating_add(1);
            padded
                .checked_sub(window)
                .and_then(|rest| rest.checked_div(self.strides[axis]))
                .map(|steps| steps + 1)
                .ok_or_else(|| {
                    Error::malformed(format!("a window of {window} does not fit into {padded}"))
                })
        };
        Ok([extent(0)?, extent(1)?])
    }
}

/// `x` (`[n, c, h, w]`) convolved with `filter` (`[o, c / groups, kh, kw]`).
///
/// # Errors
/// When the channels do not match, or the image is smaller than a window.
pub(crate) fn conv2d<T: Real>(
    x: &Array<T>,
    filter: &Array<T>,
    window: Window,
    groups: usize,
) -> Result<ArrayD<T>> {
    let (&[n, c, h, w], &[o, group_channels, ..]) = (x.shape(), filter.shape()) else {
        return Err(Error::internal("conv2d of operands without four axes"));
    };
    if group_channels * groups != c || !o.is_multiple_of(groups) {
        return Err(Error::malformed(format!(
            "{c} channels and a filter of shape {:?} do not make {groups} groups",
            filter.shape()
        )));
    }
    let [oh, ow] = window.output([h, w])?;
    let depth = group_channels * window.kernel[0] * window.kernel[1];
    let group_outputs = o / groups;
    let x = x.as_standard_layout();
    let filter = filter.as_standard_layout();
    let mut result = zeros(&[n, o, oh, ow]);
    let contiguous = || Error::internal("an array is not contiguous");
    let images = x.as_slice().ok_or_else(contiguous)?;
    let filters = filter.as_slice().ok_or_else(contiguous)?;
    let output = result.as_slice_mut().ok_or_else(contiguous)?;
    if output.is_empty() || images.is_empty() {
        return Ok(result);
    }
    let group_images = images.chunks(group_channels * h * w);
    let group_results = output.chunks_mut(group_outputs * oh * ow);
    for (index, (image, result)) in group_images.zip(group_results).enumerate() {
        let group = index % groups;
        let filter = &filters[group * group_outputs * depth..][..group_outputs * depth];
        let columns = columns(image, [h, w], window, [oh, ow]);
        product(result, filter, &columns, [group_outputs, depth, oh * ow]);
    }
    Ok(result)
}

/// One row per channel and tap, one column per output pixel.
fn columns<T: Real>(
    image: &[T],
    [h, w]: [usize; 2],
    window: Window,
    [oh, ow]: [usize; 2],
) -> Vec<T> {
    let [kh, kw] = window.kernel;
    let rows = image.len() / (h * w) * kh * kw;
    let mut columns = vec![T::zero(); rows * oh * ow];
    columns
        .par_chunks_mut(oh * ow)
        .enumerate()
        .for_each(|(row, pixels)| {
            let (channel, tap) = (row / (kh * kw), row % (kh * kw));
            let plane = &image[channel * h * w..][..h * w];
            let source = |axis: usize, position: usize, tap: usize| {
                (position * window.strides[axis] + tap * window.dilations[axis])
                    .checked_sub(window.pads[axis][0])
            };
            for (position, pixel) in pixels.iter_mut().enumerate() {
                let y = source(0, position / ow, tap / kw).filter(|y| *y < h);
                let x = source(1, position % ow, tap % kw).filter(|x| *x < w);
                if let (Some(y), Some(x)) = (y, x) {
                    *pixel = plane[y * w + x];
                }
            }
        });
    columns
}
