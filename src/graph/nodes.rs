//! The ONNX graph while it grows: tensors by number, nodes in order.

use std::collections::HashMap;

use crate::program::ValueId;
use crate::tensor::{DType, Tensor};

/// Names one tensor of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TensorId(u32);

impl TensorId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What makes a tensor.
#[derive(Debug)]
pub(super) enum Kind {
    /// Given at each run.
    Input(ValueId),
    /// A weight, in its file.
    Parameter(ValueId),
    /// A constant.
    Constant(Tensor),
    /// A node.
    Node,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub op_type: &'static str,
    /// Absent ones are optional inputs that are not given.
    pub inputs: Vec<Option<TensorId>>,
    pub outputs: Vec<TensorId>,
    pub attrs: Vec<(&'static str, NodeAttr)>,
    /// What the node's name starts with: the result of the op that it comes from.
    pub label: String,
}

/// The value of a node's attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeAttr {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    /// One of ONNX's keywords.
    String(&'static str),
    /// A string from the program, such as an equation.
    Text(String),
}

/// Tensors and nodes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub tensors: Vec<Kind>,
    pub nodes: Vec<Node>,
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), TensorId>,
}

impl Graph {
    pub fn tensor(&mut self, kind: Kind) -> TensorId {
        let id = TensorId(u32::try_from(self.tensors.len()).expect("fewer than 2^32 tensors"));
        self.tensors.push(kind);
        id
    }

    /// A constant. Those that are equal to the bit are shared.
    pub fn constant(&mut self, tensor: Tensor) -> TensorId {
        let key = (
            tensor.dtype(),
            tensor.shape().to_vec(),
            tensor.to_le_bytes(),
        );
        if let Some(id) = self.constants.get(&key) {
            return *id;
        }
        let id = self.tensor(Kind::Constant(tensor));
        self.constants.insert(key, id);
        id
    }
}
