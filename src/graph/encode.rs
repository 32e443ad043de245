//! Names for tensors and nodes, and the protobuf messages of nodes, bodies and model functions.

use super::nodes::{Body, Function, Graph, Kind, Node, NodeAttr, TensorId};
use crate::program::{Facts, UniqueNames, ValueId};
use crate::proto::onnx::attribute_proto::AttributeType;
use crate::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::proto::onnx::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use crate::tensor::{DType, Dim, Tensor};

/// Gives unique names to tensors and nodes. Inputs and outputs get theirs first, since callers rely on these.
pub(super) struct Names {
    used: UniqueNames,
    tensors: Vec<Option<String>>,
    node_names: UniqueNames,
}

impl Names {
    /// The names of a graph with these outputs, whose names must be unique. Inputs have the names of their values.
    pub fn new<'o>(
        facts: &Facts<'_>,
        graph: &Graph,
        outputs: impl IntoIterator<Item = (&'o str, TensorId)>,
    ) -> Self {
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
        for (name, tensor) in outputs {
            names.used.claim(name);
            names.tensors[tensor.index()] = Some(name.to_owned());
        }
        names
    }

    /// Names a tensor, unless it has a name already or `name` is empty. A name that is taken gets a number behind it.
    pub fn prefer(&mut self, tensor: TensorId, name: &str) {
        let slot = &mut self.tensors[tensor.index()];
        if slot.is_none() && !name.is_empty() {
            *slot = Some(self.used.claim(name));
        }
    }

    /// The name of a tensor. If it has none yet, it gets `fallback`, with a number behind it if that is taken.
    pub fn tensor(&mut self, tensor: TensorId, fallback: &str) -> String {
        let slot = &mut self.tensors[tensor.index()];
        slot.get_or_insert_with(|| self.used.claim(fallback))
            .clone()
    }

    /// The message of a node. It is named after its label and its operator, as are its outputs that have no name.
    pub fn node(&mut self, node: &Node) -> NodeProto {
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
        let output = outputs.map(|output| self.tensor(*output, &label)).collect();
        let attributes = node.attrs.iter();
        let attributes = attributes.map(|(attr, value)| self.attribute(attr, value, &name));
        NodeProto {
            input,
            output,
            attribute: attributes.collect(),
            name: Some(name),
            op_type: Some(node.op_type.to_string()),
            domain: (!node.domain.is_empty()).then(|| node.domain.to_string()),
        }
    }

    /// The message of the attribute `name` of the node called `owner`.
    fn attribute(&mut self, name: &str, value: &NodeAttr, owner: &str) -> AttributeProto {
        let mut proto = AttributeProto {
            name: Some(name.to_string()),
            ..AttributeProto::default()
        };
        let ty = match value {
            NodeAttr::Int(value) => {
                proto.i = Some(*value);
                AttributeType::Int
            }
            NodeAttr::Float(value) => {
                proto.f = Some(*value);
                AttributeType::Float
            }
            NodeAttr::Ints(values) => {
                proto.ints.clone_from(values);
                AttributeType::Ints
            }
            NodeAttr::Floats(values) => {
                proto.floats.clone_from(values);
                AttributeType::Floats
            }
            NodeAttr::String(value) => {
                proto.s = Some(value.as_bytes().to_vec());
                AttributeType::String
            }
            NodeAttr::Text(value) => {
                proto.s = Some(value.as_bytes().to_vec());
                AttributeType::String
            }
            NodeAttr::Texts(values) => {
                proto.strings = values
                    .iter()
                    .map(|value| value.as_bytes().to_vec())
                    .collect();
                AttributeType::Strings
            }
            NodeAttr::Tensor(tensor) => {
                proto.t = Some(tensor_proto(tensor));
                AttributeType::Tensor
            }
            NodeAttr::Graph(body) => {
                proto.g = Some(self.body(body, &format!("{owner}/{name}")));
                AttributeType::Graph
            }
        };
        proto.set_type(ty);
        proto
    }

    /// The message of a body, as a graph called `name`. Element types and shapes of its outputs, and of its inputs if it
    /// has none, are left to the inference of readers.
    fn body(&mut self, body: &Body, name: &str) -> GraphProto {
        let inputs = body.inputs.iter().enumerate();
        let inputs = inputs.map(|(position, input)| {
            let input = self.tensor(*input, &format!("{name}/input"));
            match body.given.get(position) {
                Some(fact) => typed(input, fact.dtype, &fact.shape),
                None => untyped(input),
            }
        });
        let inputs: Vec<ValueInfoProto> = inputs.collect();
        let nodes = body.nodes.iter().map(|node| self.node(node)).collect();
        let outputs = body.outputs.iter();
        GraphProto {
            node: nodes,
            name: Some(name.to_owned()),
            initializer: Vec::new(),
            input: inputs,
            output: outputs
                .map(|output| untyped(self.tensor(*output, &format!("{name}/output"))))
                .collect(),
            value_info: Vec::new(),
        }
    }

    /// The message of a model function, which imports these operator sets.
    pub fn function(
        &mut self,
        function: &Function,
        imports: &[OperatorSetIdProto],
    ) -> FunctionProto {
        let body = self.body(&function.body, &function.name);
        let names = |values: Vec<ValueInfoProto>| {
            let values = values.into_iter();
            values.filter_map(|value| value.name).collect()
        };
        FunctionProto {
            name: Some(function.name.clone()),
            domain: Some(function.domain.clone()),
            input: names(body.input),
            output: names(body.output),
            node: body.node,
            opset_import: imports.to_vec(),
        }
    }
}

fn untyped(name: String) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name),
        r#type: None,
    }
}

fn tensor_proto(tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|extent| *extent as i64).collect(),
        data_type: Some(tensor.dtype().onnx_code()),
        raw_data: Some(tensor.to_le_bytes().into()),
        ..TensorProto::default()
    }
}

/// The message of an input or output `name` of the graph, with the element type and shape of the value `id`.
pub(super) fn value_info(facts: &Facts<'_>, id: ValueId, name: &str) -> ValueInfoProto {
    typed(name.to_owned(), facts.dtype(id), facts.shape(id))
}

/// The message of a tensor. An extent that a run computes has neither a number nor a symbol.
pub(super) fn typed(name: String, dtype: DType, shape: &[Dim]) -> ValueInfoProto {
    let dims = shape.iter().map(|dim| Dimension {
        value: match dim {
            Dim::Known(extent) => Some(dimension::Value::DimValue(*extent)),
            Dim::Symbol(symbol) => Some(dimension::Value::DimParam(symbol.to_string())),
            Dim::Computed { .. } | Dim::Unknown => None,
        },
    });
    ValueInfoProto {
        name: Some(name),
        r#type: Some(TypeProto {
            tensor_type: Some(type_proto::Tensor {
                elem_type: Some(dtype.onnx_code()),
                shape: Some(TensorShapeProto {
                    dim: dims.collect(),
                }),
            }),
        }),
    }
}
