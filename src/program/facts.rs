//! What is known of values before a run: element types, shapes, and the elements of shape tensors.

use std::collections::{HashMap, HashSet};

use super::{Origin, Program, ValueId};
use crate::error::{Error, Result};
use crate::tensor::{DType, Dim, Tensor};

/// What is known of a value before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The element type.
    pub dtype: DType,
    /// The shape. The rank is always known, and each extent may be known, symbolic, computed or unknown.
    pub shape: Vec<Dim>,
    /// The elements in row-major order, if anything is known of them: for int32 and int64 tensors of at most 64
    /// elements, such as shapes. Each is known, or the extent of a tensor, or [`Dim::Unknown`].
    pub content: Option<Vec<Dim>>,
    /// Whether it stands for a variable that nothing has written: then no op computes with it, and it may be taken for a
    /// value of any type and shape.
    pub(crate) is_undefined: bool,
}

/// The most elements that are known of a tensor. Larger ones hold data, not shapes.
const LONGEST_CONTENT: usize = 64;

impl Fact {
    /// What is known of a value whose elements are not known.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> Self {
        Self {
            dtype,
            shape,
            content: None,
            is_undefined: false,
        }
    }

    /// The same, of a variable that nothing has written.
    pub(crate) fn undefined(mut self) -> Self {
        self.is_undefined = true;
        self
    }

    /// Sets [`Fact::content`]: as many elements as the shape has, in row-major order. They are dropped for element
    /// types other than int32 and int64, and where they are more than 64.
    pub fn with_content(mut self, content: Option<Vec<Dim>>) -> Self {
        let is_integer = matches!(self.dtype, DType::I32 | DType::I64);
        self.content = content.filter(|c| is_integer && c.len() <= LONGEST_CONTENT);
        self
    }

    /// Whether no tensor has this shape: an extent is negative, or the number of elements exceeds 63 bits.
    pub(crate) fn is_impossible(&self) -> bool {
        let mut extents = self.shape.iter().filter_map(Dim::known);
        let elements = extents.try_fold(1_i64, |elements, extent| {
            elements.checked_mul(extent.max(1)).filter(|_| extent >= 0)
        });
        elements.is_none()
    }

    /// The fact without extents of these values, which are not known where it is to hold.
    pub(crate) fn without(&self, values: &HashSet<ValueId>) -> Self {
        let kept = |dim: &Dim| match ValueId::of_extent(dim) {
            Some((value, _)) if values.contains(&value) => Dim::Unknown,
            _ => dim.clone(),
        };
        let content = self.content.as_ref();
        Self {
            dtype: self.dtype,
            shape: self.shape.iter().map(kept).collect(),
            content: content.map(|elements| elements.iter().map(kept).collect()),
            is_undefined: self.is_undefined,
        }
    }

    /// What holds of two values: where they differ, nothing is known. None if they differ in type or rank. An undefined
    /// one may be taken for the other.
    pub(crate) fn common(&self, other: &Fact) -> Option<Self> {
        match (self.is_undefined, other.is_undefined) {
            (true, _) => return Some(other.clone()),
            (_, true) => return Some(self.clone()),
            _ => {}
        }
        if self.dtype != other.dtype || self.shape.len() != other.shape.len() {
            return None;
        }
        let common = |a: &[Dim], b: &[Dim]| -> Vec<Dim> {
            let pairs = a.iter().zip(b);
            let dims = pairs.map(|(a, b)| if a == b { a.clone() } else { Dim::Unknown });
            dims.collect()
        };
        let content = match (&self.content, &other.content) {
            (Some(a), Some(b)) if a.len() == b.len() => Some(common(a, b)),
            _ => None,
        };
        Some(Self {
            dtype: self.dtype,
            shape: common(&self.shape, &other.shape),
            content: content.filter(|dims| dims.iter().any(|dim| *dim != Dim::Unknown)),
            is_undefined: false,
        })
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

/// What is known before a run of every value of a program.
///
/// An op's `infer` reads here what is known of its operands.
pub struct Facts<'p> {
    program: &'p Program,
    facts: Vec<Fact>,
    /// The tensors of the values that are constants, by the index of the value.
    constants: Vec<Option<&'p Tensor>>,
    /// What was found to hold in every round of a loop, for the arguments of its block.
    invariants: HashMap<ValueId, Fact>,
}

impl<'p> Facts<'p> {
    /// What the program declares. Results are then refined op by op with [`Facts::refine`].
    ///
    /// A variable of `ProgramDesc` has one declaration. Where several ops write it, it may describe any of their
    /// results, so only the element type and the rank are taken from it.
    pub(crate) fn declared(program: &'p Program) -> Self {
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
        let constants = program.values().map(|(_, value)| match &value.origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        });
        Self {
            program,
            facts: facts.collect(),
            constants: constants.collect(),
            invariants: HashMap::new(),
        }
    }

    /// Makes a constant of a result that is known before a run.
    pub(crate) fn fix(&mut self, id: ValueId, tensor: &'p Tensor) {
        self.facts[id.index()] = Fact::of_constant(tensor);
        self.constants[id.index()] = Some(tensor);
    }

    /// Replaces what is declared of a result by what its op infers. An extent that inference leaves unknown becomes a
    /// [`Dim::Computed`] of this value, so that other extents can be known to be equal to it. What the file declares of
    /// it is no help: Paddle calculates with the -1 of open extents, and declares whatever comes out.
    pub(crate) fn refine(&mut self, id: ValueId, mut inferred: Fact) {
        for (axis, dim) in (0_u32..).zip(&mut inferred.shape) {
            if *dim == Dim::Unknown {
                *dim = id.computed_extent(axis);
            }
        }
        self.facts[id.index()] = inferred;
    }

    /// What was found to hold in every round of a loop for an argument of its block, if that was inferred before.
    pub(crate) fn invariant(&self, argument: ValueId) -> Option<&Fact> {
        self.invariants.get(&argument)
    }

    /// Keeps what holds in every round of a loop for an argument of its block, from which inference goes on if the loop
    /// stands in another one, and is inferred again. Otherwise nested loops would take exponential time.
    pub(crate) fn keep_invariant(&mut self, argument: ValueId, fact: Fact) {
        self.invariants.insert(argument, fact);
    }

    /// The program whose values these are.
    pub fn program(&self) -> &'p Program {
        self.program
    }

    /// All that is known of a value.
    pub fn get(&self, id: ValueId) -> &Fact {
        &self.facts[id.index()]
    }

    /// The shape of a value.
    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.get(id).shape
    }

    /// The number of axes of a value.
    pub fn rank(&self, id: ValueId) -> usize {
        self.shape(id).len()
    }

    /// The element type of a value.
    pub fn dtype(&self, id: ValueId) -> DType {
        self.get(id).dtype
    }

    /// The elements of an int32 or int64 tensor of at most 64 elements in row-major order, each known or an extent, if
    /// anything is known of them.
    pub fn content(&self, id: ValueId) -> Option<&[Dim]> {
        self.get(id).content.as_deref()
    }

    /// The elements of an int32 or int64 tensor of at most 64 elements in row-major order, if all of them are known.
    pub fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        self.content(id)?.iter().map(Dim::known).collect()
    }

    /// The elements, in row-major order, of an integer operand that ONNX takes only as a constant. `operand` is its
    /// name, for the error.
    ///
    /// # Errors
    /// When [`Facts::integers`] does not know them, as where they depend on the inputs.
    pub fn constant_integers(&self, id: ValueId, operand: &str) -> Result<Vec<i64>> {
        self.integers(id).ok_or_else(|| {
            Error::unsupported(format!(
                "the operand `{operand}` is computed from the inputs, where a constant is needed"
            ))
        })
    }

    /// The only element of an integer operand that ONNX takes only as a constant. `operand` is its name, for the error.
    ///
    /// # Errors
    /// Those of [`Facts::constant_integers`], and when the operand has not exactly one element.
    pub fn constant_integer(&self, id: ValueId, operand: &str) -> Result<i64> {
        single(&self.constant_integers(id, operand)?, operand)
    }

    /// The tensor of a value that is a constant, whatever its element type and size. None for any other value, such as
    /// a weight.
    pub fn constant_value(&self, id: ValueId) -> Option<&'p Tensor> {
        self.constants[id.index()]
    }

    /// Whether a value is a trained weight.
    pub fn is_parameter(&self, id: ValueId) -> bool {
        matches!(self.program[id].origin, Origin::Parameter(_))
    }
}

/// The only one of the elements of the operand called `operand`.
///
/// # Errors
/// When there is none, or more than one.
pub(crate) fn single(elements: &[i64], operand: &str) -> Result<i64> {
    match elements {
        [element] => Ok(*element),
        _ => Err(Error::malformed(format!(
            "the operand `{operand}` has {} elements where 1 was expected",
            elements.len()
        ))),
    }
}
