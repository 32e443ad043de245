//! The one program that every later stage works on, whichever format it was read from.
//!
//! It is in SSA form: every value is a tensor that is defined once, by an input, a parameter, a constant or an op. Ops
//! have their PHI names, and operands stand in the order of the PHI signature. What a file may hold as an attribute or
//! as a tensor (a shape, axes, a scalar) is always an operand. What is known of values before a run is in [`Facts`].

mod attr;
mod builder;
mod display;
mod facts;
mod names;
mod release;

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

pub use attr::{Attr, Attributes, FromAttr};
pub(crate) use builder::declared_dim;
pub use builder::{Builder, Declared, Draft, Parts};
pub(crate) use facts::single;
pub use facts::{Fact, Facts};
pub(crate) use names::UniqueNames;
pub use release::Release;

use crate::read::ByteRange;
use crate::tensor::{DType, Dim, Tensor};

/// An inference program. Shown with `{}`, it is text with one line for each op.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) ops: Vec<Op>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<Output>,
    /// What is missing of the files with the weights, and what to do. The program can be inspected without them.
    pub(crate) missing_weights: Option<String>,
    /// What had to be decided while reading an op, for whoever runs the ONNX model.
    pub(crate) remarks: Vec<(Source, Cow<'static, str>)>,
    /// The weights that the file holds as int8 where the program declares float32.
    pub(crate) narrowed: Vec<ValueId>,
    /// Values that ops need not compute any more, since others hold the same with their axes in another order.
    pub(crate) transposed: Vec<Transposed>,
}

/// A value that is another one transposed.
#[derive(Debug, Clone)]
pub(crate) struct Transposed {
    pub value: ValueId,
    pub source: ValueId,
    /// The axes of the source, in the order in which the value has them.
    pub perm: Vec<usize>,
}

/// The number of a value in its [`Program`]. It has no meaning in another program: to look it up there may panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// A value: a tensor that is defined once.
#[derive(Debug, Clone)]
pub struct Value {
    /// The variable's name in Paddle; where the file names none, the layer and the op that make
    /// it. A variable that is written several times makes several values of one name. Constants may have no name, which
    /// is the empty string.
    pub name: String,
    /// The element type that the file declares.
    pub dtype: DType,
    /// The shape that the file declares, in which extents that a run sets are [`Dim::Symbol`] for inputs, and
    /// [`Dim::Unknown`] for results. [`Facts::shape`] has what is inferred.
    pub shape: Vec<Dim>,
    /// What defines it.
    pub origin: Origin,
}

/// What defines a value.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Given by the caller at each run.
    Input,
    /// A trained weight, whose elements stay in this part of a file.
    Parameter(ByteRange),
    /// A tensor that the program holds, or that simplification has computed.
    Constant(Tensor),
    /// Computed in each run: the result of an op, or an argument of a block.
    Result,
}

impl Origin {
    /// Whether the value is in the files or in the program, and the same in each run.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self, Origin::Parameter(_) | Origin::Constant(_))
    }
}

/// A value that a run returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The name by which callers know it.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// One op of a program.
#[derive(Debug, Clone)]
pub struct Op {
    /// Which op it is.
    pub kind: OpKind,
    /// Its operands, one for each that the definition lists ([`OpDef::operands`](crate::operator::OpDef::operands)),
    /// in the order of the PHI signature. Those of an op without a definition are described at [`OpKind::Unknown`].
    pub operands: Vec<Operand>,
    /// Its results, in the order of the PHI signature, without those that only training reads.
    pub results: Vec<ValueId>,
    /// Its attributes, by PHI name. What may be a tensor as well is not among them, but an operand.
    pub attrs: Attributes,
    /// The bodies of control flow. They may read every value that is defined before the op.
    pub blocks: Vec<Block>,
    /// The release of Paddle that wrote the program.
    pub release: Release,
    /// Where it stands in the file.
    pub source: Source,
}

impl Op {
    /// Calls `visit` with every value that the op reads: its operands, and what its blocks read and return. A value
    /// that is read several times is visited as often.
    pub(crate) fn each_read(&self, visit: &mut dyn FnMut(ValueId)) {
        let operands = self.operands.iter().flat_map(Operand::values);
        operands.for_each(|id| visit(*id));
        for block in &self.blocks {
            block.ops.iter().for_each(|op| op.each_read(visit));
            block.results.iter().for_each(|id| visit(*id));
        }
    }

    /// Calls `visit` with every value that the op reads, as [`Op::each_read`] does, to replace it.
    pub(crate) fn each_read_mut(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        for operand in &mut self.operands {
            operand.values_mut().iter_mut().for_each(&mut *visit);
        }
        self.blocks
            .iter_mut()
            .for_each(|block| block.each_read_mut(visit));
    }

    /// The ops in its blocks, each followed by those in its own.
    pub(crate) fn inner_ops(&self) -> impl Iterator<Item = &Op> {
        let inner = self.blocks.iter().flat_map(|block| &block.ops);
        let mut left: Vec<&Op> = inner.rev().collect();
        std::iter::from_fn(move || {
            let op = left.pop()?;
            let inner = op.blocks.iter().flat_map(|block| &block.ops);
            left.extend(inner.rev());
            Some(op)
        })
    }
}

/// A body of control flow: `if` has two, `while` one.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// The values that the body is given: for `while` those that are carried from one iteration to the next.
    pub arguments: Vec<ValueId>,
    /// The ops of the body, each after those whose results it uses.
    pub ops: Vec<Op>,
    /// The values that the body returns: for `while` the condition, then those that are carried on.
    pub results: Vec<ValueId>,
}

impl Block {
    /// Calls `visit` with every value that its ops read, and those that it returns, to replace it.
    pub(crate) fn each_read_mut(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        self.ops.iter_mut().for_each(|op| op.each_read_mut(visit));
        self.results.iter_mut().for_each(visit);
    }

    /// Makes all that reads `old` read `new` instead.
    pub(crate) fn replace(&mut self, old: ValueId, new: ValueId) {
        self.each_read_mut(&mut |value| {
            if *value == old {
                *value = new;
            }
        });
    }
}

/// Which op an [`Op`] is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// The op of this PHI name, which has a definition.
    Known(&'static str),
    /// An op without a definition, by its name in the file. If it is passed through, its operands stand in the order of
    /// the file; otherwise all tensors that it reads are one [`Operand::Many`].
    Unknown(String),
    /// An op that has a definition, but which a file spells in a way that its definition does not take. All tensors that
    /// it reads are one [`Operand::Many`], as far as they can be read.
    Refused {
        /// The PHI name.
        name: &'static str,
        /// What is not supported.
        reason: String,
    },
}

impl OpKind {
    /// The PHI name of the op, or its name in the file where it has no definition.
    pub fn name(&self) -> &str {
        match self {
            OpKind::Known(name) | OpKind::Refused { name, .. } => name,
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
    /// An operand of as many tensors as are given: absent, one, or a list.
    pub(crate) fn of(values: Vec<ValueId>) -> Self {
        match values.as_slice() {
            [] => Operand::Absent,
            [value] => Operand::One(*value),
            _ => Operand::Many(values),
        }
    }

    /// The values of this operand, in their order: none, one or several.
    pub fn values(&self) -> &[ValueId] {
        match self {
            Operand::Absent => &[],
            Operand::One(value) => std::slice::from_ref(value),
            Operand::Many(values) => values,
        }
    }

    /// The values of this operand, to replace them.
    pub(crate) fn values_mut(&mut self) -> &mut [ValueId] {
        match self {
            Operand::Absent => &mut [],
            Operand::One(value) => std::slice::from_mut(value),
            Operand::Many(values) => values,
        }
    }
}

/// Where an op stands in the file that it was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Its position among the ops of the file, from 0. Feeds and fetches count, as do parameters in PIR, where ops in
    /// blocks come right after the op that holds them.
    pub index: usize,
    /// Its name in the file, without the dialect `pd_op` of PIR.
    pub name: Arc<str>,
    /// The block that it stands in, such as ``block 2 of op 7 `while` ``, if it is not the main one. A `ProgramDesc`
    /// numbers its blocks; in PIR, those of each op count from 0.
    pub block: Option<Arc<str>>,
    /// The path of the layer that it belongs to, such as `/VisionTransformer/Block/Attention/`. None in `ProgramDesc`,
    /// which has none; empty in PIR where the op belongs to no layer.
    pub layer: Option<Arc<str>>,
    /// The first variable that it writes; in PIR, which has no variables, the layer and the name.
    pub output: Arc<str>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op {} `{}`", self.index, self.name)?;
        match &self.layer {
            Some(layer) if layer.is_empty() => {}
            Some(layer) => write!(f, " in {layer}")?,
            None if self.output.is_empty() => {}
            None => write!(f, " (writes `{}`)", self.output)?,
        }
        match &self.block {
            Some(block) => write!(f, ", in {block}"),
            None => Ok(()),
        }
    }
}

impl Source {
    /// The block of this number that the op holds, as [`Source::block`] has it for the ops inside.
    pub(crate) fn inner_block(&self, number: usize) -> Arc<str> {
        format!("block {number} of op {} `{}`", self.index, self.name).into()
    }
}

impl ValueId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The extent of the value along `axis`, which is known in a run alone.
    pub(crate) fn computed_extent(self, axis: u32) -> Dim {
        Dim::Computed {
            value: self.0,
            axis,
        }
    }

    /// The value and the axis whose extent `dim` is, if it is a [`Dim::Computed`].
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

    /// Every value with its id, in the order of the ids.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        (0..).map(ValueId).zip(&self.values)
    }

    /// The ops, each after those whose results it uses.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Every op of the program, each followed by those in its blocks.
    pub fn all_ops(&self) -> impl Iterator<Item = &Op> {
        let ops = self.ops.iter();
        ops.flat_map(|op| std::iter::once(op).chain(op.inner_ops()))
    }

    /// The inputs, in the order in which Paddle takes them.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs, in the order in which Paddle returns them.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The program with other declared shapes of its inputs: `shape` makes each from the present one.
    pub(crate) fn with_input_shapes(&self, shape: impl Fn(ValueId, &[Dim]) -> Vec<Dim>) -> Self {
        let mut program = self.clone();
        for id in &self.inputs {
            program.values[id.index()].shape = shape(*id, &self[*id].shape);
        }
        program
    }

    /// For every value, by its index, how often operands, blocks and outputs read it.
    pub(crate) fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        let mut count = |id: ValueId| counts[id.index()] += 1;
        self.ops.iter().for_each(|op| op.each_read(&mut count));
        self.outputs.iter().for_each(|output| count(output.value));
        counts
    }
}
