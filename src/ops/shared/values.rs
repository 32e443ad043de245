//! Readers of operands and attributes that several families need.

use crate::error::{Error, Result};
use crate::operator::Values;
use crate::program::{Attr, Draft, ValueId};
use crate::tensor::{Array, DType, Element, Tensor};

/// Merges the attributes for the values of each element type, of which older programs fill one, into `values`.
pub(crate) fn merge_values(draft: &mut Draft) {
    const NAMES: [&str; 7] = [
        "values",
        "bool_values",
        "int32_values",
        "int64_values",
        "fp16_values",
        "fp32_values",
        "fp64_values",
    ];
    let mut merged = Attr::Ints(Vec::new());
    for name in NAMES {
        match draft.attrs.remove(name) {
            Some(Attr::Bools(values)) if !values.is_empty() => {
                merged = Attr::Ints(values.into_iter().map(i64::from).collect());
            }
            Some(Attr::Ints(values)) if !values.is_empty() => merged = Attr::Ints(values),
            Some(Attr::Floats(values)) if !values.is_empty() => merged = Attr::Floats(values),
            _ => {}
        }
    }
    draft.attrs.insert("values".to_owned(), merged);
}

/// The elements of a tensor of indices, as int64.
pub(crate) fn indices(values: &Values<'_>, id: ValueId) -> Result<Array<i64>> {
    match values.get(id)?.cast(DType::I64) {
        Tensor::I64(indices) => Ok(indices),
        _ => Err(Error::internal("a cast to int64 gave another type")),
    }
}

/// The element type that both operands of an op have.
///
/// # Errors
/// When they differ.
pub(crate) fn common_type(x: DType, y: DType) -> Result<DType> {
    if x == y { Ok(x) } else { Err(two_types(x, y)) }
}

fn two_types(x: DType, y: DType) -> Error {
    Error::unsupported(format!("operands of two types, {x} and {y}"))
}

/// The array in `tensor`, which has to have the element type of the other array.
///
/// # Errors
/// When it has another.
pub(crate) fn same_type<'t, T: Element>(
    tensor: &'t Tensor,
    _like: &Array<T>,
) -> Result<&'t Array<T>> {
    T::array(tensor).ok_or_else(|| two_types(T::DTYPE, tensor.dtype()))
}
