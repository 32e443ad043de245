//! What ops use to emit nodes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;

use super::nodes::{Graph, Kind, Node, NodeAttr, TensorId};
use crate::error::{Error, Result};
use crate::program::{Facts, Op, Origin, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// Emits the nodes of one op after the other. Dereferences to what is known of the values.
pub struct Lowering<'p> {
    pub(super) facts: &'p Facts<'p>,
    pub(super) opset: u32,
    pub(super) graph: Graph,
    /// What is visible at this place: in the graph, and in each body that is under construction, the innermost last.
    pub(super) scopes: Vec<Scope>,
    /// What the names of nodes begin with: the layer, or else the variable that the op writes.
    label: String,
}

/// The tensors that are there in the graph, or in one body inside of it.
#[derive(Default)]
pub(super) struct Scope {
    /// The tensor that holds each value.
    pub tensors: HashMap<ValueId, TensorId>,
    /// The vectors that hold open extents, by what they hold.
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
            label: String::new(),
        };
        for id in facts.program().inputs() {
            let tensor = lowering.graph.tensor(Kind::Input(*id));
            lowering.bind(*id, tensor);
        }
        lowering
    }

    /// Lowers one op by `emit`, which emits its nodes and returns the tensors that hold its results.
    ///
    /// # Errors
    /// When ONNX can't express it, or not in this opset.
    pub(crate) fn op(
        &mut self,
        op: &Op,
        emit: impl FnOnce(&mut Self) -> Result<Vec<TensorId>>,
    ) -> Result<()> {
        self.enter(op);
        let start = self.graph.nodes.len();
        let results = emit(self).and_then(|results| {
            self.refuse_newer_nodes(start)?;
            Ok(results)
        });
        let results = results.map_err(|e| e.at_op(&op.source))?;
        for (value, tensor) in op.results.iter().zip(results) {
            self.bind(*value, tensor);
        }
        Ok(())
    }

    /// Gives the results of an op that can't be lowered tensors all the same, so that those which
    /// read them can be.
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

    /// Makes a tensor hold a value.
    pub(super) fn bind(&mut self, id: ValueId, tensor: TensorId) {
        self.scope().tensors.insert(id, tensor);
    }

    /// The tensor that holds a value, if there is one by now.
    pub(super) fn bound(&self, id: ValueId) -> Option<TensorId> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.tensors.get(&id).copied())
    }

    /// Starts on an op.
    fn enter(&mut self, op: &Op) {
        self.label = match (&op.source.layer, op.results.first()) {
            (Some(layer), _) => layer.trim_end_matches('/').to_owned(),
            (None, Some(id)) => self.program()[*id].name.clone(),
            (None, None) => String::new(),
        };
    }

    /// The tensor that holds a value.
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
        // Weights and constants are the graph's, whichever body reads them first.
        self.scopes[0].tensors.insert(id, tensor);
        Ok(tensor)
    }

    /// Emits a node with one output.
    pub fn node(
        &mut self,
        op_type: &'static str,
        inputs: &[TensorId],
        attrs: impl IntoIterator<Item = (&'static str, NodeAttr)>,
    ) -> TensorId {
        let inputs = inputs.iter().copied().map(Some).collect();
        self.node_with_outputs(op_type, inputs, attrs, 1)[0]
    }

    /// Emits a node with optional inputs and several outputs.
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

    /// Emits a node of another domain than ONNX's own, of which the model then imports version 1.
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
        });
        outputs
    }

    /// A constant tensor.
    pub fn constant(&mut self, tensor: Tensor) -> TensorId {
        self.graph.constant(tensor)
    }

    /// A constant int64 vector.
    pub fn vector(&mut self, elements: &[i64]) -> TensorId {
        self.constant(Tensor::vector(elements.to_vec()))
    }

    /// A constant of rank 0.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> TensorId {
        self.constant(Tensor::scalar_of(dtype, value))
    }

    /// The tensor converted to `dtype`.
    pub fn cast(&mut self, x: TensorId, from: DType, to: DType) -> TensorId {
        if from == to {
            return x;
        }
        self.node("Cast", &[x], [("to", NodeAttr::Int(to.onnx_code().into()))])
    }

    /// The tensor with its axes in another order.
    pub fn transpose(&mut self, x: TensorId, perm: &[usize]) -> TensorId {
        if perm.iter().copied().eq(0..perm.len()) {
            return x;
        }
        let perm = perm.iter().map(|axis| *axis as i64).collect();
        self.node("Transpose", &[x], [("perm", NodeAttr::Ints(perm))])
    }

    /// The tensors joined along an existing axis.
    pub fn concat(&mut self, tensors: &[TensorId], axis: i64) -> TensorId {
        match tensors {
            [only] => *only,
            _ => self.node("Concat", tensors, [("axis", NodeAttr::Int(axis))]),
        }
    }

    /// The elements `start..end` along one axis; negative positions count from the end.
    pub fn slice(&mut self, x: TensorId, start: i64, end: i64, axis: i64) -> TensorId {
        let (starts, ends) = (self.vector(&[start]), self.vector(&[end]));
        let axes = self.vector(&[axis]);
        self.node("Slice", &[x, starts, ends, axes], [])
    }
}
