//! A program under construction: values and ops are added in order.

use std::collections::{BTreeMap, HashMap};

use super::{Attr, Block, Op, OpKind, Operand, Origin, Program, Release, Source, Value, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// A program under construction.
///
/// A [`Rewrite`](crate::operator::Rewrite) gets it to emit ops in place of one that is read from a file. Every op that
/// is emitted gets the [`Source`] of that one.
pub struct Builder {
    pub(crate) program: Program,
    /// The op of the file that is being read.
    pub(crate) source: Source,
    /// The release of Paddle that wrote the program.
    pub(crate) release: Release,
    /// The blocks of control flow that are being read, the innermost last.
    pub(crate) open_blocks: Vec<Block>,
    /// The parts of the values that the file declares as complex.
    parts: HashMap<ValueId, Parts>,
}

/// A tensor of numbers that may be complex, as the program has it: a value for the real parts and, if they are not all
/// 0, another of the same type and shape for the imaginary ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The real parts.
    pub real: ValueId,
    /// The imaginary parts, if any of them may be other than 0.
    pub imag: Option<ValueId>,
}

/// An op that is about to be emitted.
pub struct Draft {
    /// Which op it is.
    pub kind: OpKind,
    /// Its operands, one for each of its definition, in that order.
    pub operands: Vec<Operand>,
    /// What the file declares of each result, in the order of the definition.
    pub results: Vec<Declared>,
    /// Its attributes, by PHI name.
    pub attrs: BTreeMap<String, Attr>,
}

/// What the file declares of a tensor.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The variable's name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape, in which extents that a run sets are [`Dim::Unknown`].
    pub shape: Vec<Dim>,
}

impl Declared {
    pub(crate) fn value(self, origin: Origin) -> Value {
        Value {
            name: self.name,
            dtype: self.dtype,
            shape: self.shape,
            origin,
        }
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            program: Program::default(),
            source: Source::default(),
            release: Release::NEWEST,
            open_blocks: Vec::new(),
            parts: HashMap::new(),
        }
    }

    /// Notes what had to be decided while reading the op, which is a clause in lower case.
    pub(crate) fn remark(&mut self, text: &'static str) {
        self.program
            .remarks
            .push((self.source.clone(), text.into()));
    }

    /// A builder that goes on with a program, whose ops it returns.
    pub(crate) fn reopened(mut program: Program) -> (Self, Vec<Op>) {
        let ops = std::mem::take(&mut program.ops);
        let builder = Self {
            program,
            ..Self::new()
        };
        (builder, ops)
    }

    /// The parts of a value, which is its own real part if it is real. None for a complex value whose parts are not
    /// known: an input, or the result of an op that is not supported.
    pub fn parts(&self, id: ValueId) -> Option<Parts> {
        if self.dtype(id).is_complex() {
            return self.parts.get(&id).copied();
        }
        Some(Parts {
            real: id,
            imag: None,
        })
    }

    /// Records the parts of a value that the file declares as complex.
    pub(crate) fn set_parts(&mut self, id: ValueId, parts: Parts) {
        self.parts.insert(id, parts);
    }

    /// What the file declares of a value.
    pub(crate) fn declared(&self, id: ValueId) -> Declared {
        let value = &self.program[id];
        Declared {
            name: value.name.clone(),
            dtype: value.dtype,
            shape: value.shape.clone(),
        }
    }

    /// Gives a value its name, if it was made later than the first `count` values.
    pub(crate) fn name_late(&mut self, id: ValueId, name: String, count: usize) {
        let late = self.program.values.get_mut(id.index());
        if let Some(value) = late.filter(|_| id.index() >= count) {
            value.name = name;
        }
    }

    /// Makes the declared type of a value complex.
    pub(crate) fn set_complex(&mut self, id: ValueId) {
        if let Some(value) = self.program.values.get_mut(id.index()) {
            value.dtype = value.dtype.complex();
        }
    }

    /// Inserts the real (0) or the imaginary (1) parts of the pairs along the last axis of `pairs`.
    pub fn part_of_pairs(&mut self, pairs: ValueId, part: i64) -> ValueId {
        let mut shape = self.shape(pairs).to_vec();
        shape.pop();
        let axis = self.constant(Tensor::scalar(-1_i64));
        let index = self.constant(Tensor::scalar(part));
        let operands = [pairs, index, axis].map(Operand::One);
        let ty = (self.dtype(pairs), shape);
        self.insert("gather", operands.into(), BTreeMap::new(), ty)
    }

    /// Zeros of the shape and the type of `x`: a constant if `x` is one, otherwise inserts an op.
    pub fn zeros_like(&mut self, x: ValueId) -> ValueId {
        if let Some(tensor) = self.constant_value(x) {
            let zeros = tensor.zeros();
            return self.constant(zeros);
        }
        let ty = (self.dtype(x), self.shape(x).to_vec());
        let zero = self.constant(Tensor::scalar(0.0_f64));
        let operands = vec![Operand::One(x), Operand::One(zero)];
        self.insert("full_like", operands, BTreeMap::new(), ty)
    }

    /// Adds the inputs in their order, and gives a [`Dim::Symbol`] to each extent that a run sets.
    pub(crate) fn define_inputs(&mut self, inputs: Vec<Declared>) -> Vec<ValueId> {
        let is_dynamic = |input: &&Declared| input.shape.first() == Some(&Dim::Unknown);
        let is_only_batch = inputs.iter().filter(is_dynamic).count() == 1;
        for mut input in inputs {
            for (axis, dim) in input.shape.iter_mut().enumerate() {
                if *dim != Dim::Unknown {
                    continue;
                }
                // Nothing says that two inputs have the same batch, so the symbol `batch` is given only where one
                // input alone has an open first axis.
                *dim = if axis == 0 && is_only_batch {
                    Dim::Symbol("batch".into())
                } else {
                    Dim::Symbol(format!("{}_dim{axis}", input.name).into())
                };
            }
            let id = self.program.add_value(input.value(Origin::Input));
            self.program.inputs.push(id);
        }
        self.program.inputs.clone()
    }

    /// Whether the program is from before Paddle 3, where some kernels compute something else.
    pub fn is_former(&self) -> bool {
        self.release.is_before(3, 0)
    }

    /// The element type of a value, as the file declares it.
    pub fn dtype(&self, id: ValueId) -> DType {
        self.program[id].dtype
    }

    /// The number of axes of a value, as the file declares it.
    pub fn rank(&self, id: ValueId) -> usize {
        self.program[id].shape.len()
    }

    /// The shape of a value, as the file declares it.
    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.program[id].shape
    }

    /// Makes the result `id` of an op that was inserted one that the file declares: it gets that one's name, element
    /// type and shape.
    pub fn adopt(&mut self, id: ValueId, declared: Declared) {
        if let Some(value) = self.program.values.get_mut(id.index()) {
            *value = declared.value(Origin::Result);
        }
    }

    /// The tensor of a value that is a constant. None for any other value.
    pub fn constant_value(&self, id: ValueId) -> Option<&Tensor> {
        match &self.program[id].origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Adds values for the arguments of a block.
    pub(crate) fn define_arguments(&mut self, arguments: Vec<Declared>) -> Vec<ValueId> {
        let arguments = arguments.into_iter();
        let values = arguments.map(|argument| argument.value(Origin::Result));
        values.map(|value| self.program.add_value(value)).collect()
    }

    /// Adds a constant without a name, and returns its value.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.named_constant(String::new(), tensor)
    }

    /// Adds a constant that the program names, and returns its value.
    pub fn named_constant(&mut self, name: String, tensor: Tensor) -> ValueId {
        self.program.add_value(Value {
            name,
            dtype: tensor.dtype(),
            shape: tensor.shape().iter().map(|dim| Dim::from(*dim)).collect(),
            origin: Origin::Constant(tensor),
        })
    }

    /// Adds an op, and returns the values of its results in the order of `draft.results`.
    pub fn emit(&mut self, draft: Draft) -> Vec<ValueId> {
        self.emit_with_blocks(draft, Vec::new())
    }

    /// Adds an op that holds blocks of control flow, as [`Builder::emit`] does.
    pub(crate) fn emit_with_blocks(&mut self, draft: Draft, blocks: Vec<Block>) -> Vec<ValueId> {
        let declared = draft.results.into_iter();
        let results: Vec<ValueId> = declared
            .map(|declared| self.program.add_value(declared.value(Origin::Result)))
            .collect();
        self.push(Op {
            kind: draft.kind,
            operands: draft.operands,
            results: results.clone(),
            attrs: draft.attrs.into(),
            blocks,
            release: self.release,
            source: self.source.clone(),
        });
        results
    }

    /// Adds an op that is not in the file and has one result, of this element type and shape, and returns that result.
    /// The result is named after the first output of the op that is being read, and after `kind`: `conv2d_0.tmp_0/add`.
    /// Extents that are not known here may be [`Dim::Unknown`]: inference finds them.
    pub fn insert(
        &mut self,
        kind: &'static str,
        operands: Vec<Operand>,
        attrs: BTreeMap<String, Attr>,
        (dtype, shape): (DType, Vec<Dim>),
    ) -> ValueId {
        let name = format!("{}/{kind}", self.source.output);
        let declared = Declared { name, dtype, shape };
        let result = self.program.add_value(declared.value(Origin::Result));
        self.push(Op {
            kind: OpKind::Known(kind),
            operands,
            results: vec![result],
            attrs: attrs.into(),
            blocks: Vec::new(),
            release: self.release,
            source: self.source.clone(),
        });
        result
    }

    fn push(&mut self, op: Op) {
        self.open_ops().push(op);
    }

    /// The ops of the block that is being read.
    pub(crate) fn open_ops(&mut self) -> &mut Vec<Op> {
        match self.open_blocks.last_mut() {
            Some(block) => &mut block.ops,
            None => &mut self.program.ops,
        }
    }

    /// The number of ops so far in the block that is being read.
    pub(crate) fn op_count(&mut self) -> usize {
        self.open_ops().len()
    }

    /// Drops the ops of the block that is being read, but for the first `count`.
    pub(crate) fn drop_ops_after(&mut self, count: usize) {
        self.open_ops().truncate(count);
    }

    /// One int64 tensor of rank 1 from integer tensors of one element each, by a `concat` where there are several.
    pub(crate) fn pack(&mut self, parts: &[ValueId]) -> ValueId {
        let parts: Vec<ValueId> = parts
            .iter()
            .map(|part| self.as_int64_vector(*part))
            .collect();
        if let [only] = parts.as_slice() {
            return *only;
        }
        let axis = self.constant(Tensor::scalar(0_i64));
        let ty = (DType::I64, vec![Dim::from(parts.len())]);
        let operands = vec![Operand::Many(parts), Operand::One(axis)];
        self.insert("concat", operands, BTreeMap::new(), ty)
    }

    fn as_int64_vector(&mut self, mut part: ValueId) -> ValueId {
        if let Some(constant) = self.constant_value(part) {
            let elements = constant.to_i64_vec();
            return self.constant(Tensor::vector(elements));
        }
        if self.dtype(part) != DType::I64 {
            let ty = (DType::I64, self.program[part].shape.clone());
            let dtype = ("dtype".to_owned(), Attr::Int(DType::I64.paddle_code()));
            part = self.insert("cast", vec![Operand::One(part)], [dtype].into(), ty);
        }
        // The declared rank can't be relied on: an op may give rank 1 before Paddle 2.5, and rank 0 since.
        let shape = Operand::One(self.constant(Tensor::vector(vec![1_i64])));
        let ty = (DType::I64, vec![Dim::Known(1)]);
        self.insert(
            "reshape",
            vec![Operand::One(part), shape],
            BTreeMap::new(),
            ty,
        )
    }
}

/// An extent as a file declares it, where a negative number stands for an extent that a run sets.
pub(crate) fn declared_dim(extent: i64) -> Dim {
    if extent < 0 {
        Dim::Unknown
    } else {
        Dim::Known(extent)
    }
}
