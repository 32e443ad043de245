//! Which numbers half precision does not hold.

use ::half::{bf16, f16};

use crate::error::Result;
use crate::program::{Attr, Op, Origin, Program, ValueId};
use crate::read::pieces;
use crate::tensor::{DType, ElementMap, Tensor};

/// Whether a finite number becomes infinite in half precision.
pub(super) fn is_beyond(dtype: DType, x: f64) -> bool {
    x.is_finite() && rounded(dtype, x).is_infinite()
}

/// Whether a number is not 0, but becomes 0 in half precision.
pub(super) fn is_lost(dtype: DType, x: f64) -> bool {
    x != 0.0 && rounded(dtype, x) == 0.0
}

fn rounded(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::F16 => f16::from_f64(x).to_f64(),
        DType::BF16 => bf16::from_f64(x).to_f64(),
        _ => x,
    }
}

/// The largest number that half precision holds.
pub(super) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => bf16::MAX.to_f64(),
        _ => f16::MAX.to_f64(),
    }
}

/// The number of a constant that half precision does not hold: one that becomes infinite, or one alone that becomes 0.
pub(super) fn of_constant(tensor: &Tensor, dtype: DType) -> Option<f64> {
    if tensor.dtype() != DType::F32 && tensor.dtype() != DType::F64 {
        return None;
    }
    let elements = tensor.to_f64_vec();
    if let [only] = elements[..]
        && is_lost(dtype, only)
    {
        return Some(only);
    }
    let mut elements = elements.into_iter();
    elements.find(|x| is_beyond(dtype, *x))
}

/// The finite element of largest magnitude of a weight of float32 whose file is there, or of what `map` makes of it, if half
/// precision does not hold it. The file is read piece by piece.
///
/// # Errors
/// When the file can't be read.
pub(super) fn of_weight(
    program: &Program,
    weight: ValueId,
    map: Option<ElementMap>,
    dtype: DType,
) -> Result<Option<f64>> {
    let value = &program[weight];
    let Origin::Parameter(range) = &value.origin else {
        return Ok(None);
    };
    if value.dtype != DType::F32 || program.missing_weights.is_some() {
        return Ok(None);
    }
    let (mut position, mut largest) = (0, 0.0_f32);
    let mut elements = Vec::new();
    pieces(range, &mut |piece| {
        elements.clear();
        elements.extend(piece.as_chunks().0.iter().copied().map(f32::from_le_bytes));
        if let Some(map) = &map {
            map(position, &mut elements);
            position += elements.len();
        }
        for x in &elements {
            let is_larger = x.abs() > largest.abs() && x.is_finite();
            largest = if is_larger { *x } else { largest };
        }
        Ok(())
    })?;
    Ok(Some(f64::from(largest)).filter(|x| is_beyond(dtype, *x)))
}

/// The number of an attribute of an op that half precision does not hold.
pub(super) fn of_attrs(op: &Op, dtype: DType) -> Option<f64> {
    let mut attrs = op.attrs.values();
    attrs.find_map(|attr| match attr {
        Attr::Float(x) if is_beyond(dtype, *x) || is_lost(dtype, *x) => Some(*x),
        _ => None,
    })
}
