//! Which model to open, and how.

use std::path::PathBuf;

use paddle2onnx::operator::CustomOp;
use paddle2onnx::{Model, Registry, Result};
use pyo3::prelude::*;

/// The arguments that all functions share, as a dictionary.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Reading {
    model: PathBuf,
    params: Option<PathBuf>,
    /// Each as `PADDLE_NAME=DOMAIN::NAME`.
    custom_ops: Vec<String>,
    /// The outputs to keep; all if it is empty.
    outputs: Vec<String>,
    /// What outputs are to be called: pairs of old and new names.
    renamed: Vec<(String, String)>,
}

impl Reading {
    /// # Errors
    /// When a custom op is written wrongly, and those of [`Model::open_with`] and the functions that change outputs.
    pub fn open(&self) -> Result<Model> {
        let mut registry = Registry::standard();
        for custom in &self.custom_ops {
            registry = registry.with_custom_op(custom.parse::<CustomOp>()?)?;
        }
        let mut model = Model::open_with(&self.model, self.params.as_deref(), &registry)?;
        if !self.outputs.is_empty() {
            model = model.with_outputs(&self.outputs)?;
        }
        if !self.renamed.is_empty() {
            model = model.with_output_names(&self.renamed)?;
        }
        Ok(model)
    }
}
