//! The ONNX graph while it grows: tensors by number, nodes in order, and bodies inside of nodes.

use std::borrow::Cow;
use std::collections::HashMap;

use super::integers::Mapping;
use super::rows::Rows;
use crate::program::{Fact, ValueId};
use crate::read::ByteRange;
use crate::tensor::{DType, Tensor};

/// The number of a tensor in the graph under construction, or in a body inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u32);

impl TensorId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a tensor comes from.
#[derive(Debug)]
pub(super) enum Kind {
    /// An input of the graph, which holds this value of the program.
    Input(ValueId),
    /// A weight, which stays in its file.
    Parameter(ValueId),
    /// Rows of weights, one behind the other, which stay in their files.
    Rows {
        dtype: DType,
        dims: Vec<i64>,
        ranges: Vec<ByteRange>,
    },
    /// A weight, which stays in its file, and each of whose elements becomes another.
    Mapped {
        value: ValueId,
        range: ByteRange,
        mapping: Mapping,
    },
    /// A constant.
    Constant(Tensor),
    /// An output of a node, or an input of a body.
    Node,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Empty for ONNX's own operators.
    pub domain: Cow<'static, str>,
    pub op_type: Cow<'static, str>,
    /// The inputs by position; None is an optional input that is not given.
    pub inputs: Vec<Option<TensorId>>,
    pub outputs: Vec<TensorId>,
    pub attrs: Vec<(Cow<'static, str>, NodeAttr)>,
    /// What the node's name starts with: the layer of the op that it comes from, or the name of the op's first result.
    pub label: String,
    /// Whether its operator takes the types that it is given, as `types` sees to.
    pub is_fitted: bool,
}

impl Node {
    /// The bodies among the node's attributes.
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

/// A graph inside of a node, with its inputs and outputs: a branch of If, the body of a Loop, or that of a model
/// function. [`Lowering::body`](super::Lowering::body) builds one. Branches and loops may also read every tensor that
/// was made before their node; functions may not.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub(super) inputs: Vec<TensorId>,
    /// What is known of each input; none if that is left to the inference of readers.
    pub(super) given: Vec<Fact>,
    pub(super) nodes: Vec<Node>,
    pub(super) outputs: Vec<TensorId>,
}

impl Body {
    /// The same body, with what is known of each input. ONNX Runtime has to be told those of Loop.
    pub fn given(mut self, facts: Vec<Fact>) -> Self {
        self.given = facts;
        self
    }

    /// The number of its outputs.
    pub fn output_count(&self) -> usize {
        self.outputs.len()
    }
}

/// The value of a node's attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeAttr {
    /// An int64, or a bool as 0 or 1.
    Int(i64),
    /// A float32.
    Float(f32),
    /// A list of int64.
    Ints(Vec<i64>),
    /// A list of float32.
    Floats(Vec<f32>),
    /// A string that the operator's definition has, such as the mode `linear` of Resize.
    String(&'static str),
    /// A string that is made from the program, such as the equation of an Einsum.
    Text(String),
    /// A list of strings that are made from the program.
    Texts(Vec<String>),
    /// A tensor, such as the value of a Constant.
    Tensor(Tensor),
    /// A graph, such as a branch of If.
    Graph(Body),
}

/// An ONNX model function: an operator that the model itself defines.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub domain: String,
    pub name: String,
    pub body: Body,
}

/// The tensors, nodes and model functions that were emitted so far.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub tensors: Vec<Kind>,
    /// The nodes of the body that is under construction, or of the graph itself outside of any.
    pub nodes: Vec<Node>,
    pub functions: Vec<Function>,
    /// The element types of the tensors that nodes make, where they are known.
    pub node_types: HashMap<TensorId, DType>,
    /// For tensors of whole numbers in float32, the int8 tensors that hold the same.
    pub int8: HashMap<TensorId, TensorId>,
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), TensorId>,
    /// The tensors of kind [`Kind::Rows`], by what they are made of.
    pub rows: HashMap<(Vec<Rows>, Vec<i64>), TensorId>,
}

impl Graph {
    pub fn tensor(&mut self, kind: Kind) -> TensorId {
        let id = TensorId(u32::try_from(self.tensors.len()).expect("fewer than 2^32 tensors"));
        self.tensors.push(kind);
        id
    }

    /// The tensor of a constant. Constants that are equal to the bit share one.
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

    /// Ends the search for equal constants, which holds the bytes of all of them.
    pub fn forget_constants(&mut self) {
        self.constants = HashMap::new();
    }
}
