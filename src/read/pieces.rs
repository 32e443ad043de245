//! The elements of a weight, read piece by piece, so that no weight has to fit into memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::params::ByteRange;
use crate::error::{Error, Result};

/// The bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// Hands the bytes of a part of a file to `visit`, in pieces of a multiple of 8 bytes but for the last.
///
/// # Errors
/// When the file can't be read, or has become shorter; and those of `visit`.
pub(crate) fn pieces(range: &ByteRange, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let read_error = |e| Error::io(&range.path, "read the weights", e);
    let mut file = File::open(&range.path).map_err(read_error)?;
    file.seek(SeekFrom::Start(range.offset))
        .map_err(read_error)?;
    let mut buffer = vec![0; PIECE];
    let mut left = range.len;
    while left > 0 {
        let size = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let piece = buffer.get_mut(..size).unwrap_or_default();
        file.read_exact(piece).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::malformed("the weights have become shorter").in_file(&range.path)
            }
            _ => read_error(e),
        })?;
        visit(piece)?;
        left = left.saturating_sub(u64::try_from(size).unwrap_or(left));
    }
    Ok(())
}
