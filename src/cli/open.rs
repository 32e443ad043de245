//! Opens the Paddle model that the arguments name.

use std::path::Path;

use paddle2onnx::Model;

use super::outcome::Result;
use super::stderr::warn;

/// Opens the model, and warns if its format is newer than what the reader knows.
pub(super) fn open(model: &Path, params: Option<&Path>) -> Result<Model> {
    let model = Model::open(model, params)?;
    if let Some(warning) = model.format().warning() {
        let program = model.files().program.display();
        warn(&format!("{program}: {warning}"));
    }
    Ok(model)
}
