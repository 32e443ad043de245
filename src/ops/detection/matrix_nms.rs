//! `matrix_nms`: boxes whose scores are lowered as far as they overlap better ones.
//!
//! Paddle: `phi/kernels/cpu/matrix_nms_kernel.cc`. ONNX: TopK, and arithmetic on all pairs of boxes.

use super::chosen::{Chosen, Found};
use super::limited::{All, Limited};
use super::suppression::{Candidates, descending};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::boxes::{Sides, all_sides, overlap, ranked};
use crate::kernels::{Real, on_real};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, Bool, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, row_major};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "matrix_nms",
    &[Arg::Tensor("bboxes"), Arg::Tensor("scores")],
    &[Form::legacy(
        &["matrix_nms"],
        &[Binding::Slot("BBoxes"), Binding::Slot("Scores")],
        &["Out", "Index", "RoisNum"],
    )],
    MatrixNms::parse,
)
.with_opset(11)
.with_results(&["out", "index", "roisnum"])
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)
.choosing_boxes()];

/// For each image and class, the boxes whose scores are above `score_threshold`, of these at most `nms_top_k` with the
/// highest ones, and of these those whose lowered scores are above `post_threshold`; in each image, at most `keep_top_k` with
/// the highest lowered scores.
///
/// `boxes` are `[images, boxes, 4]`, and `scores` are `[images, classes, boxes]`. A score is lowered by the better box that
/// the box overlaps most, as far as that one does not overlap better boxes itself.
///
/// The results are as those of `multiclass_nms3`, but in the order of the lowered scores. Boxes of equal scores keep their
/// order, which Paddle leaves open.
struct MatrixNms {
    boxes: ValueId,
    scores: ValueId,
    score_threshold: f64,
    post_threshold: f64,
    /// None for all.
    nms_top_k: Option<usize>,
    /// None for all.
    keep_top_k: Option<usize>,
    /// The class that is left out.
    background: Option<usize>,
    is_normalized: bool,
    /// If given, scores fall like this many bell curves; otherwise in proportion.
    sigma: Option<f64>,
    /// The number of results that are asked for.
    results: usize,
    /// If given, each image has so many boxes in the results, where rows of -1 stand for missing ones.
    limit: Option<usize>,
}

impl MatrixNms {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let mut most = |name: &str| -> Result<Option<usize>> {
            let count: i64 = op.attr_or(name, -1)?;
            Ok(usize::try_from(count).ok())
        };
        let (mut nms_top_k, mut keep_top_k) = (most("nms_top_k")?, most("keep_top_k")?);
        let limit = most(super::LIMIT)?;
        if nms_top_k == Some(0) {
            return Err(Error::unsupported(
                "an nms_top_k of 0, of which Paddle's kernel makes nothing that is defined",
            ));
        }
        if let Some(limit) = limit {
            nms_top_k = Some(nms_top_k.unwrap_or(limit).min(limit));
            keep_top_k = Some(keep_top_k.unwrap_or(limit).min(limit));
        }
        let background: i64 = op.attr_or("background_label", 0)?;
        let sigma: f64 = op.attr_or("gaussian_sigma", 2.0)?;
        Ok(Box::new(Self {
            boxes: op.operand("bboxes")?,
            scores: op.operand("scores")?,
            score_threshold: op.attr_or("score_threshold", 0.0)?,
            post_threshold: op.attr_or("post_threshold", 0.0)?,
            nms_top_k,
            keep_top_k,
            background: usize::try_from(background).ok(),
            is_normalized: op.attr_or("normalized", true)?,
            sigma: op.attr_or("use_gaussian", false)?.then_some(sigma),
            results: op.result_count(),
            limit: limit.and(keep_top_k),
        }))
    }

    /// The part of its score that a box keeps which overlaps another by `overlap`, which overlaps its betters by up to
    /// `most`.
    fn decay<T: Real>(&self, overlap: T, most: T) -> T {
        match self.sigma {
            Some(sigma) => ((most * most - overlap * overlap) * T::from_f64(sigma)).exp(),
            None => (T::one() - overlap) / (T::one() - most),
        }
    }

    /// The positions and lowered scores of what stays of a class.
    fn class<T: Real>(&self, scores: &[T], sides: &[Sides<T>]) -> Vec<(usize, T)> {
        let offset = if self.is_normalized {
            T::zero()
        } else {
            T::one()
        };
        let plain: Vec<f64> = scores.iter().map(|score| Element::to_f64(*score)).collect();
        let order = ranked(&plain, self.score_threshold, self.nms_top_k);
        // A minimum or maximum of NaN and a number is the number.
        let (mut overlaps, mut most): (Vec<Vec<T>>, Vec<T>) = (Vec::new(), Vec::new());
        for (rank, box_) in order.iter().enumerate() {
            let better = order[..rank].iter();
            let row: Vec<T> = better
                .map(|other| overlap(sides[*box_], sides[*other], offset))
                .collect();
            most.push(row.iter().copied().fold(T::zero(), T::max));
            overlaps.push(row);
        }
        let lowered = order.iter().zip(overlaps).map(|(position, row)| {
            let decays = row
                .iter()
                .zip(&most)
                .map(|(overlap, most)| self.decay(*overlap, *most));
            (*position, decays.fold(T::one(), T::min) * scores[*position])
        });
        lowered
            .filter(|(_, score)| Element::to_f64(*score) > self.post_threshold)
            .collect()
    }

    fn run<T: Real>(&self, values: &Values<'_>, boxes: &Array<T>) -> Result<Vec<Tensor>> {
        let scores = same_type(values.get(self.scores)?, boxes)?;
        let (sides, flat) = (all_sides(boxes)?, row_major(scores));
        let &[images, classes, count] = scores.shape() else {
            return Err(Error::malformed(format!(
                "scores of shape {:?}",
                scores.shape()
            )));
        };
        if sides.len() != images * count {
            return Err(Error::malformed("another number of boxes than of scores"));
        }
        let mut chosen = Chosen::default();
        for image in 0..images {
            let sides_here = &sides[image * count..][..count];
            let mut found = Vec::new();
            for class in (0..classes).filter(|class| Some(*class) != self.background) {
                let scores = &flat[(image * classes + class) * count..][..count];
                let lowered = self.class(scores, sides_here).into_iter();
                found.extend(lowered.map(|(place, score)| (class, score, image * count + place)));
            }
            let scores: Vec<f64> = found
                .iter()
                .map(|(_, score, _)| Element::to_f64(*score))
                .collect();
            let best = ranked(&scores, f64::NEG_INFINITY, self.keep_top_k);
            chosen.add(best.into_iter().map(|position| found[position]), &sides);
        }
        chosen.results::<T>(self.results, self.limit)
    }
}

/// The candidates of all classes in the order of their scores.
struct Sorted {
    /// `[images, classes, candidates]`: below all thresholds where there is none.
    scores: TensorId,
    /// `[images, classes, candidates]`: the positions of their boxes.
    order: TensorId,
    /// `[images, classes, candidates, candidates]`: how much each overlaps those before it, and 0 elsewhere.
    overlaps: TensorId,
    /// Where `overlaps` are of boxes and better ones, `[candidates, candidates]`.
    is_better: TensorId,
}

impl MatrixNms {
    fn lower_sorted(&self, g: &mut Lowering<'_>, scores: TensorId, dtype: DType) -> Result<Sorted> {
        let boxes = g.value(self.boxes)?;
        let infinite = g.scalar(dtype, f64::NEG_INFINITY);
        let threshold = g.scalar(dtype, self.score_threshold);
        let is_candidate = g.node("Greater", &[scores, threshold], []);
        let masked = g.node("Where", &[is_candidate, scores, infinite], []);
        let mut count = g.shape_slice(scores, 2, 3);
        if let Some(most) = self.nms_top_k {
            let most = g.vector(&[most as i64]);
            count = g.extreme("Min", count, most, I64);
        }
        let (sorted, order) = descending(g, masked, count, 2);
        let candidates = Candidates {
            boxes,
            scores,
            dtype,
            score_threshold: None,
            threshold: 1.0,
            is_normalized: self.is_normalized,
        };
        let sides = candidates.lower_sorted_sides(g, order);
        let area = candidates.lower_area(g, sides);
        let mut each = |axis: i64| {
            let sides = sides.map(|side| g.unsqueeze(side, &[axis]));
            (sides, g.unsqueeze(area, &[axis]))
        };
        let (rows, columns) = (each(3), each(2));
        let overlaps = candidates.lower_overlap(g, rows, columns);
        let places = g.count_up(count);
        let row = g.unsqueeze(places, &[1]);
        let is_better = g.node("Less", &[places, row], []);
        Ok(Sorted {
            scores: sorted,
            order,
            overlaps,
            is_better,
        })
    }

    /// Emits the lowered scores.
    fn lower_lowered(&self, g: &mut Lowering<'_>, sorted: &Sorted, dtype: DType) -> TensorId {
        let [zero, one] = [0.0, 1.0].map(|x| g.scalar(dtype, x));
        let counted = self.lower_where_number(g, sorted.is_better, sorted.overlaps, zero);
        let most = g.reduce("ReduceMax", counted, &[3], false);
        let most = g.unsqueeze(most, &[2]);
        let decay = match self.sigma {
            Some(sigma) => {
                let sigma = g.scalar(dtype, sigma);
                let most = g.node("Mul", &[most, most], []);
                let overlaps = g.node("Mul", &[sorted.overlaps, sorted.overlaps], []);
                let difference = g.node("Sub", &[most, overlaps], []);
                let power = g.node("Mul", &[difference, sigma], []);
                g.node("Exp", &[power], [])
            }
            None => {
                let left = g.node("Sub", &[one, sorted.overlaps], []);
                let whole = g.node("Sub", &[one, most], []);
                g.node("Div", &[left, whole], [])
            }
        };
        let decay = self.lower_where_number(g, sorted.is_better, decay, one);
        let decay = g.reduce("ReduceMin", decay, &[3], false);
        g.node("Mul", &[decay, sorted.scores], [])
    }

    /// Emits Where: `x` where the condition holds and it is not NaN.
    fn lower_where_number(
        &self,
        g: &mut Lowering<'_>,
        condition: TensorId,
        x: TensorId,
        otherwise: TensorId,
    ) -> TensorId {
        let is_nan = g.node("IsNaN", &[x], []);
        let is_number = g.node("Not", &[is_nan], []);
        let condition = g.node("And", &[is_number, condition], []);
        g.node("Where", &[condition, x, otherwise], [])
    }
}

impl Operator for MatrixNms {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (boxes, scores) = (facts.shape(self.boxes), facts.shape(self.scores));
        let ([_, _, sides], [images, _, _]) = (boxes, scores) else {
            let (boxes, scores) = (display_shape(boxes), display_shape(scores));
            return Err(Error::malformed(format!(
                "boxes {boxes} with scores {scores}"
            )));
        };
        if sides.known().is_some_and(|sides| sides != 4) {
            return Err(Error::unsupported(format!("boxes of {sides} sides")));
        }
        let found = super::found(images, self.limit);
        let all = [
            Fact::new(facts.dtype(self.boxes), vec![found.clone(), Dim::Known(6)]),
            Fact::new(I32, vec![found, Dim::Known(1)]),
            Fact::new(I32, vec![images.clone()]),
        ];
        Ok(all.into_iter().take(self.results).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.scores);
        let (boxes, scores) = (g.value(self.boxes)?, g.value(self.scores)?);
        let images = g.shape_slice(scores, 0, 1);
        let count = g.shape_slice(scores, 2, 3);
        let scores = super::foreground(g, scores, self.background);
        let sorted = self.lower_sorted(g, scores, dtype)?;
        let lowered = self.lower_lowered(g, &sorted, dtype);
        let (low, infinite) = (
            g.scalar(dtype, self.post_threshold),
            g.scalar(dtype, f64::NEG_INFINITY),
        );
        let is_high = g.node("Greater", &[lowered, low], []);
        let is_candidate = g.node("Greater", &[sorted.scores, infinite], []);
        let stays = g.node("And", &[is_high, is_candidate], []);
        let flat = g.vector(&[-1, 4]);
        let flat = g.node("Reshape", &[boxes, flat], []);
        if let Some(limit) = self.limit {
            let kept = g.node("Where", &[stays, lowered, infinite], []);
            let limited = Limited {
                limit,
                top_k: self.nms_top_k.unwrap_or(limit),
                background: self.background,
            };
            let all = All {
                flat,
                dtype,
                images,
                boxes: count,
                candidates: g.shape_slice(sorted.order, 2, 3),
                order: sorted.order,
            };
            let picked = limited.lower_best(g, &all, kept, dtype);
            return Ok(limited.lower_results(g, &all, &picked)[..self.results].to_vec());
        }
        let stays = g.cast(stays, Bool, I32);
        let found = g.node("NonZero", &[stays], []);
        let places = g.transpose(found, &[1, 0]);
        let [image, class] = [0, 1].map(|axis| {
            let column = g.slice(found, axis, axis + 1, 0);
            g.squeeze(column, &[0])
        });
        let place = g.node("GatherND", &[sorted.order, places], []);
        let start = g.node("Mul", &[image, count], []);
        let found = Found {
            image,
            label: super::labels(g, class, self.background),
            score: g.node("GatherND", &[lowered, places], []),
            index: g.node("Add", &[start, place], []),
        };
        let found = found.ranked(g, images, self.keep_top_k);
        let rows = found.rows(g, flat, dtype);
        Ok([rows, found.index(g), found.numbers(g, images)][..self.results].to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.boxes)?, boxes => self.run(values, boxes))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
