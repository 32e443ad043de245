//! Triangles of matrices (`tril`, `triu`, `tril_triu`), and the positions of their elements (`tril_indices`,
//! `triu_indices`).
//!
//! Paddle: `phi/kernels/{tril_triu,tril_indices,triu_indices}_kernel.h`. ONNX: Trilu, or Where with a mask; a constant
//! for the positions.

use ndarray::ArrayD;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::decomposition::decomposed;
use crate::program::{Attr, Builder, Draft, Fact, Facts, FromAttr, ValueId};
use crate::tensor::{Array, DType, Element, Tensor, with_array};

pub(super) const OPS: &[OpDef] = &[
    // Only older programs, of either format, have this op.
    OpDef::new(
        "tril_triu",
        &[Arg::Tensor("x")],
        &[Form::legacy(
            &["tril_triu"],
            &[Binding::Slot("X")],
            &["Out"],
        )],
        |op| {
            let lower = op.attr_or("lower", true)?;
            Triangle::parse(op, lower)
        },
    )
    .with_opset(9)
    .part_by_part(&["x"]),
    OpDef::new("tril", &[Arg::Tensor("x")], &[], |op| {
        Triangle::parse(op, true)
    })
    .with_opset(9)
    .part_by_part(&["x"]),
    OpDef::new("triu", &[Arg::Tensor("x")], &[], |op| {
        Triangle::parse(op, false)
    })
    .with_opset(9)
    .part_by_part(&["x"]),
    decomposed(
        "tril_indices",
        &[],
        &[Form::legacy(&["tril_indices"], &[], &["out"])],
        &[DType::I32, DType::I64],
        lower_positions,
    )
    .with_accuracy(Accuracy::Exact),
    decomposed(
        "triu_indices",
        &[],
        &[Form::legacy(&["triu_indices"], &[], &["out"])],
        &[DType::I32, DType::I64],
        upper_positions,
    )
    .with_accuracy(Accuracy::Exact),
];

fn lower_positions(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    positions(builder, draft, ["rows", "cols"], |row, column, offset| {
        column - row <= offset
    })
}

fn upper_positions(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    positions(builder, draft, ["row", "col"], |row, column, offset| {
        column - row >= offset
    })
}

/// The positions in matrices with more elements would be too large a constant for a model.
const LARGEST: i64 = 1 << 22;

/// A constant of shape `[2, n]`: the rows and the columns of the `n` elements of a triangle, in row-major order.
/// `extents` are the attributes for the numbers of rows and columns of the matrix.
fn positions(
    builder: &mut Builder,
    draft: Draft,
    extents: [&str; 2],
    is_in: fn(i64, i64, i64) -> bool,
) -> Result<Vec<ValueId>> {
    let number = |name: &str| match draft.attrs.get(name) {
        Some(Attr::Int(number)) => i32::try_from(*number).ok().map(i64::from),
        _ => None,
    };
    let missing = || Error::malformed("a triangle without extents or an offset");
    let [rows, columns] = extents.map(number);
    let (rows, columns) = (rows.ok_or_else(missing)?, columns.ok_or_else(missing)?);
    let offset = number("offset").ok_or_else(missing)?;
    if rows < 0 || columns < 0 || rows * columns > LARGEST {
        return Err(Error::unsupported(format!(
            "the positions of a triangle of {rows} by {columns}"
        )));
    }
    let dtype = draft.attrs.get("dtype").and_then(DType::from_attr);
    let all = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let (rows, columns): (Vec<i64>, Vec<i64>) = all
        .filter(|(row, column)| is_in(*row, *column, offset))
        .unzip();
    let shape = [2, rows.len()];
    let positions = ArrayD::from_shape_vec(shape.as_slice(), [rows, columns].concat())
        .map_err(|_| Error::internal("positions got lost"))?;
    let tensor = i64::tensor(positions.into()).cast(dtype.unwrap_or(DType::I64));
    let names = draft.results.into_iter().map(|result| result.name);
    Ok(names
        .map(|name| builder.named_constant(name, tensor.clone()))
        .collect())
}

/// The matrices on the last two axes with zeros above a diagonal, or below it. `diagonal` says how far to the right of
/// the main diagonal that is.
struct Triangle {
    x: ValueId,
    diagonal: i64,
    is_lower: bool,
}

impl Triangle {
    fn parse(op: &mut OpReader<'_>, is_lower: bool) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            diagonal: op.attr_or("diagonal", 0)?,
            is_lower,
        }))
    }
}

impl Function for Triangle {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        if x.shape.len() < 2 {
            return Err(Error::malformed(format!(
                "a matrix of rank {}",
                x.shape.len()
            )));
        }
        Ok(Fact::new(x.dtype, x.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let (dtype, rank) = (g.dtype(self.x), g.rank(self.x));
        Ok(g.triangle(x, (dtype, rank), self.diagonal, self.is_lower))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_array!(values.get(self.x)?, x => Ok(self.of(x)))
    }
}

impl Triangle {
    fn of<T: Element>(&self, x: &Array<T>) -> Tensor {
        let mut result = x.to_owned();
        let rank = x.ndim();
        for (place, element) in result.indexed_iter_mut() {
            let (row, column) = (place[rank - 2] as i64, place[rank - 1] as i64);
            let distance = column - row;
            let stays = match self.is_lower {
                true => distance <= self.diagonal,
                false => distance >= self.diagonal,
            };
            if !stays {
                *element = T::default();
            }
        }
        T::tensor(result.into_owned().into())
    }
}
