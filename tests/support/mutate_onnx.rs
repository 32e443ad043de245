//! Converted models with one fault of the kind that a wrong lowering makes.

use half::f16;

use super::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// A fault.
pub struct Mutation {
    pub name: &'static str,
    /// The PHI op that it should be charged to.
    pub op: &'static str,
    /// Whether the error of the outputs stands out from their rounding noise.
    pub shows: bool,
    pub change: fn(&mut GraphProto),
}

const fn showing(name: &'static str, op: &'static str, change: fn(&mut GraphProto)) -> Mutation {
    Mutation {
        name,
        op,
        shows: true,
        change,
    }
}

pub const MUTATIONS: [Mutation; 7] = [
    showing("tanh for erf in gelu", "gelu", gelu_by_tanh),
    showing("softmax over rows", "softmax", softmax_over_rows),
    showing("a transposed square weight", "matmul", transposed_weight),
    showing("a bias along the wrong axis", "add", bias_along_rows),
    showing("a scale rounded to float16", "scale", scale_in_f16),
    showing("heads swapped with tokens", "transpose", other_permutation),
    // In one of the five `layer_norm` ops, this error is no larger than that of rounding.
    Mutation {
        name: "epsilon 1e-5 for 1e-6",
        op: "layer_norm",
        shows: false,
        change: larger_epsilon,
    },
];

pub fn mutated(mut model: ModelProto, change: fn(&mut GraphProto)) -> ModelProto {
    change(model.graph.as_mut().unwrap());
    model
}

fn node<'g>(graph: &'g mut GraphProto, op_type: &str, number: usize) -> &'g mut NodeProto {
    let nodes = graph.node.iter_mut();
    nodes
        .filter(|node| node.op_type() == op_type)
        .nth(number)
        .unwrap()
}

fn attribute<'n>(node: &'n mut NodeProto, name: &str) -> &'n mut AttributeProto {
    let mut attributes = node.attribute.iter_mut();
    attributes
        .find(|attribute| attribute.name() == name)
        .unwrap()
}

fn initializer<'g>(graph: &'g mut GraphProto, name: &str) -> &'g mut TensorProto {
    let mut tensors = graph.initializer.iter_mut();
    tensors.find(|tensor| tensor.name() == name).unwrap()
}

fn gelu_by_tanh(graph: &mut GraphProto) {
    let approximate = attribute(node(graph, "Gelu", 0), "approximate");
    approximate.s = Some(b"tanh".to_vec());
}

fn larger_epsilon(graph: &mut GraphProto) {
    let epsilon = attribute(node(graph, "LayerNormalization", 1), "epsilon");
    epsilon.f = Some(1e-5);
}

fn softmax_over_rows(graph: &mut GraphProto) {
    attribute(node(graph, "Softmax", 0), "axis").i = Some(-2);
}

/// Transposes the first square weight.
fn transposed_weight(graph: &mut GraphProto) {
    let is_square = |tensor: &&TensorProto| matches!(tensor.dims[..], [a, b] if a == b);
    let square = graph.initializer.iter().find(is_square).unwrap();
    let (name, width) = (
        square.name().to_owned(),
        usize::try_from(square.dims[0]).unwrap(),
    );
    let tensor = initializer(graph, &name);
    let (elements, _) = tensor.raw_data().as_chunks::<4>();
    let transposed = (0..width * width).map(|i| elements[(i % width) * width + i / width]);
    tensor.raw_data = Some(transposed.flatten().collect());
}

/// Makes a bias vary along the rows rather than along the columns.
fn bias_along_rows(graph: &mut GraphProto) {
    let rows: i64 = 5;
    let name = node(graph, "Add", 2).input[1].clone();
    let tensor = initializer(graph, &name);
    tensor.dims = vec![rows, 1];
    let kept = 4 * usize::try_from(rows).unwrap();
    tensor.raw_data = Some(tensor.raw_data()[..kept].to_vec().into());
}

fn scale_in_f16(graph: &mut GraphProto) {
    let name = node(graph, "Mul", 0).input[1].clone();
    let tensor = initializer(graph, &name);
    let scale = f32::from_le_bytes(tensor.raw_data().try_into().unwrap());
    let rounded = f16::from_f32(scale).to_f32();
    assert_ne!(scale, rounded);
    tensor.raw_data = Some(rounded.to_le_bytes().to_vec().into());
}

fn other_permutation(graph: &mut GraphProto) {
    let perm = attribute(node(graph, "Transpose", 3), "perm");
    perm.ints.swap(1, 2);
}
