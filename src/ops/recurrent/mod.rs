//! Recurrence: ops that go through a sequence step by step.
//!
//! An op whose result at one step depends on that at the step before, by other means than a sum or a product, belongs
//! here.

mod ctc_align;
mod gather_tree;
mod gru_unit;
mod rnn;
mod steps;
mod viterbi;

use crate::error::Error;
use crate::operator::OpDef;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    ctc_align::OPS,
    gather_tree::OPS,
    gru_unit::OPS,
    rnn::OPS,
    viterbi::OPS,
];

/// Why an op on sequences by LoD can't be converted.
const NEEDS_LOD: &str = "takes sequences by LoD, the offsets that Paddle 1 keeps beside a tensor, for which \
     ONNX has no counterpart";

/// The refusal of an op that takes sequences by LoD where it is not given their lengths.
fn needs_lod(lengths: &str) -> Error {
    Error::unsupported(format!("without `{lengths}`, it {NEEDS_LOD}"))
}
