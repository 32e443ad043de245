//! The types of values.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::tagged::{Data, Tagged};
use crate::tensor::DType;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type<'a> {
    /// A dense tensor, in whose `dims` -1 is an unknown extent.
    Tensor { dtype: DType, dims: Vec<i64> },
    /// A list of dense tensors, to which the program appends, with what it declares of an item.
    Array { dtype: DType, dims: Vec<i64> },
    /// A list of values.
    List(Vec<Type<'a>>),
    /// The type of an absent value.
    Absent,
    /// Anything else, by its tag: sparse tensors, tensors of 8-bit floats, stacks, …
    Other(Cow<'a, str>),
}

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Tensor { .. } => f.write_str("a tensor"),
            Type::Array { .. } => f.write_str("an array of tensors"),
            Type::List(_) => f.write_str("a list of tensors"),
            Type::Absent => f.write_str("absent"),
            Type::Other(tag) => write!(f, "of type {tag}"),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Type<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tagged = Tagged::deserialize(deserializer)?;
        read(tagged).map_err(D::Error::custom)
    }
}

fn read(tagged: Tagged<'_>) -> Result<Type<'_>, String> {
    match tagged.kind() {
        "NULL" => Ok(Type::Absent),
        "t_dtensor" => tensor(&tagged.data),
        "t_dense_tensor_array" => Ok(match tensor(&tagged.data)? {
            Type::Tensor { dtype, dims } => Type::Array { dtype, dims },
            other => other,
        }),
        "t_vec" => {
            let Data::List(items) = tagged.data else {
                return Err("a list of types without its items".into());
            };
            let items = items.into_iter().map(|item| match item {
                Data::Tagged(tagged) => read(*tagged),
                _ => Err("a list of types with something else in it".into()),
            });
            items.collect::<Result<_, _>>().map(Type::List)
        }
        _ => Ok(Type::Other(tagged.tag)),
    }
}

/// The type of a tensor from its fields: element type and extents. The layout, LoD and offset that follow
/// say nothing about a dense tensor.
fn tensor<'a>(data: &Data<'a>) -> Result<Type<'a>, String> {
    let malformed = || "the type of a tensor without element type and extents".to_owned();
    let Data::List(fields) = data else {
        return Err(malformed());
    };
    let (Some(Data::Tagged(element)), Some(dims)) = (fields.first(), fields.get(1)) else {
        return Err(malformed());
    };
    let dims = dims.integers().ok_or_else(malformed)?;
    Ok(match element_type(element.kind()) {
        Some(dtype) => Type::Tensor { dtype, dims },
        None => Type::Other(element.tag.clone()),
    })
}

fn element_type(kind: &str) -> Option<DType> {
    Some(match kind {
        "t_bool" => DType::Bool,
        "t_ui8" => DType::U8,
        "t_i8" => DType::I8,
        "t_i16" => DType::I16,
        "t_i32" => DType::I32,
        "t_i64" => DType::I64,
        "t_f16" => DType::F16,
        "t_bf16" => DType::BF16,
        "t_f32" => DType::F32,
        "t_f64" => DType::F64,
        "t_c64" => DType::C64,
        "t_c128" => DType::C128,
        _ => return None,
    })
}
