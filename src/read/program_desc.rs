//! `.pdmodel` and `__model__`: a protobuf `ProgramDesc`.

use std::path::Path;

use prost::{DecodeError, Message};

use super::kinds;
use crate::error::{Error, Result};
use crate::proto::framework::{OpDesc, ProgramOutline};

/// The tag of the blocks, with which every program begins.
const BLOCKS: u8 = 0x0a;

/// Decodes a program, except for its ops.
///
/// # Errors
/// When the bytes are not those of a `ProgramDesc` whose first block has at least one op.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<ProgramOutline> {
    if let Some(error) = other_format(bytes) {
        return Err(error.in_file(path));
    }
    let program = ProgramOutline::decode(bytes).map_err(|e| cut_short(&e).in_file(path))?;
    let main = program.blocks.first();
    if main.is_none_or(|block| block.ops.is_empty()) {
        return Err(Error::malformed("the program has no ops").in_file(path));
    }
    Ok(program)
}

/// Decodes an op of a program.
///
/// # Errors
/// When the bytes are not those of an `OpDesc`.
pub(crate) fn decode_op(bytes: &[u8]) -> Result<OpDesc> {
    OpDesc::decode(bytes).map_err(|e| cut_short(&e))
}

fn cut_short(e: &DecodeError) -> Error {
    Error::malformed(format!(
        "not a Paddle program, or one that was cut short: {e}"
    ))
}

/// An error that says what a file is, for formats that people pass by mistake.
fn other_format(bytes: &[u8]) -> Option<Error> {
    if bytes.is_empty() {
        return Some(Error::malformed("the file is empty"));
    }
    if let Some(what) = kinds::by_start(bytes) {
        return Some(Error::malformed(what));
    }
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    bytes
        .iter()
        .take(64)
        .all(is_text)
        .then(|| Error::malformed("this is a text file, not a Paddle program"))
}

/// Whether a file that starts with these bytes may be a program: the first field of its message holds a block. Also
/// what stands for one, as a pointer does.
pub(super) fn may_be_program(start: &[u8]) -> bool {
    start.first() == Some(&BLOCKS) || kinds::is_pointer(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::proto::framework::ProgramDesc;

    #[test]
    fn other_formats_are_named() {
        let cases: [(&[u8], ErrorKind, &str); 6] = [
            (b"", ErrorKind::Malformed, "empty"),
            (b"PK\x03\x04rest", ErrorKind::Malformed, "zip"),
            (b"\x1f\x8brest", ErrorKind::Malformed, "gzip"),
            (
                b"version https://git-lfs.github.com/spec/v1",
                ErrorKind::Malformed,
                "LFS",
            ),
            (b"hello world", ErrorKind::Malformed, "text"),
            (
                b"\xff\xff\xff\xff",
                ErrorKind::Malformed,
                "not a Paddle program",
            ),
        ];
        for (bytes, kind, word) in cases {
            let error = decode(bytes, Path::new("m.pdmodel")).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_program_without_ops_is_refused() {
        let error = decode(&ProgramDesc::default().encode_to_vec(), Path::new("m")).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        let program = ProgramDesc {
            blocks: vec![Default::default()],
            version: None,
        };
        let error = decode(&program.encode_to_vec(), Path::new("m")).unwrap_err();
        assert!(error.to_string().contains("no ops"), "{error}");
    }
}
