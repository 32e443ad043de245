//! Tensors of the shape of another, and codes as vectors.
//!
//! Paddle: `phi/kernels/{full,one_hot}_kernel.h`. ONNX: Expand, Equal.

use super::creation::{evaluate_filled, filled, lower_filled, small_constant};
use super::def::{Arg, Form, From, OpDef};
use super::operator::{Fact, Facts, Function, Parsed, single};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, TensorId};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, FromAttr, Operand, ValueId};
use crate::reference::Values;
use crate::tensor::{DType, Dim, Tensor, refuse_too_large};

pub(super) const OPS: &[OpDef] = &[
    OpDef::new(
        "full_like",
        &[Arg::Tensor("x"), Arg::Scalar("value")],
        &[
            Form::legacy(
                &["fill_any_like"],
                &[
                    From::Slot("X"),
                    From::Scalar {
                        attr: "value",
                        slots: &[],
                    },
                ],
                &["Out"],
            ),
            Form::legacy(
                &["fill_zeros_like", "fill_zeros_like2"],
                &[From::Slot("X"), From::Rewrite],
                &["Out"],
            )
            .rewriting(zeros),
            Form::legacy(
                &["fill_any"],
                &[
                    From::Slot("X"),
                    From::Scalar {
                        attr: "value",
                        slots: &[],
                    },
                ],
                &["Out"],
            ),
        ],
        FullLike::parse,
    )
    .spelled(&[Form::pir(
        &["fill"],
        &["x", "value"],
        &[
            From::Slot("x"),
            From::Scalar {
                attr: "value",
                slots: &["value"],
            },
        ],
    )]),
    OpDef::new(
        "one_hot",
        &[Arg::Tensor("x"), Arg::Scalar("num_classes")],
        &[Form::legacy(
            &["one_hot_v2"],
            &[
                From::Slot("X"),
                From::Scalar {
                    attr: "depth",
                    slots: &["depth_tensor"],
                },
            ],
            &["Out"],
        )
        // What others would refuse is a row of zeros, whatever it says. The type is float32.
        .ignoring(&["allow_out_of_range", "dtype"])],
        OneHot::parse,
    )
    .taking(&[DType::I32, DType::I64]),
];

fn zeros(builder: &mut Builder, mut draft: Draft) -> Result<Vec<ValueId>> {
    let zero = Operand::One(builder.constant(Tensor::scalar(0.0_f64)));
    if let Some(operand) = draft.operands.last_mut() {
        *operand = zero;
    }
    Ok(builder.emit(draft))
}

/// A tensor of one value, of the shape of `x`.
struct FullLike {
    x: ValueId,
    value: ValueId,
    /// That of `x`, if it is not stated.
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

/// For each number of `x`, a row of zeros with a 1 at its place, if it has one.
struct OneHot {
    x: ValueId,
    depth: ValueId,
}

impl OneHot {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            depth: op.operand("num_classes")?,
        }))
    }
}

impl Function for OneHot {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        shape.push(match facts.content(self.depth) {
            Some([depth]) => depth.clone(),
            _ => Dim::Unknown,
        });
        Ok(Fact::new(DType::F32, shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let x = g.cast(x, g.dtype(self.x), DType::I64);
        let x = g.unsqueeze(x, &[g.rank(self.x) as i64]);
        // ONNX's OneHot counts negative numbers from the end, where Paddle has a row of zeros.
        let places = match g.integers(self.depth).as_deref() {
            Some([depth @ 0..=1024]) => g.vector(&(0..*depth).collect::<Vec<i64>>()),
            _ => {
                let depth = g.int_array(self.depth)?;
                g.count_up(depth)
            }
        };
        let is_here = g.node("Equal", &[x, places], []);
        Ok(g.cast(is_here, DType::Bool, DType::F32))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let depth = single(&values.integers(self.depth)?, "num_classes")?;
        let depth = usize::try_from(depth).map_err(|_| Error::malformed("a negative depth"))?;
        let x = values.get(self.x)?;
        let mut shape = x.shape().to_vec();
        shape.push(depth);
        refuse_too_large(&shape)?;
        let mut elements = vec![0.0_f32; shape.iter().product()];
        for (row, place) in x.to_i64_vec().into_iter().enumerate() {
            if let Some(place) = usize::try_from(place).ok().filter(|place| *place < depth) {
                elements[row * depth + place] = 1.0;
            }
        }
        Ok(Tensor::from_elements(&shape, elements)?.cast(values.dtype(DType::F32)))
    }
}
