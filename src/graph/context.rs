//! What ops use to emit nodes.

use std::collections::HashMap;
use std::ops::Deref;

use super::nodes::{Graph, Kind, Node, NodeAttr, TensorId};
use crate::error::{Error, Result};
use crate::program::{Facts, Op, Origin, ValueId};
use crate::tensor::{DType, Dim, Tensor};

/// Emits the nodes of one op after the other. Dereferences to what is known of the values.
pub(crate) struct Lowering<'p> {
    pub(super) facts: &'p Facts<'p>,
    pub(super) opset: u32,
    pub(super) graph: Graph,
    /// The tensor that holds each value.
    pub(super) tensors: HashMap<ValueId, TensorId>,
    /// The vectors that hold open extents, by what they hold.
    pub(super) extents: HashMap<Vec<Dim>, TensorId>,
    /// What the names of nodes begin with: the layer, or else the variable that the op writes.
    label: String,
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
            tensors: HashMap::new(),
            extents: HashMap::new(),
            label: String::new(),
        };
        for id in facts.program().inputs() {
            let tensor = lowering.graph.tensor(Kind::Input(*id));
            lowering.tensors.insert(*id, tensor);
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
            self.tensors.insert(*value, tensor);
        }
        Ok(())
    }

    /// Gives the results of an op that can't be lowered tensors all the same, so that those which
    /// read them can be.
    pub(crate) fn skip(&mut self, op: &Op) {
        for value in &op.results {
            let tensor = self.graph.tensor(Kind::Node);
            self.tensors.insert(*value, tensor);
        }
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
        if let Some(tensor) = self.tensors.get(&id) {
            return Ok(*tensor);
        }
        let tensor = match &self.program()[id].origin {
            Origin::Parameter(_) => self.graph.tensor(Kind::Parameter(id)),
            Origin::Constant(tensor) => self.graph.constant(tensor.clone()),
            Origin::Input | Origin::Result => {
                return Err(Error::internal("a value is used before it is lowered"));
            }
        };
        self.tensors.insert(id, tensor);
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
        let outputs: Vec<TensorId> = (0..outputs)
            .map(|_| self.graph.tensor(Kind::Node))
            .collect();
        self.graph.nodes.push(Node {
            op_type,
            inputs,
            outputs: outputs.clone(),
            attrs: attrs.into_iter().collect(),
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
