//! The choice between two tensors by a condition (`where`), and the interpolation between two tensors (`lerp`).
//!
//! Paddle: `phi/kernels/{where,lerp}_kernel.h`. ONNX: Where; Sub, Mul and Add.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::ops::shared::values::common_type;
use crate::program::{Builder, Draft, Fact, Facts, OpKind, Operand, ValueId};
use crate::tensor::DType::Bool;
use crate::tensor::{Array, Element, Tensor, broadcast_dims, with_arrays};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "where",
        &[Arg::Tensor("condition"), Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(
            &["where"],
            &[
                Binding::Slot("Condition"),
                Binding::Optional("X"),
                Binding::Optional("Y"),
            ],
            &["Out"],
        )
        .rewriting(positions_or_choice)],
        Where::parse,
    )
    .with_opset(9)
    .part_by_part(&["x", "y"])
    .with_dtypes(&[Bool]),
    OpDef::new(
        "lerp",
        &[Arg::Tensor("x"), Arg::Tensor("y"), Arg::Tensor("weight")],
        &[Form::legacy(
            &["lerp"],
            &[
                Binding::Slot("X"),
                Binding::Slot("Y"),
                Binding::Slot("Weight"),
            ],
            &["Out"],
        )],
        Lerp::parse,
    )
    .with_dtypes(FLOATS)
    .with_accuracy(Accuracy::Rounded),
];

/// Up to Paddle 1.7, `where` with a condition alone is what was called `where_index` later: the positions of what is
/// true.
fn positions_or_choice(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    if matches!(draft.operands[..], [_, Operand::Absent, Operand::Absent]) {
        draft.kind = OpKind::Known("nonzero");
        draft.operands.truncate(1);
    }
    Ok(builder.emit(draft))
}

/// `x` where the condition is true, `y` elsewhere; all three are broadcast. `x` and `y` must have the same type.
struct Where {
    condition: ValueId,
    x: ValueId,
    y: ValueId,
}

impl Where {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            condition: op.operand("condition")?,
            x: op.operand("x")?,
            y: op.operand("y")?,
        }))
    }
}

impl Function for Where {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let dtype = common_type(facts.dtype(self.x), facts.dtype(self.y))?;
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let shape = broadcast_dims(facts.shape(self.condition), &shape)?;
        Ok(Fact::new(dtype, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let dtype = g.dtype(self.x);
        let wide = dtype.widened();
        let condition = g.value(self.condition)?;
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let (x, y) = (g.cast(x, dtype, wide), g.cast(y, dtype, wide));
        let chosen = g.node("Where", &[condition, x, y], []);
        Ok(g.cast(chosen, wide, dtype))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let Tensor::Bool(condition) = values.get(self.condition)? else {
            return Err(Error::malformed("a condition that is not of bools"));
        };
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_arrays!(x, y, (x, y) => choose(condition, x, y))
    }
}

fn choose<T: Element>(condition: &Array<bool>, x: &Array<T>, y: &Array<T>) -> Result<Tensor> {
    let shape = map::broadcast_shape(x.shape(), y.shape())?;
    let shape = map::broadcast_shape(condition.shape(), &shape)?;
    let fail = || Error::internal("broadcasting failed");
    let condition = condition.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let x = x.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let y = y.broadcast(shape.as_slice()).ok_or_else(fail)?;
    let chosen = ndarray::Zip::from(&condition).and(&x).and(&y);
    let chosen = chosen.map_collect(|condition, x, y| if *condition { *x } else { *y });
    Ok(T::tensor(chosen.into()))
}

/// `x + weight · (y - x)`, broadcast.
struct Lerp {
    x: ValueId,
    y: ValueId,
    weight: ValueId,
}

impl Lerp {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            weight: op.operand("weight")?,
        }))
    }
}

fn lerp<T: Real>(x: &Array<T>, y: &Array<T>, weight: &Array<T>) -> Result<Tensor> {
    let difference = map::zip(y, x, |y, x| y - x)?.into();
    let step = map::zip(weight, &difference, |weight, step| weight * step)?.into();
    Ok(T::tensor(map::zip(x, &step, |x, step| x + step)?.into()))
}

impl Function for Lerp {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let shape = broadcast_dims(&shape, facts.shape(self.weight))?;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let weight = g.value(self.weight)?;
        let difference = g.node("Sub", &[y, x], []);
        let step = g.node("Mul", &[weight, difference], []);
        Ok(g.node("Add", &[x, step], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        match (
            values.get(self.x)?,
            values.get(self.y)?,
            values.get(self.weight)?,
        ) {
            (Tensor::F32(x), Tensor::F32(y), Tensor::F32(weight)) => lerp(x, y, weight),
            (Tensor::F64(x), Tensor::F64(y), Tensor::F64(weight)) => lerp(x, y, weight),
            _ => Err(Error::unsupported("operands of several types")),
        }
    }
}
