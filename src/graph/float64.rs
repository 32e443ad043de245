//! Operators that ONNX Runtime's build for CPUs has no kernels of for float64, made of others that it has.
//!
//! Each is as exact as the runtime's own kernels for float64 would be, up to a few roundings.

use std::f64::consts::{FRAC_PI_2, LN_2};

use super::context::Lowering;
use super::nodes::{Node, NodeAttr, TensorId};
use crate::tensor::DType::{self, F32, F64};

/// The polynomial that equals `(1 + 2z) · exp(z²) · erfc(z)` at 18 Chebyshev nodes between the `t` of 0 and of 6, by the
/// powers of `t`, the highest first. The error of erf by it is below 6e-16.
const ERF: [f64; 18] = [
    3.387_716_206_657_719e-7,
    1.053_512_256_402_912_5e-6,
    -3.853_298_194_253_049_4e-6,
    -1.553_125_107_583_92e-5,
    1.929_452_716_356_835e-5,
    5.046_910_257_423_006e-5,
    -2.902_013_589_730_324e-4,
    2.938_605_979_452_068_7e-4,
    1.755_674_527_294_256_3e-3,
    -9.746_580_673_529_553e-3,
    2.836_227_425_867_080_3e-2,
    -5.869_339_891_253_083_6e-2,
    9.230_432_123_708_882e-2,
    -1.088_039_301_303_058_8e-1,
    8.227_673_848_938_744e-2,
    3.585_415_485_352_14e-3,
    -1.402_405_985_855_444_4e-1,
    1.237_512_630_837_827_7,
];

/// A float attribute of a node, or the default that the operator has for it.
fn float_attr(node: &Node, name: &str, default: f32) -> f64 {
    let mut attrs = node.attrs.iter();
    let value = attrs.find_map(|(known, attr)| match attr {
        NodeAttr::Float(value) if known == name => Some(*value),
        _ => None,
    });
    f64::from(value.unwrap_or(default))
}

impl Lowering<'_> {
    /// Emits what computes the same as a node, whose output it gives, if it is of float64 and known how to be composed.
    pub(super) fn composed(&mut self, node: &Node, dtype: DType) -> bool {
        let (Some(Some(x)), Some(output)) = (node.inputs.first(), node.outputs.first()) else {
            return false;
        };
        if dtype != F64 {
            return false;
        }
        let attr = |name, default| float_attr(node, name, default);
        let x = *x;
        match node.op_type.as_ref() {
            "Elu" => self.elu(x, attr("alpha", 1.0), 1.0),
            "Selu" => self.elu(x, attr("alpha", 1.673_263_2), attr("gamma", 1.050_701)),
            "HardSigmoid" => self.hard_sigmoid(x, attr("alpha", 0.2), attr("beta", 0.5)),
            "HardSwish" => {
                let gate = self.hard_sigmoid(x, 1.0 / 6.0, 0.5);
                self.node("Mul", &[x, gate], [])
            }
            "Softplus" => self.softplus(x),
            "Mish" => {
                let softplus = self.softplus(x);
                let tanh = self.node("Tanh", &[softplus], []);
                self.node("Mul", &[x, tanh], [])
            }
            "Softsign" => {
                let size = self.node("Abs", &[x], []);
                let divisor = self.plus(size, 1.0);
                self.node("Div", &[x, divisor], [])
            }
            "ThresholdedRelu" => {
                let (limit, zero) = (self.scalar(F64, attr("alpha", 1.0)), self.scalar(F64, 0.0));
                let is_high = self.node("Greater", &[x, limit], []);
                self.node("Where", &[is_high, x, zero], [])
            }
            "Erf" => self.erf(x),
            "Tan" => {
                let (sin, cos) = (self.node("Sin", &[x], []), self.node("Cos", &[x], []));
                self.node("Div", &[sin, cos], [])
            }
            "Cosh" => self.half_exponentials("Add", x),
            "Sinh" => self.sinh(x),
            "Asinh" => self.asinh(x),
            "Acosh" => self.acosh(x),
            "Atanh" => self.atanh(x),
            "Atan" => self.atan(x),
            "Asin" => self.asin(x),
            "Acos" => {
                let asin = self.asin(x);
                let right_angle = self.scalar(F64, FRAC_PI_2);
                self.node("Sub", &[right_angle, asin], [])
            }
            _ => return false,
        };
        self.give(*output);
        true
    }

    fn plus(&mut self, x: TensorId, number: f64) -> TensorId {
        let number = self.scalar(F64, number);
        self.node("Add", &[x, number], [])
    }

    fn times(&mut self, x: TensorId, number: f64) -> TensorId {
        let number = self.scalar(F64, number);
        self.node("Mul", &[x, number], [])
    }

    /// `gamma · x` where `x` is positive, and `gamma · alpha · (exp(x) - 1)` elsewhere.
    fn elu(&mut self, x: TensorId, alpha: f64, gamma: f64) -> TensorId {
        let zero = self.scalar(F64, 0.0);
        let is_high = self.node("Greater", &[x, zero], []);
        let exp = self.node("Exp", &[x], []);
        let low = self.plus(exp, -1.0);
        let low = self.times(low, alpha);
        let either = self.node("Where", &[is_high, x, low], []);
        self.times(either, gamma)
    }

    /// `min(max(alpha · x + beta, 0), 1)`
    fn hard_sigmoid(&mut self, x: TensorId, alpha: f64, beta: f64) -> TensorId {
        let scaled = self.times(x, alpha);
        let moved = self.plus(scaled, beta);
        let (zero, one) = (self.scalar(F64, 0.0), self.scalar(F64, 1.0));
        self.clip(moved, F64, zero, one)
    }

    /// `max(x, 0) + ln(1 + exp(-|x|))`, which does not overflow.
    fn softplus(&mut self, x: TensorId) -> TensorId {
        let size = self.node("Abs", &[x], []);
        let negative = self.node("Neg", &[size], []);
        let exp = self.node("Exp", &[negative], []);
        let sum = self.plus(exp, 1.0);
        let rest = self.node("Log", &[sum], []);
        let ramp = self.node("Relu", &[x], []);
        self.node("Add", &[ramp, rest], [])
    }

    /// `(exp(x) ± exp(-x)) / 2`, by Add or Sub.
    fn half_exponentials(&mut self, op_type: &'static str, x: TensorId) -> TensorId {
        let negative = self.node("Neg", &[x], []);
        let (up, down) = (
            self.node("Exp", &[x], []),
            self.node("Exp", &[negative], []),
        );
        let both = self.node(op_type, &[up, down], []);
        self.times(both, 0.5)
    }

    /// `tanh(x) · cosh(x)`, in which small numbers do not cancel.
    fn sinh(&mut self, x: TensorId) -> TensorId {
        let cosh = self.half_exponentials("Add", x);
        let tanh = self.node("Tanh", &[x], []);
        self.node("Mul", &[tanh, cosh], [])
    }

    /// `sign(x) · ln(|x| + √(x² + 1))`, with `ln 2|x|` where the square would overflow.
    fn asinh(&mut self, x: TensorId) -> TensorId {
        let size = self.node("Abs", &[x], []);
        let square = self.node("Mul", &[size, size], []);
        let sum = self.plus(square, 1.0);
        let root = self.node("Sqrt", &[sum], []);
        let sum = self.node("Add", &[size, root], []);
        let log = self.node("Log", &[sum], []);
        let log = self.log_of_large(size, log);
        let sign = self.node("Sign", &[x], []);
        self.node("Mul", &[sign, log], [])
    }

    /// `ln(x + √((x - 1) (x + 1)))`, with `ln 2x` where the product would overflow.
    fn acosh(&mut self, x: TensorId) -> TensorId {
        let (less, more) = (self.plus(x, -1.0), self.plus(x, 1.0));
        let product = self.node("Mul", &[less, more], []);
        let root = self.node("Sqrt", &[product], []);
        let sum = self.node("Add", &[x, root], []);
        let log = self.node("Log", &[sum], []);
        self.log_of_large(x, log)
    }

    /// `ln x + ln 2` where `x` is larger than any number whose square matters beside 1; `otherwise` elsewhere.
    fn log_of_large(&mut self, x: TensorId, otherwise: TensorId) -> TensorId {
        let limit = self.scalar(F64, 1e10);
        let is_large = self.node("Greater", &[x, limit], []);
        let log = self.node("Log", &[x], []);
        let log = self.plus(log, LN_2);
        self.node("Where", &[is_large, log, otherwise], [])
    }

    /// `ln((1 + x) / (1 - x)) / 2`
    fn atanh(&mut self, x: TensorId) -> TensorId {
        let more = self.plus(x, 1.0);
        let negative = self.node("Neg", &[x], []);
        let less = self.plus(negative, 1.0);
        let ratio = self.node("Div", &[more, less], []);
        let log = self.node("Log", &[ratio], []);
        self.times(log, 0.5)
    }

    /// The arc tangent `y` in float32, whose error is `atan((x cos y - sin y) / (cos y + x sin y))`. This is so small
    /// that it equals its own tangent in float64.
    fn atan(&mut self, x: TensorId) -> TensorId {
        // Numbers beyond have the same arc tangent, and infinity has no sine.
        let (low, high) = (self.scalar(F64, -1e300), self.scalar(F64, 1e300));
        let x = self.clip(x, F64, low, high);
        let rough = self.cast(x, F64, F32);
        let rough = self.node("Atan", &[rough], []);
        let rough = self.cast(rough, F32, F64);
        let (sin, cos) = (
            self.node("Sin", &[rough], []),
            self.node("Cos", &[rough], []),
        );
        let product = self.node("Mul", &[x, cos], []);
        let over = self.node("Sub", &[product, sin], []);
        let product = self.node("Mul", &[x, sin], []);
        let under = self.node("Add", &[cos, product], []);
        let error = self.node("Div", &[over, under], []);
        self.node("Add", &[rough, error], [])
    }

    /// `sign(x) · (1 - exp(-z²) · p(t) / (1 + 2z))`, where `z` is `|x|`, of which 6 stands for all beyond, `t` is
    /// `(z - 3.75) / (z + 3.75)`, and `p` the polynomial of [`ERF`].
    fn erf(&mut self, x: TensorId) -> TensorId {
        let size = self.node("Abs", &[x], []);
        let (low, high) = (self.scalar(F64, 0.0), self.scalar(F64, 6.0));
        let z = self.clip(size, F64, low, high);
        let (less, more) = (self.plus(z, -3.75), self.plus(z, 3.75));
        let t = self.node("Div", &[less, more], []);
        let mut sum = self.scalar(F64, ERF[0]);
        for coefficient in &ERF[1..] {
            let product = self.node("Mul", &[sum, t], []);
            sum = self.plus(product, *coefficient);
        }
        let twice = self.times(z, 2.0);
        let divisor = self.plus(twice, 1.0);
        let ratio = self.node("Div", &[sum, divisor], []);
        let square = self.node("Mul", &[z, z], []);
        let negative = self.node("Neg", &[square], []);
        let exp = self.node("Exp", &[negative], []);
        let rest = self.node("Mul", &[exp, ratio], []);
        let one = self.scalar(F64, 1.0);
        let erf = self.node("Sub", &[one, rest], []);
        let sign = self.node("Sign", &[x], []);
        self.node("Mul", &[sign, erf], [])
    }

    /// `atan(x / √((1 - x) (1 + x)))`
    fn asin(&mut self, x: TensorId) -> TensorId {
        let negative = self.node("Neg", &[x], []);
        let (less, more) = (self.plus(negative, 1.0), self.plus(x, 1.0));
        let product = self.node("Mul", &[less, more], []);
        let root = self.node("Sqrt", &[product], []);
        let ratio = self.node("Div", &[x, root], []);
        self.atan(ratio)
    }
}
