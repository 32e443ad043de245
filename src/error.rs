//! Errors: what went wrong, where, and what to do about it.
//!
//! Every failure of this crate is an [`Error`]: a kind that programs can match on, the place of the
//! failure (file, byte, op), and a sentence or two for the person who reads it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with its kind and place.
#[derive(Debug, thiserror::Error)]
#[error("{place}{message}")]
pub struct Error {
    kind: ErrorKind,
    place: Box<Place>,
    message: String,
    need: Option<Box<Need>>,
    source: Option<io::Error>,
}

/// An opset that something needs.
#[derive(Debug)]
struct Need {
    opset: u32,
    /// What needs it.
    what: String,
}

/// What sort of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file contradicts its own format: truncated, oversized, inconsistent.
    Malformed,
    /// A file is valid but asks for something that this version does not do.
    Unsupported,
    /// The request itself can't be met: a missing input, an impossible option.
    Invalid,
    /// The operating system refused to read or write.
    Io,
    /// The caller asked to stop (see [`crate::Progress`]).
    Interrupted,
    /// A defect of this crate: please report it.
    Internal,
}

/// Where a failure lies. Fields that are `None` are left out when it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Option<PathBuf>,
    /// The offset in that file, in bytes from its start.
    pub byte: Option<u64>,
    /// The op, by its position, name and layer; or the weight, by its name and position.
    pub op: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(path) = &self.path {
            parts.push(path.display().to_string());
        }
        if let Some(byte) = self.byte {
            parts.push(format!("byte {byte}"));
        }
        if let Some(op) = &self.op {
            parts.push(op.clone());
        }
        if parts.is_empty() {
            return Ok(());
        }
        write!(f, "{}: ", parts.join(", "))
    }
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            place: Box::default(),
            message: message.into(),
            need: None,
            source: None,
        }
    }

    /// An error for a file, or an op in it, that contradicts its own format.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// An error for a file that is valid, but asks for something that this version does not do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// An error for something that ONNX can express only from `opset` on.
    pub(crate) fn needs_opset(opset: u32, what: impl fmt::Display) -> Self {
        let message = format!("{what} needs opset {opset}; convert with --opset {opset} or higher");
        let mut error = Self::unsupported(message);
        let what = what.to_string();
        error.need = Some(Box::new(Need { opset, what }));
        error
    }

    /// An error for something that ONNX can express only where extents are known before a run.
    pub(crate) fn needs_extents(what: impl fmt::Display) -> Self {
        Self::unsupported(format!(
            "{what}: export the model with fixed extents there (paddle.static.InputSpec)"
        ))
    }

    /// An error for a request that can't be met.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(
            ErrorKind::Interrupted,
            "interrupted; no output file was written",
        )
    }

    /// An I/O failure. `action` completes "could not …", as "read the weights" does.
    pub(crate) fn io(path: &Path, action: &str, source: io::Error) -> Self {
        Self::io_somewhere(action, source).in_file(path)
    }

    /// An I/O failure of a file that the caller will name.
    pub(crate) fn io_somewhere(action: &str, source: io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io, format!("could not {action}: {source}"));
        error.source = Some(source);
        error
    }

    /// Adds the file, unless a deeper layer already named one.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.place.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Adds the offset in the file, unless a deeper layer already named one.
    pub(crate) fn at_byte(mut self, byte: u64) -> Self {
        self.place.byte.get_or_insert(byte);
        self
    }

    /// Adds the op, unless a deeper layer already named one.
    pub(crate) fn at_op(mut self, op: impl fmt::Display) -> Self {
        self.place.op.get_or_insert_with(|| op.to_string());
        self
    }

    /// Adds what helps, as a clause of the message.
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        self.message = format!("{}; {advice}", self.message);
        self
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The lowest opset at which the conversion would not fail for this reason, if there is one.
    pub fn needed_opset(&self) -> Option<u32> {
        self.need.as_ref().map(|need| need.opset)
    }

    /// What needs [`Error::needed_opset`], with the op that does.
    pub(crate) fn needed_by(&self) -> Option<String> {
        let what = &self.need.as_ref()?.what;
        Some(match &self.place.op {
            Some(op) => format!("{op}: {what}"),
            None => what.clone(),
        })
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where the failure lies.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
