//! `roi_pool`: the maxima of bins of regions of interest.
//!
//! Paddle: `phi/kernels/cpu/roi_pool_kernel.cc`. ONNX: MaxRoiPool.

use super::images_of_boxes;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::boxes::all_sides;
use crate::kernels::{Real, with_real};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::image::Layout;
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, I64};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, refuse_too_large, row_major};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "roi_pool",
    &[
        Arg::Tensor("x"),
        Arg::Tensor("boxes"),
        Arg::Optional("boxes_num"),
    ],
    &[Form::legacy(
        &["roi_pool"],
        &[
            Binding::Slot("X"),
            Binding::Slot("ROIs"),
            Binding::Optional("RoisNum"),
        ],
        &["Out"],
    )],
    RoiPool::parse,
)
.with_opset(11)
.with_dtypes(&[F32])
.with_limits(&["boxes by level of detail"])];

/// The maxima of `x` (`[n, c, h, w]`) in the bins of each of `boxes` (`[m, 4]`: left, top, right, bottom, times
/// `spatial_scale`, rounded to whole elements, the last of which is included): `[m, c, pooled_height, pooled_width]`. Bins
/// overlap by up to an element; those outside of `x` give 0. `boxes_num` (`[n]`) says how many of the boxes belong to each
/// batch item.
struct RoiPool {
    x: ValueId,
    boxes: ValueId,
    boxes_num: ValueId,
    /// The height and width of the result.
    pooled: [usize; 2],
    spatial_scale: f64,
}

impl RoiPool {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pooled = super::pooled(op)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            boxes: op.operand("boxes")?,
            boxes_num: op.optional("boxes_num")?.ok_or_else(super::needs_numbers)?,
            pooled,
            spatial_scale: op.attr_or("spatial_scale", 1.0)?,
        }))
    }

    /// The elements of each bin between two sides of a box along an axis of `x` of this extent.
    fn bins<T: Real>(
        &self,
        sides: [T; 2],
        pooled: usize,
        image: usize,
    ) -> Vec<std::ops::Range<usize>> {
        let scale = T::from_f64(self.spatial_scale);
        let [start, end] = sides.map(|side| Element::to_f64((side * scale).round()));
        // Paddle divides in float32.
        let size = (end - start + 1.0).max(1.0) as f32 / pooled as f32;
        let at = |position: f64| (position + start).clamp(0.0, image as f64) as usize;
        let bins = (0..pooled).map(|bin| {
            let first = (bin as f32 * size).floor();
            let last = ((bin + 1) as f32 * size).ceil();
            at(f64::from(first))..at(f64::from(last))
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
        if numbers.len() != batch {
            return Err(Error::malformed("boxes of more images than there are"));
        }
        let shape = [boxes.len(), channels, self.pooled[0], self.pooled[1]];
        refuse_too_large(&shape)?;
        let x = row_major(x);
        let mut result = Vec::with_capacity(shape.iter().product());
        for (image, sides) in images.into_iter().zip(boxes) {
            let rows = self.bins([sides[1], sides[3]], self.pooled[0], height);
            let columns = self.bins([sides[0], sides[2]], self.pooled[1], width);
            for channel in 0..channels {
                let plane = &x[(image * channels + channel) * height * width..][..height * width];
                for rows in &rows {
                    for columns in &columns {
                        let lines = rows
                            .clone()
                            .flat_map(|row| &plane[row * width..][columns.clone()]);
                        result.push(lines.copied().reduce(T::max).unwrap_or(T::zero()));
                    }
                }
            }
        }
        ndarray::ArrayD::from_shape_vec(shape.to_vec(), result)
            .map_err(|_| Error::internal("bins were lost"))
    }
}

impl Function for RoiPool {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [_, channels, ..] = Layout::ChannelsFirst.planar(facts.shape(self.x))?;
        let [count, _] = facts.shape(self.boxes) else {
            let shape = display_shape(facts.shape(self.boxes));
            return Err(Error::malformed(format!("boxes of shape {shape}")));
        };
        let [height, width] = self.pooled.map(Dim::from);
        let shape = vec![count.clone(), channels, height, width];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, boxes) = (g.value(self.x)?, g.value(self.boxes)?);
        let count = g.shape_slice(boxes, 0, 1);
        let images = images_of_boxes(g, self.boxes_num, count)?;
        let images = g.cast(images, I64, F32);
        let images = g.unsqueeze(images, &[1]);
        let regions = g.concat(&[images, boxes], 1);
        let attrs = [
            (
                "pooled_shape",
                NodeAttr::Ints(self.pooled.map(|extent| extent as i64).to_vec()),
            ),
            ("spatial_scale", NodeAttr::Float(self.spatial_scale as f32)),
        ];
        Ok(g.node("MaxRoiPool", &[x, regions], attrs))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (boxes, numbers) = (values.get(self.boxes)?, values.integers(self.boxes_num)?);
        with_real!(values.get(self.x)?, x => self.run(x, same_type(boxes, x)?, &numbers)?)
    }
}
