//! Does the ONNX model compute what the Paddle program computes?
//!
//! Both run on the same inputs: the program in the [reference interpreter](crate::reference), the
//! ONNX model in ONNX Runtime. Recorded outputs, where given, take part as a third side. Every
//! output of every run is compared, pair by pair of sides, against a stated tolerance.

mod inputs;
mod metrics;
mod npz;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub use metrics::{Argmax, Metrics, Tolerance};
pub use npz::read as read_npz;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::reference::{Precision, Reference};
use crate::runtime::OnnxRuntime;
use crate::tensor::Tensor;

/// The batch sizes of random inputs, where none are asked for: one, and one that is not.
pub const DEFAULT_BATCHES: [usize; 2] = [1, 3];

/// The seed of random inputs, where none is asked for.
pub const DEFAULT_SEED: u64 = 0;

/// What to compare, and how closely.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The inputs.
    pub inputs: Inputs,
    /// Recorded outputs, one `.npz` per run; empty for none.
    pub expected: Vec<PathBuf>,
    /// When two sides agree.
    pub tolerance: Tolerance,
    /// Where ONNX Runtime is, if it is not to be looked for.
    pub ort_lib: Option<PathBuf>,
}

/// Where inputs come from.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// Drawn at random, one run per batch size.
    Random {
        /// The batch sizes.
        batches: Vec<usize>,
        /// The same seed gives the same inputs on every machine.
        seed: u64,
    },
    /// Read from `.npz` files with one array per input, one run per file.
    Files(Vec<PathBuf>),
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            inputs: Inputs::Random {
                batches: DEFAULT_BATCHES.to_vec(),
                seed: DEFAULT_SEED,
            },
            expected: Vec::new(),
            tolerance: Tolerance::default(),
            ort_lib: None,
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether all sides agree on all outputs of all runs.
    pub parity: bool,
    /// What agreeing means.
    pub tolerance: Tolerance,
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// The runs.
    pub runs: Vec<Run>,
}

/// All outputs for one set of inputs.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What the inputs are: a batch size or a file.
    pub inputs: String,
    /// Seconds that the reference took.
    pub reference_seconds: f64,
    /// Seconds that ONNX Runtime took, in its first run with these shapes.
    pub onnx_runtime_seconds: f64,
    /// The comparisons of every output.
    pub outputs: Vec<OutputReport>,
}

/// One output of one run.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// The output's name.
    pub name: String,
    /// Its extents in this run.
    pub shape: Vec<usize>,
    /// Each pair of sides.
    pub comparisons: Vec<Comparison>,
}

/// Two sides of one output.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What is judged.
    pub side: Side,
    /// What it is held against.
    pub against: Side,
    /// Whether they agree.
    pub agrees: bool,
    /// The distance. None if the shapes or element types differ.
    pub metrics: Option<Metrics>,
}

/// Who computed an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The Paddle program in the reference interpreter.
    Reference,
    /// The ONNX model in ONNX Runtime.
    OnnxRuntime,
    /// Recorded, as a rule from Paddle itself.
    Expected,
}

impl Side {
    /// The side's name for people.
    pub fn label(self) -> &'static str {
        match self {
            Side::Reference => "reference",
            Side::OnnxRuntime => "ONNX Runtime",
            Side::Expected => "expected",
        }
    }
}

/// Compares `model` with the ONNX file that was made of it. `progress` is told what is about to
/// be done.
///
/// # Errors
/// When a side can't run at all: ONNX Runtime is missing or refuses the model, an op is not
/// supported, or the inputs don't fit. A disagreement is not an error but part of the report.
pub fn verify(
    model: &Model,
    onnx: &Path,
    options: &VerifyOptions,
    progress: &dyn Fn(&str),
) -> Result<Report> {
    let sets = inputs::sets(model.program(), &options.inputs)?;
    if !options.expected.is_empty() && options.expected.len() != sets.len() {
        return Err(Error::invalid(format!(
            "{} files of expected outputs for {} sets of inputs",
            options.expected.len(),
            sets.len()
        )));
    }
    let runtime = OnnxRuntime::load(options.ort_lib.as_deref())?;
    progress("opening the ONNX model");
    let mut session = runtime.open(onnx)?;
    progress("loading the weights");
    let in_program = |e: Error| e.in_file(&model.files().program);
    let reference = Reference::new(model.program(), Precision::Single).map_err(in_program)?;
    let names: Vec<&str> = model
        .program()
        .outputs()
        .iter()
        .map(|o| o.name.as_str())
        .collect();
    let mut runs = Vec::with_capacity(sets.len());
    for (position, set) in sets.iter().enumerate() {
        progress(&format!("{}: running the reference", set.label));
        let start = Instant::now();
        let reference = reference.run(&set.tensors).map_err(in_program)?;
        let reference_seconds = start.elapsed().as_secs_f64();
        progress(&format!("{}: running ONNX Runtime", set.label));
        let start = Instant::now();
        let onnx = session.run(&set.tensors).map_err(|e| e.in_file(onnx))?;
        let onnx_runtime_seconds = start.elapsed().as_secs_f64();
        let expected = options.expected.get(position);
        let expected = expected.map(|path| npz::read(path, &names)).transpose()?;
        let sides = Sides {
            reference,
            onnx: onnx.into_iter().map(|(_, tensor)| tensor).collect(),
            expected,
        };
        runs.push(Run {
            inputs: set.label.clone(),
            reference_seconds,
            onnx_runtime_seconds,
            outputs: sides.compare(&names, &options.tolerance)?,
        });
    }
    let comparisons = runs.iter().flat_map(|run| &run.outputs);
    Ok(Report {
        parity: comparisons.flat_map(|o| &o.comparisons).all(|c| c.agrees),
        tolerance: options.tolerance,
        onnx_runtime: runtime.version().to_owned(),
        runs,
    })
}

/// The outputs of one run, by side.
struct Sides {
    reference: Vec<Tensor>,
    onnx: Vec<Tensor>,
    expected: Option<Vec<Tensor>>,
}

impl Sides {
    fn compare(&self, names: &[&str], tolerance: &Tolerance) -> Result<Vec<OutputReport>> {
        if self.onnx.len() != names.len() {
            return Err(Error::invalid(format!(
                "the ONNX model has {} outputs, the program {}",
                self.onnx.len(),
                names.len()
            )));
        }
        let outputs = names.iter().zip(self.reference.iter().zip(&self.onnx));
        let reports = outputs
            .enumerate()
            .map(|(position, (name, (reference, onnx)))| {
                let mut pairs = vec![(Side::OnnxRuntime, onnx, Side::Reference, reference)];
                if let Some(expected) = self.expected.as_ref().and_then(|e| e.get(position)) {
                    pairs.push((Side::Reference, reference, Side::Expected, expected));
                    pairs.push((Side::OnnxRuntime, onnx, Side::Expected, expected));
                }
                let comparisons = pairs.into_iter().map(|(side, a, against, b)| {
                    let metrics = Metrics::of(a, b, tolerance);
                    Comparison {
                        side,
                        against,
                        agrees: metrics.as_ref().is_some_and(Metrics::agrees),
                        metrics,
                    }
                });
                OutputReport {
                    name: (*name).to_owned(),
                    shape: reference.shape().to_vec(),
                    comparisons: comparisons.collect(),
                }
            });
        Ok(reports.collect())
    }
}
