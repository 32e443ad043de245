//! Which rewrites find something in which programs, and which programs they leave as they are.
//!
//! That the rewritten models compute the same is shown by `ops.rs`, which runs them on what Paddle has recorded.

mod support;

use std::fs;
use std::path::Path;

use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Model, OPSETS, Weights};
use serde_json::Value;
use support::files::copy_of;
use support::onnx::{convert, decode};
use support::{PADDLE_VERSIONS, fixture};

const AFFINE: &str = "affine-into-conv";
const CONCAT: &str = "nested-concat";
const TOKENS: &str = "tokens-into-positions";
const SPLIT: &str = "picked-axis-to-split";
const SCALE: &str = "scale-into-weights";
const ATTENTION: &str = "attention";
const RESHAPE: &str = "nested-reshape";
const TRANSPOSE: &str = "nested-transpose";
const LINEAR: &str = "linear-to-gemm";

/// Programs of `fixtures/paddle-*/ops/rewrites/`, the rewrite that each is about, and the nodes of its model with the
/// rewrite and without.
const CASES: [(&str, &str, &str, &str); 46] = [
    ("token", TOKENS, "Pad Add", WITH_TOKENS),
    ("token_pair", TOKENS, "Pad Add", WITH_TOKENS),
    ("token_behind", TOKENS, WITH_TOKENS, ""),
    // One position is added to all rows.
    ("token_of_one_place", TOKENS, WITH_TOKENS, ""),
    ("token_of_open_rows", TOKENS, WITH_TOKENS, ""),
    // What is without positions, or the positions without tokens, are read, too.
    (
        "token_read",
        TOKENS,
        "Shape Concat Expand Concat Add Relu",
        "",
    ),
    (
        "token_and_shared_positions",
        TOKENS,
        "Shape Concat Expand Concat Add Relu",
        "",
    ),
    (
        "layers",
        LINEAR,
        "Gemm Relu Gemm",
        "MatMul Add Relu MatMul Add",
    ),
    (
        "layer_of_a_product",
        LINEAR,
        "MatMul Gemm",
        "MatMul MatMul Add",
    ),
    // Gemm multiplies matrices alone.
    ("layer_of_three_axes", LINEAR, "MatMul Add", ""),
    ("layer_of_rows", LINEAR, "MatMul Add", ""),
    ("layer_of_an_input", LINEAR, "MatMul Add", ""),
    // The product itself is read, too.
    ("layer_read_twice", LINEAR, "MatMul Add Relu", ""),
    (
        "reshaped",
        RESHAPE,
        "Reshape Relu Reshape",
        "Reshape Unsqueeze Reshape Relu Reshape Reshape",
    ),
    ("reshaped_back", RESHAPE, "Relu", "Reshape Reshape Relu"),
    // What it is reshaped to in between is read, too.
    ("reshaped_and_read", RESHAPE, "Reshape Reshape Relu", ""),
    (
        "reshaped_and_measured",
        RESHAPE,
        "Reshape Relu",
        "Reshape Reshape Relu",
    ),
    // Nor is it known whether the axis has one element, without which a run has to fail.
    ("squeezed_open", RESHAPE, "Squeeze Reshape Relu", ""),
    ("reshaped_to_open", RESHAPE, "Unsqueeze Reshape Relu", ""),
    (
        "transposed",
        TRANSPOSE,
        "Relu Transpose",
        "Transpose Transpose Transpose Relu",
    ),
    (
        "transposed_back",
        TRANSPOSE,
        "Relu",
        "Transpose Transpose Relu",
    ),
    (
        "transposed_around_elements",
        TRANSPOSE,
        "Clip Mul Exp Add",
        "Transpose Clip Mul Exp Transpose Add Transpose",
    ),
    (
        "transposed_and_joined",
        TRANSPOSE,
        "Concat Tanh",
        "Transpose Transpose Concat Tanh Transpose",
    ),
    (
        "transposed_against_rows",
        TRANSPOSE,
        "Transpose Add Transpose",
        "",
    ),
    (
        "layers_of_channels_last",
        TRANSPOSE,
        "Transpose Conv Relu Conv Relu Add GlobalAveragePool Reshape",
        "Transpose Conv Transpose Relu Transpose Conv Transpose Relu Add Transpose GlobalAveragePool Transpose Reshape",
    ),
    (
        "transposed_through_copies",
        TRANSPOSE,
        "Relu",
        "Transpose Transpose Relu",
    ),
    (
        "transposed_and_read",
        TRANSPOSE,
        "Transpose Transpose Relu",
        "",
    ),
    (
        "joined",
        CONCAT,
        "Concat Concat",
        "Concat Concat Concat Concat Concat",
    ),
    (
        "joined_along_another_axis",
        CONCAT,
        "Concat Tanh Concat Concat Concat Concat",
        "",
    ),
    ("conv_bias", AFFINE, "Conv", "Conv Add"),
    (
        "conv_norm_and_bias",
        AFFINE,
        "Conv",
        "Conv BatchNormalization Add",
    ),
    ("conv_scalars", AFFINE, "Conv", "Conv Mul Add Add Mul"),
    (
        "conv_channels_last",
        AFFINE,
        "Transpose Conv Transpose",
        "Transpose Conv BatchNormalization Transpose",
    ),
    // Into the second convolution, too, if it had a filter of its own.
    (
        "conv_shared_filter",
        AFFINE,
        "Exp Conv Conv BatchNormalization",
        "Exp Conv Conv Add BatchNormalization",
    ),
    // The convolution itself is read, too.
    (
        "conv_read_twice",
        AFFINE,
        "Conv BatchNormalization Relu",
        "",
    ),
    // What is added differs from pixel to pixel, or from run to run.
    ("conv_of_each_pixel", AFFINE, "Conv Add", ""),
    ("conv_of_an_input", AFFINE, "Conv Mul", ""),
    (
        "heads",
        SPLIT,
        "Reshape Transpose Split Transpose MatMul Softmax MatMul",
        "Reshape Transpose Gather Gather Gather Transpose MatMul Softmax MatMul",
    ),
    (
        "heads_two_of_three",
        SPLIT,
        "Reshape Transpose Split",
        "Reshape Transpose Gather Gather",
    ),
    (
        "heads_before",
        SPLIT,
        "Reshape Transpose Split",
        "Reshape Transpose Gather Gather Gather",
    ),
    (
        "scaled_product",
        SCALE,
        "MatMul Add Reshape Transpose Split Transpose MatMul",
        "MatMul Add Reshape Transpose Split Transpose MatMul Mul",
    ),
    (
        "scaled_queries",
        SCALE,
        "MatMul Add Reshape Transpose",
        "MatMul Add Reshape Transpose Mul",
    ),
    // What is scaled is read unscaled, too.
    ("scaled_and_whole", SCALE, "MatMul Add Mul Relu", ""),
    // The columns of the weight are somewhere else where a part of them is picked.
    (
        "scaled_of_other_columns",
        SCALE,
        "MatMul Add Transpose Reshape Transpose Split Mul",
        "",
    ),
    // No axis follows that could hold both.
    (
        "heads_of_the_last_axis",
        SPLIT,
        "Reshape Transpose Gather Gather Gather",
        "",
    ),
    // The whole is read, too.
    (
        "heads_also_whole",
        SPLIT,
        "Reshape Transpose Gather Gather Gather Relu",
        "",
    ),
];

const WITH_TOKENS: &str = "Shape Concat Expand Concat Add";

/// As [`CASES`], for what needs the newest opset.
const NEWER_CASES: [(&str, &str, &str, &str); 10] = [
    (
        "attention",
        ATTENTION,
        "MatMul Add Split Attention",
        "MatMul Add Reshape Transpose Split Transpose MatMul Softmax MatMul Transpose Reshape",
    ),
    (
        "attention_masked",
        ATTENTION,
        "Slice Unsqueeze Slice Slice Mul Add Attention",
        "Slice Unsqueeze Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Add Softmax Mul Add \
         Reshape Transpose MatMul Transpose Reshape",
    ),
    (
        "attention_mask_of_all",
        ATTENTION,
        "Slice Slice Mul Add Attention",
        MASKED,
    ),
    ("attention_mask_of_heads", ATTENTION, MASKED, ""),
    ("attention_mask_of_one_key", ATTENTION, MASKED, ""),
    // ONNX Runtime takes no mask that is the same for all queries.
    ("attention_mask_of_keys", ATTENTION, MASKED, ""),
    (
        "attention_of_heads",
        ATTENTION,
        "Slice Slice Reshape Transpose Reshape Transpose Attention Tanh",
        "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Softmax MatMul Tanh",
    ),
    // The batch is broadcast.
    (
        "attention_of_one_batch",
        ATTENTION,
        "Reshape Transpose Mul Reshape Transpose Transpose MatMul Softmax MatMul Tanh",
        "",
    ),
    // The shares of all keys are read, too.
    (
        "attention_with_weights",
        ATTENTION,
        "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Softmax MatMul",
        "",
    ),
    (
        "attention_over_queries",
        ATTENTION,
        "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Softmax MatMul",
        "",
    ),
];

const MASKED: &str = "Slice Slice Reshape Transpose Mul Reshape Transpose Transpose MatMul Add Softmax Mul Add Reshape \
     Transpose MatMul Transpose Reshape";

/// The operators of the model of a program without these rewrites, in their order.
fn operators(program: &Path, opset: u32, left_out: &[String]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let model = Model::open(program, None).unwrap();
    let model = model.without_rewrites(left_out).unwrap();
    let options = ConvertOptions {
        opset,
        ..ConvertOptions::default()
    };
    model.convert(&output, &options).unwrap();
    let nodes = decode(&output).graph.unwrap().node;
    let operators: Vec<&str> = nodes.iter().map(|node| node.op_type()).collect();
    operators.join(" ")
}

fn check(cases: &[(&str, &str, &str, &str)], opset: u32) {
    for (case, rewrite, with, without) in cases {
        for program in [
            format!("paddle-2.6.2/ops/rewrites/{case}.pdmodel"),
            format!("paddle-3.3.1/ops/rewrites/{case}.json"),
        ] {
            let program = &fixture(&program);
            let without = if without.is_empty() { with } else { without };
            assert_eq!(operators(program, opset, &[]), *with, "{case}");
            let left_out = [(*rewrite).to_owned()];
            assert_eq!(operators(program, opset, &left_out), *without, "{case}");
        }
    }
}

#[test]
fn each_rewrite_finds_what_it_is_for_and_nothing_else() {
    check(&CASES, DEFAULT_OPSET);
}

#[test]
fn rewrites_wait_for_the_opset_that_they_need() {
    check(&NEWER_CASES, *OPSETS.end());
    let (case, _, with, _) = NEWER_CASES[0];
    let program = fixture(&format!("paddle-3.3.1/ops/rewrites/{case}.json"));
    assert_eq!(operators(&program, 23, &[]), with);
    assert!(!operators(&program, 22, &[]).contains("Attention"));
}

/// A normalisation by the statistics of the batch is no function of single elements.
#[test]
fn normalisation_in_training_stays() {
    let folder = tempfile::tempdir().unwrap();
    let case = "paddle-3.3.1/ops/rewrites/conv_norm_and_bias";
    let json = fs::read_to_string(fixture(&format!("{case}.json"))).unwrap();
    let mut program: Value = serde_json::from_str(&json).unwrap();
    let mut count = 0;
    train(&mut program, &mut count);
    assert_eq!(count, 1);
    let path = folder.path().join("model.json");
    fs::write(&path, program.to_string()).unwrap();
    fs::copy(
        fixture(&format!("{case}.pdiparams")),
        folder.path().join("model.pdiparams"),
    )
    .unwrap();
    let operators = operators(&path, DEFAULT_OPSET, &[]);
    assert!(operators.starts_with("Conv ReduceMean "), "{operators}");
}

/// Makes every `is_test` of a program false.
fn train(value: &mut Value, count: &mut usize) {
    if value["N"] == "is_test" {
        value["AT"]["D"] = Value::Bool(false);
        *count += 1;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| train(item, count)),
        Value::Object(items) => items.values_mut().for_each(|item| train(item, count)),
        _ => {}
    }
}

/// The error of the conversion of a program, of which nothing is left.
fn refusal(program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.json");
    fs::write(&path, program).unwrap();
    let output = folder.path().join("model.onnx");
    let model = Model::open(&path, None).unwrap();
    let converted = model.convert(&output, &ConvertOptions::default());
    assert!(!output.exists());
    converted.unwrap_err().to_string()
}

/// Nor do transposes cancel out that are none: the error has the numbers of the file.
#[test]
fn what_is_no_permutation_is_refused() {
    let case = "paddle-3.3.1/ops/rewrites/transposed_back";
    let json = fs::read_to_string(fixture(&format!("{case}.json"))).unwrap();
    let number = |axis: u8| format!(r##"{{"#":"0.a_i32","D":{axis}}}"##);
    let [first, other] = [[2, 0, 3, 1], [2, 0, 3, 3]].map(|perm| perm.map(number).join(","));
    assert_eq!(json.matches(&first).count(), 1);
    let error = refusal(&json.replace(&first, &other));
    assert!(error.contains("[2, 0, 3, 3]"), "{error}");
}

/// Nor are tensors joined along an axis that they don't have, as a file may say.
#[test]
fn what_is_joined_along_an_axis_that_is_missing_is_refused() {
    let case = "paddle-3.3.1/ops/rewrites/transposed_and_joined";
    let json = fs::read_to_string(fixture(&format!("{case}.json"))).unwrap();
    let mut program: Value = serde_json::from_str(&json).unwrap();
    let ops = &mut program["program"]["regions"][0]["blocks"][0]["ops"];
    let ops = ops.as_array_mut().unwrap();
    let concat = ops.iter().position(|op| op["#"] == "1.concat").unwrap();
    ops[concat]["O"][0]["TT"]["D"][1] = Value::from(vec![-1, 2, 3, 4, 5]);
    let axis = ops[concat]["I"][1].clone();
    let full = ops.iter_mut().find(|op| op["O"][0]["%"] == axis["%"]);
    let attributes = full.unwrap()["A"].as_array_mut().unwrap();
    let value = attributes.iter_mut().find(|attr| attr["N"] == "value");
    value.unwrap()["AT"]["D"] = Value::from(4.0);
    let error = refusal(&program.to_string());
    assert!(error.contains("`concat`"), "{error}");
}

#[test]
fn unknown_rewrites_are_refused() {
    let program = fixture("paddle-3.3.1/ops/rewrites/heads.json");
    let model = Model::open(&program, None).unwrap();
    let error = model.without_rewrites(&["bias".to_owned()]).unwrap_err();
    assert_eq!(
        error.message(),
        "no rewrite is called \"bias\"; there are affine-into-conv, nested-concat, tokens-into-positions, \
         picked-axis-to-split, attention, multi-head-attention, self-attention, scale-into-weights, nested-transpose, \
         nested-reshape, linear-to-gemm"
    );
}

/// Weights on other scales would be copied into the model.
#[test]
fn linked_weights_stay_as_they_are() {
    for version in PADDLE_VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let model = copy_of(
            &format!("{version}/vit/ViT_base_patch16_224"),
            folder.path(),
        );
        let output = model.join("linked.onnx");
        convert(&model, &output, DEFAULT_OPSET, Weights::Link);
        let weights = fs::metadata(model.join("inference.pdiparams")).unwrap();
        let written = fs::metadata(&output).unwrap();
        assert!(
            written.len() < weights.len() / 2,
            "{version}: {} of {} bytes",
            written.len(),
            weights.len()
        );
        let graph = decode(&output).graph.unwrap();
        for tensor in &graph.initializer {
            let is_matrix = tensor.dims.len() > 1 && tensor.dims.iter().product::<i64>() > 64;
            let is_linked = !tensor.external_data.is_empty();
            assert!(is_linked || !is_matrix, "{version}: {:?}", tensor.name);
        }
    }
}
