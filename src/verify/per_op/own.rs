//! The error that the nodes of an op make themselves.

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
    accuracy: Option<Accuracy>,
    positions: &[usize],
    found: &[Tensor],
    exact: &[Tensor],
) -> (usize, OwnError) {
    let mut first = None;
    for (number, position) in positions.iter().enumerate() {
        let sides = (found.get(number), exact.get(*position));
        let error = judge(step, accuracy, *position, sides);
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
    accuracy: Option<Accuracy>,
    position: usize,
    (found, exact): (Option<&Tensor>, Option<&Tensor>),
) -> OwnError {
    let reference = step.op.results.get(position);
    let reference = reference.and_then(|id| step.tensor(*id));
    let (Some(reference), Some(found), Some(exact)) = (reference, found, exact) else {
        return failure("the nodes give fewer results than the op");
    };
    let noise = Noise::of(std::iter::once((reference, exact)));
    let unit = reference.dtype().unit_roundoff().unwrap_or(0.0);
    let roundings = roundings(accuracy, step.largest_operand(), reference);
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
