//! What an ONNX model says of itself, in its `metadata_props`: which program it was made of, and PaddleX's settings for
//! what calls it.
//!
//! | key | value |
//! | --- | --- |
//! | `paddle.format` | the format of the program |
//! | `paddle.program_sha256` | the SHA-256 of the program's file |
//! | `paddle.inference_yml` | the settings beside the program, whole |
//! | `character` | the characters of a text recogniser, a line each: what RapidOCR reads |
//! | `paddle2onnx_rs.dtype` and others | how half precision was asked for ([`HalfPrecision::described`]) |
//! | `names` | the names of classes, as a dictionary in Python: what Ultralytics' tools read |

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Model;
use crate::read::{Settings, settings};
use crate::simplify::HalfPrecision;

/// What an ONNX model says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Keys and values.
    pub entries: Vec<(String, String)>,
    /// Why the settings, or a part of them, are not among these, in sentences.
    pub remarks: Vec<String>,
}

impl Metadata {
    /// What the ONNX model of a Paddle model says.
    pub fn of(model: &Model) -> Self {
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let half = model.half.as_ref().map(HalfPrecision::described);
        let mut entries = half.unwrap_or_default();
        entries.extend([
            entry("paddle.format", &model.format.to_string()),
            entry("paddle.program_sha256", &model.sha256),
        ]);
        let mut metadata = Self {
            entries,
            remarks: Vec::new(),
        };
        match settings(&model.files.program) {
            Ok(Some(settings)) => metadata.add(&settings),
            Ok(None) => {}
            Err(e) => metadata
                .remarks
                .push(format!("{e}; the ONNX model is without the settings")),
        }
        metadata
    }

    fn add(&mut self, settings: &Settings) {
        let mut add = |key: &str, value: String| self.entries.push((key.to_owned(), value));
        add("paddle.inference_yml", settings.text.clone());
        let mut problems = Vec::new();
        if let Some(labels) = settings.list("label_list") {
            add("names", dictionary(labels));
        }
        if let Some(characters) = settings.list("character_dict") {
            match lines(characters) {
                Some(lines) => add("character", lines),
                None => problems.push(
                    "the characters can't be written a line each, so that the ONNX model has them in \
                     `paddle.inference_yml` alone",
                ),
            }
        }
        problems.extend(settings.problem.as_deref());
        let path = settings.path.display();
        let problems = problems.iter().map(|problem| format!("{path}: {problem}"));
        self.remarks.extend(problems);
    }
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The items as lines, which Python's `splitlines` takes apart again. None if it would not give the same items.
fn lines(items: &[String]) -> Option<String> {
    let ends_line = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    // An empty line at the end is none.
    let is_kept = items.last().is_none_or(|last| !last.is_empty());
    (is_kept && !items.iter().any(|item| item.contains(ends_line))).then(|| items.join("\n"))
}

/// The items by their positions, as a dictionary in Python.
fn dictionary(items: &[String]) -> String {
    let mut text = String::from("{");
    for (position, item) in items.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        let _ = write!(text, "{separator}{position}: '");
        for c in item.chars() {
            match c {
                '\\' | '\'' => text.extend(['\\', c]),
                '\n' => text.push_str("\\n"),
                c if c.is_control() => {
                    let _ = write!(text, "\\u{:04x}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        text.push('\'');
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // The first example of FIPS 180-4.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }

    #[test]
    fn lines_are_those_that_python_takes_apart() {
        assert_eq!(lines(&owned(&["a", "", " ", "疗"])).unwrap(), "a\n\n \n疗");
        assert_eq!(lines(&[]).unwrap(), "");
        for item in ["", "a\nb", "\r", "\u{b}", "\u{1d}", "\u{85}", "\u{2028}"] {
            assert_eq!(lines(&owned(&["a", item])), None, "{item:?}");
        }
    }

    #[test]
    fn dictionaries_are_those_of_python() {
        assert_eq!(dictionary(&[]), "{}");
        let items = owned(&["person", "jack-o'-lantern", "a\\b", "c\n\u{7}", "疗"]);
        let expected = r"{0: 'person', 1: 'jack-o\'-lantern', 2: 'a\\b', 3: 'c\n\u0007', 4: '疗'}";
        assert_eq!(dictionary(&items), expected);
    }
}
