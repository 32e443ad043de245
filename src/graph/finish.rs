//! The end of a lowering: drops what nothing needs, and names what is left.

use std::collections::{HashMap, HashSet};

use super::context::Lowering;
use super::nodes::{Graph, Kind, Node, NodeAttr, TensorId};
use crate::error::{Error, Result};
use crate::program::{Facts, Origin, UniqueNames, ValueId};
use crate::proto::onnx::attribute_proto::AttributeType;
use crate::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::proto::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use crate::read::ByteRange;
use crate::tensor::{DType, Dim};

/// A finished ONNX model, with its weights still in Paddle's files.
#[derive(Debug, Clone)]
pub struct OnnxModel {
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
    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.proto
            .graph
            .as_ref()
            .map_or(0, |graph| graph.node.len())
    }
}

/// Drops what nothing needs of a graph that is complete, and names the rest.
pub(crate) fn finish(mut lowering: Lowering<'_>) -> Result<OnnxModel> {
    let outputs = bind_outputs(&mut lowering)?;
    let Lowering {
        facts,
        opset,
        mut graph,
        tensors,
        ..
    } = lowering;
    drop_unneeded(&mut graph, &outputs);
    let mut names = Names::new(facts, &graph, &outputs);
    let mut values: Vec<(ValueId, TensorId)> = tensors.into_iter().collect();
    values.sort_unstable();
    for (value, tensor) in &values {
        names.prefer(*tensor, &facts.program()[*value].name);
    }
    let nodes = graph.nodes.iter().map(|node| names.node(node)).collect();
    let program = facts.program();
    let inputs = program.inputs().iter();
    let proto = ModelProto {
        ir_version: Some(ir_version(opset)),
        producer_name: Some(env!("CARGO_PKG_NAME").into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(opset.into()),
        }],
        graph: Some(GraphProto {
            node: nodes,
            name: Some("main".into()),
            initializer: Vec::new(),
            input: inputs
                .map(|id| value_info(facts, *id, &program[*id].name))
                .collect(),
            output: outputs
                .iter()
                .map(|(name, _, value)| value_info(facts, *value, name))
                .collect(),
        }),
    };
    let initializers = initializers(facts, &graph, &mut names)?;
    let is_given =
        |tensor: &TensorId| matches!(graph.tensors[tensor.index()], Kind::Node | Kind::Input(_));
    let given = values.iter().filter(|(_, tensor)| is_given(tensor));
    let tensors = given.map(|(value, tensor)| (*value, names.tensor(*tensor, "")));
    let tensors = tensors.collect();
    Ok(OnnxModel {
        proto,
        initializers,
        tensors,
    })
}

/// The oldest IR version that knows `opset`.
fn ir_version(opset: u32) -> i64 {
    match opset {
        ..=11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

/// Gives each output a node of its own: an input, a constant or a tensor that already is an
/// output goes through Identity.
fn bind_outputs(lowering: &mut Lowering<'_>) -> Result<Vec<(String, TensorId, ValueId)>> {
    let program = lowering.facts.program();
    let mut names = UniqueNames::default();
    for id in program.inputs() {
        names.claim(&program[*id].name);
    }
    let mut outputs: Vec<(String, TensorId, ValueId)> = Vec::new();
    for output in program.outputs() {
        let mut tensor = lowering.value(output.value)?;
        let is_node = matches!(lowering.graph.tensors[tensor.index()], Kind::Node);
        if !is_node || outputs.iter().any(|(_, other, _)| *other == tensor) {
            tensor = lowering.node("Identity", &[tensor], []);
        }
        outputs.push((names.claim(&output.name), tensor, output.value));
    }
    Ok(outputs)
}

fn drop_unneeded(graph: &mut Graph, outputs: &[(String, TensorId, ValueId)]) {
    let mut needed: HashSet<TensorId> = outputs.iter().map(|(_, tensor, _)| *tensor).collect();
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes.into_iter().rev() {
        // Its positions are computed only if somebody asks for them.
        if node.op_type == "MaxPool" && node.outputs.iter().skip(1).all(|o| !needed.contains(o)) {
            node.outputs.truncate(1);
        }
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(node.inputs.iter().flatten());
            graph.nodes.push(node);
        }
    }
    graph.nodes.reverse();
}

/// Hands out unique names. Inputs and outputs come first, since callers rely on theirs.
struct Names {
    used: UniqueNames,
    tensors: Vec<Option<String>>,
    node_names: UniqueNames,
}

impl Names {
    fn new(facts: &Facts<'_>, graph: &Graph, outputs: &[(String, TensorId, ValueId)]) -> Self {
        let mut names = Self {
            used: UniqueNames::default(),
            tensors: vec![None; graph.tensors.len()],
            node_names: UniqueNames::default(),
        };
        for (position, kind) in graph.tensors.iter().enumerate() {
            if let Kind::Input(value) = kind {
                let name = &facts.program()[*value].name;
                names.used.claim(name);
                names.tensors[position] = Some(name.clone());
            }
        }
        for (name, tensor, _) in outputs {
            names.used.claim(name);
            names.tensors[tensor.index()] = Some(name.clone());
        }
        names
    }

    /// Names a tensor that has no name yet.
    fn prefer(&mut self, tensor: TensorId, name: &str) {
        let slot = &mut self.tensors[tensor.index()];
        if slot.is_none() && !name.is_empty() {
            *slot = Some(self.used.claim(name));
        }
    }

    fn tensor(&mut self, tensor: TensorId, fallback: &str) -> String {
        let slot = &mut self.tensors[tensor.index()];
        slot.get_or_insert_with(|| self.used.claim(fallback))
            .clone()
    }

    fn node(&mut self, node: &Node) -> NodeProto {
        let label = format!("{}/{}", node.label, node.op_type);
        let name = self.node_names.claim(&label);
        let mut input: Vec<String> = node
            .inputs
            .iter()
            .map(|input| input.map_or_else(String::new, |id| self.tensor(id, "constant")))
            .collect();
        while input.last().is_some_and(String::is_empty) {
            input.pop();
        }
        let outputs = node.outputs.iter();
        NodeProto {
            input,
            output: outputs.map(|output| self.tensor(*output, &label)).collect(),
            name: Some(name),
            op_type: Some(node.op_type.into()),
            attribute: node.attrs.iter().map(attribute).collect(),
            domain: None,
        }
    }
}

fn attribute((name, value): &(&'static str, NodeAttr)) -> AttributeProto {
    let mut proto = AttributeProto {
        name: Some((*name).into()),
        ..AttributeProto::default()
    };
    match value {
        NodeAttr::Int(value) => {
            proto.i = Some(*value);
            proto.set_type(AttributeType::Int);
        }
        NodeAttr::Float(value) => {
            proto.f = Some(*value);
            proto.set_type(AttributeType::Float);
        }
        NodeAttr::Ints(values) => {
            proto.ints.clone_from(values);
            proto.set_type(AttributeType::Ints);
        }
        NodeAttr::String(value) => {
            proto.s = Some(value.as_bytes().to_vec());
            proto.set_type(AttributeType::String);
        }
        NodeAttr::Text(value) => {
            proto.s = Some(value.as_bytes().to_vec());
            proto.set_type(AttributeType::String);
        }
    }
    proto
}

fn value_info(facts: &Facts<'_>, id: ValueId, name: &str) -> ValueInfoProto {
    let fact = facts.get(id);
    let dims = fact.shape.iter().map(|dim| Dimension {
        value: match dim {
            Dim::Known(extent) => Some(dimension::Value::DimValue(*extent)),
            Dim::Symbol(symbol) => Some(dimension::Value::DimParam(symbol.to_string())),
            Dim::Computed { .. } | Dim::Unknown => None,
        },
    });
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(type_proto::Tensor {
                elem_type: Some(fact.dtype.onnx_code()),
                shape: Some(TensorShapeProto {
                    dim: dims.collect(),
                }),
            }),
        }),
    }
}

/// The constants that nodes read, in the order of their first use.
fn initializers(facts: &Facts<'_>, graph: &Graph, names: &mut Names) -> Result<Vec<Initializer>> {
    let mut seen = HashSet::new();
    let mut initializers = Vec::new();
    for id in graph.nodes.iter().flat_map(|node| &node.inputs).flatten() {
        if !seen.insert(*id) {
            continue;
        }
        let name = names.tensor(*id, "constant");
        match &graph.tensors[id.index()] {
            Kind::Parameter(value) => initializers.push(parameter(facts, *value, name)?),
            Kind::Constant(tensor) => initializers.push(Initializer {
                name,
                dtype: tensor.dtype(),
                dims: tensor.shape().iter().map(|extent| *extent as i64).collect(),
                data: InitializerData::Bytes(tensor.to_le_bytes()),
            }),
            Kind::Input(_) | Kind::Node => {}
        }
    }
    Ok(initializers)
}

fn parameter(facts: &Facts<'_>, id: ValueId, name: String) -> Result<Initializer> {
    let value = &facts.program()[id];
    let Origin::Parameter(range) = &value.origin else {
        return Err(Error::internal("a parameter without a place in a file"));
    };
    Ok(Initializer {
        name,
        dtype: value.dtype,
        dims: value.shape.iter().filter_map(Dim::known).collect(),
        data: InitializerData::File(range.clone()),
    })
}
