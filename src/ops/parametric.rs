//! Activations with parameters of their own.
//!
//! Paddle: `phi/kernels/activation_kernel.h`, functors in `phi/kernels/funcs/activation_functor.h`.

use super::activation::{of_x, plain};
use super::def::OpDef;
use super::operator::{Fact, Facts, Function, Parsed};
use super::reader::OpReader;
use crate::error::{Error, Result};
use crate::lower::{Lowering, NodeAttr, TensorId};
use crate::program::ValueId;
use crate::reference::{Real, Values, map, with_real};
use crate::tensor::Tensor;

pub(super) const OPS: &[OpDef] = &[
    of_x("relu6", &[plain(&["relu6"])], |op| {
        let limit = op.attr_or("threshold", 6.0)?;
        parsed(op, Curve::Clipped { limit })
    }),
    of_x(
        "leaky_relu",
        &[plain(&["leaky_relu"]).renaming(&[("alpha", "negative_slope")])],
        |op| {
            let slope = op.attr_or("negative_slope", 0.02)?;
            parsed(op, Curve::Leaky { slope })
        },
    ),
    of_x("hardsigmoid", &[plain(&["hard_sigmoid"])], |op| {
        let curve = Curve::HardSigmoid {
            slope: op.attr_or("slope", 0.2)?,
            offset: op.attr_or("offset", 0.5)?,
        };
        parsed(op, curve)
    }),
    of_x("hardswish", &[plain(&["hard_swish"])], |op| {
        // Paddle 2.6 ignores other numbers, and Paddle 3 has no place for them.
        for (name, fixed) in [("threshold", 6.0), ("scale", 6.0), ("offset", 3.0)] {
            let value: f64 = op.attr_or(name, fixed)?;
            if value != fixed {
                return Err(Error::unsupported(format!(
                    "a {name} of {value}, which Paddle's versions take differently"
                )));
            }
        }
        parsed(op, Curve::HardSwish)
    }),
    of_x("swish", &[plain(&["swish"])], |op| {
        let beta = op.attr_or("beta", 1.0)?;
        parsed(op, Curve::Swish { beta })
    }),
    of_x("silu", &[plain(&["silu"])], |op| {
        parsed(op, Curve::Swish { beta: 1.0 })
    }),
];

fn parsed(op: &mut OpReader<'_>, curve: Curve) -> Parsed {
    let x = op.operand("x")?;
    Ok(Box::new(Activation { x, curve }))
}

/// What an activation makes of a number.
#[derive(Debug, Clone, Copy)]
enum Curve {
    /// `min(max(x, 0), limit)`
    Clipped { limit: f64 },
    /// `x` if it is positive, else `slope · x`
    Leaky { slope: f64 },
    /// `min(max(slope · x + offset, 0), 1)`
    HardSigmoid { slope: f64, offset: f64 },
    /// `x · min(max(x + 3, 0), 6) / 6`
    HardSwish,
    /// `x · sigmoid(beta · x)`
    Swish { beta: f64 },
}

impl Curve {
    fn at<T: Real>(self, x: T) -> T {
        let real = T::from_f64;
        let clip = |x: T, limit: f64| x.max(T::zero()).min(real(limit));
        match self {
            Curve::Clipped { limit } => clip(x, limit),
            Curve::Leaky { slope } if x < T::zero() => x * real(slope),
            Curve::Leaky { .. } => x,
            Curve::HardSigmoid { slope, offset } => clip(x * real(slope) + real(offset), 1.0),
            Curve::HardSwish => x * clip(x + real(3.0), 6.0) / real(6.0),
            Curve::Swish { beta } => x / (T::one() + (-x * real(beta)).exp()),
        }
    }
}

struct Activation {
    x: ValueId,
    curve: Curve,
}

impl Function for Activation {
    fn infer(&self, facts: &Facts<'_>) -> Result<Fact> {
        Ok(Fact::new(facts.dtype(self.x), facts.shape(self.x).to_vec()))
    }

    fn lower(&self, g: &mut Lowering<'_>) -> Result<TensorId> {
        let x = g.value(self.x)?;
        let dtype = g.dtype(self.x);
        let float = |value: f64| NodeAttr::Float(value as f32);
        Ok(match self.curve {
            Curve::Clipped { limit } => {
                let (zero, limit) = (g.scalar(dtype, 0.0), g.scalar(dtype, limit));
                g.node("Clip", &[x, zero, limit], [])
            }
            Curve::Leaky { slope } => g.node("LeakyRelu", &[x], [("alpha", float(slope))]),
            Curve::HardSigmoid { slope, offset } => {
                let attrs = [("alpha", float(slope)), ("beta", float(offset))];
                g.node("HardSigmoid", &[x], attrs)
            }
            Curve::HardSwish => g.hard_swish(x),
            Curve::Swish { beta } => {
                let mut inner = x;
                if beta != 1.0 {
                    let beta = g.scalar(dtype, beta);
                    inner = g.node("Mul", &[x, beta], []);
                }
                let gate = g.node("Sigmoid", &[inner], []);
                g.node("Mul", &[x, gate], [])
            }
        })
    }

    fn evaluate(&self, values: &Values<'_>) -> Result<Tensor> {
        with_real!(values.get(self.x)?, x => map::map(x, |x| self.curve.at(x)))
    }
}
