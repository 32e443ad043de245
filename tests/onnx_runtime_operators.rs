//! Models for ONNX Runtime have its own operators of attention, and compute with them what Paddle does.

#![cfg(feature = "verify")]

mod support;

use std::path::Path;

use paddle2onnx::tensor::DType;
use paddle2onnx::verify::{Verdict, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, HalfPrecision, Model, OPSETS, Target};
use support::onnx::decode;
use support::onnx::proto::ModelProto;
use support::{OP_FOLDERS, PADDLE_VERSIONS, against_recorded, fixture, onnx_runtime, programs};

const DOMAIN: &str = "com.microsoft";
const MULTI_HEAD: &str = "multi-head-attention";
const SELF: &str = "self-attention";

/// Programs of `fixtures/paddle-*/ops/rewrites/`, and the nodes of the models for ONNX Runtime.
const CASES: [(&str, &str); 11] = [
    ("attention", "ms.Attention"),
    ("self_attention_under_mask", "ms.Attention"),
    // The operators take masks with axes of the batch and of the heads.
    (
        "self_attention_mask_of_all",
        "MatMul Reshape Transpose Split Transpose MatMul Add Softmax MatMul Transpose Reshape",
    ),
    // What the layer makes is read besides.
    (
        "self_attention_and_layer",
        "MatMul Add Split ms.MultiHeadAttention Relu",
    ),
    (
        "self_attention_keys_first",
        "MatMul Add Split ms.MultiHeadAttention",
    ),
    (
        "attention_masked",
        "Slice Unsqueeze Slice Slice Mul Add ms.MultiHeadAttention",
    ),
    ("attention_mask_of_all", MASKED),
    ("attention_mask_of_heads", MASKED),
    ("attention_mask_of_one_key", MASKED),
    ("attention_mask_of_keys", MASKED),
    // Heads have to lie side by side.
    (
        "attention_of_heads",
        "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Softmax MatMul Tanh",
    ),
];

const MASKED: &str = "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Add Softmax Mul Add Reshape \
     Transpose MatMul Transpose Reshape";

/// The model of a program, to be written for ONNX Runtime.
fn opened(program: &Path) -> Model {
    let target = Target::named("onnxruntime").unwrap();
    let model = Model::open(program, None).unwrap();
    model.with_operators_of(target.domain)
}

fn converted(model: &Model, output: &Path, opset: u32) -> ModelProto {
    let options = ConvertOptions {
        opset,
        ..ConvertOptions::default()
    };
    model.convert(output, &options).unwrap();
    decode(output)
}

/// The operators of a model in their order, with `ms.` in front of ONNX Runtime's own.
fn operators(onnx: &ModelProto) -> String {
    let nodes = onnx.graph.iter().flat_map(|graph| &graph.node);
    let operators = nodes.map(|node| match node.domain() {
        DOMAIN => format!("ms.{}", node.op_type()),
        _ => node.op_type().to_owned(),
    });
    operators.collect::<Vec<_>>().join(" ")
}

/// Whether a model may have nodes of ONNX Runtime's own operators.
fn has_own(onnx: &ModelProto) -> bool {
    let mut imports = onnx.opset_import.iter();
    imports.any(|import| import.domain() == DOMAIN)
}

/// Whether a model has attention in one node.
fn has_attention(onnx: &ModelProto) -> bool {
    let operators = operators(onnx);
    operators.split(' ').any(|name| name.ends_with("Attention"))
}

#[test]
fn attention_becomes_an_operator_where_that_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    for (case, expected) in CASES {
        for program in [
            format!("paddle-2.6.2/ops/rewrites/{case}.pdmodel"),
            format!("paddle-3.3.1/ops/rewrites/{case}.json"),
        ] {
            let onnx = converted(&opened(&fixture(&program)), &output, DEFAULT_OPSET);
            assert_eq!(operators(&onnx), expected, "{program}");
            assert_eq!(has_own(&onnx), expected.contains("ms."), "{program}");
        }
    }
}

#[test]
fn both_rewrites_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let program = fixture("paddle-3.3.1/ops/rewrites/attention.json");
    let without = |names: &[&str], opset: u32| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let model = opened(&program).without_rewrites(&names).unwrap();
        operators(&converted(&model, &output, opset))
    };
    let plain =
        "MatMul Add Reshape Transpose Split Transpose MatMul Softmax MatMul Transpose Reshape";
    let split = "MatMul Add Split ms.MultiHeadAttention";
    assert_eq!(without(&[SELF], DEFAULT_OPSET), split);
    assert_eq!(without(&[MULTI_HEAD], DEFAULT_OPSET), plain);
    // ONNX's own operator comes first where the opset has it.
    let newest = *OPSETS.end();
    assert_eq!(without(&[SELF], newest), "MatMul Add Split Attention");
    assert_eq!(without(&[], newest), "ms.Attention");
}

/// Its kernels on CPUs take float32 alone.
#[test]
fn half_precision_has_operators_of_onnx_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let model = opened(&fixture("paddle-3.3.1/ops/rewrites/attention.json"));
    let half = model
        .in_half_precision(HalfPrecision::new(DType::F16))
        .unwrap();
    let onnx = converted(&half, &output, DEFAULT_OPSET);
    assert!(!has_own(&onnx), "{}", operators(&onnx));
}

/// Every program in which there is attention, on the inputs and outputs that Paddle recorded, as a whole and op by op.
#[test]
fn the_operators_compute_what_paddle_computes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let (mut found, mut wrong) = (0, Vec::new());
    let programs = OP_FOLDERS.into_iter().flat_map(programs);
    // At the newest, ONNX's own operator stands beside those, and takes other masks.
    for (program, opset) in programs
        .flat_map(|program| [DEFAULT_OPSET, *OPSETS.end()].map(|opset| (program.clone(), opset)))
    {
        let model = opened(&program);
        let options = ConvertOptions {
            opset,
            ..ConvertOptions::default()
        };
        if model.convert(&output, &options).is_err() || !has_attention(&decode(&output)) {
            continue;
        }
        found += 1;
        let options = VerifyOptions {
            per_op: true,
            ..against_recorded(&program)
        };
        match verify(&model, &output, &options, &|_| {}) {
            Ok(report) if report.verdict == Verdict::Parity => {}
            other => wrong.push(format!("{} at {opset}: {other:?}", program.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 20, "{found} programs");
}

#[test]
fn vision_transformers_have_one_operator_for_each_attention() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    for version in PADDLE_VERSIONS {
        for variant in ["ViT_base_patch16_224", "ViT_small_patch16_224"] {
            let model = opened(&fixture(&format!("{version}/vit/{variant}")));
            let operators = operators(&converted(&model, &output, DEFAULT_OPSET));
            let count = |name: &str| operators.split(' ').filter(|own| *own == name).count();
            assert!(count("ms.Attention") > 0, "{operators}");
            // That of the classes is left.
            assert_eq!(count("Softmax"), 1, "{operators}");
            let options = VerifyOptions {
                per_op: true,
                ort_lib: Some(onnx_runtime().to_path_buf()),
                ..VerifyOptions::default()
            };
            let report = verify(&model, &output, &options, &|_| {}).unwrap();
            assert_eq!(report.verdict, Verdict::Parity, "{version} {variant}");
            // Of the ops around it, those in front of the product are part of the operator.
            let per_op = report.per_op.unwrap();
            assert!(
                per_op.compared > 20,
                "{version} {variant}: {}",
                per_op.compared
            );
        }
    }
}
