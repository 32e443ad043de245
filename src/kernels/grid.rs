//! Sampling at positions between elements: weighted sums over the spatial axes of a tensor.

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::interpolate::Tap;
use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::{Array, Element, refuse_too_large, row_major};

/// For each sampled point, the elements of a channel that it is the weighted sum of, by their positions in
/// the flattened spatial axes.
pub(crate) type Points = Vec<Vec<Tap>>;

/// The two elements around a position on an axis, with their weights in linear interpolation.
pub(crate) fn blend(position: f64) -> Vec<(i64, f64)> {
    let floor = position.floor();
    let share = position - floor;
    let first = floor as i64;
    vec![(first, 1.0 - share), (first.saturating_add(1), share)]
}

/// The weighted elements that a point is the sum of, from those along each spatial axis: weights are
/// multiplied. Elements outside of `extents` are left out, which amounts to padding with zeros.
pub(crate) fn point(along: &[Vec<(i64, f64)>], extents: &[usize]) -> Vec<Tap> {
    let mut taps = vec![Tap {
        index: 0,
        weight: 1.0,
    }];
    for (along, extent) in along.iter().zip(extents) {
        let inside: Vec<(usize, f64)> = along
            .iter()
            .filter_map(|(index, weight)| Some((usize::try_from(*index).ok()?, *weight)))
            .filter(|(index, _)| index < extent)
            .collect();
        let products = taps.iter().flat_map(|tap| {
            inside.iter().map(|(index, weight)| Tap {
                index: tap.index * extent + index,
                weight: tap.weight * weight,
            })
        });
        taps = products.collect();
    }
    taps
}

/// Samples `x` (`[n, c, …]`) at the points of each of its `n` batch elements, which are the same for all
/// channels. The result is `[n, c, shape…]`, where `shape` holds as many elements as there are points.
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
    let elements = row_major(x);
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
