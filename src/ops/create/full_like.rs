//! Tensors that repeat one number, of the shape of another tensor: `full_like`.
//!
//! Paddle: `phi/kernels/{full,fill}_kernel.h`. ONNX: Shape and Expand, or a constant.

use super::full::{evaluate_filled, filled, lower_filled, small_constant};
use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::operator::{Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Attr, Builder, Draft, Fact, Facts, FromAttr, Operand, ValueId};
use crate::tensor::{DType, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "full_like",
    &[Arg::Tensor("x"), Arg::Scalar("value")],
    &[
        Form::legacy(
            &["fill_any_like"],
            &[
                Binding::Slot("X"),
                Binding::Scalar {
                    attr: "value",
                    slots: &[],
                },
            ],
            &["Out"],
        ),
        Form::legacy(
            &["fill_zeros_like", "fill_zeros_like2"],
            &[Binding::Slot("X"), Binding::Rewrite],
            &["Out"],
        )
        .rewriting(zeros),
        Form::legacy(
            &["fill_any"],
            &[
                Binding::Slot("X"),
                Binding::Scalar {
                    attr: "value",
                    slots: &[],
                },
            ],
            &["Out"],
        )
        .rewriting(value_of_type),
    ],
    FullLike::parse,
)
.part_by_part(&["x", "value"])
.with_pir(&[Form::pir(
    &["fill"],
    &["x", "value"],
    &[
        Binding::Slot("x"),
        Binding::Scalar {
            attr: "value",
            slots: &["value"],
        },
    ],
)])];

/// From Paddle 2.2 to 2.5, `fill_any` has two values, one of them for floats and one for other types.
fn value_of_type(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let (float, int) = (
        draft.attrs.remove("value_float"),
        draft.attrs.remove("value_int"),
    );
    if let [Operand::One(x), value @ Operand::Absent] = draft.operands.as_mut_slice() {
        let number = match builder.dtype(*x).is_float() {
            true => float.as_ref().and_then(f64::from_attr),
            false => int.as_ref().and_then(f64::from_attr),
        };
        let number = number.ok_or_else(|| Error::malformed("no value is given"))?;
        *value = Operand::One(builder.constant(Tensor::scalar(number)));
    }
    Ok(builder.emit(draft))
}

fn zeros(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let zero = Operand::One(builder.constant(Tensor::scalar(0.0_f64)));
    if let Some(operand) = draft.operands.last_mut() {
        *operand = zero;
    }
    Ok(builder.emit(draft))
}

/// A tensor of the shape of `x` that repeats `value`.
struct FullLike {
    x: ValueId,
    value: ValueId,
    /// The element type of the result: that of `x`, if none is stated.
    dtype: Option<DType>,
}

impl FullLike {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let dtype = match op.attr_or("dtype", Attr::Int(-1))? {
            Attr::Int(-1) => None,
            stated => Some(DType::from_attr(&stated).ok_or_else(|| {
                Error::malformed(format!(
                    "the attribute `dtype` is no element type: {stated}"
                ))
            })?),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            value: op.operand("value")?,
            dtype,
        }))
    }
}

impl Function for FullLike {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let x = facts.get(self.x);
        let dtype = self.dtype.unwrap_or(x.dtype);
        Ok(filled(facts, dtype, x.shape.clone(), self.value))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let Fact { dtype, shape, .. } = self.infer(g)?;
        if let Some(constant) = small_constant(g, dtype, &shape, self.value)? {
            return Ok(constant);
        }
        let shape = match g.dims(&shape) {
            Some(shape) => shape,
            None => {
                let x = g.value(self.x)?;
                g.node("Shape", &[x], [])
            }
        };
        lower_filled(g, dtype, self.value, shape)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let shape: Vec<i64> = x.shape().iter().map(|extent| *extent as i64).collect();
        evaluate_filled(values, self.dtype.unwrap_or(x.dtype()), &shape, self.value)
    }
}
