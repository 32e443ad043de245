//! Ops that consist of matrix products, inverses or determinants: `multi_dot`, `matrix_power`, `slogdet`.
//!
//! Paddle: `phi/kernels/{multi_dot,matrix_power,slogdeterminant}_kernel.h`. ONNX: MatMul, Det, and what `inverse`
//! becomes, by way of the ops that these are taken apart into when they are read.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::operator::{Arg, Binding, FLOATS, Form, OpDef};
use crate::ops::shared::decomposition::{Decomposition, decomposed};
use crate::program::{Attr, Builder, Draft, Operand, ValueId};
use crate::tensor::DType::{F32, F64};
use crate::tensor::{DType, Element};

const X: &[Binding] = &[Binding::Slot("X")];

const CHAIN: &[Binding] = &[Binding::List("X")];

const INPUT: &[Binding] = &[Binding::Slot("Input")];

const REALS: &[DType] = &[F32, F64];

pub(super) const OPS: &[OpDef] = &[
    decomposed(
        "multi_dot",
        &[Arg::List("x")],
        &[Form::legacy(&["multi_dot"], CHAIN, &["Out"])],
        FLOATS,
        chain,
    ),
    decomposed(
        "matrix_power",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["matrix_power"], X, &["Out"])],
        REALS,
        power,
    ),
    decomposed(
        "slogdet",
        &[Arg::Tensor("x")],
        &[Form::legacy(&["slogdeterminant"], INPUT, &["Out"])],
        REALS,
        sign_and_log,
    )
    .with_opset(11),
];

/// `multi_dot`: the product of a list of matrices, of which the first and the last may be vectors. They are multiplied
/// from left to right, while Paddle chooses an order by their extents.
fn chain(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
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

/// `matrix_power`: matrices to the power `n`, by repeated squaring. To the power 0 they are the identity, and a
/// negative power is one of the inverse.
fn power(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
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

/// An identity with more rows would be too large a constant for a model.
const LARGEST: i64 = 4096;

/// A constant identity matrix of the extent and the element type of the matrices in `x`.
fn identity(parts: &mut Decomposition<'_>, x: ValueId) -> Result<ValueId> {
    let last = parts.rank(x).checked_sub(1);
    let last = last.ok_or_else(|| Error::malformed("a number to be raised as a matrix"))?;
    let order = parts.extent(x, last)?;
    let order = usize::try_from(order).ok().filter(|_| order <= LARGEST);
    let order = order.ok_or_else(|| Error::unsupported("an identity of an absurd size"))?;
    let identity = Array2::<f64>::eye(order);
    let identity = f64::tensor(identity.into_dyn().into()).cast(parts.dtype(x));
    Ok(parts.tensor(identity))
}

/// `slogdet`: the signs of the determinants and the logarithms of their absolute values, stacked along a new first axis
/// of extent 2.
fn sign_and_log(builder: &mut Builder, draft: Draft) -> Result<Vec<ValueId>> {
    let mut parts = Decomposition::new(builder, draft);
    let x = parts.operand(0)?;
    let rank = parts.rank(x).saturating_sub(2);
    let determinant = parts.op("determinant", &[x], &[], rank);
    let sign = parts.op("sign", &[determinant], &[], rank);
    let size = parts.op("abs", &[determinant], &[], rank);
    let log = parts.op("log", &[size], &[], rank);
    let both = vec![Operand::Many(vec![sign, log])];
    parts.last_of("stack", both, &[("axis", Attr::Int(0))])
}
