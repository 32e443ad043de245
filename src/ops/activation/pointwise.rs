//! Activations of each element: `relu`, `sigmoid`, `gelu`, `relu6`, `hardtanh`, `leaky_relu`, `rrelu`, `hardsigmoid`,
//! `hardswish`, `swish`, `silu`, `elu`, `celu`, `selu`, `softplus`, `mish`, `softsign`, `logsigmoid`, `hardshrink`,
//! `softshrink`, `soft_relu`, `tanh_shrink`, `thresholded_relu`, `stanh`.
//!
//! Paddle: `phi/kernels/{activation,gelu,selu,rrelu}_kernel.h`, `phi/kernels/cpu/soft_relu_kernel.cc`, functors in
//! `phi/kernels/funcs/activation_functor.h`. ONNX: Relu, Sigmoid, Gelu, Clip, LeakyRelu, HardSigmoid, HardSwish, Elu,
//! Celu, Selu, Softplus, Mish, Swish, Softsign, Shrink, ThresholdedRelu; the others are composed of Sigmoid, Softplus, Tanh
//! and arithmetic.

use ndarray::ArrayD;

use crate::error::{Error, Result};
use crate::graph::{Lowering, NodeAttr, TensorId};
use crate::kernels::Real;
use crate::kernels::map::map;
use crate::operator::{Accuracy, OpDef, OpReader, Parsed};
use crate::ops::shared::pointwise::{Curve, of_x, plain, pointwise};
use crate::tensor::{Array, DType};

pub(super) const OPS: &[OpDef] = &[
    of_x("relu", &[plain(&["relu"])], |op| pointwise(op, Relu)),
    of_x("sigmoid", &[plain(&["sigmoid"])], |op| {
        pointwise(op, Activation::Sigmoid)
    })
    .with_accuracy(Accuracy::NearOne),
    of_x("gelu", &[plain(&["gelu"])], |op| {
        let tanh = op.attr_or("approximate", false)?;
        pointwise(op, Activation::Gelu { tanh })
    }),
    of_x("relu6", &[plain(&["relu6"])], |op| {
        let max = op.attr_or("threshold", 6.0)?;
        pointwise(op, Activation::Clipped { min: 0.0, max })
    }),
    of_x("hardtanh", &[plain(&["brelu"])], |op| {
        // No defaults: those of Paddle 2's op differ from those of its Python function, and programs state the limits.
        let (min, max) = (op.attr("t_min")?, op.attr("t_max")?);
        pointwise(op, Activation::Clipped { min, max })
    }),
    of_x(
        "leaky_relu",
        &[plain(&["leaky_relu"]).renaming(&[("alpha", "negative_slope")])],
        |op| {
            let slope = op.attr_or("negative_slope", 0.02)?;
            refuse_before_2(op, slope > 1.0, "a slope above 1 (`alpha`)")?;
            pointwise(op, Activation::Leaky { slope })
        },
    ),
    // There is no legacy form: Paddle 2 saves the op without its second result, `noise`, and then fails to run it.
    of_x("rrelu", &[], |op| {
        let (lower, upper): (f64, f64) = (op.attr("lower")?, op.attr("upper")?);
        if !op.attr_or("is_test", false)? {
            return Err(Error::unsupported(
                "random slopes, as in training (`is_test`=False): call eval() on the model before it is exported",
            ));
        }
        let slope = (lower + upper) / 2.0;
        pointwise(op, Activation::Leaky { slope })
    }),
    of_x("hardsigmoid", &[plain(&["hard_sigmoid"])], |op| {
        let curve = Activation::HardSigmoid {
            slope: op.attr_or("slope", 0.2)?,
            offset: op.attr_or("offset", 0.5)?,
        };
        pointwise(op, curve)
    }),
    of_x("hardswish", &[plain(&["hard_swish"])], |op| {
        // Paddle 2.6 ignores other values, and the op of Paddle 3 has no such attributes.
        for (name, fixed) in [("threshold", 6.0), ("scale", 6.0), ("offset", 3.0)] {
            let value: f64 = op.attr_or(name, fixed)?;
            if value != fixed {
                return Err(Error::unsupported(format!(
                    "a {name} of {value}, which Paddle's versions take differently"
                )));
            }
        }
        pointwise(op, Activation::HardSwish)
    }),
    of_x("swish", &[plain(&["swish"])], |op| {
        let beta = op.attr_or("beta", 1.0)?;
        pointwise(op, Activation::Swish { beta })
    }),
    of_x("silu", &[plain(&["silu"])], |op| {
        pointwise(op, Activation::Swish { beta: 1.0 })
    }),
    of_x("elu", &[plain(&["elu"])], |op| {
        let alpha = op.attr_or("alpha", 1.0)?;
        refuse_before_2(op, alpha < 0.0, "an `alpha` below 0")?;
        pointwise(op, Activation::Elu { alpha })
    }),
    of_x("celu", &[plain(&["celu"])], |op| {
        let alpha = op.attr_or("alpha", 1.0)?;
        if alpha == 0.0 {
            return Err(Error::malformed("an alpha of 0, by which x is divided"));
        }
        pointwise(op, Activation::Celu { alpha })
    }),
    of_x("selu", &[plain(&["selu"])], |op| {
        let curve = Activation::Selu {
            scale: op.attr("scale")?,
            alpha: op.attr("alpha")?,
        };
        pointwise(op, curve)
    }),
    of_x("softplus", &[plain(&["softplus"])], |op| {
        let curve = Activation::Softplus {
            beta: op.attr_or("beta", 1.0)?,
            threshold: op.attr_or("threshold", 20.0)?,
        };
        pointwise(op, curve)
    }),
    of_x(
        "mish",
        &[plain(&["mish"]).renaming(&[("threshold", "lambda")])],
        |op| {
            let threshold = op.attr_or("lambda", 20.0)?;
            pointwise(op, Activation::Mish { threshold })
        },
    ),
    of_x("softsign", &[plain(&["softsign"])], |op| {
        pointwise(op, Activation::Softsign)
    }),
    of_x("logsigmoid", &[plain(&["logsigmoid"])], |op| {
        pointwise(op, Activation::LogSigmoid)
    }),
    of_x("hardshrink", &[plain(&["hard_shrink"])], |op| {
        let threshold = op.attr_or("threshold", 0.5)?;
        refuse_before_2(op, threshold < 0.0, "a `threshold` below 0")?;
        let curve = Activation::HardShrink {
            threshold,
            with_threshold: !op.is_former(),
        };
        pointwise(op, curve)
    })
    .with_opset(9),
    of_x(
        "softshrink",
        &[plain(&["softshrink"]).renaming(&[("lambda", "threshold")])],
        parse_soft_shrink,
    )
    .with_opset(9),
    of_x("soft_relu", &[plain(&["soft_relu"])], parse_soft_relu),
    of_x("tanh_shrink", &[plain(&["tanh_shrink"])], |op| {
        pointwise(op, Activation::TanhShrink)
    }),
    of_x("thresholded_relu", &[plain(&["thresholded_relu"])], |op| {
        let curve = Activation::Thresholded {
            threshold: op.attr_or("threshold", 1.0)?,
            value: op.attr_or("value", 0.0)?,
        };
        pointwise(op, curve)
    })
    .with_opset(9),
    of_x("stanh", &[plain(&["stanh"])], |op| {
        let curve = Activation::ScaledTanh {
            inner: op.attr_or("scale_a", 0.67)?,
            outer: op.attr_or("scale_b", 1.7159)?,
        };
        pointwise(op, curve)
    }),
];

/// Refuses a number with which kernels of Paddle 1 compute something else than later ones.
fn refuse_before_2(op: &OpReader<'_>, is_other: bool, number: &str) -> Result<()> {
    if is_other && op.is_before(2, 0) {
        return Err(Error::unsupported(format!(
            "{number}, which Paddle 1 and Paddle 2 take differently"
        )));
    }
    Ok(())
}

fn parse_soft_relu(op: &mut OpReader<'_>) -> Parsed {
    let threshold: f64 = op.attr_or("threshold", 40.0)?;
    if threshold.is_nan() || threshold < 0.0 {
        return Err(Error::malformed(format!("a threshold of {threshold}")));
    }
    pointwise(op, SoftRelu { threshold })
}

/// `ln(1 + exp(x))` of `x` clipped to `[-threshold, threshold]`.
struct SoftRelu {
    threshold: f64,
}

impl Curve for SoftRelu {
    fn at<T: Real>(&self, x: T) -> T {
        let threshold = T::from_f64(self.threshold);
        let x = x.max(-threshold).min(threshold);
        (T::one() + x.exp()).ln()
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let limits = [-self.threshold, self.threshold, 1.0];
        let [min, max, one] = limits.map(|limit| g.scalar(dtype, limit));
        let x = g.clip(x, dtype, min, max);
        let exp = g.node("Exp", &[x], []);
        let sum = g.node("Add", &[exp, one], []);
        g.node("Log", &[sum], [])
    }
}

fn parse_soft_shrink(op: &mut OpReader<'_>) -> Parsed {
    let threshold = op.attr_or("threshold", 0.5)?;
    if threshold < 0.0 {
        return Err(Error::malformed(format!("a threshold of {threshold}")));
    }
    pointwise(op, Activation::SoftShrink { threshold })
}

/// `max(x, 0)`. It is not an [`Activation`], since it is the most frequent one: the loop of a curve of its own need not
/// match on the kind of activation for each element.
struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        x.max(T::zero())
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, _: DType) -> TensorId {
        g.node("Relu", &[x], [])
    }
}

/// An activation with its parameters.
#[derive(Debug, Clone, Copy)]
enum Activation {
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x · Φ(x)`, where Φ is the normal distribution function or, with `tanh`, its approximation by tanh
    Gelu { tanh: bool },
    /// `min(max(x, min), max)`
    Clipped { min: f64, max: f64 },
    /// `x` if it is positive, else `slope · x`
    Leaky { slope: f64 },
    /// `min(max(slope · x + offset, 0), 1)`
    HardSigmoid { slope: f64, offset: f64 },
    /// `x · min(max(x + 3, 0), 6) / 6`
    HardSwish,
    /// `x · sigmoid(beta · x)`
    Swish { beta: f64 },
    /// `x`, or if it is negative, `alpha · (exp(x) - 1)`
    Elu { alpha: f64 },
    /// `x`, or if it is negative, `alpha · (exp(x / alpha) - 1)`
    Celu { alpha: f64 },
    /// `scale · x`, or if `x` is not positive, `scale · alpha · (exp(x) - 1)`
    Selu { scale: f64, alpha: f64 },
    /// `ln(1 + exp(beta · x)) / beta`, but `x` where `beta · x` is above the threshold
    Softplus { beta: f64, threshold: f64 },
    /// `x · tanh(softplus(x))`, where softplus has a beta of 1
    Mish { threshold: f64 },
    /// `x / (1 + |x|)`
    Softsign,
    /// `ln(sigmoid(x))`
    LogSigmoid,
    /// `x` if `|x|` is above the threshold, else 0; at the threshold, `x` in Paddle 3 (`with_threshold`) and 0 before
    HardShrink {
        threshold: f64,
        with_threshold: bool,
    },
    /// `x` moved towards 0 by the threshold, but not past 0
    SoftShrink { threshold: f64 },
    /// `x - tanh(x)`
    TanhShrink,
    /// `x` if it is above the threshold, else `value`
    Thresholded { threshold: f64, value: f64 },
    /// `outer · tanh(inner · x)`
    ScaledTanh { inner: f64, outer: f64 },
}

impl Curve for Activation {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        let real = T::from_f64;
        let (zero, one) = (T::zero(), T::one());
        let clip = |x: T, min: f64, max: f64| x.max(real(min)).min(real(max));
        match *self {
            Activation::Sigmoid => (one + (-x).exponential()).recip(),
            Activation::Gelu { tanh: true } => gelu_tanh(x),
            Activation::Gelu { tanh: false } => gelu_erf(x),
            Activation::Clipped { min, max } => clip(x, min, max),
            Activation::Leaky { slope } if x < zero => x * real(slope),
            Activation::HardSigmoid { slope, offset } => {
                clip(x * real(slope) + real(offset), 0.0, 1.0)
            }
            Activation::HardSwish => x * clip(x + real(3.0), 0.0, 6.0) / real(6.0),
            Activation::Swish { beta } => x / (one + (-x * real(beta)).exponential()),
            Activation::Elu { alpha } if x < zero => real(alpha) * (x.exp() - one),
            Activation::Celu { alpha } if x < zero => real(alpha) * ((x / real(alpha)).exp() - one),
            Activation::Selu { scale, alpha } if x <= zero => {
                real(scale) * (real(alpha) * x.exp() - real(alpha))
            }
            Activation::Selu { scale, .. } => real(scale) * x,
            Activation::Softplus { beta, threshold } => softplus(x, beta, threshold),
            Activation::Mish { threshold } => x * softplus(x, 1.0, threshold).tanh(),
            Activation::Softsign => x / (one + x.abs()),
            Activation::LogSigmoid => {
                let low = x.min(zero);
                low - (one + (-x.abs()).exp()).ln()
            }
            Activation::HardShrink {
                threshold,
                with_threshold,
            } if x.abs() < real(threshold) || (!with_threshold && x.abs() == real(threshold)) => {
                zero
            }
            Activation::SoftShrink { threshold } if x > real(threshold) => x - real(threshold),
            Activation::SoftShrink { threshold } if x < -real(threshold) => x + real(threshold),
            Activation::SoftShrink { .. } => zero,
            Activation::TanhShrink => x - x.tanh(),
            Activation::Thresholded { threshold, value } if x <= real(threshold) => real(value),
            Activation::ScaledTanh { inner, outer } => real(outer) * (real(inner) * x).tanh(),
            Activation::Leaky { .. }
            | Activation::Elu { .. }
            | Activation::Celu { .. }
            | Activation::HardShrink { .. }
            | Activation::Thresholded { .. } => x,
        }
    }

    /// The most frequent activations have loops of their own, so that the kind is not looked at for each element.
    fn at_each<T: Real>(&self, x: &Array<T>) -> Result<ArrayD<T>> {
        match *self {
            Activation::Sigmoid => map(x, |x| Activation::Sigmoid.at(x)),
            Activation::Gelu { tanh: false } => map(x, |x| Activation::Gelu { tanh: false }.at(x)),
            Activation::Clipped { min, max } => map(x, |x| Activation::Clipped { min, max }.at(x)),
            Activation::Leaky { slope } => map(x, |x| Activation::Leaky { slope }.at(x)),
            Activation::HardSigmoid { slope, offset } => {
                map(x, |x| Activation::HardSigmoid { slope, offset }.at(x))
            }
            Activation::HardSwish => map(x, |x| Activation::HardSwish.at(x)),
            Activation::Swish { beta } => map(x, |x| Activation::Swish { beta }.at(x)),
            other => map(x, |x| other.at(x)),
        }
    }

    fn lower(&self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        let float = |value: f64| NodeAttr::Float(value as f32);
        match *self {
            Activation::Sigmoid => g.node("Sigmoid", &[x], []),
            Activation::Gelu { tanh } => g.gelu(x, dtype, tanh),
            Activation::Clipped { min, max } => {
                let (min, max) = (g.scalar(dtype, min), g.scalar(dtype, max));
                g.clip(x, dtype, min, max)
            }
            // ONNX Runtime has no LeakyRelu kernel for float64.
            Activation::Leaky { slope } if dtype == DType::F64 => {
                let (zero, slope) = (g.scalar(dtype, 0.0), g.scalar(dtype, slope));
                let is_negative = g.node("Less", &[x, zero], []);
                let scaled = g.node("Mul", &[x, slope], []);
                g.node("Where", &[is_negative, scaled, x], [])
            }
            Activation::Leaky { slope } => g.node("LeakyRelu", &[x], [("alpha", float(slope))]),
            Activation::HardSigmoid { slope, offset } => {
                let attrs = [("alpha", float(slope)), ("beta", float(offset))];
                g.node("HardSigmoid", &[x], attrs)
            }
            Activation::HardSwish => g.hard_swish(x),
            Activation::Elu { alpha } => g.node("Elu", &[x], [("alpha", float(alpha))]),
            Activation::Celu { alpha } => g.celu(x, dtype, alpha),
            Activation::Selu { scale, alpha } => {
                let attrs = [("alpha", float(alpha)), ("gamma", float(scale))];
                g.node("Selu", &[x], attrs)
            }
            Activation::Mish { threshold: 20.0 } => g.mish(x),
            Activation::Softsign => g.node("Softsign", &[x], []),
            Activation::HardShrink {
                threshold,
                with_threshold: false,
            } => g.node("Shrink", &[x], [("lambd", float(threshold))]),
            Activation::HardShrink { threshold, .. } => {
                let [limit, zero] = [threshold, 0.0].map(|number| g.scalar(dtype, number));
                let distance = g.node("Abs", &[x], []);
                let is_small = g.node("Less", &[distance, limit], []);
                g.node("Where", &[is_small, zero, x], [])
            }
            Activation::SoftShrink { threshold } => {
                let attrs = [("lambd", float(threshold)), ("bias", float(threshold))];
                g.node("Shrink", &[x], attrs)
            }
            Activation::Thresholded {
                threshold,
                value: 0.0,
            } => g.node("ThresholdedRelu", &[x], [("alpha", float(threshold))]),
            Activation::Swish { beta } => g.swish(x, dtype, beta),
            Activation::Softplus { .. }
            | Activation::Mish { .. }
            | Activation::LogSigmoid
            | Activation::TanhShrink
            | Activation::Thresholded { .. }
            | Activation::ScaledTanh { .. } => self.lower_composed(g, x, dtype),
        }
    }
}

impl Activation {
    /// Emits the activations for which ONNX has no operator, or none with such parameters.
    fn lower_composed(self, g: &mut Lowering<'_>, x: TensorId, dtype: DType) -> TensorId {
        match self {
            Activation::Softplus { beta, threshold } => {
                lower_softplus(g, x, dtype, beta, threshold)
            }
            Activation::Mish { threshold } => {
                let softplus = lower_softplus(g, x, dtype, 1.0, threshold);
                let gate = g.node("Tanh", &[softplus], []);
                g.node("Mul", &[x, gate], [])
            }
            Activation::LogSigmoid => {
                let opposite = g.node("Neg", &[x], []);
                let softplus = g.node("Softplus", &[opposite], []);
                g.node("Neg", &[softplus], [])
            }
            Activation::TanhShrink => {
                let tanh = g.node("Tanh", &[x], []);
                g.node("Sub", &[x, tanh], [])
            }
            Activation::Thresholded { threshold, value } => {
                let (threshold, value) = (g.scalar(dtype, threshold), g.scalar(dtype, value));
                let is_above = g.node("Greater", &[x, threshold], []);
                g.node("Where", &[is_above, x, value], [])
            }
            Activation::ScaledTanh { inner, outer } => {
                let inner = scaled(g, x, dtype, inner);
                let tanh = g.node("Tanh", &[inner], []);
                scaled(g, tanh, dtype, outer)
            }
            _ => x,
        }
    }
}

/// `x · factor`
fn scaled(g: &mut Lowering<'_>, x: TensorId, dtype: DType, factor: f64) -> TensorId {
    if factor == 1.0 {
        return x;
    }
    let factor = g.scalar(dtype, factor);
    g.node("Mul", &[x, factor], [])
}

fn softplus<T: Real>(x: T, beta: f64, threshold: f64) -> T {
    let (beta, threshold) = (T::from_f64(beta), T::from_f64(threshold));
    if x * beta > threshold {
        x
    } else {
        (T::one() + (x * beta).exp()).ln() / beta
    }
}

/// Emits [`Activation::Softplus`]. ONNX's Softplus has no threshold. Where the two cases differ at the threshold by no
/// more than rounding, the threshold is left out.
fn lower_softplus(
    g: &mut Lowering<'_>,
    x: TensorId,
    dtype: DType,
    beta: f64,
    threshold: f64,
) -> TensorId {
    let inner = scaled(g, x, dtype, beta);
    let mut softplus = g.node("Softplus", &[inner], []);
    if beta != 1.0 {
        let beta = g.scalar(dtype, beta);
        softplus = g.node("Div", &[softplus, beta], []);
    }
    let step = (-threshold).exp().ln_1p();
    let rounding = if dtype == DType::F64 {
        f64::EPSILON
    } else {
        f64::from(f32::EPSILON)
    };
    if step <= threshold * rounding / 2.0 {
        return softplus;
    }
    let threshold = g.scalar(dtype, threshold);
    let is_above = g.node("Greater", &[inner, threshold], []);
    g.node("Where", &[is_above, x, softplus], [])
}

#[inline(always)]
fn gelu_erf<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    x * half * (T::one() + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

fn gelu_tanh<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    let root = T::from_f64(std::f64::consts::FRAC_2_PI.sqrt());
    let cubic = T::from_f64(0.044_715);
    x * half * (T::one() + (root * (x + cubic * x * x * x)).tanh())
}
