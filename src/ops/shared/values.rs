//! Operands and attributes as several families read them.

use crate::error::{Error, Result};
use crate::operator::Values;
use crate::program::{Attr, Draft, ValueId};
use crate::tensor::{Array, DType, Element, Tensor};

/// Form programs have one attribute per element type; only one of them is not empty.
pub(crate) fn merge_values(draft: &mut Draft) {
    const NAMES: [&str; 6] = [
        "values",
        "bool_values",
        "int32_values",
        "int64_values",
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

/// The elements of an index.
pub(crate) fn indices(values: &Values<'_>, id: ValueId) -> Result<Array<i64>> {
    match values.get(id)?.cast(DType::I64) {
        Tensor::I64(indices) => Ok(indices),
        _ => Err(Error::internal("a cast to int64 gave another type")),
    }
}

/// The array in `tensor`, of the element type of `like`.
pub(crate) fn same_type<'t, T: Element>(
    tensor: &'t Tensor,
    _like: &crate::tensor::Array<T>,
) -> Result<&'t crate::tensor::Array<T>> {
    T::array(tensor).ok_or_else(|| {
        Error::unsupported(format!(
            "operands of two types, {} and {}",
            T::DTYPE,
            tensor.dtype()
        ))
    })
}
