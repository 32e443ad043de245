//! `dropout` at inference, where it is a constant factor or the identity. Dropout in training is refused.
//!
//! Paddle: `phi/kernels/dropout_kernel.h`. ONNX: Mul, or no node.

use crate::error::{Error, Result};
use crate::graph::{Lowering, TensorId};
use crate::kernels::{Real, map, with_real};
use crate::operator::{Accuracy, Arg, Binding, Form, Function, OpDef, OpReader, Parsed, Values};
use crate::program::{Fact, Facts, ValueId};
use crate::tensor::{Array, Tensor};

pub(super) const OPS: &[OpDef] = &[OpDef::new(
    "dropout",
    &[
        Arg::Tensor("x"),
        Arg::Optional("seed_tensor"),
        Arg::Scalar("p"),
    ],
    &[Form::legacy(
        &["dropout"],
        &[
            Binding::Slot("X"),
            Binding::Optional("Seed"),
            Binding::Scalar {
                attr: "dropout_prob",
                slots: &[],
            },
        ],
        &["Out"],
    )
    .renaming(&[("dropout_implementation", "mode")])],
    Dropout::parse,
)
.with_limits(&["training"])
.with_accuracy(Accuracy::Rounded)];

/// At inference, the identity; in the mode `downgrade_in_infer`, `x · (1 - p)`.
struct Dropout {
    x: ValueId,
    p: ValueId,
    is_downgraded: bool,
}

impl Dropout {
    fn parse(op: &mut OpReader<'_>) -> Parsed {
        // Random numbers are drawn in training alone.
        op.ignore("seed");
        op.ignore("fix_seed");
        if !op.attr_or("is_test", false)? {
            return Err(Error::unsupported(
                "dropout in training mode; call eval() on the model before it is exported",
            ));
        }
        let mode: String = op.attr_or("mode", "downgrade_in_infer".to_owned())?;
        let is_downgraded = match mode.as_str() {
            "upscale_in_train" => false,
            "downgrade_in_infer" => true,
            other => return Err(Error::unsupported(format!("the dropout mode {other:?}"))),
        };
        Ok(Box::new(Self {
            x: op.operand("x")?,
            p: op.operand("p")?,
            is_downgraded,
        }))
    }

    /// The factor of `x`, from the dropout probability `p`. There is none for the identity.
    fn factor(&self, p: Option<&Tensor>) -> Result<Option<f64>> {
        if !self.is_downgraded {
            return Ok(None);
        }
        let p = p.ok_or_else(|| Error::unsupported("a probability that is computed"))?;
        let [p] = p.to_f64_vec()[..] else {
            return Err(Error::malformed("a probability with several elements"));
        };
        // Paddle subtracts in float32, whatever the type of x.
        let factor = f64::from(1.0 - p as f32);
        Ok(Some(factor).filter(|factor| *factor != 1.0))
    }
}

impl Function for Dropout {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let Some(factor) = self.factor(g.constant_value(self.p))? else {
            return Ok(x);
        };
        let factor = g.scalar(g.dtype(self.x), factor);
        Ok(g.node("Mul", &[x, factor], []))
    }

    fn passes_on(&self, facts: &Facts<'_>) -> Option<ValueId> {
        let factor = self.factor(facts.constant_value(self.p));
        matches!(factor, Ok(None)).then_some(self.x)
    }

    fn elementwise_in(&self) -> Vec<ValueId> {
        vec![self.x]
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        let x = values.get(self.x)?;
        let Some(factor) = self.factor(Some(values.get(self.p)?))? else {
            return Ok(x.clone());
        };
        with_real!(x, x => multiplied(x, factor)?)
    }
}

fn multiplied<T: Real>(x: &Array<T>, factor: f64) -> Result<ndarray::ArrayD<T>> {
    let factor = T::from_f64(factor);
    map::map(x, |x| x * factor)
}
