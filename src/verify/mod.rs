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

mod halved;
mod html;
pub mod inputs;
mod judge;
mod metrics;
mod noise;
mod npz;
mod onnx_file;
mod paddle;
mod per_op;
mod remarks;
mod sides;
mod stamp;
mod subject;
mod top;
mod verdict;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

pub use html::{About, html};
pub use inputs::{Distribution, ImageInputs, Inputs, NamedTensors, RandomInputs, Range};

pub use crate::reference::Within;
pub(crate) use metrics::distance;
pub use metrics::{Argmax, Metrics, Tolerance};
pub use noise::{NOISE_MULTIPLE, Noise};
pub use npz::read as read_npz;
pub use per_op::{
    Culprit, NotCompared, OpReport, OwnError, PerOp, Statistics, Worst, in_words, whole_place,
};
pub use subject::NotJudged;
use subject::Subject;
pub use top::{Class, SideTop, Top};
pub(crate) use top::{Labels, scores, top};
pub use verdict::Verdict;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::reference::Rounds;
use crate::runtime::OnnxRuntime;
use crate::tensor::Tensor;
use per_op::Search;
use sides::{Sides, Trials};

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
    /// Recorded outputs as tensors, one list per run; empty if there are none, or they are in files.
    pub expected_tensors: Vec<NamedTensors>,
    /// A Python that has Paddle, to run the program in Paddle as well; None to leave Paddle out.
    pub paddle: Option<PathBuf>,
    /// When two sides agree; if None, the rounding noise of the program decides.
    pub tolerance: Option<Tolerance>,
    /// Whether to compare every op as well, on the inputs of the first run.
    pub per_op: bool,
    /// In which round of every loop the ops of its block are compared, where every op is. The first has the number 1; None for
    /// the first and the last.
    pub round: Option<NonZeroUsize>,
    /// ONNX Runtime's library or the folder of that; None to look for it.
    pub ort_lib: Option<PathBuf>,
    /// Whether the report keeps the outputs of all sides ([`OutputReport::values`]).
    pub keep_values: bool,
    /// Ends the verification before the next op of the reference when another thread sets it. The result is of no use then.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            inputs: Inputs::Random(RandomInputs::default()),
            expected: Vec::new(),
            expected_tensors: Vec::new(),
            paddle: None,
            tolerance: None,
            per_op: false,
            round: None,
            ort_lib: None,
            keep_values: false,
            stop: None,
        }
    }
}

impl VerifyOptions {
    fn rounds(&self) -> Rounds {
        let round = self.round;
        round.map_or(Rounds::FirstAndLast, |round| Rounds::Only(round.get()))
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What all of this shows.
    pub verdict: Verdict,
    /// What people must know of the verdict beyond the numbers, in sentences.
    pub remarks: Vec<String>,
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
    /// What people should know of the inputs and the recorded outputs: options without effect, arrays that are taken in
    /// their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The comparison op by op: if it was asked for, if an output of ONNX Runtime disagrees, or if rounding decides
    /// outputs.
    pub per_op: Option<PerOp>,
    /// Why there is no comparison op by op although one is due.
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

    /// Whether the outputs of ONNX Runtime agree with those of the reference, whatever other sides have.
    fn onnx_agrees(&self) -> bool {
        let comparisons = self.outputs.iter().flat_map(|output| &output.comparisons);
        let mut own = comparisons.filter(|c| !c.side.is_witness() && !c.against.is_witness());
        own.all(|comparison| comparison.agrees)
    }

    /// Whether rounding decides something about the outputs, so that only the single ops can tell.
    fn is_borderline(&self) -> bool {
        self.outputs.iter().any(|output| {
            let mut metrics = output.comparisons.iter().filter_map(|c| c.metrics.as_ref());
            output.undecided.is_some() || metrics.any(|metrics| metrics.borderline > 0)
        })
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
    /// Why the comparison shows nothing, as a clause: rounding takes the output as far as a fault would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<String>,
    /// Why it can't be told, not even op by op, whether the program in half precision computes what the original does, as a
    /// clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unproved: Option<String>,
    /// The pairs of sides that were compared.
    pub comparisons: Vec<Comparison>,
    /// What each side gave, if [`VerifyOptions::keep_values`] asks for it.
    #[serde(skip)]
    pub values: Vec<(Side, Tensor)>,
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

impl Comparison {
    /// What the comparison shows, in a few words.
    pub fn label(&self) -> &'static str {
        match (self.agrees, &self.metrics) {
            (true, Some(metrics)) if metrics.borderline > 0 => "agrees, but for rounding",
            (true, Some(_)) => "agrees",
            (true, None) => "same shape and dtype",
            (false, Some(_)) => "differs",
            (false, None) => "shape or dtype differs",
        }
    }
}

impl Report {
    /// Whether ONNX Runtime and the reference agree, and a side that was recorded or runs Paddle is the only one that
    /// differs.
    pub fn blames_witness(&self) -> bool {
        self.runs.iter().all(Run::onnx_agrees) && !self.runs.iter().all(Run::agrees)
    }
}

/// Who computed an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The Paddle program in the reference interpreter, in half precision if the ONNX model is.
    Reference,
    /// The Paddle program in the reference interpreter, in float64: exact, as far as float32 can
    /// tell.
    Exact,
    /// The program in half precision, which ONNX is written of, in the reference interpreter, without any rounding to half
    /// precision. It is judged by the rounding noise of float32.
    Unrounded,
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
            Side::Unrounded => "unrounded",
            Side::OnnxRuntime => "ONNX Runtime",
            Side::Expected => "expected",
            Side::Paddle => "Paddle",
        }
    }

    /// Whether the side shares no code with this crate.
    fn is_witness(self) -> bool {
        matches!(self, Side::Expected | Side::Paddle)
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
    let model = &*halved::as_written(model, onnx)?;
    let subject = Subject::of(model, options.stop.clone())?;
    let sets = halved::rounded(model, inputs::sets(model, &options.inputs)?);
    let taken = halved::as_taken(model, &sets);
    refuse_other_count(options, sets.len())?;
    let labels = Labels::of(&options.inputs)?;
    let runtime = OnnxRuntime::load(options.ort_lib.as_deref())?;
    let inputs = (sets.as_slice(), taken.as_slice());
    let mut sides = Sides::run(&subject, onnx, options, inputs, &runtime, progress)?;
    let mut outputs = sides.judge(Trials::new(&subject, &taken, progress), options.tolerance)?;
    if options.keep_values {
        sides.keep_values(&mut outputs);
    }
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
    let notes = sets.iter().flat_map(|set| &set.notes).cloned();
    let notes = notes.chain(sides.notes).collect();
    let mut report = Report {
        verdict: Verdict::Undecided,
        remarks: Vec::new(),
        not_judged: subject.not_judged.clone(),
        tolerance: options.tolerance,
        onnx_runtime: runtime.version().to_owned(),
        paddle: sides.paddle_version,
        runs,
        notes,
        per_op: None,
        per_op_failure: None,
    };
    let compare = |set: &inputs::Set, search| {
        per_op::compare(&subject, onnx, &runtime, set, search, progress)
    };
    let everything = options.per_op.then(|| options.rounds());
    look_into_ops(&mut report, everything, &taken, &compare)?;
    report.verdict = Verdict::of(&report);
    report.remarks = remarks::of(&report);
    Ok(report)
}

/// Refuses recorded outputs of more runs than there are, or of fewer.
fn refuse_other_count(options: &VerifyOptions, runs: usize) -> Result<()> {
    let recorded = options.expected.len() + options.expected_tensors.len();
    if recorded > 0 && recorded != runs {
        return Err(Error::invalid(format!(
            "{recorded} sets of expected outputs for {runs} sets of inputs"
        )));
    }
    Ok(())
}

/// Compares op by op, if that was asked for; else if the outputs of ONNX Runtime disagree, to find the culprit, or if
/// rounding decides outputs, so that only the ops can tell.
fn look_into_ops(
    report: &mut Report,
    everything: Option<Rounds>,
    sets: &[inputs::Set],
    compare: &dyn Fn(&inputs::Set, Search) -> Result<PerOp>,
) -> Result<()> {
    if let Some(rounds) = everything {
        let first = sets.first();
        report.per_op = first
            .map(|set| compare(set, Search::Everything(rounds)))
            .transpose()?;
        return Ok(());
    }
    let is_due = |run: &Run| !run.onnx_agrees() || run.is_borderline();
    if let Some((_, set)) = report.runs.iter().zip(sets).find(|(run, _)| is_due(run)) {
        match compare(set, Search::Culprit) {
            Ok(found) => report.per_op = Some(found),
            // Nobody asked for it, and the report says without it what the outputs show.
            Err(e) => report.per_op_failure = Some(e.to_string()),
        }
    }
    Ok(())
}
