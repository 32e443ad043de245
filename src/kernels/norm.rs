//! Kernels that normalise: softmax, batch, layer, RMS, group and local response normalisation.

use ndarray::{ArrayD, Axis, IxDyn, RemoveAxis};

use super::map::reshape;
use super::real::Real;
use super::reduce::sum_of;
use super::threads::{filled, vectorised};
use crate::error::{Error, Result};
use crate::tensor::{Array, row_major};

/// `exp(x - max) / Σ exp(x - max)` along `axis`, where `max` is the largest element along it.
pub(crate) fn softmax<T: Real>(x: &Array<T>, axis: usize) -> Result<ArrayD<T>> {
    for_each_lane(x, axis, softmax_row)
}

/// `x - max - ln Σ exp(x - max)` along `axis`, where `max` is the largest element along it.
pub(crate) fn log_softmax<T: Real>(x: &Array<T>, axis: usize) -> Result<ArrayD<T>> {
    for_each_lane(x, axis, log_softmax_row)
}

/// `x` with `f` applied to the elements along `axis`, for each position on the other axes.
fn for_each_lane<T: Real>(
    x: &Array<T>,
    axis: usize,
    f: impl Fn(&mut [T]) + Sync + Send,
) -> Result<ArrayD<T>> {
    let last = x.ndim() - 1;
    let mut lanes = x.clone();
    lanes.swap_axes(axis, last);
    let mut result = each_row(&lanes, x.shape()[axis], f)?;
    result.swap_axes(axis, last);
    Ok(result)
}

fn log_softmax_row<T: Real>(row: &mut [T]) {
    let max = largest(row);
    let sum: f64 = row.iter().map(|x| (*x - max).to_f64().exp()).sum();
    let norm = T::from_f64(sum.ln());
    for x in row {
        *x = *x - max - norm;
    }
}

#[inline(always)]
fn softmax_row<T: Real>(row: &mut [T]) {
    let max = largest(row);
    for x in row.iter_mut() {
        *x = (*x - max).exponential();
    }
    let scale = T::from_f64(sum_of(row, |x| x)).recip();
    for x in row {
        *x = *x * scale;
    }
}

/// The largest element, or negative infinity if there is none.
#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    let (parts, rest) = row.as_chunks::<16>();
    let mut largest = [T::neg_infinity(); 16];
    for part in parts {
        for (largest, x) in largest.iter_mut().zip(part) {
            *largest = if *x > *largest { *x } else { *largest };
        }
    }
    let all = largest.iter().chain(rest).copied();
    all.fold(T::neg_infinity(), T::max)
}

/// The parameters of [`batch_norm`], each with one element per channel.
pub(crate) struct Statistics<T> {
    pub mean: Vec<T>,
    pub variance: Vec<T>,
    /// 1 for all channels if absent.
    pub scale: Option<Vec<T>>,
    /// 0 for all channels if absent.
    pub bias: Option<Vec<T>>,
    pub epsilon: f64,
}

/// The mean and the variance of each channel of `x`, with the channels along `axis`.
pub(crate) fn channel_statistics<T: Real>(x: &Array<T>, axis: usize) -> (Vec<T>, Vec<T>) {
    let channels = x.axis_iter(Axis(axis)).map(|channel| {
        let channel: Vec<T> = channel.iter().copied().collect();
        moments(&channel)
    });
    channels.unzip()
}

/// `(x - mean) / √(variance + epsilon) · scale + bias`, with the channels along `axis`.
pub(crate) fn batch_norm<T: Real>(
    x: &Array<T>,
    of: &Statistics<T>,
    axis: usize,
) -> Result<ArrayD<T>> {
    let channels = x.shape()[axis];
    let lengths = [
        Some(&of.mean),
        Some(&of.variance),
        of.scale.as_ref(),
        of.bias.as_ref(),
    ];
    if let Some(other) = lengths.into_iter().flatten().find(|v| v.len() != channels) {
        return Err(Error::malformed(format!(
            "a parameter has {} elements for {channels} channels",
            other.len()
        )));
    }
    let epsilon = T::from_f64(of.epsilon);
    let line = |channel: usize| {
        let scale = of.scale.as_ref().map_or(T::one(), |scale| scale[channel]);
        let bias = of.bias.as_ref().map_or(T::zero(), |bias| bias[channel]);
        let factor = scale / (of.variance[channel] + epsilon).sqrt();
        (factor, bias - of.mean[channel] * factor)
    };
    let lines: Vec<(T, T)> = (0..channels).map(line).collect();
    each_channel_scaled(x, &lines, axis)
}

/// `x · factor + offset`, where each position on `axis` has its own factor and offset.
fn each_channel_scaled<T: Real>(x: &Array<T>, lines: &[(T, T)], axis: usize) -> Result<ArrayD<T>> {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let elements = row_major(x);
    let work = 2 * elements.len();
    // Where a channel has a single element, a chunk has one of each channel.
    let len = if inner == 1 { lines.len() } else { inner };
    // SAFETY: there are as many elements as results, and where they are taken one by one, a line for each.
    let result = unsafe {
        filled(elements.len(), len.max(1), work, |index, room| {
            let elements = &elements[index * len..][..room.len()];
            vectorised(|| {
                let results = room.iter_mut().zip(elements);
                if inner == 1 {
                    for ((result, x), (factor, offset)) in results.zip(lines) {
                        result.write(*x * *factor + *offset);
                    }
                } else {
                    let (factor, offset) = lines[index % lines.len()];
                    for (result, x) in results {
                        result.write(*x * factor + offset);
                    }
                }
            });
        })
    };
    ArrayD::from_shape_vec(IxDyn(x.shape()), result)
        .map_err(|_| Error::internal("a norm lost elements"))
}

/// `(x - mean) / √(variance + epsilon) · scale + bias`, with the mean and variance over all axes from
/// `axis` on. `scale` and `bias` have as many elements as those axes together.
pub(crate) fn layer_norm<T: Real>(
    x: &Array<T>,
    scale: Option<&Array<T>>,
    bias: Option<&Array<T>>,
    axis: usize,
    epsilon: f64,
) -> Result<ArrayD<T>> {
    each_part_normalised(
        x,
        [scale, bias],
        axis,
        #[inline(always)]
        |row, scale, bias| layer_norm_row(row, scale, bias, T::from_f64(epsilon)),
    )
}

/// `x / √(mean(x²) + epsilon) · scale + bias`, with the mean over all axes from `axis` on. `parameters` are
/// scale and bias, as those of [`layer_norm`].
pub(crate) fn rms_norm<T: Real>(
    x: &Array<T>,
    parameters: [Option<&Array<T>>; 2],
    axis: usize,
    epsilon: f64,
) -> Result<ArrayD<T>> {
    each_part_normalised(
        x,
        parameters,
        axis,
        #[inline(always)]
        |row, scale, bias| rms_norm_row(row, scale, bias, T::from_f64(epsilon)),
    )
}

/// A copy of `x` with `kernel` applied, for each position on the axes before `axis`, to the elements of all
/// axes from `axis` on. `kernel` is given those elements, and the scale and the bias of each of them.
fn each_part_normalised<T: Real>(
    x: &Array<T>,
    [scale, bias]: [Option<&Array<T>>; 2],
    axis: usize,
    kernel: impl Fn(&mut [T], &[T], &[T]) + Sync + Send,
) -> Result<ArrayD<T>> {
    let extent = x.shape()[axis..].iter().product();
    let scale = parameter(scale, extent, T::one())?;
    let bias = parameter(bias, extent, T::zero())?;
    each_row(
        x,
        extent,
        #[inline(always)]
        |row| kernel(row, &scale, &bias),
    )
}

/// The elements of a scale or bias, or as many times `neutral` if it is absent. There must be `extent`
/// of them, as many as are normalised together.
fn parameter<T: Real>(given: Option<&Array<T>>, extent: usize, neutral: T) -> Result<Vec<T>> {
    let elements = given.map_or_else(|| vec![neutral; extent], |a| a.iter().copied().collect());
    if elements.len() == extent {
        return Ok(elements);
    }
    Err(Error::malformed(format!(
        "a scale or bias has {} elements where {extent} are normalised",
        elements.len()
    )))
}

/// `(x - mean) / √(variance + epsilon) · scale + bias`, with the mean and variance over each of `groups`
/// groups of the channels of `x` (`[n, c, …]`). `scale` and `bias` have an element for each channel.
pub(crate) fn group_norm<T: Real>(
    x: &Array<T>,
    groups: usize,
    [scale, bias]: [Option<&Array<T>>; 2],
    epsilon: f64,
) -> Result<ArrayD<T>> {
    let &[images, channels, ..] = x.shape() else {
        return Err(Error::malformed("an operand without channels"));
    };
    let pixels: usize = x.shape()[2..].iter().product();
    let rows = reshape(x, &[images, groups, channels / groups * pixels])?;
    let normalized = layer_norm(&rows, None, None, 2, epsilon)?;
    let normalized = reshape(&normalized.into(), x.shape())?;
    let scale = parameter(scale, channels, T::one())?;
    let bias = parameter(bias, channels, T::zero())?;
    let lines: Vec<(T, T)> = scale.into_iter().zip(bias).collect();
    each_channel_scaled(&normalized, &lines, 1)
}

/// The parameters of [`local_response`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Response {
    /// The number of channels that a sum is taken over.
    pub channels: usize,
    pub k: f64,
    pub alpha: f64,
    pub beta: f64,
}

/// `x / (k + alpha · Σ x²)^beta`, with the sum over the channels around each channel of `x` (`[n, c, …]`).
///
/// Each sum is the sum of the channel before, plus the channel that is new in it and minus the one that
/// is left out. So small elements after a large one lose their digits, as in Paddle and ONNX Runtime.
pub(crate) fn local_response<T: Real>(x: &Array<T>, of: &Response) -> ArrayD<T> {
    let channels = x.shape()[1];
    let [k, alpha, exponent] = [of.k, of.alpha, -of.beta].map(T::from_f64);
    let terms = x.mapv(|x| alpha * (x * x));
    let ahead = of.channels / 2;
    let mut sum = ArrayD::from_elem(x.raw_dim().remove_axis(Axis(1)), k);
    for channel in 0..ahead.min(channels) {
        sum += &terms.index_axis(Axis(1), channel);
    }
    let mut result = x.as_standard_layout().into_owned();
    for (channel, mut lane) in result.axis_iter_mut(Axis(1)).enumerate() {
        if channel + ahead < channels {
            sum += &terms.index_axis(Axis(1), channel + ahead);
        }
        if let Some(behind) = (channel + ahead).checked_sub(of.channels) {
            sum.zip_mut_with(&terms.index_axis(Axis(1), behind), |sum, term| {
                *sum = *sum - *term
            });
        }
        lane.zip_mut_with(&sum, |x, sum| {
            *x = *x * sum.powf(exponent);
        });
    }
    result
}

/// The mean and the variance. Sums of f32 are taken in f64: the reference should add no noise of its own.
#[inline(always)]
fn moments<T: Real>(elements: &[T]) -> (T, T) {
    let count = elements.len() as f64;
    let mean = sum_of(elements, |x| x) / count;
    let variance = sum_of(elements, |x| (x - mean).powi(2)) / count;
    (T::from_f64(mean), T::from_f64(variance))
}

#[inline(always)]
fn layer_norm_row<T: Real>(row: &mut [T], scale: &[T], bias: &[T], epsilon: T) {
    let (mean, variance) = moments(row);
    let inverse = (variance + epsilon).sqrt().recip();
    for ((x, scale), bias) in row.iter_mut().zip(scale).zip(bias) {
        *x = (*x - mean) * inverse * *scale + *bias;
    }
}

#[inline(always)]
fn rms_norm_row<T: Real>(row: &mut [T], scale: &[T], bias: &[T], epsilon: T) {
    let squares = sum_of(row, |x| x.powi(2));
    let mean = T::from_f64(squares / row.len() as f64);
    let inverse = (mean + epsilon).sqrt().recip();
    for ((x, scale), bias) in row.iter_mut().zip(scale).zip(bias) {
        *x = *x * inverse * *scale + *bias;
    }
}

/// A copy of `x` in row-major order, with `kernel` applied to each `extent` consecutive elements.
fn each_row<T: Real>(
    x: &Array<T>,
    extent: usize,
    kernel: impl Fn(&mut [T]) + Sync + Send,
) -> Result<ArrayD<T>> {
    /// How many simple operations an element takes, as a rule.
    const OPERATIONS: usize = 8;
    let elements = row_major(x);
    let work = elements.len() * OPERATIONS;
    // SAFETY: the row is as long as the room for it, and written into it.
    let result = unsafe {
        filled(elements.len(), extent.max(1), work, |index, room| {
            let row = &elements[index * extent..][..room.len()];
            vectorised(
                #[inline(always)]
                || kernel(room.write_copy_of_slice(row)),
            );
        })
    };
    ArrayD::from_shape_vec(IxDyn(x.shape()), result)
        .map_err(|_| Error::internal("a norm lost elements"))
}
