//! Defines an op that this crate does not know, converts a model that holds it, and verifies the result.
//!
//! ```sh
//! cargo run --example custom_op
//! ```
//!
//! The op is `leaky_gate`, a custom operator as users compile them into Paddle (`fixtures/custom_op/leaky_gate.cc`). In
//! ONNX it becomes a model function, an operator that the model itself defines, so that every runtime can run it.

use std::error::Error;
use std::ops::Mul;
use std::path::{Path, PathBuf};

use paddle2onnx::graph::{Lowering, TensorId};
use paddle2onnx::operator::{
    Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values,
};
use paddle2onnx::program::{Fact, Facts, ValueId};
use paddle2onnx::tensor::{Array, DType, Element, Tensor};
use paddle2onnx::verify::{Inputs, Report, VerifyOptions, verify};
use paddle2onnx::{ConvertOptions, Model, Registry, Result};

/// The definitions of this program, which join those of the crate.
const OPS: &[OpDef] = &[OpDef::new(
    // The name that Paddle 3 has for it: a custom operator stands in a dialect of its own.
    "custom_op.leaky_gate",
    &[Arg::Tensor("x"), Arg::Tensor("gate")],
    // How programs of the older format spell it.
    &[Form::legacy(
        &["leaky_gate"],
        &[Binding::Slot("X"), Binding::Slot("Gate")],
        &["Out"],
    )],
    LeakyGate::parse,
)
.with_dtypes(&[DType::F32, DType::F64])
.with_accuracy(Accuracy::Rounded)];

/// Multiplies each column of `x` with an element of `gate`; then multiplies what is negative with `alpha`, as many times
/// as there are steps.
struct LeakyGate {
    x: ValueId,
    gate: ValueId,
    alpha: f64,
    steps: i64,
}

impl LeakyGate {
    /// Reads one occurrence. An attribute that is not read here would be an error.
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            gate: op.operand("gate")?,
            alpha: op.attr("alpha")?,
            steps: op.attr("steps")?,
        }))
    }

    /// What Paddle's kernel computes, in the type of its operands.
    fn compute<T>(&self, x: &Array<T>, gate: &Array<T>) -> Array<T>
    where
        T: Element + Mul<Output = T> + PartialOrd,
    {
        let (alpha, zero) = (T::from_f64(self.alpha), T::default());
        let shrink = |value: T| if value > zero { value } else { alpha * value };
        let gated = &x.view() * &gate.view();
        let result = gated.mapv(|value| (0..self.steps).fold(value, |value, _| shrink(value)));
        result.into()
    }
}

impl Function for LeakyGate {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, gate) = (g.value(self.x)?, g.value(self.gate)?);
        let alpha = g.scalar(g.dtype(self.x), self.alpha);
        // Two functions with other numbers of steps are two functions, so they need two names.
        let name = format!("LeakyGate{}", self.steps);
        let outputs = g.call(("com.example", &name), &[x, gate, alpha], |g, inputs| {
            let (x, gate, alpha) = (inputs[0], inputs[1], inputs[2]);
            let mut value = g.node("Mul", &[x, gate], []);
            for _ in 0..self.steps {
                let positive = g.node("Relu", &[value], []);
                let negative = g.node("Sub", &[value, positive], []);
                let shrunk = g.node("Mul", &[negative, alpha], []);
                value = g.node("Add", &[positive, shrunk], []);
            }
            Ok(vec![value])
        })?;
        Ok(outputs[0])
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        match (values.get(self.x)?, values.get(self.gate)?) {
            (Tensor::F32(x), Tensor::F32(gate)) => Ok(Tensor::F32(self.compute(x, gate))),
            (Tensor::F64(x), Tensor::F64(gate)) => Ok(Tensor::F64(self.compute(x, gate))),
            (x, gate) => Err(paddle2onnx::Error::unsupported(format!(
                "no kernel for {} with {}",
                x.dtype(),
                gate.dtype()
            ))),
        }
    }
}

/// Converts the model in `folder`, and compares the result with the reference and with what Paddle has computed.
pub fn prove(folder: &Path, onnx: &Path) -> Result<Report> {
    let registry = Registry::standard().with(OPS)?;
    let model = Model::open_with(folder, None, &registry)?;
    model.convert(onnx, &ConvertOptions::default())?;
    let recorded: Vec<PathBuf> = ["batch2.npz", "batch4.npz"]
        .map(|name| folder.join(name))
        .into();
    let options = VerifyOptions {
        inputs: Inputs::Files(recorded.clone()),
        expected: recorded,
        per_op: true,
        ..VerifyOptions::default()
    };
    verify(&model, onnx, &options, &|_| {})
}

fn main() -> Result<(), Box<dyn Error>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let scratch = tempfile::tempdir()?;
    for folder in [
        "paddle-2.6.2/custom_op/twice",
        "paddle-3.3.1/custom_op/twice",
    ] {
        let report = prove(&fixtures.join(folder), &scratch.path().join("model.onnx"))?;
        for run in &report.runs {
            for comparison in run.outputs.iter().flat_map(|output| &output.comparisons) {
                let distance = comparison.metrics.as_ref().map_or(f64::NAN, |m| m.max_abs);
                let (side, against) = (comparison.side.label(), comparison.against.label());
                println!("{folder}: {side} and {against} differ by {distance:.1e}");
            }
        }
        if !report.verdict.is_pass() {
            return Err(format!("{folder}: the ONNX model computes something else").into());
        }
    }
    println!("Parity");
    Ok(())
}
