//! `scale_weight`: a weight on a scale, which the program gets where what follows a product with it is folded into it. No
//! file has it.

use ndarray::{Axis, Ix1};

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Channels, DType, Element, ElementMap, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "scale_weight",
    &[Arg::Tensor("weight"), Arg::Tensor("factors")],
    &[],
    ScaleWeight::parse,
)
.with_dtypes(&[DType::F32])
.with_accuracy(Accuracy::Rounded)
.in_no_file()];

/// `weight · factors`, where `weight` is a stored weight of float32, and `factors` a constant vector of float64 along
/// `axis`: each product is rounded once.
///
/// ONNX: an initializer, whose elements are computed when the model is written.
struct ScaleWeight {
    weight: ValueId,
    factors: ValueId,
    axis: usize,
}

impl ScaleWeight {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        let axis: i64 = op.attr("axis")?;
        Ok(Box::new(Self {
            weight: op.operand("weight")?,
            factors: op.operand("factors")?,
            axis: usize::try_from(axis).map_err(|_| Error::malformed("a negative axis"))?,
        }))
    }

    fn product<T: Real>(&self, weight: &Array<T>, factors: &[f64]) -> Result<Array<T>> {
        if weight.shape().get(self.axis) != Some(&factors.len()) {
            return Err(Error::malformed(
                "another number of factors than of channels",
            ));
        }
        let mut product = weight.clone();
        for (mut channel, factor) in product.axis_iter_mut(Axis(self.axis)).zip(factors) {
            channel.mapv_inplace(|x| T::from_f64(x.to_f64() * factor));
        }
        Ok(product)
    }
}

impl Function for ScaleWeight {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(facts.get(self.weight).clone())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let map = self.weight_map(g).map(|(_, map)| map);
        let map = map.ok_or_else(|| Error::internal("factors that are not known"))?;
        g.mapped_weight(self.weight, DType::F32, map)
    }

    fn weight_map(&self, facts: &Facts<'_>) -> Option<(ValueId, ElementMap)> {
        // Not copied, since many weights may have the same factors.
        let factors = f64::array(facts.constant_value(self.factors)?)?.clone();
        let factors = factors.into_dimensionality::<Ix1>().ok()?;
        let channels = Channels::of(facts.shape(self.weight), Some(self.axis));
        let scaled = move |channel: usize, x: f32| (f64::from(x) * factors[channel]) as f32;
        Some((self.weight, channels.mapping(scaled)))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let factors = values.get(self.factors)?.to_f64_vec();
        with_real!(values.get(self.weight)?, weight => self.product(weight, &factors)?)
    }
}
