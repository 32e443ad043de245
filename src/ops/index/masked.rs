//! Elements picked where a mask is true, by `masked_select`, or overwritten there, by `masked_fill`.
//!
//! Paddle: `phi/kernels/{masked_select,masked_fill}_kernel.h`. ONNX: Compress for `masked_select`, Where for
//! `masked_fill`.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::map;
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{
    Array, DType, Dim, Element, Tensor, broadcast_dims, refuse_too_large, same_shape, with_array,
};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "masked_select",
        &[Arg::Tensor("x"), Arg::Tensor("mask")],
        &[Form::legacy(
            &["masked_select"],
            &[Binding::Slot("X"), Binding::Slot("Mask")],
            &["Y"],
        )],
        MaskedSelect::parse,
    )
    .with_opset(9)
    .part_by_part(&["x"]),
    OpDef::new(
        "masked_fill",
        &[Arg::Tensor("x"), Arg::Tensor("mask"), Arg::Tensor("value")],
        &[Form::legacy(
            &["masked_fill"],
            &[
                Binding::Slot("x"),
                Binding::Slot("mask"),
                Binding::Slot("value"),
            ],
            &["out"],
        )],
        MaskedFill::parse,
    )
    .with_opset(9),
];

/// A mask, broadcast to a shape.
fn mask(values: &Values<'_>, id: ValueId, shape: &[usize]) -> Result<Array<bool>> {
    let Tensor::Bool(mask) = values.get(id)? else {
        return Err(Error::malformed("a mask that is not of bools"));
    };
    spread(mask, shape)
}

/// An array broadcast to a shape.
fn spread<T: Element>(x: &Array<T>, shape: &[usize]) -> Result<Array<T>> {
    refuse_too_large(shape)?;
    let view = x.broadcast(shape);
    let view = view.ok_or_else(|| Error::malformed("a mask that does not fit"))?;
    Ok(view.to_owned().into())
}

/// Emits both tensors broadcast to one shape; no nodes if they have the same.
fn broadcast(g: &mut Lowering<'_>, ids: [ValueId; 2]) -> Result<[TensorId; 2]> {
    let tensors = [g.value(ids[0])?, g.value(ids[1])?];
    if same_shape(g.shape(ids[0]), g.shape(ids[1])) {
        return Ok(tensors);
    }
    let shapes = tensors.map(|tensor| g.node("Shape", &[tensor], []));
    Ok([
        g.node("Expand", &[tensors[0], shapes[1]], []),
        g.node("Expand", &[tensors[1], shapes[0]], []),
    ])
}

/// The elements of `x` where `mask` is true, both broadcast to one shape, as a vector in row-major order.
struct MaskedSelect {
    x: ValueId,
    mask: ValueId,
}

impl MaskedSelect {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            mask: op.operand("mask")?,
        }))
    }
}

impl Function for MaskedSelect {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        broadcast_dims(facts.shape(self.x), facts.shape(self.mask))?;
        Ok(Fact::new(facts.dtype(self.x), vec![Dim::Unknown]))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let [x, mask] = broadcast(g, [self.x, self.mask])?;
        let flat = g.vector(&[-1]);
        let mask = g.node("Reshape", &[mask, flat], []);
        let x = g.node("Reshape", &[x, flat], []);
        Ok(g.node("Compress", &[x, mask], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let shape = map::broadcast_shape(x.shape(), values.get(self.mask)?.shape())?;
        let mask = mask(values, self.mask, &shape)?;
        with_array!(x, x => {
            let x = spread(x, &shape)?;
            let chosen = x.iter().zip(&mask).filter(|(_, holds)| **holds);
            Ok(Tensor::vector(chosen.map(|(x, _)| *x).collect()))
        })
    }
}

/// `x` with `value` where `mask` is true. `x` and `mask` are broadcast to one shape, and `value` to that.
struct MaskedFill {
    x: ValueId,
    mask: ValueId,
    value: ValueId,
}

impl MaskedFill {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            mask: op.operand("mask")?,
            value: op.operand("value")?,
        }))
    }
}

impl Function for MaskedFill {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.mask))?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, mask, value) = (g.value(self.x)?, g.value(self.mask)?, g.value(self.value)?);
        let dtype = g.dtype(self.x);
        let value = g.cast(value, g.dtype(self.value), dtype);
        // ONNX Runtime has no kernel of Where for the narrow types.
        let wide = match dtype {
            DType::Bool | DType::I8 | DType::I16 => DType::I32,
            other => other,
        };
        let (x, value) = (g.cast(x, dtype, wide), g.cast(value, dtype, wide));
        let filled = g.node("Where", &[mask, value, x], []);
        Ok(g.cast(filled, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let shape = map::broadcast_shape(x.shape(), values.get(self.mask)?.shape())?;
        let mask = mask(values, self.mask, &shape)?;
        let value = values.get(self.value)?.cast(x.dtype());
        with_array!(x, x => filled(&spread(x, &shape)?, &mask, &value))
    }
}

fn filled<T: Element>(x: &Array<T>, mask: &Array<bool>, value: &Tensor) -> Result<Tensor> {
    let value = T::array(value).ok_or_else(|| Error::internal("a cast gave another type"))?;
    let value = spread(value, x.shape())?;
    let choices = mask.iter().zip(x).zip(&value);
    let chosen = choices.map(|((holds, x), value)| if *holds { *value } else { *x });
    Tensor::from_elements(x.shape(), chosen.collect())
}
