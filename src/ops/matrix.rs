//! Ops that are made of matrix products, inverses and determinants.
//!
//! Paddle: `phi/kernels/{multi_dot,matrix_power,slogdeterminant,renorm}_kernel.h`,
//! `phi/kernels/fusion/cpu/fusion_{squared_mat_sub,repeated_fc_relu}_kernel.cc`.

use ndarray::Array2;

use super::composite::{Parts, composite};
use super::def::{Arg, FLOATS, Form, From, OpDef};
use crate::error::{Error, Result};
use crate::normalise::{Builder, Draft};
use crate::program::{Attr, Operand, ValueId};
use crate::tensor::DType::{self, F32, F64};
use crate::tensor::Element;

const X: &[From] = &[From::Slot("X")];
const CHAIN: &[From] = &[From::List("X")];
const INPUT: &[From] = &[From::Slot("Input")];
const X_AND_Y: &[From] = &[From::Slot("X"), From::Slot("Y")];
const LAYERS: &[From] = &[From::Slot("X"), From::List("W"), From::List("Bias")];

pub(super) const OPS: &[OpDef] = &[
    composite(
        "multi_dot",
        &[Arg::List("x")],
        &[Form::legacy(&["multi_dot"], CHAIN, &["Out"])],
        FLOATS,
        chain,
    ),
    composite(
        "matrix_power",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["matrix_power"], X, &["Out"])],
        REALS,
        power,
    ),
    composite(
        "slogdet",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["slogdeterminant"], INPUT, &["Out"])],
        REALS,
        sign_and_log,
    ),
    composite(
        "renorm",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["renorm"], X, &["Out"])],
        REALS,
        renorm,
    ),
    composite(
        "fusion_squared_mat_sub",
        &[Arg::Tensor("x"), Arg::Tensor("y")],
        &[Form::legacy(&["fusion_squared_mat_sub"], X_AND_Y, &["Out"])],
        FLOATS,
        squared_difference,
    )
    .resulting(&[3]),
    composite(
        "fusion_repeated_fc_relu",
        &[Arg::Tensor("x"), Arg::List("w"), Arg::List("bias")],
        &[Form::legacy(&["fusion_repeated_fc_relu"], LAYERS, &["Out"])],
        FLOATS,
        layers,
    )
    .resulting(&[1]),
];

const REALS: &[DType] = &[F32, F64];

/// The product of all matrices, of which the first and the last may be vectors. The order in which
/// they are multiplied is Paddle's choice, by their extents; here it is from left to right.
fn chain(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let factors = parts.list(0)?;
    let mut factors = factors.into_iter();
    let first = factors.next();
    let mut product = first.ok_or_else(|| Error::malformed("a product of no matrices"))?;
    for factor in factors {
        let ranks = [product, factor].map(|x| parts.rank(x));
        let rank = ranks.into_iter().filter(|rank| *rank > 1).count();
        product = parts.op("matmul", &[product, factor], &[], rank);
    }
    parts.finish(&[product])
}

/// The matrices to the power `n`, by squares. Those to the power 0 are the identity, and a negative
/// power is that of the inverse.
fn power(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let n: i64 = parts.attr("n", 1)?;
    let x = parts.operand(0)?;
    let rank = parts.rank(x);
    if n == 0 {
        let identity = identity(&mut parts, x)?;
        let zero = parts.number(0.0);
        let zeros = parts.op("full_like", &[x, zero], &[], rank);
        let result = parts.plus(zeros, Some(identity));
        return parts.finish(&[result]);
    }
    let mut square = if n < 0 {
        parts.op("inverse", &[x], &[], rank)
    } else {
        x
    };
    let mut product: Option<ValueId> = None;
    let mut left = n.unsigned_abs();
    loop {
        if left % 2 == 1 {
            product = Some(match product {
                Some(product) => parts.op("matmul", &[product, square], &[], rank),
                None => square,
            });
        }
        left /= 2;
        if left == 0 {
            break;
        }
        square = parts.op("matmul", &[square, square], &[], rank);
    }
    parts.finish(&[product.unwrap_or(x)])
}

/// Larger matrices would not be a constant that a model should have.
const LARGEST: i64 = 4096;

fn identity(parts: &mut Parts<'_>, x: ValueId) -> Result<ValueId> {
    let last = parts.rank(x).checked_sub(1);
    let last = last.ok_or_else(|| Error::malformed("a number to be raised as a matrix"))?;
    let order = parts.extent(x, last)?;
    let order = usize::try_from(order).ok().filter(|_| order <= LARGEST);
    let order = order.ok_or_else(|| Error::unsupported("an identity of an absurd size"))?;
    let identity = Array2::<f64>::eye(order);
    let identity = f64::tensor(identity.into_dyn().into()).cast(parts.dtype(x));
    Ok(parts.tensor(identity))
}

/// The sign of the determinants and the logarithms of their size, one behind the other.
fn sign_and_log(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let x = parts.operand(0)?;
    let rank = parts.rank(x).saturating_sub(2);
    let determinant = parts.op("determinant", &[x], &[], rank);
    let sign = parts.op("sign", &[determinant], &[], rank);
    let size = parts.op("abs", &[determinant], &[], rank);
    let log = parts.op("log", &[size], &[], rank);
    let both = vec![Operand::Many(vec![sign, log])];
    parts.last_of("stack", both, &[("axis", Attr::Int(0))])
}

/// Each part of `x` along `axis`, brought down to a norm of `max_norm` if it has a larger one.
fn renorm(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let (p, largest): (f64, f64) = (parts.attr("p", 2.0)?, parts.attr("max_norm", 1.0)?);
    let axis: i64 = parts.attr("axis", 0)?;
    let x = parts.operand(0)?;
    let rank = parts.rank(x);
    let axis = crate::tensor::normalize_axis(axis, rank)?;
    // One row for each part.
    let others = (0..rank).filter(|other| *other != axis);
    let order: Vec<i64> = std::iter::once(axis)
        .chain(others)
        .map(|axis| axis as i64)
        .collect();
    let rows = parts.transposed(x, &order);
    let rows = parts.reshaped(rows, &[0, -1]);
    let attrs = [
        ("porder", Attr::Float(p)),
        ("axis", Attr::Int(1)),
        ("keepdim", Attr::Bool(true)),
    ];
    let norm = parts.op("p_norm", &[rows], &attrs, 2);
    let dtype = parts.dtype(x);
    let [limit, epsilon, one] = [largest, 1e-7, 1.0]
        .map(|number| parts.tensor(crate::tensor::Tensor::scalar_of(dtype, number)));
    let is_larger = parts.typed_op("greater_than", &[norm, limit], DType::Bool, 2);
    let divisor = parts.op("add", &[norm, epsilon], &[], 2);
    let factor = parts.op("divide", &[limit, divisor], &[], 2);
    let operands = [is_larger, factor, one];
    let factor = parts.typed_op("where", &operands, dtype, 2);
    let mut shape = vec![1; rank];
    if let Some(extent) = shape.get_mut(axis) {
        *extent = -1;
    }
    let factor = parts.reshaped(factor, &shape);
    parts.last("multiply", &[x, factor], &[])
}

/// `scalar · ((x · y)² - x² · y²)`
fn squared_difference(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let scalar: f64 = parts.attr("scalar", 1.0)?;
    let (x, y) = (parts.operand(0)?, parts.operand(1)?);
    let product = parts.op("matmul", &[x, y], &[], 2);
    let [x, y, square] = [x, y, product].map(|x| parts.op("square", &[x], &[], 2));
    let squares = parts.op("matmul", &[x, y], &[], 2);
    let difference = parts.op("subtract", &[square, squares], &[], 2);
    let result = parts.scaled(difference, scalar);
    parts.finish(&[result])
}

/// `relu(x · w + bias)`, one layer after the other.
fn layers(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Parts::new(builder, draft);
    let mut x = parts.operand(0)?;
    let (weights, biases) = (parts.list(1)?, parts.list(2)?);
    if weights.len() != biases.len() {
        let (weights, biases) = (weights.len(), biases.len());
        return Err(Error::malformed(format!(
            "{weights} weights and {biases} biases"
        )));
    }
    for (weight, bias) in weights.into_iter().zip(biases) {
        let product = parts.op("matmul", &[x, weight], &[], 2);
        let bias = parts.reshaped(bias, &[-1]);
        let sum = parts.plus(product, Some(bias));
        x = parts.op("relu", &[sum], &[], 2);
    }
    parts.finish(&[x])
}
