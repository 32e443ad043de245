//! Recurrence: ops that go through a sequence step by step.
//!
//! An op whose result at one step depends on that at the step before, by other means than a sum or a product, belongs
//! here.

mod ctc_align;
mod gather_tree;
mod gru_unit;
mod lstm_unit;
mod rnn;
mod steps;
mod viterbi;

use crate::error::{Error, Result};
use crate::operator::OpDef;
use crate::program::{Facts, ValueId};
use crate::tensor::Dim;

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    ctc_align::OPS,
    gather_tree::OPS,
    gru_unit::OPS,
    lstm_unit::OPS,
    rnn::OPS,
    viterbi::OPS,
];

/// Why an op on sequences by LoD can't be converted.
pub(super) const NEEDS_LOD: &str = "takes sequences by LoD, the offsets that Paddle 1 keeps beside a tensor, for which \
     ONNX has no counterpart";

/// The ops that need the offsets of sequences, which are no part of any tensor.
pub(super) const NEED_LOD: &[&str] = &[
    "array_to_lod_tensor",
    "attention_lstm",
    "beam_search",
    "beam_search_decode",
    "fused_embedding_fc_lstm",
    "fused_embedding_seq_pool",
    "fused_seqpool_cvm",
    "fusion_gru",
    "fusion_lstm",
    "fusion_seqconv_eltadd_relu",
    "fusion_seqexpand_concat_fc",
    "fusion_seqpool_concat",
    "fusion_seqpool_cvm_concat",
    "gru",
    "im2sequence",
    "lod_rank_table",
    "lod_reset",
    "lod_tensor_to_array",
    "lstm",
    "lstmp",
    "max_sequence_len",
    "merge_lod_tensor",
    "multi_gru",
    "reorder_lod_tensor_by_rank",
    "sequence_concat",
    "sequence_conv",
    "sequence_enumerate",
    "sequence_erase",
    "sequence_expand",
    "sequence_expand_as",
    "sequence_pad",
    "sequence_pool",
    "sequence_reshape",
    "sequence_reverse",
    "sequence_scatter",
    "sequence_slice",
    "sequence_softmax",
    "sequence_topk_avg_pooling",
    "sequence_unpad",
    "shrink_rnn_memory",
    "split_lod_tensor",
];

/// A number of units, if one step of a recurrence can have so many that no product of extents overflows.
fn refuse_impossible(units: i64) -> Result<i64> {
    if (1..=1 << 24).contains(&units) {
        return Ok(units);
    }
    Err(Error::malformed(format!("a step of {units} units")))
}

/// The refusal of an op that takes sequences by LoD where it is not given their lengths.
fn needs_lod(lengths: &str) -> Error {
    Error::unsupported(format!("without `{lengths}`, it {NEEDS_LOD}"))
}

/// Refuses lengths that are known not to be one for each sequence of a batch.
fn check_lengths(facts: &Facts<'_>, lengths: ValueId, batch: &Dim) -> Result<()> {
    let count = facts.shape(lengths).first().and_then(Dim::known);
    match (count, batch.known()) {
        (Some(count), Some(batch)) if count != batch => Err(Error::malformed(format!(
            "{count} lengths for a batch of {batch}"
        ))),
        _ => Ok(()),
    }
}
