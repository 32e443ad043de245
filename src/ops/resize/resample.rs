//! How resizing is lowered: to one Resize where that does what Paddle does, else to Gather and weighted sums, with
//! indices and weights that are computed in the run as Paddle does.
//!
//! ONNX's Resize divides a position by `output / input`, or by the scale. Paddle multiplies it by the inverse, rounded
//! to float32. Interpolated elements differ by no more than rounding, but the nearest element may be another one.

use super::interpolation::{Grid, Interpolate, Method, Target};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::ops::shared::axes::length;
use crate::tensor::{DType, Dim, Tensor};

/// The extents and the ratio of an axis that is resized, as vectors of one element.
struct AxisTensors {
    axis: usize,
    /// The extent of the input, int64.
    input: TensorId,
    /// The extent of the result, int64.
    output: TensorId,
    /// See [`Interpolate`]; float32.
    ratio: TensorId,
}

/// What is known of the extents before a run, of the spatial axes where nothing else is said.
struct ResizeExtents {
    /// Those of the batch and of the channels, which are kept.
    kept: [Dim; 2],
    inputs: Vec<Dim>,
    outputs: Vec<Dim>,
    /// The scales that are asked for, where they are known.
    scales: Option<Vec<f64>>,
    /// What states the extents of the result.
    target: Target,
    /// The first spatial axis.
    start: usize,
}

/// Which operand states the extents of a Resize.
enum Means {
    Sizes,
    Scales(Vec<f64>),
}

/// Emits a resize.
pub(super) fn lower(op: &Interpolate, g: &mut Lowering<'_>) -> Result<TensorId> {
    let x = g.value(op.x)?;
    let (start, count) = op.spatial(g.rank(op.x))?;
    let target = known_scales(g, op.target(count)?, count);
    let sizes = ResizeExtents {
        kept: kept_extents(op, g),
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
    // The element types that ONNX Runtime has a kernel of Resize for.
    let resizes = match g.dtype(op.x) {
        DType::F32 | DType::F16 => true,
        DType::I32 | DType::U8 => op.method == Method::Nearest,
        _ => false,
    };
    // It makes a cubic Resize between transposes one of channels last, of which it has no kernel either.
    let resizes = resizes && !(op.method == Method::Cubic && op.is_channels_last);
    let is_open = sizes.kept.iter().any(|dim| dim.known().is_none());
    let means = resize_means(op, &sizes).map(|means| match means {
        // Before opset 11, there are no extents for it, and those of axes that are kept would have to be computed.
        Means::Sizes if is_open || g.opset() < 11 => {
            exact_scales(op, &sizes).map_or(means, Means::Scales)
        }
        means => means,
    });
    match means.filter(|_| resizes) {
        Some(means) => lower_resize(op, g, x, &sizes, means),
        None => lower_by_index(op, g, x, &sizes),
    }
}

/// Takes a constant operand of scales for an attribute.
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

/// The operand with which a Resize does what Paddle does, if it can.
fn resize_means(op: &Interpolate, sizes: &ResizeExtents) -> Option<Means> {
    let known = |dims: &[Dim]| dims.iter().map(Dim::extent).collect::<Option<Vec<usize>>>();
    let extents = known(&sizes.inputs).zip(known(&sizes.outputs));
    if op.method == Method::Nearest {
        return nearest_means(op, sizes, extents);
    }
    // For a result of one element, Paddle's ratio is 0, and its cubic interpolation is that at position -½.
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

/// The scales that lead to known extents, and to the same elements, if float32 has such.
fn exact_scales(op: &Interpolate, sizes: &ResizeExtents) -> Option<Vec<f64>> {
    let given = sizes.scales.as_ref();
    let given = given.and_then(|scales| op.ratio_scales(scales));
    let mut axes = sizes.inputs.iter().zip(&sizes.outputs).enumerate();
    axes.try_fold(Vec::new(), |mut scales, (axis, (input, output))| {
        let (input, output) = (input.extent()?, output.extent()?);
        let ratio = op.ratio::<f32>(input, output, given.map(|given| given[axis]));
        let quotient = output as f32 / input as f32;
        // Readers multiply in float32 or in float64.
        let is_exact = |scale: f32| {
            (input as f32 * scale) as usize == output
                && (input as f64 * f64::from(scale)) as usize == output
                && (op.method != Method::Nearest || same_elements(output, ratio, scale))
        };
        let mut candidates = [quotient, quotient.next_up()].into_iter();
        scales.push(f64::from(candidates.find(|scale| is_exact(*scale))?));
        Some(scales)
    })
}

/// Whether a resized axis has one element in the result, or may have as the scale is not known to be 1 or more.
fn may_be_one(sizes: &ResizeExtents) -> bool {
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

/// Whether ratios come from extents even where a scale is given, while a Resize by scale takes them from the scale.
fn by_sizes_alone(op: &Interpolate) -> bool {
    op.grid != Grid::Corners && op.ratio_scales(()).is_none()
}

/// As [`resize_means`], for the nearest element, which has to be the same one at each position.
fn nearest_means(
    op: &Interpolate,
    sizes: &ResizeExtents,
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
            let ratio = op.ratio::<f32>(input, output, scale);
            same_elements(output, ratio, output as f32 / input as f32)
        });
        return is_same.then_some(Means::Sizes);
    }
    let scales = scales.filter(|scales| always_resizes(scales))?;
    let mut ratios = scales.iter().map(|scale| (*scale, (1.0 / scale) as f32));
    // Either the inverse is exact, as of a power of 2, or the scale is an integer by which multiplication and
    // division lead to the same element everywhere.
    let is_same = ratios.all(|(scale, ratio)| {
        has_few_digits(scale)
            && (f64::from(ratio) * scale == 1.0 && has_few_digits(f64::from(ratio))
                || scale.fract() == 0.0 && same_elements(LONGEST, ratio, scale as f32))
    });
    is_same.then(|| Means::Scales(scales.clone()))
}

/// The longest axis along which positions are compared one by one.
const LONGEST: usize = 1 << 16;

/// Whether the products of all indices with a ratio have the same integer parts as their quotients by a scale.
fn same_elements(output: usize, ratio: f32, scale: f32) -> bool {
    let floor = |value: f32| value as usize;
    output <= LONGEST && (0..output).all(|k| floor(ratio * k as f32) == floor(k as f32 / scale))
}

/// Whether the products of a scale and extents below 65536 are exact in float32.
fn has_few_digits(scale: f64) -> bool {
    let single = scale as f32;
    f64::from(single) == scale && single.to_bits() & 0xFFFF == 0
}

/// Whether a Resize is right for inputs that keep their extents, which Paddle copies whatever the scales.
fn always_resizes(scales: &[f64]) -> bool {
    // No input keeps all of its extents,
    scales.iter().any(|scale| *scale >= 2.0 || *scale < 1.0)
        // or an axis that keeps its extent has a scale of 1, or one element, of which all of the result is made.
        || scales.iter().all(|scale| *scale == 1.0 || *scale >= 1.5)
}

/// Emits a Resize, with the channels brought in front of the spatial axes.
fn lower_resize(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &ResizeExtents,
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
        // For a result of one element, this mode takes the first element of the input, as Paddle does.
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
        Means::Sizes => (None, Some(lower_extents(g, x, sizes)?)),
    };
    let y = g.resize(x, scales, extents, attrs);
    Ok(g.transpose(y, &to_last))
}

/// The extents of the batch and of the channels.
fn kept_extents(op: &Interpolate, g: &Lowering<'_>) -> [Dim; 2] {
    let shape = g.shape(op.x);
    let channels = if op.is_channels_last {
        shape.len() - 1
    } else {
        1
    };
    [shape[0].clone(), shape[channels].clone()]
}

/// Emits the extents of the result, with the channels in front of the spatial axes, as they are in `x`.
fn lower_extents(g: &mut Lowering<'_>, x: TensorId, sizes: &ResizeExtents) -> Result<TensorId> {
    let all = [&sizes.kept[..], &sizes.outputs].concat();
    if let Some(extents) = g.dims(&all) {
        return Ok(extents);
    }
    let kept = g.shape_slice(x, 0, 2);
    let sizes = match (g.dims(&sizes.outputs), &sizes.target) {
        (Some(sizes), _) => sizes,
        (None, Target::Computed(size)) => g.int_array(*size)?,
        (None, _) => return Err(Error::internal("a Resize without a size")),
    };
    Ok(g.concat(&[kept, sizes], 0))
}

/// Emits Gather and weighted sums, one axis after the other.
fn lower_by_index(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &ResizeExtents,
) -> Result<TensorId> {
    let axes = axis_tensors(op, g, x, sizes)?;
    let (dtype, rank) = (g.dtype(op.x), g.rank(op.x));
    let mut y = x;
    for axis in axes {
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

/// Emits the extents and the ratio of each spatial axis.
fn axis_tensors(
    op: &Interpolate,
    g: &mut Lowering<'_>,
    x: TensorId,
    sizes: &ResizeExtents,
) -> Result<Vec<AxisTensors>> {
    let scales = scales_of_run(g, &sizes.target, sizes.inputs.len())?;
    let sizes_of_run = match sizes.target {
        Target::Computed(size) => Some(g.int_array(size)?),
        _ => None,
    };
    let mut axes = Vec::new();
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
        axes.push(AxisTensors {
            axis,
            input,
            output,
            ratio,
        });
    }
    if op.ratio_scales(()).is_some() && !scales.is_empty() {
        keep_unchanged(g, &mut axes);
    }
    Ok(axes)
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Known(f64),
    /// A vector of one float32.
    Computed(TensorId),
}

/// The scale of each axis; none if extents are stated.
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

/// Emits the integer part of an extent times a scale.
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

/// Emits the ratio of an axis, in float32.
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
        // The ratio is the same for a result of one element. Asymmetric grids then have position 0 with any ratio.
        return ratio;
    }
    let is_many = g.node("Greater", &[output, one], []);
    let zero = g.scalar(DType::F32, 0.0);
    g.node("Where", &[is_many, ratio, zero], [])
}

/// Emits ratios that are 1 if no extent changes: the result is then the operand, whatever the scales.
fn keep_unchanged(g: &mut Lowering<'_>, axes: &mut [AxisTensors]) {
    let join = |g: &mut Lowering<'_>, extents: Vec<TensorId>| g.concat(&extents, 0);
    let inputs = join(g, axes.iter().map(|axis| axis.input).collect());
    let outputs = join(g, axes.iter().map(|axis| axis.output).collect());
    let difference = g.node("Sub", &[inputs, outputs], []);
    let difference = g.node("Abs", &[difference], []);
    let difference = g.reduce("ReduceSum", difference, &[0], true);
    let zero = g.vector(&[0]);
    let is_unchanged = g.node("Equal", &[difference, zero], []);
    let one = g.scalar(DType::F32, 1.0);
    for axis in axes {
        axis.ratio = g.node("Where", &[is_unchanged, one, axis.ratio], []);
    }
}

/// Emits the position along an axis of the input of each element of the result, as float64. For the nearest element,
/// its integer part is the index.
fn position(op: &Interpolate, g: &mut Lowering<'_>, axis: &AxisTensors) -> TensorId {
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

/// Emits the elements of `x` at indices along an axis, times their weights, where both are float64 vectors.
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

/// Emits the last index along an axis of the input, as a float64 vector of one element.
fn last_index(g: &mut Lowering<'_>, axis: &AxisTensors) -> TensorId {
    let one = g.vector(&[1]);
    let last = g.node("Sub", &[axis.input, one], []);
    g.cast(last, DType::I64, DType::F64)
}

/// Emits the linear interpolation of `x` along an axis. `ty` is its element type and rank.
fn blend_linear(
    g: &mut Lowering<'_>,
    x: TensorId,
    ty: (DType, usize),
    axis: &AxisTensors,
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

/// Emits the cubic interpolation of `x` along an axis. `ty` is its element type and rank.
fn blend_cubic(
    g: &mut Lowering<'_>,
    x: TensorId,
    ty: (DType, usize),
    axis: &AxisTensors,
    position: TensorId,
) -> TensorId {
    // The offset of each element from the one before the position, and its weight as a polynomial of the
    // position's fractional part, from the highest power on.
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
