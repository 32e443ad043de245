//! Elementwise kernels, with NumPy's broadcasting.

use ndarray::{ArrayD, IxDyn, Zip};

use crate::error::{Error, Result};
use crate::tensor::{Array, Element};

/// Smaller arrays are not worth the threads.
const PARALLEL_LEN: usize = 1 << 14;

/// `f` of each element.
pub(crate) fn map<T: Element>(x: &Array<T>, f: impl Fn(T) -> T + Sync + Send) -> ArrayD<T> {
    if x.len() < PARALLEL_LEN {
        x.mapv(f)
    } else {
        Zip::from(x).par_map_collect(|x| f(*x))
    }
}

/// `f` of each pair of elements.
///
/// # Errors
/// When the shapes do not broadcast.
pub(crate) fn zip<T: Element, U: Element>(
    x: &Array<T>,
    y: &Array<T>,
    f: impl Fn(T, T) -> U + Sync + Send,
) -> Result<ArrayD<U>> {
    let shape = broadcast_shape(x.shape(), y.shape())?;
    let fail = || Error::internal("broadcasting failed");
    let x = x.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let y = y.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let pairs = Zip::from(&x).and(&y);
    Ok(if x.len() < PARALLEL_LEN {
        pairs.map_collect(|x, y| f(*x, *y))
    } else {
        pairs.par_map_collect(|x, y| f(*x, *y))
    })
}

/// The shape that two arrays broadcast to.
pub(crate) fn broadcast_shape(x: &[usize], y: &[usize]) -> Result<Vec<usize>> {
    let rank = x.len().max(y.len());
    let at = |shape: &[usize], axis: usize| {
        let axis = (axis + shape.len()).checked_sub(rank);
        axis.map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (at(x, axis), at(y, axis)) {
            (1, extent) | (extent, 1) => Ok(extent),
            (a, b) if a == b => Ok(a),
            _ => Err(Error::malformed(format!(
                "shapes {x:?} and {y:?} do not broadcast"
            ))),
        })
        .collect()
}

/// The array with another shape of as many elements, in row-major order.
pub(crate) fn reshape<T: Element>(x: &Array<T>, shape: &[usize]) -> Result<Array<T>> {
    let from = x.shape().to_vec();
    x.to_shape((IxDyn(shape), ndarray::Order::RowMajor))
        .map(|array| array.into_owned().into())
        .map_err(|_| Error::malformed(format!("can't reshape {from:?} to {shape:?}")))
}
