//! Which sides agree on which outputs, by rounding noise or by a tolerance.
//!
//! In go the outputs of all sides, out comes one report per output and run. Refused are ONNX models
//! with another number of outputs than the program.

use serde::Serialize;

use super::metrics::{Metrics, Tolerance};
use super::sides::Sides;
use super::{Comparison, OutputReport, Side};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// How far a side may be away from the exact result, in multiples of the rounding noise.
///
/// Two right implementations differ in the order of their sums, so their largest errors are
/// similar but not equal: over 1400 runs of small vision transformers, ONNX Runtime's was between 0.1
/// and 7 times that of the reference.
pub const NOISE_MULTIPLE: f64 = 10.0;

/// How far rounding alone takes the result of the original program from the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Noise {
    /// The largest `|reference - exact|` of all runs, or the largest error of rounding an exact value
    /// to the output's element type, whichever is more.
    pub floor: f64,
    /// How many times `floor` a side may be away from the exact result.
    pub multiple: f64,
}

impl Noise {
    /// The noise of pairs of a rounded tensor and the exact one; None if a rounded tensor is not of
    /// float32, float16 or bfloat16.
    pub(super) fn of<'t>(pairs: impl Iterator<Item = (&'t Tensor, &'t Tensor)>) -> Option<Self> {
        let mut floor = 0.0_f64;
        for (rounded, exact) in pairs {
            let unit = unit_roundoff(rounded.dtype())?;
            for (rounded, exact) in rounded.to_f64_vec().iter().zip(exact.to_f64_vec()) {
                let errors = [(rounded - exact).abs(), unit * exact.abs()];
                let finite = errors.into_iter().filter(|error| error.is_finite());
                floor = finite.fold(floor, f64::max);
            }
        }
        Some(Self {
            floor,
            multiple: NOISE_MULTIPLE,
        })
    }

    /// The tolerance of a comparison with the exact result.
    pub(super) fn tolerance(self) -> Tolerance {
        Tolerance {
            atol: self.multiple * self.floor,
            rtol: 0.0,
        }
    }
}

/// The largest relative error of rounding a float64 to this type; None if the type is not a
/// floating-point type of lower precision.
fn unit_roundoff(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F32 => Some(2_f64.powi(-24)),
        DType::F16 => Some(2_f64.powi(-11)),
        DType::BF16 => Some(2_f64.powi(-8)),
        _ => None,
    }
}

impl Sides {
    /// Compares all outputs, and returns the reports of each run. `tolerance` applies to outputs that are
    /// not judged by rounding noise; None for the default.
    ///
    /// # Errors
    /// When the ONNX model has another number of outputs than the program.
    pub fn compare(&self, tolerance: Option<Tolerance>) -> Result<Vec<Vec<OutputReport>>> {
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
            for (run, reports) in reports.iter_mut().enumerate() {
                reports.push(OutputReport {
                    name: name.clone(),
                    shape: self.reference[run].outputs[position].shape().to_vec(),
                    random,
                    noise,
                    comparisons: match noise {
                        _ if random => self.kinds(run, position),
                        Some(noise) => self.against_exact(run, position, noise),
                        None => self.pairwise(run, position, &tolerance.unwrap_or_default()),
                    },
                });
            }
        }
        Ok(reports)
    }

    /// The noise of the output at `position` over all runs; None if there is no exact result.
    fn noise(&self, position: usize) -> Option<Noise> {
        let rounded = self.reference.iter().map(|run| &run.outputs[position]);
        let exact = self
            .exact
            .as_ref()?
            .iter()
            .map(|run| &run.outputs[position]);
        Noise::of(rounded.zip(exact))
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
        let comparisons = sides.into_iter().map(|(side, tensor)| {
            // The exact tensor is of float64. A tensor of the program's element type is cast to that;
            // any other type is wrong, and stays, so that the comparison fails.
            let tensor = if tensor.dtype() == reference.dtype() {
                &tensor.cast(exact.dtype())
            } else {
                tensor
            };
            compare((side, tensor), (Side::Exact, exact), &noise.tolerance())
        });
        comparisons.collect()
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
        let mut comparisons = vec![compare(onnx, reference, tolerance)];
        for witness in self.witnesses(run, position) {
            comparisons.push(compare(reference, witness, tolerance));
            comparisons.push(compare(onnx, witness, tolerance));
        }
        comparisons
    }
}

fn compare(
    (side, a): (Side, &Tensor),
    (against, b): (Side, &Tensor),
    tolerance: &Tolerance,
) -> Comparison {
    let metrics = Metrics::of(a, b, tolerance);
    Comparison {
        side,
        against,
        agrees: metrics.as_ref().is_some_and(Metrics::agrees),
        metrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(elements: &[f32]) -> Tensor {
        Tensor::vector(elements.to_vec())
    }

    fn double(elements: &[f64]) -> Tensor {
        Tensor::vector(elements.to_vec())
    }

    #[test]
    fn noise_is_measured_but_never_below_the_rounding_of_one_number() {
        let (rounded, exact) = (single(&[1.0, -4.0]), double(&[1.0 + 1e-6, -4.0]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert!((noise.floor - 1e-6).abs() < 1e-12, "{noise:?}");
        let (rounded, exact) = (single(&[1.0, -4.0]), double(&[1.0, -4.0]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert_eq!(noise.floor, 4.0 * 2_f64.powi(-24));
    }

    #[test]
    fn noise_is_that_of_all_runs() {
        let tensors = [
            (single(&[1.0]), double(&[1.0 + 1e-6])),
            (single(&[1.0]), double(&[1.0 - 3e-6])),
        ];
        let noise = Noise::of(tensors.iter().map(|(rounded, exact)| (rounded, exact)));
        assert!((noise.unwrap().floor - 3e-6).abs() < 1e-12);
    }

    #[test]
    fn infinities_make_no_noise() {
        let (rounded, exact) = (single(&[f32::INFINITY]), double(&[1e300]));
        let noise = Noise::of([(&rounded, &exact)].into_iter()).unwrap();
        assert!(noise.floor.is_finite());
    }

    #[test]
    fn integers_and_doubles_have_no_noise() {
        let integers = Tensor::vector(vec![1_i64]);
        assert!(Noise::of([(&integers, &integers)].into_iter()).is_none());
        let doubles = double(&[1.0]);
        assert!(Noise::of([(&doubles, &doubles)].into_iter()).is_none());
    }
}
