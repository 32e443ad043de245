//! What every op can do.

use std::borrow::Borrow;

use super::reader::OpReader;
use super::values::Values;
use crate::error::Result;
use crate::graph::{Lowering, TensorId};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Dim, ElementMap, Tensor};

/// What a definition makes of one occurrence of its op.
pub type Parsed = Result<Box<dyn Operator>>;

/// Reads the operands and attributes of one occurrence of an op.
///
/// # Errors
/// When one is missing or is not what the op expects.
pub type Parse = fn(&mut OpReader<'_>) -> Parsed;

/// One occurrence of an op in a program, with its operands and attributes read.
///
/// Ops with exactly one result implement [`Function`] instead, which makes them operators.
pub trait Operator: Send + Sync {
    /// What is known of each result before a run: its element type, its shape, and the elements of small integer
    /// tensors.
    ///
    /// # Errors
    /// When the operands don't fit the op, or each other.
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>>;

    /// Emits ONNX nodes, and returns the tensors that hold the results.
    ///
    /// # Errors
    /// When ONNX can't express what Paddle computes, or not in the opset that is written.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>>;

    /// Computes the results as Paddle does. This must not look at what [`Operator::lower`] emits: what differs
    /// between the two is what `verify` finds.
    ///
    /// # Errors
    /// When Paddle's kernel would refuse the operands.
    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>>;

    /// The multiply-accumulates of one run, for ops whose cost they are.
    fn macs(&self, facts: &Facts<'_>) -> Macs;

    /// The operands that hold indices, each with the number of positions that it indexes, so that random inputs can be
    /// drawn within bounds.
    fn indexes(&self, _facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        Vec::new()
    }

    /// The operands in which each element of the result is `a · x + b`, where `x` is the operand's element at the same
    /// position, and `a` and `b` follow from the other operands.
    fn affine_in(&self) -> Vec<ValueId> {
        Vec::new()
    }

    /// If the result has at each position what one function makes of the elements of these operands there, which are broadcast,
    /// these operands. Others concern all positions alike.
    fn elementwise_in(&self) -> Vec<ValueId> {
        Vec::new()
    }

    /// What the op convolves with, if it is a convolution that can add a bias.
    fn convolution(&self) -> Option<Convolution> {
        None
    }

    /// The operand that the only result is, as it is.
    fn passes_on(&self, _facts: &Facts<'_>) -> Option<ValueId> {
        None
    }

    /// The stored weight of float32 of which the op makes its result, and how, if that is done when a model is written.
    fn weight_map(&self, _facts: &Facts<'_>) -> Option<(ValueId, ElementMap)> {
        None
    }

    /// The operand that the op multiplies with from the right, as it is, if `evaluate` also takes it in panels
    /// ([`Values::panels`]).
    fn right_matrix(&self) -> Option<ValueId> {
        None
    }
}

/// An [`Operator`] with exactly one result, as most are. Its methods are those of [`Operator`].
pub trait Function: Send + Sync {
    /// What is known of the result before a run.
    ///
    /// # Errors
    /// When the operands don't fit the op, or each other.
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact>;

    /// Emits ONNX nodes, and returns the tensor that holds the result.
    ///
    /// # Errors
    /// When ONNX can't express what Paddle computes, or not in the opset that is written.
    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId>;

    /// Computes the result as Paddle does.
    ///
    /// # Errors
    /// When Paddle's kernel would refuse the operands.
    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor>;

    /// The multiply-accumulates of one run, for ops whose cost they are.
    fn macs(&self, _facts: &Facts<'_>) -> Macs {
        Macs::None
    }

    /// The operands that hold indices, each with the number of positions that it indexes.
    fn indexes(&self, _facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        Vec::new()
    }

    /// The operands in which each element of the result is `a · x + b`.
    fn affine_in(&self) -> Vec<ValueId> {
        Vec::new()
    }

    /// The operands of which the same function makes each element of the result.
    fn elementwise_in(&self) -> Vec<ValueId> {
        Vec::new()
    }

    /// What the op convolves with, if it is a convolution that can add a bias.
    fn convolution(&self) -> Option<Convolution> {
        None
    }

    /// The operand that the result is, as it is.
    fn passes_on(&self, _facts: &Facts<'_>) -> Option<ValueId> {
        None
    }

    /// The stored weight of which the op makes its result, and how, if that is done when a model is written.
    fn weight_map(&self, _facts: &Facts<'_>) -> Option<(ValueId, ElementMap)> {
        None
    }

    /// The operand that the op multiplies with from the right, if `evaluate` also takes it in panels.
    fn right_matrix(&self) -> Option<ValueId> {
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

    fn indexes(&self, facts: &Facts<'_>) -> Vec<(ValueId, Dim)> {
        Function::indexes(self, facts)
    }

    fn affine_in(&self) -> Vec<ValueId> {
        Function::affine_in(self)
    }

    fn elementwise_in(&self) -> Vec<ValueId> {
        Function::elementwise_in(self)
    }

    fn convolution(&self) -> Option<Convolution> {
        Function::convolution(self)
    }

    fn passes_on(&self, facts: &Facts<'_>) -> Option<ValueId> {
        Function::passes_on(self, facts)
    }

    fn weight_map(&self, facts: &Facts<'_>) -> Option<(ValueId, ElementMap)> {
        Function::weight_map(self, facts)
    }

    fn right_matrix(&self) -> Option<ValueId> {
        Function::right_matrix(self)
    }
}

/// What a convolution convolves with. Its operands are the image, the filter and the bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// The filter, whose first axis is that of the output channels.
    pub filter: ValueId,
    /// The bias of each output channel, if there is one.
    pub bias: Option<ValueId>,
    /// The axis of the result along which the output channels lie.
    pub channel_axis: usize,
}

/// The multiply-accumulates of an op, by what it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Macs {
    /// The op is none whose multiply-accumulates are counted.
    None,
    /// Products of activations with a trained weight, which is what published figures count.
    Weighted(u64),
    /// Products of two activations, as in attention.
    Activations(u64),
    /// Their number is not known before a run.
    Unknown,
}

impl Macs {
    /// The product of extents. None if one is not known, or the product exceeds 64 bits.
    pub fn product(extents: impl IntoIterator<Item = impl Borrow<Dim>>) -> Option<u64> {
        let mut extents = extents.into_iter();
        extents.try_fold(1_u64, |count, dim| {
            count.checked_mul(u64::try_from(dim.borrow().known()?).ok()?)
        })
    }
}
