//! The values of a run, as ops see them, and the evaluation of one op on them.

use super::interface::Operator;
use crate::error::{Error, Result};
use crate::program::{Op, Operand, ValueId};
use crate::tensor::{DType, Tensor};

/// The type in which a run computes what Paddle computes in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Float32, as Paddle does.
    Single,
    /// Float64, to know how far rounding takes the float32 results from the truth.
    Double,
}

impl Precision {
    pub(crate) fn computing(self, dtype: DType) -> DType {
        match (self, dtype) {
            (Precision::Single, DType::F16 | DType::BF16) => DType::F32,
            (Precision::Double, DType::F16 | DType::BF16 | DType::F32) => DType::F64,
            _ => dtype,
        }
    }

    /// The type in which results of type `dtype` are kept between ops.
    pub(crate) fn keeping(self, dtype: DType) -> DType {
        match self {
            Precision::Single => dtype,
            Precision::Double => self.computing(dtype),
        }
    }
}

/// The tensors that the values of a program hold at one point of a run.
pub struct Values<'r> {
    pub(crate) tensors: &'r [Option<Tensor>],
    pub(crate) precision: Precision,
}

impl Values<'_> {
    /// The tensor of a value.
    ///
    /// # Errors
    /// When it is not computed yet, which is a defect of the caller.
    pub fn get(&self, id: ValueId) -> Result<&Tensor> {
        self.tensors
            .get(id.index())
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::internal("a value is used before it is computed"))
    }

    /// The elements of an integer tensor, in row-major order.
    ///
    /// # Errors
    /// Those of [`Values::get`].
    pub fn integers(&self, id: ValueId) -> Result<Vec<i64>> {
        Ok(self.get(id)?.to_i64_vec())
    }

    /// The type in which kernels compute what the program declares as `dtype`. Half precision is computed in float32
    /// and rounded after each op, as Paddle's kernels do; operands come in that type already.
    pub fn dtype(&self, dtype: DType) -> DType {
        self.precision.computing(dtype)
    }
}

/// The results of an op, with operands of half precision converted to what kernels compute in.
pub(crate) fn evaluate(
    operator: &dyn Operator,
    op: &Op,
    tensors: &[Option<Tensor>],
    precision: Precision,
) -> Result<Vec<Tensor>> {
    let operands = op.operands.iter().flat_map(Operand::values);
    let operands = operands.filter_map(|id| Some((id.index(), tensors.get(id.index())?.as_ref()?)));
    let computing = |tensor: &Tensor| precision.computing(tensor.dtype());
    if operands
        .clone()
        .all(|(_, tensor)| tensor.dtype() == computing(tensor))
    {
        return operator.evaluate(&Values { tensors, precision });
    }
    let mut converted = vec![None; tensors.len()];
    for (index, tensor) in operands {
        converted[index] = Some(tensor.cast(computing(tensor)));
    }
    let tensors = &converted;
    operator.evaluate(&Values { tensors, precision })
}

/// The results of an op whose operands are all known, of these types, as a run would compute them.
pub(crate) fn evaluate_constant(
    op: &Op,
    operator: &dyn Operator,
    tensors: &[Option<Tensor>],
    dtypes: &[DType],
) -> Result<Vec<Tensor>> {
    let results = evaluate(operator, op, tensors, Precision::Single)?;
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
