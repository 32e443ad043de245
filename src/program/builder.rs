//! Building a program op by op.

use std::collections::BTreeMap;

use super::{Attr, Block, Op, OpKind, Operand, Origin, Program, Source, Value, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// A program while it is built.
pub struct Builder {
    pub(crate) program: Program,
    /// The op of the file that is being read.
    pub(crate) source: Source,
    /// The sub-blocks that are being read, the innermost last.
    pub(crate) open_blocks: Vec<Block>,
}

/// An op that is about to be emitted.
pub struct Draft {
    /// What it does.
    pub kind: OpKind,
    /// Its operands, in the order of its definition.
    pub operands: Vec<Operand>,
    /// What the file says of its results.
    pub results: Vec<Declared>,
    /// Its attributes, by PHI name.
    pub attrs: BTreeMap<String, Attr>,
}

/// What the file says of a tensor.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The variable's name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape.
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
            open_blocks: Vec::new(),
        }
    }

    /// Adds the inputs in their order, and names their dynamic dimensions.
    pub(crate) fn define_inputs(&mut self, inputs: Vec<Declared>) -> Vec<ValueId> {
        let is_dynamic = |input: &&Declared| input.shape.first() == Some(&Dim::Unknown);
        let is_only_batch = inputs.iter().filter(is_dynamic).count() == 1;
        for mut input in inputs {
            for (axis, dim) in input.shape.iter_mut().enumerate() {
                if *dim != Dim::Unknown {
                    continue;
                }
                // Nothing says that two inputs share their batch, so only a single one is called
                // so.
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

    /// The element type that the file declares.
    pub fn dtype(&self, id: ValueId) -> DType {
        self.program[id].dtype
    }

    /// The number of axes that the file declares.
    pub fn rank(&self, id: ValueId) -> usize {
        self.program[id].shape.len()
    }

    /// The shape that the file declares.
    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.program[id].shape
    }

    /// Lets the result of an inserted op stand for one that the file declares.
    pub fn adopt(&mut self, id: ValueId, declared: Declared) {
        if let Some(value) = self.program.values.get_mut(id.index()) {
            *value = declared.value(Origin::Result);
        }
    }

    /// The constant behind a value, if it is one.
    pub fn constant_value(&self, id: ValueId) -> Option<&Tensor> {
        match &self.program[id].origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Adds the arguments of a block.
    pub(crate) fn define_arguments(&mut self, arguments: Vec<Declared>) -> Vec<ValueId> {
        let arguments = arguments.into_iter();
        let values = arguments.map(|argument| argument.value(Origin::Result));
        values.map(|value| self.program.add_value(value)).collect()
    }

    /// A value that is known from the program.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.named_constant(String::new(), tensor)
    }

    /// A value that is known from the program and has a name there.
    pub fn named_constant(&mut self, name: String, tensor: Tensor) -> ValueId {
        self.program.add_value(Value {
            name,
            dtype: tensor.dtype(),
            shape: tensor.shape().iter().map(|dim| Dim::from(*dim)).collect(),
            origin: Origin::Constant(tensor),
        })
    }

    /// Emits an op and returns its results.
    pub fn emit(&mut self, draft: Draft) -> Vec<ValueId> {
        self.emit_with_blocks(draft, Vec::new())
    }

    /// Emits an op that holds sub-blocks.
    pub(crate) fn emit_with_blocks(&mut self, draft: Draft, blocks: Vec<Block>) -> Vec<ValueId> {
        let declared = draft.results.into_iter();
        let results: Vec<ValueId> = declared
            .map(|declared| self.program.add_value(declared.value(Origin::Result)))
            .collect();
        self.push(Op {
            kind: draft.kind,
            operands: draft.operands,
            results: results.clone(),
            attrs: draft.attrs,
            blocks,
            source: self.source.clone(),
        });
        results
    }

    /// Emits an op with one result of which the file knows nothing, and returns that. Its name is
    /// that of the op's output in the file with the op's own name behind it.
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
            attrs,
            blocks: Vec::new(),
            source: self.source.clone(),
        });
        result
    }

    fn push(&mut self, op: Op) {
        match self.open_blocks.last_mut() {
            Some(block) => block.ops.push(op),
            None => self.program.ops.push(op),
        }
    }

    /// One int64 tensor of rank 1 from tensors with one element each.
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
        // Whatever rank is declared: the same op gives one axis before Paddle 2.5, and none since.
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

/// A declared extent: negative ones are set by a run.
pub(crate) fn declared_dim(extent: i64) -> Dim {
    if extent < 0 {
        Dim::Unknown
    } else {
        Dim::Known(extent)
    }
}
