//! Ops on any number of tensors of one shape.
//!
//! Paddle: `phi/kernels/{add_n,multiplex,partial_concat,partial_sum}_kernel.h`. ONNX: Add, GatherND,
//! Slice and Concat.

use ndarray::Axis;

use super::composite::{Parts, composite};
use super::def::{Accuracy, Arg, Form, From, NUMBERS, OpDef};
use super::gather::indices;
use super::join::merge;
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, Operand, ValueId};
use crate::reference::index::Combine;
use crate::reference::{Values, index, map};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_arrays};

const LIST: &[From] = &[From::List("X")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "add_n",
        &[Arg::List("inputs")],
        &[Form::legacy(&["sum"], LIST, &["Out"]).ignoring(&["mkldnn_data_type"])],
        |op| {
            Ok(Box::new(AddN {
                inputs: op.list("inputs")?,
            }))
        },
    )
    .taking(NUMBERS)
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "multiplex",
        &[Arg::List("inputs"), Arg::Tensor("index")],
        &[Form::legacy(
            &["multiplex"],
            &[From::List("X"), From::Slot("Ids")],
            &["Out"],
        )],
        Multiplex::parse,
    ),
    composite(
        "partial_concat",
        &[Arg::List("x")],
        &[Form::legacy(&["partial_concat"], LIST, &["Out"])],
        NUMBERS,
        partial_concat,
    )
    .with_accuracy(Accuracy::Exact),
    composite(
        "partial_sum",
        &[Arg::List("x")],
        &[Form::legacy(&["partial_sum"], LIST, &["Out"])],
        NUMBERS,
        partial_sum,
    )
    .with_accuracy(Accuracy::Rounded),
];

/// The columns of each matrix that count, as an op of its own.
fn columns(parts: &mut Parts<'_>) -> Result<Vec<ValueId>> {
    let start: i64 = parts.attr("start_index", 0)?;
    let length: i64 = parts.attr("length", -1)?;
    let end = start.saturating_add(length);
    // Seen from the end, the last position is no position.
    let is_open = length < 0 || (start < 0 && end >= 0);
    let end = if is_open { i64::MAX } else { end };
    let (starts, ends) = (parts.integers(&[start]), parts.integers(&[end]));
    let axes = [("axes", Attr::Ints(vec![1]))];
    let matrices = parts.list(0)?.into_iter();
    Ok(matrices
        .map(|x| parts.op("slice", &[x, starts, ends], &axes, 2))
        .collect())
}

/// The same columns of matrices, side by side.
fn partial_concat(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let columns = columns(&mut parts)?;
    let axis = parts.integers(&[1]);
    parts.last_of(
        "concat",
        vec![Operand::Many(columns), Operand::One(axis)],
        &[],
    )
}

/// The sum of the same columns of matrices.
fn partial_sum(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    if let Some(Attr::Int(..0)) = draft.attrs.get("start_index") {
        return Err(Error::unsupported(
            "a sum of columns from the end, of which Paddle takes others",
        ));
    }
    let mut parts = Parts::new(builder, draft);
    let columns = columns(&mut parts)?;
    parts.last_of("add_n", vec![Operand::Many(columns)], &[])
}

/// The sum of tensors, from the first to the last.
struct AddN {
    inputs: Vec<ValueId>,
}

impl Function for AddN {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let first = facts.get(self.inputs[0]);
        let mut shape = first.shape.clone();
        for id in &self.inputs {
            merge(&mut shape, facts.shape(*id), None)?;
        }
        Ok(Fact::new(first.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.inputs[0]);
        let wide = dtype.widened();
        let inputs = self.inputs.iter().map(|id| {
            let x = g.value(*id)?;
            Ok(g.cast(x, dtype, wide))
        });
        let inputs = inputs.collect::<Result<Vec<TensorId>>>()?;
        let sum = inputs.into_iter();
        let sum = sum.reduce(|sum, x| g.node("Add", &[sum, x], []));
        let sum = sum.ok_or_else(|| Error::internal("a sum of nothing"))?;
        Ok(g.cast(sum, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        fn add<T: Element>(x: &Array<T>, y: &Array<T>) -> Result<Tensor> {
            let sum = map::zip(x, y, |x, y| Combine::Add.apply(x, y))?;
            Ok(T::tensor(sum.into()))
        }
        let mut sum = values.get(self.inputs[0])?.clone();
        for id in &self.inputs[1..] {
            sum = with_arrays!(&sum, values.get(*id)?, (sum, x) => add(sum, x))?;
        }
        Ok(sum)
    }
}

/// Row `i` of the tensor whose number stands in row `i` of `index`.
struct Multiplex {
    inputs: Vec<ValueId>,
    index: ValueId,
}

impl Multiplex {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            inputs: op.list("inputs")?,
            index: op.operand("index")?,
        }))
    }
}

impl Function for Multiplex {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let first = facts.get(self.inputs[0]);
        let mut shape = first.shape.clone();
        for id in &self.inputs {
            merge(&mut shape, facts.shape(*id), None)?;
        }
        let [rows, Dim::Known(1)] = facts.shape(self.index) else {
            return Err(Error::malformed("an index that is not a column"));
        };
        let extent = shape
            .first_mut()
            .ok_or_else(|| Error::malformed("rows of rank 0"))?;
        *extent = extent.or(rows);
        Ok(Fact::new(first.dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for id in &self.inputs {
            let x = g.value(*id)?;
            inputs.push(g.unsqueeze(x, &[0]));
        }
        let all = g.concat(&inputs, 0);
        let index = g.value(self.index)?;
        let index = g.cast(index, g.dtype(self.index), DType::I64);
        let count = g.shape_slice(index, 0, 1);
        let rows = g.count_up(count);
        let rows = g.unsqueeze(rows, &[1]);
        let places = g.concat(&[index, rows], 1);
        Ok(g.node("GatherND", &[all, places], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let choices = indices(values, self.index)?;
        let mut result = values.get(self.inputs[0])?.clone();
        for (row, choice) in choices.iter().enumerate() {
            let chosen = index::position(*choice, self.inputs.len())?;
            let chosen = values.get(self.inputs[chosen])?;
            result =
                with_arrays!(&result, chosen, (result, chosen) => with_row(result, chosen, row))?;
        }
        Ok(result)
    }

    fn indexes(&self, _: &Facts<'_>) -> Option<(ValueId, Dim)> {
        Some((self.index, Dim::from(self.inputs.len())))
    }
}

/// `x` with a row from another tensor.
fn with_row<T: Element>(x: &Array<T>, from: &Array<T>, row: usize) -> Result<Tensor> {
    if x.shape() != from.shape() || x.shape().first().is_none_or(|extent| row >= *extent) {
        return Err(Error::malformed("a row that is not there"));
    }
    let mut result = x.clone();
    result
        .index_axis_mut(Axis(0), row)
        .assign(&from.index_axis(Axis(0), row));
    Ok(T::tensor(result))
}
