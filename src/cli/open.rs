//! Opens the Paddle model that the arguments name.

use std::path::Path;

use paddle2onnx::operator::CustomOp;
use paddle2onnx::{Model, Registry};

use super::outcome::Result;
use super::stderr::warn;

/// The ops of the user's own.
#[derive(clap::Args)]
pub(super) struct CustomOps {
    /// Pass an op that is not supported through to an ONNX operator of yours, with its operands and attributes; may be
    /// given several times
    #[arg(long = "custom-op", value_name = "PADDLE_NAME=DOMAIN::NAME")]
    custom_ops: Vec<CustomOp>,
}

impl CustomOps {
    /// The ops that are supported, with those that are passed through.
    pub fn registry(&self) -> Result<Registry> {
        let mut registry = Registry::standard();
        for custom in &self.custom_ops {
            registry = registry.with_custom_op(custom.clone())?;
        }
        Ok(registry)
    }
}

/// Opens the model, and warns if its format is newer than what the reader knows.
pub(super) fn open(model: &Path, params: Option<&Path>, registry: &Registry) -> Result<Model> {
    let model = Model::open_with(model, params, registry)?;
    if let Some(warning) = model.format().warning() {
        let program = model.files().program.display();
        warn(&format!("{program}: {warning}"));
    }
    Ok(model)
}
