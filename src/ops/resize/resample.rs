//! How resizing is lowered: to one Resize where that does what Paddle does, else to indices and
//! weights that a run computes as Paddle does.
//!
//! ONNX's Resize divides a position by `output / input`, or by the scale. Paddle multiplies it with
//! the rounded inverse. For blends the difference is one of rounding, but the nearest element may
//! be another one.

use super::interpolation::{Grid, Interpolate, Method, Target};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::ops::shared::axes::length;
use crate::tensor::{DType, Dim, Tensor};

/// The tensors and ratios of one axis, as vectors of one element.
struct AxisPlan {
    axis: usize,
    input: TensorId,
    output: TensorId,
    /// Float32.
    ratio: TensorId,
}

/// What is known of the sizes, and how a Resize would get them.
struct Sizes {
    inputs: Vec<Dim>,
    outputs: Vec<Dim>,
    /// The scales that ratios are the inverses of, where they are known.
    scales: Option<Vec<f64>>,
    target: Target,
    start: usize,
}

/// What a Resize node is told.
enum Means {
    Sizes,
    Scales(Vec<f64>),
}

pub(super) fn lower(op: &Interpolate, g: &mut Lowering<'_>) -> Result<TensorId> {
    let x = g.value(op.x)?;
    let (start, count) = op.spatial(g.rank(op.x))?;
    let target = known_scales(g, op.target(count)?, count);
    let sizes = Sizes {
        inputs: g.shape(op.x)[start..start + count].to_vec(),
        outputs: op.outputs(g)?,
        scales: match &target {
            Target::Scales(scales) => Some(scales.clone()),
            _ => None,
        },
        target,
        start,
    };
    let mut pairs = sizes.inputs.iter().zip(&sizes.outputs);
    if pairs.all(|(input, output)| input.same(output)) {
        return Ok(x);
    }
    // Types that ONNX Runtime has a Resize for.
    let resizes = match g.dtype(op.x) {
        DType::F32 | DType::F16 => true,
        DType::I32 | DType::U8 => op.method == Method::Nearest,
        _ => false,
    };
    // Nor has it one for cubic blends of images with their channels last, which it makes of this.
    let resizes = resizes && !(op.method == Method::Cubic && op.is_channels_last);
    match resize_means(op, &sizes).filter(|_| resizes) {
        Some(means) => lower_resize(op, g, x, &sizes, means),
        None => lower_by_index(op, g, x, &sizes),
    }
}

/// A constant operand with scales is as good as an attribute.
fn known_scales(g: &Lowering<'_>, target: Target, count: usize) -> Target {
    let Target::ComputedScales(id) = target else {
        return target;
    };
    let constant = g.constant_value(id).map(Tensor::to_f64_vec);
    match constant.as_deref() {
        Some([scale]) if *scale > 0.0 => Target::Scales(vec![*scale; count]),
        Some(scales) if scales.len() == count && scales.iter().all(|scale| *scale > 0.0) => {
            Target::Scales(scales.to_vec())
        }
        _ => Target::ComputedScales(id),
    }
}

/// How a Resize can be told to do the same, if it can.
fn resize_means(op: &Interpolate, sizes: &Sizes) -> Option<Means> {
    let known = |dims: &[Dim]| dims.iter().map(Dim::extent).collect::<Option<Vec<usize>>>();
    let extents = known(&sizes.inputs).zip(known(&sizes.outputs));
    if op.method == Method::Nearest {
        return nearest_means(op, sizes, extents);
    }
    // At a ratio of 0 Paddle's cubic blend takes in the elements around -½.
    let is_blend_of_one =
        op.method == Method::Cubic && op.grid == Grid::HalfPixel && may_be_one(sizes);
    let Some(scales) = &sizes.scales else {
        let is_by_size = !matches!(sizes.target, Target::ComputedScales(_));
        return (is_by_size && !is_blend_of_one).then_some(Means::Sizes);
    };
    let ratio_scales = op.ratio_scales(scales);
    match extents {
        Some(_) if is_blend_of_one => None,
        Some(_) if ratio_scales.is_none() => Some(Means::Sizes),
        Some((inputs, outputs)) => {
            let triples = inputs.iter().zip(&outputs).zip(scales);
            let mut sizes = triples.map(|((input, output), scale)| {
                (*input as f32 * *scale as f32) as usize == *output
            });
            sizes
                .all(|is_same| is_same)
                .then(|| Means::Scales(scales.clone()))
        }
        None => {
            let is_exact = scales.iter().all(|scale| has_few_digits(*scale));
            let is_same = ratio_scales.is_none() || always_resizes(scales);
            (is_exact && is_same && !is_blend_of_one && !by_sizes_alone(op))
                .then(|| Means::Scales(scales.clone()))
        }
    }
}

/// Whether an axis of more than one element may become one of one.
fn may_be_one(sizes: &Sizes) -> bool {
    let scales = sizes.scales.iter().flatten().map(Some);
    let mut axes = sizes
        .outputs
        .iter()
        .zip(scales.chain(std::iter::repeat(None)));
    axes.any(|(dim, scale)| match (dim.known(), scale) {
        (Some(extent), _) => extent == 1,
        (None, scale) => scale.is_none_or(|scale| *scale < 1.0),
    })
}

/// Whether ratios come from the sizes although a scale is given, other than in ONNX.
fn by_sizes_alone(op: &Interpolate) -> bool {
    op.grid != Grid::Corners && op.ratio_scales(()).is_none()
}

/// The same for the nearest element, which has to be the same one for each position.
fn nearest_means(
    op: &Interpolate,
    sizes: &Sizes,
    extents: Option<(Vec<usize>, Vec<usize>)>,
) -> Option<Means> {
    if op.grid != Grid::Asymmetric {
        return None;
    }
    let scales = sizes.scales.as_ref();
    if let Some((inputs, outputs)) = extents {
        let ratio_scales = scales.and_then(|scales| op.ratio_scales(scales));
        let mut axes = inputs.into_iter().zip(outputs).enumerate();
        let is_same = axes.all(|(position, (input, output))| {
            let scale = ratio_scales.map(|scales| scales[position]);
            let ratio = op.ratio(input, output, scale);
            same_elements(output, ratio, output as f32 / input as f32)
        });
        return is_same.then_some(Means::Sizes);
    }
    let scales = scales.filter(|scales| always_resizes(scales))?;
    let mut ratios = scales.iter().map(|scale| (*scale, (1.0 / scale) as f32));
    // A power of 2, or a whole number of which every multiple keeps its place.
    let is_same = ratios.all(|(scale, ratio)| {
        has_few_digits(scale)
            && (f64::from(ratio) * scale == 1.0 && has_few_digits(f64::from(ratio))
                || scale.fract() == 0.0 && same_elements(LONGEST, ratio, scale as f32))
    });
    is_same.then(|| Means::Scales(scales.clone()))
}

/// No axis is longer where positions are compared one by one.
const LONGEST: usize = 1 << 16;

/// Whether the products with a ratio lie in the same elements as the quotients by a scale.
fn same_elements(output: usize, ratio: f32, scale: f32) -> bool {
    let floor = |value: f32| value as usize;
    output <= LONGEST && (0..output).all(|k| floor(ratio * k as f32) == floor(k as f32 / scale))
}

/// Whether products with extents below 65536 are exact in float32.
fn has_few_digits(scale: f64) -> bool {
    let single = scale as f32;
    f64::from(single) == scale && single.to_bits() & 0xFFFF == 0
}

/// Whether there is no image that keeps its size, which Paddle copies, and is resized by ONNX.
fn always_resizes(scales: &[f64]) -> bool {
    scales.iter().any(|scale| *scale >= 2.0 || *scale < 1.0)
        // An axis of one element, which all of the result is then made of.
        || scales.iter().all(|scale| *scale == 1.0 || *scale >= 1.5)
}

fn lower_resize(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &Sizes,
    means: Means,
) -> Result<TensorId> {
    let rank = g.rank(op.x);
    let (to_first, to_last) = if op.is_channels_last {
        let to_first: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        let to_last: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
        (to_first, to_last)
    } else {
        ((0..rank).collect(), (0..rank).collect())
    };
    let x = g.transpose(x, &to_first);
    let (mode, nearest_mode) = match op.method {
        Method::Nearest => ("nearest", Some("floor")),
        Method::Linear => ("linear", None),
        Method::Cubic => ("cubic", None),
    };
    let grid = match op.grid {
        Grid::Corners => "align_corners",
        // This one takes the first element where the output has but one, as Paddle does.
        Grid::HalfPixel if op.takes_first && may_be_one(sizes) => "pytorch_half_pixel",
        Grid::HalfPixel => "half_pixel",
        Grid::Asymmetric => "asymmetric",
    };
    let mut attrs = vec![
        ("mode", NodeAttr::String(mode)),
        ("coordinate_transformation_mode", NodeAttr::String(grid)),
    ];
    attrs.extend(nearest_mode.map(|mode| ("nearest_mode", NodeAttr::String(mode))));
    let (scales, extents) = match means {
        Means::Scales(scales) => {
            let scales = scales.into_iter().map(|scale| scale as f32);
            let scales = [1.0, 1.0].into_iter().chain(scales).collect();
            (Some(g.constant(Tensor::vector::<f32>(scales))), None)
        }
        Means::Sizes => {
            let kept = g.shape_slice(x, 0, 2);
            let sizes = match (g.dims(&sizes.outputs), &sizes.target) {
                (Some(sizes), _) => sizes,
                (None, Target::Computed(size)) => g.int_array(*size)?,
                (None, _) => return Err(Error::internal("a Resize without a size")),
            };
            (None, Some(g.concat(&[kept, sizes], 0)))
        }
    };
    let y = g.resize(x, scales, extents, attrs);
    Ok(g.transpose(y, &to_last))
}

fn lower_by_index(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &Sizes,
) -> Result<TensorId> {
    let plan = axis_plans(op, g, x, sizes)?;
    let (dtype, rank) = (g.dtype(op.x), g.rank(op.x));
    let mut y = x;
    for axis in plan {
        let position = position(op, g, &axis);
        y = match op.method {
            Method::Nearest => {
                let index = g.cast(position, DType::F64, DType::I64);
                gather(g, y, index, axis.axis)
            }
            Method::Linear => blend_linear(g, y, (dtype, rank), &axis, position),
            Method::Cubic => blend_cubic(g, y, (dtype, rank), &axis, position),
        };
    }
    Ok(y)
}

fn gather(g: &mut Lowering<'_>, x: TensorId, index: TensorId, axis: usize) -> TensorId {
    g.node(
        "Gather",
        &[x, index],
        [("axis", NodeAttr::Int(axis as i64))],
    )
}

/// The extents and ratios of each axis.
fn axis_plans(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &Sizes,
) -> Result<Vec<AxisPlan>> {
    let scales = scales_of_run(g, &sizes.target, sizes.inputs.len())?;
    let sizes_of_run = match sizes.target {
        Target::Computed(size) => Some(g.int_array(size)?),
        _ => None,
    };
    let mut plans = Vec::new();
    for (position, (input, output)) in sizes.inputs.iter().zip(&sizes.outputs).enumerate() {
        let axis = sizes.start + position;
        let scale = scales.get(position).copied();
        let input = match input {
            Dim::Known(extent) => g.vector(&[*extent]),
            _ => g.shape_slice(x, axis as i64, axis as i64 + 1),
        };
        let output = match (output, sizes_of_run, scale) {
            (Dim::Known(extent), ..) => g.vector(&[*extent]),
            (_, Some(sizes), _) => g.slice(sizes, position as i64, position as i64 + 1, 0),
            (_, None, Some(scale)) => scaled(op, g, input, scale),
            (_, None, None) => return Err(Error::internal("a size that nobody knows")),
        };
        let scale = scale.and_then(|scale| op.ratio_scales(scale));
        let ratio = ratio(op, g, input, output, scale);
        plans.push(AxisPlan {
            axis,
            input,
            output,
            ratio,
        });
    }
    if op.ratio_scales(()).is_some() && !scales.is_empty() {
        keep_unchanged(g, &mut plans);
    }
    Ok(plans)
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Known(f64),
    /// A vector of one float32.
    Computed(TensorId),
}

/// The scale of each axis; none if there are only sizes.
fn scales_of_run(g: &mut Lowering<'_>, target: &Target, count: usize) -> Result<Vec<Scale>> {
    match target {
        Target::Scales(scales) => Ok(scales.iter().copied().map(Scale::Known).collect()),
        Target::ComputedScales(id) => {
            let dtype = g.dtype(*id);
            let given = length(g, *id)?;
            let vector = g.value(*id)?;
            let vector = g.cast(vector, dtype, DType::F32);
            let vector = if g.rank(*id) == 0 {
                g.unsqueeze(vector, &[0])
            } else {
                vector
            };
            if given != 1 && given != count {
                let message = format!("{given} scales for {count} axes");
                return Err(Error::malformed(message));
            }
            let parts = (0..count as i64).map(|axis| {
                if given == 1 {
                    vector
                } else {
                    g.slice(vector, axis, axis + 1, 0)
                }
            });
            Ok(parts.map(Scale::Computed).collect())
        }
        Target::Computed(_) | Target::Sizes(_) => Ok(Vec::new()),
    }
}

/// The whole part of an extent times a scale.
fn scaled(op: &Interpolate, g: &mut Lowering<'_>, input: TensorId, scale: Scale) -> TensorId {
    let is_single = match scale {
        Scale::Known(scale) => op.is_single || has_few_digits(scale),
        Scale::Computed(_) => op.is_single,
    };
    let dtype = if is_single { DType::F32 } else { DType::F64 };
    let scale = match scale {
        Scale::Known(scale) => g.constant(Tensor::vector(vec![scale]).cast(dtype)),
        Scale::Computed(scale) => g.cast(scale, DType::F32, dtype),
    };
    let input = g.cast(input, DType::I64, dtype);
    let product = g.node("Mul", &[input, scale], []);
    g.cast(product, dtype, DType::I64)
}

/// The float32 with which positions are multiplied.
fn ratio(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    input: TensorId,
    output: TensorId,
    scale: Option<Scale>,
) -> TensorId {
    let one = g.vector(&[1]);
    let ratio = match scale {
        Some(Scale::Known(scale)) => g.constant(Tensor::vector(vec![(1.0 / scale) as f32])),
        Some(Scale::Computed(scale)) => {
            let scale = g.cast(scale, DType::F32, DType::F64);
            let one = g.scalar(DType::F64, 1.0);
            let inverse = g.node("Div", &[one, scale], []);
            g.cast(inverse, DType::F64, DType::F32)
        }
        None => {
            let mut extents = [input, output];
            if op.grid == Grid::Corners {
                extents = extents.map(|extent| g.node("Sub", &[extent, one], []));
            }
            let extents = extents.map(|extent| g.cast(extent, DType::I64, DType::F32));
            g.node("Div", &extents, [])
        }
    };
    if op.grid == Grid::Asymmetric || !op.takes_first {
        // Of one element, the position is 0 with any ratio.
        return ratio;
    }
    let is_many = g.node("Greater", &[output, one], []);
    let zero = g.scalar(DType::F32, 0.0);
    g.node("Where", &[is_many, ratio, zero], [])
}

/// Where no extent changes, the result is the operand, whatever the scales.
fn keep_unchanged(g: &mut Lowering<'_>, plans: &mut [AxisPlan]) {
    let join = |g: &mut Lowering<'_>, extents: Vec<TensorId>| g.concat(&extents, 0);
    let inputs = join(g, plans.iter().map(|plan| plan.input).collect());
    let outputs = join(g, plans.iter().map(|plan| plan.output).collect());
    let difference = g.node("Sub", &[inputs, outputs], []);
    let difference = g.node("Abs", &[difference], []);
    let difference = g.reduce("ReduceSum", difference, &[0], true);
    let zero = g.vector(&[0]);
    let is_unchanged = g.node("Equal", &[difference, zero], []);
    let one = g.scalar(DType::F32, 1.0);
    for plan in plans {
        plan.ratio = g.node("Where", &[is_unchanged, one, plan.ratio], []);
    }
}

/// Where each element of the output lies, as float64. For the nearest, its whole part counts.
fn position(op: &Interpolate, g: &mut Lowering<'_>, axis: &AxisPlan) -> TensorId {
    let (zero, one) = (g.scalar(DType::I64, 0.0), g.scalar(DType::I64, 1.0));
    let count = g.squeeze(axis.output, &[0]);
    let k = g.node("Range", &[zero, count, one], []);
    let half = g.scalar(DType::F64, 0.5);
    if op.grid == Grid::HalfPixel {
        let k = g.cast(k, DType::I64, DType::F64);
        let ratio = g.cast(axis.ratio, DType::F32, DType::F64);
        let centre = g.node("Add", &[k, half], []);
        let scaled = g.node("Mul", &[centre, ratio], []);
        return g.node("Sub", &[scaled, half], []);
    }
    let k = g.cast(k, DType::I64, DType::F32);
    let scaled = g.node("Mul", &[k, axis.ratio], []);
    let position = g.cast(scaled, DType::F32, DType::F64);
    if op.grid == Grid::Corners && op.method == Method::Nearest {
        return g.node("Add", &[position, half], []);
    }
    position
}

/// The elements at float64 positions, times weights that belong to them.
fn weighted(
    g: &mut Lowering<'_>,
    x: TensorId,
    (dtype, rank): (DType, usize),
    axis: usize,
    index: TensorId,
    weight: TensorId,
) -> TensorId {
    let index = g.cast(index, DType::F64, DType::I64);
    let elements = gather(g, x, index, axis);
    let weight = g.cast(weight, DType::F64, dtype);
    let behind: Vec<i64> = (1..(rank - axis) as i64).collect();
    let weight = g.unsqueeze(weight, &behind);
    g.node("Mul", &[elements, weight], [])
}

fn last_index(g: &mut Lowering<'_>, axis: &AxisPlan) -> TensorId {
    let one = g.vector(&[1]);
    let last = g.node("Sub", &[axis.input, one], []);
    g.cast(last, DType::I64, DType::F64)
}

fn blend_linear(
    g: &mut Lowering<'_>,
    x: TensorId,
    ty: (DType, usize),
    axis: &AxisPlan,
    position: TensorId,
) -> TensorId {
    let (zero, one) = (g.scalar(DType::F64, 0.0), g.scalar(DType::F64, 1.0));
    let last = last_index(g, axis);
    let position = g.node("Max", &[position, zero], []);
    let first = g.node("Floor", &[position], []);
    let second = g.node("Add", &[first, one], []);
    let second = g.node("Min", &[second, last], []);
    let share = g.node("Sub", &[position, first], []);
    let rest = g.node("Sub", &[one, share], []);
    let first = weighted(g, x, ty, axis.axis, first, rest);
    let second = weighted(g, x, ty, axis.axis, second, share);
    g.node("Add", &[first, second], [])
}

fn blend_cubic(
    g: &mut Lowering<'_>,
    x: TensorId,
    ty: (DType, usize),
    axis: &AxisPlan,
    position: TensorId,
) -> TensorId {
    // The weight of each element, as a polynomial of the share, from the highest power on.
    const WEIGHTS: [(f64, [f64; 4]); 4] = [
        (-1.0, [-0.75, 1.5, -0.75, 0.0]),
        (0.0, [1.25, -2.25, 0.0, 1.0]),
        (1.0, [-1.25, 1.5, 0.75, 0.0]),
        (2.0, [0.75, -0.75, 0.0, 0.0]),
    ];
    let zero = g.scalar(DType::F64, 0.0);
    let last = last_index(g, axis);
    let floor = g.node("Floor", &[position], []);
    let share = g.node("Sub", &[position, floor], []);
    let terms = WEIGHTS.map(|(offset, [highest, others @ ..])| {
        let offset = g.scalar(DType::F64, offset);
        let index = g.node("Add", &[floor, offset], []);
        let index = g.node("Max", &[index, zero], []);
        let index = g.node("Min", &[index, last], []);
        let highest = g.scalar(DType::F64, highest);
        let weight = others.into_iter().fold(highest, |value, coefficient| {
            let product = g.node("Mul", &[value, share], []);
            let coefficient = g.scalar(DType::F64, coefficient);
            g.node("Add", &[product, coefficient], [])
        });
        weighted(g, x, ty, axis.axis, index, weight)
    });
    g.node("Sum", &terms, [])
}
