//! `scale_filter`: a filter with its output channels on a scale, which the program gets where what follows a convolution is
//! folded into it. No file has it.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, with_real};
use crate::operator::{Accuracy, Arg, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, DType, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "scale_filter",
    &[Arg::Tensor("filter"), Arg::Tensor("factors")],
    &[],
    ScaleFilter::parse,
)
.with_dtypes(&[DType::F32])
.with_accuracy(Accuracy::Rounded)
.in_no_file()];

/// `filter · factors`, where `filter` is a weight of float32 (`[o, …]`), and `factors` a constant of float64 (`[o]`): each
/// product is rounded once.
///
/// ONNX: an initializer, whose elements are computed when the model is written.
struct ScaleFilter {
    filter: ValueId,
    factors: ValueId,
}

impl ScaleFilter {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            filter: op.operand("filter")?,
            factors: op.operand("factors")?,
        }))
    }

    fn product<T: Real>(filter: &Array<T>, factors: &[f64]) -> Result<Array<T>> {
        if filter.shape().first() != Some(&factors.len()) {
            return Err(Error::malformed(
                "another number of factors than of channels",
            ));
        }
        let mut product = filter.clone();
        for (mut channel, factor) in product.outer_iter_mut().zip(factors) {
            channel.mapv_inplace(|x| T::from_f64(x.to_f64() * factor));
        }
        Ok(product)
    }
}

impl Function for ScaleFilter {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(facts.get(self.filter).clone())
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let factors = g.constant_value(self.factors).map(Tensor::to_f64_vec);
        let factors = factors.ok_or_else(|| Error::internal("factors that are not known"))?;
        let extents = g.shape(self.filter)[1..].iter();
        let channel: i64 = extents.map(|dim| dim.known().unwrap_or(1)).product();
        let channel = usize::try_from(channel).unwrap_or(1).max(1);
        let scaled = move |position: usize, x: f32| {
            let factor = factors.get(position / channel).copied().unwrap_or(1.0);
            (f64::from(x) * factor) as f32
        };
        g.mapped_weight(self.filter, DType::F32, scaled)
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let factors = values.get(self.factors)?.to_f64_vec();
        with_real!(values.get(self.filter)?, filter => Self::product(filter, &factors)?)
    }
}
