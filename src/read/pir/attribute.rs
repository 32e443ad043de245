//! The values of attributes.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::tagged::{Data, Tagged};
use crate::tensor::DType;

/// The value of an attribute. The widths of numbers differ between versions of the format, and are
/// dropped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Attribute<'a>>),
    DType(DType),
    /// Written as undefined, by which Paddle means the default.
    Undefined,
    /// An attribute of an unknown kind, by its tag, or an unknown element type, by its name.
    Other(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Attribute<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tagged = Tagged::deserialize(deserializer)?;
        read(tagged).map_err(D::Error::custom)
    }
}

fn read(tagged: Tagged<'_>) -> Result<Attribute<'_>, String> {
    let tag = tagged.tag.clone();
    let value = match tagged.kind() {
        "a_bool" => match tagged.data {
            Data::Bool(value) => Some(Attribute::Bool(value)),
            _ => None,
        },
        "a_i32" | "a_i64" | "a_index" | "a_f32" | "a_f64" => match tagged.word {
            Some(word) => not_finite(&word),
            None => number(&tagged.data),
        },
        "a_str" | "a_tensorname" => match tagged.data {
            Data::Text(text) => Some(Attribute::Text(text)),
            _ => None,
        },
        "a_array" => match tagged.data {
            Data::List(items) => {
                return items
                    .into_iter()
                    .map(item)
                    .collect::<Result<_, _>>()
                    .map(Attribute::List);
            }
            _ => None,
        },
        "a_intarray" => {
            let integers = tagged.data.integers();
            integers.map(|list| Attribute::List(list.into_iter().map(Attribute::Int).collect()))
        }
        "a_scalar" => match tagged.data {
            // The element type and the value. The value of a 16-bit float is written as its bits.
            Data::List(fields) => match (fields.first(), fields.get(1)) {
                (Some(Data::Text(dtype)), _) if dtype.contains("float16") => {
                    Some(Attribute::Other(tagged.tag))
                }
                (_, value) => value.and_then(number),
            },
            _ => None,
        },
        "a_dtype" => match tagged.data {
            Data::Text(name) => Some(dtype(name)),
            _ => None,
        },
        "NULL" => Some(Attribute::Undefined),
        _ => Some(Attribute::Other(tagged.tag)),
    };
    value.ok_or_else(|| format!("an attribute of type {tag} without a value of that type"))
}

fn item(data: Data<'_>) -> Result<Attribute<'_>, String> {
    match data {
        Data::Tagged(tagged) => read(*tagged),
        _ => Err("a list of attributes with something else in it".into()),
    }
}

fn number<'a>(data: &Data<'_>) -> Option<Attribute<'a>> {
    match data {
        Data::Int(value) => Some(Attribute::Int(*value)),
        Data::Float(value) => Some(Attribute::Float(*value)),
        Data::Bool(value) => Some(Attribute::Bool(*value)),
        _ => None,
    }
}

fn not_finite<'a>(word: &str) -> Option<Attribute<'a>> {
    let value = match word {
        "INF" => f64::INFINITY,
        "-INF" => f64::NEG_INFINITY,
        // Paddle 3.3 writes `NaN`, and reads only `NAN`.
        "NAN" | "NaN" => f64::NAN,
        _ => return None,
    };
    Some(Attribute::Float(value))
}

/// The element type of this name, as PHI prints it.
fn dtype(name: Cow<'_, str>) -> Attribute<'_> {
    if name.starts_with("Undefined") {
        return Attribute::Undefined;
    }
    let known = DType::ALL.into_iter().chain([DType::C64, DType::C128]);
    let mut known = known.filter(|dtype| dtype.name() == name);
    known
        .next()
        .map_or(Attribute::Other(name), Attribute::DType)
}
