//! The one program that every later stage works on, whichever format it was read from.
//!
//! It is in SSA form: every value is defined once, by an input, a parameter, a constant or an op.
//! Ops have their PHI names; operands stand in the order of the PHI signature; what a file may
//! hold as an attribute or as a tensor (a shape, axes, a scalar) is an operand.

mod attr;
mod builder;
mod display;
mod facts;
mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

pub use attr::Attr;
pub use attr::FromAttr;
pub(crate) use builder::declared_dim;
pub use builder::{Builder, Declared, Draft};
pub(crate) use facts::single;
pub use facts::{Fact, Facts};
pub(crate) use names::UniqueNames;

use crate::read::ByteRange;
use crate::tensor::{DType, Dim, Tensor};

/// An inference program.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) ops: Vec<Op>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<Output>,
}

/// Names one value of one [`Program`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// A value: a tensor that is defined once.
#[derive(Debug, Clone)]
pub struct Value {
    /// The variable's name in Paddle; where the file names none, the layer and the op that make
    /// it. A variable that is written several times makes several values of one name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape that the file declares. Its op may know more.
    pub shape: Vec<Dim>,
    /// What defines it.
    pub origin: Origin,
}

/// What defines a value.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Given by the caller at each run.
    Input,
    /// A trained weight, left in its file.
    Parameter(ByteRange),
    /// Known from the program.
    Constant(Tensor),
    /// The result of an op, or an argument of a block.
    Result,
}

/// A value that a run returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name by which callers know it.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// Its operands, in the order of the PHI signature.
    pub operands: Vec<Operand>,
    /// Its results, in the order of the PHI signature.
    pub results: Vec<ValueId>,
    /// Its attributes, by PHI name.
    pub attrs: BTreeMap<String, Attr>,
    /// The bodies of control flow. They may read every value that is defined before the op.
    pub blocks: Vec<Block>,
    /// Where it stands in the file.
    pub source: Source,
}

impl Op {
    /// Visits every value that the op reads: its operands, and what its blocks read and hand out.
    pub(crate) fn each_read(&self, visit: &mut dyn FnMut(ValueId)) {
        let operands = self.operands.iter().flat_map(Operand::values);
        operands.for_each(|id| visit(*id));
        for block in &self.blocks {
            block.ops.iter().for_each(|op| op.each_read(visit));
            block.results.iter().for_each(|id| visit(*id));
        }
    }
}

/// A body of control flow: `if` has two, `while` one.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// What is handed in: for `while` the values that it carries from one round to the next.
    pub arguments: Vec<ValueId>,
    /// Its ops.
    pub ops: Vec<Op>,
    /// What is handed out at the end.
    pub results: Vec<ValueId>,
}

/// What an op does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// The PHI op of this name, which has a definition here.
    Known(&'static str),
    /// An op without a definition, by the name in the file. Its operands have no order.
    Unknown(String),
}

impl OpKind {
    /// The op's name: PHI's, or the file's where there is no definition.
    pub fn name(&self) -> &str {
        match self {
            OpKind::Known(name) => name,
            OpKind::Unknown(name) => name,
        }
    }
}

/// One operand of an op.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operand {
    /// An optional operand that is not given.
    Absent,
    /// One tensor.
    One(ValueId),
    /// A list of tensors, as `concat` takes.
    Many(Vec<ValueId>),
}

impl Operand {
    /// The values that this operand reads.
    pub fn values(&self) -> &[ValueId] {
        match self {
            Operand::Absent => &[],
            Operand::One(value) => std::slice::from_ref(value),
            Operand::Many(values) => values,
        }
    }
}

/// Where an op stands in the file that it was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its position in the file, counting parameters, feed and fetch.
    pub index: usize,
    /// Its name in the file.
    pub name: String,
    /// The path of the layer that it belongs to, such as `/VisionTransformer/Block/Attention/`, in
    /// files that tell it.
    pub layer: Option<Arc<str>>,
    /// The first variable that it writes.
    pub output: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op {} `{}`", self.index, self.name)?;
        match &self.layer {
            Some(layer) if layer.is_empty() => Ok(()),
            Some(layer) => write!(f, " in {layer}"),
            None if self.output.is_empty() => Ok(()),
            None => write!(f, " (writes `{}`)", self.output),
        }
    }
}

impl ValueId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// An extent of the value that is known in a run alone.
    pub(crate) fn computed_extent(self, axis: u32) -> Dim {
        Dim::Computed {
            value: self.0,
            axis,
        }
    }

    /// The value and the axis whose extent it is, if it is one that is known in a run alone.
    pub(crate) fn of_extent(dim: &Dim) -> Option<(Self, u32)> {
        match dim {
            Dim::Computed { value, axis } => Some((Self(*value), *axis)),
            _ => None,
        }
    }
}

impl Index<ValueId> for Program {
    type Output = Value;

    fn index(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }
}

impl Program {
    pub(crate) fn add_value(&mut self, value: Value) -> ValueId {
        let id = ValueId(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(value);
        id
    }

    /// Every value with its id, in order of definition.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        (0..).map(ValueId).zip(&self.values)
    }

    /// The ops, each after those whose results it uses.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Every op of the program, those inside of others behind them.
    pub fn all_ops(&self) -> impl Iterator<Item = &Op> {
        let mut left: Vec<&Op> = self.ops.iter().rev().collect();
        std::iter::from_fn(move || {
            let op = left.pop()?;
            let inner = op.blocks.iter().flat_map(|block| &block.ops);
            left.extend(inner.rev());
            Some(op)
        })
    }

    /// The inputs, in the order of the file.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs, in the order of the file.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The program with other declared shapes of its inputs, each made from the present one.
    pub(crate) fn with_input_shapes(&self, shape: impl Fn(ValueId, &[Dim]) -> Vec<Dim>) -> Self {
        let mut program = self.clone();
        for id in &self.inputs {
            program.values[id.index()].shape = shape(*id, &self[*id].shape);
        }
        program
    }

    /// For every value, how many operands and outputs read it.
    pub(crate) fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        let mut count = |id: ValueId| counts[id.index()] += 1;
        self.ops.iter().for_each(|op| op.each_read(&mut count));
        self.outputs.iter().for_each(|output| count(output.value));
        counts
    }
}
