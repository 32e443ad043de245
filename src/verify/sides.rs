//! The sides of a comparison: runs everything that computes the outputs, on all sets of inputs.

use std::path::Path;
use std::time::Instant;

use super::halved::Halved;
use super::noise::NOISE_MULTIPLE;
use super::subject::Subject;
use super::{OutputReport, Side, VerifyOptions, inputs, paddle};
use crate::analyse::random_outputs;
use crate::error::Result;
use crate::operator::Precision;
use crate::program::Op;
use crate::reference::{Reference, Rounding};
use crate::runtime::{OnnxRuntime, Session};
use crate::tensor::{DType, Tensor};

/// The outputs that one side computed in one run, and the seconds that it took.
pub(super) struct Results {
    pub outputs: Vec<Tensor>,
    pub seconds: f64,
}

/// The outputs of each side, by run.
pub(super) struct Sides {
    /// The names of the outputs.
    pub names: Vec<String>,
    /// Whether each output depends on random numbers.
    pub random: Vec<bool>,
    pub reference: Vec<Results>,
    /// The reference in float64, if the rounding noise is to decide.
    pub exact: Option<Vec<Results>>,
    /// By sample and run, what the reference in float64 gives if it is moved by as much as rounding may move it; None
    /// for a run that failed.
    pub moved: Vec<Vec<Option<Vec<Tensor>>>>,
    /// What the reference and the exact one give on other inputs: with other numbers of the same signs and magnitudes.
    pub others: Vec<[Vec<Tensor>; 2]>,
    pub onnx: Vec<Results>,
    /// Sides that share no code with this crate, recorded outputs and Paddle, with their outputs by run.
    pub witnesses: Vec<(Side, Vec<Vec<Tensor>>)>,
    pub paddle_version: Option<String>,
    /// What people should know of the recorded outputs.
    pub notes: Vec<String>,
    /// What shows that the program in half precision is the original one, if the rounding noise is to decide.
    pub halved: Option<Halved>,
}

/// What more runs are made with, where those on the sets of inputs don't tell how far rounding goes.
pub(super) struct Trials<'t> {
    pub subject: &'t Subject<'t>,
    pub sets: &'t [inputs::Set],
    pub progress: &'t dyn Fn(&str),
    /// The exact reference, from its first run on.
    exact: Option<Reference<'t>>,
}

impl<'t> Trials<'t> {
    pub fn new(
        subject: &'t Subject<'t>,
        sets: &'t [inputs::Set],
        progress: &'t dyn Fn(&str),
    ) -> Self {
        Self {
            subject,
            sets,
            progress,
            exact: None,
        }
    }

    /// The exact reference, whose weights are loaded once.
    fn exact(&mut self) -> Result<&Reference<'t>> {
        match &mut self.exact {
            Some(exact) => Ok(exact),
            none => Ok(none.insert(self.subject.reference(Precision::Double)?)),
        }
    }
}

impl Sides {
    /// Has every side compute its outputs, one side after the other, so that only one at a time holds
    /// weights in memory. The reference is the first, since it says best what it is that an op can't take. The inputs are
    /// `sets`, and `taken` are the same in the types of the ONNX model.
    ///
    /// # Errors
    /// When recorded outputs can't be read, or a side can't run.
    pub fn run(
        subject: &Subject<'_>,
        onnx: &Path,
        options: &VerifyOptions,
        (sets, taken): (&[inputs::Set], &[inputs::Set]),
        runtime: &OnnxRuntime,
        progress: &dyn Fn(&str),
    ) -> Result<Self> {
        let (model, names) = (subject.model, subject.outputs());
        let names_given: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut witnesses = Vec::new();
        let (expected, notes) = inputs::expected(subject, options)?;
        if !expected.is_empty() {
            witnesses.push((Side::Expected, expected));
        }
        let run = |of, precision| {
            let sets = if of == Of::Original { sets } else { taken };
            let results = run_reference(subject, (of, precision), options, sets, progress);
            results.map_err(|e| e.in_file(&model.files().program))
        };
        let by_noise = options.tolerance.is_none();
        let reference = match by_noise {
            true => run(Of::Written, Precision::Single)?,
            false => as_returned(subject, run(Of::Original, Precision::Single)?),
        };
        let exact = by_noise.then(|| run(Of::Original, Precision::Double));
        let exact = exact.transpose()?;
        let halved = (by_noise && subject.is_halved()).then(|| {
            Ok(Halved {
                original: run(Of::Original, Precision::Single)?,
                unrounded: run(Of::Written, Precision::Double)?,
            })
        });
        let halved = halved.transpose()?;
        let mut paddle_version = None;
        if let Some(python) = &options.paddle {
            progress("running Paddle");
            let results = paddle::run(python, model.files(), sets, &names_given)?;
            witnesses.push((Side::Paddle, results.runs));
            paddle_version = Some(results.version);
        }
        progress("opening the ONNX model");
        let session = subject.session(runtime, onnx)?;
        let onnx = run_onnx(session, taken, progress).map_err(|e| e.in_file(onnx))?;
        Ok(Self {
            names,
            random: random_outputs(&subject.program, model.registry()),
            reference,
            exact,
            moved: Vec::new(),
            others: Vec::new(),
            onnx,
            witnesses,
            paddle_version,
            notes,
            halved,
        })
    }

    /// Adds samples of what the exact run gives if rounding moves it, up to `count` of them.
    ///
    /// # Errors
    /// When the weights can't be read.
    pub fn sample(&mut self, trials: &mut Trials<'_>, count: usize) -> Result<()> {
        let registry = trials.subject.model.registry();
        let (sets, progress) = (trials.sets, trials.progress);
        let reference = trials.exact()?;
        let accuracy = |op: &Op| registry.accuracy(op);
        for sample in self.moved.len()..count {
            let mut rounding = Rounding::new(sample as u64, NOISE_MULTIPLE);
            let runs = sets.iter().map(|set| {
                progress(&format!("{}: which answers rounding allows", set.label));
                let run = reference.run_moved(&set.tensors, &mut rounding, &accuracy);
                run.ok()
            });
            self.moved.push(runs.collect());
        }
        Ok(())
    }

    /// Adds what the reference gives on `count` sets of other inputs.
    ///
    /// # Errors
    /// When the weights can't be read.
    pub fn add_others(&mut self, trials: &mut Trials<'_>, count: usize) -> Result<()> {
        let single = trials.subject.reference(Precision::Single)?;
        let (sets, progress) = (trials.sets, trials.progress);
        let double = trials.exact()?;
        let mut rounding = Rounding::new(0, 1.0);
        for set in sets.iter().cycle().take(count) {
            progress(&format!("{}: the noise of other inputs", set.label));
            let inputs = set.tensors.iter();
            let inputs: Vec<(String, Tensor)> = inputs
                .map(|(name, tensor)| (name.clone(), rounding.other_operand(tensor)))
                .collect();
            // The program may not take every number.
            if let (Ok(rounded), Ok(exact)) = (single.run(&inputs), double.run(&inputs)) {
                self.others.push([rounded, exact]);
            }
        }
        Ok(())
    }

    /// Puts what each side gave into the reports of the outputs, which are by run.
    pub fn keep_values(&self, reports: &mut [Vec<OutputReport>]) {
        for (run, reports) in reports.iter_mut().enumerate() {
            let exact = self.exact.as_ref().map(|runs| &runs[run].outputs[..]);
            let exact = exact.map(|outputs| (Side::Exact, outputs));
            for (side, outputs) in self.of_run(run).into_iter().chain(exact) {
                for (report, tensor) in reports.iter_mut().zip(outputs) {
                    report.values.push((side, tensor.clone()));
                }
            }
        }
    }

    /// The outputs of a run by side, without the exact ones.
    pub fn of_run(&self, run: usize) -> Vec<(Side, &[Tensor])> {
        let mut sides: Vec<(Side, &[Tensor])> = vec![
            (Side::Reference, &self.reference[run].outputs),
            (Side::OnnxRuntime, &self.onnx[run].outputs),
        ];
        let witnesses = self.witnesses.iter();
        sides.extend(witnesses.map(|(side, runs)| (*side, runs[run].as_slice())));
        sides
    }
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

/// Which program the reference runs, where ONNX is written of another one than the original.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Original,
    Written,
}

/// Results of the original in the types of the outputs of the program that ONNX is written of.
fn as_returned(subject: &Subject<'_>, mut results: Vec<Results>) -> Vec<Results> {
    for run in &mut results {
        let outputs = subject.program.outputs().iter();
        for (tensor, output) in run.outputs.iter_mut().zip(outputs) {
            let dtype = subject.program[output.value].dtype;
            if subject.is_halved() && tensor.dtype() == DType::F32 && dtype.is_float() {
                *tensor = tensor.cast(dtype);
            }
        }
    }
    results
}

fn run_reference(
    subject: &Subject<'_>,
    (of, precision): (Of, Precision),
    options: &VerifyOptions,
    sets: &[inputs::Set],
    progress: &dyn Fn(&str),
) -> Result<Vec<Results>> {
    let kind = match precision {
        Precision::Single => "reference",
        Precision::Double => "reference in float64",
    };
    progress(&format!("loading the weights for the {kind}"));
    let reference = match of {
        Of::Original => subject.original(precision)?,
        Of::Written => subject.reference(precision)?,
    };
    let runs = sets.iter().map(|set| {
        progress(&format!("{}: running the {kind}", set.label));
        let start = Instant::now();
        let outputs = reference.run(&set.tensors);
        let outputs =
            outputs.map_err(|e| inputs::advise(e, subject.model, set, &options.inputs))?;
        Ok(Results {
            seconds: start.elapsed().as_secs_f64(),
            outputs,
        })
    });
    runs.collect()
}
