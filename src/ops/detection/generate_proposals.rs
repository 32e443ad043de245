//! `generate_proposals`: the best of the boxes that a region proposal network predicts around anchors.
//!
//! Paddle: `phi/kernels/cpu/generate_proposals_kernel.cc` and, for the first version,
//! `fluid/operators/detection/generate_proposals_op.cc`. ONNX: TopK, Gather and arithmetic before NonMaxSuppression.

use super::number_of_each;
use super::suppression::{Candidates, ascending, descending};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::boxes::{Sides, all_sides, overlap, ranked, suppress};
use crate::kernels::{Real, on_real};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::ops::shared::values::same_type;
use crate::program::{Attr, Builder, Draft, Fact, Facts, ValueId};
use crate::tensor::DType::{self, Bool, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, row_major};

const RENAMED: &[(&str, &str)] = &[
    ("pre_nms_topN", "pre_nms_top_n"),
    ("post_nms_topN", "post_nms_top_n"),
];

const RESULTS: &[&str] = &["RpnRois", "RpnRoiProbs", "RpnRoisNum"];

const fn operands(image: &'static str) -> [Binding; 5] {
    [
        Binding::Slot("Scores"),
        Binding::Slot("BboxDeltas"),
        Binding::Slot(image),
        Binding::Slot("Anchors"),
        Binding::Slot("Variances"),
    ]
}

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "generate_proposals",
    &[
        Arg::Tensor("scores"),
        Arg::Tensor("bbox_deltas"),
        Arg::Tensor("im_shape"),
        Arg::Tensor("anchors"),
        Arg::Tensor("variances"),
    ],
    &[
        Form::legacy(&["generate_proposals_v2"], &operands("ImShape"), RESULTS).renaming(RENAMED),
        Form::legacy(&["generate_proposals"], &operands("ImInfo"), RESULTS)
            .renaming(RENAMED)
            .rewriting(first_version),
    ],
    Proposals::parse,
)
.with_opset(11)
.with_results(&["rpn_rois", "rpn_roi_probs", "rpn_rois_num"])
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)
.with_limits(&["an eta below 1", "an nms_thresh that is not positive"])];

/// The attribute that tells the first version, whose images come with a scale.
const SCALED: &str = "is_scaled";

/// Marks an op of the first version.
fn first_version(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    draft.attrs.insert(SCALED.to_owned(), Attr::Bool(true));
    Ok(builder.emit(draft))
}

/// For each image, of the `pre_nms_top_n` boxes of the highest scores, which are moved into the image, those that are not too
/// small and do not overlap better ones by more than `threshold`; at most `post_nms_top_n` of them.
///
/// `scores` are `[n, anchors, h, w]`, and `deltas`, `[n, 4 · anchors, h, w]`, the codes of boxes around `anchors`, `[h, w,
/// anchors, 4]`, in units of `variances`. `images` are `[n, 2]`, heights and widths, or `[n, 3]` with the scale of the image
/// in the first version.
///
/// The results are the boxes, `[found, 4]`, and their scores, `[found, 1]`, image by image, from the highest score on, and
/// their numbers, `[n]`. An image without any has one of zeros. Boxes of equal scores come in the opposite order, in
/// which Paddle has them, unless only some are looked at, where it leaves the order open.
struct Proposals {
    scores: ValueId,
    deltas: ValueId,
    images: ValueId,
    anchors: ValueId,
    variances: ValueId,
    /// None for all.
    pre_nms_top_n: Option<usize>,
    /// None for all.
    post_nms_top_n: Option<usize>,
    threshold: f64,
    /// The least width and height.
    min_size: f64,
    /// Whether the last pixel is included in a box, which is wider and higher by 1 then.
    pixel_offset: bool,
    /// Whether images come with a scale, by which sizes are divided before they are judged.
    is_scaled: bool,
    /// The number of results that are asked for.
    results: usize,
}

/// The largest logarithm of the ratio of the size of a box to that of its anchor.
fn largest_log() -> f64 {
    (1000.0_f64 / 16.0).ln()
}

impl Proposals {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let eta: f64 = op.attr_or("eta", 1.0)?;
        if eta < 1.0 {
            return Err(Error::unsupported(format!(
                "an eta of {eta}, with which the threshold falls from box to box"
            )));
        }
        let threshold: f64 = op.attr_or("nms_thresh", 0.5)?;
        if threshold <= 0.0 {
            return Err(Error::unsupported(format!(
                "an nms_thresh of {threshold}, with which Paddle leaves the order of the boxes open"
            )));
        }
        let mut most = |name: &str, default: i64| -> Result<Option<usize>> {
            let count: i64 = op.attr_or(name, default)?;
            Ok(usize::try_from(count).ok().filter(|count| *count > 0))
        };
        let (pre, post) = (most("pre_nms_top_n", 6000)?, most("post_nms_top_n", 1000)?);
        let min_size: f64 = op.attr_or("min_size", 0.1)?;
        Ok(Box::new(Self {
            scores: op.operand("scores")?,
            deltas: op.operand("bbox_deltas")?,
            images: op.operand("im_shape")?,
            anchors: op.operand("anchors")?,
            variances: op.operand("variances")?,
            pre_nms_top_n: pre,
            post_nms_top_n: post,
            threshold,
            min_size: min_size.max(1.0),
            pixel_offset: op.attr_or("pixel_offset", true)?,
            is_scaled: op.attr_or(SCALED, false)?,
            results: op.result_count(),
        }))
    }

    fn offset(&self) -> f64 {
        if self.pixel_offset { 1.0 } else { 0.0 }
    }

    /// The box of a code, moved into an image of this height and width.
    fn decode<T: Real>(&self, [code, anchor, variance]: [Sides<T>; 3], image: &[T]) -> Sides<T> {
        let real = |x: f64| T::from_f64(x);
        let (offset, largest) = (real(self.offset()), real(largest_log()));
        let mut sides = [T::zero(); 4];
        for axis in 0..2 {
            let size = anchor[axis + 2] - anchor[axis] + offset;
            let centre = anchor[axis] + real(0.5) * size;
            let centre = variance[axis] * code[axis] * size + centre;
            let size = (variance[axis + 2] * code[axis + 2]).min(largest).exp() * size;
            let last = image[1 - axis] - offset;
            let inside = |side: T| side.min(last).max(T::zero());
            sides[axis] = inside(centre - size / real(2.0));
            sides[axis + 2] = inside(centre + size / real(2.0) - offset);
        }
        sides
    }

    /// Whether a box is large enough, and its centre in the image.
    fn is_large<T: Real>(&self, sides: Sides<T>, image: &[T]) -> bool {
        let (offset, least) = (T::from_f64(self.offset()), T::from_f64(self.min_size));
        (0..2).all(|axis| {
            let plain = sides[axis + 2] - sides[axis];
            let size = plain + offset;
            let centre = sides[axis] + size / T::from_f64(2.0);
            let judged = if self.is_scaled {
                plain / image[2] + T::one()
            } else {
                size
            };
            judged >= least && (!self.pixel_offset || centre <= image[1 - axis])
        })
    }

    /// The places of the boxes of an image that stay, from the highest score on.
    fn kept<T: Real>(&self, boxes: &[Sides<T>], scores: &[T], image: &[T]) -> Vec<usize> {
        let plain: Vec<f64> = scores.iter().map(|score| Element::to_f64(*score)).collect();
        let mut best = ranked(&plain, f64::NEG_INFINITY, self.pre_nms_top_n);
        best.retain(|place| self.is_large(boxes[*place], image));
        best.sort_by(|a, b| plain[*b].total_cmp(&plain[*a]).then(b.cmp(a)));
        let offset = T::from_f64(self.offset());
        let threshold = T::from_f64(self.threshold);
        let mut kept = suppress(&best, |a, b| {
            let overlap = overlap(boxes[a], boxes[b], offset);
            overlap > threshold || overlap.is_nan()
        });
        kept.truncate(self.post_nms_top_n.unwrap_or(usize::MAX));
        kept
    }

    fn run<T: Real>(&self, values: &Values<'_>, scores: &Array<T>) -> Result<Vec<Tensor>> {
        let [batch, ..] = Layout::ChannelsFirst.planar(scores.shape())?;
        let last = |x: &Array<T>| x.clone().permuted_axes(vec![0, 2, 3, 1]);
        let of =
            |id: ValueId| -> Result<Array<T>> { Ok(same_type(values.get(id)?, scores)?.clone()) };
        let deltas = last(&of(self.deltas)?);
        let flat = row_major(&deltas).into_owned();
        let codes: Vec<Sides<T>> = flat
            .chunks_exact(4)
            .map(|c| [c[0], c[1], c[2], c[3]])
            .collect();
        let scores = row_major(&last(scores)).into_owned();
        let (anchors, variances) = (
            all_sides(&of(self.anchors)?)?,
            all_sides(&of(self.variances)?)?,
        );
        let (images, count) = (of(self.images)?, anchors.len());
        let images = row_major(&images).into_owned();
        let width = images.len() / batch.max(1);
        let fits = [scores.len(), codes.len()]
            .iter()
            .all(|len| *len == batch * count);
        if !fits || variances.len() != count || width < 2 + usize::from(self.is_scaled) {
            return Err(Error::malformed(
                "anchors, codes and scores that do not fit",
            ));
        }
        let (mut rows, mut found_scores, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..batch {
            let image = &images[number * width..][..width];
            let scores = &scores[number * count..][..count];
            let boxes: Vec<Sides<T>> = (0..count)
                .map(|p| self.decode([codes[number * count + p], anchors[p], variances[p]], image))
                .collect();
            let kept = self.kept(&boxes, scores, image);
            numbers.push(kept.len().max(1) as i32);
            if kept.is_empty() {
                rows.extend([T::zero(); 4]);
                found_scores.push(T::zero());
            }
            for place in kept {
                rows.extend(boxes[place]);
                found_scores.push(scores[place]);
            }
        }
        let found = found_scores.len();
        let results = [
            Tensor::from_elements(&[found, 4], rows)?,
            Tensor::from_elements(&[found, 1], found_scores)?,
            Tensor::vector(numbers),
        ];
        Ok(results.into_iter().take(self.results).collect())
    }
}

/// The boxes of all images that are looked at.
struct Decoded {
    dtype: DType,
    /// `[n, boxes, 4]`.
    boxes: TensorId,
    /// `[n, boxes]`: below all others where a box is too small.
    scores: TensorId,
}

impl Proposals {
    /// Emits Transpose and Reshape: `x` (`[n, last · anchors, h, w]`) as `[n, boxes, last]`.
    fn lower_last(g: &mut Lowering<'_>, x: TensorId, last: i64) -> TensorId {
        let x = g.transpose(x, &[0, 2, 3, 1]);
        let shape = g.vector(&[0, -1, last]);
        g.node("Reshape", &[x, shape], [])
    }

    fn lower_decoded(&self, g: &mut Lowering<'_>) -> Result<Decoded> {
        let dtype = g.dtype(self.scores);
        let (scores, deltas) = (g.value(self.scores)?, g.value(self.deltas)?);
        let (anchors, variances) = (g.value(self.anchors)?, g.value(self.variances)?);
        let scores = Self::lower_last(g, scores, 1);
        let scores = g.squeeze(scores, &[2]);
        let deltas = Self::lower_last(g, deltas, 4);
        let mut count = g.shape_slice(scores, 1, 2);
        if let Some(most) = self.pre_nms_top_n {
            let most = g.vector(&[most as i64]);
            count = g.extreme("Min", count, most, I64);
        }
        let (scores, order) = descending(g, scores, count, 1);
        // Those of equal scores come in the opposite order.
        let vectors = [-1, i64::MIN, 1, -1].map(|element| g.vector(&[element]));
        let mut turned = |x: TensorId| g.node("Slice", &[&[x], &vectors[..]].concat(), []);
        let (scores, order) = (turned(scores), turned(order));
        let (scores, again) = descending(g, scores, count, 1);
        let along = [("axis", NodeAttr::Int(1))];
        let order = g.node("GatherElements", &[order, again], along);
        let flat = g.vector(&[-1, 4]);
        let [anchors, variances] = [anchors, variances].map(|x| {
            let x = g.node("Reshape", &[x, flat], []);
            g.node("Gather", &[x, order], [])
        });
        let index = g.unsqueeze(order, &[2]);
        let four = g.vector(&[4]);
        let shape = g.node("Shape", &[order], []);
        let shape = g.concat(&[shape, four], 0);
        let index = g.node("Expand", &[index, shape], []);
        let along = [("axis", NodeAttr::Int(1))];
        let codes = g.node("GatherElements", &[deltas, index], along);
        let boxes = self.lower_boxes(g, [codes, anchors, variances], dtype)?;
        let is_large = self.lower_is_large(g, boxes, dtype)?;
        let infinite = g.scalar(dtype, f64::NEG_INFINITY);
        let scores = g.node("Where", &[is_large, scores, infinite], []);
        Ok(Decoded {
            dtype,
            boxes,
            scores,
        })
    }

    /// Emits the widths and heights of the images, and their scales, `[n, 1, 2]` and `[n, 1]`.
    fn lower_images(&self, g: &mut Lowering<'_>) -> Result<(TensorId, TensorId)> {
        let images = g.value(self.images)?;
        let swapped = g.vector(&[1, 0]);
        let extents = g.node("Gather", &[images, swapped], [("axis", NodeAttr::Int(1))]);
        let extents = g.unsqueeze(extents, &[1]);
        Ok((extents, g.slice(images, 2, 3, 1)))
    }

    fn lower_boxes(
        &self,
        g: &mut Lowering<'_>,
        parts: [TensorId; 3],
        dtype: DType,
    ) -> Result<TensorId> {
        let [codes, anchors, variances] = parts.map(|x| g.split(x, &[2, 2], 2));
        let (extents, _) = self.lower_images(g)?;
        let [offset, half, zero, largest] =
            [self.offset(), 0.5, 0.0, largest_log()].map(|x| g.scalar(dtype, x));
        let size = g.node("Sub", &[anchors[1], anchors[0]], []);
        let size = g.node("Add", &[size, offset], []);
        let to_centre = g.node("Mul", &[size, half], []);
        let centre = g.node("Add", &[anchors[0], to_centre], []);
        let distance = g.node("Mul", &[variances[0], codes[0]], []);
        let distance = g.node("Mul", &[distance, size], []);
        let centre = g.node("Add", &[distance, centre], []);
        let ratio = g.node("Mul", &[variances[1], codes[1]], []);
        let ratio = g.node("Min", &[ratio, largest], []);
        let ratio = g.node("Exp", &[ratio], []);
        let size = g.node("Mul", &[ratio, size], []);
        let to_side = g.node("Mul", &[size, half], []);
        let start = g.node("Sub", &[centre, to_side], []);
        let end = g.node("Add", &[centre, to_side], []);
        let end = g.node("Sub", &[end, offset], []);
        let last = g.node("Sub", &[extents, offset], []);
        let sides = [start, end].map(|side| {
            let side = g.node("Min", &[side, last], []);
            g.node("Max", &[side, zero], [])
        });
        Ok(g.concat(&sides, 2))
    }

    /// Emits whether boxes are large enough, `[n, boxes]`, as [`Proposals::is_large`] says.
    fn lower_is_large(
        &self,
        g: &mut Lowering<'_>,
        boxes: TensorId,
        dtype: DType,
    ) -> Result<TensorId> {
        let parts = g.split(boxes, &[2, 2], 2);
        let (extents, scales) = self.lower_images(g)?;
        let [offset, half, one, least] =
            [self.offset(), 0.5, 1.0, self.min_size].map(|x| g.scalar(dtype, x));
        let plain = g.node("Sub", &[parts[1], parts[0]], []);
        let size = g.node("Add", &[plain, offset], []);
        let judged = if self.is_scaled {
            let scales = g.unsqueeze(scales, &[2]);
            let plain = g.node("Div", &[plain, scales], []);
            g.node("Add", &[plain, one], [])
        } else {
            size
        };
        let mut fits = g.compare_or_equal("Greater", judged, least);
        if self.pixel_offset {
            let to_centre = g.node("Mul", &[size, half], []);
            let centre = g.node("Add", &[parts[0], to_centre], []);
            let is_inside = g.compare_or_equal("Less", centre, extents);
            fits = g.node("And", &[fits, is_inside], []);
        }
        let fits = g.cast(fits, Bool, I32);
        let fits = g.reduce("ReduceMin", fits, &[2], false);
        Ok(g.cast(fits, I32, Bool))
    }

    /// Emits the images and places of those that stay, of which there are at most as many as asked for of each image.
    fn lower_kept(&self, g: &mut Lowering<'_>, decoded: &Decoded) -> Result<(TensorId, TensorId)> {
        let candidates = Candidates {
            boxes: decoded.boxes,
            scores: g.unsqueeze(decoded.scores, &[1]),
            dtype: decoded.dtype,
            score_threshold: Some(f64::from(f32::MIN)),
            threshold: self.threshold,
            is_normalized: !self.pixel_offset,
        };
        let chosen = candidates.lower(g)?;
        let [image, place] = [0, 2].map(|column| {
            let column = g.slice(chosen, column, column + 1, 1);
            g.squeeze(column, &[1])
        });
        let Some(most) = self.post_nms_top_n else {
            return Ok((image, place));
        };
        let batch = g.shape_slice(decoded.scores, 0, 1);
        let images = g.count_up(batch);
        let of = g.unsqueeze(image, &[1]);
        let is_of = g.node("Equal", &[of, images], []);
        let is_of = g.cast(is_of, Bool, I64);
        let zero = g.scalar(I64, 0.0);
        let rank = g.node("CumSum", &[is_of, zero], []);
        let rank = g.node("Mul", &[rank, is_of], []);
        let rank = g.reduce("ReduceMax", rank, &[1], false);
        let most = g.scalar(I64, most as f64);
        let stays = g.compare_or_equal("Less", rank, most);
        let along = [("axis", NodeAttr::Int(0))];
        let image = g.node("Compress", &[image, stays], along.clone());
        Ok((image, g.node("Compress", &[place, stays], along)))
    }
}

impl Operator for Proposals {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [batch, ..] = Layout::ChannelsFirst.planar(facts.shape(self.scores))?;
        Layout::ChannelsFirst.planar(facts.shape(self.deltas))?;
        let images = facts.shape(self.images);
        if images.len() != 2 {
            let shape = display_shape(images);
            return Err(Error::malformed(format!("images of shape {shape}")));
        }
        let dtype = facts.dtype(self.scores);
        let results = [
            Fact::new(dtype, vec![Dim::Unknown, Dim::Known(4)]),
            Fact::new(dtype, vec![Dim::Unknown, Dim::Known(1)]),
            Fact::new(I32, vec![batch]),
        ];
        Ok(results.into_iter().take(self.results).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let decoded = self.lower_decoded(g)?;
        let (image, place) = self.lower_kept(g, &decoded)?;
        let count = g.shape_slice(decoded.scores, 1, 2);
        let start = g.node("Mul", &[image, count], []);
        let index = g.node("Add", &[start, place], []);
        // An image without any has one of zeros, which stands behind all boxes.
        let batch = g.shape_slice(decoded.scores, 0, 1);
        let numbers = number_of_each(g, image, batch);
        let zero = g.scalar(I32, 0.0);
        let is_empty = g.node("Equal", &[numbers, zero], []);
        let images = g.count_up(batch);
        let along = [("axis", NodeAttr::Int(0))];
        let empty = g.node("Compress", &[images, is_empty], along);
        let behind = g.node("Mul", &[batch, count], []);
        let shape = g.node("Shape", &[empty], []);
        let behind = g.node("Expand", &[behind, shape], []);
        let image = g.concat(&[image, empty], 0);
        let index = g.concat(&[index, behind], 0);
        let (_, order) = ascending(g, image);
        let index = g.node("Gather", &[index, order], []);
        let boxes = [(decoded.boxes, 4), (decoded.scores, 1)].map(|(x, last)| {
            let shape = g.vector(&[-1, last]);
            let x = g.node("Reshape", &[x, shape], []);
            let none = Tensor::from_elements(&[1, last as usize], vec![0.0; last as usize]);
            let none = none.map(|none| g.constant(none.cast(decoded.dtype)));
            let all = none.map(|none| g.concat(&[x, none], 0));
            all.map(|all| g.node("Gather", &[all, index], []))
        });
        let [boxes, scores] = boxes;
        let least = g.scalar(I32, 1.0);
        let numbers = g.extreme("Max", numbers, least, I32);
        Ok([boxes?, scores?, numbers][..self.results].to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.scores)?, scores => self.run(values, scores))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
