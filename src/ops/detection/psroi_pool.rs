//! `psroi_pool`: the means of bins of regions of interest, where each bin has channels of its own.
//!
//! Paddle: `phi/kernels/cpu/psroi_pool_kernel.cc`. ONNX has no such operator: Where and ReduceSum.

use super::images_of_boxes;
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::boxes::all_sides;
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::image::{Layout, non_negative_i32};
use crate::ops::shared::rounding::lower_round_away;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, refuse_too_large, row_major};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "psroi_pool",
    &[
        Arg::Tensor("x"),
        Arg::Tensor("boxes"),
        Arg::Optional("boxes_num"),
    ],
    &[Form::legacy(
        &["psroi_pool"],
        &[
            Binding::Slot("X"),
            Binding::Slot("ROIs"),
            Binding::Optional("RoisNum"),
        ],
        &["Out"],
    )],
    PsroiPool::parse,
)
.with_opset(11)
.with_dtypes(&[F32])
.with_accuracy(Accuracy::Accumulated)
.with_limits(&["boxes by level of detail"])];

/// The means of `x` (`[n, output_channels · pooled_height · pooled_width, h, w]`) in the bins of each of `boxes` (`[m, 4]`:
/// left, top, right, bottom, rounded to whole pixels, the last of which is included, and then times `spatial_scale`): `[m,
/// output_channels, pooled_height, pooled_width]`. Each bin of each result has its own channel of `x`. Bins reach to whole
/// elements, and those outside of `x` give 0. `boxes_num` (`[n]`) says how many of the boxes belong to each batch item.
struct PsroiPool {
    x: ValueId,
    boxes: ValueId,
    boxes_num: ValueId,
    /// The height and width of the result.
    pooled: [usize; 2],
    channels: usize,
    spatial_scale: f32,
}

/// Boxes are at least so wide and high, in elements of `x`.
const LEAST: f32 = 0.1;

impl PsroiPool {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pooled = super::pooled(op)?;
        let channels: i64 = op.attr_or("output_channels", 1)?;
        let scale: f64 = op.attr_or("spatial_scale", 1.0)?;
        let positive = non_negative_i32(channels).filter(|channels| *channels > 0);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            boxes: op.operand("boxes")?,
            boxes_num: op.optional("boxes_num")?.ok_or_else(super::needs_numbers)?,
            pooled,
            channels: positive
                .ok_or_else(|| Error::malformed(format!("output_channels {channels}")))?,
            spatial_scale: scale as f32,
        }))
    }

    /// The elements of each bin between two sides of a box, along an axis of `x` of this extent. Paddle computes them in
    /// float32.
    fn bins(&self, sides: [f32; 2], pooled: usize, image: usize) -> Vec<std::ops::Range<usize>> {
        let [start, end] = sides.map(f32::round);
        let (start, end) = (start * self.spatial_scale, (end + 1.0) * self.spatial_scale);
        let size = (end - start).max(LEAST) / pooled as f32;
        let at = |position: f32| f64::from(position).clamp(0.0, image as f64) as usize;
        let bins = (0..pooled).map(|bin| {
            let first = (bin as f32 * size + start).floor();
            let last = ((bin + 1) as f32 * size + start).ceil();
            at(first)..at(last)
        });
        bins.collect()
    }

    fn run<T: Real>(
        &self,
        x: &Array<T>,
        boxes: &Array<T>,
        numbers: &[i64],
    ) -> Result<ndarray::ArrayD<T>> {
        let [batch, channels, height, width] = Layout::ChannelsFirst.planar(x.shape())?;
        let boxes = all_sides(boxes)?;
        let images = super::images(numbers, boxes.len())?;
        let [rows, columns] = self.pooled;
        if numbers.len() != batch || channels != self.channels * rows * columns {
            return Err(self.misfit(x.shape()));
        }
        let shape = [boxes.len(), self.channels, rows, columns];
        refuse_too_large(&shape)?;
        let x = row_major(x);
        let mut result = Vec::with_capacity(shape.iter().product());
        for (image, sides) in images.into_iter().zip(boxes) {
            let sides = sides.map(|side| Element::to_f64(side) as f32);
            let lines = self.bins([sides[1], sides[3]], rows, height);
            let across = self.bins([sides[0], sides[2]], columns, width);
            for channel in 0..channels {
                let bin = channel % (rows * columns);
                let (lines, across) = (&lines[bin / columns], &across[bin % columns]);
                let plane = &x[(image * channels + channel) * height * width..][..height * width];
                let count = lines.len() * across.len();
                let elements = lines.clone().flat_map(|row| match across.is_empty() {
                    true => &[],
                    false => &plane[row * width..][across.clone()],
                });
                let sum: f64 = elements.map(|x| Element::to_f64(*x)).sum();
                result.push(T::from_f64(sum / count.max(1) as f64));
            }
        }
        ndarray::ArrayD::from_shape_vec(shape.to_vec(), result)
            .map_err(|_| Error::internal("bins were lost"))
    }

    fn misfit(&self, shape: &[usize]) -> Error {
        let [rows, columns] = self.pooled;
        Error::malformed(format!(
            "regions of {shape:?}, of which {} channels with {rows} by {columns} bins are made",
            self.channels
        ))
    }

    /// Emits whether each element along an axis of `x` is in each bin, `[m, bins, extent]`, and how many are, `[m, bins]`.
    /// `starts` and `ends` are the sides of the boxes along the axis, `[m, 1]`.
    fn lower_bins(
        &self,
        g: &mut Lowering<'_>,
        [start, end]: [TensorId; 2],
        pooled: usize,
        extent: TensorId,
    ) -> (TensorId, TensorId) {
        let [least, zero, pooled_extent] =
            [f64::from(LEAST), 0.0, pooled as f64].map(|x| g.scalar(F32, x));
        let size = g.node("Sub", &[end, start], []);
        let size = g.node("Max", &[size, least], []);
        let size = g.node("Div", &[size, pooled_extent], []);
        let limit = g.cast(extent, I64, F32);
        let [first, last] = [(0, "Floor"), (1, "Ceil")].map(|(next, rounded)| {
            let bins = (next..next + pooled).map(|bin| bin as f32).collect();
            let bins = g.constant(Tensor::vector(bins));
            let place = g.node("Mul", &[bins, size], []);
            let place = g.node("Add", &[place, start], []);
            let place = g.node(rounded, &[place], []);
            let place = g.node("Max", &[place, zero], []);
            g.node("Min", &[place, limit], [])
        });
        let count = g.node("Sub", &[last, first], []);
        let count = g.node("Max", &[count, zero], []);
        let places = g.count_up(extent);
        let places = g.cast(places, I64, F32);
        let [first, last] = [first, last].map(|place| g.unsqueeze(place, &[2]));
        let is_behind = g.compare_or_equal("Greater", places, first);
        let is_before = g.node("Less", &[places, last], []);
        (g.node("And", &[is_behind, is_before], []), count)
    }
}

impl Function for PsroiPool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [_, channels, ..] = Layout::ChannelsFirst.planar(facts.shape(self.x))?;
        let due = self.channels * self.pooled[0] * self.pooled[1];
        if channels.extent().is_some_and(|channels| channels != due) {
            return Err(Error::malformed(format!(
                "{channels} channels where {due} are due"
            )));
        }
        let [count, _] = facts.shape(self.boxes) else {
            let shape = display_shape(facts.shape(self.boxes));
            return Err(Error::malformed(format!("boxes of shape {shape}")));
        };
        let [height, width] = self.pooled.map(Dim::from);
        let shape = vec![count.clone(), Dim::from(self.channels), height, width];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, boxes) = (g.value(self.x)?, g.value(self.boxes)?);
        let [rows, columns] = self.pooled;
        let count = g.shape_slice(boxes, 0, 1);
        let images = images_of_boxes(g, self.boxes_num, count)?;
        let pixels = lower_round_away(g, boxes, F32);
        let scale = g.scalar(F32, self.spatial_scale.into());
        let one = g.scalar(F32, 1.0);
        let starts = g.slice(pixels, 0, 2, 1);
        let starts = g.node("Mul", &[starts, scale], []);
        let ends = g.slice(pixels, 2, 4, 1);
        let ends = g.node("Add", &[ends, one], []);
        let ends = g.node("Mul", &[ends, scale], []);
        let extents = [2, 3].map(|axis| g.shape_slice(x, axis, axis + 1));
        let mut along = |axis: i64, pooled: usize, extent: TensorId| {
            let sides = [starts, ends].map(|sides| g.slice(sides, axis, axis + 1, 1));
            self.lower_bins(g, sides, pooled, extent)
        };
        let (lines, heights) = along(1, rows, extents[0]);
        let (across, widths) = along(0, columns, extents[1]);
        let apart = [self.channels, rows, columns].map(|extent| extent as i64);
        let apart = g.vector(&[&[0], &apart[..]].concat());
        // The batch, the channels and the bins by rows and columns, then the image.
        let apart = g.concat(&[apart, extents[0], extents[1]], 0);
        let x = g.node("Reshape", &[x, apart], []);
        let x = g.node("Gather", &[x, images], []);
        let lines = g.unsqueeze(lines, &[1, 3, 5]);
        let across = g.unsqueeze(across, &[1, 2, 4]);
        let is_inside = g.node("And", &[lines, across], []);
        let zero = g.scalar(F32, 0.0);
        let inside = g.node("Where", &[is_inside, x, zero], []);
        let sum = g.reduce("ReduceSum", inside, &[4, 5], false);
        let heights = g.unsqueeze(heights, &[1, 3]);
        let widths = g.unsqueeze(widths, &[1, 2]);
        let area = g.node("Mul", &[heights, widths], []);
        let area = g.node("Max", &[area, one], []);
        Ok(g.node("Div", &[sum, area], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (boxes, numbers) = (values.get(self.boxes)?, values.integers(self.boxes_num)?);
        with_real!(values.get(self.x)?, x => self.run(x, same_type(boxes, x)?, &numbers)?)
    }
}
