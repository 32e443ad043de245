//! Labels mixed with a distribution over all classes: `label_smooth`.
//!
//! Paddle: `phi/kernels/label_smooth_kernel.h`. ONNX: Mul, Add.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map};
use crate::operator::{
    Accuracy, Arg, Binding, FLOATS, Form, Function, OpDef, OpReader, Parsed, Values,
};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::DType::I64;
use crate::tensor::{Array, Dim, Tensor, broadcast_dims};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "label_smooth",
    &[Arg::Tensor("label"), Arg::Optional("prior_dist")],
    &[Form::legacy(
        &["label_smooth"],
        &[Binding::Slot("X"), Binding::Optional("PriorDist")],
        &["Out"],
    )],
    LabelSmooth::parse,
)
.with_dtypes(FLOATS)
.with_accuracy(Accuracy::Rounded)];

/// `(1 - epsilon) · label + epsilon · prior`, with the classes along the last axis. Without a prior, all classes have
/// the same probability.
struct LabelSmooth {
    label: ValueId,
    prior: Option<ValueId>,
    epsilon: f64,
}

impl LabelSmooth {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        Ok(Box::new(Self {
            label: op.operand("label")?,
            prior: op.optional("prior_dist")?,
            epsilon: op.attr_or("epsilon", 0.0)?,
        }))
    }

    fn smoothed<T: Real>(&self, label: &Array<T>, prior: Option<&Array<T>>) -> Result<Tensor> {
        let (stays, epsilon) = (T::from_f64(1.0 - self.epsilon), T::from_f64(self.epsilon));
        let smoothed = if let Some(prior) = prior {
            map::zip(label, prior, |x, prior| stays * x + epsilon * prior)?
        } else {
            let classes = label.shape().last().copied().unwrap_or(1);
            let share = epsilon / T::from_f64(classes as f64);
            map::map(label, |x| stays * x + share)?
        };
        Ok(T::tensor(smoothed.into()))
    }
}

impl Function for LabelSmooth {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        let label = facts.get(self.label);
        if label.shape.is_empty() {
            return Err(Error::malformed("labels of rank 0"));
        }
        if let Some(prior) = self.prior {
            broadcast_dims(&label.shape, facts.shape(prior))?;
        }
        Ok(Fact::new(label.dtype, label.shape.clone()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let (dtype, rank) = (g.dtype(self.label), g.rank(self.label) as i64);
        let label = g.value(self.label)?;
        let stays = g.scalar(dtype, 1.0 - self.epsilon);
        let kept = g.node("Mul", &[label, stays], []);
        let epsilon = g.scalar(dtype, self.epsilon);
        let share = if let Some(prior) = self.prior {
            let prior = g.value(prior)?;
            g.node("Mul", &[prior, epsilon], [])
        } else {
            let classes = g.shape(self.label).last().and_then(Dim::known);
            let classes = if let Some(classes) = classes {
                g.scalar(dtype, classes as f64)
            } else {
                let classes = g.shape_slice(label, rank - 1, rank);
                g.cast(classes, I64, dtype)
            };
            g.node("Div", &[epsilon, classes], [])
        };
        Ok(g.node("Add", &[kept, share], []))
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let prior = self.prior.map(|prior| values.get(prior)).transpose()?;
        match (values.get(self.label)?, prior) {
            (Tensor::F32(label), Some(Tensor::F32(prior))) => self.smoothed(label, Some(prior)),
            (Tensor::F64(label), Some(Tensor::F64(prior))) => self.smoothed(label, Some(prior)),
            (Tensor::F32(label), None) => self.smoothed(label, None),
            (Tensor::F64(label), None) => self.smoothed(label, None),
            _ => Err(Error::unsupported(
                "labels of one type and a prior of another",
            )),
        }
    }
}
