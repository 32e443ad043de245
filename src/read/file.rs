//! The bytes of a program in either format, and what distinguishes the formats.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::pir;
use crate::error::{Error, Result};

/// The most bytes that are read as a program. Without its weights, no program comes near this size.
const LARGEST_PROGRAM: u64 = 256 << 20;

/// The format of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Protobuf, as Paddle 1.x and 2.x write it.
    ProgramDesc {
        /// Whether a development build wrote it, which states no release.
        is_unreleased: bool,
    },
    /// JSON, as Paddle 3 writes it.
    Pir {
        /// The version of the format.
        version: u64,
    },
}

impl Format {
    /// A warning to the user, if it is uncertain that a program of this format is read correctly.
    pub fn warning(self) -> Option<String> {
        match self {
            Format::Pir { version } if version > pir::NEWEST_VERSION => Some(format!(
                "the program is in version {version} of PIR, which is newer than {}, the newest \
                 that is known here; verify the result",
                pir::NEWEST_VERSION
            )),
            Format::ProgramDesc {
                is_unreleased: true,
            } => Some(
                "the program does not say which release of Paddle wrote it; it is read as one of \
                 Paddle 2.6; verify the result"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::ProgramDesc { .. } => f.write_str("ProgramDesc (Paddle 1.x and 2.x)"),
            Format::Pir { version } => write!(f, "PIR version {version} (Paddle 3)"),
        }
    }
}

/// Reads the file of a program into memory.
///
/// # Errors
/// When it can't be read, or is too large for a program.
pub(crate) fn program(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_PROGRAM + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(path, "read the program", e))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > LARGEST_PROGRAM) {
        return Err(Error::malformed(format!(
            "more than {LARGEST_PROGRAM} bytes are too many for a Paddle program; \
             are these the weights?"
        ))
        .in_file(path));
    }
    Ok(bytes)
}
