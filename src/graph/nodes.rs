//! The ONNX graph while it grows: tensors by number, nodes in order, and bodies inside of nodes.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::program::ValueId;
use crate::tensor::{DType, Tensor};

/// Names one tensor of the graph, or of a body inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u32);

impl TensorId {
    pub(super) fn index(self) -> usize {
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
    /// A node, or the caller of the body that it goes into.
    Node,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Empty for ONNX's own operators.
    pub domain: Cow<'static, str>,
    pub op_type: Cow<'static, str>,
    /// Absent ones are optional inputs that are not given.
    pub inputs: Vec<Option<TensorId>>,
    pub outputs: Vec<TensorId>,
    pub attrs: Vec<(Cow<'static, str>, NodeAttr)>,
    /// What the node's name starts with: the result of the op that it comes from.
    pub label: String,
}

impl Node {
    /// The graphs among its attributes.
    pub fn bodies(&self) -> impl Iterator<Item = &Body> {
        self.attrs.iter().filter_map(|(_, attr)| match attr {
            NodeAttr::Graph(body) => Some(body),
            _ => None,
        })
    }

    pub fn bodies_mut(&mut self) -> impl Iterator<Item = &mut Body> {
        self.attrs.iter_mut().filter_map(|(_, attr)| match attr {
            NodeAttr::Graph(body) => Some(body),
            _ => None,
        })
    }

    /// Calls `visit` for the node, and then for those in its bodies.
    pub fn visit<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        visit(self);
        for body in self.bodies() {
            body.nodes.iter().for_each(|node| node.visit(visit));
        }
    }
}

/// Nodes with what goes in and what comes out of them: a branch of `If`, what a `Loop` repeats, or what a model
/// function stands for. A branch or a loop may read every tensor that was there before its node as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub(super) inputs: Vec<TensorId>,
    pub(super) nodes: Vec<Node>,
    pub(super) outputs: Vec<TensorId>,
}

/// The value of a node's attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeAttr {
    /// An integer, or a bool as 0 or 1.
    Int(i64),
    /// A number.
    Float(f32),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of numbers.
    Floats(Vec<f32>),
    /// One of ONNX's keywords.
    String(&'static str),
    /// A string from the program, such as an equation.
    Text(String),
    /// A list of strings from the program.
    Texts(Vec<String>),
    /// A tensor, as a Constant has.
    Tensor(Tensor),
    /// A graph, as the branches of `If` are.
    Graph(Body),
}

/// An ONNX model function: an operator that the model itself defines.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub domain: String,
    pub name: String,
    pub body: Body,
}

/// Tensors and nodes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub tensors: Vec<Kind>,
    /// The nodes of the body that is under construction, or of the graph itself outside of any.
    pub nodes: Vec<Node>,
    pub functions: Vec<Function>,
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
