//! The emitted graphs as text. A change of a lowering shows here as what it changes for users.
//!
//! Whether a graph computes the right numbers is for `ops.rs` and `vit.rs` to say. These snapshots
//! guard what numbers don't show: which nodes, how many, their names, and the declared shapes.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use insta::assert_snapshot;
use paddle2onnx::tensor::DType;
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model, OPSETS, REWRITES, Weights};
use support::onnx::proto::attribute_proto::AttributeType;
use support::onnx::proto::tensor_proto::DataLocation;
use support::onnx::proto::tensor_shape_proto::dimension::Value;
use support::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use support::onnx::{convert, decode};
use support::{OP_FOLDERS, PADDLE_VERSIONS, fixture};

/// Tensors of integers with up to this many elements are written out, since they are shapes, axes and bounds.
const SMALL: usize = 16;

/// Converts a program or a folder of `fixtures/`, and renders what was written.
fn graph(path: &str, opset: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    convert(&fixture(path), &output, opset, Weights::Auto);
    render(&decode(&output))
}

/// The whole model as text, except the version of this crate.
fn render(model: &ModelProto) -> String {
    let graph = model.graph.as_ref().unwrap();
    let mut text = format!("ir_version {}", model.ir_version());
    for import in &model.opset_import {
        write!(text, ", opset {}{}", import.domain(), import.version()).unwrap();
    }
    writeln!(text, "\ngraph {}", graph.name()).unwrap();
    ports(&mut text, "input", &graph.input);
    ports(&mut text, "output", &graph.output);
    for tensor in &graph.initializer {
        writeln!(
            text,
            "initializer {}: {}",
            tensor.name(),
            tensor_text(tensor)
        )
        .unwrap();
    }
    for node in &graph.node {
        node_line(&mut text, node);
    }
    text
}

fn ports(text: &mut String, label: &str, ports: &[ValueInfoProto]) {
    for port in ports {
        let tensor = port.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        // A missing shape says less than a shape of rank 0, and must not look like one.
        let shape = tensor.shape.as_ref().map_or("of any rank".into(), |shape| {
            let dims = shape.dim.iter().map(|dim| match &dim.value {
                Some(Value::DimValue(extent)) => extent.to_string(),
                Some(Value::DimParam(symbol)) => symbol.clone(),
                None => "?".into(),
            });
            format!("[{}]", dims.collect::<Vec<_>>().join(", "))
        });
        let dtype = dtype_name(tensor.elem_type());
        writeln!(text, "{label} {}: {dtype} {shape}", port.name()).unwrap();
    }
}

/// `outputs = OpType(inputs) attribute=value …  # name`
fn node_line(text: &mut String, node: &NodeProto) {
    let domain = match node.domain() {
        "" => String::new(),
        domain => format!("{domain}."),
    };
    // An operand that is left out has an empty name, which `_` makes visible.
    let names = |names: &[String]| {
        let shown = names
            .iter()
            .map(|name| if name.is_empty() { "_" } else { name.as_str() });
        shown.collect::<Vec<_>>().join(", ")
    };
    let (outputs, inputs) = (names(&node.output), names(&node.input));
    write!(text, "{outputs} = {domain}{}({inputs})", node.op_type()).unwrap();
    for attribute in &node.attribute {
        write!(text, " {}={}", attribute.name(), attribute_text(attribute)).unwrap();
    }
    match node.name() {
        "" => text.push('\n'),
        name => writeln!(text, "  # {name}").unwrap(),
    }
}

fn attribute_text(attribute: &AttributeProto) -> String {
    let string = |bytes: &[u8]| format!("{:?}", String::from_utf8(bytes.to_vec()).unwrap());
    match attribute.r#type() {
        AttributeType::Float => format!("{:?}", attribute.f()),
        AttributeType::Int => attribute.i().to_string(),
        AttributeType::String => string(attribute.s()),
        AttributeType::Tensor => format!("<{}>", tensor_text(attribute.t.as_ref().unwrap())),
        AttributeType::Floats => format!("{:?}", attribute.floats),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Strings => {
            let strings: Vec<String> = attribute.strings.iter().map(|s| string(s)).collect();
            format!("[{}]", strings.join(", "))
        }
        AttributeType::Graph => format!("graph {}", attribute.g.as_ref().unwrap().name()),
        AttributeType::Undefined => panic!("an attribute without a type: {attribute:?}"),
    }
}

/// The dtype and dims of a tensor, then its values if they are few, or where its data are if not in the model.
fn tensor_text(tensor: &TensorProto) -> String {
    let mut text = format!("{} {:?}", dtype_name(tensor.data_type()), tensor.dims);
    if tensor.data_location() == DataLocation::External {
        let entries = tensor.external_data.iter();
        let entries = entries.map(|e| format!("{}={}", e.key(), e.value()));
        text.push_str(&format!(" in {}", entries.collect::<Vec<_>>().join(" ")));
    } else if let Some(values) = small_values(tensor) {
        text.push_str(&format!(" = {values}"));
    }
    text
}

/// The values of a small tensor: up to [`SMALL`] integers or bools, or a single floating-point number.
/// Several of the latter are weights, which say nothing to a reader.
fn small_values(tensor: &TensorProto) -> Option<String> {
    fn list<const N: usize, T: std::fmt::Debug>(bytes: &[u8], read: fn([u8; N]) -> T) -> String {
        let (values, rest) = bytes.as_chunks::<N>();
        assert!(
            rest.is_empty(),
            "{} bytes of {N}-byte elements",
            bytes.len()
        );
        format!("{:?}", values.iter().map(|v| read(*v)).collect::<Vec<_>>())
    }
    let elements: i64 = tensor.dims.iter().product();
    let elements = usize::try_from(elements).unwrap();
    let bytes = tensor.raw_data();
    let dtype = dtype(tensor.data_type());
    assert_eq!(bytes.len(), elements * dtype.size(), "{}", tensor.name());
    match dtype {
        DType::I64 if elements <= SMALL => Some(list(bytes, i64::from_le_bytes)),
        DType::I32 if elements <= SMALL => Some(list(bytes, i32::from_le_bytes)),
        DType::Bool if elements <= SMALL => Some(list(bytes, |[byte]| byte != 0)),
        DType::F32 if elements == 1 => Some(list(bytes, f32::from_le_bytes)),
        DType::F64 if elements == 1 => Some(list(bytes, f64::from_le_bytes)),
        _ => None,
    }
}

fn dtype(code: i32) -> DType {
    let found = DType::ALL.into_iter().find(|d| d.onnx_code() == code);
    found.unwrap_or_else(|| panic!("{code} is the code of no dtype"))
}

fn dtype_name(code: i32) -> &'static str {
    dtype(code).name()
}

/// Programs of `fixtures/paddle-2.6.2/ops/`, each for one decision of a lowering, and the opsets to show.
const CASES: [(&str, &[u32]); 41] = [
    // The rank of the result is not obvious, or the shape is a tensor.
    ("reshape/shape_tensor", &[DEFAULT_OPSET]),
    ("reshape/copy_and_infer", &[DEFAULT_OPSET]),
    ("reshape/shape_list", &[DEFAULT_OPSET]),
    ("slice/index", &[DEFAULT_OPSET]),
    ("slice/dynamic_ends", &[DEFAULT_OPSET]),
    ("slice/item_of_shape", &[DEFAULT_OPSET]),
    // Paddle aligns the axes of `y` at a given axis, ONNX at the last.
    ("add/axis_1", &[DEFAULT_OPSET]),
    ("add/trailing", &[DEFAULT_OPSET]),
    ("add/parameter", &[DEFAULT_OPSET]),
    ("expand/shape_list", &[DEFAULT_OPSET]),
    ("expand/leading_keep", &[DEFAULT_OPSET]),
    ("full/shape_tensor", &[DEFAULT_OPSET]),
    ("full/scalar", &[DEFAULT_OPSET]),
    ("full_batch_size_like/moved", &[DEFAULT_OPSET]),
    ("layer_norm/two_axes", &[DEFAULT_OPSET]),
    ("layer_norm/plain", &[DEFAULT_OPSET]),
    ("matmul/trans_both", &[DEFAULT_OPSET]),
    ("matmul/weights_trans_y", &[DEFAULT_OPSET]),
    ("matmul/old_trans_both_alpha", &[DEFAULT_OPSET]),
    ("conv2d/nhwc_same_groups", &[DEFAULT_OPSET]),
    // The extent that is split is not known, so there are no sizes to give to Split.
    ("split/dynamic_axis", &[DEFAULT_OPSET]),
    ("stack/dims", &[DEFAULT_OPSET]),
    // What is known before a run is a constant; what is computed twice is there once.
    ("simplify/constants", &[DEFAULT_OPSET]),
    ("simplify/shapes", &[DEFAULT_OPSET]),
    ("simplify/twice", &[DEFAULT_OPSET]),
    ("simplify/nearly_twice", &[DEFAULT_OPSET]),
    ("simplify/moved_weight", &[DEFAULT_OPSET]),
    // Products of whole numbers are those of operands on their scales.
    ("simplify/dequantized_convolutions", &[DEFAULT_OPSET]),
    ("simplify/dequantized_last_channels", &[DEFAULT_OPSET]),
    ("simplify/dequantized_matrices", &[DEFAULT_OPSET]),
    ("simplify/dequantized_behind", &[DEFAULT_OPSET]),
    // Opset 20 introduced Gelu.
    ("gelu/exact", &[17, 20]),
    ("gelu/tanh", &[17, 20]),
    // From opset 18 on, Split needs sizes or the number of outputs. Sizes are valid before that, too.
    ("split/num", &[17, 18]),
    // What opsets from 10 and 11 on have as inputs were attributes before, and Resize was Upsample.
    ("slice/negative", &[9, 10]),
    ("pad/value", &[7]),
    ("clip/one_side", &[7]),
    ("nearest_interp/scale_2", &[7, 9, 10]),
    ("clip/tensors", &[8]),
    ("topk/tied_values", &[9]),
    ("tril_triu/main", &[9]),
];

/// Compares every case, and lists all that differ, not only the first.
#[test]
fn ops() {
    let mut differing = Vec::new();
    for (case, opsets) in CASES {
        for opset in opsets {
            let name = format!("{}_opset_{opset}", case.replace('/', "_"));
            let text = graph(&format!("paddle-2.6.2/ops/{case}.pdmodel"), *opset);
            let compared = catch_unwind(|| assert_snapshot!(name.as_str(), text));
            if compared.is_err() {
                differing.push(name);
            }
        }
    }
    assert!(
        differing.is_empty(),
        "other graphs than before: {differing:?}"
    );
}

/// Nor does what is stored have to be put into another shape in each run.
#[test]
fn extents_that_are_known_are_not_computed() {
    for (case, expected) in [
        ("bilinear_interp/up", "Resize"),
        ("bilinear_interp/corners", "Resize"),
        ("nearest_interp/up", "Resize"),
        ("matmul/mv_weight", "MatMul Squeeze"),
    ] {
        for program in [
            format!("paddle-2.6.2/ops/{case}.pdmodel"),
            format!("paddle-3.3.1/ops/{case}.json"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let output = folder.path().join("model.onnx");
            convert(&fixture(&program), &output, DEFAULT_OPSET, Weights::Inline);
            let nodes = decode(&output).graph.unwrap().node;
            let operators: Vec<&str> = nodes.iter().map(NodeProto::op_type).collect();
            assert_eq!(operators.join(" "), expected, "{program}");
        }
    }
}

#[test]
fn vision_transformers() {
    for (name, path) in [
        ("vit_base", "paddle-2.6.2/vit/ViT_base_patch16_224"),
        ("vit_small", "paddle-2.6.2/vit/ViT_small_patch16_224"),
        ("vit_base_pir", "paddle-3.3.1/vit/ViT_base_patch16_224"),
    ] {
        assert_snapshot!(name, graph(path, DEFAULT_OPSET));
    }
}

/// Runtimes refuse a model whose IR version is older than its opset needs.
#[test]
fn the_format_is_as_new_as_the_opset_needs() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    // These are from the table of versions in ONNX's `docs/Versioning.md`, but for opsets 7 and 8, which had version 3.
    // In that, each weight has to be an input of the graph as well.
    let former = [(7, 4), (8, 4), (9, 4), (10, 5), (11, 6)];
    let of_7 = [12, 13, 14].map(|opset| (opset, 7));
    let of_8 = [15, 16, 17, 18].map(|opset| (opset, 8));
    let newer = [
        (19, 9),
        (20, 9),
        (21, 10),
        (22, 10),
        (23, 11),
        (24, 12),
        (25, 13),
    ];
    let versions = [&former[..], &of_7, &of_8, &newer].concat();
    assert!(versions.iter().map(|(opset, _)| *opset).eq(OPSETS));
    for (opset, ir_version) in versions {
        convert(
            &fixture("paddle-2.6.2/ops/relu/plain.pdmodel"),
            &output,
            opset,
            Weights::Auto,
        );
        let model = decode(&output);
        assert_eq!(model.ir_version(), ir_version, "opset {opset}");
        let [import] = model.opset_import.as_slice() else {
            panic!("opset {opset}: {:?}", model.opset_import);
        };
        assert_eq!((import.domain(), import.version()), ("", i64::from(opset)));
        assert_eq!(model.producer_name(), "paddle2onnx-rs");
        assert_eq!(model.producer_version(), env!("CARGO_PKG_VERSION"));
    }
}

/// Tensors are referred to by name, so that their names must be unique; in ONNX, those of nodes must be, too.
#[test]
fn names_are_unique_and_defined_before_use() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let transformers = PADDLE_VERSIONS.map(|version| format!("{version}/vit"));
    let transformers = transformers.iter().map(String::as_str);
    for program in OP_FOLDERS
        .into_iter()
        .chain(transformers)
        .flat_map(support::programs)
    {
        let at_least = Model::open(&program, None).unwrap().lowest_opset().unwrap();
        for opset in [DEFAULT_OPSET.max(at_least), *OPSETS.end()] {
            convert(&program, &output, opset, Weights::Auto);
            let model = decode(&output);
            check_names(&program, model.graph.as_ref().unwrap());
        }
    }
}

fn check_names(program: &Path, graph: &GraphProto) {
    let program = program.display();
    let mut defined = BTreeSet::new();
    let inputs = graph.input.iter().map(ValueInfoProto::name);
    let initializers = graph.initializer.iter().map(TensorProto::name);
    for name in inputs.chain(initializers) {
        assert!(!name.is_empty(), "{program}: a tensor without a name");
        assert!(defined.insert(name), "{program}: {name} is defined twice");
    }
    let mut nodes = BTreeSet::new();
    for node in &graph.node {
        let name = node.name();
        assert!(!name.is_empty(), "{program}: a node without a name");
        assert!(nodes.insert(name), "{program}: two nodes are called {name}");
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            let known = defined.contains(input.as_str());
            assert!(known, "{program}: {name} reads {input} too early");
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let new = defined.insert(output);
            assert!(new, "{program}: {output} is defined twice");
        }
    }
    for output in &graph.output {
        let name = output.name();
        assert!(defined.contains(name), "{program}: no node gives {name}");
    }
}

/// Linked weights are where Paddle put them, and the bytes there must be those of inline weights.
#[test]
fn placement_changes_no_weight() {
    let folder = tempfile::tempdir().unwrap();
    let model = support::files::copy_of("paddle-2.6.2/vit/ViT_base_patch16_224", folder.path());
    let [inline, external, link] = [
        ("inline.onnx", Weights::Inline),
        ("external.onnx", Weights::External),
        ("link.onnx", Weights::Link),
    ]
    .map(|(name, weights)| {
        let output = model.join(name);
        let options = ConvertOptions {
            weights,
            ..ConvertOptions::default()
        };
        // Those that make other weights, which are left out where weights are linked.
        let rewrites = REWRITES.iter().filter(|rewrite| rewrite.makes_weights);
        let rewrites: Vec<String> = rewrites.map(|rewrite| rewrite.name.to_owned()).collect();
        let model = Model::open(&model, None).unwrap();
        let model = model.without_rewrites(&rewrites).unwrap();
        model.convert(&output, &options).unwrap();
        decode(&output).graph.unwrap()
    });
    for (graph, least) in [(&external, 9), (&link, 20)] {
        assert_eq!(graph.node, inline.node);
        let outside = graph.initializer.iter();
        let outside = outside.filter(|t| t.data_location() == DataLocation::External);
        assert!(outside.count() >= least, "too few are in another file");
        assert_eq!(graph.initializer.len(), inline.initializer.len());
        for (tensor, expected) in graph.initializer.iter().zip(&inline.initializer) {
            assert_eq!(tensor.name(), expected.name());
            assert_eq!(tensor.dims, expected.dims);
            let data = data(tensor, &model);
            assert!(data == expected.raw_data(), "{}", tensor.name());
        }
    }
}

/// A tensor's bytes, wherever they are.
fn data(tensor: &TensorProto, folder: &Path) -> Vec<u8> {
    if tensor.data_location() != DataLocation::External {
        return tensor.raw_data().to_vec();
    }
    let entry = |key: &str| {
        let mut entries = tensor.external_data.iter();
        let found = entries.find(|entry| entry.key() == key);
        found
            .unwrap_or_else(|| panic!("no {key}: {tensor:?}"))
            .value()
    };
    let number = |key: &str| entry(key).parse::<usize>().unwrap();
    let file = fs::read(folder.join(entry("location"))).unwrap();
    file[number("offset")..][..number("length")].to_vec()
}
