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

use super::search::Search;
use super::{is, operand};
use crate::operator::Registry;
use crate::program::{Attr, Attributes, Op, OpKind, Operand, Program, ValueId};
use crate::tensor::Dim;

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
        } else if let Some((x, weight)) = product(search, op) {
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

/// The operands of a product of a matrix and a stored one, both as they are.
fn product(search: &Search<'_>, op: &Op) -> Option<(ValueId, ValueId)> {
    let is_plain = |name: &str, plain: Attr| op.attrs.get(name).is_none_or(|attr| *attr == plain);
    let is_product = if is(op, "matmul") {
        ["transpose_x", "transpose_y"]
            .iter()
            .all(|name| is_plain(name, Attr::Bool(false)))
    } else {
        is(op, "matmul_with_flatten")
            && ["x_num_col_dims", "y_num_col_dims"]
                .iter()
                .all(|name| is_plain(name, Attr::Int(1)))
    };
    let (x, weight) = (operand(op, 0)?, operand(op, 1)?);
    let are_matrices = [x, weight]
        .iter()
        .all(|id| search.shapes[id.index()].len() == 2);
    let is_float = search.program[weight].dtype.is_float();
    (is_product && are_matrices && is_float && search.program[weight].origin.is_stored())
        .then_some((x, weight))
}

/// What an `add` adds to each row of its first operand, if it is a stored vector.
fn bias(search: &Search<'_>, op: &Op) -> Option<ValueId> {
    let bias = operand(op, 1).filter(|_| is(op, "add"))?;
    let columns = search.shapes[op.results[0].index()].get(1)?;
    let is_of_columns = match search.shapes[bias.index()].as_slice() {
        [extent] => matches!(extent, Dim::Known(_)) && extent.same(columns),
        _ => false,
    };
    let is_of_rows = op.attrs.get("axis") == Some(&Attr::Int(0));
    (is_of_columns && !is_of_rows && search.program[bias].origin.is_stored()).then_some(bias)
}
