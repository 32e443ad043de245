//! Branches and loops against what real Paddle gives: the reference interpreter and ONNX Runtime, on the networks of
//! `fixtures/paddle-*/control_flow/`, with inputs that take different branches and numbers of rounds.

#![cfg(feature = "verify")]

mod support;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use paddle2onnx::verify::{Inputs, Report, VerifyOptions, Within, verify};
use paddle2onnx::{ConvertOptions, DEFAULT_OPSET, Error, Model, OPSETS};
use prost::Message;
use support::onnx::decode;
use support::onnx::proto::NodeProto;
use support::{PADDLE_VERSIONS, fixture, onnx_runtime, programs};

fn name(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name).unwrap();
    folder.to_string_lossy().into_owned()
}

fn goldens(program: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(program.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut goldens: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "npz"))
        .collect();
    goldens.sort();
    assert!(goldens.len() >= 2, "{} goldens", goldens.len());
    goldens
}

fn agrees(program: &Path, opset: u32) -> Result<(), String> {
    let goldens = goldens(program);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model.onnx");
    let options = VerifyOptions {
        inputs: Inputs::Files(goldens.clone()),
        expected: goldens,
        per_op: opset == DEFAULT_OPSET,
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = Model::open(program, None).and_then(|model| {
        let opset = model.lowest_opset()?.max(opset);
        let convert = ConvertOptions {
            opset,
            ..ConvertOptions::default()
        };
        model.convert(&output, &convert)?;
        verify(&model, &output, &options, &|_| {})
    });
    match report {
        Ok(report) if report.verdict.is_pass() && are_all_compared(&report) => Ok(()),
        Ok(report) => Err(format!("{report:?}")),
        Err(e) => Err(e.to_string()),
    }
}

fn are_all_compared(report: &Report) -> bool {
    let mut found = report.per_op.iter();
    found.all(|found| found.not_compared.is_empty())
}

/// Every network at the lowest, the default and the highest opset.
#[test]
fn networks() {
    let mut failures = Vec::new();
    for version in PADDLE_VERSIONS {
        for program in programs(&format!("{version}/control_flow")) {
            for opset in [*OPSETS.start(), DEFAULT_OPSET, *OPSETS.end()] {
                if let Err(e) = agrees(&program, opset) {
                    failures.push(format!("{version} {} {opset}: {e}", name(&program)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The first multiplication in a body of these nodes.
fn inner_product(nodes: &mut [NodeProto]) -> Option<&mut NodeProto> {
    let attributes = nodes.iter_mut().flat_map(|node| &mut node.attribute);
    let mut bodies = attributes.filter_map(|attr| attr.g.as_mut());
    bodies.find_map(
        |body| match body.node.iter().position(|node| node.op_type() == "Mul") {
            Some(position) => Some(&mut body.node[position]),
            None => inner_product(&mut body.node),
        },
    )
}

/// The loop of `while_in_if` with a wrong node in its body, op by op, in a round.
fn blamed(round: Option<usize>) -> Result<Vec<(String, Vec<Within>)>, Error> {
    let program = fixture("paddle-3.3.1/control_flow/while_in_if/inference.json");
    let model = Model::open(&program, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let onnx = folder.path().join("model.onnx");
    model.convert(&onnx, &ConvertOptions::default()).unwrap();
    let mut wrong = decode(&onnx);
    let graph = wrong.graph.as_mut().unwrap();
    inner_product(&mut graph.node).unwrap().op_type = Some("Div".into());
    fs::write(&onnx, wrong.encode_to_vec()).unwrap();
    let options = VerifyOptions {
        per_op: true,
        round: round.and_then(NonZeroUsize::new),
        ort_lib: Some(onnx_runtime().to_path_buf()),
        ..VerifyOptions::default()
    };
    let report = verify(&model, &onnx, &options, &|_| {})?;
    assert!(!report.verdict.is_pass());
    let found = report.per_op.unwrap();
    let culprit = found.culprit.unwrap().report;
    let wrong = found.ops.into_iter().filter(|op| !op.own.agrees);
    let wrong: Vec<_> = wrong.map(|op| (op.op, op.within)).collect();
    assert_eq!(wrong[0], (culprit.op, culprit.within));
    Ok(wrong)
}

#[test]
fn the_blame_names_the_round_and_the_branch() {
    let rounds = |wrong: &[(String, Vec<Within>)]| -> Vec<Option<usize>> {
        let innermost = wrong.iter().map(|(_, within)| within.last());
        innermost.filter_map(|block| Some(block?.round)).collect()
    };
    let wrong = blamed(None).unwrap();
    let (op, within) = &wrong[0];
    assert_eq!(op, "scale");
    let blocks: Vec<String> = within.iter().map(Within::to_string).collect();
    assert_eq!(
        blocks,
        ["the true branch of op 6 `if`", "round 1 of op 10 `while`"]
    );
    // The first round, the last, and the loop itself, which is in no round.
    assert_eq!(rounds(&wrong), [Some(1), Some(5), None]);
    assert_eq!(rounds(&blamed(Some(3)).unwrap()), [Some(3), None]);
    let refusal = blamed(Some(6)).unwrap_err().to_string();
    assert!(refusal.contains("no loop has a round 6"), "{refusal}");
}

/// The numbers of MatMul nodes: in the graph, in its loops, and so on inwards.
fn products(nodes: &[NodeProto], depth: usize, counts: &mut Vec<usize>) {
    counts.resize(counts.len().max(depth + 1), 0);
    for node in nodes {
        counts[depth] += usize::from(node.op_type() == "MatMul");
        let bodies = node.attribute.iter().filter_map(|attr| attr.g.as_ref());
        bodies.for_each(|body| products(&body.node, depth + 1, counts));
    }
}

/// What no round changes is computed before the loops, but what a branch alone needs stays there.
#[test]
fn invariant_products_move_out_of_loops() {
    for program in [
        "paddle-2.6.2/control_flow/invariant/inference.pdmodel",
        "paddle-3.3.1/control_flow/invariant/inference.json",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let onnx = folder.path().join("model.onnx");
        let model = Model::open(&fixture(program), None).unwrap();
        model.convert(&onnx, &ConvertOptions::default()).unwrap();
        let mut counts = Vec::new();
        products(&decode(&onnx).graph.unwrap().node, 0, &mut counts);
        // The keys and values; the query, the scores and the mean, which the inner loop does not change; the late addition.
        assert_eq!(counts, [2, 3, 1], "{program}");
    }
}

/// A loop that has a few rounds in every run is no loop in ONNX, and neither are the loops in it.
#[test]
fn a_few_rounds_are_unrolled() {
    for (version, file) in [("2.6.2", "inference.pdmodel"), ("3.3.1", "inference.json")] {
        let loops = |network: &str| {
            let program = fixture(&format!("paddle-{version}/control_flow/{network}/{file}"));
            let folder = tempfile::tempdir().unwrap();
            let onnx = folder.path().join("model.onnx");
            let model = Model::open(&program, None).unwrap();
            model.convert(&onnx, &ConvertOptions::default()).unwrap();
            let nodes = decode(&onnx).graph.unwrap().node;
            let loops = nodes.iter().filter(|node| node.op_type() == "Loop");
            loops.count()
        };
        assert_eq!(
            (loops("few_rounds"), loops("many_rounds")),
            (0, 1),
            "{version}"
        );
    }
}

/// An op of a block that stands in the way is listed alone, and not the op that holds the block.
#[test]
fn an_obstacle_in_a_block() {
    for program in PADDLE_VERSIONS.map(|version| format!("{version}/control_flow/warped")) {
        let programs = programs(&program);
        let model = Model::open(&programs[0], None).unwrap();
        let obstacles = model.obstacles(11).unwrap();
        let ops: Vec<&str> = obstacles.iter().map(|o| o.op.as_str()).collect();
        assert!(
            matches!(ops[..], ["grid_sample" | "grid_sampler"]),
            "{program}: {ops:?}"
        );
    }
}
