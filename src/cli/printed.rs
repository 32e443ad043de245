//! What subcommands print, for programs that show the same in another way.

use paddle2onnx::verify::Report;
use paddle2onnx::{Model, Result};
use serde::Serialize;

use super::{check, inspect, ops, verification};

/// What a subcommand prints on stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// As text, without colours.
    pub text: String,
    /// As one JSON value, with `--json`.
    pub json: String,
}

impl Printed {
    fn new(text: &str, value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value);
        Self {
            text: anstream::adapter::strip_str(text).to_string(),
            json: json.expect("the keys of what is printed are strings"),
        }
    }
}

/// What `inspect` prints of a model.
pub fn inspection(model: &Model) -> Printed {
    let summary = model.summary();
    let text = inspect::text(model, &summary);
    Printed::new(&text, &inspect::inspected(model, &summary))
}

/// What `convert --check` prints of a model.
///
/// # Errors
/// When `opset` can't be written at all.
pub fn obstacles(model: &Model, opset: u32) -> Result<Printed> {
    let found = check::Found::of(model, opset)?;
    Ok(Printed::new(&found.text(), &found.checked()))
}

/// What `verify` prints of its report, without the names of the models.
pub fn verification(report: &Report) -> Printed {
    Printed::new(&verification::text(report), report)
}

/// What `ops` prints.
pub fn ops() -> Printed {
    let ops = ops::sorted();
    Printed::new(&ops::text(&ops), &ops::listed(&ops))
}
