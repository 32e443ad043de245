//! Pooling over one to three spatial axes: one number for each window.

use std::ops::Range;

use ndarray::{ArrayD, IxDyn};

use super::conv::on_three_axes;
use super::real::Real;
use super::reduce::sum_of;
use super::threads::for_each_chunk;
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

    pub fn max(&self) -> T {
        let largest = |largest, row: &[T]| row.iter().copied().fold(largest, T::max);
        self.rows()
            .fold(T::neg_infinity(), |max, (_, row)| largest(max, row))
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
        for_each_chunk(&mut result, count, work, |image, result| {
            let pixels = &x[image * pixels..][..pixels];
            for (index, result) in result.iter_mut().enumerate() {
                let (line, column) = (index / columns.len(), index % columns.len());
                let (z, y) = (line / rows.len(), line % rows.len());
                *result = f(Window {
                    pixels,
                    lines: [height, width],
                    spans: [&depth[z], &rows[y], &columns[column]],
                });
            }
        });
    }
    ArrayD::from_shape_vec(IxDyn(&shape), result)
        .map_err(|e| Error::internal(format!("pooling: {e}")))
}
