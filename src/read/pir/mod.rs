//! `.json`: a program of Paddle 3, in its intermediate representation PIR.
//!
//! Keys are short: `#` is the kind of an object, `%` the number of a value, `I` and `O` are the operands
//! and results of an op, `A` its attributes (`N` is the name, `AT` the value), and `TT` is the type of a
//! value.
//! Source: `paddle/fluid/pir/serialize_deserialize` in Paddle.

mod attribute;
mod tagged;
mod types;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub(crate) use attribute::Attribute;
pub(crate) use types::Type;

use crate::error::{Error, Result};

/// What `base_code.magic` must be.
const MAGIC: &str = "pir";

/// The newest version of the format that this crate knows, which is that of Paddle 3.3.
pub(crate) const NEWEST_VERSION: u64 = 4;

/// A decoded program. Text is borrowed from the file's bytes.
#[derive(Debug)]
pub(crate) struct PirProgram<'a> {
    pub version: u64,
    pub main: Block<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Region<'a> {
    #[serde(borrow)]
    pub blocks: Vec<Block<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Block<'a> {
    /// The arguments of the block.
    #[serde(default, borrow)]
    pub args: Vec<OpResult<'a>>,
    /// The keyword arguments of the block. Nothing refers to them by keyword.
    #[serde(default, borrow)]
    pub kwargs: Vec<OpResult<'a>>,
    #[serde(borrow)]
    pub ops: Vec<Op<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Op<'a> {
    /// The dialect and name of the op, such as `1.matmul` or `pd_op.matmul`; `p` for a parameter.
    #[serde(rename = "#", borrow)]
    pub name: Cow<'a, str>,
    #[serde(rename = "I", default)]
    pub operands: Vec<Operand>,
    #[serde(rename = "O", default, borrow, deserialize_with = "one_or_many")]
    pub results: Vec<OpResult<'a>>,
    #[serde(rename = "A", default, borrow)]
    pub attributes: Vec<AttributeEntry<'a>>,
    /// Whether the result outlives a run, as a weight does, if the op says so.
    #[serde(rename = "OA", default, deserialize_with = "persistable")]
    pub is_persistable: Option<bool>,
    #[serde(default, borrow)]
    pub regions: Vec<Region<'a>>,
}

impl<'a> Op<'a> {
    /// The attributes with their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Attribute<'a>)> {
        self.attributes.iter().filter_map(|entry| match entry {
            AttributeEntry::Named(name, value) => Some((&**name, value)),
            AttributeEntry::Text(_) | AttributeEntry::Flag(_) => None,
        })
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes()
            .find_map(|(other, value)| (other == name).then_some(value))
    }

    /// The attribute that is plain text, which is the name of a parameter.
    pub fn plain_text(&self) -> Option<&str> {
        self.attributes.iter().find_map(|entry| match entry {
            AttributeEntry::Text(text) => Some(&**text),
            AttributeEntry::Named(..) | AttributeEntry::Flag(_) => None,
        })
    }
}

/// An operand of an op: the number of the value that it reads, or 0 if it is optional and absent.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Operand {
    #[serde(rename = "%", alias = "#")]
    pub number: i64,
}

/// A value where it is defined. Results are numbered from 1 up (0 is an optional result that is absent),
/// arguments of blocks from -1 down.
#[derive(Debug, Deserialize)]
pub(crate) struct OpResult<'a> {
    #[serde(rename = "%", alias = "#")]
    pub number: i64,
    #[serde(rename = "TT", borrow)]
    pub ty: Type<'a>,
}

/// An attribute of an op. A parameter has unnamed attributes instead: three flags and its name.
#[derive(Debug)]
pub(crate) enum AttributeEntry<'a> {
    Named(Cow<'a, str>, Attribute<'a>),
    Text(Cow<'a, str>),
    Flag(bool),
}

/// Whether a file begins like JSON, and so can't be of another format of Paddle's.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    let text = without_mark(bytes);
    text.trim_ascii_start().starts_with(b"{")
}

/// The bytes without the byte-order mark that some editors put in front of UTF-8. Paddle reads such files, too.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Whether a file that starts with these bytes is a program, rather than the JSON of another tool.
pub(super) fn is_program(start: &[u8]) -> bool {
    let holds = |key: &[u8]| start.windows(key.len()).any(|window| window == key);
    is_json(start) && (holds(b"\"base_code\"") || holds(b"\"regions\""))
}

/// Decodes a program.
///
/// # Errors
/// When the bytes are not JSON, or not the JSON of a program with a single main block that has ops; or
/// when they are nested more deeply than serde_json allows, which limits the nesting of blocks.
pub(crate) fn decode<'a>(bytes: &'a [u8], path: &Path) -> Result<PirProgram<'a>> {
    let document: Document<'a> = serde_json::from_slice(without_mark(bytes)).map_err(|e| {
        let error = Error::malformed(format!("not a program of Paddle 3: {}", without_place(&e)));
        error.in_file(path).at_byte(offset(bytes, &e))
    })?;
    let malformed = |what: String| Error::malformed(what).in_file(path);
    let BaseCode { magic, version } = document.base_code;
    if magic != MAGIC {
        return Err(malformed(format!(
            "the magic word is {magic:?} where {MAGIC:?} is due: no program of Paddle 3"
        )));
    }
    let mut blocks = document
        .program
        .regions
        .into_iter()
        .flat_map(|region| region.blocks);
    match (blocks.next(), blocks.next()) {
        (Some(main), None) if !main.ops.is_empty() => Ok(PirProgram { version, main }),
        (Some(_), None) | (None, _) => Err(malformed("the program has no ops".into())),
        (Some(_), Some(_)) => Err(malformed("the program has several main blocks".into())),
    }
}

/// serde_json's message without the line and column at its end. The files have a single line, in which
/// a byte offset is of more use.
fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message
        .strip_suffix(&place)
        .map_or_else(|| message.clone(), str::to_owned)
}

/// The byte at which serde_json found an error.
fn offset(bytes: &[u8], error: &serde_json::Error) -> u64 {
    let text = without_mark(bytes);
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len);
    let offset = before.sum::<usize>() + error.column().saturating_sub(1);
    let offset = offset + (bytes.len() - text.len());
    u64::try_from(offset).unwrap_or(u64::MAX)
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    base_code: BaseCode<'a>,
    #[serde(borrow)]
    program: Module<'a>,
}

#[derive(Deserialize)]
struct BaseCode<'a> {
    #[serde(borrow)]
    magic: Cow<'a, str>,
    version: u64,
}

#[derive(Deserialize)]
struct Module<'a> {
    #[serde(borrow)]
    regions: Vec<Region<'a>>,
}

/// The results of an op, which are a list; a parameter has its only result without a list around it.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a result or a list of results")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))
        }
    }

    deserializer.deserialize_any(OneOrMany(PhantomData))
}

/// Whether any result is persistable, if that is said: by the first of a parameter's flags, or by the attribute of this
/// name. Nothing else in the attributes of results matters.
fn persistable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let entries: Vec<AttributeEntry<'de>> = Vec::deserialize(deserializer)?;
    if let Some(AttributeEntry::Flag(flag)) = entries.first() {
        return Ok(Some(*flag));
    }
    Ok(entries.iter().find_map(|entry| match entry {
        AttributeEntry::Named(name, Attribute::List(flags)) if name == "persistable" => {
            Some(flags.contains(&Attribute::Bool(true)))
        }
        _ => None,
    }))
}

impl<'de: 'a, 'a> Deserialize<'de> for AttributeEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor<'a>(PhantomData<&'a ()>);

        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(rename = "N", borrow)]
            name: Cow<'a, str>,
            #[serde(rename = "AT", borrow)]
            value: Attribute<'a>,
        }

        impl<'de: 'a, 'a> Visitor<'de> for EntryVisitor<'a> {
            type Value = AttributeEntry<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let named = Named::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(AttributeEntry::Named(named.name, named.value))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(AttributeEntry::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(AttributeEntry::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(AttributeEntry::Flag(flag))
            }

            fn visit_i64<E>(self, flag: i64) -> Result<Self::Value, E> {
                Ok(AttributeEntry::Flag(flag != 0))
            }

            fn visit_u64<E>(self, flag: u64) -> Result<Self::Value, E> {
                Ok(AttributeEntry::Flag(flag != 0))
            }
        }

        deserializer.deserialize_any(EntryVisitor(PhantomData))
    }
}
