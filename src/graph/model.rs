//! What a lowering ends with: an ONNX model that is ready to be written.

use std::collections::{HashMap, HashSet};

use super::integers::Mapping;
use super::notes::Note;
use crate::error::{Error, Result};
use crate::program::ValueId;
use crate::proto::onnx::{GraphProto, ModelProto, NodeProto, StringStringEntryProto};
use crate::read::ByteRange;
use crate::tensor::{DType, Tensor};

/// The newest version of ONNX's format, that of onnx 1.23.
const NEWEST_IR_VERSION: u32 = 14;

/// A finished ONNX model, with its weights still in Paddle's files.
#[derive(Debug, Clone)]
pub(crate) struct OnnxModel {
    /// Everything but the initializers.
    pub(crate) proto: ModelProto,
    pub(crate) initializers: Vec<Initializer>,
    /// For each value of the program that an input of the graph or a node gives, the name of the tensor that holds it.
    pub(crate) tensors: HashMap<ValueId, String>,
    /// For those of these values whose axes the tensor has in another order: the tensor's axes in that of the value.
    pub(crate) transposed: HashMap<ValueId, Vec<usize>>,
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

/// Where an initializer's elements are.
#[derive(Debug, Clone)]
pub(crate) enum InitializerData {
    Memory(Tensor),
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

    /// Sets the version of ONNX's format, which is the lowest that the model allows before.
    ///
    /// # Errors
    /// When the model does not allow the version, or there is none such.
    pub fn raise_ir_version(&mut self, version: u32) -> Result<()> {
        let lowest = self.proto.ir_version();
        if i64::from(version) < lowest {
            let opset = self.proto.opset_import.first().map_or(0, |i| i.version());
            let functions = match self.proto.functions.len() {
                0 => "",
                _ => " with functions",
            };
            return Err(Error::invalid(format!(
                "IR version {version} is too low: a model of opset {opset}{functions} needs {lowest}"
            )));
        }
        if version > NEWEST_IR_VERSION {
            return Err(Error::invalid(format!(
                "there is no IR version {version}; the newest is {NEWEST_IR_VERSION}"
            )));
        }
        self.proto.ir_version = Some(version.into());
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::onnx::{FunctionProto, OperatorSetIdProto};

    #[test]
    fn functions_need_the_version_that_brought_them() {
        let opset = OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(13),
        };
        let mut model = OnnxModel {
            proto: ModelProto {
                ir_version: Some(8),
                opset_import: vec![opset],
                functions: vec![FunctionProto::default()],
                ..ModelProto::default()
            },
            initializers: Vec::new(),
            tensors: HashMap::new(),
            transposed: HashMap::new(),
            int8: HashSet::new(),
            notes: Vec::new(),
        };
        let error = model.raise_ir_version(7).unwrap_err().to_string();
        let expected = "IR version 7 is too low: a model of opset 13 with functions needs 8";
        assert_eq!(error, expected);
        model.raise_ir_version(10).unwrap();
        assert_eq!(model.proto.ir_version, Some(10));
    }
}
