//! [`Lowering`]: the tensors that hold the program's values, and the nodes that every opset spells alike.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;

use super::nodes::{Graph, Kind, Node, NodeAttr, TensorId};
use super::notes::Pending;
use crate::error::{Error, Result};
use crate::program::{Facts, Op, Origin, Source, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// The ONNX graph under construction, to which one op after the other adds its nodes. It dereferences to [`Facts`]:
/// what is known of the program's values.
///
/// Its methods emit nodes, and return the tensors that these make. Neither shapes nor element types are checked, except
/// where a method says so. Nodes that no output needs are dropped in the end, so a tensor may be made and left unread.
/// An operator that not all of [`OPSETS`](super::OPSETS) have must be emitted by the method that spells it for each
/// opset, if there is one, or after [`Lowering::require_opset`].
pub struct Lowering<'p> {
    pub(super) facts: &'p Facts<'p>,
    pub(super) opset: u32,
    pub(super) graph: Graph,
    /// The tensors that can be read at this place: those of the graph, and of each body that is under construction, the
    /// innermost last.
    pub(super) scopes: Vec<Scope>,
    /// The values that bodies made, with their tensors, which can't be read any more.
    pub(super) closed: Vec<(ValueId, TensorId)>,
    /// What the names of nodes begin with: the layer of the op, or else the name of its first result.
    label: String,
    /// The op that is being lowered, and how many tensors there were before it.
    pub(super) source: Source,
    pub(super) op_start: usize,
    pub(super) notes: Vec<Pending>,
}

/// The tensors of the graph, or of one body inside of it, by what they hold.
#[derive(Default)]
pub(super) struct Scope {
    /// For each value of the program, the tensor that holds it.
    pub tensors: HashMap<ValueId, TensorId>,
    /// For extents that were needed as a tensor, the int64 vector that holds them.
    pub extents: HashMap<Vec<Dim>, TensorId>,
}

impl<'p> Deref for Lowering<'p> {
    type Target = Facts<'p>;

    fn deref(&self) -> &Facts<'p> {
        self.facts
    }
}

impl<'p> Lowering<'p> {
    pub(crate) fn new(facts: &'p Facts<'p>, opset: u32) -> Self {
        let mut lowering = Self {
            facts,
            opset,
            graph: Graph::default(),
            scopes: vec![Scope::default()],
            closed: Vec::new(),
            label: String::new(),
            source: Source::default(),
            op_start: 0,
            notes: Vec::new(),
        };
        for id in facts.program().inputs() {
            let tensor = lowering.graph.tensor(Kind::Input(*id));
            lowering.bind(*id, tensor);
        }
        lowering
    }

    /// Lowers one op by `emit`, which emits its nodes and returns the tensors that hold its results. It may lower the
    /// ops of its blocks meanwhile, each into a body.
    ///
    /// # Errors
    /// Those of `emit`, and when it has emitted a node that the opset does not have.
    pub(crate) fn op(
        &mut self,
        op: &Op,
        emit: impl FnOnce(&mut Self) -> Result<Vec<TensorId>>,
    ) -> Result<()> {
        let outer = self.enter(op);
        let start = self.graph.nodes.len();
        let results = emit(self).and_then(|results| {
            let emitted = self.graph.nodes.split_off(start);
            let fitted = self.fitted(emitted)?;
            let spelled = self.spelled(fitted)?;
            self.refuse_newer(&spelled)?;
            self.graph.nodes.extend(spelled);
            Ok(results)
        });
        if results.is_err() {
            // Or the op whose block it is in would be refused for its nodes as well.
            self.graph.nodes.truncate(start);
        }
        self.end_notes();
        (self.source, self.op_start, self.label) = outer;
        let results = results.map_err(|e| e.at_op(&op.source))?;
        for (value, tensor) in op.results.iter().zip(results) {
            self.bind(*value, tensor);
        }
        Ok(())
    }

    /// Makes a tensor for each result of an op that can't be lowered, so that the ops which read them can be.
    pub(crate) fn skip(&mut self, op: &Op) {
        for value in &op.results {
            let tensor = self.graph.tensor(Kind::Node);
            self.bind(*value, tensor);
        }
    }

    /// The innermost scope.
    pub(super) fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the graph is a scope")
    }

    /// Records in the innermost scope that a tensor holds a value.
    pub(crate) fn bind(&mut self, id: ValueId, tensor: TensorId) {
        if matches!(self.graph.tensors[tensor.index()], Kind::Node) {
            let dtype = self.dtype(id);
            let known = *self.graph.node_types.entry(tensor).or_insert(dtype);
            debug_assert_eq!(known, dtype, "the type of {}", self.program()[id].name);
        }
        self.scope().tensors.insert(id, tensor);
    }

    /// The tensor that holds a value, if one was made that can be read at this place.
    pub(super) fn bound(&self, id: ValueId) -> Option<TensorId> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.tensors.get(&id).copied())
    }

    /// Labels the nodes to come with an op, and returns what they were labelled with before.
    fn enter(&mut self, op: &Op) -> (Source, usize, String) {
        let label = match (&op.source.layer, op.results.first()) {
            (Some(layer), _) => layer.trim_end_matches('/').to_owned(),
            (None, Some(id)) if !self.program()[*id].name.is_empty() => {
                self.program()[*id].name.clone()
            }
            (None, _) => op.source.output.to_string(),
        };
        (
            std::mem::replace(&mut self.source, op.source.clone()),
            std::mem::replace(&mut self.op_start, self.graph.tensors.len()),
            std::mem::replace(&mut self.label, label),
        )
    }

    /// The tensor that holds a value of the program, in the element type and shape that [`Facts`] knows of it.
    ///
    /// # Errors
    /// When the value is the result of an op that is not lowered yet, which is a defect of the caller.
    pub fn value(&mut self, id: ValueId) -> Result<TensorId> {
        if let Some(tensor) = self.bound(id) {
            return Ok(tensor);
        }
        let tensor = match &self.program()[id].origin {
            Origin::Parameter(_) => self.graph.tensor(Kind::Parameter(id)),
            Origin::Constant(tensor) => self.graph.constant(tensor.clone()),
            Origin::Input | Origin::Result => {
                return Err(Error::internal("a value is used before it is lowered"));
            }
        };
        // Weights and constants belong to the graph, even if a body is the first to read them.
        self.scopes[0].tensors.insert(id, tensor);
        Ok(tensor)
    }

    /// Emits the operator `op_type` of ONNX's own domain with these inputs and one output, which is returned.
    pub fn node(
        &mut self,
        op_type: &'static str,
        inputs: &[TensorId],
        attrs: impl IntoIterator<Item = (&'static str, NodeAttr)>,
    ) -> TensorId {
        let inputs = inputs.iter().copied().map(Some).collect();
        self.node_with_outputs(op_type, inputs, attrs, 1)[0]
    }

    /// Emits the operator `op_type` of ONNX's own domain with this number of outputs, which are returned. None among
    /// the inputs is an optional input that is not given.
    pub fn node_with_outputs(
        &mut self,
        op_type: &'static str,
        inputs: Vec<Option<TensorId>>,
        attrs: impl IntoIterator<Item = (&'static str, NodeAttr)>,
        outputs: usize,
    ) -> Vec<TensorId> {
        let attrs = attrs.into_iter();
        let attrs = attrs.map(|(name, attr)| (Cow::Borrowed(name), attr));
        self.push(
            ("".into(), op_type.into()),
            inputs,
            attrs.collect(),
            outputs,
        )
    }

    /// Emits the operator `op_type` of a `domain` other than ONNX's own, with this number of outputs, which are
    /// returned. The model imports version 1 of the domain. None among the inputs is an optional input that is not
    /// given.
    pub fn custom_node(
        &mut self,
        (domain, op_type): (&str, &str),
        inputs: Vec<Option<TensorId>>,
        attrs: impl IntoIterator<Item = (String, NodeAttr)>,
        outputs: usize,
    ) -> Vec<TensorId> {
        let attrs = attrs.into_iter();
        let attrs = attrs.map(|(name, attr)| (Cow::Owned(name), attr));
        let operator = (domain.to_owned().into(), op_type.to_owned().into());
        self.push(operator, inputs, attrs.collect(), outputs)
    }

    fn push(
        &mut self,
        (domain, op_type): (Cow<'static, str>, Cow<'static, str>),
        inputs: Vec<Option<TensorId>>,
        attrs: Vec<(Cow<'static, str>, NodeAttr)>,
        outputs: usize,
    ) -> Vec<TensorId> {
        let outputs: Vec<TensorId> = (0..outputs)
            .map(|_| self.graph.tensor(Kind::Node))
            .collect();
        self.graph.nodes.push(Node {
            domain,
            op_type,
            inputs,
            outputs: outputs.clone(),
            attrs,
            label: self.label.clone(),
            is_fitted: false,
        });
        outputs
    }

    /// A constant, which becomes an initializer. Constants that are equal to the bit are one tensor.
    pub fn constant(&mut self, tensor: Tensor) -> TensorId {
        self.graph.constant(tensor)
    }

    /// The constant that a tensor is.
    pub(super) fn constant_of(&self, tensor: TensorId) -> Option<&Tensor> {
        match &self.graph.tensors[tensor.index()] {
            Kind::Constant(constant) => Some(constant),
            _ => None,
        }
    }

    /// A constant int64 tensor of rank 1.
    pub fn vector(&mut self, elements: &[i64]) -> TensorId {
        self.constant(Tensor::vector(elements.to_vec()))
    }

    /// A constant of rank 0: `value` in the element type `dtype`, converted as by a C cast.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> TensorId {
        self.constant(Tensor::scalar_of(dtype, value))
    }

    /// Emits Cast of `x` from the element type `from` to the element type `to`. Returns `x` itself if these are equal, and
    /// an initializer for constants and weights of float32 that are cast to half precision.
    pub fn cast(&mut self, x: TensorId, from: DType, to: DType) -> TensorId {
        if from == to {
            return x;
        }
        if let Some(stored) = self.stored_in_half(x, to) {
            return stored;
        }
        self.node("Cast", &[x], [("to", NodeAttr::Int(to.onnx_code().into()))])
    }

    /// Emits Transpose: axis `i` of the result is the axis `perm[i]` of `x`. Returns `x` itself if no axis moves.
    pub fn transpose(&mut self, x: TensorId, perm: &[usize]) -> TensorId {
        if perm.iter().copied().eq(0..perm.len()) {
            return x;
        }
        let perm = perm.iter().map(|axis| *axis as i64).collect();
        self.node("Transpose", &[x], [("perm", NodeAttr::Ints(perm))])
    }

    /// Emits Concat of one or more tensors along an existing axis, which counts from the end if it is negative. Returns
    /// a single tensor as it is.
    pub fn concat(&mut self, tensors: &[TensorId], axis: i64) -> TensorId {
        match tensors {
            [only] => *only,
            _ => self.node("Concat", tensors, [("axis", NodeAttr::Int(axis))]),
        }
    }

    /// Emits Slice: the elements `start..end` of `x` along `axis`. Negative bounds count from the end, and bounds that
    /// lie outside of the extent are clipped to it.
    pub fn slice(&mut self, x: TensorId, start: i64, end: i64, axis: i64) -> TensorId {
        let (starts, ends) = (self.vector(&[start]), self.vector(&[end]));
        let axes = self.vector(&[axis]);
        self.node("Slice", &[x, starts, ends, axes], [])
    }
}
