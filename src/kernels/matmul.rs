//! Matrix products, with batch axes that broadcast as in NumPy's `matmul`.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, ArrayViewMut2, Axis, IxDyn, Zip};
use rayon::prelude::*;

use super::map::broadcast_shape;
use super::real::Real;
use super::threads::for_each_chunk;
use crate::error::{Error, Result};
use crate::tensor::{Array, Element};

/// A matrix in memory: its first element, and its strides in elements.
#[derive(Clone, Copy)]
struct Matrix<T> {
    data: *const T,
    row_stride: isize,
    column_stride: isize,
}

impl<T> Matrix<T> {
    /// The matrix without as many of its first rows.
    fn after_rows(self, first: usize) -> Self {
        let data = self.data.wrapping_offset(self.row_stride * first as isize);
        Self { data, ..self }
    }

    /// The matrix without as many of its first columns.
    fn after_columns(self, first: usize) -> Self {
        let data = self
            .data
            .wrapping_offset(self.column_stride * first as isize);
        Self { data, ..self }
    }
}

// SAFETY: the pointer is only read, and what it points to outlives the product.
unsafe impl<T: Sync> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

/// The product over the last two axes of `x` (`[…, m, k]`) and `y` (`[…, k, n]`), with the other
/// axes broadcast.
///
/// # Errors
/// When the inner extents differ or the batch axes do not broadcast.
pub(crate) fn matmul<T: Real>(x: &Array<T>, y: &Array<T>) -> Result<ArrayD<T>> {
    let [m, k, n] = extents(x, y)?;
    if let Some(rows) = stacked_rows(x, y)? {
        let product = batched(rows.view(), y.view(), [rows.shape()[0], k, n])?;
        let mut shape = x.shape().to_vec();
        shape[x.ndim() - 1] = n;
        return product
            .into_shape_with_order(shape)
            .map_err(|_| Error::internal("a product has the wrong size"));
    }
    batched(x.view(), y.view(), [m, k, n])
}

/// [`matmul`] for integers. Products and sums wrap on overflow.
///
/// # Errors
/// When the inner extents differ or the batch axes do not broadcast.
pub(crate) fn integers<T: Element>(x: &Array<T>, y: &Array<T>) -> Result<ArrayD<T>> {
    let [m, k, n] = extents(x, y)?;
    let batch = broadcast_shape(&x.shape()[..x.ndim() - 2], &y.shape()[..y.ndim() - 2])?;
    let shape = [batch.as_slice(), &[m, n, k]].concat();
    let fail = || Error::internal("broadcasting failed");
    let rows = x.view().insert_axis(Axis(x.ndim() - 1));
    let rows = rows.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let mut columns = y.view();
    columns.swap_axes(y.ndim() - 1, y.ndim() - 2);
    let columns = columns.insert_axis(Axis(y.ndim() - 2));
    let columns = columns.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let terms = Axis(shape.len() - 1);
    let sums = Zip::from(rows.lanes(terms)).and(columns.lanes(terms));
    Ok(sums.map_collect(|row, column| {
        let terms = row.iter().zip(column);
        let products = terms.map(|(a, b)| a.to_i64().wrapping_mul(b.to_i64()));
        T::from_i64(products.fold(0, i64::wrapping_add))
    }))
}

/// The extents `m`, `k` and `n` of a product.
fn extents<T: Element>(x: &Array<T>, y: &Array<T>) -> Result<[usize; 3]> {
    let (&[.., m, k], &[.., inner, n]) = (x.shape(), y.shape()) else {
        return Err(Error::internal("matmul of operands without two axes"));
    };
    if k != inner {
        return Err(Error::malformed(format!(
            "can't multiply {:?} with {:?}: the inner extents differ",
            x.shape(),
            y.shape()
        )));
    }
    Ok([m, k, n])
}

/// All rows of `x` as one matrix, if `x` is a batch of matrices and `y` a single one: then one product gives
/// the rows of the whole batch.
fn stacked_rows<T: Real>(x: &Array<T>, y: &Array<T>) -> Result<Option<Array<T>>> {
    if y.ndim() != 2 || x.ndim() < 3 {
        return Ok(None);
    }
    let k = y.shape()[0];
    let rows = x.shape()[..x.ndim() - 1].iter().product();
    super::map::reshape(x, &[rows, k]).map(Some)
}

/// The products of the matrices in the last two axes, with the other axes broadcast.
fn batched<T: Real>(
    x: ArrayViewD<'_, T>,
    y: ArrayViewD<'_, T>,
    [m, k, n]: [usize; 3],
) -> Result<ArrayD<T>> {
    let batch = broadcast_shape(&x.shape()[..x.ndim() - 2], &y.shape()[..y.ndim() - 2])?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    if k == 0 || shape.contains(&0) {
        // Sums of nothing are 0, and there is no first element to point to.
        return Ok(ArrayD::zeros(IxDyn(&shape)));
    }
    let mut product = ArrayD::uninit(IxDyn(&shape));
    let lhs = matrices(&x, &batch, m, k)?;
    let rhs = matrices(&y, &batch, k, n)?;
    let output = product.as_slice_mut();
    let output = output.ok_or_else(|| Error::internal("a new array is not contiguous"))?;
    let batch_len = lhs.len();
    // With fewer products than threads, these share in each product, one after the other.
    let is_divided = batch_len >= rayon::current_num_threads();
    let multiply = if is_divided {
        multiply
    } else {
        multiply_on_threads
    };
    let work = if is_divided { batch_len * m * k * n } else { 0 };
    for_each_chunk(output, m * n, work, |index, dst| {
        if let Ok(dst) = ArrayViewMut2::from_shape((m, n), dst) {
            multiply(dst, lhs[index], rhs[index], k);
        }
    });
    // SAFETY: each matrix of the result has been computed.
    Ok(unsafe { product.assume_init() })
}

/// The matrices in the last two axes of `x`, one for each position on the broadcast batch axes.
fn matrices<T: Real>(
    x: &ArrayViewD<'_, T>,
    batch: &[usize],
    rows: usize,
    columns: usize,
) -> Result<Vec<Matrix<T>>> {
    let shape: Vec<usize> = batch.iter().copied().chain([rows, columns]).collect();
    let x = x
        .broadcast(IxDyn(&shape))
        .ok_or_else(|| Error::internal("broadcasting failed"))?;
    let rank = x.ndim();
    let (row_stride, column_stride) = (x.strides()[rank - 2], x.strides()[rank - 1]);
    let firsts = x.index_axis(Axis(rank - 1), 0);
    let firsts = firsts.index_axis(Axis(rank - 2), 0);
    Ok(firsts
        .iter()
        .map(|first| Matrix {
            data: std::ptr::from_ref(first),
            row_stride,
            column_stride,
        })
        .collect())
}

/// `dst = lhs · rhs`, which writes all of `dst`.
///
/// # Panics
/// When the extents don't fit.
pub(super) fn product<T: Real>(
    dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: ArrayView2<'_, T>,
    rhs: ArrayView2<'_, T>,
) {
    let (lhs, rhs, k) = operands(&dst, lhs, rhs);
    multiply(dst, lhs, rhs, k);
}

/// [`product`] on all threads. The result is the same.
pub(super) fn product_on_threads<T: Real>(
    dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: ArrayView2<'_, T>,
    rhs: ArrayView2<'_, T>,
) {
    let (lhs, rhs, k) = operands(&dst, lhs, rhs);
    multiply_on_threads(dst, lhs, rhs, k);
}

/// `lhs · rhs`, computed on all threads.
///
/// # Panics
/// When the extents don't fit.
pub(super) fn new_product<T: Real>(lhs: ArrayView2<'_, T>, rhs: ArrayView2<'_, T>) -> Array2<T> {
    let mut result = Array2::uninit([lhs.nrows(), rhs.ncols()]);
    product_on_threads(result.view_mut(), lhs, rhs);
    // SAFETY: the product is all of the result.
    unsafe { result.assume_init() }
}

/// The operands of a product, and the extent that they have in common.
fn operands<T: Real>(
    dst: &ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: ArrayView2<'_, T>,
    rhs: ArrayView2<'_, T>,
) -> (Matrix<T>, Matrix<T>, usize) {
    let ((m, n), k) = (dst.dim(), lhs.ncols());
    assert!(lhs.nrows() == m && rhs.dim() == (k, n));
    let matrix = |of: ArrayView2<'_, T>| Matrix {
        data: of.as_ptr(),
        row_stride: of.strides()[0],
        column_stride: of.strides()[1],
    };
    (matrix(lhs), matrix(rhs), k)
}

/// [`multiply`] on all threads. Each computes a part of the rows or of the columns, whichever there are more of, as a
/// product of its own: if threads shared in one, they would wait for one another many times.
fn multiply_on_threads<T: Real>(
    mut dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: Matrix<T>,
    rhs: Matrix<T>,
    k: usize,
) {
    /// The number of multiplications that take longer than it does to wake a thread.
    const WORTH_THREADS: usize = 1 << 18;
    /// The fewest rows or columns for a thread.
    const FEWEST: usize = 48;
    /// A product computes as many rows and columns at once, or a part of them.
    const UNITS: [usize; 2] = [12, 64];
    let (rows, columns) = dst.dim();
    let (axis, extent) = if columns >= rows {
        (1, columns)
    } else {
        (0, rows)
    };
    let parts = rayon::current_num_threads().min(extent / FEWEST);
    if parts < 2 || rows * columns * k < WORTH_THREADS {
        return multiply(dst, lhs, rhs, k);
    }
    let len = extent.div_ceil(parts).next_multiple_of(UNITS[axis]);
    let parts = dst.axis_chunks_iter_mut(Axis(axis), len).into_par_iter();
    parts.enumerate().for_each(|(index, dst)| {
        let first = index * len;
        if axis == 0 {
            multiply(dst, lhs.after_rows(first), rhs, k);
        } else {
            multiply(dst, lhs, rhs.after_columns(first), k);
        }
    });
}

/// `dst = lhs · rhs`, with `k` as the extent that the operands have in common.
fn multiply<T: Real>(
    mut dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: Matrix<T>,
    rhs: Matrix<T>,
    k: usize,
) {
    let (m, n) = dst.dim();
    let strides = [dst.strides()[0], dst.strides()[1]];
    // SAFETY: `dst` is a view of m × n elements with these strides, which are written and not read. The callers take the matrices from
    // array views of extents m × k and k × n, with those views' strides.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr().cast::<T>(),
            strides[1],
            strides[0],
            false,
            lhs.data,
            lhs.column_stride,
            lhs.row_stride,
            rhs.data,
            rhs.column_stride,
            rhs.row_stride,
            T::zero(),
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(shape: &[usize]) -> Array<f32> {
        ArrayD::zeros(shape).into()
    }

    #[test]
    fn products_of_empty_matrices_are_empty_or_zero() {
        for (x, y, expected) in [
            (vec![2, 0], vec![0, 3], vec![2, 3]),
            (vec![0, 2], vec![2, 3], vec![0, 3]),
            (vec![2, 3], vec![3, 0], vec![2, 0]),
            (vec![0, 2, 3], vec![0, 3, 4], vec![0, 2, 4]),
            (vec![5, 2, 0], vec![0, 4], vec![5, 2, 4]),
        ] {
            let product = matmul(&zeros(&x), &zeros(&y)).unwrap();
            assert_eq!(product.shape(), expected);
            assert!(product.iter().all(|element| *element == 0.0));
        }
    }
}
