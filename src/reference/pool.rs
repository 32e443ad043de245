//! Pooling: one number for each window.

use std::ops::Range;

use ndarray::Array4;
use rayon::prelude::*;

use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

/// A window along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The elements in it.
    pub inside: Range<usize>,
    /// How many an average is taken over, which may count padding.
    pub counted: usize,
}

/// The windows along both axes of the image.
pub(crate) struct Windows {
    pub rows: Vec<Span>,
    pub columns: Vec<Span>,
}

/// What becomes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduction {
    Max,
    Average,
}

/// Pools `[n, c, h, w]`.
pub(crate) fn pool2d<T: Real>(
    x: &Array<T>,
    windows: &Windows,
    reduction: Reduction,
) -> Result<Array<T>> {
    let &[n, c, h, w] = x.shape() else {
        return Err(Error::malformed(format!(
            "rank {} where 4 is due",
            x.ndim()
        )));
    };
    let x = x.as_standard_layout();
    let x = x
        .as_slice()
        .ok_or_else(|| Error::internal("an array without an order"))?;
    let (rows, columns) = (windows.rows.len(), windows.columns.len());
    let mut result = vec![T::zero(); n * c * rows * columns];
    if !result.is_empty() && h * w > 0 {
        let planes = result
            .par_chunks_mut(rows * columns)
            .zip(x.par_chunks(h * w));
        planes.for_each(|(result, plane)| pool_plane(plane, w, windows, reduction, result));
    }
    let result = Array4::from_shape_vec((n, c, rows, columns), result);
    result
        .map(|array| array.into_dyn().into())
        .map_err(|e| Error::internal(format!("pooling: {e}")))
}

fn pool_plane<T: Real>(
    plane: &[T],
    width: usize,
    windows: &Windows,
    reduction: Reduction,
    result: &mut [T],
) {
    let spans = windows
        .rows
        .iter()
        .flat_map(|row| windows.columns.iter().map(move |c| (row, c)));
    for (result, (row, column)) in result.iter_mut().zip(spans) {
        let rows = row.inside.clone();
        let elements = rows
            .flat_map(|y| &plane[y * width..][column.inside.clone()])
            .copied();
        *result = match reduction {
            Reduction::Max => elements.fold(T::neg_infinity(), T::max),
            Reduction::Average => {
                let count = T::from_f64((row.counted * column.counted) as f64);
                elements.sum::<T>() / count
            }
        };
    }
}
