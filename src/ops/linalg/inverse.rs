//! Inverses and determinants of matrices: `inverse`, `determinant`.
//!
//! Paddle: `phi/kernels/{inverse,determinant}_kernel.h`. ONNX: Det. There is no operator for the inverse: it becomes
//! the nodes of a Gauss-Jordan elimination in float64.

use ndarray::{Array2, ArrayD};

use super::rows::{Rows, Which};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Array, DType, Dim, Element, Tensor};

const INPUT: &[Binding] = &[Binding::Slot("Input")];

pub(super) const OPS: &[OpDef] = &[
    of_matrices(
        "inverse",
        &[Form::legacy(&["inverse"], INPUT, &["Output"])],
        &[],
        Inverse::parse,
    )
    .with_opset(11),
    of_matrices(
        "determinant",
        &[Form::legacy(&["determinant"], INPUT, &["Out"])],
        &[Form::pir(&["det"], &["Input"], INPUT)],
        Determinant::parse,
    )
    .with_opset(11),
];

const fn of_matrices(
    name: &'static str,
    legacy: &'static [Form],
    pir: &'static [Form],
    parse: Parse,
) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x")], legacy, parse)
        .with_dtypes(&[F32, F64])
        .with_accuracy(Accuracy::Accumulated)
        .with_pir(pir)
}

/// The number of rows, and of columns, of the square matrices in a tensor of this shape, if it is known.
pub(super) fn order(shape: &[Dim]) -> Result<Option<usize>> {
    let [.., rows, columns] = shape else {
        return Err(Error::malformed("an operand that is no matrix"));
    };
    match (rows.known(), columns.known()) {
        (Some(rows), Some(columns)) if rows != columns => Err(Error::malformed(format!(
            "a matrix of {rows} rows and {columns} columns, which is not square"
        ))),
        (Some(extent), _) | (None, Some(extent)) => Ok(usize::try_from(extent).ok()),
        (None, None) => Ok(None),
    }
}

/// The LU decomposition `P · A = L · U` of a matrix `A`, with partial pivoting. Both factors share `matrix`; the
/// diagonal is that of `U`, since `L` has ones there.
struct Factors<T> {
    matrix: Array2<T>,
    /// The rows of `A` in their order in `P · A`.
    rows: Vec<usize>,
    /// Whether the permutation `P` is odd, so that the determinant changes its sign.
    is_odd: bool,
}

impl<T: Real> Factors<T> {
    fn of(mut matrix: Array2<T>) -> Self {
        let order = matrix.nrows().min(matrix.ncols());
        let mut rows: Vec<usize> = (0..order).collect();
        let mut is_odd = false;
        for step in 0..order {
            let mut pivot = step;
            for row in step + 1..order {
                if matrix[[row, step]].abs() > matrix[[pivot, step]].abs() {
                    pivot = row;
                }
            }
            if pivot != step {
                is_odd = !is_odd;
                rows.swap(pivot, step);
                for column in 0..order {
                    matrix.swap([pivot, column], [step, column]);
                }
            }
            for row in step + 1..order {
                if matrix[[row, step]] == T::zero() {
                    continue;
                }
                let factor = matrix[[row, step]] / matrix[[step, step]];
                matrix[[row, step]] = factor;
                for column in step + 1..order {
                    let product = factor * matrix[[step, column]];
                    matrix[[row, column]] = matrix[[row, column]] - product;
                }
            }
        }
        Self {
            matrix,
            rows,
            is_odd,
        }
    }

    fn determinant(&self) -> T {
        let diagonal = self.matrix.diag();
        let product = diagonal.iter().fold(T::one(), |product, x| product * *x);
        if self.is_odd { -product } else { product }
    }

    /// The inverse of `A`: solves `A · x = e` for each column `e` of the identity.
    ///
    /// # Errors
    /// When a pivot is 0.
    fn inverse(&self) -> Result<Array2<T>> {
        let order = self.rows.len();
        if self.matrix.diag().iter().any(|pivot| *pivot == T::zero()) {
            return Err(Error::malformed("a matrix that has no inverse"));
        }
        let mut inverse = Array2::zeros((order, order));
        for (position, row) in self.rows.iter().enumerate() {
            inverse[[position, *row]] = T::one();
        }
        for mut column in inverse.columns_mut() {
            for row in 0..order {
                for before in 0..row {
                    column[row] = column[row] - self.matrix[[row, before]] * column[before];
                }
            }
            for row in (0..order).rev() {
                for behind in row + 1..order {
                    column[row] = column[row] - self.matrix[[row, behind]] * column[behind];
                }
                column[row] = column[row] / self.matrix[[row, row]];
            }
        }
        Ok(inverse)
    }
}

/// The matrices on the last two axes, one after the other.
///
/// # Errors
/// When they are not square, or have no elements.
fn matrices<T: Element>(x: &Array<T>) -> Result<Vec<Array2<T>>> {
    let [.., rows, columns] = *x.shape() else {
        return Err(Error::malformed("an operand that is no matrix"));
    };
    if rows != columns || rows == 0 {
        return Err(Error::malformed(format!("a matrix of {rows} by {columns}")));
    }
    let elements: Vec<T> = x.iter().copied().collect();
    let matrices = elements.chunks_exact(rows * columns).map(|matrix| {
        Array2::from_shape_vec((rows, columns), matrix.to_vec())
            .map_err(|_| Error::internal("a matrix lost elements"))
    });
    matrices.collect()
}

fn array<T: Real>(shape: &[usize], elements: Vec<T>) -> Result<ArrayD<T>> {
    ArrayD::from_shape_vec(shape, elements).map_err(|_| Error::internal("matrices lost elements"))
}

/// The determinants of square matrices.
struct Determinant {
    x: ValueId,
}

impl Determinant {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }

    fn of<T: Real>(x: &Array<T>) -> Result<ArrayD<T>> {
        let matrices = matrices(x)?.into_iter();
        let determinants = matrices.map(|matrix| Factors::of(matrix).determinant());
        array(&x.shape()[..x.ndim() - 2], determinants.collect())
    }
}

impl Function for Determinant {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        order(shape)?;
        let batch = shape[..shape.len() - 2].to_vec();
        Ok(Fact::new(facts.dtype(self.x), batch))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        Ok(g.node("Det", &[x], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => Self::of(x)?)
    }
}

/// The inverses of square matrices.
struct Inverse {
    x: ValueId,
}

impl Inverse {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
        }))
    }

    fn of<T: Real>(x: &Array<T>) -> Result<ArrayD<T>> {
        let mut elements = Vec::with_capacity(x.len());
        for matrix in matrices(x)? {
            // In float64, as the nodes are: those of an ill-conditioned matrix are nowhere near each other in float32.
            let matrix = matrix.mapv(|x| x.to_f64());
            let inverse = Factors::of(matrix).inverse()?;
            elements.extend(inverse.into_iter().map(<T as Element>::from_f64));
        }
        array(x.shape(), elements)
    }
}

impl Function for Inverse {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        order(shape)?;
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let order = order(g.shape(self.x))?;
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        let x = g.value(self.x)?;
        let x = g.cast(x, dtype, F64);
        let rows = Rows::of(g, x, order, rank);
        // The identity: a column of positions is equal to a row of them on the diagonal.
        let across = g.transpose(rows.positions, &[1, 0]);
        let identity = g.node("Equal", &[rows.positions, across], []);
        let identity = g.cast(identity, DType::Bool, F64);
        let shape = g.node("Shape", &[x], []);
        let right = g.node("Expand", &[identity, shape], []);
        let both = g.concat(&[x, right], -1);
        let both = eliminate(g, both, rows, rank)?;
        let (end, axes) = (g.vector(&[i64::MAX]), g.vector(&[-1]));
        let inverse = g.node("Slice", &[both, rows.count, end, axes], []);
        Ok(g.cast(inverse, F64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => Self::of(x)?)
    }
}

/// Emits Gauss-Jordan elimination on `[…, order, m]`, whose first columns are the matrices. In each step, the pivot is
/// the element of the largest absolute value in a column, from the row of the step on. Its row is swapped with that row
/// and divided by the pivot; multiples of it are subtracted from all other rows, so that the column becomes one of the
/// identity.
pub(super) fn eliminate(
    g: &mut Lowering<'_>,
    x: TensorId,
    rows: Rows,
    rank: usize,
) -> Result<TensorId> {
    let eliminated = rows.each(g, None, vec![x], &mut |g, place, states| {
        let x = states[0];
        let is_here = rows.column(g, Which::Itself, place);
        let is_open = rows.column(g, Which::ItselfAndBelow, place);
        let zero = g.scalar(F64, 0.0);
        let none = g.scalar(F64, -1.0);

        let sizes = place.line(g, x, -1);
        let sizes = g.node("Abs", &[sizes], []);
        let sizes = g.node("Where", &[is_open, sizes, none], []);
        let axis = ("axis", NodeAttr::Int(rank as i64 - 2));
        let pivot = g.node("ArgMax", &[sizes], [axis]);
        let is_pivot = g.node("Equal", &[rows.positions, pivot], []);

        let here = place.line(g, x, -2);
        let chosen = g.node("Where", &[is_pivot, x, zero], []);
        let chosen = g.reduce("ReduceSum", chosen, &[rank - 2], true);
        let divisor = place.line(g, chosen, -1);
        let chosen = g.node("Div", &[chosen, divisor], []);
        let swapped = g.node("Where", &[is_pivot, here, x], []);

        let factors = place.line(g, swapped, -1);
        let products = g.node("Mul", &[factors, chosen], []);
        let rest = g.node("Sub", &[swapped, products], []);
        Ok(vec![g.node("Where", &[is_here, chosen, rest], [])])
    })?;
    Ok(eliminated[0])
}
