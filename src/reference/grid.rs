//! Elements of images and volumes at positions between them.

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::interpolate::Tap;
use crate::error::{Error, Result};
use crate::reference::Real;
use crate::tensor::{Array, Element, refuse_too_large};

/// For each point the elements of a plane (or volume) that it is made of.
pub(crate) type Points = Vec<Vec<Tap>>;

/// The points of each image from all of its channels: `[n, c, …]` and as many points as `shape` has
/// places give `[n, c, shape]`.
pub(crate) fn sample<T: Real>(
    x: &Array<T>,
    points: &[Points],
    shape: &[usize],
) -> Result<ArrayD<T>> {
    let fail = || Error::internal("an image without channels");
    let &[n, c] = x.shape().get(..2).ok_or_else(fail)? else {
        return Err(fail());
    };
    let plane: usize = x.shape()[2..].iter().product();
    let count: usize = shape.iter().product();
    let result_shape = [&[n, c], shape].concat();
    refuse_too_large(&result_shape)?;
    let mut result = vec![T::zero(); n * c * count];
    let x = x.as_standard_layout();
    let elements = x
        .as_slice()
        .ok_or_else(|| Error::internal("an array without an order"))?;
    if count > 0 && plane > 0 {
        let planes = result
            .par_chunks_mut(count)
            .zip(elements.par_chunks(plane))
            .enumerate();
        planes.for_each(|(position, (result, plane))| {
            for (result, taps) in result.iter_mut().zip(&points[position / c]) {
                let terms = taps
                    .iter()
                    .map(|tap| Element::to_f64(plane[tap.index]) * tap.weight);
                *result = T::from_f64(terms.sum());
            }
        });
    }
    ArrayD::from_shape_vec(IxDyn(&result_shape), result)
        .map_err(|_| Error::internal("sampling lost elements"))
}
