//! The cross product of vectors of three elements: `cross`.
//!
//! Paddle: `phi/kernels/cross_kernel.h`. ONNX: Gather, Mul and Sub.

use ndarray::Axis;

use super::numbers::{Number, with_numbers};
use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::map;
use crate::operator::{Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::binary::{binary, form};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::{F32, F64, I32, I64};
use crate::tensor::{Array, Dim, Tensor, broadcast_dims, normalize_axis};

pub(super) const OPS: &[OpDef] = &[binary(
    "cross",
    &[form(&["cross"]).renaming(&[("dim", "axis")])],
    Cross::parse,
)
.with_limits(&["no `axis`, with open extents"])
.with_dtypes(&[I32, I64, F32, F64])];

/// The cross product along an axis of extent 3, which is the first such axis if none is named.
struct Cross {
    x: ValueId,
    y: ValueId,
    axis: i64,
}

/// The attribute `axis` where no axis is named.
const NO_AXIS: i64 = 9;

impl Cross {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            x: op.operand("x")?,
            y: op.operand("y")?,
            axis: op.attr_or("axis", NO_AXIS)?,
        }))
    }

    /// The axis of the vectors, for operands of this shape.
    fn axis(&self, x: &[Dim]) -> Result<usize> {
        if self.axis != NO_AXIS {
            return normalize_axis(self.axis, x.len());
        }
        for (axis, dim) in x.iter().enumerate() {
            match dim {
                Dim::Known(3) => return Ok(axis),
                Dim::Known(_) => {}
                Dim::Symbol(_) | Dim::Computed { .. } | Dim::Unknown => {
                    return Err(Error::needs_extents(
                        "which axis is the first of extent 3 depends on the inputs",
                    ));
                }
            }
        }
        Err(Error::malformed(
            "a cross product without an axis of extent 3",
        ))
    }
}

/// The element `i` of the product is `x[NEXT[i]] · y[LAST[i]] - x[LAST[i]] · y[NEXT[i]]`.
const NEXT: [usize; 3] = [1, 2, 0];

/// See [`NEXT`].
const LAST: [usize; 3] = [2, 0, 1];

impl Function for Cross {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let shape = broadcast_dims(facts.shape(self.x), facts.shape(self.y))?;
        let axis = self.axis(&shape)?;
        if shape[axis].known().is_some_and(|extent| extent != 3) {
            return Err(Error::malformed(
                "a cross product along an axis that is not 3 long",
            ));
        }
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let axis = self.axis(&self.infer(g)?.shape)? as i64;
        let (x, y) = (g.value(self.x)?, g.value(self.y)?);
        let mut turned = |x, order: [usize; 3]| {
            let order = g.vector(&order.map(|position| position as i64));
            g.node("Gather", &[x, order], [("axis", NodeAttr::Int(axis))])
        };
        let (x_next, y_last) = (turned(x, NEXT), turned(y, LAST));
        let (x_last, y_next) = (turned(x, LAST), turned(y, NEXT));
        let plus = g.node("Mul", &[x_next, y_last], []);
        let minus = g.node("Mul", &[x_last, y_next], []);
        Ok(g.node("Sub", &[plus, minus], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let (x, y) = (values.get(self.x)?, values.get(self.y)?);
        with_numbers!(x, y, (x, y) => self.product(x, y)?)
    }
}

impl Cross {
    fn product<T: Number>(&self, x: &Array<T>, y: &Array<T>) -> Result<Array<T>> {
        let dims: Vec<Dim> = x.shape().iter().map(|extent| Dim::from(*extent)).collect();
        let axis = self.axis(&dims)?;
        if x.shape()[axis] != 3 || y.shape() != x.shape() {
            return Err(Error::malformed(
                "a cross product along an axis that is not 3 long",
            ));
        }
        let turned = |x: &Array<T>, order| x.select(Axis(axis), order).into();
        let plus = map::zip(&turned(x, &NEXT), &turned(y, &LAST), T::times)?;
        let minus = map::zip(&turned(x, &LAST), &turned(y, &NEXT), T::times)?;
        Ok(map::zip(&plus.into(), &minus.into(), T::minus)?.into())
    }
}
