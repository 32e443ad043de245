//! The scales of quantised tensors: one for the whole, or one for each position along an axis.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map};
use crate::operator::OpReader;
use crate::program::{Facts, FromAttr, Op, ValueId};
use crate::tensor::{Array, Dim, Tensor, display_shape};

/// The scales of a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scales {
    pub value: ValueId,
    /// The axis with a scale for each position; None for one scale.
    pub axis: Option<usize>,
}

impl Scales {
    /// Reads `scale` and `quant_axis`, which is negative where there is one scale.
    pub fn parse(op: &mut OpReader<'_>) -> Result<Self> {
        let axis: i64 = op.attr_or("quant_axis", 0)?;
        Ok(Self {
            value: op.operand("scale")?,
            axis: usize::try_from(axis).ok(),
        })
    }

    /// Refuses scales that don't fit a tensor of this shape.
    pub fn check(&self, facts: &Facts<'_>, shape: &[Dim]) -> Result<()> {
        let scales = facts.shape(self.value);
        let fits = |extent: &Dim| match (extent, count(scales)) {
            (Dim::Known(extent), Some(count)) => *extent == count,
            _ => true,
        };
        match self.axis {
            None => Ok(()),
            Some(axis) if shape.get(axis).is_some_and(fits) => Ok(()),
            Some(axis) => Err(Error::malformed(format!(
                "scales of shape {} along axis {axis} of shape {}",
                display_shape(scales),
                display_shape(shape)
            ))),
        }
    }

    /// Computes each element from the one of `x` and its scale.
    pub fn apply<T: Real>(
        &self,
        x: &Array<T>,
        scales: &Array<T>,
        each: impl Fn(T, T) -> T + Sync,
    ) -> Result<ndarray::ArrayD<T>> {
        let Some(axis) = self.axis else {
            let scale = scales.iter().next().copied();
            let scale = scale.ok_or_else(|| Error::malformed("an empty scale"))?;
            return map::map(x, |x| each(x, scale));
        };
        let mut shape = vec![1; x.ndim()];
        match shape.get_mut(axis) {
            Some(extent) if scales.len() == x.shape()[axis] => *extent = scales.len(),
            _ => return Err(Error::malformed("scales that don't fit the tensor")),
        }
        map::zip(x, &map::reshape(scales, &shape)?, each)
    }

    /// The scales as they are known before a run, if they are.
    pub fn known(&self, g: &Lowering<'_>) -> Result<Option<Vec<f32>>> {
        let known = g.known_elements(self.value)?;
        let known = known.map(|scales| scales.into_iter().map(|scale| scale as f32).collect());
        Ok(known.filter(|scales: &Vec<f32>| !scales.is_empty()))
    }

    /// Known numbers, one for each scale, as a tensor that broadcasts against one of this rank.
    pub fn constant(&self, g: &mut Lowering<'_>, numbers: &[f32], rank: usize) -> Result<TensorId> {
        let Some(axis) = self.axis else {
            return Ok(g.constant(Tensor::scalar(numbers[0])));
        };
        let mut shape = vec![1; rank.saturating_sub(axis)];
        shape[0] = numbers.len();
        Ok(g.constant(Tensor::from_elements(&shape, numbers.to_vec())?))
    }

    /// The scales as a tensor that broadcasts against one of this rank.
    pub fn computed(&self, g: &mut Lowering<'_>, rank: usize) -> Result<TensorId> {
        let scales = g.value(self.value)?;
        let behind = self.axis.map_or(0, |axis| rank.saturating_sub(axis + 1));
        let mut shape = vec![-1];
        shape.resize(behind + 1, 1);
        let shape = g.vector(&shape);
        Ok(g.node("Reshape", &[scales, shape], []))
    }

    /// Whether the program becomes one of QuantizeLinear and DequantizeLinear in the opset that is written. Below opset 13
    /// these take one scale, so that a weight with several is dequantised by other operators. ONNX Runtime would
    /// quantise that weight again, with one scale, if it stands between both operators. So there are none of these then.
    /// Nor are there below opset 11: ONNX Runtime 1.32 puts a Round beside them, which opset 10 does not have.
    pub fn fit_opset(&self, g: &Lowering<'_>) -> bool {
        let has_several = |op: &Op| {
            let kinds = ["quantize_linear", "dequantize_linear"];
            let axis = op.attrs.get("quant_axis").and_then(i64::from_attr);
            kinds.contains(&op.kind.name()) && axis.is_some_and(|axis| axis >= 0)
        };
        let is_plain = || self.axis.is_none() && !g.program().all_ops().any(has_several);
        g.opset() >= 13 || g.opset() >= 11 && is_plain()
    }
}

/// The number of elements of a shape, if it is known.
fn count(shape: &[Dim]) -> Option<i64> {
    shape
        .iter()
        .try_fold(1_i64, |count, dim| count.checked_mul(dim.known()?))
}
