//! What a lowering ends with: an ONNX model that is ready to be written.

use std::collections::HashMap;

use crate::program::ValueId;
use crate::proto::onnx::{GraphProto, ModelProto, NodeProto};
use crate::read::ByteRange;
use crate::tensor::DType;

/// A finished ONNX model, with its weights still in Paddle's files.
#[derive(Debug, Clone)]
pub(crate) struct OnnxModel {
    /// Everything but the initializers.
    pub(crate) proto: ModelProto,
    pub(crate) initializers: Vec<Initializer>,
    /// The names of the tensors that hold the program's values, as far as nodes or inputs give
    /// them.
    pub(crate) tensors: HashMap<ValueId, String>,
}

/// A constant of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Initializer {
    pub name: String,
    pub dtype: DType,
    pub dims: Vec<i64>,
    pub data: InitializerData,
}

/// Where an initializer's little-endian elements are.
#[derive(Debug, Clone)]
pub(crate) enum InitializerData {
    Bytes(Vec<u8>),
    File(ByteRange),
}

impl OnnxModel {
    /// The number of nodes, those in bodies of control flow included.
    pub fn node_count(&self) -> usize {
        self.proto.graph.as_ref().map_or(0, count_nodes)
    }
}

fn count_nodes(graph: &GraphProto) -> usize {
    let inside = |node: &NodeProto| {
        let bodies = node.attribute.iter().filter_map(|attr| attr.g.as_ref());
        bodies.map(count_nodes).sum::<usize>()
    };
    graph.node.len() + graph.node.iter().map(inside).sum::<usize>()
}
