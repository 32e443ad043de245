//! A network becomes the same graph, whichever format Paddle wrote it in.

mod support;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;

use insta::assert_snapshot;
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Format, Model};
use support::onnx::decode;
use support::onnx::proto::{GraphProto, NodeProto};
use support::{fixture, programs};

/// Cases that Paddle 3 writes as another program. It flattens the operands of `mul` by reshapes and then
/// reshapes the product, where Paddle 2 has one product over more axes; it writes tolerances in another
/// precision; and some of its kernels do something else.
const OTHER_PROGRAMS: [&str; 27] = [
    // Paddle 2 has another formula for the weights of positive classes.
    "sigmoid_cross_entropy_with_logits/*",
    // Paddle 3 writes the scales as constants.
    "simplify/dequantized*",
    // Paddle 2 writes a `round_type` of 0 as 1.
    "fake_channel_wise_quantize_dequantize_abs_max/even",
    "fake_quantize_abs_max/even",
    "fake_quantize_dequantize_abs_max/even",
    "fake_quantize_dequantize_moving_average_abs_max/even",
    "fake_quantize_moving_average_abs_max/even",
    "fake_quantize_range_abs_max/even",
    "simplify/float_layers",
    "grid_sample/between*",
    "grid_sample/nearest*",
    "grid_sample/one_element",
    "grid_sample/volume_nearest*",
    "hardshrink/*",
    "matmul/mul_x_two",
    "allclose/f64",
    "allclose/no",
    "allclose/yes",
    "isclose/equal_nan",
    "isclose/f32",
    "isclose/f64",
    "isclose/loose",
    "isclose/nan",
    "sigmoid_cross_entropy_with_logits/weighted*",
    "strided_slice/back_beyond*",
    "trace/i32",
    "trace/transposed*",
];

/// The graph of a program, with the names of tensors replaced by their order and without those of
/// nodes. The names of inputs stay: callers know them.
fn nameless(program: &Path) -> GraphProto {
    nameless_with(program, None)
}

fn nameless_with(program: &Path, params: Option<&Path>) -> GraphProto {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let model = Model::open(program, params).unwrap();
    let options = ConvertOptions {
        opset: model.lowest_opset().unwrap().max(DEFAULT_OPSET),
        ..ConvertOptions::default()
    };
    model.convert(&onnx, &options).unwrap();
    let mut graph = decode(&onnx).graph.unwrap();
    let mut names: HashMap<String, String> = HashMap::from([(String::new(), String::new())]);
    for input in &graph.input {
        names.insert(input.name().to_owned(), input.name().to_owned());
    }
    for (position, tensor) in graph.initializer.iter_mut().enumerate() {
        let name = format!("initializer {position}");
        names.insert(tensor.name().to_owned(), name.clone());
        tensor.name = Some(name);
    }
    rename(&mut graph, "", &mut names);
    graph
}

/// Replaces the names of tensors in a graph and in the bodies inside of it by those in `names`, to which what the nodes
/// make is added. `place` says in which node the graph is.
fn rename(graph: &mut GraphProto, place: &str, names: &mut HashMap<String, String>) {
    for (position, node) in graph.node.iter_mut().enumerate() {
        node.name = None;
        let place = format!("{place}node {position}, ");
        for (number, output) in node.output.iter().enumerate() {
            names.insert(output.clone(), format!("{place}output {number}"));
        }
        for name in node.input.iter_mut().chain(&mut node.output) {
            name.clone_from(&names[name.as_str()]);
        }
        for body in node.attribute.iter_mut().filter_map(|attr| attr.g.as_mut()) {
            body.name = None;
            for (number, input) in body.input.iter_mut().enumerate() {
                let name = format!("{place}input {number}");
                names.insert(input.name().to_owned(), name.clone());
                input.name = Some(name);
            }
            rename(body, &place, names);
        }
    }
    for value in graph.output.iter_mut().chain(&mut graph.value_info) {
        value.name = Some(names[value.name()].clone());
    }
    graph.value_info.sort_by(|a, b| a.name().cmp(b.name()));
}

/// A graph without what it says of values that the other has no name for: nodes of one op there may be an op each here.
fn with_values_of(graph: &GraphProto, other: &GraphProto) -> GraphProto {
    let mut graph = graph.clone();
    let names: HashSet<&str> = other.value_info.iter().map(|value| value.name()).collect();
    graph
        .value_info
        .retain(|value| names.contains(value.name()));
    graph
}

/// How two graphs differ, if they do.
fn difference(a: &GraphProto, b: &GraphProto) -> Option<String> {
    let (a, b) = (&with_values_of(a, b), &with_values_of(b, a));
    if a == b {
        return None;
    }
    let mut text = format!("{} nodes, {} nodes", a.node.len(), b.node.len());
    let mut pairs = a.node.iter().zip(&b.node);
    if let Some(position) = pairs.position(|(a, b)| a != b) {
        for graph in [a, b] {
            let NodeProto { op_type, input, .. } = &graph.node[position];
            write!(text, "\n      node {position}: {op_type:?} {input:?}").unwrap();
        }
    }
    let mut pairs = a.initializer.iter().zip(&b.initializer);
    if let Some(position) = pairs.position(|(a, b)| a != b) {
        for tensor in [&a.initializer[position], &b.initializer[position]] {
            let (dims, bytes) = (&tensor.dims, tensor.raw_data().len());
            write!(
                text,
                "\n      initializer {position}: {dims:?}, {bytes} bytes"
            )
            .unwrap();
        }
    }
    let values = |graph: &GraphProto| [&graph.output[..], &graph.value_info].concat();
    let (a, b) = (values(a), values(b));
    if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
        write!(text, "\n      {a:?}\n      {b:?}").unwrap();
    }
    Some(text)
}

#[test]
fn vision_transformers() {
    for program in programs("paddle-2.6.2/vit") {
        let folder = program.parent().unwrap();
        let name = folder.file_name().unwrap();
        let expected = nameless(&program);
        for other in ["paddle-3.3.1/vit", "paddle-3.3.1/vit_pdmodel"] {
            let graph = nameless(&fixture(other).join(name));
            if let Some(difference) = difference(&expected, &graph) {
                panic!("{} in {other}: {difference}", name.display());
            }
        }
    }
}

/// Paddle 3.0, 3.1 and 3.2 write earlier versions of PIR. Version 0 was never released.
#[test]
fn versions_of_pir() {
    let vit = fixture("paddle-3.3.1/vit/ViT_base_patch16_224");
    let expected = nameless(&vit);
    let params = vit.join("inference.pdiparams");
    for version in 1..=3 {
        let program = fixture(&format!("pir_versions/{version}.json"));
        let model = Model::open(&program, Some(&params)).unwrap();
        assert_eq!(model.format(), Format::Pir { version });
        let graph = nameless_with(&program, Some(&params));
        if let Some(difference) = difference(&expected, &graph) {
            panic!("version {version}: {difference}");
        }
    }
}

#[test]
fn ops() {
    let mut differing = Vec::new();
    let mut compared = 0;
    for program in programs("paddle-2.6.2/ops") {
        let case = program.strip_prefix(fixture("paddle-2.6.2/ops")).unwrap();
        let other = fixture("paddle-3.3.1/ops").join(case.with_extension("json"));
        if !other.exists() {
            continue;
        }
        compared += 1;
        let case = case.with_extension("");
        let name = case.to_string_lossy();
        let is_other = OTHER_PROGRAMS
            .iter()
            .any(|other| match other.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == *other,
            });
        match (difference(&nameless(&program), &nameless(&other)), is_other) {
            (None, false) | (Some(_), true) => {}
            (Some(difference), false) => {
                differing.push(format!("{}: {difference}", case.display()));
            }
            (None, true) => differing.push(format!("{} is the same now", case.display())),
        }
    }
    assert!(compared > 300, "only {compared} cases are in both formats");
    assert!(
        differing.is_empty(),
        "{} other graphs:\n  {}",
        differing.len(),
        differing.join("\n  ")
    );
}

/// The bodies of control flow are kept, with what they read from outside and hand out.
#[test]
fn control_flow_keeps_its_blocks() {
    for name in ["if", "while"] {
        let program = fixture(&format!("paddle-3.3.1/control_flow/{name}/inference.json"));
        let model = Model::open(&program, None).unwrap();
        assert_snapshot!(name, model.program());
    }
}
