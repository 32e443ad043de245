//! `linear`: a product of two matrices and a bias, which the program gets where one op adds to what another has multiplied.
//! No file has it.

use ndarray::ArrayD;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::matmul::matmul;
use crate::kernels::{Real, with_reals};
use crate::operator::{Accuracy, Arg, FLOATS, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "linear",
    &[Arg::Tensor("x"), Arg::Tensor("weight"), Arg::Tensor("bias")],
    &[],
    Linear::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)
.in_no_file()];

/// `x · weight + bias`, where `x` is `[m, k]`, `weight` `[k, n]` and `bias` `[n]`.
///
/// ONNX: Gemm.
struct Linear {
    x: ValueId,
    weight: ValueId,
    bias: ValueId,
}

impl Linear {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            weight: op.operand("weight")?,
            bias: op.operand("bias")?,
        }))
    }
}

/// `x · weight + bias`.
fn sum<T: Real>(x: &Array<T>, weight: &Array<T>, bias: &Tensor) -> Result<ArrayD<T>> {
    let bias = T::array(bias).ok_or_else(|| Error::internal("a bias of another type"))?;
    let mut sum = matmul(x, weight)?;
    sum += bias;
    Ok(sum)
}

impl Function for Linear {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [rows, _] = facts.shape(self.x) else {
            return Err(Error::internal("a linear layer on other than a matrix"));
        };
        let shape = vec![rows.clone(), facts.shape(self.bias)[0].clone()];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, weight, bias) = (g.value(self.x)?, g.value(self.weight)?, g.value(self.bias)?);
        Ok(g.node("Gemm", &[x, weight, bias], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let bias = values.get(self.bias)?;
        with_reals!(values.get(self.x)?, values.get(self.weight)?, (x, weight) => sum(x, weight, bias)?)
    }
}
