//! What the versions of the operator set spell differently.

use super::context::Lowering;
use super::graph::{NodeAttr, TensorId};
use crate::tensor::DType;

impl Lowering<'_> {
    /// `x · Φ(x)`: one Gelu node from opset 20 on, the definition before. The order of the
    /// operations is the one that runtimes recognise and fuse.
    pub fn gelu(&mut self, x: TensorId, dtype: DType, tanh: bool) -> TensorId {
        if self.opset >= 20 {
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

    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`
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

    /// A Reduce node over some axes, or all. All but ReduceSum have an attribute for them before
    /// opset 18.
    pub fn reduce(
        &mut self,
        op_type: &'static str,
        x: TensorId,
        axes: &[usize],
        keepdims: bool,
    ) -> TensorId {
        let keepdims = ("keepdims", NodeAttr::Int(keepdims.into()));
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        if axes.is_empty() {
            return self.node(op_type, &[x], [keepdims]);
        }
        if self.opset < 18 && op_type != "ReduceSum" {
            return self.node(op_type, &[x], [("axes", NodeAttr::Ints(axes)), keepdims]);
        }
        let axes = self.vector(&axes);
        self.node(op_type, &[x, axes], [keepdims])
    }

    /// The parts of `x` along `axis`, of these extents.
    pub fn split(&mut self, x: TensorId, extents: &[i64], axis: i64) -> Vec<TensorId> {
        let parts = self.vector(extents);
        let inputs = vec![Some(x), Some(parts)];
        let axis = ("axis", NodeAttr::Int(axis));
        self.node_with_outputs("Split", inputs, [axis], extents.len())
    }

    /// `count` equal parts of `x` along an axis whose extent is not known. Opset 18 has an
    /// attribute for their number; before, it is the number of outputs.
    pub fn split_evenly(&mut self, x: TensorId, count: usize, axis: i64) -> Vec<TensorId> {
        let axis = ("axis", NodeAttr::Int(axis));
        if self.opset < 18 {
            return self.node_with_outputs("Split", vec![Some(x)], [axis], count);
        }
        let number = ("num_outputs", NodeAttr::Int(count as i64));
        self.node_with_outputs("Split", vec![Some(x)], [axis, number], count)
    }
}
