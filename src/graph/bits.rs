//! Operations on the bits of integers, for which ONNX has operators from opset 18 on.

use super::Lowering;
use super::nodes::TensorId;
use crate::tensor::{DType, Tensor};

/// The first opset with BitwiseAnd, BitwiseOr, BitwiseXor and BitwiseNot.
const FIRST: u32 = 18;

impl Lowering<'_> {
    /// Emits BitwiseNot of an integer tensor. Before opset 18, emits Sub for `-1 - x`, in int64, since ONNX Runtime has
    /// no kernel of Sub for narrow integers.
    pub fn bitwise_not(&mut self, x: TensorId, dtype: DType) -> TensorId {
        if self.opset() >= FIRST {
            return self.node("BitwiseNot", &[x], []);
        }
        let ones = self.scalar(DType::I64, -1.0);
        let x = self.cast(x, dtype, DType::I64);
        let not = self.node("Sub", &[ones, x], []);
        self.cast(not, DType::I64, dtype)
    }

    /// Emits `op_type`, such as BitwiseAnd, of two integer tensors that broadcast to `rank` axes. Before opset 18, takes
    /// all bits of both apart along a new last axis, and emits `gate` for each of them: And, for example.
    pub fn bitwise(
        &mut self,
        [op_type, gate]: [&'static str; 2],
        operands: [TensorId; 2],
        dtype: DType,
        rank: usize,
    ) -> TensorId {
        if self.opset() >= FIRST {
            return self.node(op_type, &operands, []);
        }
        self.note(
            "takes integers apart bit by bit, which is slow where there are many: from opset 18 on, a single node does it",
        );
        let operands = operands.map(|x| self.cast(x, dtype, DType::I64));
        let has_sign = dtype != DType::U8;
        let count = 8 * dtype.size() - usize::from(has_sign);
        let powers: Vec<i64> = (0..count).map(|bit| 1 << bit).collect();
        let powers = self.vector(&powers);
        let bits = operands.map(|x| self.bits(x, powers));
        let bits = self.node(gate, &bits, []);
        let bits = self.cast(bits, DType::Bool, DType::I64);
        let parts = self.node("Mul", &[bits, powers], []);
        let mut result = if count <= 32 {
            self.reduce("ReduceSum", parts, &[rank], false)
        } else {
            // In one sum, ONNX Runtime loses the low bits of large integers.
            let halves = [(0, 32), (32, count)].map(|(start, end)| {
                let half = self.slice(parts, start as i64, end as i64, rank as i64);
                self.reduce("ReduceSum", half, &[rank], false)
            });
            self.node("Add", &halves, [])
        };
        if has_sign {
            // The weight of the highest bit is negative.
            let zero = self.constant(Tensor::scalar(0_i64));
            let lowest = self.constant(Tensor::scalar(i64::MIN >> (63 - count)));
            let signs = operands.map(|x| self.node("Less", &[x, zero], []));
            let sign = self.node(gate, &signs, []);
            let part = self.node("Where", &[sign, lowest, zero], []);
            result = self.node("Add", &[result, part], []);
        }
        self.cast(result, DType::I64, dtype)
    }

    /// Bools that say along a new last axis which bits, of those with the weights `powers`, an int64 tensor has: whether
    /// `⌊x / power⌋` is odd.
    fn bits(&mut self, x: TensorId, powers: TensorId) -> TensorId {
        let two = self.constant(Tensor::scalar(2_i64));
        let x = self.unsqueeze(x, &[-1]);
        let rest = self.node("Mod", &[x, powers], []);
        let multiple = self.node("Sub", &[x, rest], []);
        let quotient = self.node("Div", &[multiple, powers], []);
        let bit = self.node("Mod", &[quotient, two], []);
        self.cast(bit, DType::I64, DType::Bool)
    }
}
