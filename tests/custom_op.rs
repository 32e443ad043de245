//! Ops that the crate does not define: defined by its caller, or passed through to another runtime.

#![cfg(feature = "cli")]

mod support;

#[path = "../examples/custom_op.rs"]
#[allow(dead_code, reason = "its main is for people")]
mod example;

use std::path::{Path, PathBuf};

use paddle2onnx::graph::{Lowering, NodeAttr, TensorId};
use paddle2onnx::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use paddle2onnx::program::{Fact, Facts, ValueId};
use paddle2onnx::tensor::{DType, Tensor};
use paddle2onnx::verify::{Verdict, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, Registry, Result};
use support::onnx::decode;
use support::onnx::proto::{ModelProto, NodeProto};
use support::shell::paddle2onnx;
use support::{PADDLE_VERSIONS, fixture, onnx_runtime};

const CUSTOM: &str = "leaky_gate=com.example::LeakyGate";

/// The networks that hold the op `leaky_gate`, from both versions of Paddle.
fn networks(name: &str) -> Vec<PathBuf> {
    let versions = PADDLE_VERSIONS.iter();
    versions
        .map(|version| fixture(&format!("{version}/custom_op/{name}")))
        .collect()
}

#[test]
fn the_example_proves_its_definition() {
    onnx_runtime();
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    for name in ["single", "beside", "twice"] {
        for folder in networks(name) {
            let report = example::prove(&folder, &onnx).unwrap();
            assert!(
                report.verdict.is_pass() && report.not_judged.is_empty(),
                "{}",
                folder.display()
            );
            let model = decode(&onnx);
            let functions: Vec<&str> = model.functions.iter().map(|f| f.name()).collect();
            let expected: &[&str] = match name {
                "twice" => &["LeakyGate1", "LeakyGate2"],
                _ => &["LeakyGate3"],
            };
            assert_eq!(functions, expected);
        }
    }
}

/// An op of the test's own in the place of `leaky_gate`, which makes what it likes of its operands.
macro_rules! defined {
    ($ty:ident) => {{
        const OPS: &[OpDef] = &[OpDef::new(
            "custom_op.leaky_gate",
            &[Arg::Tensor("x"), Arg::Tensor("gate")],
            &[Form::legacy(
                &["leaky_gate"],
                &[Binding::Slot("X"), Binding::Slot("Gate")],
                &["Out"],
            )],
            |op: &mut OpReader<'_>| -> Parsed {
                op.ignore("alpha");
                op.ignore("steps");
                Ok(Box::new($ty(op.operand("x")?)))
            },
        )];
        OPS
    }};
}

/// `x + 1` if the sum of all elements of `x` is positive, else `x - 2 · x`, by branches that read `x` from outside.
struct Branches(ValueId);

/// `x + 1` by a model function that calls another, with a constant in it.
struct Nested(ValueId);

/// `x + 1`, of which the reference says that it is `x`.
struct Wrong(ValueId);

/// An operator of opset 18 in a branch.
struct NewInBranch(ValueId);

/// An operator of opset 18 in a model function.
struct NewInFunction(ValueId);

fn same(facts: &Facts<'_>, id: ValueId) -> Result<Fact> {
    Ok(Fact::new(facts.dtype(id), facts.shape(id).to_vec()))
}

fn mapped(values: &Values<'_>, id: ValueId, f: impl Fn(f64) -> f64) -> Result<Tensor> {
    let x = values.get(id)?;
    let elements: Vec<f64> = x.to_f64_vec().into_iter().map(f).collect();
    Ok(Tensor::from_elements(x.shape(), elements)?.cast(x.dtype()))
}

impl Function for Branches {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        same(facts, self.0)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.0)?;
        let zero = g.scalar(DType::F32, 0.0);
        let sum = g.reduce("ReduceSum", x, &[], false);
        let is_positive = g.node("Greater", &[sum, zero], []);
        let then_branch = g.body(0, |g, _| {
            let one = g.scalar(DType::F32, 1.0);
            Ok(vec![g.node("Add", &[x, one], [])])
        })?;
        let else_branch = g.body(0, |g, _| {
            let two = g.scalar(DType::F32, 2.0);
            // Needed by nobody: to be dropped.
            g.node("Exp", &[x], []);
            let double = g.node("Mul", &[x, two], []);
            Ok(vec![g.node("Sub", &[x, double], [])])
        })?;
        let attrs = [
            ("then_branch", NodeAttr::Graph(then_branch)),
            ("else_branch", NodeAttr::Graph(else_branch)),
        ];
        Ok(g.node("If", &[is_positive], attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let is_positive = values.get(self.0)?.to_f64_vec().iter().sum::<f64>() > 0.0;
        mapped(values, self.0, |x| if is_positive { x + 1.0 } else { -x })
    }
}

impl Function for Nested {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        same(facts, self.0)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.0)?;
        let outputs = g.call(("com.example", "PlusOne"), &[x], |g, inputs| {
            let one = g.scalar(DType::F32, 1.0);
            g.call(
                ("com.example.inner", "Plus"),
                &[inputs[0], one],
                |g, inputs| Ok(vec![g.node("Add", inputs, [])]),
            )
        })?;
        Ok(outputs[0])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        mapped(values, self.0, |x| x + 1.0)
    }
}

impl Function for NewInBranch {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        same(facts, self.0)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.0)?;
        let yes = g.scalar(DType::Bool, 1.0);
        let branch = g.body(0, |g, _| Ok(vec![g.node("Mish", &[x], [])]))?;
        let attrs = [
            ("then_branch", NodeAttr::Graph(branch.clone())),
            ("else_branch", NodeAttr::Graph(branch)),
        ];
        Ok(g.node("If", &[yes], attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        mapped(values, self.0, |x| x)
    }
}

impl Function for NewInFunction {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        same(facts, self.0)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.0)?;
        let outputs = g.call(("com.example", "OwnMish"), &[x], |g, inputs| {
            Ok(vec![g.node("Mish", inputs, [])])
        })?;
        Ok(outputs[0])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        mapped(values, self.0, |x| x)
    }
}

impl Function for Wrong {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        same(facts, self.0)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        Nested(self.0).lower(g)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        mapped(values, self.0, |x| x)
    }
}

/// Converts and verifies every network with these definitions: whether both agree, and the ONNX models.
fn proved(ops: &'static [OpDef], opset: u32) -> Vec<(paddle2onnx::verify::Report, ModelProto)> {
    onnx_runtime();
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    let registry = Registry::standard().with(ops).unwrap();
    let options = ConvertOptions {
        opset,
        ..ConvertOptions::default()
    };
    let proof = |folder: &Path| {
        let model = Model::open_with(folder, None, &registry).unwrap();
        model.convert(&onnx, &options).unwrap();
        let options = VerifyOptions {
            per_op: true,
            ..VerifyOptions::default()
        };
        (
            verify(&model, &onnx, &options, &|_| {}).unwrap(),
            decode(&onnx),
        )
    };
    networks("twice")
        .iter()
        .map(|folder| proof(folder))
        .collect()
}

#[test]
fn branches_read_what_is_outside_of_them() {
    for opset in [11, 17, 24] {
        for (report, onnx) in proved(defined!(Branches), opset) {
            assert!(report.verdict.is_pass(), "{report:?}");
            let nodes = onnx.graph.unwrap().node;
            let branches = nodes.iter().filter(|node| node.op_type() == "If");
            let attributes = branches.flat_map(|node| &node.attribute);
            let graphs: Vec<_> = attributes.filter_map(|attr| attr.g.as_ref()).collect();
            let sizes: Vec<usize> = graphs.iter().map(|graph| graph.node.len()).collect();
            assert_eq!(sizes, [1, 2, 1, 2]);
            assert!(graphs.iter().all(|graph| graph.initializer.is_empty()));
        }
    }
}

#[test]
fn a_model_function_may_call_another_and_hold_constants() {
    for opset in [11, 17, 24] {
        for (report, onnx) in proved(defined!(Nested), opset) {
            assert!(report.verdict.is_pass(), "{report:?}");
            assert!(onnx.ir_version() >= 8, "IR version {}", onnx.ir_version());
            let functions: Vec<&str> = onnx.functions.iter().map(|f| f.name()).collect();
            assert_eq!(functions, ["Plus", "PlusOne"]);
            let domains: Vec<&str> = onnx.opset_import.iter().map(|set| set.domain()).collect();
            assert_eq!(domains, ["", "com.example", "com.example.inner"]);
        }
    }
}

#[test]
fn a_body_or_function_has_no_operator_that_the_opset_lacks() {
    for ops in [defined!(NewInBranch), defined!(NewInFunction)] {
        let registry = Registry::standard().with(ops).unwrap();
        for folder in networks("twice") {
            let model = Model::open_with(&folder, None, &registry).unwrap();
            let obstacles = model.obstacles(17).unwrap();
            assert_eq!(obstacles[0].needed_opset, Some(18), "{obstacles:?}");
            assert!(obstacles[0].reason.contains("Mish"), "{obstacles:?}");
            assert_eq!(model.obstacles(18).unwrap(), []);
        }
    }
}

#[test]
fn a_wrong_definition_is_found() {
    for (report, _) in proved(defined!(Wrong), 17) {
        assert!(report.verdict == Verdict::NoParity);
        let culprit = report.per_op.unwrap().culprit.unwrap();
        assert_eq!(culprit.report.op, "custom_op.leaky_gate");
    }
}

#[test]
fn a_definition_is_refused_if_its_name_is_taken() {
    let twice = Registry::standard()
        .with(defined!(Nested))
        .unwrap()
        .with(defined!(Nested));
    assert!(
        twice
            .unwrap_err()
            .to_string()
            .contains("custom_op.leaky_gate")
    );
    let both = Registry::standard().with(defined!(Nested)).unwrap();
    let both = both.with_custom_op(CUSTOM.parse().unwrap());
    assert!(both.unwrap_err().to_string().contains("has a definition"));
}

#[test]
fn a_custom_op_is_passed_through_with_operands_and_attributes() {
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    let registry = Registry::standard()
        .with_custom_op(CUSTOM.parse().unwrap())
        .unwrap();
    for (folder, operands) in networks("twice").iter().zip([["Gate", "X"], ["X", "Gate"]]) {
        let model = Model::open_with(folder, None, &registry).unwrap();
        assert!(model.summary().unsupported.is_empty());
        model.convert(&onnx, &ConvertOptions::default()).unwrap();
        let converted = decode(&onnx);
        let domains: Vec<&str> = converted
            .opset_import
            .iter()
            .map(|set| set.domain())
            .collect();
        assert_eq!(domains, ["", "com.example"]);
        let graph = converted.graph.unwrap();
        let weights: Vec<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name())
            .collect();
        let custom: Vec<_> = graph
            .node
            .iter()
            .filter(|node| node.domain() == "com.example")
            .collect();
        let attribute = |node: &NodeProto, name: &str| {
            let mut attributes = node.attribute.iter();
            attributes.find(|attr| attr.name() == name).unwrap().clone()
        };
        let attributes: Vec<(f32, i64)> = custom
            .iter()
            .map(|node| (attribute(node, "alpha").f(), attribute(node, "steps").i()))
            .collect();
        assert_eq!(attributes, [(0.1, 1), (0.3, 2)]);
        for node in custom {
            assert_eq!(
                (node.op_type(), node.attribute.len(), node.input.len()),
                ("LeakyGate", 2, 2)
            );
            let gate = usize::from(operands[1] == "Gate");
            assert!(
                weights.contains(&node.input[gate].as_str()),
                "{:?}",
                node.input
            );
            assert!(
                !weights.contains(&node.input[1 - gate].as_str()),
                "{:?}",
                node.input
            );
        }
    }
}

#[test]
fn verify_says_what_it_can_not_judge() {
    let scratch = tempfile::tempdir().unwrap();
    for folder in networks("beside") {
        let ran = paddle2onnx(
            &format!(
                "verify {} --custom-op {CUSTOM} --per-op --html DIR/page.html",
                folder.display()
            ),
            scratch.path(),
        );
        assert_eq!(ran.code, Some(3), "{ran}");
        assert!(ran.stdout.contains("Not judged: "), "{ran}");
        assert!(ran.stdout.contains("Parity of what can be judged"), "{ran}");
        let page = std::fs::read_to_string(scratch.path().join("page.html")).unwrap();
        assert!(page.contains("Parity of what can be judged") && page.contains("leaky_gate"));
    }
    for folder in networks("single") {
        let arguments = format!("verify {} --custom-op {CUSTOM}", folder.display());
        let ran = paddle2onnx(&arguments, scratch.path());
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(
            ran.stderr.contains("every output depends on a custom op"),
            "{ran}"
        );
    }
}

#[test]
fn without_a_definition_the_message_names_the_flag() {
    let scratch = tempfile::tempdir().unwrap();
    let onnx = scratch.path().join("model.onnx");
    for folder in networks("single") {
        let model = Model::open(&folder, None).unwrap();
        let error = model
            .convert(&onnx, &ConvertOptions::default())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--custom-op leaky_gate=DOMAIN::NAME"),
            "{error}"
        );
        let obstacles = model.obstacles(17).unwrap();
        assert_eq!(obstacles.len(), 1);
        assert!(
            obstacles[0].reason.contains("--custom-op leaky_gate="),
            "{obstacles:?}"
        );
    }
    assert!(!onnx.exists());
}

#[test]
fn a_malformed_flag_is_refused_before_any_work() {
    let folder = &networks("single")[0];
    let scratch = tempfile::tempdir().unwrap();
    for (value, word) in [
        ("leaky_gate", "PADDLE_NAME=domain::OnnxName"),
        ("leaky_gate=ai.onnx::LeakyGate", "reserved"),
        (
            "leaky_gate=com.example::Leaky-Gate",
            "no type of an ONNX operator",
        ),
        ("relu=com.example::Relu", "has a definition"),
        ("matmul_v2=com.example::MatMul", "has a definition"),
    ] {
        let arguments = format!(
            "convert {} --output DIR/model.onnx --custom-op {value}",
            folder.display()
        );
        let ran = paddle2onnx(&arguments, scratch.path());
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(word), "{value}: {ran}");
        assert!(!scratch.path().join("model.onnx").exists());
    }
}
