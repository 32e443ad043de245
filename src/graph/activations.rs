//! Activations that ONNX has operators for in newer opsets alone, or not for all element types.

use super::context::Lowering;
use super::nodes::{NodeAttr, TensorId};
use crate::tensor::DType;

impl Lowering<'_> {
    /// Emits Gelu: `x · Φ(x)`, or its approximation by `tanh`, of the floating-point type `dtype`. Before opset 20, the
    /// first with the operator, and for float64, for which runtimes have no kernel, emits its definition by Erf or
    /// Tanh, in the order of operations that runtimes recognise and fuse.
    pub fn gelu(&mut self, x: TensorId, dtype: DType, tanh: bool) -> TensorId {
        if self.opset >= 20 && dtype != DType::F64 {
            let approximate = NodeAttr::String(if tanh { "tanh" } else { "none" });
            return self.node("Gelu", &[x], [("approximate", approximate)]);
        }
        let one = self.scalar(dtype, 1.0);
        let half = self.scalar(dtype, 0.5);
        if tanh {
            return self.gelu_tanh(x, dtype, one, half);
        }
        let root = self.scalar(dtype, std::f64::consts::SQRT_2);
        let scaled = self.node("Div", &[x, root], []);
        let erf = self.node("Erf", &[scaled], []);
        let sum = self.node("Add", &[erf, one], []);
        let product = self.node("Mul", &[x, sum], []);
        self.node("Mul", &[product, half], [])
    }

    /// Emits `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` for opsets without Gelu.
    fn gelu_tanh(&mut self, x: TensorId, dtype: DType, one: TensorId, half: TensorId) -> TensorId {
        let three = self.scalar(dtype, 3.0);
        let cubic = self.scalar(dtype, 0.044_715);
        let root = self.scalar(dtype, std::f64::consts::FRAC_2_PI.sqrt());
        let cube = self.node("Pow", &[x, three], []);
        let cube = self.node("Mul", &[cube, cubic], []);
        let inner = self.node("Add", &[x, cube], []);
        let inner = self.node("Mul", &[inner, root], []);
        let tanh = self.node("Tanh", &[inner], []);
        let sum = self.node("Add", &[tanh, one], []);
        let product = self.node("Mul", &[x, sum], []);
        self.node("Mul", &[product, half], [])
    }

    /// Emits HardSwish: `x · min(max(x + 3, 0), 6) / 6`. Before opset 14, the first with the operator, emits
    /// HardSigmoid and Mul.
    pub fn hard_swish(&mut self, x: TensorId) -> TensorId {
        if self.opset >= 14 {
            return self.node("HardSwish", &[x], []);
        }
        let attrs = [
            ("alpha", NodeAttr::Float(1.0 / 6.0)),
            ("beta", NodeAttr::Float(0.5)),
        ];
        let gate = self.node("HardSigmoid", &[x], attrs);
        self.node("Mul", &[x, gate], [])
    }

    /// Emits Celu: `x` where it is not negative, and `alpha · (exp(x / alpha) - 1)` where it is. The operator takes
    /// float32 alone. For other types, and before opset 12, the first with the operator, emits Elu between Div and Mul;
    /// or Exp and Where for float64, for which runtimes have no kernel of Elu, and for an `alpha` that is not positive.
    pub fn celu(&mut self, x: TensorId, dtype: DType, alpha: f64) -> TensorId {
        if self.opset >= 12 && dtype == DType::F32 {
            return self.node("Celu", &[x], [("alpha", NodeAttr::Float(alpha as f32))]);
        }
        let (factor, one) = (self.scalar(dtype, alpha), self.scalar(dtype, 1.0));
        let scaled = self.node("Div", &[x, factor], []);
        if alpha > 0.0 && dtype != DType::F64 {
            let elu = self.node("Elu", &[scaled], []);
            return self.node("Mul", &[elu, factor], []);
        }
        let exp = self.node("Exp", &[scaled], []);
        let low = self.node("Sub", &[exp, one], []);
        let low = self.node("Mul", &[low, factor], []);
        let zero = self.scalar(dtype, 0.0);
        let is_low = self.node("Less", &[x, zero], []);
        self.node("Where", &[is_low, low, x], [])
    }

    /// Emits Mish: `x · tanh(softplus(x))`. Before opset 18, the first with the operator, emits Softplus, Tanh and Mul.
    pub fn mish(&mut self, x: TensorId) -> TensorId {
        if self.opset >= 18 {
            return self.node("Mish", &[x], []);
        }
        let softplus = self.node("Softplus", &[x], []);
        let tanh = self.node("Tanh", &[softplus], []);
        self.node("Mul", &[x, tanh], [])
    }

    /// Emits Swish: `x · sigmoid(alpha · x)`, of the floating-point type `dtype`. At opsets other than 24, emits
    /// Sigmoid and Mul, which runtimes recognise and fuse: earlier ones do not have the operator, and ONNX Runtime 1.32 has
    /// no kernel of the version that opset 25 has.
    pub fn swish(&mut self, x: TensorId, dtype: DType, alpha: f64) -> TensorId {
        if self.opset == 24 {
            return self.node("Swish", &[x], [("alpha", NodeAttr::Float(alpha as f32))]);
        }
        let scaled = if alpha == 1.0 {
            x
        } else {
            let alpha = self.scalar(dtype, alpha);
            self.node("Mul", &[x, alpha], [])
        };
        let gate = self.node("Sigmoid", &[scaled], []);
        self.node("Mul", &[x, gate], [])
    }
}
