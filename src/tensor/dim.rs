//! Dimensions that may be known, symbolic or unknown, and the rules of broadcasting and reshaping them.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The name of a dynamic dimension. Dimensions with the same symbol have the same extent in a run.
pub type Symbol = Arc<str>;

/// One extent of a shape, or one element of a tensor that holds extents.
///
/// Elements of a shape tensor may be negative (`-1` in a reshape), hence the signed type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// An extent that is the same in every run.
    Known(i64),
    /// An extent that the inputs of a run set.
    Symbol(Symbol),
    /// The extent of a computed value along an axis, which is known when a run has computed the value.
    Computed {
        /// The number of the value.
        value: u32,
        /// The axis.
        axis: u32,
    },
    /// Not derivable before a run.
    Unknown,
}

impl Dim {
    /// The extent, if it is known.
    pub fn known(&self) -> Option<i64> {
        match self {
            Dim::Known(extent) => Some(*extent),
            Dim::Symbol(_) | Dim::Computed { .. } | Dim::Unknown => None,
        }
    }

    /// The extent, if it is known and a tensor can have it.
    pub fn extent(&self) -> Option<usize> {
        usize::try_from(self.known()?).ok()
    }

    /// Whether both are certainly the same extent. Two unknown dimensions are not.
    pub fn same(&self, other: &Dim) -> bool {
        *self != Dim::Unknown && self == other
    }

    /// What is known about an extent that two sources describe. A known extent is preferred to a symbol, a
    /// symbol to a computed extent, and anything to an unknown one. Otherwise, `self` is taken.
    pub fn or(&self, other: &Dim) -> Dim {
        match (self, other) {
            (_, Dim::Known(_)) if self.known().is_none() => other.clone(),
            (Dim::Computed { .. }, Dim::Symbol(_)) | (Dim::Unknown, _) => other.clone(),
            _ => self.clone(),
        }
    }
}

impl From<usize> for Dim {
    fn from(extent: usize) -> Self {
        i64::try_from(extent).map_or(Dim::Unknown, Dim::Known)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(extent) => extent.fmt(f),
            Dim::Symbol(symbol) => f.write_str(symbol),
            Dim::Computed { .. } | Dim::Unknown => f.write_str("?"),
        }
    }
}

/// A shape as people write it: `[batch, 3, 224, 224]`.
pub fn display_shape<D: fmt::Display>(dims: &[D]) -> String {
    let dims: Vec<String> = dims.iter().map(D::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Whether both are certainly the same shape.
pub(crate) fn same_shape(a: &[Dim], b: &[Dim]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

/// The number of extents of a shape that are not known before a run.
pub(crate) fn open_extents(shape: &[Dim]) -> usize {
    shape.iter().filter(|dim| dim.known().is_none()).count()
}

/// Whether a tensor of `shape` is one of the declared extents: as many, and equal where they are known.
pub(crate) fn allows_shape(declared: &[Dim], shape: &[usize]) -> bool {
    let fits = |(declared, extent): (&Dim, &usize)| {
        declared.known().is_none() || *declared == Dim::from(*extent)
    };
    declared.len() == shape.len() && declared.iter().zip(shape).all(fits)
}

/// The shape that two operands of an elementwise op broadcast to, by NumPy's rules.
///
/// # Errors
/// When two known extents differ and neither is 1.
pub fn broadcast_dims(left: &[Dim], right: &[Dim]) -> Result<Vec<Dim>> {
    let rank = left.len().max(right.len());
    let at = |dims: &[Dim], axis: usize| {
        (axis + dims.len())
            .checked_sub(rank)
            .and_then(|axis| dims.get(axis).cloned())
            .unwrap_or(Dim::Known(1))
    };
    (0..rank)
        .map(|axis| match (at(left, axis), at(right, axis)) {
            (Dim::Known(1), dim) | (dim, Dim::Known(1)) => Ok(dim),
            (Dim::Known(a), Dim::Known(b)) if a != b => Err(Error::malformed(format!(
                "shapes {} and {} do not broadcast",
                display_shape(left),
                display_shape(right)
            ))),
            (a, b) if a.same(&b) => Ok(a),
            // A known extent above 1 wins: the other side can only be equal to it or 1.
            (Dim::Known(extent), _) | (_, Dim::Known(extent)) => Ok(Dim::Known(extent)),
            _ => Ok(Dim::Unknown),
        })
        .collect()
}

/// The position that `axis` names among `rank` axes; negative ones count from the end.
///
/// # Errors
/// When there is no such axis.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 {
        i64::try_from(rank)
            .ok()
            .and_then(|rank| rank.checked_add(axis))
    } else {
        Some(axis)
    };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|axis| *axis < rank)
        .ok_or_else(|| Error::malformed(format!("axis {axis} is out of range for rank {rank}")))
}

/// The shape that a reshape gives, by Paddle's rules: 0 keeps the extent at its position, and -1 takes
/// the elements that the other extents leave over.
///
/// # Errors
/// When a 0 has no counterpart, there are several -1, or the numbers of elements differ.
pub fn reshape_dims(from: &[Dim], to: &[Dim]) -> Result<Vec<Dim>> {
    let mut shape = to.to_vec();
    for (axis, dim) in shape.iter_mut().enumerate() {
        if *dim == Dim::Known(0) {
            *dim = from.get(axis).cloned().ok_or_else(|| {
                Error::malformed(format!(
                    "the extent {axis} is to be kept, but there is none"
                ))
            })?;
        }
    }
    let fail = || {
        let (from, to) = (display_shape(from), display_shape(to));
        Error::malformed(format!("can't reshape {from} to {to}"))
    };
    let free: Vec<usize> = (0..shape.len())
        .filter(|axis| shape[*axis] == Dim::Known(-1))
        .collect();
    match free.as_slice() {
        [] => match left_over(from, &shape) {
            None | Some((1, 1, _)) => Ok(shape),
            // Extents of 0 on both sides make any ratio right.
            Some((0, 0, _)) => Ok(shape),
            Some((.., open)) if !open.is_empty() => Ok(shape),
            Some(_) => Err(fail()),
        },
        [axis] => {
            shape.remove(*axis);
            let dim = match left_over(from, &shape) {
                Some((count, divisor, open)) => match open.as_slice() {
                    [] if divisor != 0 && count % divisor == 0 => Dim::Known(count / divisor),
                    [] => return Err(fail()),
                    [open] if count == divisor => open.clone(),
                    _ => Dim::Unknown,
                },
                None => Dim::Unknown,
            };
            shape.insert(*axis, dim);
            Ok(shape)
        }
        _ => Err(fail()),
    }
}

/// What remains when the extents of `to` are cancelled from those of `from`: the product of the known
/// extents of each (1 for both if they are equal and not 0), and the symbolic or computed extents that
/// only `from` has. None if an extent is unknown, if only `to` has a symbolic or computed one, or if a
/// product overflows.
fn left_over(from: &[Dim], to: &[Dim]) -> Option<(i64, i64, Vec<Dim>)> {
    let mut open = Vec::new();
    let mut count = 1_i64;
    for dim in from {
        match dim {
            Dim::Known(extent) => count = count.checked_mul(*extent)?,
            Dim::Symbol(_) | Dim::Computed { .. } => open.push(dim.clone()),
            Dim::Unknown => return None,
        }
    }
    let mut divisor = 1_i64;
    for dim in to {
        match dim {
            Dim::Known(extent) => divisor = divisor.checked_mul(*extent)?,
            Dim::Symbol(_) | Dim::Computed { .. } => {
                let position = open.iter().position(|other| other == dim)?;
                open.swap_remove(position);
            }
            Dim::Unknown => return None,
        }
    }
    if count == divisor && count != 0 {
        (count, divisor) = (1, 1);
    }
    Some((count, divisor, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str) -> Dim {
        Dim::Symbol(name.into())
    }

    #[test]
    fn broadcasting_keeps_what_is_certain() {
        let cases = [
            (vec![], vec![Dim::Known(3)], vec![Dim::Known(3)]),
            (
                vec![symbol("batch"), Dim::Known(1)],
                vec![Dim::Known(5)],
                vec![symbol("batch"), Dim::Known(5)],
            ),
            (vec![symbol("n")], vec![symbol("n")], vec![symbol("n")]),
            (vec![symbol("n")], vec![symbol("m")], vec![Dim::Unknown]),
            (vec![Dim::Unknown], vec![Dim::Unknown], vec![Dim::Unknown]),
            (vec![symbol("n")], vec![Dim::Known(7)], vec![Dim::Known(7)]),
        ];
        for (left, right, expected) in cases {
            assert_eq!(broadcast_dims(&left, &right).unwrap(), expected);
            assert_eq!(broadcast_dims(&right, &left).unwrap(), expected);
        }
        assert!(broadcast_dims(&[Dim::Known(2)], &[Dim::Known(3)]).is_err());
    }

    #[test]
    fn reshapes_are_solved() {
        let n = || symbol("n");
        let known = Dim::Known;
        let cases = [
            (
                vec![n(), known(6)],
                vec![known(-1), known(2), known(3)],
                Some(vec![n(), known(2), known(3)]),
            ),
            (
                vec![n(), known(6)],
                vec![known(0), known(-1)],
                Some(vec![n(), known(6)]),
            ),
            (
                vec![n(), known(6)],
                vec![known(-1)],
                Some(vec![Dim::Unknown]),
            ),
            (
                vec![n(), known(6)],
                vec![known(3), known(-1)],
                Some(vec![known(3), Dim::Unknown]),
            ),
            (
                vec![n(), known(6)],
                vec![n(), known(-1), known(2)],
                Some(vec![n(), known(3), known(2)]),
            ),
            (
                vec![Dim::Unknown, known(6)],
                vec![known(-1), known(6)],
                Some(vec![Dim::Unknown, known(6)]),
            ),
            (
                vec![known(4), known(6)],
                vec![known(-1), known(8)],
                Some(vec![known(3), known(8)]),
            ),
            (
                vec![known(4), known(6)],
                vec![known(24)],
                Some(vec![known(24)]),
            ),
            (vec![known(4), known(6)], vec![known(25)], None),
            (vec![known(4), known(6)], vec![known(-1), known(5)], None),
            (vec![known(4)], vec![known(-1), known(-1)], None),
            (vec![known(4)], vec![known(4), known(0)], None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(
                reshape_dims(&from, &to).ok(),
                expected,
                "{from:?} to {to:?}"
            );
        }
    }

    #[test]
    fn axes_out_of_range_are_refused() {
        assert_eq!(normalize_axis(-1, 3).unwrap(), 2);
        assert_eq!(normalize_axis(2, 3).unwrap(), 2);
        for (axis, rank) in [(3, 3), (-4, 3), (0, 0), (i64::MIN, 2)] {
            assert!(normalize_axis(axis, rank).is_err(), "{axis} of {rank}");
        }
    }
}
