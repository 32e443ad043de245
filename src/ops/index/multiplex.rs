//! Rows, each picked from one of several tensors of the same shape: `multiplex`.
//!
//! Paddle: `phi/kernels/multiplex_kernel.h`. ONNX: GatherND.

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::index;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::merge;
use crate::ops::shared::values::indices;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Dim, Element, Tensor, with_arrays};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "multiplex",
    &[Arg::List("inputs"), Arg::Tensor("index")],
    &[Form::legacy(
        &["multiplex"],
        &[Binding::List("X"), Binding::Slot("Ids")],
        &["Out"],
    )],
    Multiplex::parse,
)
.with_opset(11)];

/// Row `i` of the result is row `i` of the input whose number is `index[i, 0]`. Rows are slices along the
/// first axis.
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

    fn indexes(&self, _: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        vec![(self.index, Dim::from(self.inputs.len()))]
    }
}

/// `x` with its row `row` replaced by that of another tensor.
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
