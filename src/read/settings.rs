//! The settings that PaddleX writes beside a program, in `inference.yml`: how pictures are prepared, and what the outputs
//! mean.
//!
//! The text is kept as it is. Of its contents, only two lists are looked for: `character_dict`, the characters of a text
//! recogniser, and `label_list`, the classes of a classifier or a detector. They stand at different depths.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScanError};

use crate::error::{Error, Result};

/// The extension of the settings beside a program.
const EXTENSION: &str = "yml";

/// The most bytes of settings: the largest that are known, with 18,000 characters, have 150,000.
const LARGEST: u64 = 4 << 20;

/// The settings of a model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The file.
    pub path: PathBuf,
    /// All of the file.
    pub text: String,
    /// The lists in it by their names, in their order. Empty if the file is not YAML.
    pub lists: Vec<(String, Vec<String>)>,
    /// Why it is not.
    pub problem: Option<String>,
}

impl Settings {
    /// The list of this name; None if there is none, or several that differ.
    pub fn list(&self, name: &str) -> Option<&[String]> {
        let mut lists = self.lists.iter().filter(|(known, _)| known == name);
        let (_, first) = lists.next()?;
        lists
            .all(|(_, other)| other == first)
            .then_some(first.as_slice())
    }
}

/// The settings beside `program`, in `NAME.yml`; None if there are none.
///
/// # Errors
/// When the file can't be read, is too large or is not UTF-8.
pub(crate) fn settings(program: &Path) -> Result<Option<Settings>> {
    let path = program.with_extension(EXTENSION);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(&path, "open the settings", e)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(&path, "read the settings", e))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > LARGEST) {
        let message = format!("settings have {LARGEST} bytes at most");
        return Err(Error::malformed(message).in_file(&path));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::malformed("settings are UTF-8, which this is not").in_file(&path))?;
    let (lists, problem) = match lists(&text) {
        Ok(lists) => (lists, None),
        Err(e) => (Vec::new(), Some(format!("this is not YAML: {e}"))),
    };
    Ok(Some(Settings {
        path,
        text,
        lists,
        problem,
    }))
}

/// A mapping or a sequence that is not at its end.
enum Open {
    /// The key whose value comes next. The outer None is where a key comes next, the inner one is a key that is no scalar.
    Mapping(Option<Option<String>>),
    /// The key that it is the value of, and its items, as long as all of them are scalars.
    Sequence(Option<String>, Option<Vec<String>>),
}

/// The lists of scalars in a YAML text that are values of keys.
fn lists(text: &str) -> Result<Vec<(String, Vec<String>)>, ScanError> {
    let mut lists = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        match event?.0 {
            Event::Scalar(value, ..) => {
                place(&mut open, Some(value.into_owned()));
            }
            // What it stands for is not looked up.
            Event::Alias(_) => {
                place(&mut open, None);
            }
            Event::MappingStart(..) => {
                place(&mut open, None);
                open.push(Open::Mapping(None));
            }
            Event::SequenceStart(..) => {
                let key = place(&mut open, None);
                open.push(Open::Sequence(key, Some(Vec::new())));
            }
            Event::MappingEnd => {
                open.pop();
            }
            Event::SequenceEnd => {
                if let Some(Open::Sequence(Some(key), Some(items))) = open.pop() {
                    lists.push((key, items));
                }
            }
            _ => {}
        }
    }
    Ok(lists)
}

/// Puts a node, a scalar or something else, into what is open around it. Returns the key that it is the value of.
fn place(open: &mut [Open], scalar: Option<String>) -> Option<String> {
    match open.last_mut()? {
        Open::Mapping(next) => match next.take() {
            Some(key) => key,
            None => {
                *next = Some(scalar);
                None
            }
        },
        Open::Sequence(_, items) => {
            match (items.as_mut(), scalar) {
                (Some(items), Some(scalar)) => items.push(scalar),
                _ => *items = None,
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, name: &str) -> Option<Vec<String>> {
        let settings = Settings {
            lists: lists(text).unwrap(),
            ..Settings::default()
        };
        settings.list(name).map(<[String]>::to_vec)
    }

    #[test]
    fn lists_are_found_at_any_depth() {
        let text = "\
Global:
  model_name: rec
PreProcess:
  transform_ops:
  - DecodeImage:
      img_mode: BGR
  - RecResizeImg:
      image_shape: [3, 48, 320]
PostProcess:
  name: CTCLabelDecode
  character_dict:
  - '!'
  - ''''
  - \"\\u3000\"
  - '0'
  - 疗
label_list: [a b, 'c: d', 3]
";
        let characters = ["!", "'", "\u{3000}", "0", "疗"];
        assert_eq!(found(text, "character_dict").unwrap(), characters);
        assert_eq!(found(text, "label_list").unwrap(), ["a b", "c: d", "3"]);
        assert_eq!(found(text, "image_shape").unwrap(), ["3", "48", "320"]);
        // A list of mappings, a mapping, and what is no key.
        for name in ["transform_ops", "PostProcess", "DecodeImage", "BGR", "x"] {
            assert_eq!(found(text, name), None, "{name}");
        }
    }

    #[test]
    fn lists_that_contradict_each_other_are_none() {
        assert_eq!(found("a: {x: [1]}\nb: {x: [2]}", "x"), None);
        assert_eq!(found("a: {x: [1]}\nb: {x: [1]}", "x").unwrap(), ["1"]);
        assert_eq!(found("a: &l [1]\nx: *l", "x"), None);
        // A key that is a mapping, and an item that is a list.
        assert_eq!(found("? {x: [1]}\n: [2]", "x").unwrap(), ["1"]);
        assert_eq!(found("x: [1, [2]]", "x"), None);
    }

    #[test]
    fn what_is_not_yaml_is_an_error() {
        for text in ["a: [1", "a: 'b", "\t- x: y\n z", "{a: b}: ]"] {
            assert!(lists(text).is_err(), "{text}");
        }
        // Deep nesting costs no stack.
        assert!(lists(&"[".repeat(100_000)).is_err());
        assert!(lists(&"- ".repeat(100_000)).is_ok_and(|lists| lists.is_empty()));
    }
}
