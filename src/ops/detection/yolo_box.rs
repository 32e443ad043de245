//! `yolo_box`: the boxes and scores that YOLOv3 and its kin predict at each place of a grid.
//!
//! Paddle: `phi/kernels/cpu/yolo_box_kernel.cc`. ONNX: Sigmoid, Exp and arithmetic.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, on_real};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, F32, F64, I64};
use crate::tensor::{Array, Dim, Element, Tensor, refuse_too_large, row_major};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "yolo_box",
    &[Arg::Tensor("x"), Arg::Tensor("img_size")],
    &[Form::legacy(
        &["yolo_box"],
        &[Binding::Slot("X"), Binding::Slot("ImgSize")],
        &["Boxes", "Scores"],
    )],
    YoloBox::parse,
)
.with_opset(11)
.with_results(&["boxes", "scores"])
.with_dtypes(&[F32, F64])
.with_accuracy(Accuracy::Accumulated)];

/// The boxes `[n, anchors · h · w, 4]` and the scores `[n, anchors · h · w, classes]` that `x` (`[n, anchors · (5 + classes),
/// h, w]`) predicts for images of the heights and widths `img_size` (`[n, 2]`).
///
/// At each place of the grid there are for each anchor the centre and the size of a box, the confidence that there is one,
/// and a number for each class. If it is `iou_aware`, `x` has a channel more per anchor, in front of the others: the expected
/// overlap, to whose power the confidence is weighted. What is predicted with less than `conf_thresh` is 0.
struct YoloBox {
    x: ValueId,
    img_size: ValueId,
    /// The width and height of each.
    anchors: Vec<[f64; 2]>,
    classes: usize,
    conf_thresh: f64,
    /// How many times the images of the network are as large as the grid.
    downsample_ratio: f64,
    /// Whether boxes are cut off at the borders of the image.
    clip_bbox: bool,
    scale: f64,
    /// The weight of the expected overlap, if there is one.
    overlap_weight: Option<f64>,
}

impl YoloBox {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let anchors: Vec<i64> = op.attr_or("anchors", Vec::new())?;
        let classes: i64 = op.attr_or("class_num", 1)?;
        let ratio: i64 = op.attr_or("downsample_ratio", 32)?;
        let factor: f64 = op.attr_or("iou_aware_factor", 0.5)?;
        let is_aware = op.attr_or("iou_aware", false)?;
        let fail = || Error::malformed(format!("anchors {anchors:?}, {classes} classes"));
        if anchors.is_empty() || !anchors.len().is_multiple_of(2) || ratio < 1 {
            return Err(fail());
        }
        let pairs = anchors.chunks_exact(2);
        let pairs = pairs.map(|pair| [pair[0] as f64, pair[1] as f64]).collect();
        let classes = usize::try_from(classes).ok().filter(|classes| *classes > 0);
        Ok(Box::new(Self {
            x: op.operand("x")?,
            img_size: op.operand("img_size")?,
            classes: classes.ok_or_else(fail)?,
            anchors: pairs,
            conf_thresh: op.attr_or("conf_thresh", 0.01)?,
            downsample_ratio: ratio as f64,
            clip_bbox: op.attr_or("clip_bbox", true)?,
            scale: op.attr_or("scale_x_y", 1.0)?,
            overlap_weight: is_aware.then_some(factor),
        }))
    }

    /// The channels of `x`.
    fn channels(&self) -> usize {
        let aware = usize::from(self.overlap_weight.is_some());
        self.anchors.len() * (5 + self.classes + aware)
    }

    /// What the centre is moved by, so that a scaled one has the same mean.
    fn bias(&self) -> f64 {
        -0.5 * (self.scale - 1.0)
    }

    fn run<T: Real>(&self, x: &Array<T>, sizes: &[i64]) -> Result<Vec<Tensor>> {
        let [batch, channels, height, width] = Layout::ChannelsFirst.planar(x.shape())?;
        if channels != self.channels() || sizes.len() != 2 * batch {
            let (shape, due) = (x.shape(), self.channels());
            return Err(Error::malformed(format!("{due} channels in {shape:?}")));
        }
        let anchors = self.anchors.len();
        let (plane, count) = (height * width, anchors * height * width);
        refuse_too_large(&[batch, count, self.classes.max(4)])?;
        let x = row_major(x);
        let mut boxes = vec![T::zero(); batch * count * 4];
        let mut scores = vec![T::zero(); batch * count * self.classes];
        let behind = if self.overlap_weight.is_some() {
            anchors
        } else {
            0
        };
        for place in 0..batch * count {
            let (image, anchor, cell) = (place / count, place % count / plane, place % plane);
            let at = |channel: usize| x[(image * channels + channel) * plane + cell];
            let first = behind + anchor * (5 + self.classes);
            let mut confidence = sigmoid(at(first + 4));
            if let Some(weight) = self.overlap_weight {
                let overlap = sigmoid(at(anchor));
                confidence =
                    confidence.powf(T::from_f64(1.0 - weight)) * overlap.powf(T::from_f64(weight));
            }
            if Element::to_f64(confidence) < self.conf_thresh {
                continue;
            }
            let image = [sizes[2 * image + 1], sizes[2 * image]];
            let sides = self.sides(
                &|entry| at(first + entry),
                self.anchors[anchor],
                Place {
                    cell: [cell % width, cell / width],
                    grid: [width, height],
                    image,
                },
            );
            boxes[place * 4..][..4].copy_from_slice(&sides);
            for class in 0..self.classes {
                scores[place * self.classes + class] = confidence * sigmoid(at(first + 5 + class));
            }
        }
        Ok(vec![
            Tensor::from_elements(&[batch, count, 4], boxes)?,
            Tensor::from_elements(&[batch, count, self.classes], scores)?,
        ])
    }

    /// The sides of a box.
    fn sides<T: Real>(&self, at: &dyn Fn(usize) -> T, anchor: [f64; 2], place: Place) -> [T; 4] {
        let real = |x: f64| T::from_f64(x);
        let mut sides = [T::zero(); 4];
        for axis in 0..2 {
            let (image, grid) = (place.image[axis] as f64, place.grid[axis] as f64);
            let centre = real(place.cell[axis] as f64)
                + sigmoid(at(axis)) * real(self.scale)
                + real(self.bias());
            let centre = centre * real(image) / real(grid);
            let size = at(2 + axis).exp() * real(anchor[axis]) * real(image)
                / real(self.downsample_ratio * grid);
            let half = size / real(2.0);
            sides[axis] = centre - half;
            sides[2 + axis] = centre + half;
            if self.clip_bbox {
                sides[axis] = sides[axis].max(T::zero());
                sides[2 + axis] = sides[2 + axis].min(real(image - 1.0));
            }
        }
        sides
    }
}

/// A place of the grid, by columns and rows.
struct Place {
    cell: [usize; 2],
    /// The extents of the grid.
    grid: [usize; 2],
    /// The width and height of the image.
    image: [i64; 2],
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// What is emitted before boxes are.
struct Grid {
    dtype: DType,
    /// The column and row of each place, `[h · w, 2]`.
    cells: TensorId,
    /// The extents of the grid, `[2]`: width and height.
    extents: TensorId,
    /// The widths and heights of the images, `[n, 1, 1, 2]`.
    images: TensorId,
}

impl YoloBox {
    fn lower_grid(&self, g: &mut Lowering<'_>, x: TensorId) -> Result<Grid> {
        let dtype = g.dtype(self.x);
        let [_, _, height, width] = Layout::ChannelsFirst.planar(g.shape(self.x))?;
        let sizes = g.value(self.img_size)?;
        let sizes = g.cast(sizes, g.dtype(self.img_size), dtype);
        let swapped = g.vector(&[1, 0]);
        let images = g.node("Gather", &[sizes, swapped], [axis(1)]);
        let images = g.unsqueeze(images, &[1, 2]);
        if let (Some(height), Some(width)) = (height.extent(), width.extent()) {
            let places = (0..height * width).flat_map(|place| [place % width, place / width]);
            let places = places.map(|place| place as f64).collect();
            let cells = Tensor::from_elements(&[height * width, 2], places)?;
            let extents = Tensor::vector(vec![width as f64, height as f64]);
            let [cells, extents] = [cells, extents].map(|x| g.constant(x.cast(dtype)));
            return Ok(Grid {
                dtype,
                cells,
                extents,
                images,
            });
        }
        let (rows, columns) = (g.shape_slice(x, 2, 3), g.shape_slice(x, 3, 4));
        let count = g.node("Mul", &[rows, columns], []);
        let places = g.count_up(count);
        let row = g.node("Div", &[places, columns], []);
        let start = g.node("Mul", &[row, columns], []);
        let column = g.node("Sub", &[places, start], []);
        let cells = [column, row].map(|position| g.unsqueeze(position, &[1]));
        let cells = g.concat(&cells, 1);
        let extents = g.concat(&[columns, rows], 0);
        let [cells, extents] = [cells, extents].map(|x| g.cast(x, I64, dtype));
        Ok(Grid {
            dtype,
            cells,
            extents,
            images,
        })
    }

    /// Emits the confidence of each box, `[n, anchors, h · w, 1]`, from what is predicted of it, and `overlaps`, `[n,
    /// anchors, h, w]`.
    fn lower_confidence(
        &self,
        g: &mut Lowering<'_>,
        predicted: TensorId,
        overlaps: Option<TensorId>,
    ) -> TensorId {
        let dtype = g.dtype(self.x);
        let confidence = g.node("Sigmoid", &[predicted], []);
        let (Some(weight), Some(overlaps)) = (self.overlap_weight, overlaps) else {
            return confidence;
        };
        let shape = g.vector(&[0, self.anchors.len() as i64, -1, 1]);
        let overlap = g.node("Reshape", &[overlaps, shape], []);
        let overlap = g.node("Sigmoid", &[overlap], []);
        let [rest, weight] = [1.0 - weight, weight].map(|weight| g.scalar(dtype, weight));
        let confidence = g.node("Pow", &[confidence, rest], []);
        let overlap = g.node("Pow", &[overlap, weight], []);
        g.node("Mul", &[confidence, overlap], [])
    }

    /// Emits the sides of the boxes, `[n, anchors, h · w, 4]`, from what is predicted of their centres and sizes.
    fn lower_boxes(
        &self,
        g: &mut Lowering<'_>,
        grid: &Grid,
        [centres, sizes]: [TensorId; 2],
    ) -> Result<TensorId> {
        let dtype = grid.dtype;
        let mut centres = g.node("Sigmoid", &[centres], []);
        if self.scale != 1.0 {
            let [scale, bias] = [self.scale, self.bias()].map(|x| g.scalar(dtype, x));
            centres = g.node("Mul", &[centres, scale], []);
            centres = g.node("Add", &[centres, bias], []);
        }
        let centres = g.node("Add", &[centres, grid.cells], []);
        let centres = g.node("Mul", &[centres, grid.images], []);
        let centres = g.node("Div", &[centres, grid.extents], []);
        let anchors = self.anchors.iter().flatten().copied().collect();
        let anchors = Tensor::from_elements(&[self.anchors.len(), 1, 2], anchors)?;
        let anchors = g.constant(anchors.cast(dtype));
        let ratio = g.scalar(dtype, self.downsample_ratio);
        let network = g.node("Mul", &[grid.extents, ratio], []);
        let sizes = g.node("Exp", &[sizes], []);
        let sizes = g.node("Mul", &[sizes, anchors], []);
        let sizes = g.node("Mul", &[sizes, grid.images], []);
        let sizes = g.node("Div", &[sizes, network], []);
        let half = g.scalar(dtype, 0.5);
        let halves = g.node("Mul", &[sizes, half], []);
        let mut starts = g.node("Sub", &[centres, halves], []);
        let mut ends = g.node("Add", &[centres, halves], []);
        if self.clip_bbox {
            let [zero, one] = [0.0, 1.0].map(|x| g.scalar(dtype, x));
            let last = g.node("Sub", &[grid.images, one], []);
            starts = g.node("Max", &[starts, zero], []);
            ends = g.node("Min", &[ends, last], []);
        }
        Ok(g.concat(&[starts, ends], -1))
    }
}

fn axis(axis: i64) -> (&'static str, crate::graph::NodeAttr) {
    ("axis", crate::graph::NodeAttr::Int(axis))
}

impl Operator for YoloBox {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let [batch, channels, height, width] = Layout::ChannelsFirst.planar(facts.shape(self.x))?;
        let due = self.channels();
        if channels
            .known()
            .is_some_and(|channels| channels != due as i64)
            || facts.rank(self.img_size) != 2
        {
            return Err(Error::malformed(format!(
                "{channels} channels where {due} are due, or no heights and widths"
            )));
        }
        let extents = [Dim::from(self.anchors.len()), height, width];
        let count = Macs::product(&extents).and_then(|count| i64::try_from(count).ok());
        let count = count.map_or(Dim::Unknown, Dim::Known);
        let dtype = facts.dtype(self.x);
        let shape = |last: usize| vec![batch.clone(), count.clone(), Dim::from(last)];
        Ok(vec![
            Fact::new(dtype, shape(4)),
            Fact::new(dtype, shape(self.classes)),
        ])
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let mut x = g.value(self.x)?;
        let grid = self.lower_grid(g, x)?;
        let anchors = self.anchors.len() as i64;
        let overlaps = self.overlap_weight.map(|_| g.slice(x, 0, anchors, 1));
        if overlaps.is_some() {
            x = g.slice(x, anchors, i64::MAX, 1);
        }
        let classes = self.classes as i64;
        let shape = g.vector(&[0, anchors, 5 + classes, -1]);
        let x = g.node("Reshape", &[x, shape], []);
        let x = g.transpose(x, &[0, 1, 3, 2]);
        let parts = g.split(x, &[2, 2, 1, classes], -1);
        let confidence = self.lower_confidence(g, parts[2], overlaps);
        let boxes = self.lower_boxes(g, &grid, [parts[0], parts[1]])?;
        let scores = g.node("Sigmoid", &[parts[3]], []);
        let scores = g.node("Mul", &[confidence, scores], []);
        let threshold = g.scalar(grid.dtype, self.conf_thresh);
        let is_low = g.node("Less", &[confidence, threshold], []);
        let zero = g.scalar(grid.dtype, 0.0);
        Ok([(boxes, 4), (scores, classes)]
            .map(|(x, last)| {
                let x = g.node("Where", &[is_low, zero, x], []);
                let shape = g.vector(&[0, -1, last]);
                g.node("Reshape", &[x, shape], [])
            })
            .to_vec())
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        let sizes = values.integers(self.img_size)?;
        on_real!(values.get(self.x)?, x => self.run(x, &sizes))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
