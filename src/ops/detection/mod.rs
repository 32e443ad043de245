//! Detection: boxes from the outputs of networks, and the choice of the best among boxes that overlap.
//!
//! An op that makes, codes, compares, drops or distributes boxes belongs here. What resamples an image in boxes is in
//! `resize`.

mod box_coder;
mod chosen;
mod iou_similarity;
mod limited;
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

/// The attribute by which a caller asks for a fixed number of boxes in each image.
const LIMIT: &str = "nms_limit";

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

/// Ops that clip, match or merge boxes of several images, which only their levels of detail tell apart.
pub(super) const NEED_LOD: &[&str] = &[
    "box_clip",
    "locality_aware_nms",
    "retinanet_detection_output",
];

/// Why those can't be converted.
pub(super) const NEEDS_LOD: &str = "takes boxes whose images are said by their level of detail, which ONNX does not have, \
     and which Paddle's kernels need even for a single image";

/// Ops that match boxes with those of the training data.
pub(super) const OF_TRAINING: &[&str] = &[
    "bipartite_match",
    "generate_mask_labels",
    "generate_proposal_labels",
    "mine_hard_examples",
    "retinanet_target_assign",
    "rpn_target_assign",
    "target_assign",
    "yolo_loss",
    "yolov3_loss",
];

/// Why those can't be converted.
pub(super) const IS_OF_TRAINING: &str =
    "matches boxes with labelled ones, which only training does";

/// Ops of which Paddle has kernels for GPUs alone, for its own fusion with TensorRT.
pub(super) const FOR_TENSORRT: &[&str] = &["yolo_box_head", "yolo_box_post"];

/// Why those can't be converted.
pub(super) const IS_FOR_TENSORRT: &str = "is made by Paddle's own optimisation for TensorRT: convert the program that was \
     exported, which has `yolo_box` instead";

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
