//! Does the ONNX model compute what the Paddle program computes?
//!
//! Both run on the same inputs: the program in the [reference interpreter](crate::reference), the
//! ONNX model in ONNX Runtime. Recorded outputs, where given, take part as a third side.
//!
//! Two orders of summation round differently, so float32 results never agree to the bit. By
//! default the program is therefore run in float64 as well, which gives the exact result as far as
//! float32 can tell, and the [rounding noise](Noise) of the original: each side may be a stated
//! multiple of it away from the exact result. With a stated [`Tolerance`] the sides are compared
//! pair by pair instead.

mod html;
mod inputs;
mod judge;
mod metrics;
mod npz;
mod per_op;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

pub use html::{About, html};
pub use judge::{NOISE_MULTIPLE, Noise};
pub use metrics::{Argmax, Metrics, Tolerance};
pub use npz::read as read_npz;
pub use per_op::{Culprit, OpReport, OwnError, PerOp, Statistics, Worst};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::reference::{Precision, Reference};
use crate::runtime::{OnnxRuntime, Session};
use crate::tensor::Tensor;
use judge::Sides;
use per_op::Search;

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
    /// When two sides agree; if not stated, the rounding noise of the program decides.
    pub tolerance: Option<Tolerance>,
    /// Whether to compare every op as well, on the inputs of the first run.
    pub per_op: bool,
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
            tolerance: None,
            per_op: false,
            ort_lib: None,
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether all sides agree on all outputs of all runs.
    pub parity: bool,
    /// What agreeing means; None if the rounding noise decided.
    pub tolerance: Option<Tolerance>,
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// The runs.
    pub runs: Vec<Run>,
    /// The comparison op by op, if it was asked for, or the search for the culprit, if an output
    /// disagrees.
    pub per_op: Option<PerOp>,
    /// Why there is no search for a culprit although an output disagrees.
    pub per_op_failure: Option<String>,
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

impl Run {
    /// Whether all sides agree on all outputs.
    pub fn agrees(&self) -> bool {
        let mut comparisons = self.outputs.iter().flat_map(|output| &output.comparisons);
        comparisons.all(|comparison| comparison.agrees)
    }
}

/// One output of one run.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// The output's name.
    pub name: String,
    /// Its extents in this run.
    pub shape: Vec<usize>,
    /// The rounding noise, if that decided.
    pub noise: Option<Noise>,
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
    /// The same in float64: the truth, as far as float32 can tell.
    Exact,
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
            Side::Exact => "exact",
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
    let names: Vec<&str> = model
        .program()
        .outputs()
        .iter()
        .map(|o| o.name.as_str())
        .collect();
    let expected = options.expected.iter().map(|path| npz::read(path, &names));
    let expected = expected.collect::<Result<Vec<_>>>()?;
    // One side after the other, so that only one holds its weights.
    progress("opening the ONNX model");
    let session = runtime.open(onnx)?;
    let in_onnx = run_onnx(session, &sets, progress).map_err(|e| e.in_file(onnx))?;
    let run_reference = |precision| {
        let results = run_reference(model, precision, &sets, progress);
        results.map_err(|e| e.in_file(&model.files().program))
    };
    let reference = run_reference(Precision::Single)?;
    let exact = match options.tolerance {
        None => Some(run_reference(Precision::Double)?),
        Some(_) => None,
    };
    let sides = Sides {
        reference: &reference,
        exact: exact.as_deref(),
        onnx: &in_onnx,
        expected: &expected,
    };
    let outputs = sides.compare(&names, options.tolerance)?;
    let results = sets.iter().zip(reference.iter().zip(&in_onnx)).zip(outputs);
    let runs: Vec<Run> = results
        .map(|((set, (reference, in_onnx)), outputs)| Run {
            inputs: set.label.clone(),
            reference_seconds: reference.seconds,
            onnx_runtime_seconds: in_onnx.seconds,
            outputs,
        })
        .collect();
    let mut report = Report {
        parity: runs.iter().all(Run::agrees),
        tolerance: options.tolerance,
        onnx_runtime: runtime.version().to_owned(),
        runs,
        per_op: None,
        per_op_failure: None,
    };
    if options.per_op {
        let search = Search::Everything;
        let found = per_op::compare(model, onnx, &runtime, &sets[0], search, progress)?;
        report.parity &= found.culprit.is_none();
        report.per_op = Some(found);
    } else if let Some(failed) = report.runs.iter().position(|run| !run.agrees()) {
        let search = Search::Culprit;
        match per_op::compare(model, onnx, &runtime, &sets[failed], search, progress) {
            Ok(found) => report.per_op = Some(found),
            // What was asked for is there: the outputs disagree.
            Err(e) => report.per_op_failure = Some(e.to_string()),
        }
    }
    Ok(report)
}

/// What one side computed in one run.
struct Results {
    outputs: Vec<Tensor>,
    seconds: f64,
}

fn run_onnx(
    mut session: Session,
    sets: &[inputs::Set],
    progress: &dyn Fn(&str),
) -> Result<Vec<Results>> {
    let runs = sets.iter().map(|set| {
        progress(&format!("{}: running ONNX Runtime", set.label));
        let start = Instant::now();
        let outputs = session.run(&set.tensors)?;
        Ok(Results {
            seconds: start.elapsed().as_secs_f64(),
            outputs: outputs.into_iter().map(|(_, tensor)| tensor).collect(),
        })
    });
    runs.collect()
}

fn run_reference(
    model: &Model,
    precision: Precision,
    sets: &[inputs::Set],
    progress: &dyn Fn(&str),
) -> Result<Vec<Results>> {
    let kind = match precision {
        Precision::Single => "reference",
        Precision::Double => "reference in float64",
    };
    progress(&format!("loading the weights for the {kind}"));
    let reference = Reference::new(model.program(), precision)?;
    let runs = sets.iter().map(|set| {
        progress(&format!("{}: running the {kind}", set.label));
        let start = Instant::now();
        let outputs = reference.run(&set.tensors)?;
        Ok(Results {
            seconds: start.elapsed().as_secs_f64(),
            outputs,
        })
    });
    runs.collect()
}
