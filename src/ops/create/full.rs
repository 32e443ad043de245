//! Tensors that repeat one number, of a given shape: `full_with_tensor`, which `full`, `empty` and `fill_constant`
//! become, and `full_batch_size_like`.
//!
//! Paddle: `phi/kernels/{full,empty}_kernel.h`. ONNX: Expand, or a constant.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, Macs, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::axes::length;
use crate::program::{
    Attr, Builder, Declared, Draft, Fact, Facts, FromAttr, OpKind, Operand, ValueId,
};
use crate::tensor::{DType, Dim, Tensor, display_shape, refuse_too_large};

/// Tensors of more elements than this are made at run time instead of being stored.
const LARGEST_CONSTANT: usize = 1024;

const SHAPE: Binding = Binding::IntArray {
    attr: "shape",
    slots: &["ShapeTensor", "ShapeTensorList"],
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "full_with_tensor",
        &[Arg::Scalar("value"), Arg::IntArray("shape")],
        &[
            Form::legacy(
                &["fill_constant"],
                &[Binding::Optional("ValueTensor"), SHAPE],
                &["Out"],
            )
            // The device on which Paddle places the tensor.
            .ignoring(&["force_cpu", "place_type"])
            .rewriting(fill_declared),
            // The elements of `empty` are undefined; here they are 0.
            Form::legacy(&["empty"], &[Binding::Rewrite, SHAPE], &["Out"]).rewriting(fill_value),
        ],
        Full::parse,
    )
    .with_opset(8)
    .part_by_part(&["value"])
    .with_pir(&[
        Form::pir(
            &["full"],
            &[],
            &[
                Binding::Rewrite,
                Binding::IntArray {
                    attr: "shape",
                    slots: &[],
                },
            ],
        )
        .rewriting(fill_declared),
        Form::pir(
            &["empty"],
            &["shape"],
            &[
                Binding::Rewrite,
                Binding::IntArray {
                    attr: "shape",
                    slots: &["shape"],
                },
            ],
        )
        .rewriting(fill_value),
    ]),
    OpDef::new(
        "full_batch_size_like",
        &[Arg::Tensor("input"), Arg::Scalar("value")],
        &[Form::legacy(
            &["fill_constant_batch_size_like"],
            &[Binding::Slot("Input"), Binding::Rewrite],
            &["Out"],
        )
        .ignoring(&["force_cpu", "place_type"])
        .rewriting(fill_value_like)],
        FullBatchSizeLike::parse,
    )
    .with_opset(8)
    .part_by_part(&["input", "value"])
    .with_pir(&[Form::pir(
        &["full_batch_size_like"],
        &["input"],
        &[Binding::Slot("input"), Binding::Rewrite],
    )
    .rewriting(fill_value_like)]),
];

/// Gives the op its value as an operand. A tensor of one element becomes a constant if the value is known: it stands
/// for what other programs have as an attribute.
fn fill_value(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let value = take_value(builder, &mut draft)?;
    if let Some(operand @ Operand::Absent) = draft.operands.first_mut() {
        *operand = value;
    }
    if let [Operand::One(value), Operand::One(shape)] = draft.operands[..]
        && let (Some(value), Some(shape)) =
            (builder.constant_value(value), builder.constant_value(shape))
        && shape.to_i64_vec().iter().all(|extent| *extent == 1)
    {
        let number = repeated(value, &vec![1; shape.len()])?;
        let names = draft.results.into_iter().map(|result| result.name);
        return Ok(names
            .map(|name| builder.named_constant(name, number.clone()))
            .collect());
    }
    Ok(builder.emit(draft))
}

/// As [`fill_value`]. Where the program declares another rank than that of the shape, the tensor stands for a variable
/// that nothing has written: `to_static` takes a number for it, and gives it the type that the variable has later.
fn fill_declared(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let declared = draft.results.clone();
    let values = fill_value(builder, draft)?;
    // Up to Paddle 2.4, a scalar has rank 1.
    let has_ranks = !builder.release.is_before(2, 5);
    let is_scalar = |shape: &[Dim]| shape.is_empty() || shape == [Dim::Known(1)];
    if let ([declared], [value]) = (declared.as_slice(), values.as_slice())
        && builder.constant_value(*value).is_some()
        && builder.rank(*value) != declared.shape.len()
        && (has_ranks || !is_scalar(builder.shape(*value)) || !is_scalar(&declared.shape))
    {
        return Ok(undefined(builder, declared.clone(), *value));
    }
    Ok(values)
}

/// Emits a variable that nothing has written, for which Paddle has a value.
pub(super) fn undefined(builder: &mut Builder, declared: Declared, value: ValueId) -> Vec<ValueId> {
    builder.emit(Draft {
        kind: OpKind::Known("undefined"),
        operands: vec![Operand::One(value)],
        results: vec![declared],
        attrs: BTreeMap::new(),
    })
}

fn fill_value_like(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let value = take_value(builder, &mut draft)?;
    if let Some(operand) = draft.operands.last_mut() {
        *operand = value;
    }
    Ok(builder.emit(draft))
}

/// Makes `full_int_array` a constant: it stands for what other programs have as an attribute.
pub(super) fn int_array(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let Some(Attr::Ints(values)) = draft.attrs.get("values") else {
        return Err(Error::malformed(
            "the attribute `value` is no list of integers",
        ));
    };
    let dtype = draft
        .attrs
        .get("dtype")
        .map_or(Some(DType::I64), DType::from_attr);
    let dtype =
        dtype.ok_or_else(|| Error::malformed("the attribute `dtype` is no element type"))?;
    let tensor = Tensor::vector(values.clone()).cast(dtype);
    let names = draft.results.into_iter().map(|result| result.name);
    Ok(names
        .map(|name| builder.named_constant(name, tensor.clone()))
        .collect())
}

/// Takes the attributes that give the value, as a constant of the type `dtype`. The text in `str_value`, where there is
/// one, is more precise than the number in `value`, which is an f32.
fn take_value(builder: &mut Builder, draft: &mut Draft) -> Result<Operand> {
    let text = match draft.attrs.remove("str_value") {
        Some(Attr::String(text)) => text,
        _ => String::new(),
    };
    let number = match draft.attrs.remove("value") {
        Some(Attr::Float(number)) => number,
        Some(Attr::Int(number)) => number as f64,
        _ => 0.0,
    };
    let Some(attr) = draft.attrs.get("dtype") else {
        return Err(Error::malformed("the attribute `dtype` is missing"));
    };
    let declared = i64::from_attr(attr).and_then(DType::declared);
    let dtype = declared.ok_or_else(|| {
        Error::malformed(format!(
            "the attribute `dtype` is {attr}, which is no element type"
        ))
    })?;
    // A complex tensor is filled with a real number.
    let dtype = dtype.real();
    let tensor = if text.is_empty() {
        Tensor::scalar_of(dtype, number)
    } else {
        parse_number(&text, dtype)?
    };
    Ok(Operand::One(builder.constant(tensor)))
}

/// The number that a text spells. It is read as an f64, whatever the element type, as Paddle does.
fn parse_number(text: &str, dtype: DType) -> Result<Tensor> {
    let number = text.parse::<f64>();
    number
        .map(|number| Tensor::scalar_of(dtype, number))
        .map_err(|_| {
            Error::malformed(format!(
                "the attribute `str_value` is {text:?}, not a number"
            ))
        })
}

/// A tensor of a given shape that repeats `value`.
struct Full {
    value: ValueId,
    shape: ValueId,
    dtype: DType,
}

impl Full {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            value: op.operand("value")?,
            shape: op.operand("shape")?,
            dtype: op.attr("dtype")?,
        }))
    }
}

impl Function for Full {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = match facts.content(self.shape) {
            Some(shape) => shape.to_vec(),
            None => vec![Dim::Unknown; length(facts, self.shape)?],
        };
        Ok(filled(facts, self.dtype, shape, self.value))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.infer(g)?.shape;
        if let Some(constant) = small_constant(g, self.dtype, &shape, self.value)? {
            return Ok(constant);
        }
        let shape = g.int_array(self.shape)?;
        lower_filled(g, self.dtype, self.value, shape)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let shape = values.integers(self.shape)?;
        evaluate_filled(values, self.dtype, &shape, self.value)
    }
}

/// What is known before a run of a tensor that repeats `value`.
pub(super) fn filled(facts: &Facts<'_>, dtype: DType, shape: Vec<Dim>, value: ValueId) -> Fact {
    let count = Macs::product(&shape).and_then(|count| usize::try_from(count).ok());
    let content = match (count, facts.content(value)) {
        (Some(count @ ..=LARGEST_CONSTANT), Some([value])) => Some(vec![value.clone(); count]),
        _ => None,
    };
    Fact::new(dtype, shape).with_content(content)
}

/// A tensor that repeats `value` as a constant, if its shape and value are known and it has at most
/// [`LARGEST_CONSTANT`] elements.
pub(super) fn small_constant(
    g: &mut Lowering<'_>,
    dtype: DType,
    shape: &[Dim],
    value: ValueId,
) -> Result<Option<TensorId>> {
    let extents = shape.iter().map(Dim::extent);
    let Some(extents) = extents.collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    let count = extents.iter().try_fold(1_usize, |n, e| n.checked_mul(*e));
    let is_small = count.is_some_and(|count| count <= LARGEST_CONSTANT);
    match g.constant_value(value) {
        Some(value) if is_small => Ok(Some(g.constant(repeated(&value.cast(dtype), &extents)?))),
        _ => Ok(None),
    }
}

/// Emits a tensor that repeats `value`; `shape` is an int64 vector.
pub(super) fn lower_filled(
    g: &mut Lowering<'_>,
    dtype: DType,
    value: ValueId,
    shape: TensorId,
) -> Result<TensorId> {
    if let Some(constant) = g.constant_value(value) {
        let scalar = repeated(&constant.cast(dtype), &[])?;
        let scalar = g.constant(scalar);
        return Ok(g.node("Expand", &[scalar, shape], []));
    }
    let mut scalar = g.value(value)?;
    if g.rank(value) > 0 {
        let axes: Vec<i64> = (0..g.rank(value) as i64).collect();
        scalar = g.squeeze(scalar, &axes);
    }
    let scalar = g.cast(scalar, g.dtype(value), dtype);
    Ok(g.node("Expand", &[scalar, shape], []))
}

pub(super) fn evaluate_filled(
    values: &Values<'_>,
    dtype: DType,
    shape: &[i64],
    value: ValueId,
) -> Result<Tensor> {
    let extents: Option<Vec<usize>> = shape.iter().map(|e| usize::try_from(*e).ok()).collect();
    let extents = extents
        .ok_or_else(|| Error::malformed(format!("a tensor of shape {}", display_shape(shape))))?;
    let value = values.get(value)?.cast(values.dtype(dtype));
    repeated(&value, &extents)
}

/// A tensor of this shape that repeats the one element of `value`.
fn repeated(value: &Tensor, shape: &[usize]) -> Result<Tensor> {
    use crate::tensor::{Array, Element, with_array};
    fn fill<T: Element>(value: &Array<T>, shape: &[usize]) -> Result<Tensor> {
        let element = value.first().filter(|_| value.len() == 1);
        let element = element.ok_or_else(|| Error::malformed("a value with several elements"))?;
        refuse_too_large(shape)?;
        Ok(T::tensor(Array::from_elem(shape, *element)))
    }
    with_array!(value, value => fill(value, shape))
}

/// A tensor that repeats `value`. Its extent along the axis `output_dim` is that of `input` along `input_dim`, its
/// others are those of `shape`.
struct FullBatchSizeLike {
    input: ValueId,
    value: ValueId,
    shape: Vec<i64>,
    dtype: DType,
    input_dim: usize,
    output_dim: usize,
}

impl FullBatchSizeLike {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let shape: Vec<i64> = op.attr("shape")?;
        let output_dim = normalize_axis_attr(op, "output_dim_idx", shape.len())?;
        let input_dim: i64 = op.attr_or("input_dim_idx", 0)?;
        Ok(Box::new(Self {
            input: op.operand("input")?,
            value: op.operand("value")?,
            shape,
            dtype: op.attr("dtype")?,
            input_dim: usize::try_from(input_dim)
                .map_err(|_| Error::malformed(format!("input_dim_idx {input_dim}")))?,
            output_dim,
        }))
    }

    fn with_extent(&self, extent: Option<&Dim>) -> Result<Vec<Dim>> {
        let extent = extent.ok_or_else(|| {
            Error::malformed(format!("input_dim_idx {} is out of range", self.input_dim))
        })?;
        let mut shape: Vec<Dim> = self.shape.iter().copied().map(Dim::Known).collect();
        shape[self.output_dim] = extent.clone();
        Ok(shape)
    }
}

fn normalize_axis_attr(op: &mut OpReader<'_>, name: &str, rank: usize) -> Result<usize> {
    let axis: i64 = op.attr_or(name, 0)?;
    crate::tensor::normalize_axis(axis, rank)
}

impl Function for FullBatchSizeLike {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = self.with_extent(facts.shape(self.input).get(self.input_dim))?;
        Ok(filled(facts, self.dtype, shape, self.value))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let shape = self.infer(g)?.shape;
        if let Some(constant) = small_constant(g, self.dtype, &shape, self.value)? {
            return Ok(constant);
        }
        let shape = match g.dims(&shape) {
            Some(shape) => shape,
            None => {
                let input = g.value(self.input)?;
                let axis = self.input_dim as i64;
                let before = g.vector(&self.shape[..self.output_dim]);
                let extent = g.shape_slice(input, axis, axis + 1);
                let after = g.vector(&self.shape[self.output_dim + 1..]);
                g.concat(&[before, extent, after], 0)
            }
        };
        lower_filled(g, self.dtype, self.value, shape)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let extent = values.get(self.input)?.shape().get(self.input_dim);
        let shape = self.with_extent(extent.map(|extent| Dim::from(*extent)).as_ref())?;
        let shape: Vec<i64> = shape.iter().filter_map(Dim::known).collect();
        evaluate_filled(values, self.dtype, &shape, self.value)
    }
}
