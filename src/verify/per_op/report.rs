//! The report of a comparison op by op.

use serde::Serialize;

use crate::reference::Within;
use crate::tensor::Tensor;
use crate::verify::{Metrics, Noise, distance};

/// A comparison op by op, for one set of inputs.
#[derive(Debug, Clone, Serialize)]
pub struct PerOp {
    /// What the inputs are: a batch size, shapes or a file.
    pub inputs: String,
    /// The ops that have become nodes, in the order in which they ran: those of a block before the op that holds it. Empty if
    /// only the culprit was looked for.
    pub ops: Vec<OpReport>,
    /// The number of ops that have become nodes and were compared.
    pub compared: usize,
    /// The number of ops that have become no node, since their results are known before a run, needed
    /// by nothing, or the same as an operand; or since they or the operands are of variables that nothing has written.
    pub without_nodes: usize,
    /// The ops whose nodes could not be run alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<NotCompared>,
    /// The first op whose nodes compute something else from the same operands.
    pub culprit: Option<Culprit>,
}

/// An op whose nodes could not be run alone.
#[derive(Debug, Clone, Serialize)]
pub struct NotCompared {
    /// The op's position in the program's file.
    pub index: usize,
    /// The op's name in the program.
    pub op: String,
    /// The blocks around the op, from the outside in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Within>,
    /// The layer of the op, or else the variable that it writes.
    pub place: String,
    /// Why not, as a clause.
    pub reason: String,
}

/// One op, and the errors of the nodes that it has become.
#[derive(Debug, Clone, Serialize)]
pub struct OpReport {
    /// The op's position in the program's file.
    pub index: usize,
    /// The op's name in the program.
    pub op: String,
    /// The blocks around the op, from the outside in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Within>,
    /// The layer of the op, or else the variable that it writes.
    pub place: String,
    /// Ops before it without a tensor in the ONNX model, which the same nodes compute: each as in ``op 12 `conv2d` ``.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absorbed: Vec<String>,
    /// The name of the ONNX tensor that holds the op's first result.
    pub tensor: String,
    /// The shape of the first result.
    pub shape: Vec<usize>,
    /// The error that the op itself makes, on the operands of the reference.
    pub own: OwnError,
    /// The distance of the first result from the reference, where the nodes of all ops so far ran on
    /// one another's results. None if it was not asked for, there is nothing to compare, or the op is in a block.
    pub accumulated: Option<Metrics>,
}

impl OpReport {
    /// The layer, the ops that the same nodes compute, and the blocks around the op, in words.
    pub fn whole_place(&self) -> String {
        let mut place = self.place.clone();
        if !self.absorbed.is_empty() {
            place = format!("{place} with {}", self.absorbed.join(", "));
        }
        whole_place(&place, &self.within)
    }
}

/// A layer, and the blocks around an op of it, in words.
pub fn whole_place(place: &str, within: &[Within]) -> String {
    if within.is_empty() {
        return place.to_owned();
    }
    format!("{place}, in {}", in_words(within))
}

/// Blocks around an op, from the inside out: `round 2 of op 12 `while`, in the true branch of op 3 `if``.
pub fn in_words(blocks: &[Within]) -> String {
    let inside_out = blocks.iter().rev().map(Within::to_string);
    inside_out.collect::<Vec<_>>().join(", in ")
}

/// How far the nodes of one op are from what the op computes exactly from the same operands.
#[derive(Debug, Clone, Serialize)]
pub struct OwnError {
    /// Whether rounding explains the distance.
    pub agrees: bool,
    /// The distance; None if the shapes or element types differ, or the nodes did not run.
    pub metrics: Option<Metrics>,
    /// The rounding noise of the op; None if its element type has none, or the nodes did not run.
    pub noise: Option<Noise>,
    /// Why the nodes did not run, or that they gave too few results.
    pub failure: Option<String>,
}

/// The details of an op whose nodes compute something else.
#[derive(Debug, Clone, Serialize)]
pub struct Culprit {
    /// The op and its error.
    #[serde(flatten)]
    pub report: OpReport,
    /// The op's attributes, as name and value.
    pub attributes: Vec<(String, String)>,
    /// The op's operands in the reference.
    pub operands: Vec<Statistics>,
    /// The exact result, computed in float64 from these operands.
    pub expected: Statistics,
    /// The result of the nodes, if they ran.
    pub found: Option<Statistics>,
    /// The element that is furthest off; None if the nodes did not run or the shapes differ.
    pub worst: Option<Worst>,
}

/// A summary of the elements of a tensor.
#[derive(Debug, Clone, Serialize)]
pub struct Statistics {
    /// The value's name.
    pub name: String,
    /// The element type.
    pub dtype: &'static str,
    /// The shape.
    pub shape: Vec<usize>,
    /// The smallest finite element; 0 if there is none.
    pub min: f64,
    /// The largest finite element; 0 if there is none.
    pub max: f64,
    /// The mean of the finite elements; 0 if there is none.
    pub mean: f64,
    /// The number of elements that are infinite or NaN.
    pub not_finite: usize,
}

impl Statistics {
    pub(super) fn of(name: &str, tensor: &Tensor) -> Self {
        let elements = tensor.to_f64_vec();
        let finite: Vec<f64> = elements.iter().copied().filter(|e| e.is_finite()).collect();
        let count = finite.len().max(1) as f64;
        let bound = |start: f64, pick: fn(f64, f64) -> f64| {
            let bound = finite.iter().copied().fold(start, pick);
            if bound.is_finite() { bound } else { 0.0 }
        };
        Self {
            name: name.to_owned(),
            dtype: tensor.dtype().name(),
            shape: tensor.shape().to_vec(),
            min: bound(f64::INFINITY, f64::min),
            max: bound(f64::NEG_INFINITY, f64::max),
            mean: finite.iter().sum::<f64>() / count,
            not_finite: elements.len() - finite.len(),
        }
    }
}

/// The element of a result that is furthest from the exact one.
#[derive(Debug, Clone, Serialize)]
pub struct Worst {
    /// The element's position along each axis.
    pub index: Vec<usize>,
    /// What the nodes computed.
    pub found: f64,
    /// The exact value.
    pub exact: f64,
}

impl Worst {
    /// The worst element; None if the shapes differ or there are no elements.
    pub(super) fn of(found: &Tensor, exact: &Tensor) -> Option<Self> {
        if found.shape() != exact.shape() {
            return None;
        }
        let pairs = found.to_f64_vec().into_iter().zip(exact.to_f64_vec());
        let (mut position, (found, exact_value)) = pairs
            .enumerate()
            .max_by(|(_, (a, b)), (_, (c, d))| distance(*a, *b).total_cmp(&distance(*c, *d)))?;
        let mut index = Vec::new();
        for extent in exact.shape().iter().rev() {
            index.push(position % extent);
            position /= extent;
        }
        index.reverse();
        Some(Self {
            index,
            found,
            exact: exact_value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_element_is_found_by_its_index() {
        let tensor = |elements: Vec<f64>| Tensor::from_elements(&[2, 3], elements).unwrap();
        let exact = tensor(vec![1.0, 2.0, 3.0, f64::NAN, 5.0, 6.0]);
        let found = tensor(vec![1.5, 2.0, 3.0, f64::NAN, 4.0, 6.0]);
        let worst = Worst::of(&found, &exact).unwrap();
        assert_eq!(
            (worst.index, worst.found, worst.exact),
            (vec![1, 1], 4.0, 5.0)
        );
        let found = tensor(vec![1.0, 2.0, f64::NAN, f64::NAN, 0.0, 6.0]);
        assert_eq!(Worst::of(&found, &exact).unwrap().index, [0, 2]);
    }

    #[test]
    fn statistics_leave_out_what_is_not_finite() {
        let tensor = Tensor::vector(vec![1.0_f64, f64::INFINITY, -3.0]);
        let s = Statistics::of("x", &tensor);
        assert_eq!((s.min, s.max, s.mean, s.not_finite), (-3.0, 1.0, -1.0, 1));
        let s = Statistics::of("x", &Tensor::vector(Vec::<f64>::new()));
        assert_eq!((s.min, s.max, s.mean, s.not_finite), (0.0, 0.0, 0.0, 0));
    }
}
