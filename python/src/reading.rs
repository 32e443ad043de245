//! Which model to open, and how.

use std::path::PathBuf;

use paddle2onnx::operator::CustomOp;
use paddle2onnx::tensor::Dim;
use paddle2onnx::{Error, InputShape, Model, Registry, Renaming, Result};
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
    /// The values to take in place of what computes them.
    inputs_at: Vec<String>,
    input_shapes: Vec<(String, Vec<Extent>)>,
    /// What inputs and outputs are to be called: pairs of old and new names.
    renamed: Vec<(String, String)>,
}

/// An extent: a number, or the name of one that each run sets.
#[derive(FromPyObject)]
enum Extent {
    Known(i64),
    Symbol(String),
}

impl Extent {
    fn dim(&self, input: &str) -> Result<Dim> {
        match self {
            Self::Known(extent) if *extent > 0 => Ok(Dim::Known(*extent)),
            Self::Known(extent) => Err(Error::invalid(format!(
                "input_shapes[{input:?}]: an extent of {extent}; extents are above 0, or names"
            ))),
            Self::Symbol(name) => Ok(Dim::Symbol(name.as_str().into())),
        }
    }
}

impl Reading {
    /// # Errors
    /// When a custom op or a shape is written wrongly, and those of [`Model::open_with`] and the functions that change
    /// inputs and outputs.
    pub fn open(&self) -> Result<Model> {
        let mut registry = Registry::standard();
        for custom in &self.custom_ops {
            registry = registry.with_custom_op(custom.parse::<CustomOp>()?)?;
        }
        let model = Model::open_with(&self.model, self.params.as_deref(), &registry)?;
        let model = model.with_inputs(&self.inputs_at)?;
        let model = if self.outputs.is_empty() {
            model
        } else {
            model.with_outputs(&self.outputs)?
        };
        let shapes = self.input_shapes.iter().map(|(name, extents)| {
            let shape = extents.iter().map(|extent| extent.dim(name));
            Ok(InputShape {
                name: name.clone(),
                shape: shape.collect::<Result<_>>()?,
            })
        });
        let model = model.with_input_shapes(&shapes.collect::<Result<Vec<_>>>()?)?;
        let renamings = self.renamed.iter().cloned();
        let renamings: Vec<Renaming> = renamings.map(|(old, new)| Renaming { old, new }).collect();
        model.renamed(&renamings)
    }
}
