//! The axes of a tensor in another order: `transpose`.
//!
//! Paddle: `phi/kernels/transpose_kernel.h`. ONNX: Transpose.

use super::reshape::X;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Element, Tensor, normalize_axis, with_array};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "transpose",
    &[Arg::Tensor("x")],
    &[Form::legacy(&["transpose2", "transpose"], &[X], &["Out"])
        .renaming(&[("axis", "perm")])
        // A hint to oneDNN.
        .ignoring(&["data_format"])],
    Transpose::parse,
)
.part_by_part(&["x"])
.speculatable()];

/// `x` with its axes permuted: axis `i` of the result is axis `perm[i]` of `x`.
struct Transpose {
    x: ValueId,
    perm: Vec<i64>,
}

impl Transpose {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            perm: op.attr("perm")?,
        }))
    }

    fn perm(&self, rank: usize) -> Result<Vec<usize>> {
        let perm: Vec<usize> = self
            .perm
            .iter()
            .map(|axis| normalize_axis(*axis, rank))
            .collect::<Result<_>>()?;
        let is_complete = (0..rank).all(|axis| perm.contains(&axis)) && perm.len() == rank;
        if is_complete {
            return Ok(perm);
        }
        Err(Error::malformed(format!(
            "{:?} is not a permutation of {rank} axes",
            self.perm
        )))
    }
}

impl Function for Transpose {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.shape(self.x);
        let perm = self.perm(x.len())?;
        let shape = perm.into_iter().map(|axis| x[axis].clone()).collect();
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let perm = self.perm(g.rank(self.x))?;
        Ok(g.transpose(x, &perm))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let perm = self.perm(x.shape().len())?;
        Ok(with_array!(x, x => Element::tensor(x.clone().permuted_axes(perm.as_slice()))))
    }
}
