//! `.pdmodel` and `__model__`: a protobuf `ProgramDesc`.

use std::path::Path;

use prost::Message;

use crate::error::{Error, Result};
use crate::proto::framework::ProgramDesc;

/// Decodes a program.
///
/// # Errors
/// When the bytes are not those of a `ProgramDesc` whose first block has at least one op.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<ProgramDesc> {
    if let Some(error) = other_format(bytes) {
        return Err(error.in_file(path));
    }
    let program = ProgramDesc::decode(bytes).map_err(|e| {
        Error::malformed(format!(
            "not a Paddle program, or one that was cut short: {e}"
        ))
        .in_file(path)
    })?;
    let main = program.blocks.first();
    if main.is_none_or(|block| block.ops.is_empty()) {
        return Err(Error::malformed("the program has no ops").in_file(path));
    }
    Ok(program)
}

/// An error that says what a file is, for formats that people pass by mistake.
fn other_format(bytes: &[u8]) -> Option<Error> {
    if bytes.is_empty() {
        Some(Error::malformed("the file is empty"))
    } else if bytes.starts_with(b"PK\x03\x04") {
        Some(Error::malformed(
            "this is a zip archive, not a Paddle program; unpack it and name the .pdmodel in it",
        ))
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        Some(Error::malformed(
            "this is a gzip archive, not a Paddle program; unpack it and name the .pdmodel in it",
        ))
    } else if bytes.starts_with(b"version https://git-lfs") {
        Some(Error::malformed(
            "this is a Git LFS pointer, not the file itself; run `git lfs pull`",
        ))
    } else if bytes
        .iter()
        .take(64)
        .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
    {
        Some(Error::malformed(
            "this is a text file, not a Paddle program",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

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
