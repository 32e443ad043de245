//! Orthogonal and triangular factors of matrices: `qr`.
//!
//! Paddle: `phi/kernels/qr_kernel.h`, which calls LAPACK's `geqrf` and `orgqr`. The factors are unique up to signs, which
//! follow from LAPACK's reflections: each makes the diagonal element of R opposite in sign to what it was. ONNX has no
//! such operator: each reflection becomes some nodes in float64.

use super::rows::{Place, Rows, Which};
use super::solve::turned;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{DType, Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "qr",
    &[Arg::Tensor("x")],
    &[Form::legacy(&["qr"], &[Binding::Slot("X")], &["Q", "R"])],
    Qr::parse,
)
.with_opset(11)
.with_results(&["q", "r"])
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)
.with_limits(&["matrices of an open extent"])];

/// Which parts of the factors are results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Q has as many columns, and R as many rows, as the matrix has rows or columns, whatever is less.
    Reduced,
    /// Q is square.
    Complete,
    /// As reduced, and Q is empty.
    R,
}

struct Qr {
    x: ValueId,
    mode: Mode,
}

impl Qr {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let mode: String = op.attr_or("mode", "reduced".to_owned())?;
        let mode = match mode.as_str() {
            "reduced" => Mode::Reduced,
            "complete" => Mode::Complete,
            "r" => Mode::R,
            other => return Err(Error::malformed(format!("the mode `{other}`"))),
        };
        let x = op.operand("x")?;
        Ok(Box::new(Self { x, mode }))
    }

    /// The number of columns of Q, which is that of the rows of R.
    fn inner(&self, rows: usize, columns: usize) -> usize {
        match self.mode {
            Mode::Complete => rows,
            Mode::Reduced | Mode::R => rows.min(columns),
        }
    }

    /// The factors Q, of `m` by `m` elements, and R, of `m` by `n`, of a matrix that becomes R.
    fn factors(r: &mut [f64], [m, n]: [usize; 2]) -> Vec<f64> {
        let mut q: Vec<f64> = (0..m * m)
            .map(|i| f64::from(u8::from(i % (m + 1) == 0)))
            .collect();
        for step in 0..n.min(m) {
            let below: f64 = (step + 1..m).map(|row| r[row * n + step].powi(2)).sum();
            if below == 0.0 {
                continue;
            }
            let alpha = r[step * n + step];
            let beta = -(alpha * alpha + below).sqrt().copysign(alpha);
            let mut v: Vec<f64> = (0..m).map(|row| r[row * n + step]).collect();
            v[..step].fill(0.0);
            v[step] = alpha - beta;
            let factor = 2.0 / (v[step] * v[step] + below);
            for column in 0..n {
                let dot: f64 = (step..m).map(|row| v[row] * r[row * n + column]).sum();
                (step..m).for_each(|row| r[row * n + column] -= factor * dot * v[row]);
            }
            for row in q.chunks_exact_mut(m) {
                let dot: f64 = row.iter().zip(&v).map(|(q, v)| q * v).sum();
                row.iter_mut()
                    .zip(&v)
                    .for_each(|(q, v)| *q -= factor * dot * v);
            }
            (step + 1..m).for_each(|row| r[row * n + step] = 0.0);
        }
        q
    }

    /// Emits the reflection that makes a column 0 below the diagonal, applied to R and, from the other side, to Q.
    fn reflect(
        g: &mut Lowering<'_>,
        [q, r]: [TensorId; 2],
        (place, rows, rank): (Place, Rows, usize),
    ) -> [TensorId; 2] {
        let (zero, two) = (g.scalar(F64, 0.0), g.scalar(F64, 2.0));
        let whole = place.line(g, r, -1);
        let alpha = place.line(g, whole, -2);
        let is_below = rows.column(g, Which::Below, place);
        let is_here = rows.column(g, Which::Itself, place);
        let below = g.node("Where", &[is_below, whole, zero], []);
        let squares = g.node("Mul", &[below, below], []);
        let squares = g.reduce("ReduceSum", squares, &[rank - 2], true);
        let square = g.node("Mul", &[alpha, alpha], []);
        let square = g.node("Add", &[square, squares], []);
        let norm = g.node("Sqrt", &[square], []);
        let opposite = g.node("Neg", &[norm], []);
        let is_negative = g.node("Less", &[alpha, zero], []);
        let beta = g.node("Where", &[is_negative, norm, opposite], []);
        let first = g.node("Sub", &[alpha, beta], []);
        let v = g.node("Where", &[is_here, first, below], []);
        let length = g.node("Mul", &[first, first], []);
        let length = g.node("Add", &[length, squares], []);
        let factor = g.node("Div", &[two, length], []);
        // A column that is 0 there already stays as it is.
        let is_done = g.node("Equal", &[squares, zero], []);
        let factor = g.node("Where", &[is_done, zero, factor], []);
        let scaled = g.node("Mul", &[v, factor], []);
        let (row, scaled_row) = (turned(g, v, rank), turned(g, scaled, rank));
        let dots = g.node("MatMul", &[row, r], []);
        let change = g.node("MatMul", &[scaled, dots], []);
        let r = g.node("Sub", &[r, change], []);
        let dots = g.node("MatMul", &[q, v], []);
        let change = g.node("MatMul", &[dots, scaled_row], []);
        [g.node("Sub", &[q, change], []), r]
    }
}

impl Operator for Qr {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [outer @ .., rows, columns] = facts.shape(self.x) else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let inner = match (rows.extent(), columns.extent()) {
            (Some(rows), Some(columns)) => Dim::from(self.inner(rows, columns)),
            (None, _) if self.mode == Mode::Complete => rows.clone(),
            _ => Dim::Unknown,
        };
        let q = match self.mode {
            Mode::R => vec![Dim::Known(0)],
            _ => [outer, &[rows.clone(), inner.clone()]].concat(),
        };
        let r = [outer, &[inner, columns.clone()]].concat();
        Ok([q, r]
            .map(|shape| Fact::new(facts.dtype(self.x), shape))
            .into())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (shape, dtype) = (g.shape(self.x).to_vec(), g.dtype(self.x));
        let rank = shape.len();
        let [.., rows, columns] = &shape[..] else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let (Some(rows), Some(columns)) = (rows.extent(), columns.extent()) else {
            return Err(Error::unsupported(
                "the factors of matrices of an open extent",
            ));
        };
        if rows == 0 {
            return Err(Error::malformed("matrices without rows"));
        }
        let x = g.value(self.x)?;
        let r = g.cast(x, dtype, F64);
        let lines = Rows::of(g, r, Some(rows), rank);
        // Loop needs the axes of the matrices.
        let across = g.transpose(lines.positions, &[1, 0]);
        let identity = g.node("Equal", &[lines.positions, across], []);
        let identity = g.cast(identity, DType::Bool, F64);
        let outer = g.shape_slice(r, 0, rank as i64 - 2);
        let square = g.vector(&[rows as i64; 2]);
        let outer = g.concat(&[outer, square], 0);
        let q = g.node("Expand", &[identity, outer], []);
        let steps = columns.min(rows - 1);
        let both = lines.each(g, Some(steps), vec![q, r], &mut |g, place, states| {
            Ok(Self::reflect(g, [states[0], states[1]], (place, lines, rank)).into())
        })?;
        let (q, r) = (both[0], both[1]);
        let inner = self.inner(rows, columns) as i64;
        let q = match self.mode {
            Mode::R => g.constant(Tensor::vector::<f64>(Vec::new())),
            _ => g.slice(q, 0, inner, -1),
        };
        let r = g.slice(r, 0, inner, -2);
        let r = g.triangle(r, (F64, rank), 0, false);
        Ok(vec![g.cast(q, F64, dtype), g.cast(r, F64, dtype)])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let [outer @ .., m, n] = x.shape() else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let inner = self.inner(*m, *n);
        let (mut q, mut r) = (Vec::<f64>::new(), Vec::<f64>::new());
        let mut elements = x.to_f64_vec();
        for matrix in elements.chunks_exact_mut((m * n).max(1)) {
            let rows = Self::factors(matrix, [*m, *n]);
            rows.chunks_exact(*m)
                .for_each(|row| q.extend(&row[..inner]));
            r.extend(&matrix[..inner * n]);
        }
        let q = match self.mode {
            Mode::R => Tensor::vector::<f64>(Vec::new()),
            _ => Tensor::from_elements(&[outer, &[*m, inner]].concat(), q)?,
        };
        let r = Tensor::from_elements(&[outer, &[inner, *n]].concat(), r)?;
        Ok(vec![q.cast(x.dtype()), r.cast(x.dtype())])
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
