//! Boxes, given by their left, top, right and bottom sides: how much they overlap, and which of them stay.
//!
//! Paddle: `JaccardOverlap` and `GetMaxScoreIndex` in `phi/kernels/funcs/detection/nms_util.h`.

use super::order::sort_positions;
use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

/// The left, top, right and bottom sides of a box.
pub(crate) type Sides<T> = [T; 4];

/// The boxes in a tensor whose last axis has extent 4, in row-major order.
///
/// # Errors
/// When it has another extent.
pub(crate) fn all_sides<T: Real>(boxes: &Array<T>) -> Result<Vec<Sides<T>>> {
    if boxes.shape().last() != Some(&4) {
        let shape = boxes.shape();
        return Err(Error::malformed(format!("boxes of shape {shape:?}")));
    }
    let rows = boxes.rows();
    let rows = rows.into_iter().map(|row| [row[0], row[1], row[2], row[3]]);
    Ok(rows.collect())
}

/// The area of a box that is `offset` wider and higher than its sides say. One that ends before it begins has none.
pub(crate) fn area<T: Real>([left, top, right, bottom]: Sides<T>, offset: T) -> T {
    if right < left || bottom < top {
        return T::zero();
    }
    (right - left + offset) * (bottom - top + offset)
}

/// The area that two boxes have in common, divided by the area that both cover, as Paddle computes it: 0 for boxes that
/// do not touch, NaN for two without an area that do, and other numbers than one would expect for boxes that end before
/// they begin. Boxes are `offset` wider and higher than their sides say.
pub(crate) fn overlap<T: Real>(a: Sides<T>, b: Sides<T>, offset: T) -> T {
    if b[0] > a[2] || b[2] < a[0] || b[1] > a[3] || b[3] < a[1] {
        return T::zero();
    }
    let width = a[2].min(b[2]) - a[0].max(b[0]) + offset;
    let height = a[3].min(b[3]) - a[1].max(b[1]) + offset;
    let common = width * height;
    common / (area(a, offset) + area(b, offset) - common)
}

/// The positions of the scores above `threshold`, from the highest score on, at most `most` of them. Equal scores keep
/// their order.
pub(crate) fn ranked(scores: &[f64], threshold: f64, most: Option<usize>) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..scores.len())
        .filter(|position| scores[*position] > threshold)
        .collect();
    sort_positions(&mut positions, &|a, b| scores[b].total_cmp(&scores[a]));
    positions.truncate(most.unwrap_or(usize::MAX));
    positions
}

/// Those of the positions that stay if each is dropped that clashes with an earlier one that stays.
pub(crate) fn suppress(positions: &[usize], clashes: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for position in positions {
        if !kept.iter().any(|kept| clashes(*position, *kept)) {
            kept.push(*position);
        }
    }
    kept
}
