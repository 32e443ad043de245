//! Which sides agree on which outputs, by rounding noise or by a tolerance.
//!
//! In go the outputs of all sides, out comes one report per output and run. Refused are ONNX models
//! with another number of outputs than the program.

use super::metrics::{Metrics, Tolerance};
use super::noise::{FEW, LARGEST_SHARE, Noise, OTHERS};
use super::sides::{Sides, Trials};
use super::{Comparison, OutputReport, Side};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::tensor::Tensor;

/// The largest share of the elements of an integer or Boolean output that rounding may decide, for the output to be
/// judged.
const LARGEST_UNSTEADY: f64 = 0.05;

/// How many runs that are moved by rounding are made where an output disagrees and rounding may explain it; four times as
/// many, if it explains most. One answer of two that are a coin's throw is missed by all of them in one of 256 cases.
const SAMPLES: usize = 8;

/// Whether a comparison is a reason to make runs that are moved by rounding.
type Reason = fn(&Comparison) -> bool;

/// The share of elements up to which disagreeing ones may be explained by rounding; more are a fault.
const LARGEST_EXPLAINED: f64 = 0.1;

impl Sides {
    /// Compares all outputs as [`Sides::compare`] does, and finds out which answers rounding allows where that matters:
    /// for integer and Boolean outputs, and where elements disagree.
    ///
    /// # Errors
    /// Those of [`Sides::compare`], and when the weights can't be read.
    pub fn judge(
        &mut self,
        mut trials: Trials<'_>,
        tolerance: Option<Tolerance>,
    ) -> Result<Vec<Vec<OutputReport>>> {
        if tolerance.is_none() && self.has_discrete_outputs(&trials.subject.program) {
            self.sample(&mut trials, 1)?;
        }
        let mut reports = self.compare(tolerance)?;
        if tolerance.is_none() && self.have_few_disagree(&reports) {
            self.add_others(&mut trials, OTHERS)?;
            reports = self.compare(tolerance)?;
        }
        let reasons: [(usize, Reason); 3] = [
            (1, |comparison| !comparison.agrees),
            (SAMPLES, may_be_rounding),
            (4 * SAMPLES, is_mostly_rounding),
        ];
        for (samples, is_reason) in reasons {
            let outputs = reports.iter().flatten().filter(|output| !output.random);
            let mut comparisons = outputs.flat_map(|output| &output.comparisons);
            if tolerance.is_none() && comparisons.any(is_reason) {
                self.sample(&mut trials, samples)?;
                reports = self.compare(tolerance)?;
            }
        }
        Ok(reports)
    }

    /// Whether an output disagrees that has so few elements, in all runs together, that its noise is luck.
    fn have_few_disagree(&self, reports: &[Vec<OutputReport>]) -> bool {
        let elements = |position: usize| -> usize {
            let runs = self.reference.iter();
            runs.map(|run| run.outputs[position].len()).sum()
        };
        let outputs = reports
            .iter()
            .flat_map(|outputs| outputs.iter().enumerate());
        let mut differing = outputs.filter(|(_, output)| {
            output.noise.is_some() && output.comparisons.iter().any(|c| !c.agrees)
        });
        differing.any(|(position, _)| elements(position) <= FEW)
    }

    /// Whether there are integer or Boolean outputs that may have been made of floating-point numbers.
    fn has_discrete_outputs(&self, program: &Program) -> bool {
        let first = self.reference.first();
        let mut outputs = first.iter().flat_map(|run| &run.outputs).zip(&self.random);
        let mut values = program.values();
        outputs.any(|(output, random)| !random && !output.dtype().is_float())
            && values.any(|(_, value)| value.dtype.is_float())
    }

    /// Compares all outputs, and returns the reports of each run. `tolerance` applies to outputs that are
    /// not judged by rounding noise; None for the default.
    ///
    /// # Errors
    /// When the ONNX model has another number of outputs than the program.
    fn compare(&self, tolerance: Option<Tolerance>) -> Result<Vec<Vec<OutputReport>>> {
        let names = &self.names;
        if let Some(run) = self
            .onnx
            .iter()
            .find(|run| run.outputs.len() != names.len())
        {
            return Err(Error::invalid(format!(
                "the ONNX model has {} outputs, the program {}",
                run.outputs.len(),
                names.len()
            )));
        }
        let mut reports: Vec<Vec<OutputReport>> = Vec::new();
        reports.resize_with(self.reference.len(), Vec::new);
        for (position, name) in names.iter().enumerate() {
            let random = self.random.get(position) == Some(&true);
            let noise = self.noise(position).filter(|_| !random);
            let undecided = (!random && tolerance.is_none())
                .then(|| self.undecided(position, noise))
                .flatten();
            let unproved = noise.and_then(|_| self.unproved(position));
            for (run, reports) in reports.iter_mut().enumerate() {
                reports.push(OutputReport {
                    name: name.clone(),
                    shape: self.reference[run].outputs[position].shape().to_vec(),
                    random,
                    noise,
                    undecided: undecided.clone(),
                    unproved: unproved.clone(),
                    comparisons: match noise {
                        _ if random => self.kinds(run, position),
                        Some(noise) => self.against_exact(run, position, noise),
                        None => {
                            let tolerance = tolerance.unwrap_or_default();
                            let compared = self.pairwise(run, position, &tolerance);
                            self.left_to_ops(compared, undecided.is_some())
                        }
                    },
                    values: Vec::new(),
                });
            }
        }
        Ok(reports)
    }

    /// Why the output at `position` can't be judged, as a clause; None if it can.
    fn undecided(&self, position: usize, noise: Option<Noise>) -> Option<String> {
        let has_other_shape = |run: usize| {
            let shape = self.reference[run].outputs[position].shape();
            let mut answers = self.answers(run, position).into_iter();
            answers.any(|answer| answer.shape() != shape)
        };
        if (0..self.reference.len()).any(has_other_shape) {
            return Some("rounding decides its shape".to_owned());
        }
        if let Some(noise) = noise {
            return (!noise.is_small()).then(|| {
                format!(
                    "rounding alone moves it by {:.1e}, where its elements spread by {:.1e}",
                    noise.floor, noise.spread
                )
            });
        }
        let (mut unsteady, mut elements) = (0, 0);
        for run in 0..self.reference.len() {
            let tensor = &self.reference[run].outputs[position];
            let reference = tensor.to_f64_vec();
            let mut steady = vec![true; reference.len()];
            for answer in self.answers(run, position) {
                let others = reference.iter().zip(answer.to_f64_vec());
                for (steady, (a, b)) in steady.iter_mut().zip(others) {
                    *steady &= *a == b || tensor.dtype().is_float();
                }
            }
            unsteady += steady.iter().filter(|steady| !**steady).count();
            elements += reference.len();
        }
        let share = unsteady as f64 / elements.max(1) as f64;
        (share > LARGEST_UNSTEADY)
            .then(|| format!("rounding decides {unsteady} of its {elements} elements"))
    }

    /// The comparisons of an output that is not floating-point, of a model in half precision. If rounding decides its
    /// elements, none of them shows anything, and the ops are to tell.
    fn left_to_ops(&self, mut compared: Vec<Comparison>, is_undecided: bool) -> Vec<Comparison> {
        if self.halved.is_none() || !is_undecided {
            return compared;
        }
        let rounded = compared.iter_mut().filter(|c| c.side != Side::Unrounded);
        for comparison in rounded {
            if let Some(metrics) = &mut comparison.metrics {
                metrics.borderline += std::mem::take(&mut metrics.disagreeing);
                comparison.agrees = true;
            }
        }
        compared
    }

    /// Why it can't be told whether the program in half precision computes what the original does; None if it can.
    fn unproved(&self, position: usize) -> Option<String> {
        let noise = self.float32_noise(position)?;
        let is_same = self.unrounded_error(position) <= LARGEST_SHARE * noise.spread;
        (!is_same && !noise.is_small()).then(|| {
            format!(
                "rounding to float32 alone moves it by {:.1e}, where its elements spread by {:.1e}",
                noise.floor, noise.spread
            )
        })
    }

    /// The largest distance, in all runs, of the program in half precision from the original if nothing is rounded.
    fn unrounded_error(&self, position: usize) -> f64 {
        let (Some(halved), Some(exact)) = (&self.halved, &self.exact) else {
            return 0.0;
        };
        let runs = halved.unrounded.iter().zip(exact);
        let pairs = runs.map(|(a, b)| (&a.outputs[position], &b.outputs[position]));
        let errors = pairs.map(|(a, b)| {
            let metrics = Metrics::of(a, b, &Tolerance::default());
            metrics.map_or(f64::INFINITY, |metrics| metrics.max_abs)
        });
        errors.fold(0.0, f64::max)
    }

    /// The noise of float32 in an output of a model in half precision.
    fn float32_noise(&self, position: usize) -> Option<Noise> {
        self.halved.as_ref()?.noise(position, self.exact.as_ref()?)
    }

    /// The distance of the program in half precision from the exact result of the original, if nothing is rounded to half
    /// precision.
    fn unrounded(&self, run: usize, position: usize, exact: &Tensor) -> Option<Comparison> {
        let unrounded = &self.halved.as_ref()?.unrounded[run].outputs[position];
        let noise = self.float32_noise(position);
        let tolerance = noise.map_or_else(Tolerance::default, Noise::tolerance);
        let sides = ((Side::Unrounded, unrounded), (Side::Exact, exact));
        Some(compare(sides.0, sides.1, &tolerance, &[]))
    }

    /// What the exact run, and those that were moved by rounding, have for an output.
    fn answers(&self, run: usize, position: usize) -> Vec<&Tensor> {
        let moved = self.moved.iter().filter_map(|runs| runs[run].as_ref());
        let exact = self.exact.iter().map(|runs| &runs[run].outputs);
        let all = exact.chain(moved);
        all.map(|outputs| &outputs[position]).collect()
    }

    /// The noise of the output at `position` over all runs, in which it is measured, and in those on other inputs and
    /// those that were moved by rounding, if there are such; None if there is no exact result.
    fn noise(&self, position: usize) -> Option<Noise> {
        let exact = self.exact.as_ref()?;
        let exact = exact.iter().map(|run| &run.outputs[position]);
        let rounded = self.reference.iter().map(|run| &run.outputs[position]);
        let others = self.others.iter();
        let others = others.map(|[rounded, exact]| (&rounded[position], &exact[position]));
        let noise = Noise::of(rounded.zip(exact.clone()).chain(others))?;
        let moved = self
            .moved
            .iter()
            .flat_map(|runs| runs.iter().zip(exact.clone()));
        let moved = moved.filter_map(|(run, exact)| Some((&run.as_ref()?[position], exact)));
        Some(noise.at_least(moved))
    }

    /// The distance of every side from the exact result.
    fn against_exact(&self, run: usize, position: usize, noise: Noise) -> Vec<Comparison> {
        let Some(exact) = &self.exact else {
            return Vec::new();
        };
        let exact = &exact[run].outputs[position];
        let reference = &self.reference[run].outputs[position];
        let mut sides = vec![
            (Side::OnnxRuntime, &self.onnx[run].outputs[position]),
            (Side::Reference, reference),
        ];
        sides.extend(self.witnesses(run, position));
        let answers = self.answers(run, position);
        let comparisons = sides.into_iter().map(|(side, tensor)| {
            // The exact tensor is of float64. A tensor of the program's element type is cast to that;
            // any other type is wrong, and stays, so that the comparison fails.
            let tensor = if tensor.dtype() == reference.dtype() {
                &tensor.cast(exact.dtype())
            } else {
                tensor
            };
            let exact = (Side::Exact, exact);
            let mut compared = compare((side, tensor), exact, &noise.tolerance(), &answers);
            // The reference rounds as well, so that it shows how many results there may be.
            compared.agrees |= compared.metrics.is_none()
                && tensor.dtype() == exact.1.dtype()
                && tensor.shape() == reference.shape();
            compared
        });
        comparisons
            .chain(self.unrounded(run, position, exact))
            .collect()
    }

    /// The witnesses' tensors for one output of a run.
    fn witnesses(&self, run: usize, position: usize) -> impl Iterator<Item = (Side, &Tensor)> {
        let witnesses = self.witnesses.iter();
        witnesses.filter_map(move |(side, runs)| Some((*side, runs.get(run)?.get(position)?)))
    }

    /// Whether every side has the shape and element type that the reference has.
    fn kinds(&self, run: usize, position: usize) -> Vec<Comparison> {
        let reference = &self.reference[run].outputs[position];
        let onnx = (Side::OnnxRuntime, &self.onnx[run].outputs[position]);
        let others = std::iter::once(onnx).chain(self.witnesses(run, position));
        let comparisons = others.map(|(side, tensor)| Comparison {
            side,
            against: Side::Reference,
            agrees: tensor.dtype() == reference.dtype() && tensor.shape() == reference.shape(),
            metrics: None,
        });
        comparisons.collect()
    }

    /// The distance of ONNX Runtime from the reference, and of both from every witness.
    fn pairwise(&self, run: usize, position: usize, tolerance: &Tolerance) -> Vec<Comparison> {
        let reference = (Side::Reference, &self.reference[run].outputs[position]);
        let onnx = (Side::OnnxRuntime, &self.onnx[run].outputs[position]);
        // Numbers of float64 are judged by the tolerance alone.
        let is_float = reference.1.dtype().is_float();
        let answers = (!is_float).then(|| self.answers(run, position));
        let answers = answers.unwrap_or_default();
        let mut comparisons = vec![compare(onnx, reference, tolerance, &answers)];
        let exact = self.exact.as_ref().map(|runs| &runs[run].outputs[position]);
        comparisons.extend(exact.and_then(|exact| self.unrounded(run, position, exact)));
        for witness in self.witnesses(run, position) {
            comparisons.push(compare(reference, witness, tolerance, &answers));
            comparisons.push(compare(onnx, witness, tolerance, &answers));
        }
        comparisons
    }
}

/// Whether two sides disagree in a way that rounding may explain: on their shapes, or on a few elements.
fn may_be_rounding(comparison: &Comparison) -> bool {
    let few = |metrics: &Metrics| {
        let share = LARGEST_EXPLAINED * metrics.elements as f64;
        metrics.disagreeing as f64 <= share.max(SAMPLES as f64)
    };
    !comparison.agrees && comparison.metrics.as_ref().is_none_or(few)
}

/// Whether two sides disagree on some elements, but rounding explains more of them.
fn is_mostly_rounding(comparison: &Comparison) -> bool {
    let metrics = comparison.metrics.as_ref();
    metrics.is_some_and(|m| m.disagreeing > 0 && m.disagreeing <= m.borderline)
}

fn compare(
    (side, a): (Side, &Tensor),
    (against, b): (Side, &Tensor),
    tolerance: &Tolerance,
    answers: &[&Tensor],
) -> Comparison {
    let metrics = Metrics::allowing(a, b, tolerance, answers);
    // Rounding may decide how many results there are.
    let is_allowed = || {
        let mut answers = answers.iter();
        a.dtype() == b.dtype() && answers.any(|answer| answer.shape() == a.shape())
    };
    Comparison {
        side,
        against,
        agrees: metrics.as_ref().map_or_else(is_allowed, Metrics::agrees),
        metrics,
    }
}
