//! Boxes around the places of a grid, which depend on its extents alone: `prior_box`, `density_prior_box` and
//! `anchor_generator`.
//!
//! Paddle: `phi/kernels/cpu/prior_box_kernel.cc`, and `density_prior_box_op.h` and `anchor_generator_op.h` in
//! `fluid/operators/detection/`. ONNX: a constant, or Range and arithmetic where extents are open.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, on_real};
use crate::operator::{
    Accuracy, Arg, Binding, Form, Macs, OpDef, OpReader, Operator, Parsed, Values,
};
use crate::ops::shared::image::Layout;
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{self, F32, F64, I64};
use crate::tensor::{Array, Dim, Element, Tensor, refuse_too_large};

const IMAGE: &[Binding] = &[Binding::Slot("Input"), Binding::Slot("Image")];

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "prior_box",
        &[Arg::Tensor("input"), Arg::Tensor("image")],
        &[Form::legacy(&["prior_box"], IMAGE, &["Boxes", "Variances"])],
        Priors::parse_plain,
    )
    .with_results(&["out", "var"])
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Rounded),
    OpDef::new(
        "density_prior_box",
        &[Arg::Tensor("input"), Arg::Tensor("image")],
        &[Form::legacy(
            &["density_prior_box"],
            IMAGE,
            &["Boxes", "Variances"],
        )],
        Priors::parse_dense,
    )
    .with_results(&["out", "var"])
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Rounded)
    .with_limits(&["steps that depend on open extents of density_prior_box"]),
    OpDef::new(
        "anchor_generator",
        &[Arg::Tensor("input")],
        &[Form::legacy(
            &["anchor_generator"],
            &[Binding::Slot("Input")],
            &["Anchors", "Variances"],
        )],
        Priors::parse_anchors,
    )
    .with_results(&["anchors", "variances"])
    .with_dtypes(&[F32, F64])
    .with_accuracy(Accuracy::Rounded),
];

/// The boxes `[h, w, priors, 4]` around the places of `input` (`[n, c, h, w]`), and as many `variances`.
struct Priors {
    input: ValueId,
    /// If given, `[n, c, height, width]`: the boxes are in parts of these extents.
    image: Option<ValueId>,
    /// The distances of places along the width and the height. 0 for the extent of the image divided by that of the grid.
    steps: [f64; 2],
    /// Where the first place is: parts of a step, and a distance.
    offset: f64,
    start: [f64; 2],
    /// What is put around each place.
    shapes: Shapes,
    variances: Vec<f64>,
    clip: Clip,
    /// Whether the results are matrices, `[h · w · priors, 4]`.
    is_flat: bool,
}

/// The boxes around each place.
enum Shapes {
    /// By their widths and heights.
    Sizes(Vec<[f64; 2]>),
    /// By the number of boxes along an axis, the distance between which depends on the steps, and their sizes.
    Dense(Vec<(i64, [f64; 2])>),
}

/// Which sides are moved into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clip {
    None,
    /// The left and top sides that are below 0, and the right and bottom sides that are above 1.
    Outer,
    /// All.
    All,
}

/// The aspect ratios of `prior_box`: 1, and those that differ from it and each other, with their inverses if it flips.
fn ratios(given: &[f64], flip: bool) -> Vec<f64> {
    let mut ratios = vec![1.0_f64];
    for ratio in given {
        if ratios.iter().all(|known| (ratio - known).abs() >= 1e-6) {
            ratios.push(*ratio);
            if flip {
                ratios.push(f64::from(1.0 / *ratio as f32));
            }
        }
    }
    ratios
}

impl Priors {
    fn parse_plain(op: &mut OpReader<'_>) -> Parsed {
        let least: Vec<f64> = op.attr("min_sizes")?;
        let most: Vec<f64> = op.attr_or("max_sizes", Vec::new())?;
        let given: Vec<f64> = op.attr_or("aspect_ratios", vec![1.0])?;
        let ratios = ratios(&given, op.attr_or("flip", true)?);
        let squares_first = op.attr_or("min_max_aspect_ratios_order", false)?;
        if !most.is_empty() && most.len() != least.len() {
            return Err(Error::malformed(format!("sizes {least:?} up to {most:?}")));
        }
        let mut sizes = Vec::new();
        for (number, size) in least.iter().enumerate() {
            let square = most.get(number).map(|most| [(size * most).sqrt(); 2]);
            let of_ratio = |ratio: &f64| [size * ratio.sqrt(), size / ratio.sqrt()];
            if squares_first {
                sizes.push([*size; 2]);
                sizes.extend(square);
                let others = ratios.iter().filter(|ratio| (**ratio - 1.0).abs() >= 1e-6);
                sizes.extend(others.map(of_ratio));
            } else {
                sizes.extend(ratios.iter().map(of_ratio));
                sizes.extend(square);
            }
        }
        let clip = op.attr_or("clip", true)?;
        Self::parse_common(
            op,
            Shapes::Sizes(sizes),
            if clip { Clip::All } else { Clip::None },
        )
    }

    fn parse_dense(op: &mut OpReader<'_>) -> Parsed {
        let sizes: Vec<f64> = op.attr("fixed_sizes")?;
        let ratios: Vec<f64> = op.attr("fixed_ratios")?;
        let densities: Vec<i64> = op.attr("densities")?;
        if sizes.len() != densities.len() || densities.iter().any(|density| *density < 1) {
            return Err(Error::malformed(format!(
                "sizes {sizes:?} of densities {densities:?}"
            )));
        }
        let mut shapes = Vec::new();
        for (size, density) in sizes.iter().zip(densities) {
            let of_ratio = |ratio: &f64| (density, [size * ratio.sqrt(), size / ratio.sqrt()]);
            shapes.extend(ratios.iter().map(of_ratio));
        }
        let clip = op.attr_or("clip", true)?;
        let clip = if clip { Clip::All } else { Clip::Outer };
        Self::parse_common(op, Shapes::Dense(shapes), clip)
    }

    fn parse_common(op: &mut OpReader<'_>, shapes: Shapes, clip: Clip) -> Parsed {
        let steps = [op.attr_or("step_w", 0.0)?, op.attr_or("step_h", 0.0)?];
        Ok(Box::new(Self {
            input: op.operand("input")?,
            image: Some(op.operand("image")?),
            steps: if steps.contains(&0.0) {
                [0.0; 2]
            } else {
                steps
            },
            offset: op.attr_or("offset", 0.5)?,
            start: [0.0; 2],
            shapes,
            variances: variances(op)?,
            clip,
            is_flat: op.attr_or("flatten_to_2d", false)?,
        }))
    }

    fn parse_anchors(op: &mut OpReader<'_>) -> Parsed {
        let sizes: Vec<f64> = op.attr("anchor_sizes")?;
        let ratios: Vec<f64> = op.attr("aspect_ratios")?;
        let steps: Vec<f64> = op.attr("stride")?;
        let &[width, height] = steps.as_slice() else {
            return Err(Error::malformed(format!("a stride of {steps:?}")));
        };
        let offset: f64 = op.attr_or("offset", 0.5)?;
        let mut shapes = Vec::new();
        for ratio in &ratios {
            let base = (width * height / ratio).sqrt().round();
            let bases = [base, (base * ratio).round()];
            for size in &sizes {
                shapes.push([
                    size / width * bases[0] - 1.0,
                    size / height * bases[1] - 1.0,
                ]);
            }
        }
        Ok(Box::new(Self {
            input: op.operand("input")?,
            image: None,
            steps: [width, height],
            offset: 0.0,
            start: [offset * (width - 1.0), offset * (height - 1.0)],
            shapes: Shapes::Sizes(shapes),
            variances: variances(op)?,
            clip: Clip::None,
            is_flat: false,
        }))
    }

    /// The number of boxes around each place.
    fn count(&self) -> usize {
        match &self.shapes {
            Shapes::Sizes(sizes) => sizes.len(),
            Shapes::Dense(shapes) => shapes
                .iter()
                .map(|(density, _)| (density * density) as usize)
                .sum(),
        }
    }

    /// The sides of each box, seen from its place, with these steps.
    fn sides(&self, steps: [f64; 2]) -> Vec<[f64; 4]> {
        let around = |[x, y]: [f64; 2], [width, height]: [f64; 2]| {
            [
                x - width / 2.0,
                y - height / 2.0,
                x + width / 2.0,
                y + height / 2.0,
            ]
        };
        match &self.shapes {
            Shapes::Sizes(sizes) => sizes.iter().map(|size| around([0.0; 2], *size)).collect(),
            Shapes::Dense(shapes) => {
                // Whole numbers, as in Paddle.
                let mean = ((steps[0] + steps[1]) * 0.5) as i64;
                let mut sides = Vec::new();
                for (density, size) in shapes {
                    let shift = mean / density;
                    let at = |number: i64| (shift - mean) as f64 / 2.0 + (number * shift) as f64;
                    for place in 0..density * density {
                        sides.push(around([at(place % density), at(place / density)], *size));
                    }
                }
                sides
            }
        }
    }

    /// The boxes of a grid of these extents, in an image of these, in row-major order.
    fn boxes<T: Real>(&self, grid: [usize; 2], image: Option<[usize; 2]>) -> Vec<T> {
        let real = |x: f64| T::from_f64(x);
        let steps = [0, 1].map(|axis| match (self.steps[axis], image) {
            (0.0, Some(image)) => real(image[axis] as f64) / real(grid[axis] as f64),
            (step, _) => real(step),
        });
        let sides = self.sides(steps.map(Element::to_f64));
        let mut boxes = Vec::with_capacity(grid[0] * grid[1] * sides.len() * 4);
        for place in 0..grid[0] * grid[1] {
            let cell = [place % grid[0], place / grid[0]];
            let centre = [0, 1].map(|axis| {
                (real(cell[axis] as f64) + real(self.offset)) * steps[axis] + real(self.start[axis])
            });
            for sides in &sides {
                for (side, distance) in sides.iter().enumerate() {
                    let mut position = centre[side % 2] + real(*distance);
                    if let Some(image) = image {
                        position = position / real(image[side % 2] as f64);
                    }
                    boxes.push(self.clip(position, side < 2));
                }
            }
        }
        boxes
    }

    fn clip<T: Real>(&self, position: T, is_start: bool) -> T {
        match (self.clip, is_start) {
            (Clip::None, _) => position,
            (Clip::Outer, true) => position.max(T::zero()),
            (Clip::Outer, false) => position.min(T::one()),
            (Clip::All, _) => position.max(T::zero()).min(T::one()),
        }
    }

    /// The shape of the results for a grid of this width and height.
    fn shape(&self, [width, height]: [Dim; 2], last: usize) -> Vec<Dim> {
        let shape = vec![height, width, Dim::from(self.count())];
        let last = Dim::from(last);
        if !self.is_flat {
            return [shape, vec![last]].concat();
        }
        let count = Macs::product(&shape).and_then(|count| i64::try_from(count).ok());
        vec![count.map_or(Dim::Unknown, Dim::Known), last]
    }

    fn run<T: Real>(&self, values: &Values<'_>, input: &Array<T>) -> Result<Vec<Tensor>> {
        let extents = |shape: &[usize]| -> Result<[usize; 2]> {
            let [_, _, height, width] = Layout::ChannelsFirst.planar(shape)?;
            Ok([width, height])
        };
        let grid = extents(input.shape())?;
        let image = self.image.map(|id| extents(values.get(id)?.shape()));
        let image = image.transpose()?;
        refuse_too_large(&[grid[0], grid[1], self.count(), 4])?;
        let of = |last: usize| -> Result<Vec<usize>> {
            let shape = self.shape(grid.map(Dim::from), last);
            let shape: Option<Vec<usize>> = shape.iter().map(Dim::extent).collect();
            shape.ok_or_else(|| Error::invalid("too many boxes"))
        };
        let variances = self.variances.iter().map(|x| T::from_f64(*x));
        let all = grid[0] * grid[1] * self.count();
        let repeated = variances.cycle().take(all * self.variances.len()).collect();
        Ok(vec![
            Tensor::from_elements(&of(4)?, self.boxes::<T>(grid, image))?,
            Tensor::from_elements(&of(self.variances.len())?, repeated)?,
        ])
    }
}

fn variances(op: &mut OpReader<'_>) -> Result<Vec<f64>> {
    op.attr_or("variances", vec![0.1, 0.1, 0.2, 0.2])
}

impl Priors {
    /// The extents of the grid and, if there is one, of the image, each the width and the height.
    fn extents(&self, facts: &Facts<'_>) -> Result<([Dim; 2], Option<[Dim; 2]>)> {
        let of = |id: ValueId| -> Result<[Dim; 2]> {
            let [_, _, height, width] = Layout::ChannelsFirst.planar(facts.shape(id))?;
            Ok([width, height])
        };
        Ok((of(self.input)?, self.image.map(of).transpose()?))
    }

    /// Emits the boxes of a grid with open extents.
    fn lower_boxes(&self, g: &mut Lowering<'_>, dtype: DType) -> Result<TensorId> {
        let is_fixed = !self.steps.contains(&0.0);
        if !is_fixed && matches!(self.shapes, Shapes::Dense(_)) {
            return Err(Error::unsupported(
                "a density_prior_box whose boxes are as far apart as open extents say; `step_w` and `step_h` help",
            ));
        }
        let sides = self.sides(self.steps).into_iter().flatten().collect();
        let sides = Tensor::from_elements(&[1, 1, self.count(), 4], sides)?;
        let sides = g.constant(sides.cast(dtype));
        let grid = extents_of(g, self.input, dtype)?;
        let image = self
            .image
            .map(|image| extents_of(g, image, dtype))
            .transpose()?;
        let mut centres = Vec::new();
        for axis in 0..2 {
            let step = match image {
                Some(image) if !is_fixed => g.node("Div", &[image[axis].1, grid[axis].1], []),
                _ => g.scalar(dtype, self.steps[axis]),
            };
            let places = g.count_up(grid[axis].0);
            let places = g.cast(places, I64, dtype);
            let [offset, start] = [self.offset, self.start[axis]].map(|x| g.scalar(dtype, x));
            let places = g.node("Add", &[places, offset], []);
            let places = g.node("Mul", &[places, step], []);
            centres.push(g.node("Add", &[places, start], []));
        }
        let across = g.unsqueeze(centres[0], &[0, 2, 3]);
        let down = g.unsqueeze(centres[1], &[1, 2, 3]);
        let parts = g.split(sides, &[1; 4], 3);
        let mut positions = Vec::new();
        for (side, part) in parts.into_iter().enumerate() {
            let centre = if side % 2 == 0 { across } else { down };
            let mut position = g.node("Add", &[centre, part], []);
            if let Some(image) = image {
                position = g.node("Div", &[position, image[side % 2].1], []);
            }
            positions.push(self.lower_clip(g, position, dtype, side < 2));
        }
        // The left side has no rows yet, nor has the top one columns.
        let shape = [grid[1].0, grid[0].0, g.vector(&[self.count() as i64, 1])];
        let shape = g.concat(&shape, 0);
        let positions: Vec<TensorId> = positions
            .into_iter()
            .map(|position| g.node("Expand", &[position, shape], []))
            .collect();
        Ok(g.concat(&positions, 3))
    }

    fn lower_clip(
        &self,
        g: &mut Lowering<'_>,
        mut position: TensorId,
        dtype: DType,
        is_start: bool,
    ) -> TensorId {
        if self.clip == Clip::All || self.clip == Clip::Outer && is_start {
            let zero = g.scalar(dtype, 0.0);
            position = g.node("Max", &[position, zero], []);
        }
        if self.clip == Clip::All || self.clip == Clip::Outer && !is_start {
            let one = g.scalar(dtype, 1.0);
            position = g.node("Min", &[position, one], []);
        }
        position
    }

    /// Emits both results where extents are open.
    fn lower_open(&self, g: &mut Lowering<'_>, dtype: DType) -> Result<Vec<TensorId>> {
        let boxes = self.lower_boxes(g, dtype)?;
        let variances = Tensor::vector(self.variances.clone()).cast(dtype);
        let variances = g.constant(variances);
        let shape = g.shape_slice(boxes, 0, 3);
        let last = g.vector(&[self.variances.len() as i64]);
        let shape = g.concat(&[shape, last], 0);
        let variances = g.node("Expand", &[variances, shape], []);
        if !self.is_flat {
            return Ok(vec![boxes, variances]);
        }
        let flat = [(boxes, 4), (variances, self.variances.len())];
        Ok(flat
            .map(|(x, last)| {
                let shape = g.vector(&[-1, last as i64]);
                g.node("Reshape", &[x, shape], [])
            })
            .to_vec())
    }
}

/// Emits the width and the height of images, each as a vector of one element, and as a number.
fn extents_of(
    g: &mut Lowering<'_>,
    id: ValueId,
    dtype: DType,
) -> Result<[(TensorId, TensorId); 2]> {
    let x = g.value(id)?;
    Ok([3, 2].map(|axis| {
        let extent = g.shape_slice(x, axis, axis + 1);
        (extent, g.cast(extent, I64, dtype))
    }))
}

impl Operator for Priors {
    fn infer(&self, facts: &Facts<'_>) -> Result<Vec<Fact>> {
        let (grid, _) = self.extents(facts)?;
        let dtype = facts.dtype(self.input);
        let lasts = [4, self.variances.len()];
        let results = lasts.map(|last| Fact::new(dtype, self.shape(grid.clone(), last)));
        Ok(results.to_vec())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<Vec<TensorId>> {
        let dtype = g.dtype(self.input);
        let (grid, image) = self.extents(g)?;
        let known = |dims: &[Dim; 2]| Some([dims[0].extent()?, dims[1].extent()?]);
        let image = image.as_ref().map(known);
        let (Some(sizes), false) = (known(&grid), image == Some(None)) else {
            return self.lower_open(g, dtype);
        };
        refuse_too_large(&[sizes[0], sizes[1], self.count(), 4])?;
        let boxes = self.boxes::<f64>(sizes, image.flatten());
        let all = sizes[0] * sizes[1] * self.count();
        let variances = self
            .variances
            .iter()
            .cycle()
            .take(all * self.variances.len());
        let results = [boxes, variances.copied().collect()];
        let lasts = [4, self.variances.len()];
        let mut tensors = Vec::new();
        for (elements, last) in results.into_iter().zip(lasts) {
            let shape = self.shape(grid.clone(), last);
            let shape: Vec<usize> = shape.iter().filter_map(Dim::extent).collect();
            let tensor = Tensor::from_elements(&shape, elements)?;
            tensors.push(g.constant(tensor.cast(dtype)));
        }
        Ok(tensors)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Vec<Tensor>> {
        on_real!(values.get(self.input)?, input => self.run(values, input))
    }

    fn macs(&self, _: &Facts<'_>) -> Macs {
        Macs::None
    }
}
