//! Converted models with one fault of the kind that a wrong lowering makes.

use half::f16;

use super::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// A fault.
pub struct Mutation {
    /// The folder of the model, below `fixtures/`.
    pub model: &'static str,
    pub name: &'static str,
    /// The PHI op that it should be charged to.
    pub op: &'static str,
    /// Whether the error of the outputs stands out from their rounding noise, or rounding decides these outputs, so that
    /// the ops are looked into anyway.
    pub shows: bool,
    pub change: fn(&mut GraphProto),
}

pub const VIT: &str = "paddle-3.3.1/vit/ViT_base_patch16_224";
const DEFORMABLE: &str = "paddle-3.3.1/sensitive/deformable";
const TANH: &str = "paddle-3.3.1/sensitive/tanh_30";
const SEGMENTATION: &str = "paddle-3.3.1/sensitive/segmentation";
const PIXELS: &str = "paddle-3.3.1/sensitive/pixels";
const TOPK: &str = "paddle-3.3.1/sensitive/topk";
const RESIZES: &str = "paddle-3.3.1/sensitive/resizes";

const fn on(
    model: &'static str,
    name: &'static str,
    op: &'static str,
    change: fn(&mut GraphProto),
) -> Mutation {
    Mutation {
        model,
        name,
        op,
        shows: true,
        change,
    }
}

pub const MUTATIONS: [Mutation; 24] = [
    on(VIT, "tanh for erf in gelu", "gelu", gelu_by_tanh),
    on(VIT, "softmax over rows", "softmax", softmax_over_rows),
    on(
        VIT,
        "a transposed square weight",
        "matmul",
        transposed_weight,
    ),
    on(VIT, "a bias along the wrong axis", "add", bias_along_rows),
    on(VIT, "a scale rounded to float16", "scale", scale_in_f16),
    on(
        VIT,
        "heads swapped with tokens",
        "transpose",
        other_permutation,
    ),
    // In one of the five `layer_norm` ops, this error is no larger than that of rounding.
    Mutation {
        model: VIT,
        name: "epsilon 1e-5 for 1e-6",
        op: "layer_norm",
        shows: false,
        change: larger_epsilon,
    },
    on(DEFORMABLE, "hard sigmoid for sigmoid", "sigmoid", |g| {
        retype(g, "Sigmoid", 4, "HardSigmoid")
    }),
    on(
        DEFORMABLE,
        "channels swapped in a kernel",
        "deformable_conv",
        |g| swap_channels(g, "DeformConv", 3),
    ),
    on(DEFORMABLE, "padding at two sides", "conv2d", |g| {
        pad_at_ends(g, 5)
    }),
    on(DEFORMABLE, "epsilon 1e-3 for 1e-5", "batch_norm", |g| {
        attribute(node(g, "BatchNormalization", 6), "epsilon").f = Some(1e-3);
    }),
    on(TANH, "softsign for tanh", "tanh", |g| {
        retype(g, "Tanh", 20, "Softsign")
    }),
    on(
        TANH,
        "a transposed square weight",
        "matmul",
        transposed_weight,
    ),
    on(TANH, "a gain that is a thousandth larger", "scale", |g| {
        nudge(g, "Mul", 1)
    }),
    on(SEGMENTATION, "the least likely class", "argmax", |g| {
        retype(g, "ArgMax", 0, "ArgMin")
    }),
    on(
        SEGMENTATION,
        "a weight subtracted",
        "bilinear_interp",
        |g| retype(g, "Mul", 7, "Sub"),
    ),
    on(SEGMENTATION, "padding at two sides", "conv2d", |g| {
        pad_at_ends(g, 1)
    }),
    on(PIXELS, "round for floor", "floor", |g| {
        retype(g, "Floor", 0, "Round")
    }),
    on(PIXELS, "floor for round", "round", |g| {
        retype(g, "Round", 0, "Floor")
    }),
    on(PIXELS, "reflected for repeated edges", "pad3d", |g| {
        attribute(node(g, "Pad", 0), "mode").s = Some(b"reflect".to_vec());
    }),
    on(PIXELS, "16.016 levels", "scale", |g| nudge(g, "Mul", 1)),
    on(TOPK, "the smallest", "topk", |g| {
        attribute(node(g, "TopK", 0), "largest").i = Some(0)
    }),
    on(RESIZES, "half pixels", "bilinear_interp", |g| {
        let mode = attribute(node(g, "Resize", 0), "coordinate_transformation_mode");
        mode.s = Some(b"half_pixel".to_vec());
    }),
    on(RESIZES, "linear for cubic", "bicubic_interp", |g| {
        attribute(node(g, "Resize", 1), "mode").s = Some(b"linear".to_vec());
    }),
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

/// Makes the node with this number, of those of its type, one of another type.
fn retype(graph: &mut GraphProto, op_type: &str, number: usize, other: &str) {
    node(graph, op_type, number).op_type = Some(other.to_owned());
}

/// Moves all padding of a convolution to the ends of the axes.
fn pad_at_ends(graph: &mut GraphProto, number: usize) {
    attribute(node(graph, "Conv", number), "pads").ints = vec![0, 0, 2, 2];
}

/// Swaps the axes of input and output channels in the weight of a node, as many of which there are.
fn swap_channels(graph: &mut GraphProto, op_type: &str, number: usize) {
    let name = node(graph, op_type, number).input[1].clone();
    let tensor = initializer(graph, &name);
    let dims: Vec<usize> = tensor
        .dims
        .iter()
        .map(|n| usize::try_from(*n).unwrap())
        .collect();
    assert_eq!(dims[0], dims[1]);
    let (width, kernel) = (dims[0], dims[2] * dims[3]);
    let (elements, _) = tensor.raw_data().as_chunks::<4>();
    let swapped = (0..elements.len()).map(|i| {
        let (out, input, place) = (i / kernel / width, i / kernel % width, i % kernel);
        elements[(input * width + out) * kernel + place]
    });
    tensor.raw_data = Some(swapped.flatten().collect());
}

/// Makes the number by which a node multiplies a thousandth larger.
fn nudge(graph: &mut GraphProto, op_type: &str, number: usize) {
    let name = node(graph, op_type, number).input[1].clone();
    let tensor = initializer(graph, &name);
    let factor = f32::from_le_bytes(tensor.raw_data().try_into().unwrap()) * 1.001;
    tensor.raw_data = Some(factor.to_le_bytes().to_vec().into());
}
