//! `roi_align`: regions of interest of any size, resampled to one size.

use std::ops::Range;

use ndarray::{Axis, Slice, concatenate};

use super::images_of_boxes;
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::grid::{Points, sample};
use crate::kernels::interpolate::Tap;
use crate::kernels::{Real, with_real};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::image::{Layout, non_negative_i32};
use crate::ops::shared::values::same_type;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Element, Tensor, display_shape, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "roi_align",
    &[
        Arg::Tensor("x"),
        Arg::Tensor("boxes"),
        Arg::Optional("boxes_num"),
    ],
    &[Form::legacy(
        &["roi_align"],
        &[
            Binding::Slot("X"),
            Binding::Slot("ROIs"),
            Binding::Optional("RoisNum"),
        ],
        &["Out"],
    )],
    RoiAlign::parse,
)
.with_opset(11)
.with_limits(&["boxes by level of detail"])
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Accumulated)];

/// `x` (`[n, c, h, w]`) in each of `boxes` (`[m, 4]`: left, top, right, bottom, times `spatial_scale`), resampled to
/// `[m, c, pooled_height, pooled_width]`. Each element of the result is the mean of `x` at points that are evenly
/// spread over its bin of the box, by bilinear interpolation. `boxes_num` (`[n]`) says how many of the boxes belong to
/// each batch item.
///
/// A bin has `sampling_ratio` points along each axis, or if that is not positive, as many as it has elements, rounded
/// up. Aligned boxes are moved by half an element, since the centre of the first is at 0; others are at least one
/// element wide and high. A box without extent, for which Paddle gives NaN on a CPU, gives 0 as in ONNX.
///
/// Paddle: `phi/kernels/cpu/roi_align_kernel.cc`. ONNX: RoiAlign.
struct RoiAlign {
    x: ValueId,
    boxes: ValueId,
    boxes_num: ValueId,
    /// The height and width of the result.
    pooled: [usize; 2],
    spatial_scale: f64,
    /// 0 if it depends on the box.
    sampling_ratio: usize,
    aligned: bool,
}

/// The most points of a bin along an axis.
const MOST_POINTS: f64 = 1e6;

impl RoiAlign {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let pooled = super::pooled(op)?;
        let ratio: i64 = op.attr_or("sampling_ratio", -1)?;
        Ok(Box::new(Self {
            x: op.operand("x")?,
            boxes: op.operand("boxes")?,
            boxes_num: op.optional("boxes_num")?.ok_or_else(super::needs_numbers)?,
            pooled,
            spatial_scale: op.attr_or("spatial_scale", 1.0)?,
            sampling_ratio: non_negative_i32(ratio.max(0))
                .ok_or_else(|| Error::malformed(format!("sampling_ratio {ratio}")))?,
            aligned: op.attr_or("aligned", false)?,
        }))
    }

    /// For each of the `pooled` bins of a box along an axis, from `start` to `end`, the elements whose mean it is, with
    /// their weights. `image` is the extent of `x`.
    fn parts<T: Real>(
        &self,
        [start, end]: [T; 2],
        pooled: usize,
        image: usize,
    ) -> Result<Vec<Vec<(usize, f64)>>> {
        let mut length = end - start;
        if !self.aligned {
            length = length.max(T::one());
        }
        let part = length / T::from_f64(pooled as f64);
        let points = match self.sampling_ratio {
            0 => Element::to_f64(part.ceil()).max(0.0),
            ratio => ratio as f64,
        };
        if points > MOST_POINTS {
            return Err(Error::unsupported("a box of more than a million elements"));
        }
        let points = points as usize;
        let shares = (0..pooled).map(|number| {
            let mut shares = vec![0.0; image];
            for point in 0..points {
                let along = T::from_f64(point as f64 + 0.5) / T::from_f64(points as f64);
                let position = start + part * (T::from_f64(number as f64) + along);
                for (element, share) in around(Element::to_f64(position), image) {
                    shares[element] += share / points as f64;
                }
            }
            let shares = shares.into_iter().enumerate();
            shares.filter(|(_, share)| *share != 0.0).collect()
        });
        Ok(shares.collect())
    }

    /// For each element of the result of a box, the elements of a channel that it is made of, with their weights.
    fn points<T: Real>(&self, corners: &[T], [height, width]: [usize; 2]) -> Result<Points> {
        let &[left, top, right, bottom] = corners else {
            return Err(Error::internal("a box without four sides"));
        };
        let offset = T::from_f64(if self.aligned { 0.5 } else { 0.0 });
        let scale = T::from_f64(self.spatial_scale);
        let place = |side: T| side * scale - offset;
        let rows = self.parts([top, bottom].map(place), self.pooled[0], height)?;
        let columns = self.parts([left, right].map(place), self.pooled[1], width)?;
        let blend = |row: &[(usize, f64)], column: &[(usize, f64)]| {
            let lines = row.iter().flat_map(|(y, share)| {
                column.iter().map(move |(x, other)| Tap {
                    index: y * width + x,
                    weight: share * other,
                })
            });
            lines.collect::<Vec<Tap>>()
        };
        let points = rows
            .iter()
            .flat_map(|row| columns.iter().map(move |column| blend(row, column)));
        Ok(points.collect())
    }

    fn align<T: Real>(
        &self,
        x: &Array<T>,
        boxes: &Array<T>,
        numbers: &[i64],
    ) -> Result<ndarray::ArrayD<T>> {
        let [_, channels, height, width] = Layout::ChannelsFirst.planar(x.shape())?;
        let count = boxes.len() / 4;
        let shape = [count, channels, self.pooled[0], self.pooled[1]];
        refuse_too_large(&shape)?;
        let sides: Vec<T> = boxes.iter().copied().collect();
        let mut corners = sides.chunks_exact(4);
        let mut regions = Vec::new();
        for (image, count) in numbers.iter().enumerate().take(x.shape()[0]) {
            let x = x.slice_axis(Axis(0), Slice::from(image..image + 1));
            let x: Array<T> = x.into_owned().into();
            for corners in corners.by_ref().take(usize::try_from(*count).unwrap_or(0)) {
                let points = self.points(corners, [height, width])?;
                regions.push(sample(&x, &[points], &self.pooled)?);
            }
        }
        if regions.len() != count {
            let found = regions.len();
            return Err(Error::malformed(format!(
                "{found} of {count} boxes have an image"
            )));
        }
        if regions.is_empty() {
            return Ok(ndarray::ArrayD::from_elem(shape.to_vec(), T::zero()));
        }
        let views: Vec<_> = regions.iter().map(|region| region.view()).collect();
        concatenate(Axis(0), &views).map_err(|_| Error::internal("regions of several sizes"))
    }
}

/// The elements around a position, with their weights. Up to one element beyond the edge, it is the element at the edge
/// alone; further out there is none.
fn around(position: f64, image: usize) -> impl Iterator<Item = (usize, f64)> {
    let last = image.saturating_sub(1) as f64;
    let is_inside = (-1.0..=image as f64).contains(&position);
    let position = position.clamp(0.0, last);
    let first = position.floor();
    let share = position - first;
    let both = [(first as usize, 1.0 - share), (first as usize + 1, share)];
    let inside: Range<usize> = 0..if is_inside { image } else { 0 };
    both.into_iter()
        .filter(move |(element, _)| inside.contains(element))
}

impl Function for RoiAlign {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let [_, channels, ..] = Layout::ChannelsFirst.planar(facts.shape(self.x))?;
        let boxes = facts.shape(self.boxes);
        let [count, sides] = boxes else {
            let shape = display_shape(boxes);
            return Err(Error::malformed(format!("boxes of shape {shape}")));
        };
        if sides.known().is_some_and(|sides| sides != 4) || facts.rank(self.boxes_num) != 1 {
            return Err(Error::malformed(
                "boxes without four sides or without images",
            ));
        }
        let [height, width] = self.pooled.map(Dim::from);
        let shape = vec![count.clone(), channels, height, width];
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, boxes) = (g.value(self.x)?, g.value(self.boxes)?);
        let count = g.shape_slice(boxes, 0, 1);
        let images = images_of_boxes(g, self.boxes_num, count)?;
        let attrs = vec![
            ("output_height", NodeAttr::Int(self.pooled[0] as i64)),
            ("output_width", NodeAttr::Int(self.pooled[1] as i64)),
            ("sampling_ratio", NodeAttr::Int(self.sampling_ratio as i64)),
            ("spatial_scale", NodeAttr::Float(self.spatial_scale as f32)),
        ];
        g.roi_align(&[x, boxes, images], self.aligned, attrs)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (boxes, numbers) = (values.get(self.boxes)?, values.integers(self.boxes_num)?);
        with_real!(values.get(self.x)?, x => self.align(x, same_type(boxes, x)?, &numbers)?)
    }
}
