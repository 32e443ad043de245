//! What a lowering ends with: an ONNX model that is ready to be written.

use std::collections::{HashMap, HashSet};

use super::integers::Mapping;
use super::notes::Note;
use crate::program::ValueId;
use crate::proto::onnx::{GraphProto, ModelProto, NodeProto, StringStringEntryProto};
use crate::read::ByteRange;
use crate::tensor::DType;

/// A finished ONNX model, with its weights still in Paddle's files.
#[derive(Debug, Clone)]
pub(crate) struct OnnxModel {
    /// Everything but the initializers.
    pub(crate) proto: ModelProto,
    pub(crate) initializers: Vec<Initializer>,
    /// For each value of the program that an input of the graph or a node gives, the name of the tensor that holds it.
    pub(crate) tensors: HashMap<ValueId, String>,
    /// Those of these names whose tensors hold whole numbers as int8, which are float32 in the program.
    pub(crate) int8: HashSet<String>,
    /// Where the model is not in every respect what the program is, in the order of the program.
    pub(crate) notes: Vec<Note>,
}

/// A constant or a weight of the graph.
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
    /// In these parts of Paddle's files, one behind the other.
    File(Vec<ByteRange>),
    /// In this part of Paddle's files, but each becomes another.
    Mapped(ByteRange, Mapping),
}

impl OnnxModel {
    /// The number of nodes of the graph, with those in bodies of control flow, but without those in model functions.
    pub fn node_count(&self) -> usize {
        self.proto.graph.as_ref().map_or(0, count_nodes)
    }

    /// Adds metadata: keys and values, of which no key may be there already.
    pub fn describe(&mut self, entries: &[(String, String)]) {
        let entries = entries.iter().map(StringStringEntryProto::from);
        self.proto.metadata_props.extend(entries);
    }
}

impl From<&(String, String)> for StringStringEntryProto {
    fn from((key, value): &(String, String)) -> Self {
        Self {
            key: Some(key.clone()),
            value: Some(value.clone()),
        }
    }
}

fn count_nodes(graph: &GraphProto) -> usize {
    let inside = |node: &NodeProto| {
        let bodies = node.attribute.iter().filter_map(|attr| attr.g.as_ref());
        bodies.map(count_nodes).sum::<usize>()
    };
    graph.node.len() + graph.node.iter().map(inside).sum::<usize>()
}
