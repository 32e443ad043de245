//! The maximum of each group of channels: `maxout`.
//!
//! Paddle: `phi/kernels/maxout_kernel.h`, `phi/kernels/funcs/maxouting.h`. ONNX: Reshape, ReduceMax.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, reduce, with_real};
use crate::operator::{Accuracy, Function, OpDef, OpReader, Parsed, Values};
use crate::ops::shared::pointwise::{of_x, plain};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Dim, Tensor, normalize_axis};

pub(super) const OPS: &[OpDef] =
    &[of_x("maxout", &[plain(&["maxout"])], Maxout::parse).with_accuracy(Accuracy::Exact)];

/// `[n, c, h, w]` → `[n, c / groups, h, w]`, where each channel is the maximum of `groups` adjacent ones. The channel
/// axis may also be the last.
struct Maxout {
    x: ValueId,
    groups: i64,
    axis: i64,
}

impl Maxout {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let groups = op.attr("groups")?;
        if groups < 1 {
            return Err(Error::malformed(format!("{groups} groups")));
        }
        Ok(Box::new(Self {
            x: op.operand("x")?,
            groups,
            axis: op.attr_or("axis", 1)?,
        }))
    }

    /// The channel axis, and the number of channels of the result. `groups` must divide the number of channels of `x`.
    fn channels(&self, shape: &[Dim]) -> Result<(usize, Dim)> {
        let axis = normalize_axis(self.axis, shape.len())?;
        let left = match shape.get(axis) {
            Some(Dim::Known(channels)) if channels % self.groups == 0 => {
                Dim::Known(channels / self.groups)
            }
            Some(Dim::Known(channels)) => {
                let message = format!("{channels} channels in groups of {}", self.groups);
                return Err(Error::malformed(message));
            }
            _ => Dim::Unknown,
        };
        Ok((axis, left))
    }

    fn largest<T: Real>(&self, x: &Array<T>, axis: usize, left: usize) -> Result<Array<T>> {
        let groups = usize::try_from(self.groups).map_err(|_| Error::internal("groups"))?;
        let (mut apart, mut shape) = (x.shape().to_vec(), x.shape().to_vec());
        apart.splice(axis..=axis, [left, groups]);
        shape[axis] = left;
        let apart = map::reshape(x, &apart)?;
        let largest = reduce::reduce(&apart, &[axis + 1], reduce::extreme(T::gt))?;
        map::reshape(&largest.into(), &shape)
    }
}

impl Function for Maxout {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let mut shape = facts.shape(self.x).to_vec();
        let (axis, left) = self.channels(&shape)?;
        shape[axis] = left;
        Ok(Fact::new(facts.dtype(self.x), shape))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let rank = g.rank(self.x);
        let (axis, left) = self.channels(g.shape(self.x))?;
        let mut dims = g.shape(self.x).to_vec();
        dims.splice(axis..=axis, [left.clone(), Dim::Known(self.groups)]);
        let reshaped = left.known().and_then(|_| g.reshape(x, &dims));
        let apart = reshaped.unwrap_or_else(|| {
            let parts = [
                g.shape_slice(x, 0, axis as i64),
                g.vector(&[left.known().unwrap_or(-1), self.groups]),
                g.shape_slice(x, axis as i64 + 1, rank as i64),
            ];
            let shape = g.concat(&parts, 0);
            g.node("Reshape", &[x, shape], [])
        });
        Ok(g.reduce("ReduceMax", apart, &[axis + 1], false))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let dims: Vec<Dim> = x.shape().iter().copied().map(Dim::from).collect();
        let (axis, left) = self.channels(&dims)?;
        let left = left.extent().ok_or_else(|| Error::internal("channels"))?;
        with_real!(x, x => self.largest(x, axis, left)?)
    }
}
