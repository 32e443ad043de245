//! Systems of linear equations: `cholesky`, `triangular_solve`, `cholesky_solve` and `solve`.
//!
//! Paddle: `phi/kernels/{cholesky,triangular_solve,cholesky_solve,solve}_kernel.h`, which call LAPACK. ONNX has no such
//! operators: what is solved becomes the nodes of an elimination in float64, a few for each row of the matrix.

use super::inverse::{eliminate, order};
use super::rows::{Rows, Which};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parse, Parsed, Values,
};
use crate::ops::shared::pointwise::plain;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{Dim, Element, Tensor, broadcast_dims, same_shape};

const X_AND_Y: &[Binding] = &[Binding::Slot("X"), Binding::Slot("Y")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "cholesky",
        &[Arg::Tensor("x")],
        &[plain(&["cholesky"])],
        Cholesky::parse,
    )
    .with_opset(11)
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Accumulated),
    of_two(
        "triangular_solve",
        &[Form::legacy(&["triangular_solve"], X_AND_Y, &["Out"])],
        |op| {
            let triangle = Triangle {
                is_upper: op.attr_or("upper", true)?,
                is_transposed: op.attr_or("transpose", false)?,
                has_unit_diagonal: op.attr_or("unitriangular", false)?,
            };
            Solve::parse(op, ["x", "y"], Method::Triangle(triangle))
        },
    )
    .with_opset(11),
    of_two(
        "cholesky_solve",
        &[Form::legacy(&["cholesky_solve"], X_AND_Y, &["Out"])],
        |op| {
            let is_upper = op.attr_or("upper", false)?;
            Solve::parse(op, ["y", "x"], Method::Factor { is_upper })
        },
    )
    .with_opset(11),
    of_two(
        "solve",
        &[Form::legacy(&["solve"], X_AND_Y, &["Out"])],
        |op| Solve::parse(op, ["x", "y"], Method::Elimination),
    )
    .with_opset(11),
];

const fn of_two(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x"), Arg::Tensor("y")], legacy, parse)
        .with_dtypes(&[F32, F64])
        .with_accuracy(Accuracy::Accumulated)
}

/// The elements of a tensor as f64, in row-major order, and its shape.
fn numbers(x: &Tensor) -> (Vec<f64>, Vec<usize>) {
    (x.to_f64_vec(), x.shape().to_vec())
}

/// Emits Transpose of the last two of `rank` axes.
pub(super) fn turned(g: &mut Lowering<'_>, x: TensorId, rank: usize) -> TensorId {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    g.transpose(x, &perm)
}

/// The lower triangular matrices `L` with `L · Lᵀ = x`, or the upper ones `U` with `Uᵀ · U = x`. Of symmetric matrices,
/// the triangle of that side alone is read.
struct Cholesky {
    x: ValueId,
    is_upper: bool,
}

impl Cholesky {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            is_upper: op.attr_or("upper", false)?,
        }))
    }

    /// The factor of one matrix of `n` rows, in its place.
    fn factor(matrix: &mut [f64], n: usize, is_upper: bool) -> Result<()> {
        let at = |row: usize, column: usize| match is_upper {
            true => column * n + row,
            false => row * n + column,
        };
        for column in 0..n {
            for row in column..n {
                let products = (0..column).map(|k| matrix[at(row, k)] * matrix[at(column, k)]);
                let rest = matrix[at(row, column)] - products.sum::<f64>();
                if row > column {
                    matrix[at(row, column)] = rest / matrix[at(column, column)];
                } else if rest > 0.0 {
                    matrix[at(row, column)] = rest.sqrt();
                } else {
                    return Err(Error::malformed("a matrix that is not positive definite"));
                }
            }
            for row in 0..column {
                matrix[at(row, column)] = 0.0;
            }
        }
        Ok(())
    }
}

impl Function for Cholesky {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = facts.shape(self.x);
        order(shape)?;
        Ok(Fact::new(facts.dtype(self.x), shape.to_vec()))
    }

    /// Column by column: what is left of a column is divided by the root of its diagonal element, and its products with
    /// itself are subtracted from the matrix.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (n, rank, dtype) = (order(g.shape(self.x))?, g.rank(self.x), g.dtype(self.x));
        let x = g.value(self.x)?;
        let mut left = g.cast(x, dtype, F64);
        if self.is_upper {
            left = turned(g, left, rank);
        }
        let rows = Rows::of(g, left, n, rank);
        let mut factor = rows.collect(g, false, -1, left, &mut |g, place, left| {
            let zero = g.scalar(F64, 0.0);
            let column = place.line(g, left, -1);
            let pivot = place.line(g, column, -2);
            let root = g.node("Sqrt", &[pivot], []);
            let column = g.node("Div", &[column, root], []);
            let is_open = rows.column(g, Which::ItselfAndBelow, place);
            let column = g.node("Where", &[is_open, column, zero], []);
            let row = turned(g, column, rank);
            let products = g.node("Mul", &[column, row], []);
            Ok((g.node("Sub", &[left, products], []), column))
        })?;
        if self.is_upper {
            factor = turned(g, factor, rank);
        }
        Ok(g.cast(factor, F64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let (mut elements, shape) = numbers(x);
        let n = square(&shape)?;
        for matrix in elements.chunks_exact_mut(n * n) {
            Self::factor(matrix, n, self.is_upper)?;
        }
        Ok(Tensor::from_elements(&shape, elements)?.cast(x.dtype()))
    }
}

/// The number of rows of the matrices in a tensor of this shape.
fn square(shape: &[usize]) -> Result<usize> {
    match shape {
        [.., rows, columns] if rows == columns && *rows > 0 => Ok(*rows),
        _ => Err(Error::malformed(format!("matrices of shape {shape:?}"))),
    }
}

/// How a triangular matrix is read.
#[derive(Debug, Clone, Copy)]
struct Triangle {
    is_upper: bool,
    /// Whether its transpose is meant.
    is_transposed: bool,
    /// Whether its diagonal counts as ones.
    has_unit_diagonal: bool,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Triangle(Triangle),
    /// The matrix of the system is the product of the given factor and its transpose.
    Factor {
        is_upper: bool,
    },
    Elimination,
}

impl Method {
    /// The triangular systems that are solved one after the other.
    fn triangles(self) -> Vec<Triangle> {
        let of_factor = |is_upper, is_transposed| Triangle {
            is_upper,
            is_transposed,
            has_unit_diagonal: false,
        };
        match self {
            Method::Triangle(triangle) => vec![triangle],
            Method::Factor { is_upper } => {
                vec![
                    of_factor(is_upper, is_upper),
                    of_factor(is_upper, !is_upper),
                ]
            }
            Method::Elimination => Vec::new(),
        }
    }
}

/// What `matrix` times the result is: `right`, of which each column is another right-hand side. Axes before the last two
/// are broadcast.
struct Solve {
    matrix: ValueId,
    right: ValueId,
    method: Method,
}

impl Solve {
    fn parse(op: &mut OpReader<'_>, [matrix, right]: [&str; 2], method: Method) -> Parsed {
        Ok(Box::new(Self {
            matrix: op.operand(matrix)?,
            right: op.operand(right)?,
            method,
        }))
    }

    /// Whether the right-hand sides are vectors, one for each matrix, which Paddle takes for `solve`.
    fn are_vectors<T: PartialEq>(&self, matrix: &[T], right: &[T]) -> bool {
        let is_one = right.len() == 1;
        let is_each = right.len() + 1 == matrix.len() && right == &matrix[..right.len()];
        matches!(self.method, Method::Elimination) && (is_one || is_each)
    }

    /// The shapes of both operands, the right one as matrices, with their axes broadcast before the last two.
    fn shapes(&self, matrix: &[Dim], right: &[Dim]) -> Result<[Vec<Dim>; 2]> {
        order(matrix)?;
        let mut right = right.to_vec();
        if self.are_vectors(matrix, &right) {
            right.push(Dim::Known(1));
        }
        let ([outer @ .., rows, columns], [right_outer @ .., equations, sides]) =
            (matrix, &right[..])
        else {
            return Err(Error::malformed("right-hand sides that are no matrices"));
        };
        if matches!((columns.known(), equations.known()), (Some(a), Some(b)) if a != b) {
            return Err(Error::malformed(format!(
                "{equations} right-hand sides for {columns} unknowns"
            )));
        }
        let outer = broadcast_dims(outer, right_outer)?;
        let ends = [[rows, columns], [rows, sides]];
        Ok(ends.map(|end| outer.iter().chain(end).cloned().collect()))
    }

    /// Emits Expand: `x` with the axes before its last two broadcast against those of `other`. Returns `x` itself if
    /// these are known to be the same.
    fn expanded(
        g: &mut Lowering<'_>,
        (x, shape): (TensorId, &[Dim]),
        (other, whole): (TensorId, &[Dim]),
    ) -> TensorId {
        let outer = |shape: &[Dim]| shape[..shape.len().saturating_sub(2)].to_vec();
        let (from, to) = (outer(shape), outer(whole));
        if same_shape(&from, &to) {
            return x;
        }
        let extents = g.shape_slice(other, 0, -2);
        let ones = g.vector(&[1, 1]);
        let target = g.concat(&[extents, ones], 0);
        g.node("Expand", &[x, target], [])
    }

    /// Emits the substitution of one unknown after the other: each is what is left of its row, divided by the diagonal,
    /// and its products with its column are subtracted from the other rows.
    fn lower_triangle(
        g: &mut Lowering<'_>,
        (matrix, right): (TensorId, TensorId),
        (rows, rank): (Rows, usize),
        triangle: Triangle,
    ) -> Result<TensorId> {
        let matrix = match triangle.is_transposed {
            true => turned(g, matrix, rank),
            false => matrix,
        };
        let is_backward = triangle.is_upper != triangle.is_transposed;
        rows.collect(g, is_backward, -2, right, &mut |g, place, left| {
            let column = place.line(g, matrix, -1);
            let mut unknown = place.line(g, left, -2);
            if !triangle.has_unit_diagonal {
                let pivot = place.line(g, column, -2);
                unknown = g.node("Div", &[unknown, pivot], []);
            }
            let products = g.node("Mul", &[column, unknown], []);
            Ok((g.node("Sub", &[left, products], []), unknown))
        })
    }

    /// The solution of one triangular system of `n` equations with `sides` right-hand sides, in their place.
    fn substitute(matrix: &[f64], right: &mut [f64], [n, sides]: [usize; 2], triangle: Triangle) {
        let at = |row: usize, column: usize| match triangle.is_transposed {
            true => matrix[column * n + row],
            false => matrix[row * n + column],
        };
        let is_backward = triangle.is_upper != triangle.is_transposed;
        for step in 0..n {
            let row = if is_backward { n - 1 - step } else { step };
            let known = if is_backward { row + 1..n } else { 0..row };
            for side in 0..sides {
                let products = known.clone().map(|k| at(row, k) * right[k * sides + side]);
                let rest = right[row * sides + side] - products.sum::<f64>();
                let divisor = if triangle.has_unit_diagonal {
                    1.0
                } else {
                    at(row, row)
                };
                right[row * sides + side] = rest / divisor;
            }
        }
    }

    /// The solution of one system by elimination with partial pivoting, in the place of the right-hand sides.
    fn eliminated(matrix: &mut [f64], right: &mut [f64], [n, sides]: [usize; 2]) -> Result<()> {
        for step in 0..n {
            let size = |row: &usize| matrix[row * n + step].abs();
            let pivot = (step..n).max_by(|a, b| size(a).total_cmp(&size(b)));
            let pivot = pivot.filter(|row| size(row) > 0.0);
            let pivot = pivot.ok_or_else(|| Error::malformed("a matrix that has no inverse"))?;
            for column in 0..n {
                matrix.swap(pivot * n + column, step * n + column);
            }
            for side in 0..sides {
                right.swap(pivot * sides + side, step * sides + side);
            }
            for row in step + 1..n {
                let factor = matrix[row * n + step] / matrix[step * n + step];
                for column in step..n {
                    matrix[row * n + column] -= factor * matrix[step * n + column];
                }
                for side in 0..sides {
                    right[row * sides + side] -= factor * right[step * sides + side];
                }
            }
        }
        let upper = Triangle {
            is_upper: true,
            is_transposed: false,
            has_unit_diagonal: false,
        };
        Self::substitute(matrix, right, [n, sides], upper);
        Ok(())
    }
}

impl Function for Solve {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let (matrix, right) = (facts.shape(self.matrix), facts.shape(self.right));
        let [_, mut shape] = self.shapes(matrix, right)?;
        if self.are_vectors(matrix, right) {
            shape.pop();
        }
        Ok(Fact::new(facts.dtype(self.matrix), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (n, dtype) = (order(g.shape(self.matrix))?, g.dtype(self.matrix));
        let (matrix_shape, right_shape) =
            (g.shape(self.matrix).to_vec(), g.shape(self.right).to_vec());
        let are_vectors = self.are_vectors(&matrix_shape, &right_shape);
        let [whole, sides] = self.shapes(&matrix_shape, &right_shape)?;
        let rank = whole.len();
        let (matrix, right) = (g.value(self.matrix)?, g.value(self.right)?);
        let matrix = g.cast(matrix, dtype, F64);
        let mut right = g.cast(right, dtype, F64);
        let mut shape = right_shape;
        if are_vectors {
            right = g.unsqueeze(right, &[-1]);
            shape.push(Dim::Known(1));
        }
        let given = [(matrix, &matrix_shape[..]), (right, &shape[..])];
        let matrix = Self::expanded(g, given[0], (right, &whole));
        let mut solution = Self::expanded(g, given[1], (given[0].0, &sides));
        let rows = Rows::of(g, matrix, n, rank);
        for triangle in self.method.triangles() {
            let both = (matrix, solution);
            solution = Self::lower_triangle(g, both, (rows, rank), triangle)?;
        }
        if matches!(self.method, Method::Elimination) {
            let both = g.concat(&[matrix, solution], -1);
            let both = eliminate(g, both, rows, rank)?;
            let extents = g.vector(&[i64::MAX]);
            let axes = g.vector(&[-1]);
            solution = g.node("Slice", &[both, rows.count, extents, axes], []);
        }
        if are_vectors {
            solution = g.squeeze(solution, &[-1]);
        }
        Ok(g.cast(solution, F64, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn spread(x: &Tensor, shape: &[usize]) -> Result<Vec<f64>> {
            let x = x.cast(F64);
            let x = <f64 as Element>::array(&x).ok_or_else(|| Error::internal("no float64"))?;
            let spread = x.broadcast(shape);
            let spread = spread.ok_or_else(|| Error::malformed("shapes that do not broadcast"))?;
            Ok(spread.iter().copied().collect())
        }
        let (matrix, right) = (values.get(self.matrix)?, values.get(self.right)?);
        let dims = |x: &Tensor| x.shape().iter().map(|e| Dim::from(*e)).collect::<Vec<_>>();
        let (matrix_dims, right_dims) = (dims(matrix), dims(right));
        let are_vectors = self.are_vectors(&matrix_dims, &right_dims);
        let shapes = self.shapes(&matrix_dims, &right_dims)?;
        let [whole, mut sides] =
            shapes.map(|shape| shape.iter().filter_map(Dim::extent).collect::<Vec<usize>>());
        let (n, count) = (square(&whole)?, sides[sides.len() - 1]);
        let mut matrices = spread(matrix, &whole)?;
        let mut solution = match are_vectors {
            true => spread(
                &Tensor::from_elements(&[right.shape(), &[1]].concat(), right.to_f64_vec())?,
                &sides,
            )?,
            false => spread(right, &sides)?,
        };
        let systems = matrices.chunks_exact_mut(n * n);
        for (matrix, right) in systems.zip(solution.chunks_exact_mut((n * count).max(1))) {
            for triangle in self.method.triangles() {
                Self::substitute(matrix, right, [n, count], triangle);
            }
            if matches!(self.method, Method::Elimination) {
                Self::eliminated(matrix, right, [n, count])?;
            }
        }
        if are_vectors {
            sides.pop();
        }
        Ok(Tensor::from_elements(&sides, solution)?.cast(matrix.dtype()))
    }
}
