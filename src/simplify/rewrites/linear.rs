//! A product of two matrices to which a bias is added becomes one op, ONNX's Gemm. Before the pass:
//!
//! ```text
//! %3:matmul = matmul(%0:x, %1:w) : float32 [batch, 1000]
//! %4:add = add(%3:matmul, %2:b) : float32 [batch, 1000]
//! ```
//!
//! After it:
//!
//! ```text
//! %4:add = linear(%0:x, %1:w, %2:b) : float32 [batch, 1000]
//! ```
//!
//! The weight and the bias are stored ones. What quantised tensors are multiplied with is left alone, since runtimes have
//! kernels for that as it is.

use super::is;
use super::products::{bias, product};
use super::search::Search;
use crate::operator::Registry;
use crate::program::{Attributes, OpKind, Operand, Program, ValueId};

/// What an op before another has made.
enum Before {
    /// The product of a matrix and a stored one.
    Product(ValueId, ValueId),
    Dequantized,
}

/// Puts one op in the place of each sum of a product and a bias.
pub(super) fn rewrite(program: &mut Program, registry: &Registry) {
    Search::of(program, registry).each_op::<Before>(|search, op, before| {
        if is(op, "dequantize_linear") {
            before.insert(op.results[0], Before::Dequantized);
        } else if let Some((x, weight)) = product(search, op, 2) {
            if !matches!(before.get(&x), Some(Before::Dequantized)) {
                before.insert(op.results[0], Before::Product(x, weight));
            }
        } else if let Some(Before::Product(x, weight)) = search.of_alone(op, before)
            && let Some(bias) = bias(search, op)
        {
            op.kind = OpKind::Known("linear");
            op.operands = [*x, *weight, bias].map(Operand::One).to_vec();
            op.attrs = Attributes::default();
        }
    });
}
