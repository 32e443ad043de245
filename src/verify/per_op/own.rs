//! The error that the nodes of an op make themselves.

use super::absorbed::OpRounding;
use super::report::OwnError;
use crate::operator::Accuracy;
use crate::program::Operand;
use crate::reference::{Rounding, Step, roundings};
use crate::tensor::Tensor;
use crate::verify::metrics::{Metrics, Tolerance};
use crate::verify::noise::{FEW, NOISE_MULTIPLE, Noise, OTHERS};

/// The error of the result that disagrees, or else of the first, and its position in `found`. `positions` says which
/// results of the op those in `found` are; in `exact` are all.
pub(super) fn own_error(
    step: &Step<'_>,
    rounding: OpRounding,
    positions: &[usize],
    found: &[Tensor],
    exact: &[Tensor],
) -> (usize, OwnError) {
    let mut first = None;
    for (number, position) in positions.iter().enumerate() {
        let sides = (found.get(number), exact.get(*position));
        let error = judge(step, rounding, *position, sides);
        if !error.agrees {
            return (number, error);
        }
        first.get_or_insert(error);
    }
    (0, first.unwrap_or_else(|| failure("the op has no results")))
}

/// The error of the result at `position`: its distance from the exact result, or, for element types
/// without rounding noise, from the reference.
fn judge(
    step: &Step<'_>,
    OpRounding {
        accuracy,
        largest_operand,
    }: OpRounding,
    position: usize,
    (found, exact): (Option<&Tensor>, Option<&Tensor>),
) -> OwnError {
    let reference = step.op.results.get(position);
    let reference = reference.and_then(|id| step.tensor(*id));
    let (Some(reference), Some(found), Some(exact)) = (reference, found, exact) else {
        return failure("the nodes give fewer results than the op");
    };
    if accuracy == Some(Accuracy::Stepped) {
        return judge_steps(step, position, (found, exact));
    }
    let noise = Noise::of(std::iter::once((reference, exact)));
    let unit = reference.dtype().unit_roundoff().unwrap_or(0.0);
    let roundings = roundings(accuracy, largest_operand, reference);
    let noise = noise.map(|noise| Noise {
        floor: noise
            .floor
            .max(unit * accuracy.map_or(0.0, Accuracy::hidden_magnitude))
            .max(unit * noise.largest * roundings / NOISE_MULTIPLE),
        ..noise
    });
    let error = |noise: Option<Noise>| {
        let metrics = match noise {
            Some(noise) if found.dtype() == reference.dtype() => {
                Metrics::of(&found.cast(exact.dtype()), exact, &noise.tolerance())
            }
            Some(_) => None,
            None => Metrics::of(found, reference, &Tolerance::default()),
        };
        OwnError {
            // `Metrics::agrees` would ask for the argmax as well, but which of two nearly equal elements is
            // the largest means nothing inside of a network.
            agrees: metrics
                .as_ref()
                .is_some_and(|metrics| metrics.disagreeing == 0),
            metrics,
            noise,
            failure: None,
        }
    };
    let first = error(noise);
    match noise {
        Some(noise) if !first.agrees && exact.len() <= FEW => {
            error(Some(with_samples(step, accuracy, position, noise)))
        }
        _ => first,
    }
}

/// How far the first operand of an op with steps is moved, as a share of it, to learn which elements the rounding of a few
/// products decides.
const EDGE: f64 = 1.0 / (1 << 20) as f64;

/// The error of a result that consists of steps: each element has to be that of the exact result, or that of the exact
/// result for an operand which is moved by as much as rounding moves it.
fn judge_steps(step: &Step<'_>, position: usize, (found, exact): (&Tensor, &Tensor)) -> OwnError {
    let moved = [1.0 - EDGE, 1.0 + EDGE].map(|factor| step.scaled_results(factor));
    let moved: Vec<Tensor> = moved
        .into_iter()
        .filter_map(|results| results.ok()?.into_iter().nth(position))
        .collect();
    let answers: Vec<&Tensor> = moved.iter().collect();
    let none = Tolerance {
        atol: 0.0,
        rtol: 0.0,
    };
    let metrics = Metrics::allowing(&found.cast(exact.dtype()), exact, &none, &answers);
    OwnError {
        agrees: metrics
            .as_ref()
            .is_some_and(|metrics| metrics.disagreeing == 0),
        metrics,
        noise: None,
        failure: None,
    }
}

/// The noise of a result, or what the op makes on other operands, whichever is more.
fn with_samples(
    step: &Step<'_>,
    accuracy: Option<Accuracy>,
    position: usize,
    noise: Noise,
) -> Noise {
    // The positions are the same for all numbers, so that none show how far these may be rounded.
    if accuracy == Some(Accuracy::Positions) {
        return Noise {
            floor: noise.floor.max(rounded_positions(step) * noise.largest),
            ..noise
        };
    }
    let mut rounding = Rounding::new(0, 1.0);
    let samples = (0..OTHERS).filter_map(|_| step.other_result(position, &mut rounding).ok()?);
    let samples: Vec<_> = samples.collect();
    let others = Noise::of(samples.iter().map(|(rounded, exact)| (rounded, exact)));
    Noise {
        floor: others.map_or(noise.floor, |others| others.floor.max(noise.floor)),
        ..noise
    }
}

/// The largest error of rounding a position between elements to float32, in elements.
fn rounded_positions(step: &Step<'_>) -> f64 {
    let operands = step.op.operands.iter().flat_map(Operand::values);
    let extents = operands.filter_map(|id| step.tensor(*id)?.shape().iter().max().copied());
    extents.max().unwrap_or(0) as f64 * f64::from(f32::EPSILON) / 2.0
}

fn failure(reason: &str) -> OwnError {
    OwnError {
        agrees: false,
        metrics: None,
        noise: None,
        failure: Some(reason.to_owned()),
    }
}
