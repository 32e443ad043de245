//! Resampling along one axis, by weighted sums of elements.

use ndarray::{ArrayD, Axis};

use super::real::Real;
use crate::error::{Error, Result};
use crate::tensor::Array;

/// The position of an element, and its weight in a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tap {
    pub index: usize,
    pub weight: f64,
}

/// The weighted sums of elements along an axis, one for each list of taps.
pub(crate) fn resample<T: Real>(
    x: &Array<T>,
    axis: usize,
    positions: &[Vec<Tap>],
) -> Result<ArrayD<T>> {
    let mut shape = x.shape().to_vec();
    shape[axis] = positions.len();
    let mut result = ArrayD::from_elem(shape, T::zero());
    for (mut lane, taps) in result.axis_iter_mut(Axis(axis)).zip(positions) {
        for tap in taps {
            if tap.index >= x.shape()[axis] {
                return Err(Error::malformed("an element beyond the end of an axis"));
            }
            lane.scaled_add(
                T::from_f64(tap.weight),
                &x.index_axis(Axis(axis), tap.index),
            );
        }
    }
    Ok(result)
}
