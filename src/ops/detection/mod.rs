//! Detection: boxes from the outputs of networks, and the choice of the best among boxes that overlap.
//!
//! An op that makes, codes, compares, drops or distributes boxes belongs here. What resamples an image in boxes is in
//! `resize`.

mod box_coder;
mod chosen;
mod iou_similarity;
mod matrix_nms;
mod multiclass_nms;
mod nms;
mod prior_box;
mod suppression;
mod yolo_box;

use crate::error::Error;
use crate::graph::{Lowering, TensorId};
use crate::operator::OpDef;
use crate::tensor::{DType, Tensor};

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    box_coder::OPS,
    iou_similarity::OPS,
    matrix_nms::OPS,
    multiclass_nms::OPS,
    nms::OPS,
    prior_box::OPS,
    yolo_box::OPS,
];

/// The error for a tensor of a type in which the reference does not compute an op.
fn no_kernel(tensor: &Tensor) -> Error {
    let dtype = tensor.dtype();
    Error::unsupported(format!("the reference has no kernel for {dtype}"))
}

/// Emits the scores, `[images, classes, boxes]`, without those of the background class, if there is one.
fn foreground(g: &mut Lowering<'_>, scores: TensorId, background: Option<usize>) -> TensorId {
    let Some(background) = background.map(|class| class as i64) else {
        return scores;
    };
    let behind = g.slice(scores, background + 1, i64::MAX, 1);
    if background == 0 {
        return behind;
    }
    let before = g.slice(scores, 0, background, 1);
    g.concat(&[before, behind], 1)
}

/// Emits the number of each class among all, from its number among those but for the background.
fn labels(g: &mut Lowering<'_>, classes: TensorId, background: Option<usize>) -> TensorId {
    let Some(background) = background else {
        return classes;
    };
    let background = g.scalar(DType::I64, background as f64);
    let is_behind = g.compare_or_equal("Greater", classes, background);
    let step = g.cast(is_behind, DType::Bool, DType::I64);
    g.node("Add", &[classes, step], [])
}
