//! Attribute values, and their typed reading.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::tensor::DType;

/// The value of an attribute. Integers of any width are int64 ([`Attr::Int`]), and floating-point numbers of any width
/// float64 ([`Attr::Float`]). An element type is the integer that Paddle's `VarType.Type` has for it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after its type")]
pub enum Attr {
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Strings(Vec<String>),
    /// The index of a block of control flow in the program.
    Block(i64),
}

/// The attributes of an op, by their PHI names. They are shared on clone and copied on write, since a simplified program
/// has most of them in common with the one that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Arc<BTreeMap<String, Attr>>);

impl Deref for Attributes {
    type Target = BTreeMap<String, Attr>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Attributes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl From<BTreeMap<String, Attr>> for Attributes {
    fn from(attrs: BTreeMap<String, Attr>) -> Self {
        Self(Arc::new(attrs))
    }
}

impl<const N: usize> From<[(String, Attr); N]> for Attributes {
    fn from(attrs: [(String, Attr); N]) -> Self {
        BTreeMap::from(attrs).into()
    }
}

impl Attr {
    /// The name of the value's type with its article, for errors: `a list of integers`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Attr::Bool(_) => "a bool",
            Attr::Int(_) => "an integer",
            Attr::Float(_) => "a number",
            Attr::String(_) => "a string",
            Attr::Bools(_) => "a list of bools",
            Attr::Ints(_) => "a list of integers",
            Attr::Floats(_) => "a list of numbers",
            Attr::Strings(_) => "a list of strings",
            Attr::Block(_) => "a block",
        }
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Bool(value) => value.fmt(f),
            Attr::Int(value) => value.fmt(f),
            Attr::Float(value) => write!(f, "{value:?}"),
            Attr::String(value) => write!(f, "{value:?}"),
            Attr::Bools(values) => write!(f, "{values:?}"),
            Attr::Ints(values) => write!(f, "{values:?}"),
            Attr::Floats(values) => write!(f, "{values:?}"),
            Attr::Strings(values) => write!(f, "{values:?}"),
            Attr::Block(index) => write!(f, "block {index}"),
        }
    }
}

/// A Rust type that an attribute can be read as, with [`OpReader`](crate::operator::OpReader)'s methods.
///
/// Paddle changed the numeric types of attributes between versions. So integers are also read from floating-point
/// attributes that hold whole numbers, and floating-point numbers from integers. [`DType`] is read from Paddle's code
/// of an element type, and [`Attr`] from any attribute.
pub trait FromAttr: Sized {
    /// What is expected, with its article, for errors: `an integer`.
    const EXPECTED: &'static str;

    /// The attribute as this type. None if it is of another type, or holds a number that this type does not.
    fn from_attr(attr: &Attr) -> Option<Self>;
}

impl FromAttr for bool {
    const EXPECTED: &'static str = "a bool";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Bool(value) => Some(*value),
            // Up to Paddle 1.6, a bool that is set after the op was made is stored as an integer.
            Attr::Int(0) => Some(false),
            Attr::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromAttr for i64 {
    const EXPECTED: &'static str = "an integer";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Int(value) => Some(*value),
            Attr::Float(value) => whole(*value),
            _ => None,
        }
    }
}

/// A floating-point number as an integer, if it is a whole number of at most 2^53 in magnitude.
fn whole(value: f64) -> Option<i64> {
    // 2^53: up to here, f64 holds every integer.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= LARGEST).then_some(value as i64)
}

impl FromAttr for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Float(value) => Some(*value),
            // Exact for every integer that Paddle writes in the place of a floating-point number in practice.
            Attr::Int(value) => Some(*value as f64),
            _ => None,
        }
    }
}

impl FromAttr for String {
    const EXPECTED: &'static str = "a string";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::String(value) => Some(value.clone()),
            _ => None,
        }
    }
}

impl FromAttr for Vec<i64> {
    const EXPECTED: &'static str = "a list of integers";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Ints(values) => Some(values.clone()),
            Attr::Floats(values) => values.iter().copied().map(whole).collect(),
            _ => None,
        }
    }
}

impl FromAttr for Vec<f64> {
    const EXPECTED: &'static str = "a list of numbers";

    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Floats(values) => Some(values.clone()),
            Attr::Ints(values) => Some(values.iter().map(|value| *value as f64).collect()),
            _ => None,
        }
    }
}

impl FromAttr for DType {
    const EXPECTED: &'static str = "an element type";

    fn from_attr(attr: &Attr) -> Option<Self> {
        i64::from_attr(attr).and_then(DType::from_paddle_code)
    }
}

impl FromAttr for Attr {
    const EXPECTED: &'static str = "a value";

    fn from_attr(attr: &Attr) -> Option<Self> {
        Some(attr.clone())
    }
}
