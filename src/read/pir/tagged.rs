//! What attributes and types have in common: a tag that says what the data mean.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// `{"#": tag, "D": data}`. A number that JSON can't express is a word in `VD` instead.
#[derive(Debug, Deserialize)]
pub(super) struct Tagged<'a> {
    #[serde(rename = "#", borrow)]
    pub tag: Cow<'a, str>,
    #[serde(rename = "D", default, borrow)]
    pub data: Data<'a>,
    #[serde(rename = "VD", default, borrow)]
    pub word: Option<Cow<'a, str>>,
}

impl Tagged<'_> {
    /// The tag without its dialect: `0.a_f32` and `builtin.a_f32` are `a_f32`.
    pub fn kind(&self) -> &str {
        self.tag
            .rsplit_once('.')
            .map_or(&*self.tag, |(_, kind)| kind)
    }
}

/// The data beside a tag, before the tag is interpreted.
#[derive(Debug, Default)]
pub(super) enum Data<'a> {
    #[default]
    Nothing,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    List(Vec<Data<'a>>),
    Tagged(Box<Tagged<'a>>),
}

impl Data<'_> {
    /// The elements of a list of integers; None for anything else.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let Data::List(list) = self else {
            return None;
        };
        let integers = list.iter().map(|item| match item {
            Data::Int(value) => Some(*value),
            _ => None,
        });
        integers.collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor(PhantomData))
    }
}

struct DataVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for DataVisitor<'a> {
    type Value = Data<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Data<'a>, E> {
        Ok(Data::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data<'a>, E> {
        Ok(Data::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data<'a>, E> {
        Ok(Data::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Data<'a>, E> {
        let value = i64::try_from(value);
        value
            .map(Data::Int)
            .map_err(|_| E::custom("an integer of more than 63 bits"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Data<'a>, E> {
        Ok(Data::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Data<'a>, E> {
        Ok(Data::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Data<'a>, E> {
        Ok(Data::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Data<'a>, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Data::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Data<'a>, A::Error> {
        let tagged = Tagged::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Data::Tagged(Box::new(tagged)))
    }
}
