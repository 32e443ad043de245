//! Detection: boxes from the outputs of networks, and the choice of the best among boxes that overlap.
//!
//! An op that makes, codes, compares, drops or distributes boxes, or takes regions of an image by them, belongs here.

mod box_coder;
mod chosen;
mod distribute_fpn_proposals;
mod generate_proposals;
mod iou_similarity;
mod limited;
mod matrix_nms;
mod multiclass_nms;
mod nms;
mod prior_box;
mod psroi_pool;
mod roi_align;
mod roi_pool;
mod suppression;
mod yolo_box;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{OpDef, OpReader};
use crate::ops::shared::image::non_negative_i32;
use crate::program::ValueId;
use crate::tensor::{DType, Dim};

/// The attribute by which a caller asks for a fixed number of boxes in each image.
const LIMIT: &str = "nms_limit";

/// The definitions of this family.
pub(super) const OPS: &[&[OpDef]] = &[
    box_coder::OPS,
    distribute_fpn_proposals::OPS,
    generate_proposals::OPS,
    iou_similarity::OPS,
    matrix_nms::OPS,
    multiclass_nms::OPS,
    nms::OPS,
    prior_box::OPS,
    psroi_pool::OPS,
    roi_align::OPS,
    roi_pool::OPS,
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

/// The height and width of what is made of each region, `pooled_height` and `pooled_width`.
///
/// # Errors
/// When one is not positive, or too large.
fn pooled(op: &mut OpReader<'_>) -> Result<[usize; 2]> {
    let mut extent = |name: &str| {
        let extent: i64 = op.attr_or(name, 1)?;
        let positive = non_negative_i32(extent).filter(|extent| *extent > 0);
        positive.ok_or_else(|| Error::malformed(format!("{name} {extent}")))
    };
    Ok([extent("pooled_height")?, extent("pooled_width")?])
}

/// The error for boxes of several images without their numbers.
fn needs_numbers() -> Error {
    Error::unsupported(
        "boxes whose image is said by their level of detail, which ONNX does not have",
    )
}

/// How many boxes are found in so many images, if it is a fixed number in each.
fn found(images: &Dim, limit: Option<usize>) -> Dim {
    let limit = limit.and_then(|limit| i64::try_from(limit).ok());
    let count = limit
        .zip(images.known())
        .and_then(|(limit, images)| images.checked_mul(limit));
    count.map_or(Dim::Unknown, Dim::Known)
}

/// The image of each of so many boxes, from their numbers.
///
/// # Errors
/// When these are fewer.
fn images(numbers: &[i64], count: usize) -> Result<Vec<usize>> {
    let all = numbers.iter().enumerate();
    let all = all.flat_map(|(image, number)| {
        std::iter::repeat_n(image, usize::try_from(*number).unwrap_or(0))
    });
    let images: Vec<usize> = all.take(count).collect();
    if images.len() == count {
        return Ok(images);
    }
    Err(Error::malformed(format!(
        "{count} boxes, of which images have {numbers:?}"
    )))
}

/// Emits the image of each box, as an int64 vector of `count` elements, from the number of boxes of each image.
///
/// # Errors
/// Those of [`Lowering::value`].
fn images_of_boxes(g: &mut Lowering<'_>, numbers: ValueId, count: TensorId) -> Result<TensorId> {
    let ends = ends_of_images(g, numbers)?;
    let each = g.count_up(count);
    let is_behind = g.compare_or_equal("Greater", each, ends);
    let is_behind = g.cast(is_behind, DType::Bool, DType::I64);
    Ok(g.reduce("ReduceSum", is_behind, &[0], false))
}

/// Emits the number of boxes of each image and all before it, as an int64 matrix of one column.
///
/// # Errors
/// Those of [`Lowering::value`].
fn ends_of_images(g: &mut Lowering<'_>, numbers: ValueId) -> Result<TensorId> {
    let given = g.value(numbers)?;
    let given = g.cast(given, g.dtype(numbers), DType::I64);
    let zero = g.scalar(DType::I64, 0.0);
    let ends = g.node("CumSum", &[given, zero], []);
    Ok(g.unsqueeze(ends, &[1]))
}

/// Emits how many boxes there are of each of `batch` images, as int32, from the image of each box.
fn number_of_each(g: &mut Lowering<'_>, images: TensorId, batch: TensorId) -> TensorId {
    let numbers = g.count_up(batch);
    let images = g.unsqueeze(images, &[1]);
    let is_of = g.node("Equal", &[images, numbers], []);
    let is_of = g.cast(is_of, DType::Bool, DType::I64);
    let counts = g.reduce("ReduceSum", is_of, &[0], false);
    g.cast(counts, DType::I64, DType::I32)
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
