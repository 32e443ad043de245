//! Building a program op by op, with a variable's name standing for its latest value.

use std::collections::{BTreeMap, HashMap};

use super::variables::{Declared, Variables};
use crate::error::{Error, Result};
use crate::program::{Attr, Op, OpKind, Operand, Origin, Program, Source, Value, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// A program in the making.
pub(crate) struct Builder<'a> {
    pub(super) program: Program,
    pub(super) variables: &'a Variables<'a>,
    /// The latest value of each variable.
    current: HashMap<String, ValueId>,
    /// Variables written by an op whose definition does not compute them.
    not_computed: HashMap<String, String>,
    /// The op of the file that is being read.
    pub(super) source: Source,
}

/// An op that is about to be emitted.
pub(crate) struct Draft {
    pub kind: OpKind,
    pub operands: Vec<Operand>,
    /// The variables that it writes.
    pub results: Vec<String>,
    pub attrs: BTreeMap<String, Attr>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(variables: &'a Variables<'a>) -> Self {
        Self {
            program: Program::default(),
            variables,
            current: HashMap::new(),
            not_computed: HashMap::new(),
            source: Source {
                index: 0,
                name: String::new(),
                output: String::new(),
            },
        }
    }

    /// The latest value of a variable.
    ///
    /// # Errors
    /// When nothing has written it, or nothing here computes it.
    pub(super) fn read(&self, name: &str) -> Result<ValueId> {
        if let Some(id) = self.current.get(name) {
            return Ok(*id);
        }
        Err(match self.not_computed.get(name) {
            Some(source) => Error::unsupported(format!(
                "reads `{name}`, a side output of {source} that is not supported"
            )),
            None => Error::malformed(format!("reads `{name}` before anything writes it")),
        })
    }

    /// Makes a variable stand for a new value.
    pub(super) fn write(&mut self, name: &str, value: Value) -> ValueId {
        let id = self.program.add_value(value);
        self.not_computed.remove(name);
        self.current.insert(name.to_owned(), id);
        id
    }

    pub(super) fn mark_not_computed(&mut self, name: &str) {
        self.current.remove(name);
        self.not_computed
            .insert(name.to_owned(), self.source.to_string());
    }

    /// The declared type of a variable.
    ///
    /// # Errors
    /// When it is no dense tensor.
    pub fn declared(&self, name: &str) -> Result<(DType, Vec<Dim>)> {
        let Some(Declared { dtype, dims }) = self.variables.get(name)? else {
            return Err(Error::unsupported(format!(
                "writes `{name}`, which is not declared as a dense tensor"
            )));
        };
        Ok((dtype, dims.iter().map(|dim| declared_dim(*dim)).collect()))
    }

    pub fn dtype(&self, id: ValueId) -> DType {
        self.program[id].dtype
    }

    pub fn rank(&self, id: ValueId) -> usize {
        self.program[id].shape.len()
    }

    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.program[id].shape
    }

    /// A value that is known from the program.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.program.add_value(Value {
            name: String::new(),
            dtype: tensor.dtype(),
            shape: tensor.shape().iter().map(|dim| Dim::from(*dim)).collect(),
            origin: Origin::Constant(tensor),
        })
    }

    /// Emits an op that writes the program's variables.
    ///
    /// # Errors
    /// When it writes a variable that is no dense tensor.
    pub fn emit(&mut self, draft: Draft) -> Result<()> {
        let op = self.program.ops.len();
        let mut results = Vec::with_capacity(draft.results.len());
        for (index, name) in draft.results.iter().enumerate() {
            let (dtype, shape) = self.declared(name)?;
            let value = Value {
                name: name.clone(),
                dtype,
                shape,
                origin: Origin::Result { op, index },
            };
            results.push(self.write(name, value));
        }
        self.push(draft.kind, draft.operands, results, draft.attrs);
        Ok(())
    }

    /// Emits an op of which the file has no variable, and returns its result. The name of the
    /// result is that of the op's output in the file with the op's own name behind it.
    pub fn insert(
        &mut self,
        kind: &'static str,
        operands: Vec<Operand>,
        attrs: BTreeMap<String, Attr>,
        (dtype, shape): (DType, Vec<Dim>),
    ) -> ValueId {
        let origin = Origin::Result {
            op: self.program.ops.len(),
            index: 0,
        };
        let result = self.program.add_value(Value {
            name: format!("{}/{kind}", self.source.output),
            dtype,
            shape,
            origin,
        });
        self.push(OpKind::Known(kind), operands, vec![result], attrs);
        result
    }

    fn push(
        &mut self,
        kind: OpKind,
        operands: Vec<Operand>,
        results: Vec<ValueId>,
        attrs: BTreeMap<String, Attr>,
    ) {
        self.program.ops.push(Op {
            kind,
            operands,
            results,
            attrs,
            source: self.source.clone(),
        });
    }

    /// One int64 tensor of rank 1 from tensors with one element each.
    pub(super) fn pack(&mut self, parts: &[ValueId]) -> ValueId {
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
        if self.dtype(part) != DType::I64 {
            let ty = (DType::I64, self.shape(part).to_vec());
            let dtype = ("dtype".to_owned(), Attr::Int(DType::I64.paddle_code()));
            part = self.insert("cast", vec![Operand::One(part)], [dtype].into(), ty);
        }
        if self.rank(part) == 0 {
            let axes = Operand::One(self.constant(Tensor::vector(vec![0_i64])));
            let operands = vec![Operand::One(part), axes];
            let ty = (DType::I64, vec![Dim::Known(1)]);
            part = self.insert("unsqueeze", operands, BTreeMap::new(), ty);
        }
        part
    }
}

/// A declared extent: negative ones are set by a run.
fn declared_dim(extent: i64) -> Dim {
    if extent < 0 {
        Dim::Unknown
    } else {
        Dim::Known(extent)
    }
}
