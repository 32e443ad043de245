//! Matrix products, with batch axes that broadcast as in NumPy's `matmul`.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, ArrayViewMut2, Axis, IxDyn, Zip};
use rayon::prelude::*;

use super::map::broadcast_shape;
use super::real::Real;
use super::threads::for_each_chunk;
use crate::error::{Error, Result};
use crate::tensor::{Array, Element, Panels};

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

/// [`matmul`] of `x` (`[…, k]`) and a matrix in panels (`[k, n]`).
///
/// # Errors
/// When the inner extents or the element types differ.
pub(crate) fn matmul_panels<T: Real>(x: &Array<T>, y: &Panels) -> Result<ArrayD<T>> {
    let [k, n] = y.shape();
    let [batch @ .., inner] = x.shape() else {
        return Err(Error::malformed("an operand of rank 0 in a matrix product"));
    };
    if *inner != k {
        return Err(differing_extents(x.shape(), &y.shape()));
    }
    let panels = y
        .elements::<T>()
        .ok_or_else(|| Error::internal("a product of operands of two element types"))?;
    let shape = [batch, &[n]].concat();
    let rows = batch.iter().product();
    let x = super::map::reshape(x, &[rows, k])?;
    let lhs = Matrix {
        data: x.as_ptr(),
        row_stride: x.strides()[0],
        column_stride: x.strides()[1],
    };
    let mut product = Array2::uninit([rows, n]);
    on_threads(product.view_mut(), k, |dst, [first_row, first_column]| {
        multiply_panels(
            dst,
            lhs.after_rows(first_row),
            &panels[first_column * k..],
            k,
        );
    });
    // SAFETY: the parts are all of the product.
    let product = unsafe { product.assume_init() };
    product
        .into_shape_with_order(shape)
        .map_err(|_| Error::internal("a product has the wrong size"))
}

/// `dst = lhs · rhs`, where `rhs` begins with the panels for the columns of `dst`.
fn multiply_panels<T: Real>(
    mut dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: Matrix<T>,
    rhs: &[T],
    k: usize,
) {
    /// Up to as many rows, gemm reads a panel where it is. For more, it would make a copy of it.
    const ROWS: usize = 48;
    let panels = rhs.chunks(k * Panels::WIDTH);
    for (mut dst, panel) in dst.axis_chunks_iter_mut(Axis(1), Panels::WIDTH).zip(panels) {
        let panel = Matrix {
            data: panel.as_ptr(),
            row_stride: dst.ncols() as isize,
            column_stride: 1,
        };
        for (index, dst) in dst.axis_chunks_iter_mut(Axis(0), ROWS).enumerate() {
            multiply(dst, lhs.after_rows(index * ROWS), panel, k);
        }
    }
}

/// The extents `m`, `k` and `n` of a product.
fn extents<T: Element>(x: &Array<T>, y: &Array<T>) -> Result<[usize; 3]> {
    let (&[.., m, k], &[.., inner, n]) = (x.shape(), y.shape()) else {
        return Err(Error::internal("matmul of operands without two axes"));
    };
    if k != inner {
        return Err(differing_extents(x.shape(), y.shape()));
    }
    Ok([m, k, n])
}

fn differing_extents(x: &[usize], y: &[usize]) -> Error {
    Error::malformed(format!(
        "can't multiply {x:?} with {y:?}: the inner extents differ"
    ))
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

/// [`multiply`] on all threads.
fn multiply_on_threads<T: Real>(
    dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    lhs: Matrix<T>,
    rhs: Matrix<T>,
    k: usize,
) {
    on_threads(dst, k, |dst, [first_row, first_column]| {
        let (lhs, rhs) = (lhs.after_rows(first_row), rhs.after_columns(first_column));
        multiply(dst, lhs, rhs, k);
    });
}

/// Calls `multiply` on all threads, each for a part of the rows or of the columns of `dst`, whichever there are more
/// of, as for a product of its own: if threads shared in one, they would wait for one another many times. It gets the
/// position of the part's first element, whose column is at the start of a panel.
fn on_threads<T: Real>(
    mut dst: ArrayViewMut2<'_, MaybeUninit<T>>,
    k: usize,
    multiply: impl Fn(ArrayViewMut2<'_, MaybeUninit<T>>, [usize; 2]) + Sync,
) {
    /// The number of multiplications that take longer than it does to wake a thread.
    const WORTH_THREADS: usize = 1 << 18;
    /// The fewest rows or columns for a thread.
    const FEWEST: usize = 48;
    /// A product computes as many rows and columns at once, or a part of them.
    const UNITS: [usize; 2] = [12, Panels::WIDTH];
    let (rows, columns) = dst.dim();
    let (axis, extent) = if columns >= rows {
        (1, columns)
    } else {
        (0, rows)
    };
    let parts = rayon::current_num_threads().min(extent / FEWEST);
    if parts < 2 || rows * columns * k < WORTH_THREADS {
        return multiply(dst, [0, 0]);
    }
    let len = extent.div_ceil(parts).next_multiple_of(UNITS[axis]);
    let parts = dst.axis_chunks_iter_mut(Axis(axis), len).into_par_iter();
    parts.enumerate().for_each(|(index, dst)| {
        let mut first = [0, 0];
        first[axis] = index * len;
        multiply(dst, first);
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
    use crate::tensor::Tensor;

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

    /// Numbers of both signs, in no order.
    fn numbers<T: Real>(shape: &[usize], seed: usize) -> Array<T> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            T::from_f64((state >> 40) as f64 / (1 << 23) as f64 - 1.0)
        };
        ArrayD::from_shape_simple_fn(shape, &mut next).into()
    }

    fn panels_give_what_rows_give<T: Real>(epsilon: f64) {
        for (m, k, n) in [
            (1, 3, 65),
            (47, 5, 128),
            (49, 700, 150),
            (130, 40, 70),
            (0, 4, 70),
        ] {
            // In columns, as a transposed operand is.
            let x = numbers::<T>(&[2, k, m], m).permuted_axes(IxDyn(&[0, 2, 1]));
            let y = numbers::<T>(&[k, n], n);
            let panels = Panels::new(&T::tensor(y.clone())).unwrap();
            let product = matmul_panels(&x, &panels).unwrap();
            let expected = matmul(&x, &y).unwrap();
            assert_eq!(product.shape(), expected.shape());
            let pairs = product.iter().zip(&expected);
            let error = pairs.map(|(a, b)| (Element::to_f64(*a) - Element::to_f64(*b)).abs());
            let error = error.fold(0.0_f64, f64::max);
            assert!(error <= k as f64 * epsilon, "{m} {k} {n}: {error}");
        }
    }

    #[test]
    fn products_with_panels_are_those_with_rows() {
        panels_give_what_rows_give::<f32>(f32::EPSILON.into());
        panels_give_what_rows_give::<f64>(f64::EPSILON);
    }

    #[test]
    fn products_with_panels_of_other_extents_or_types_are_refused() {
        let panels = Panels::new(&Tensor::F32(numbers(&[3, 65], 1))).unwrap();
        assert!(matmul_panels(&numbers::<f32>(&[4, 2], 2), &panels).is_err());
        assert!(matmul_panels(&numbers::<f64>(&[4, 3], 2), &panels).is_err());
        assert!(matmul_panels(&numbers::<f32>(&[], 2), &panels).is_err());
    }
}
