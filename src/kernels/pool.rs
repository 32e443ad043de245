//! Pooling over one to three spatial axes: one number for each window.

use std::ops::Range;

use ndarray::{ArrayD, IxDyn};

use super::conv::on_three_axes;
use super::real::Real;
use super::reduce::sum_of;
use super::threads::{for_each_chunk, vectorised};
use crate::error::{Error, Result};
use crate::tensor::{Array, Element, refuse_too_large, row_major};

/// A window along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The positions in it that are not padding.
    pub inside: Range<usize>,
    /// The number of elements that an average is taken over, which may count padding.
    pub counted: usize,
}

/// A window on the spatial axes of one channel.
pub(crate) struct Window<'w, T> {
    /// All elements of the channel.
    pixels: &'w [T],
    /// The extents of the channel's last two axes.
    lines: [usize; 2],
    spans: [&'w Span; 3],
}

impl<T: Real> Window<'_, T> {
    /// The rows of the window along the last axis, each with the position of its first element in the channel.
    fn rows(&self) -> impl Iterator<Item = (usize, &[T])> {
        let [depth, rows, columns] = self.spans.map(|span| span.inside.clone());
        let [height, width] = self.lines;
        let lines = depth.flat_map(move |z| rows.clone().map(move |y| (z * height + y) * width));
        lines.map(move |line| {
            let start = line + columns.start;
            (
                start,
                &self.pixels[start..line + columns.end.max(columns.start)],
            )
        })
    }

    /// The elements in the window, each with its position in the channel, in row-major order.
    pub fn elements(&self) -> impl Iterator<Item = (usize, T)> {
        let rows = self.rows();
        rows.flat_map(|(start, row)| (start..).zip(row.iter().copied()))
    }

    /// The number of elements that an average is taken over, which may count padding.
    fn counted(&self) -> usize {
        self.spans.iter().map(|span| span.counted).product()
    }

    /// The position of the largest element in the channel, the first if there are several; -1 if there is none.
    pub fn position_of_max(&self) -> i32 {
        let best = self
            .elements()
            .reduce(|best, x| if x.1 > best.1 { x } else { best });
        best.and_then(|(position, _)| i32::try_from(position).ok())
            .unwrap_or(-1)
    }

    pub fn average(&self) -> T {
        let sum: f64 = self.rows().map(|(_, row)| sum_of(row, |x| x)).sum();
        T::from_f64(sum / self.counted() as f64)
    }

    /// `(Σ xᵖ)^(1 / p)`, of the elements themselves rather than their magnitudes.
    pub fn norm(&self, p: f64) -> T {
        let power = T::from_f64(p);
        let powers = self.elements().map(|(_, x)| Element::to_f64(x.powf(power)));
        T::from_f64(powers.sum()).powf(power.recip())
    }
}

/// A channel, and the windows along each of its axes.
struct Channel<'c, T> {
    pixels: &'c [T],
    /// The extents of the last two axes.
    lines: [usize; 2],
    along: [&'c [Span]; 3],
}

impl<T: Real> Channel<'_, T> {
    /// For each row of windows along the last axis, its windows along the other two.
    fn rows(&self) -> impl Iterator<Item = [&Span; 2]> {
        let [depth, rows, _] = self.along;
        depth.iter().flat_map(|z| rows.iter().map(move |y| [z, y]))
    }

    /// The results of `f` on each window.
    fn each<R>(&self, results: &mut [R], f: &impl Fn(Window<'_, T>) -> R) {
        let columns = self.along[2];
        for (results, [z, y]) in results.chunks_mut(columns.len()).zip(self.rows()) {
            for (result, column) in results.iter_mut().zip(columns) {
                *result = f(Window {
                    pixels: self.pixels,
                    lines: self.lines,
                    spans: [z, y, column],
                });
            }
        }
    }

    /// The largest element of each window: first of each column, with as many columns at once as a vector holds, then
    /// of the columns.
    #[inline(always)]
    fn max(&self, results: &mut [T]) {
        let columns = self.along[2];
        let [height, width] = self.lines;
        let mut largest = vec![T::neg_infinity(); width];
        for (results, [z, y]) in results.chunks_mut(columns.len()).zip(self.rows()) {
            largest.fill(T::neg_infinity());
            for z in z.inside.clone() {
                for y in y.inside.clone() {
                    let row = &self.pixels[(z * height + y) * width..][..width];
                    let pairs = largest.iter_mut().zip(row);
                    pairs.for_each(|(largest, x)| *largest = largest.max(*x));
                }
            }
            for (result, Span { inside, .. }) in results.iter_mut().zip(columns) {
                let columns = &largest[inside.start..inside.end.max(inside.start)];
                *result = columns.iter().copied().fold(T::neg_infinity(), T::max);
            }
        }
    }
}

/// The results of `f` on each window of `x` (`[n, c, …]`), from the windows along each spatial axis. The result
/// has the shape `[n, c, …]`, with as many positions on each spatial axis as there are windows along it.
///
/// # Errors
/// When `x` has no channel axis, or there is not enough memory.
pub(crate) fn pool<T: Real, R: Element>(
    x: &Array<T>,
    windows: &[Vec<Span>],
    f: impl Fn(Window<'_, T>) -> R + Sync,
) -> Result<ArrayD<R>> {
    on_channels(x, windows, |channel, results| channel.each(results, &f))
}

/// [`pool`] with the largest element of each window; negative infinity for windows of padding alone.
///
/// # Errors
/// Those of [`pool`].
pub(crate) fn max_pool<T: Real>(x: &Array<T>, windows: &[Vec<Span>]) -> Result<ArrayD<T>> {
    on_channels(x, windows, |channel, results| {
        vectorised(|| channel.max(results))
    })
}

/// What `f` makes of the windows of each channel, as [`pool`] does.
fn on_channels<T: Real, R: Element>(
    x: &Array<T>,
    windows: &[Vec<Span>],
    f: impl Fn(Channel<'_, T>, &mut [R]) + Sync,
) -> Result<ArrayD<R>> {
    let &[n, c, ref image @ ..] = x.shape() else {
        return Err(Error::malformed("an operand without channels"));
    };
    let counts = windows.iter().map(Vec::len);
    let shape: Vec<usize> = [n, c].into_iter().chain(counts).collect();
    refuse_too_large(&shape)?;
    let whole = vec![Span {
        inside: 0..1,
        counted: 1,
    }];
    let along: Vec<&Vec<Span>> = windows.iter().collect();
    let [depth, rows, columns] = on_three_axes(&along, &whole)?;
    let [_, height, width] = on_three_axes(image, 1)?;
    let pixels: usize = image.iter().product();
    let count = depth.len() * rows.len() * columns.len();
    let x = row_major(x);
    let mut result = vec![R::default(); n * c * count];
    if !result.is_empty() && pixels > 0 {
        let sizes = [depth, rows, columns].map(|along| along.iter().map(|span| span.inside.len()));
        let work = n * c * sizes.map(Iterator::sum::<usize>).iter().product::<usize>();
        for_each_chunk(&mut result, count, work, |image, results| {
            let channel = Channel {
                pixels: &x[image * pixels..][..pixels],
                lines: [height, width],
                along: [depth, rows, columns].map(Vec::as_slice),
            };
            f(channel, results);
        });
    }
    ArrayD::from_shape_vec(IxDyn(&shape), result)
        .map_err(|e| Error::internal(format!("pooling: {e}")))
}
