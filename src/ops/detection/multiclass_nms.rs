//! `multiclass_nms3` and its older spellings: for each class, the best boxes that do not overlap better ones.
//!
//! Paddle: `phi/kernels/cpu/multiclass_nms3_kernel.cc`. ONNX: NonMaxSuppression, between TopK and Gather.

use super::chosen::{Chosen, Found};
use super::limited::Limited;
use super::suppression::{Candidates, descending};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::boxes::{Sides, all_sides, overlap, ranked, suppress};
use crate::kernels::{Real, on_real};
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, row_major};

const OPERANDS: &[Binding] = &[
    Binding::Slot("BBoxes"),
    Binding::Slot("Scores"),
    Binding::Optional("RoisNum"),
];

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "multiclass_nms3",
    &[
        Arg::Tensor("bboxes"),
        Arg::Tensor("scores"),
        Arg::Optional("rois_num"),
    ],
    &[Form::legacy(
        &["multiclass_nms3", "multiclass_nms2", "multiclass_nms"],
        OPERANDS,
        &["Out", "Index", "NmsRoisNum"],
    )],
    Nms::parse,
)
.with_opset(11)
.with_results(&["out", "index", "nms_rois_num"])
.with_dtypes(&[F32, F64])
.choosing_boxes()
.with_limits(&[
    "an nms_eta below 1",
    "boxes of more than four sides",
    "boxes by level of detail",
])];

/// For each image and class, the boxes whose scores are above `score_threshold`, of these at most `nms_top_k` with the
/// highest scores, and of these the ones that do not overlap better ones by more than `threshold`; in each image, at most
/// `keep_top_k` of these with the highest scores.
///
/// Without `rois_num`, `boxes` are `[images, boxes, 4]`, which all classes share, and `scores` are `[images, classes,
/// boxes]`. Otherwise every class has its own: `boxes` are `[boxes, classes, 4]`, `scores` are `[boxes, classes]`, and
/// `rois_num`, `[images]`, says how many of the boxes belong to each image.
///
/// The first result, `[found, 6]`, has the class, the score and the sides of each box that was found, in the order of images
/// and classes. Those of a class come from the highest score on, or in their own order if each class has its own boxes.
/// The second, `[found, 1]`, has their positions among all boxes, and the third, `[images]`, their numbers. Without a second
/// result, the first is `[[-1]]` if nothing is found.
struct Nms {
    boxes: ValueId,
    scores: ValueId,
    rois_num: Option<ValueId>,
    score_threshold: f64,
    threshold: f64,
    /// None for all.
    nms_top_k: Option<usize>,
    /// None for all.
    keep_top_k: Option<usize>,
    /// The class that is left out.
    background: Option<usize>,
    is_normalized: bool,
    /// The number of results that are asked for.
    results: usize,
    /// If given, each image has so many boxes in the results, where rows of -1 stand for missing ones.
    limit: Option<usize>,
}

/// The boxes of one image and their scores, by class and position.
struct Image<'a, T> {
    count: usize,
    score: &'a dyn Fn(usize, usize) -> T,
    sides: &'a dyn Fn(usize, usize) -> Sides<T>,
}

impl Nms {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let eta: f64 = op.attr_or("nms_eta", 1.0)?;
        if eta < 1.0 {
            return Err(Error::unsupported(format!(
                "an nms_eta of {eta}, with which the threshold falls from box to box"
            )));
        }
        let mut most = |name: &str| -> Result<Option<usize>> {
            let count: i64 = op.attr_or(name, -1)?;
            Ok(usize::try_from(count).ok())
        };
        let (mut nms_top_k, mut keep_top_k) = (most("nms_top_k")?, most("keep_top_k")?);
        let limit = most(super::LIMIT)?;
        if let Some(limit) = limit {
            nms_top_k = Some(nms_top_k.unwrap_or(limit).min(limit));
            keep_top_k = Some(keep_top_k.unwrap_or(limit).min(limit));
        }
        let background: i64 = op.attr_or("background_label", -1)?;
        Ok(Box::new(Self {
            boxes: op.operand("bboxes")?,
            scores: op.operand("scores")?,
            rois_num: op.optional("rois_num")?,
            score_threshold: op.attr_or("score_threshold", 0.0)?,
            threshold: op.attr_or("nms_threshold", 0.3)?,
            nms_top_k,
            keep_top_k,
            background: usize::try_from(background).ok(),
            is_normalized: op.attr_or("normalized", true)?,
            results: op.result_count(),
            limit: limit.and(keep_top_k),
        }))
    }

    /// `rois_num`, if each class has its own boxes.
    ///
    /// # Errors
    /// When it is missing, and when the operands do not fit each other.
    fn numbers(&self, facts: &Facts<'_>) -> Result<Option<ValueId>> {
        let (boxes, scores) = (facts.shape(self.boxes), facts.shape(self.scores));
        let shapes = [boxes, scores].map(display_shape).join(" with scores of ");
        let malformed = || Error::malformed(format!("boxes of shape {shapes}"));
        let differ = |a: &Dim, b: &Dim| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b);
        let ([first, second, sides], found) = (boxes, scores.len()) else {
            return Err(malformed());
        };
        if sides.known().is_some_and(|sides| sides > 4) {
            return Err(Error::unsupported(format!(
                "boxes of {sides} sides, whose overlap ONNX can't compute"
            )));
        }
        let is_wrong = match scores {
            [images, _, count] => differ(first, images) || differ(second, count),
            [count, classes] => differ(first, count) || differ(second, classes),
            _ => true,
        };
        if is_wrong || differ(sides, &Dim::Known(4)) {
            return Err(malformed());
        }
        if found == 3 {
            return Ok(None);
        }
        let numbers = self.rois_num.ok_or_else(|| {
            Error::unsupported(
                "boxes of each class whose images are said by their level of detail, which ONNX does not have",
            )
        })?;
        Ok(Some(numbers))
    }

    /// The classes and positions of what is found in an image of this many classes.
    fn find<T: Real>(
        &self,
        classes: usize,
        image: &Image<'_, T>,
        is_exact: bool,
    ) -> Vec<(usize, usize)> {
        // Paddle compares scores of float64 as float32.
        let rank = |class: usize, place: usize| {
            let score = Element::to_f64((image.score)(class, place));
            if is_exact {
                score
            } else {
                f64::from(score as f32)
            }
        };
        let threshold = T::from_f64(self.threshold);
        let offset = if self.is_normalized {
            T::zero()
        } else {
            T::one()
        };
        let mut found = Vec::new();
        for class in (0..classes).filter(|class| Some(*class) != self.background) {
            let scores: Vec<f64> = (0..image.count).map(|place| rank(class, place)).collect();
            let above = |place: &usize| {
                Element::to_f64((image.score)(class, *place)) > self.score_threshold
            };
            let mut candidates = ranked(&scores, f64::NEG_INFINITY, None);
            candidates.retain(above);
            candidates.truncate(self.nms_top_k.unwrap_or(usize::MAX));
            let mut kept = suppress(&candidates, |a, b| {
                let (a, b) = ((image.sides)(class, a), (image.sides)(class, b));
                let overlap = overlap(a, b, offset);
                // NaN is not within the threshold.
                overlap > threshold || overlap.is_nan()
            });
            if self.rois_num.is_some() {
                kept.sort_unstable();
            }
            found.extend(kept.into_iter().map(|place| (class, place)));
        }
        let scores: Vec<f64> = found
            .iter()
            .map(|(class, place)| rank(*class, *place))
            .collect();
        let mut best = ranked(&scores, f64::NEG_INFINITY, self.keep_top_k);
        best.sort_unstable();
        best.into_iter().map(|position| found[position]).collect()
    }

    fn run<T: Real>(&self, values: &Values<'_>, boxes: &Array<T>) -> Result<Vec<Tensor>> {
        let scores = same_type(values.get(self.scores)?, boxes)?;
        let (sides, flat) = (all_sides(boxes)?, row_major(scores));
        let mut chosen = Chosen::default();
        match (scores.shape(), self.rois_num) {
            (&[images, classes, count], _) => {
                for image in 0..images {
                    let found = self.find(
                        classes,
                        &Image {
                            count,
                            score: &|class, place| flat[(image * classes + class) * count + place],
                            sides: &|_, place| sides[image * count + place],
                        },
                        values.are_exact(),
                    );
                    let at = |(class, place)| {
                        let score = flat[(image * classes + class) * count + place];
                        (class, score, image * count + place)
                    };
                    chosen.add(found.into_iter().map(at), &sides);
                }
            }
            (&[count, classes], Some(numbers)) => {
                let mut start = 0;
                for number in values.integers(numbers)? {
                    let number = usize::try_from(number).unwrap_or(0).min(count - start);
                    let position = |class: usize, place: usize| (start + place) * classes + class;
                    let found = self.find(
                        classes,
                        &Image {
                            count: number,
                            score: &|class, place| flat[position(class, place)],
                            sides: &|class, place| sides[position(class, place)],
                        },
                        values.are_exact(),
                    );
                    let at = |(class, place)| {
                        let position = position(class, place);
                        (class, flat[position], position)
                    };
                    chosen.add(found.into_iter().map(at), &sides);
                    start += number;
                }
            }
            (shape, _) => return Err(Error::malformed(format!("scores of shape {shape:?}"))),
        }
        chosen.results::<T>(self.results, self.limit)
    }
}

/// What is emitted before boxes are chosen.
pub(super) struct Prepared {
    /// `[images, classes, boxes]`, without the background.
    pub scores: TensorId,
    /// `[all, 4]`: all boxes.
    pub flat: TensorId,
    pub dtype: DType,
    /// Whether each class has its own boxes.
    is_apart: bool,
    /// The numbers of classes, with the background and without, as vectors of one element.
    classes: [TensorId; 2],
    /// The number of boxes, likewise.
    pub count: TensorId,
}

impl Nms {
    fn prepare(&self, g: &mut Lowering<'_>) -> Result<Prepared> {
        let numbers = self.numbers(g)?;
        let (boxes, mut scores) = (g.value(self.boxes)?, g.value(self.scores)?);
        let dtype = g.dtype(self.scores);
        let sides = g.vector(&[-1, 4]);
        let flat = g.node("Reshape", &[boxes, sides], []);
        if let Some(numbers) = numbers {
            scores = self.lower_images(g, scores, numbers)?;
        }
        let all = g.shape_slice(scores, 1, 2);
        let scores = super::foreground(g, scores, self.background);
        Ok(Prepared {
            scores,
            flat,
            dtype,
            is_apart: numbers.is_some(),
            classes: [all, g.shape_slice(scores, 1, 2)],
            count: g.shape_slice(scores, 2, 3),
        })
    }

    /// Emits the scores of each image, `[images, classes, boxes]`, from those of all boxes, `[boxes, classes]`. Where a box
    /// belongs to another image, its score is below all thresholds.
    fn lower_images(
        &self,
        g: &mut Lowering<'_>,
        scores: TensorId,
        numbers: ValueId,
    ) -> Result<TensorId> {
        let dtype = g.dtype(self.scores);
        let given = g.value(numbers)?;
        let given = g.cast(given, g.dtype(numbers), I64);
        let zero = g.scalar(I64, 0.0);
        let ends = g.node("CumSum", &[given, zero], []);
        let starts = g.node("Sub", &[ends, given], []);
        let [starts, ends] = [starts, ends].map(|bound| g.unsqueeze(bound, &[1, 2]));
        let count = g.shape_slice(scores, 0, 1);
        let places = g.count_up(count);
        let is_before = g.node("Less", &[places, starts], []);
        let is_behind = g.compare_or_equal("Greater", places, ends);
        let is_outside = g.node("Or", &[is_before, is_behind], []);
        let scores = g.transpose(scores, &[1, 0]);
        let infinite = g.scalar(dtype, f64::NEG_INFINITY);
        Ok(g.node("Where", &[is_outside, infinite, scores], []))
    }

    /// Emits the positions among all boxes of those at `places` of images and classes.
    fn lower_index(
        &self,
        g: &mut Lowering<'_>,
        prepared: &Prepared,
        [image, class, place]: [TensorId; 3],
    ) -> TensorId {
        let (row, extent, column) = if prepared.is_apart {
            (
                place,
                prepared.classes[0],
                super::labels(g, class, self.background),
            )
        } else {
            (image, prepared.count, place)
        };
        let start = g.node("Mul", &[row, extent], []);
        g.node("Add", &[start, column], [])
    }

    /// Emits the image, the class without the background, and the position of each box that is chosen.
    fn lower_choice(&self, g: &mut Lowering<'_>, prepared: &Prepared) -> Result<[TensorId; 3]> {
        let known = g.shape(self.scores).last().and_then(Dim::known);
        let known = known.filter(|_| !prepared.is_apart);
        let most = self.nms_top_k.map(|most| most as i64);
        let most = most.filter(|most| known.is_none_or(|known| known > *most));
        if most.is_none() && !prepared.is_apart {
            let boxes = g.value(self.boxes)?;
            let chosen = self.candidates(prepared, boxes, prepared.scores).lower(g)?;
            return Ok([0, 1, 2].map(|column| {
                let column = g.slice(chosen, column, column + 1, 1);
                g.squeeze(column, &[1])
            }));
        }
        let mut count = prepared.count;
        if let Some(most) = most {
            let most = g.vector(&[most]);
            count = g.extreme("Min", count, most, I64);
        }
        let (scores, order) = self.lower_order(g, prepared, count);
        // Every image and class becomes a row of its own.
        let images = g.shape_slice(prepared.scores, 0, 1);
        let rows = g.node("Mul", &[images, prepared.classes[1]], []);
        let (box_shape, score_shape) = (g.vector(&[-1, 4]), g.vector(&[1, -1]));
        let boxes = self.lower_ordered_boxes(g, prepared, order);
        let shape = g.concat(&[rows, box_shape], 0);
        let boxes = g.node("Reshape", &[boxes, shape], []);
        let shape = g.concat(&[rows, score_shape], 0);
        let scores = g.node("Reshape", &[scores, shape], []);
        let chosen = self.candidates(prepared, boxes, scores).lower(g)?;
        let [row, rank] = [0, 2].map(|column| {
            let column = g.slice(chosen, column, column + 1, 1);
            g.squeeze(column, &[1])
        });
        let image = g.node("Div", &[row, prepared.classes[1]], []);
        let start = g.node("Mul", &[image, prepared.classes[1]], []);
        let class = g.node("Sub", &[row, start], []);
        let start = g.node("Mul", &[row, count], []);
        let position = g.node("Add", &[start, rank], []);
        let flat = g.vector(&[-1]);
        let order = g.node("Reshape", &[order, flat], []);
        let place = g.node("Gather", &[order, position], []);
        Ok([image, class, place])
    }

    fn candidates(&self, prepared: &Prepared, boxes: TensorId, scores: TensorId) -> Candidates {
        Candidates {
            boxes,
            scores,
            dtype: prepared.dtype,
            score_threshold: Some(self.score_threshold),
            threshold: self.threshold,
            is_normalized: self.is_normalized,
        }
    }

    /// Emits the `count` highest scores of each image and class, and the positions of their boxes.
    fn lower_order(
        &self,
        g: &mut Lowering<'_>,
        prepared: &Prepared,
        count: TensorId,
    ) -> (TensorId, TensorId) {
        let scores = g.cast(prepared.scores, prepared.dtype, F32);
        let (found, order) = descending(g, scores, count, 2);
        if prepared.dtype == F32 {
            return (found, order);
        }
        let along = [("axis", NodeAttr::Int(2))];
        let scores = g.node("GatherElements", &[prepared.scores, order], along);
        (scores, order)
    }

    /// Emits the boxes in the order of their scores, `[images, classes, count, 4]`.
    fn lower_ordered_boxes(
        &self,
        g: &mut Lowering<'_>,
        prepared: &Prepared,
        order: TensorId,
    ) -> TensorId {
        let images = g.shape_slice(prepared.scores, 0, 1);
        let images = g.count_up(images);
        let images = g.unsqueeze(images, &[1, 2]);
        let classes = g.count_up(prepared.classes[1]);
        let classes = g.unsqueeze(classes, &[1]);
        let index = self.lower_index(g, prepared, [images, classes, order]);
        g.node("Gather", &[prepared.flat, index], [])
    }

    /// Emits the choice in the order of the boxes instead of their scores.
    fn lower_in_order(
        &self,
        g: &mut Lowering<'_>,
        prepared: &Prepared,
        choice: [TensorId; 3],
    ) -> [TensorId; 3] {
        let places = choice.map(|column| g.unsqueeze(column, &[1]));
        let places = g.concat(&places, 1);
        let shape = g.node("Shape", &[prepared.scores], []);
        let no = NodeAttr::Tensor(Tensor::vector(vec![0_i32]));
        let empty = g.node("ConstantOfShape", &[shape], [("value", no)]);
        let one = g.constant(Tensor::vector(vec![1_i32]));
        let count = g.shape_slice(places, 0, 1);
        let ones = g.node("Expand", &[one, count], []);
        let marked = g.node("ScatterND", &[empty, places, ones], []);
        let found = g.node("NonZero", &[marked], []);
        [0, 1, 2].map(|column| {
            let column = g.slice(found, column, column + 1, 0);
            g.squeeze(column, &[0])
        })
    }
}

impl Operator for Nms {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let numbers = self.numbers(facts)?;
        let images = facts.shape(numbers.unwrap_or(self.scores)).first();
        let images = images.cloned().unwrap_or(Dim::Unknown);
        let width = if self.results == 1 && self.limit.is_none() {
            Dim::Unknown
        } else {
            Dim::Known(6)
        };
        if self.limit.is_some() && numbers.is_some() {
            return Err(Error::unsupported(
                "a fixed number of boxes, where each class has its own; --drop-nms leaves the choice out",
            ));
        }
        let found = super::found(&images, self.limit);
        let all = [
            Fact::new(facts.dtype(self.boxes), vec![found.clone(), width]),
            Fact::new(I32, vec![found, Dim::Known(1)]),
            Fact::new(I32, vec![images]),
        ];
        Ok(all.into_iter().take(self.results).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let prepared = self.prepare(g)?;
        if let Some(limit) = self.limit {
            let boxes = g.value(self.boxes)?;
            let candidates = self.candidates(&prepared, boxes, prepared.scores);
            let all = Limited {
                limit,
                top_k: self.nms_top_k.unwrap_or(limit),
                background: self.background,
            }
            .lower(g, candidates, &prepared)?;
            return Ok(all[..self.results].to_vec());
        }
        let mut choice = self.lower_choice(g, &prepared)?;
        if prepared.is_apart {
            choice = self.lower_in_order(g, &prepared, choice);
        }
        let columns = choice.map(|column| g.unsqueeze(column, &[1]));
        let places = g.concat(&columns, 1);
        let score = g.node("GatherND", &[prepared.scores, places], []);
        let index = self.lower_index(g, &prepared, choice);
        let found = Found {
            image: choice[0],
            label: super::labels(g, choice[1], self.background),
            score,
            index,
        };
        let images = g.shape_slice(prepared.scores, 0, 1);
        let found = match self.keep_top_k {
            Some(most) => {
                // Paddle compares scores of float64 as float32.
                let scores = g.cast(score, prepared.dtype, F32);
                found.best(g, images, most, scores)
            }
            None => found,
        };
        let out = found.rows(g, prepared.flat, prepared.dtype);
        if self.results == 1 {
            return Ok(vec![found.or_none(g, out, prepared.dtype)?]);
        }
        Ok([out, found.index(g), found.numbers(g, images)][..self.results].to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.boxes)?, boxes => self.run(values, boxes))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
