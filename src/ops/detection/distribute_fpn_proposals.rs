//! `distribute_fpn_proposals` and `collect_fpn_proposals`: boxes to levels of a pyramid by their sizes, and back together by
//! their scores.
//!
//! Paddle: `phi/kernels/cpu/distribute_fpn_proposals_kernel.cc` and `phi/kernels/impl/collect_fpn_proposals_kernel_impl.h`.
//! ONNX: Log, Floor and Compress; TopK and Gather.

use super::suppression::{ascending, descending};
use super::{ends_of_images, images_of_boxes, needs_numbers, number_of_each};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::boxes::{Sides, all_sides, area};
use crate::kernels::{Real, on_real};
use crate::operator::{Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "distribute_fpn_proposals",
        &[Arg::Tensor("fpn_rois"), Arg::Optional("rois_num")],
        &[Form::legacy(
            &["distribute_fpn_proposals"],
            &[Binding::Slot("FpnRois"), Binding::Optional("RoisNum")],
            &["MultiFpnRois", "MultiLevelRoIsNum", "RestoreIndex"],
        )],
        Distribute::parse,
    )
    .with_opset(11)
    .with_results(&["multi_fpn_rois", "multi_level_rois_num", "restore_index"])
    .with_dtypes(&[F32, F64])
    .with_limits(&["boxes by level of detail"]),
    OpDef::new(
        "collect_fpn_proposals",
        &[
            Arg::List("multi_level_rois"),
            Arg::List("multi_level_scores"),
            Arg::List("multi_level_rois_num"),
        ],
        &[Form::legacy(
            &["collect_fpn_proposals"],
            &[
                Binding::List("MultiLevelRois"),
                Binding::List("MultiLevelScores"),
                Binding::List("MultiLevelRoIsNum"),
            ],
            &["FpnRois", "RoisNum"],
        )
        .renaming(&[("post_nms_topN", "post_nms_topn")])],
        Collect::parse,
    )
    .with_opset(11)
    .with_results(&["fpn_rois", "rois_num"])
    .with_dtypes(&[F32, F64])
    .with_limits(&[
        "boxes by level of detail",
        "the numbers of boxes if an image has none among the best",
    ]),
];

/// The boxes `[m, 4]` of each level from `least` to `most`, by the square root of their areas: one of the size
/// `refer_scale` belongs to the level `refer_level`, one of twice the size to the next.
///
/// The results are the boxes of each level, in their order; if there are `numbers`, `[images]`, of the boxes of each image,
/// those of each level; and where in all levels, one behind the other, each box is: int32, `[m, 1]`.
struct Distribute {
    boxes: ValueId,
    numbers: ValueId,
    /// The lowest and the highest level.
    least: i64,
    most: i64,
    refer_level: f64,
    refer_scale: f64,
    /// Whether the last pixel is included in a box, which is wider and higher by 1 then.
    pixel_offset: bool,
    /// Whether the numbers of boxes of each level are asked for.
    gives_numbers: bool,
}

/// What is added to a size before its logarithm is taken.
const EPSILON: f64 = 1e-6;

impl Distribute {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let (least, most): (i64, i64) = (op.attr("min_level")?, op.attr("max_level")?);
        let levels = usize::try_from(most - least + 1).ok();
        let levels = levels.filter(|levels| (1..100).contains(levels));
        let fail = || Error::malformed(format!("levels {least} to {most}"));
        let levels = levels.ok_or_else(fail)?;
        let gives_numbers = op.result_count() == 2 * levels + 1;
        if !gives_numbers && op.result_count() != levels + 1 {
            return Err(fail());
        }
        let refer_level: i64 = op.attr("refer_level")?;
        let refer_scale: i64 = op.attr("refer_scale")?;
        Ok(Box::new(Self {
            boxes: op.operand("fpn_rois")?,
            numbers: op.optional("rois_num")?.ok_or_else(needs_numbers)?,
            least,
            most,
            refer_level: refer_level as f64,
            refer_scale: refer_scale as f64,
            pixel_offset: op.attr_or("pixel_offset", true)?,
            gives_numbers,
        }))
    }

    fn levels(&self) -> usize {
        (self.most - self.least + 1) as usize
    }

    /// The level of a box, from 0 on.
    fn level<T: Real>(&self, sides: Sides<T>) -> usize {
        let offset = if self.pixel_offset {
            T::one()
        } else {
            T::zero()
        };
        let size = area(sides, offset).sqrt() / T::from_f64(self.refer_scale);
        let level = (size + T::from_f64(EPSILON)).log2() + T::from_f64(self.refer_level);
        let level = Element::to_f64(level.floor());
        (level.clamp(self.least as f64, self.most as f64) as i64 - self.least) as usize
    }

    fn run<T: Real>(&self, boxes: &Array<T>, numbers: &[i64]) -> Result<Vec<Tensor>> {
        let sides = all_sides(boxes)?;
        let images = super::images(numbers, sides.len())?;
        let mut levels: Vec<Vec<usize>> = vec![Vec::new(); self.levels()];
        for (position, sides) in sides.iter().enumerate() {
            levels[self.level(*sides)].push(position);
        }
        let (mut results, mut counts) = (Vec::new(), Vec::new());
        for positions in &levels {
            let found: Vec<T> = positions.iter().flat_map(|p| sides[*p]).collect();
            results.push(Tensor::from_elements(&[positions.len(), 4], found)?);
            let mut count = vec![0_i32; numbers.len()];
            positions
                .iter()
                .for_each(|position| count[images[*position]] += 1);
            counts.push(Tensor::vector(count));
        }
        if self.gives_numbers {
            results.extend(counts);
        }
        let mut places = vec![0_i32; sides.len()];
        for (place, position) in levels.into_iter().flatten().enumerate() {
            places[position] = place as i32;
        }
        results.push(Tensor::from_elements(&[sides.len(), 1], places)?);
        Ok(results)
    }

    /// Emits the level of each box, from 0 on, as int64, `[m]`.
    fn lower_levels(&self, g: &mut Lowering<'_>, boxes: TensorId, dtype: DType) -> TensorId {
        let parts = g.split(boxes, &[2, 2], 1);
        let zero = g.scalar(dtype, 0.0);
        let extents = g.node("Sub", &[parts[1], parts[0]], []);
        let shortest = g.reduce("ReduceMin", extents, &[1], false);
        let is_none = g.node("Less", &[shortest, zero], []);
        let mut wider = extents;
        if self.pixel_offset {
            let one = g.scalar(dtype, 1.0);
            wider = g.node("Add", &[extents, one], []);
        }
        let [width, height] = [0, 1].map(|side| {
            let side = g.slice(wider, side, side + 1, 1);
            g.squeeze(side, &[1])
        });
        let area = g.node("Mul", &[width, height], []);
        let area = g.node("Where", &[is_none, zero, area], []);
        let size = g.node("Sqrt", &[area], []);
        let numbers = [
            self.refer_scale,
            EPSILON,
            std::f64::consts::LN_2,
            self.refer_level,
        ];
        let [scale, epsilon, log_2, level] = numbers.map(|x| g.scalar(dtype, x));
        let size = g.node("Div", &[size, scale], []);
        let size = g.node("Add", &[size, epsilon], []);
        let log = g.node("Log", &[size], []);
        let log = g.node("Div", &[log, log_2], []);
        let levels = g.node("Add", &[log, level], []);
        let levels = g.node("Floor", &[levels], []);
        let [least, most] = [self.least, self.most].map(|level| g.scalar(dtype, level as f64));
        let levels = g.clip(levels, dtype, least, most);
        let levels = g.node("Sub", &[levels, least], []);
        g.cast(levels, dtype, I64)
    }
}

impl Operator for Distribute {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [count, _] = facts.shape(self.boxes) else {
            let shape = display_shape(facts.shape(self.boxes));
            return Err(Error::malformed(format!("boxes of shape {shape}")));
        };
        let dtype = facts.dtype(self.boxes);
        let boxes = Fact::new(dtype, vec![Dim::Unknown, Dim::Known(4)]);
        let mut results = vec![boxes; self.levels()];
        if self.gives_numbers {
            let numbers = Fact::new(I32, facts.shape(self.numbers).to_vec());
            results.extend(vec![numbers; self.levels()]);
        }
        results.push(Fact::new(I32, vec![count.clone(), Dim::Known(1)]));
        Ok(results)
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let boxes = g.value(self.boxes)?;
        let levels = self.lower_levels(g, boxes, g.dtype(self.boxes));
        let count = g.shape_slice(boxes, 0, 1);
        let images = images_of_boxes(g, self.numbers, count)?;
        let numbers = g.value(self.numbers)?;
        let batch = g.shape_slice(numbers, 0, 1);
        let (mut results, mut counts) = (Vec::new(), Vec::new());
        for level in 0..self.levels() {
            let level = g.scalar(I64, level as f64);
            let is_of = g.node("Equal", &[levels, level], []);
            let along = [("axis", NodeAttr::Int(0))];
            results.push(g.node("Compress", &[boxes, is_of], along.clone()));
            let images = g.node("Compress", &[images, is_of], along);
            counts.push(number_of_each(g, images, batch));
        }
        if self.gives_numbers {
            results.extend(counts);
        }
        // The places of the boxes, which are those of the positions among them.
        let (_, order) = ascending(g, levels);
        let (_, places) = ascending(g, order);
        let places = g.cast(places, I64, I32);
        results.push(g.unsqueeze(places, &[1]));
        Ok(results)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let numbers = values.integers(self.numbers)?;
        on_real!(values.get(self.boxes)?, boxes => self.run(boxes, &numbers))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}

/// The `most` boxes of the highest scores among those of all levels, `[m, 4]` each with scores `[m, 1]`, image by image;
/// and the number of each image. Of equal scores the last comes first, as Paddle's comparison has it.
///
/// On its way through the boxes of a level, Paddle's CPU kernel goes on by at most one image from box to box. So an image
/// without boxes takes one of those behind it, unless it is the first. If none of the boxes of an image is among the best,
/// that kernel leaves the numbers open. Here they are those of the boxes.
struct Collect {
    boxes: Vec<ValueId>,
    scores: Vec<ValueId>,
    /// For each level, the number of boxes of each image.
    numbers: Vec<ValueId>,
    most: usize,
    /// The number of results that are asked for.
    results: usize,
}

impl Collect {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let boxes = op.list("multi_level_rois")?;
        let scores = op.list("multi_level_scores")?;
        let numbers = op.list_or_empty("multi_level_rois_num")?;
        if numbers.is_empty() {
            return Err(needs_numbers());
        }
        let most: i64 = op.attr("post_nms_topn")?;
        let most = usize::try_from(most).ok();
        if boxes.len() != scores.len() || boxes.len() != numbers.len() {
            return Err(Error::malformed("levels without boxes, scores or numbers"));
        }
        Ok(Box::new(Self {
            boxes,
            scores,
            numbers,
            most: most.ok_or_else(|| Error::malformed("a negative number of boxes"))?,
            results: op.result_count(),
        }))
    }

    /// Emits the image of each of `count` boxes of a level, as far as the boxes before it let Paddle go.
    fn lower_images(g: &mut Lowering<'_>, numbers: ValueId, count: TensorId) -> Result<TensorId> {
        let images = images_of_boxes(g, numbers, count)?;
        let ends = ends_of_images(g, numbers)?;
        let batch = g.shape_slice(ends, 0, 1);
        let each_image = g.count_up(batch);
        let each_image = g.unsqueeze(each_image, &[1]);
        let each = g.count_up(count);
        let is_behind = g.compare_or_equal("Greater", each, ends);
        let one = g.scalar(I64, 1.0);
        let steps = g.node("Add", &[each, one], []);
        let since = g.node("Sub", &[steps, ends], []);
        let reached = g.node("Add", &[each_image, since], []);
        let reached = g.node("Where", &[is_behind, reached, steps], []);
        let reached = g.reduce("ReduceMin", reached, &[0], false);
        Ok(g.extreme("Min", images, reached, I64))
    }

    fn run<T: Real>(&self, values: &Values<'_>, like: &Array<T>) -> Result<Vec<Tensor>> {
        let mut all: Vec<(usize, f64, Sides<T>)> = Vec::new();
        let mut batch = 0;
        for ((boxes, scores), numbers) in self.boxes.iter().zip(&self.scores).zip(&self.numbers) {
            let sides = all_sides(same_type(values.get(*boxes)?, like)?)?;
            let scores = values.get(*scores)?.to_f64_vec();
            let numbers = values.integers(*numbers)?;
            let mut reached = 0;
            let images = super::images(&numbers, sides.len())?;
            let images = images.into_iter().map(|image| {
                reached = image.min(reached + 1);
                reached
            });
            batch = numbers.len();
            if scores.len() != sides.len() {
                return Err(Error::malformed("another number of scores than of boxes"));
            }
            let of_level = images.zip(scores).zip(sides);
            all.extend(of_level.map(|((image, score), sides)| (image, score, sides)));
        }
        all.reverse();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(self.most);
        all.sort_by_key(|(image, ..)| *image);
        let mut counts = vec![0_i32; batch];
        all.iter().for_each(|(image, ..)| counts[*image] += 1);
        let sides: Vec<T> = all.iter().flat_map(|(_, _, sides)| *sides).collect();
        let boxes = Tensor::from_elements(&[all.len(), 4], sides)?;
        let results = [boxes, Tensor::vector(counts)];
        Ok(results.into_iter().take(self.results).collect())
    }
}

impl Operator for Collect {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let dtype = facts.dtype(self.boxes[0]);
        let results = [
            Fact::new(dtype, vec![Dim::Unknown, Dim::Known(4)]),
            Fact::new(I32, facts.shape(self.numbers[0]).to_vec()),
        ];
        Ok(results.into_iter().take(self.results).collect())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let (mut boxes, mut scores, mut images) = (Vec::new(), Vec::new(), Vec::new());
        let flat = g.vector(&[-1]);
        for level in 0..self.boxes.len() {
            let sides = g.value(self.boxes[level])?;
            let score = g.value(self.scores[level])?;
            let count = g.shape_slice(sides, 0, 1);
            images.push(Self::lower_images(g, self.numbers[level], count)?);
            scores.push(g.node("Reshape", &[score, flat], []));
            boxes.push(sides);
        }
        let [boxes, scores, images] = [boxes, scores, images].map(|parts| {
            let all = g.concat(&parts, 0);
            let vectors = [-1, i64::MIN, 0, -1].map(|element| g.vector(&[element]));
            g.node("Slice", &[&[all], &vectors[..]].concat(), [])
        });
        let all = g.node("Shape", &[scores], []);
        let most = g.vector(&[self.most as i64]);
        let count = g.extreme("Min", all, most, I64);
        let (_, best) = descending(g, scores, count, 0);
        let images = g.node("Gather", &[images, best], []);
        let (images, order) = ascending(g, images);
        let best = g.node("Gather", &[best, order], []);
        let boxes = g.node("Gather", &[boxes, best], []);
        let numbers = g.value(self.numbers[0])?;
        let batch = g.shape_slice(numbers, 0, 1);
        let numbers = number_of_each(g, images, batch);
        Ok([boxes, numbers][..self.results].to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.boxes[0])?, boxes => self.run(values, boxes))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
