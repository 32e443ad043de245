//! What every op can do.

use std::borrow::Borrow;

use super::reader::OpReader;
use super::values::Values;
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, Tensor};

/// What an op's definition makes of it, ready to be used.
pub(crate) type Parsed = Result<Box<dyn Operator>>;

/// Reads the operands and attributes of an op.
pub(crate) type Parse = fn(&mut OpReader<'_>) -> Parsed;

/// An op with its operands and attributes read.
pub(crate) trait Operator: Send + Sync {
    /// What is known of the results before a run.
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>>;

    /// Emits ONNX nodes and returns the tensors that hold the results.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>>;

    /// Computes the results by Paddle's definition.
    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>>;

    /// Multiply-accumulates of one run, where they are the op's cost.
    fn macs(&self, facts: &Facts<'_>) -> Macs;

    /// The operand that holds positions in something, and how many of them there are.
    fn indexes(&self, _facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        None
    }
}

/// An [`Operator`] with exactly one result, as most are.
pub(crate) trait Function: Send + Sync {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact>;

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId>;

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor>;

    fn macs(&self, _facts: &Facts<'_>) -> Macs {
        Macs::None
    }

    fn indexes(&self, _facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        None
    }
}

impl<F: Function> Operator for F {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        Ok(vec![Function::infer(self, facts)?])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        Ok(vec![Function::lower(self, g)?])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        Ok(vec![Function::evaluate(self, values)?])
    }

    fn macs(&self, facts: &Facts<'_>) -> Macs {
        Function::macs(self, facts)
    }

    fn indexes(&self, facts: &Facts<'_>) -> Option<(ValueId, Dim)> {
        Function::indexes(self, facts)
    }
}

/// The multiply-accumulates of an op, by what it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Macs {
    /// Not an op that is counted.
    None,
    /// An activation with a trained weight: what published figures count.
    Weighted(u64),
    /// Two activations, as in attention.
    Activations(u64),
    /// Not known before a run.
    Unknown,
}

impl Macs {
    /// The product of extents, if all are known and it is no absurd number.
    pub fn product(extents: impl IntoIterator<Item = impl Borrow<Dim>>) -> Option<u64> {
        let mut extents = extents.into_iter();
        extents.try_fold(1_u64, |count, dim| {
            count.checked_mul(u64::try_from(dim.borrow().known()?).ok()?)
        })
    }
}
