//! One op computed, as the interpreter and constant folding do it.

use super::interface::Operator;
use super::values::{Precision, Values};
use crate::error::Result;
use crate::program::{Op, Operand};
use crate::tensor::{DType, Tensor};

/// The results of an op, with operands of half precision converted to what kernels compute in.
pub(crate) fn evaluate(
    operator: &dyn Operator,
    op: &Op,
    values: &Values<'_>,
) -> Result<Vec<Tensor>> {
    let operands = op.operands.iter().flat_map(Operand::values);
    let operands =
        operands.filter_map(|id| Some((id.index(), values.tensors.get(id.index())?.as_ref()?)));
    let computing = |tensor: &Tensor| values.precision.computing(tensor.dtype());
    if operands
        .clone()
        .all(|(_, tensor)| tensor.dtype() == computing(tensor))
    {
        return operator.evaluate(values);
    }
    let mut converted = vec![None; values.tensors.len()];
    for (index, tensor) in operands {
        converted[index] = Some(tensor.cast(computing(tensor)));
    }
    operator.evaluate(&Values {
        tensors: &converted,
        ..*values
    })
}

/// The results of an op whose operands are all known, of these types, as a run would compute them.
pub(crate) fn evaluate_constant(
    op: &Op,
    operator: &dyn Operator,
    tensors: &[Option<Tensor>],
    dtypes: &[DType],
) -> Result<Vec<Tensor>> {
    let values = Values::new(tensors, Precision::Single);
    let results = evaluate(operator, op, &values)?;
    let results = results.into_iter().zip(dtypes);
    Ok(results
        .map(|(tensor, dtype)| rounded(tensor, *dtype))
        .collect())
}

/// A result as it is kept: half precision was computed in float32.
fn rounded(tensor: Tensor, dtype: DType) -> Tensor {
    match dtype {
        DType::F16 | DType::BF16 => tensor.cast(dtype),
        _ => tensor,
    }
}
