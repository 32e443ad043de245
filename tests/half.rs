//! Models in half precision: how large they are, what stays in float32, and how they are verified.

#![cfg(feature = "verify")]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use paddle2onnx::program::Origin;
use paddle2onnx::tensor::DType;
use paddle2onnx::verify::{
    Inputs, RandomInputs, Report, Side, Tolerance, Verdict, VerifyOptions, verify,
};
use paddle2onnx::{
    Conversion, ConvertOptions, HalfPrecision, KEPT_IN_FLOAT32, Model, Registry, Weights,
};
use prost::Message;
use support::files::copy_of;
use support::mutate_onnx::{MUTATIONS, VIT, mutated};
use support::onnx::decode;
use support::onnx::proto::{AttributeProto, GraphProto, NodeProto};
use support::{PADDLE_VERSIONS, fixture};

fn half() -> HalfPrecision {
    HalfPrecision::new(DType::F16)
}

fn opened(folder: &Path) -> Model {
    Model::open(folder, None).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
}

/// Converts a model in half precision.
fn convert(folder: &Path, onnx: &Path, half: HalfPrecision) -> Conversion {
    let model = opened(folder).in_half_precision(half).unwrap();
    let converted = model.convert(onnx, &ConvertOptions::default());
    converted.unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
}

/// Compares an ONNX file with the model of a folder, which says nothing of half precision.
fn verified(folder: &Path, onnx: &Path, options: VerifyOptions) -> Report {
    let options = VerifyOptions {
        ort_lib: Some(support::onnx_runtime().to_path_buf()),
        ..options
    };
    verify(&opened(folder), onnx, &options, &|_| {})
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
}

/// The inputs that are recorded in a folder, or else random ones.
fn recorded(folder: &Path) -> VerifyOptions {
    let runs = ["run0.npz", "run1.npz"].map(|run| folder.join(run));
    VerifyOptions {
        inputs: match runs.iter().all(|run| run.exists()) {
            true => Inputs::Files(runs.to_vec()),
            false => Inputs::Random(RandomInputs::default()),
        },
        ..VerifyOptions::default()
    }
}

/// The element types of the tensors of a graph, as far as initializers, inputs, Casts and what passes types on tell.
fn types(graph: &GraphProto) -> HashMap<&str, i32> {
    let mut types: HashMap<&str, i32> = HashMap::new();
    for tensor in &graph.initializer {
        types.insert(tensor.name(), tensor.data_type());
    }
    for input in &graph.input {
        let tensor = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        types.insert(input.name(), tensor.elem_type());
    }
    for node in &graph.node {
        let to = attribute(node, "to").and_then(|to| to.i);
        let passed_on = node
            .input
            .iter()
            .find_map(|input| types.get(input.as_str()));
        let dtype = to.map(|to| to as i32).or(passed_on.copied());
        for output in &node.output {
            types.extend(dtype.map(|dtype| (output.as_str(), dtype)));
        }
    }
    types
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    let mut attributes = node.attribute.iter();
    attributes.find(|attribute| attribute.name() == name)
}

/// Nothing is cast between float16 and float32 that was cast so before, no tensor is cast twice to one of them, and no weight
/// in a run.
fn has_few_casts(graph: &GraphProto, name: &str) {
    let floats = [DType::F32, DType::F16].map(|dtype| i64::from(dtype.onnx_code()));
    let casts = graph.node.iter().filter(|node| node.op_type() == "Cast");
    let casts = casts.map(|cast| (cast, attribute(cast, "to").unwrap().i()));
    let casts: Vec<_> = casts.filter(|(_, to)| floats.contains(to)).collect();
    let results: HashSet<&str> = casts
        .iter()
        .map(|(cast, _)| cast.output[0].as_str())
        .collect();
    let weights = graph.initializer.iter();
    let weights: HashSet<&str> = weights.map(|tensor| tensor.name()).collect();
    let mut seen = HashSet::new();
    for (cast, to) in casts {
        let input = cast.input[0].as_str();
        assert!(!results.contains(input), "{name}: {input} is cast twice");
        assert!(!weights.contains(input), "{name}: {input} is a weight");
        let is_first = seen.insert((input, to));
        assert!(is_first, "{name}: {input} is cast to {to} twice");
    }
}

#[test]
fn transformers_are_half_as_large_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, onnx) = (
        folder.path().join("whole.onnx"),
        folder.path().join("half.onnx"),
    );
    let vits = PADDLE_VERSIONS.map(|version| format!("{version}/vit/ViT_base_patch16_224"));
    let stacks = PADDLE_VERSIONS.map(|version| format!("{version}/transformers/decoder"));
    for name in vits.iter().chain(&stacks) {
        let path = fixture(name);
        let before = opened(&path)
            .convert(&whole, &ConvertOptions::default())
            .unwrap();
        let after = convert(&path, &onnx, half());
        // Nodes, casts among them, and what is said of their results.
        let nodes = after.nodes as u64 * 400;
        assert!(
            after.written.bytes < before.written.bytes / 2 + nodes,
            "{name}: {after:?}"
        );
        let graph = decode(&onnx).graph.unwrap();
        has_few_casts(&graph, name);
        let types = types(&graph);
        for node in &graph.node {
            let expected = match node.op_type() {
                "Softmax" | "LayerNormalization" => DType::F32,
                "MatMul" | "Conv" => DType::F16,
                _ => continue,
            };
            for input in &node.input {
                assert_eq!(
                    types[input.as_str()],
                    expected.onnx_code(),
                    "{name}: {node:?}"
                );
            }
        }
        let report = verified(&path, &onnx, recorded(&path));
        assert_eq!(
            report.verdict,
            Verdict::ParityByOp,
            "{name}: {:?}",
            report.remarks
        );
        let comparisons = report.runs[0].outputs[0].comparisons.iter();
        let sides: Vec<Side> = comparisons.map(|comparison| comparison.side).collect();
        assert_eq!(sides, [Side::OnnxRuntime, Side::Reference, Side::Unrounded]);
    }
}

/// Networks of all kinds, which are verified in the file alone.
#[test]
fn other_networks_verify() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    for name in [
        "paddle-2.6.2/detectors/pp_yoloe",
        "paddle-2.6.2/recurrent/crnn",
        "paddle-3.3.1/sensitive/resizes",
        "paddle-3.3.1/sensitive/segmentation",
        "paddle-3.3.1/control_flow/while_loop",
    ] {
        let path = fixture(name);
        convert(&path, &onnx, half());
        has_few_casts(&decode(&onnx).graph.unwrap(), name);
        let report = verified(&path, &onnx, recorded(&path));
        assert!(report.verdict.is_pass(), "{name}: {:?}", report.remarks);
    }
}

/// Single ops, whose inputs are in half precision, and the operators that are to be in float32.
#[test]
fn single_ops_verify() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let io_dtype = DType::F16;
    for (case, is_kept) in [
        ("argmax/flat", false),
        ("bilinear_interp/down", false),
        ("concat/first_axis", false),
        ("conv2d_transpose/dilations", false),
        ("cumsum/flat", true),
        ("gelu/exact", false),
        ("layer_norm/last_axis", true),
        ("matmul/batch_broadcast", false),
        ("pool2d/avg_adaptive_even", false),
        ("prelu/channel", false),
        ("softmax/last", true),
        ("where/f32", false),
    ] {
        let program = fixture(&format!("paddle-3.3.1/ops/{case}.json"));
        convert(&program, &onnx, HalfPrecision { io_dtype, ..half() });
        let graph = decode(&onnx).graph.unwrap();
        let casts = graph.node.iter().filter(|node| node.op_type() == "Cast");
        assert_eq!(casts.count() > 0, is_kept, "{case}");
        let recorded = program.with_extension("0.npz");
        let options = VerifyOptions {
            inputs: Inputs::Files(vec![recorded]),
            ..VerifyOptions::default()
        };
        let report = verified(&program, &onnx, options);
        assert!(report.verdict.is_pass(), "{case}: {report:#?}");
    }
}

#[test]
fn inputs_and_outputs_become_half_precision_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let path = fixture(VIT);
    for io_dtype in [DType::F32, DType::F16] {
        convert(&path, &onnx, HalfPrecision { io_dtype, ..half() });
        let graph = decode(&onnx).graph.unwrap();
        for port in graph.input.iter().chain(&graph.output) {
            let tensor = port.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
            assert_eq!(tensor.elem_type(), io_dtype.onnx_code());
        }
        let report = verified(&path, &onnx, VerifyOptions::default());
        assert!(report.verdict.is_pass(), "{io_dtype}: {report:#?}");
        let stated = VerifyOptions {
            tolerance: Some(Tolerance {
                atol: 0.01,
                rtol: 0.01,
            }),
            ..VerifyOptions::default()
        };
        assert_eq!(verified(&path, &onnx, stated).verdict, Verdict::Parity);
    }
}

#[test]
fn bfloat16_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let conversion = convert(&fixture(VIT), &onnx, HalfPrecision::new(DType::BF16));
    assert!(
        conversion
            .notes
            .iter()
            .any(|note| note.text.contains("no kernels"))
    );
    let report = verified(&fixture(VIT), &onnx, VerifyOptions::default());
    assert!(report.verdict.is_pass(), "{report:#?}");
    let model = opened(&fixture(VIT)).in_half_precision(HalfPrecision::new(DType::BF16));
    let options = ConvertOptions {
        opset: 11,
        ..ConvertOptions::default()
    };
    let error = model.unwrap().convert(&onnx, &options).unwrap_err();
    assert_eq!(error.needed_opset(), Some(13), "{error}");
}

/// Faults that the noise of half precision hides at the outputs, too, since each op is compared.
#[test]
fn faults_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let path = fixture(VIT);
    let faults = ["softmax over rows", "heads swapped with tokens"];
    let found = MUTATIONS
        .iter()
        .filter(|one| one.model == VIT && faults.contains(&one.name));
    let mut count = 0;
    for mutation in found {
        convert(&path, &onnx, half());
        let wrong = mutated(decode(&onnx), mutation.change);
        fs::write(&onnx, wrong.encode_to_vec()).unwrap();
        let report = verified(&path, &onnx, VerifyOptions::default());
        assert_eq!(report.verdict, Verdict::NoParity, "{}", mutation.name);
        let culprit = report.per_op.and_then(|found| found.culprit).unwrap();
        assert_eq!(culprit.report.op, mutation.op, "{}", mutation.name);
        count += 1;
    }
    assert_eq!(count, faults.len());
}

/// The reference overflows as ONNX Runtime does, and neither is what the original computes.
#[test]
fn infinities_that_the_original_does_not_have_are_no_parity() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let path = fixture(VIT);
    convert(&path, &onnx, half());
    let options = VerifyOptions {
        inputs: Inputs::Random(RandomInputs {
            ranges: vec![("x".to_owned(), "5e6..9e6".parse().unwrap())],
            ..RandomInputs::default()
        }),
        ..VerifyOptions::default()
    };
    assert_eq!(verified(&path, &onnx, options).verdict, Verdict::NoParity);
}

/// Writes a number into a weight, in the middle.
fn put_into(model: &Model, weight: &str, number: f32) {
    let mut values = model.program().values();
    let (_, value) = values.find(|(_, value)| value.name == weight).unwrap();
    let Origin::Parameter(range) = &value.origin else {
        panic!("{weight} is no weight");
    };
    let mut file = fs::File::options().write(true).open(&range.path).unwrap();
    let middle = range.offset + range.len / 8 * 4;
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&number.to_le_bytes()).unwrap();
}

#[test]
fn weights_beyond_half_precision_are_named_and_stay_in_float32() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let path = copy_of("paddle-2.6.2/vit/ViT_base_patch16_224", folder.path());
    let model = opened(&path);
    let weights = model.program().values().filter(|(_, value)| {
        matches!(value.origin, Origin::Parameter(_)) && value.shape.len() == 2
    });
    let weight = weights.last().unwrap().1.name.clone();
    put_into(&model, &weight, -70_000.0);
    let conversion = convert(&path, &onnx, half());
    let text = format!("ends at 6.5504e4, and there is -7e4 in `{weight}`");
    let note = conversion
        .notes
        .iter()
        .find(|note| note.text.contains(&text));
    assert!(note.is_some(), "{:?}", conversion.notes);
    let graph = decode(&onnx).graph.unwrap();
    let stored = graph
        .initializer
        .iter()
        .find(|tensor| tensor.name() == weight);
    assert_eq!(stored.unwrap().data_type(), DType::F32.onnx_code());
    let report = verified(&path, &onnx, VerifyOptions::default());
    assert_eq!(report.verdict, Verdict::ParityByOp, "{report:#?}");
}

#[test]
fn what_a_user_names_stays_in_float32() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let kept = |pattern: &str| {
        let keep_f32 = vec![pattern.to_owned()];
        convert(&fixture(VIT), &onnx, HalfPrecision { keep_f32, ..half() });
        let graph = decode(&onnx).graph.unwrap();
        has_few_casts(&graph, pattern);
        let types = types(&graph);
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for node in &graph.node {
            if types.get(node.output[0].as_str()) == Some(&DType::F32.onnx_code()) {
                *kept.entry(node.op_type().to_owned()).or_default() += 1;
            }
        }
        let report = verified(&fixture(VIT), &onnx, VerifyOptions::default());
        assert!(report.verdict.is_pass(), "{pattern}: {report:#?}");
        kept
    };
    let usual = kept("softmax");
    assert!(
        !usual.contains_key("MatMul") && !usual.contains_key("Erf"),
        "{usual:?}"
    );
    assert!(kept("gelu").contains_key("Erf"));
    assert_eq!(kept("matmul").get("Conv"), None);
    assert!(kept("Block_1/*Attention")["MatMul"] > 0);
}

#[test]
fn what_can_not_be_half_precision_is_refused() {
    let refusal = |half: HalfPrecision| {
        let model = opened(&fixture(VIT)).in_half_precision(half);
        model.map(drop).unwrap_err().to_string()
    };
    assert!(refusal(HalfPrecision::new(DType::F64)).contains("float64 is no half precision"));
    let io_dtype = DType::BF16;
    assert!(
        refusal(HalfPrecision { io_dtype, ..half() }).contains("bfloat16 in a model of float16")
    );
    let keep_f32 = vec!["sofmax".to_owned()];
    let misspelt = refusal(HalfPrecision { keep_f32, ..half() });
    assert!(
        misspelt.contains("`sofmax`") && misspelt.contains("`softmax`"),
        "{misspelt}"
    );
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("half.onnx");
    let refused = |path: PathBuf, options: ConvertOptions<'_>| {
        let model = opened(&path).in_half_precision(half()).unwrap();
        model.convert(&onnx, &options).unwrap_err().to_string()
    };
    let weights = Weights::Link;
    let linked = refused(
        fixture(VIT),
        ConvertOptions {
            weights,
            ..ConvertOptions::default()
        },
    );
    assert!(linked.contains("--weights link"), "{linked}");
    let quantized = fixture("paddle-3.3.1/quantized/ptq");
    let message = refused(quantized.clone(), ConvertOptions::default());
    assert!(message.contains("--dequantize"), "{message}");
    let model = opened(&quantized).in_half_precision(half()).unwrap();
    let dequantize = true;
    model
        .convert(
            &onnx,
            &ConvertOptions {
                dequantize,
                ..ConvertOptions::default()
            },
        )
        .unwrap();
}

/// What is asked for and what is there must be the same half precision.
#[test]
fn a_float32_model_is_not_judged_as_half_precision() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    let model = opened(&fixture(VIT));
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let options = VerifyOptions {
        ort_lib: Some(support::onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let model = model.in_half_precision(half()).unwrap();
    let error = verify(&model, &onnx, &options, &|_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nothing in the model is float16"),
        "{error}"
    );
}

#[test]
fn the_table_of_what_stays_names_ops_that_there_are() {
    let registry = Registry::standard();
    let mut names = HashSet::new();
    for name in KEPT_IN_FLOAT32.iter().flat_map(|row| row.ops) {
        assert!(registry.find(name).is_some(), "there is no {name}");
        assert!(names.insert(name), "{name} is there twice");
    }
}
