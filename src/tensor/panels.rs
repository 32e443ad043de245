//! Matrices as panels of columns.

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::{Array, Element, Tensor, row_major};

/// A matrix of float32 or float64 in the order in which a product reads it from the right: panel by panel of
/// [`Panels::WIDTH`] columns, and each panel row by row. The last panel has the columns that are left.
///
/// Products copy such panels out of a matrix in rows, each time anew. What many products share, such as a weight, is
/// better held in them.
#[derive(Debug, Clone)]
pub struct Panels {
    /// All panels, one after the other, on one axis.
    elements: Tensor,
    /// The extents of the matrix.
    shape: [usize; 2],
}

impl Panels {
    /// The number of columns that products compute at once.
    pub const WIDTH: usize = 64;

    /// Puts a matrix into panels; None for what is no matrix of floating-point numbers that kernels compute with, or has
    /// no more columns than a panel.
    pub fn new(matrix: &Tensor) -> Option<Self> {
        let &[rows, columns] = matrix.shape() else {
            return None;
        };
        if rows == 0 || columns <= Self::WIDTH {
            return None;
        }
        let elements = match matrix {
            Tensor::F32(matrix) => in_panels(matrix),
            Tensor::F64(matrix) => in_panels(matrix),
            _ => return None,
        };
        Some(Self {
            elements,
            shape: [rows, columns],
        })
    }

    /// The matrix in rows.
    pub fn matrix(&self) -> Tensor {
        match &self.elements {
            Tensor::F32(panels) => in_rows(panels, self.shape),
            Tensor::F64(panels) => in_rows(panels, self.shape),
            // There are no others.
            other => other.clone(),
        }
    }

    /// The extents of the matrix.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// All panels, one after the other; None if the elements are of another type.
    pub fn elements<T: Element>(&self) -> Option<&[T]> {
        T::array(&self.elements)?.as_slice()
    }
}

/// The elements of a matrix in the order of [`Panels`].
fn in_panels<T: Element>(matrix: &Array<T>) -> Tensor {
    let mut elements = Vec::with_capacity(matrix.len());
    let columns = matrix.shape()[1];
    for first in (0..columns).step_by(Panels::WIDTH) {
        for row in matrix.rows() {
            let panel = first..columns.min(first + Panels::WIDTH);
            match row.to_slice() {
                Some(row) => elements.extend_from_slice(&row[panel]),
                None => elements.extend(panel.map(|column| row[column])),
            }
        }
    }
    T::tensor(Array1::from_vec(elements).into_dyn().into())
}

/// The matrix of these extents whose panels these are.
fn in_rows<T: Element>(panels: &Array<T>, [rows, columns]: [usize; 2]) -> Tensor {
    let panels = row_major(panels);
    let mut matrix = Array2::default([rows, columns]);
    let parts = matrix.axis_chunks_iter_mut(Axis(1), Panels::WIDTH);
    for (mut part, panel) in parts.zip(panels.chunks(rows * Panels::WIDTH)) {
        let width = part.ncols();
        for (mut row, elements) in part.rows_mut().into_iter().zip(panel.chunks(width)) {
            row.assign(&ArrayView1::from(elements));
        }
    }
    T::tensor(matrix.into_dyn().into())
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;

    #[test]
    fn a_matrix_comes_back_from_its_panels() {
        let rows = ArrayD::from_shape_fn(IxDyn(&[3, 150]), |at| (at[0] * 1000 + at[1]) as f32);
        let panels = Panels::new(&Tensor::F32(rows.clone().into())).unwrap();
        assert_eq!(panels.matrix(), Tensor::F32(rows.clone().into()));
        let elements = panels.elements::<f32>().unwrap();
        assert_eq!(elements[64], 1000.0);
        assert_eq!(elements[3 * 64], 64.0);
        assert_eq!(elements[3 * 128 + 22], 1128.0);
        // In columns, as a transposed matrix is.
        let columns = rows.t().as_standard_layout().into_owned().reversed_axes();
        let panels = Panels::new(&Tensor::F32(columns.into())).unwrap();
        assert_eq!(panels.elements::<f32>(), Some(elements));
    }

    #[test]
    fn what_products_do_not_read_in_panels_has_none() {
        for tensor in [
            Tensor::F32(ArrayD::zeros(IxDyn(&[3, 64])).into()),
            Tensor::F32(ArrayD::zeros(IxDyn(&[0, 65])).into()),
            Tensor::F32(ArrayD::zeros(IxDyn(&[2, 3, 65])).into()),
            Tensor::I64(ArrayD::zeros(IxDyn(&[3, 65])).into()),
        ] {
            assert!(Panels::new(&tensor).is_none());
        }
    }
}
