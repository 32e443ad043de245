//! What every op can do, and what is known of values before a run.

use std::borrow::Borrow;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::program::{Origin, Program, ValueId};
use crate::reference::Values;
use crate::tensor::{DType, Dim, Tensor};

/// What an op's definition makes of it, ready to be used.
pub(crate) type Parsed = Result<Box<dyn Operator>>;

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

/// What is known of a value before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The element type.
    pub dtype: DType,
    /// The shape; its rank is always known.
    pub shape: Vec<Dim>,
    /// The elements in row-major order, for small integer tensors such as shapes.
    pub content: Option<Vec<Dim>>,
}

/// Tensors with more elements than this hold data, not shapes.
const LONGEST_CONTENT: usize = 64;

impl Fact {
    /// A value whose elements are not known.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> Self {
        Self {
            dtype,
            shape,
            content: None,
        }
    }

    /// The same, with elements. They are dropped where the tensor can't be a shape.
    pub fn with_content(mut self, content: Option<Vec<Dim>>) -> Self {
        let is_integer = matches!(self.dtype, DType::I32 | DType::I64);
        self.content = content.filter(|c| is_integer && c.len() <= LONGEST_CONTENT);
        self
    }

    /// Whether no tensor has this shape: an extent is negative, or there are more elements than
    /// can be counted.
    pub(crate) fn is_impossible(&self) -> bool {
        let mut extents = self.shape.iter().filter_map(Dim::known);
        let elements = extents.try_fold(1_i64, |elements, extent| {
            elements.checked_mul(extent.max(1)).filter(|_| extent >= 0)
        });
        elements.is_none()
    }

    pub(crate) fn of_constant(tensor: &Tensor) -> Self {
        let shape = tensor
            .shape()
            .iter()
            .map(|extent| Dim::from(*extent))
            .collect();
        let content = (tensor.len() <= LONGEST_CONTENT)
            .then(|| tensor.to_i64_vec().into_iter().map(Dim::Known).collect());
        Fact::new(tensor.dtype(), shape).with_content(content)
    }
}

/// What is known of every value of a program.
pub(crate) struct Facts<'p> {
    program: &'p Program,
    facts: Vec<Fact>,
}

impl<'p> Facts<'p> {
    /// What the program declares. Results are then refined op by op with [`Facts::refine`].
    ///
    /// A variable has one declaration, so where several ops write it nobody knows whose result
    /// that describes.
    pub fn declared(program: &'p Program) -> Self {
        let mut writes: HashMap<&str, usize> = HashMap::new();
        for (_, value) in program.values() {
            *writes.entry(&value.name).or_default() += 1;
        }
        let facts = program.values().map(|(_, value)| match &value.origin {
            Origin::Constant(tensor) => Fact::of_constant(tensor),
            Origin::Result if writes[value.name.as_str()] > 1 => {
                Fact::new(value.dtype, vec![Dim::Unknown; value.shape.len()])
            }
            _ => Fact::new(value.dtype, value.shape.clone()),
        });
        Self {
            program,
            facts: facts.collect(),
        }
    }

    /// Replaces what is known of a result by what its op infers. Declared extents fill the gaps,
    /// and nothing more: what Paddle declares is at times what it was before, or wrong. An extent
    /// that is then still open is a new one, by which others can be known to be equal to it.
    pub fn refine(&mut self, id: ValueId, mut inferred: Fact) {
        let declared = &self.facts[id.index()];
        if declared.shape.len() == inferred.shape.len() {
            for (dim, declared) in inferred.shape.iter_mut().zip(&declared.shape) {
                // Paddle calculates with the -1 of an open extent: one more is declared as 0.
                if *dim == Dim::Unknown && *declared != Dim::Known(0) {
                    dim.clone_from(declared);
                }
            }
        }
        for (axis, dim) in (0_u32..).zip(&mut inferred.shape) {
            if *dim == Dim::Unknown {
                *dim = id.computed_extent(axis);
            }
        }
        self.facts[id.index()] = inferred;
    }

    pub fn program(&self) -> &'p Program {
        self.program
    }

    pub fn get(&self, id: ValueId) -> &Fact {
        &self.facts[id.index()]
    }

    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.get(id).shape
    }

    pub fn rank(&self, id: ValueId) -> usize {
        self.shape(id).len()
    }

    pub fn dtype(&self, id: ValueId) -> DType {
        self.get(id).dtype
    }

    pub fn content(&self, id: ValueId) -> Option<&[Dim]> {
        self.get(id).content.as_deref()
    }

    /// The elements of an integer tensor, if all of them are known.
    pub fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        self.content(id)?.iter().map(Dim::known).collect()
    }

    /// The elements of an integer operand that ONNX takes only as a constant.
    ///
    /// # Errors
    /// When they depend on the inputs.
    pub fn constant_integers(&self, id: ValueId, operand: &str) -> Result<Vec<i64>> {
        self.integers(id).ok_or_else(|| {
            Error::unsupported(format!(
                "the operand `{operand}` is computed from the inputs, where a constant is needed"
            ))
        })
    }

    /// As [`Facts::constant_integers`], with one element.
    pub fn constant_integer(&self, id: ValueId, operand: &str) -> Result<i64> {
        single(&self.constant_integers(id, operand)?, operand)
    }

    /// The constant behind a value, if it is one.
    pub fn constant_value(&self, id: ValueId) -> Option<&'p Tensor> {
        match &self.program[id].origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Whether a value is a trained weight.
    pub fn is_parameter(&self, id: ValueId) -> bool {
        matches!(self.program[id].origin, Origin::Parameter(_))
    }
}

/// The only element of an operand.
pub(crate) fn single(elements: &[i64], operand: &str) -> Result<i64> {
    match elements {
        [element] => Ok(*element),
        _ => Err(Error::malformed(format!(
            "the operand `{operand}` has {} elements where 1 was expected",
            elements.len()
        ))),
    }
}
