//! Attributes of an op of PIR, decoded, without those that have no bearing on the result.

use crate::error::{Error, Result};
use crate::normalise::forms::Attrs;
use crate::program::Attr;
use crate::read::pir::{Attribute, Op};

/// Attributes that say where and how Paddle runs an op, or how it was trained: they have no bearing on the result.
const HINTS: &[&str] = &[
    "place",
    "op_callstack",
    "op_dist_attr",
    "op_role",
    "stop_gradient",
    "persistable",
];

/// The attribute with the path of the layer that an op belongs to.
pub(super) const LAYER: &str = "struct_name";

/// The attributes of an op that bear on its result, by their names in PIR.
///
/// # Errors
/// When one of them is of a type that is not known.
pub(super) fn decode(op: &Op<'_>) -> Result<Attrs> {
    let mut attrs = Attrs::new();
    for (name, value) in relevant(op) {
        let attr = attr(value).ok_or_else(|| {
            let kind = match value {
                Attribute::Other(kind) => kind,
                _ => "a list of them",
            };
            Error::unsupported(format!(
                "the attribute `{name}` is of a type not known here: {kind}"
            ))
        })?;
        attrs.insert(name.to_owned(), attr);
    }
    Ok(attrs)
}

/// The attributes of an op that has no definition, as far as their types are known.
pub(super) fn decode_known(op: &Op<'_>) -> Attrs {
    let known = relevant(op).filter_map(|(name, value)| Some((name.to_owned(), attr(value)?)));
    known.collect()
}

fn relevant<'o, 'a>(op: &'o Op<'a>) -> impl Iterator<Item = (&'o str, &'o Attribute<'a>)> {
    op.attributes().filter(|(name, value)| {
        !HINTS.contains(name) && *name != LAYER && **value != Attribute::Undefined
    })
}

fn attr(value: &Attribute<'_>) -> Option<Attr> {
    Some(match value {
        Attribute::Bool(value) => Attr::Bool(*value),
        Attribute::Int(value) => Attr::Int(*value),
        Attribute::Float(value) => Attr::Float(*value),
        Attribute::Text(text) => Attr::String(text.clone().into_owned()),
        Attribute::DType(dtype) => Attr::Int(dtype.paddle_code()),
        Attribute::List(items) => return list(items),
        Attribute::Undefined | Attribute::Other(_) => return None,
    })
}

/// A list whose items are of one type. An empty list is one of integers. None for items of other or different types.
fn list(items: &[Attribute<'_>]) -> Option<Attr> {
    fn all<T>(
        items: &[Attribute<'_>],
        item: impl Fn(&Attribute<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        items.iter().map(item).collect()
    }
    let ints = all(items, |item| match item {
        Attribute::Int(value) => Some(*value),
        _ => None,
    });
    let floats = || {
        all(items, |item| match item {
            Attribute::Float(value) => Some(*value),
            // JSON may have a whole number without a decimal point.
            #[allow(clippy::as_conversions, reason = "exact for what stands among reals")]
            Attribute::Int(value) => Some(*value as f64),
            _ => None,
        })
    };
    let bools = || {
        all(items, |item| match item {
            Attribute::Bool(value) => Some(*value),
            _ => None,
        })
    };
    let strings = || {
        all(items, |item| match item {
            Attribute::Text(text) => Some(text.clone().into_owned()),
            _ => None,
        })
    };
    ints.map(Attr::Ints)
        .or_else(|| floats().map(Attr::Floats))
        .or_else(|| bools().map(Attr::Bools))
        .or_else(|| strings().map(Attr::Strings))
}
