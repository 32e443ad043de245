//! What ops on two tensors `x` and `y`, element by element, have in common.
//!
//! Their broadcasting is in [`broadcast`](super::broadcast).

use crate::error::Result;
use crate::kernels::map;
use crate::operator::{Accuracy, Arg, Binding, Form, NUMBERS, OpDef, Parse};
use crate::tensor::{Element, Tensor, with_arrays};

/// The definition of an op on `x` and `y`, with all numeric element types.
pub(crate) const fn binary(name: &'static str, legacy: &'static [Form], parse: Parse) -> OpDef {
    OpDef::new(name, &[Arg::Tensor("x"), Arg::Tensor("y")], legacy, parse)
        .with_dtypes(NUMBERS)
        .with_accuracy(Accuracy::Rounded)
}

/// The form of an op on `x` and `y` in the older format.
pub(crate) const fn form(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("X"), Binding::Slot("Y")], &["Out"])
}

/// As [`form`], for an op that only Paddle 3 writes in the older format.
pub(crate) const fn late(names: &'static [&'static str]) -> Form {
    Form::legacy(names, &[Binding::Slot("x"), Binding::Slot("y")], &["out"])
}

/// A function of each pair of integers, whose results are cut to their element type. Both operands have the same.
pub(crate) fn integers(
    x: &Tensor,
    y: &Tensor,
    f: impl Fn(i64, i64) -> i64 + Sync + Send,
) -> Result<Tensor> {
    fn zipped<T: Element>(
        x: &crate::tensor::Array<T>,
        y: &crate::tensor::Array<T>,
        f: impl Fn(i64, i64) -> i64 + Sync + Send,
    ) -> Result<Tensor> {
        let cut = |x: T, y: T| T::from_i64(f(x.to_i64(), y.to_i64()));
        Ok(T::tensor(map::zip(x, y, cut)?.into()))
    }
    with_arrays!(x, y, (x, y) => zipped(x, y, f))
}
