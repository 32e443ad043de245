//! How a subcommand ends: what it has found, or why it could not do its work.

use paddle2onnx::{Error, ErrorKind};

/// What a subcommand that did its work has found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The work is done, and if there was a question, the answer is yes.
    Success,
    /// The ONNX model does not compute what the program computes.
    NoParity,
    /// A model of the zoo is not as the manifest expects, or worse than in the baseline.
    NotAsExpected,
    /// What can be judged agrees, but not all can be.
    Undecided,
    /// Something stands in the way of a conversion.
    NotConvertible,
    /// Of many models, some could not be converted.
    SomeFailed,
}

/// Why a subcommand could not do its work, as a sentence.
pub(super) struct Failure {
    pub message: String,
    pub interrupted: bool,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            interrupted: false,
        }
    }

    pub fn interrupted() -> Self {
        Self {
            message: "interrupted".into(),
            interrupted: true,
        }
    }

    /// The failure with `what` before its message: what had been done, or what it concerns.
    pub fn after(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            interrupted: error.kind() == ErrorKind::Interrupted,
            message: error.to_string(),
        }
    }
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;
