//! Triangular factors of matrices, with rows exchanged: `lu`, and `lu_unpack`, which takes its results apart.
//!
//! Paddle: `phi/kernels/{lu,lu_unpack}_kernel.h`, the first of which calls LAPACK's `getrf`. In each step, the row with the
//! largest element of the column, of equal ones the first, changes places with the one whose turn it is. ONNX has no such
//! operators: each step becomes some nodes, those of `lu` in float64.

use super::rows::{Place, Rows, Which};
use super::solve::turned;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, F32, F64, I32, I64};
use crate::tensor::{Dim, Tensor};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "lu",
        &[Arg::Tensor("x")],
        &[
            Form::legacy(&["lu"], &[Binding::Slot("X")], &["Out", "Pivots", "Infos"])
                .renaming(&[("pivots", "pivot")]),
        ],
        Lu::parse,
    )
    .with_opset(11)
    .with_results(&["out", "pivots", "infos"])
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Accumulated)
    .with_limits(&[
        "matrices of an open extent",
        "no exchange of rows (`pivot` false)",
    ]),
    OpDef::new(
        "lu_unpack",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(
            &["lu_unpack"],
            &[Binding::Slot("X"), Binding::Slot("Pivots")],
            &["Pmat", "L", "U"],
        )],
        Unpacked::parse,
    )
    .with_opset(11)
    .with_results(&["pmat", "l", "u"])
    .with_dtypes(&[F32, F64])
    .with_limits(&["matrices of an open extent", "a part of the results"]),
];

/// The extents of matrices `[…, rows, columns]`, which have to be known.
fn extents(shape: &[Dim]) -> Result<[usize; 2]> {
    let [.., rows, columns] = shape else {
        return Err(Error::malformed("an operand that is no matrix"));
    };
    match (rows.extent(), columns.extent()) {
        (Some(rows), Some(columns)) if rows > 0 && columns > 0 => Ok([rows, columns]),
        (Some(_), Some(_)) => Err(Error::malformed("matrices without elements")),
        _ => Err(Error::unsupported(
            "the factors of matrices of an open extent",
        )),
    }
}

/// Emits the positions of the rows after the exchange of the one at `place` and the one at `other`, `[…, 1, 1]`.
fn lower_exchanged(g: &mut Lowering<'_>, rows: Rows, place: Place, other: TensorId) -> TensorId {
    let is_here = rows.column(g, Which::Itself, place);
    let is_other = g.node("Equal", &[rows.positions, other], []);
    let here = place.number(g);
    let back = g.node("Where", &[is_other, here, rows.positions], []);
    g.node("Where", &[is_here, other, back], [])
}

/// Emits GatherElements: matrices with their rows at these positions, `[…, rows, 1]`.
fn lower_taken(g: &mut Lowering<'_>, x: TensorId, positions: TensorId, rank: usize) -> TensorId {
    let shape = g.node("Shape", &[x], []);
    let positions = g.node("Expand", &[positions, shape], []);
    let axis = ("axis", NodeAttr::Int(rank as i64 - 2));
    g.node("GatherElements", &[x, positions], [axis])
}

/// Of each matrix, U in the upper triangle, and L, whose diagonal is 1, below it; the number, from 1 on, of the row with which
/// each row changed places (`[…, min(rows, columns)]`, int32); and the number of the first diagonal element of U that is 0,
/// or 0 if there is none (`[…]`, int32; in Paddle 2 a vector of one element for a single matrix).
struct Lu {
    x: ValueId,
    results: usize,
    /// Whether the program is from before Paddle 3.
    is_former: bool,
}

impl Lu {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        if !op.attr_or("pivot", true)? {
            return Err(Error::unsupported(
                "factors without an exchange of rows, which Paddle computes on GPUs alone",
            ));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            results: op.result_count(),
            is_former: op.is_former(),
        }))
    }

    /// Whether the number of the first 0 is a vector, of matrices with so many axes.
    fn has_vector(&self, rank: usize) -> bool {
        self.is_former && rank == 2
    }

    /// Makes a matrix its factors. Returns the numbers of the rows that changed places, and of the first 0.
    fn factors(a: &mut [f64], [m, n]: [usize; 2]) -> (Vec<i32>, i32) {
        let (mut pivots, mut info) = (Vec::new(), 0);
        for step in 0..m.min(n) {
            let size = |row: usize, a: &[f64]| a[row * n + step].abs();
            let best = (step..m).fold(step, |best, row| {
                if size(row, a) > size(best, a) {
                    row
                } else {
                    best
                }
            });
            pivots.push(best as i32 + 1);
            (0..n).for_each(|column| a.swap(step * n + column, best * n + column));
            let pivot = a[step * n + step];
            if pivot == 0.0 {
                if info == 0 {
                    info = step as i32 + 1;
                }
                continue;
            }
            for row in step + 1..m {
                let factor = a[row * n + step] / pivot;
                a[row * n + step] = factor;
                (step + 1..n)
                    .for_each(|column| a[row * n + column] -= factor * a[step * n + column]);
            }
        }
        (pivots, info)
    }

    /// Emits a step: from the matrices, the numbers of exchanged rows so far (`[…, rows, 1]`) and those of the first zeros
    /// (`[…, 1, 1]`) to those behind it.
    fn lower_step(
        g: &mut Lowering<'_>,
        [a, pivots, info]: [TensorId; 3],
        (place, rows, columns, rank): (Place, Rows, TensorId, usize),
    ) -> [TensorId; 3] {
        let [zero, one, none] = [0.0, 1.0, -1.0].map(|x| g.scalar(F64, x));
        let column = place.line(g, a, -1);
        let size = g.node("Abs", &[column], []);
        let is_left = rows.column(g, Which::ItselfAndBelow, place);
        let size = g.node("Where", &[is_left, size, none], []);
        let along = [("axis", NodeAttr::Int(rank as i64 - 2))];
        let best = g.node("ArgMax", &[size], along);
        let positions = lower_exchanged(g, rows, place, best);
        let a = lower_taken(g, a, positions, rank);
        let number = g.cast(best, I64, F64);
        let number = g.node("Add", &[number, one], []);
        let is_here = rows.column(g, Which::Itself, place);
        let pivots = g.node("Where", &[is_here, number, pivots], []);
        let (column, row) = (place.line(g, a, -1), place.line(g, a, -2));
        let pivot = place.line(g, row, -1);
        let is_zero = g.node("Equal", &[pivot, zero], []);
        let is_first = g.node("Equal", &[info, zero], []);
        let is_first = g.node("And", &[is_first, is_zero], []);
        let here = place.number(g);
        let step = g.cast(here, I64, F64);
        let step = g.node("Add", &[step, one], []);
        let info = g.node("Where", &[is_first, step, info], []);
        // Below a 0, all are.
        let divisor = g.node("Where", &[is_zero, one, pivot], []);
        let factor = g.node("Div", &[column, divisor], []);
        let is_below = rows.column(g, Which::Below, place);
        let factor = g.node("Where", &[is_below, factor, zero], []);
        let is_right = g.node("Less", &[here, columns], []);
        let row = g.node("Where", &[is_right, row, zero], []);
        let change = g.node("Mul", &[factor, row], []);
        let left = g.node("Sub", &[a, change], []);
        let is_column = g.node("Equal", &[columns, here], []);
        let is_factor = g.node("And", &[is_below, is_column], []);
        [
            g.node("Where", &[is_factor, factor, left], []),
            pivots,
            info,
        ]
    }
}

impl Operator for Lu {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let shape = facts.shape(self.x);
        let [outer @ .., rows, columns] = shape else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let steps = match (rows.extent(), columns.extent()) {
            (Some(rows), Some(columns)) => Dim::from(rows.min(columns)),
            _ => Dim::Unknown,
        };
        let all = [
            Fact::new(facts.dtype(self.x), shape.to_vec()),
            Fact::new(I32, [outer, &[steps]].concat()),
            match self.has_vector(shape.len()) {
                true => Fact::new(I32, vec![Dim::Known(1)]),
                false => Fact::new(I32, outer.to_vec()),
            },
        ];
        Ok(all.into_iter().take(self.results).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (shape, dtype) = (g.shape(self.x).to_vec(), g.dtype(self.x));
        let rank = shape.len();
        let [m, n] = extents(&shape)?;
        let x = g.value(self.x)?;
        let a = g.cast(x, dtype, F64);
        let rows = Rows::of(g, a, Some(m), rank);
        let columns = g.vector(&(0..n as i64).collect::<Vec<i64>>());
        let outer = g.shape_slice(a, 0, rank as i64 - 2);
        let zero = g.constant(Tensor::scalar(0.0_f64));
        let [pivots, info] = [m, 1].map(|extent| {
            let column = g.vector(&[extent as i64, 1]);
            let shape = g.concat(&[outer, column], 0);
            g.node("Expand", &[zero, shape], [])
        });
        let steps = m.min(n);
        let states = vec![a, pivots, info];
        let made = rows.each(g, Some(steps), states, &mut |g, place, states| {
            let states = [states[0], states[1], states[2]];
            Ok(Self::lower_step(g, states, (place, rows, columns, rank)).into())
        })?;
        let pivots = g.slice(made[1], 0, steps as i64, -2);
        let pivots = g.squeeze(pivots, &[-1]);
        let info = match self.has_vector(rank) {
            true => g.squeeze(made[2], &[-1]),
            false => g.squeeze(made[2], &[-2, -1]),
        };
        let results = [
            g.cast(made[0], F64, dtype),
            g.cast(pivots, F64, I32),
            g.cast(info, F64, I32),
        ];
        Ok(results[..self.results].to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let &[ref outer @ .., m, n] = x.shape() else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        if m == 0 || n == 0 {
            return Err(Error::malformed("matrices without elements"));
        }
        let mut elements = x.to_f64_vec();
        let (mut all_pivots, mut infos) = (Vec::new(), Vec::new());
        for matrix in elements.chunks_exact_mut(m * n) {
            let (pivots, info) = Self::factors(matrix, [m, n]);
            all_pivots.extend(pivots);
            infos.push(info);
        }
        let results = [
            Tensor::from_elements(x.shape(), elements)?.cast(x.dtype()),
            Tensor::from_elements(&[outer, &[m.min(n)]].concat(), all_pivots)?,
            match self.has_vector(x.shape().len()) {
                true => Tensor::from_elements(&[1], infos)?,
                false => Tensor::from_elements(outer, infos)?,
            },
        ];
        Ok(results.into_iter().take(self.results).collect())
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

/// From what `lu` gives of matrices: the permutation P (`[…, rows, rows]`), the lower triangle L, whose diagonal is 1, and
/// the upper triangle U, so that the matrices were P · L · U.
struct Unpacked {
    x: ValueId,
    pivots: ValueId,
}

impl Unpacked {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        for part in ["unpack_ludata", "unpack_pivots"] {
            if !op.attr_or(part, true)? {
                return Err(Error::unsupported(format!(
                    "`{part}` false, with which Paddle leaves some of the results open"
                )));
            }
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            pivots: op.operand("y")?,
        }))
    }
}

impl Operator for Unpacked {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [outer @ .., rows, columns] = facts.shape(self.x) else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let steps = match (rows.extent(), columns.extent()) {
            (Some(rows), Some(columns)) => Dim::from(rows.min(columns)),
            _ => Dim::Unknown,
        };
        let all = [[rows, rows], [rows, &steps], [&steps, columns]];
        let fact = |extents: [&Dim; 2]| {
            let shape = [outer, &extents.map(Dim::clone)].concat();
            Fact::new(facts.dtype(self.x), shape)
        };
        Ok(all.map(fact).into())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (shape, dtype) = (g.shape(self.x).to_vec(), g.dtype(self.x));
        let rank = shape.len();
        let [m, n] = extents(&shape)?;
        let steps = m.min(n);
        let (x, pivots) = (g.value(self.x)?, g.value(self.pivots)?);
        let rows = Rows::of(g, x, Some(m), rank);
        let pivots = g.cast(pivots, g.dtype(self.pivots), I64);
        let one = g.scalar(I64, 1.0);
        let others = g.node("Sub", &[pivots, one], []);
        let others = g.unsqueeze(others, &[-1]);
        let outer = g.shape_slice(x, 0, rank as i64 - 2);
        let column = g.vector(&[m as i64, 1]);
        let shape = g.concat(&[outer, column], 0);
        let order = g.node("Expand", &[rows.positions, shape], []);
        let order = g.cast(order, I64, F64);
        let order = rows.each(g, Some(steps), vec![order], &mut |g, place, states| {
            let other = place.line(g, others, -2);
            let positions = lower_exchanged(g, rows, place, other);
            Ok(vec![lower_taken(g, states[0], positions, rank)])
        })?;
        let order = g.cast(order[0], F64, I64);
        let order = turned(g, order, rank);
        let p = g.node("Equal", &[rows.positions, order], []);
        let p = g.cast(p, DType::Bool, dtype);
        let l = g.slice(x, 0, steps as i64, -1);
        let l = g.triangle(l, (dtype, rank), -1, true);
        let identity: Vec<f64> = (0..m * steps)
            .map(|at| f64::from(u8::from(at / steps == at % steps)))
            .collect();
        let identity = Tensor::from_elements(&[m, steps], identity)?.cast(dtype);
        let identity = g.constant(identity);
        let l = g.node("Add", &[l, identity], []);
        let u = g.slice(x, 0, steps as i64, -2);
        let u = g.triangle(u, (dtype, rank), 0, false);
        Ok(vec![p, l, u])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let x = values.get(self.x)?;
        let &[ref outer @ .., m, n] = x.shape() else {
            return Err(Error::malformed("an operand that is no matrix"));
        };
        let steps = m.min(n);
        let pivots = values.integers(self.pivots)?;
        let elements = x.to_f64_vec();
        let (mut p, mut l, mut u) = (Vec::new(), Vec::new(), Vec::new());
        let matrices = elements.chunks_exact((m * n).max(1));
        for (matrix, pivots) in matrices.zip(pivots.chunks_exact(steps.max(1))) {
            let mut order: Vec<usize> = (0..m).collect();
            for (row, other) in pivots.iter().enumerate() {
                let other = usize::try_from(*other - 1).ok().filter(|other| *other < m);
                let other = other.ok_or_else(|| Error::malformed("a row that there is not"))?;
                order.swap(row, other);
            }
            let unit = |is: bool| f64::from(u8::from(is));
            p.extend((0..m * m).map(|at| unit(order[at % m] == at / m)));
            l.extend((0..m * steps).map(|at| match (at / steps, at % steps) {
                (row, column) if row > column => matrix[row * n + column],
                (row, column) => unit(row == column),
            }));
            u.extend((0..steps * n).map(|at| match at / n > at % n {
                true => 0.0,
                false => matrix[at],
            }));
        }
        let results = [(m, m, p), (m, steps, l), (steps, n, u)];
        let results = results.map(|(rows, columns, elements)| {
            let shape = [outer, &[rows, columns]].concat();
            Ok(Tensor::from_elements(&shape, elements)?.cast(x.dtype()))
        });
        results.into_iter().collect()
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
