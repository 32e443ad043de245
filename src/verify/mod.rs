//! Does the ONNX model compute what the Paddle program computes?
//!
//! Both run on the same inputs: the program in the [reference interpreter](crate::reference), the
//! ONNX model in ONNX Runtime. Recorded outputs, where given, take part as a third side, and so
//! does Paddle itself, where a Python that has it is given.
//!
//! Two orders of summation round differently, so that float32 results rarely agree to the bit. By
//! default the program is therefore run in float64 as well. That gives the exact result, as far as
//! float32 can tell, and the [rounding noise](Noise) of the original. Each side may be a stated
//! multiple of that noise away from the exact result. With a stated [`Tolerance`] the sides are
//! compared pair by pair instead. Outputs whose element type has no such noise, such as integers, are
//! always compared pair by pair.

mod html;
pub mod inputs;
mod judge;
mod metrics;
mod npz;
mod onnx_file;
mod paddle;
mod per_op;
mod sides;
mod subject;
mod top;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use html::{About, html};
pub use inputs::{Distribution, ImageInputs, Inputs, RandomInputs, Range};
pub use judge::{NOISE_MULTIPLE, Noise};
pub use metrics::{Argmax, Metrics, Tolerance};
pub use npz::read as read_npz;
pub use per_op::{Culprit, OpReport, OwnError, PerOp, Statistics, Worst};
pub use subject::NotJudged;
use subject::Subject;
use top::Labels;
pub use top::{Class, SideTop, Top};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::runtime::OnnxRuntime;
use per_op::Search;
use sides::Sides;

/// The batch sizes of random inputs, where none are asked for: 1, and a larger one.
pub const DEFAULT_BATCHES: [usize; 2] = [1, 3];

/// The seed of random inputs, where none is asked for.
pub const DEFAULT_SEED: u64 = 0;

/// What to compare, and how closely.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Where the inputs of the runs come from.
    pub inputs: Inputs,
    /// Recorded outputs, one `.npz` per run; empty for none.
    pub expected: Vec<PathBuf>,
    /// A Python that has Paddle, to run the program in Paddle as well; None to leave Paddle out.
    pub paddle: Option<PathBuf>,
    /// When two sides agree; if None, the rounding noise of the program decides.
    pub tolerance: Option<Tolerance>,
    /// Whether to compare every op as well, on the inputs of the first run.
    pub per_op: bool,
    /// ONNX Runtime's library or the folder of that; None to look for it.
    pub ort_lib: Option<PathBuf>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            inputs: Inputs::Random(RandomInputs::default()),
            expected: Vec::new(),
            paddle: None,
            tolerance: None,
            per_op: false,
            ort_lib: None,
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether all sides agree in all runs on all outputs that can be judged, and no op is wrong, if
    /// every op was compared.
    pub parity: bool,
    /// The outputs that can't be judged, because they depend on an op that is passed through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<NotJudged>,
    /// When two sides agree; None if the rounding noise decided.
    pub tolerance: Option<Tolerance>,
    /// The version of ONNX Runtime.
    pub onnx_runtime: String,
    /// The version of Paddle, if Paddle took part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paddle: Option<String>,
    /// The runs, one per set of inputs.
    pub runs: Vec<Run>,
    /// The comparison op by op, if it was asked for, or the search for the culprit, if an output
    /// disagrees.
    pub per_op: Option<PerOp>,
    /// Why there is no search for a culprit although an output disagrees.
    pub per_op_failure: Option<String>,
}

/// The comparison of all outputs for one set of inputs.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What the inputs are: a batch size, shapes or a file.
    pub inputs: String,
    /// The seconds that the reference took, in float32.
    pub reference_seconds: f64,
    /// The seconds that ONNX Runtime took, in its only run on these inputs.
    pub onnx_runtime_seconds: f64,
    /// The outputs, in the program's order.
    pub outputs: Vec<OutputReport>,
    /// The top classes of each output that is a row of classes, where the input is a picture.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Top>,
}

impl Run {
    /// Whether all sides agree on all outputs.
    pub fn agrees(&self) -> bool {
        let mut comparisons = self.outputs.iter().flat_map(|output| &output.comparisons);
        comparisons.all(|comparison| comparison.agrees)
    }
}

/// The comparison of one output in one run.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// The output's name.
    pub name: String,
    /// The shape that the reference gives it in this run.
    pub shape: Vec<usize>,
    /// Whether it depends on random numbers, so that shapes and element types alone are compared.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub random: bool,
    /// The rounding noise of the output, if that decided.
    pub noise: Option<Noise>,
    /// The pairs of sides that were compared.
    pub comparisons: Vec<Comparison>,
}

/// The comparison of two sides of one output.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The side that is judged.
    pub side: Side,
    /// The side that it is compared with.
    pub against: Side,
    /// Whether they agree.
    pub agrees: bool,
    /// The distance. None if the shapes or element types differ, or the output depends on random
    /// numbers.
    pub metrics: Option<Metrics>,
}

impl Report {
    /// The outputs that depend on random numbers, by name.
    pub fn random_outputs(&self) -> Vec<&str> {
        let outputs = self.runs.first().into_iter().flat_map(|run| &run.outputs);
        let random = outputs.filter(|output| output.random);
        random.map(|output| output.name.as_str()).collect()
    }
}

/// What a report says of outputs that depend on random numbers.
pub const RANDOM: &str =
    "Random numbers: values are not comparable, only shape and element type were compared.";

/// Who computed an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The Paddle program in the reference interpreter.
    Reference,
    /// The Paddle program in the reference interpreter, in float64: exact, as far as float32 can
    /// tell.
    Exact,
    /// The ONNX model in ONNX Runtime.
    OnnxRuntime,
    /// Outputs that were recorded before, as a rule from Paddle itself.
    Expected,
    /// The Paddle program in Paddle Inference.
    Paddle,
}

impl Side {
    /// The side's name in reports for people.
    pub fn label(self) -> &'static str {
        match self {
            Side::Reference => "reference",
            Side::Exact => "exact",
            Side::OnnxRuntime => "ONNX Runtime",
            Side::Expected => "expected",
            Side::Paddle => "Paddle",
        }
    }
}

/// Compares `model` with the ONNX file that was made of it. Before each step, `progress` is told
/// what it does.
///
/// # Errors
/// When there is no output that can be judged, or a side can't run at all: ONNX Runtime is missing
/// or refuses the model, an op is not supported, or the inputs don't fit. A disagreement is not an
/// error but part of the report.
pub fn verify(
    model: &Model,
    onnx: &Path,
    options: &VerifyOptions,
    progress: &dyn Fn(&str),
) -> Result<Report> {
    let subject = Subject::of(model)?;
    let sets = inputs::sets(model, &options.inputs)?;
    if !options.expected.is_empty() && options.expected.len() != sets.len() {
        return Err(Error::invalid(format!(
            "{} files of expected outputs for {} sets of inputs",
            options.expected.len(),
            sets.len()
        )));
    }
    let labels = Labels::of(&options.inputs)?;
    let runtime = OnnxRuntime::load(options.ort_lib.as_deref())?;
    let sides = Sides::run(&subject, onnx, options, &sets, &runtime, progress)?;
    let outputs = sides.compare(options.tolerance)?;
    let mut runs = Vec::with_capacity(sets.len());
    for (position, (set, outputs)) in sets.iter().zip(outputs).enumerate() {
        let top = labels.as_ref().map(|labels| {
            let names: Vec<&str> = sides.names.iter().map(String::as_str).collect();
            top::classes(&names, &sides.of_run(position), labels)
        });
        runs.push(Run {
            inputs: set.label.clone(),
            reference_seconds: sides.reference[position].seconds,
            onnx_runtime_seconds: sides.onnx[position].seconds,
            outputs,
            top: top.transpose()?.unwrap_or_default(),
        });
    }
    let mut report = Report {
        parity: runs.iter().all(Run::agrees),
        not_judged: subject.not_judged.clone(),
        tolerance: options.tolerance,
        onnx_runtime: runtime.version().to_owned(),
        paddle: sides.paddle_version,
        runs,
        per_op: None,
        per_op_failure: None,
    };
    look_into_ops(
        &mut report,
        &subject,
        onnx,
        options,
        &sets,
        &runtime,
        progress,
    )?;
    Ok(report)
}

/// Compares op by op, if that was asked for; else, if a run disagrees, looks for the culprit in the
/// first such run.
fn look_into_ops(
    report: &mut Report,
    subject: &Subject<'_>,
    onnx: &Path,
    options: &VerifyOptions,
    sets: &[inputs::Set],
    runtime: &OnnxRuntime,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let compare =
        |set: &inputs::Set, search| per_op::compare(subject, onnx, runtime, set, search, progress);
    if options.per_op
        && let Some(first) = sets.first()
    {
        let found = compare(first, Search::Everything)?;
        report.parity &= found.culprit.is_none();
        report.per_op = Some(found);
    } else if let Some((_, set)) = report.runs.iter().zip(sets).find(|(run, _)| !run.agrees()) {
        match compare(set, Search::Culprit) {
            Ok(found) => report.per_op = Some(found),
            // Nobody asked for the search, and the report says without it that outputs disagree.
            Err(e) => report.per_op_failure = Some(e.to_string()),
        }
    }
    Ok(())
}
