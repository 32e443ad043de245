//! Which model to open, and how.

use std::path::PathBuf;

use paddle2onnx::operator::CustomOp;
use paddle2onnx::tensor::{DType, Dim};
use paddle2onnx::{Error, HalfPrecision, InputShape, Model, Registry, Renaming, Result};
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
    /// `float16` or `bfloat16` for half precision.
    dtype: Option<String>,
    keep_f32: Vec<String>,
    io_dtype: String,
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

/// The element type of a name that an argument has.
fn element_type(argument: &str, name: &str) -> Result<DType> {
    let known = DType::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| {
        Error::invalid(format!(
            "{argument}={name:?}: there is no such element type"
        ))
    })
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
        let model = model.renamed(&renamings)?;
        match self.dtype.as_deref() {
            None | Some("float32") => Ok(model),
            Some(dtype) => model.in_half_precision(HalfPrecision {
                dtype: element_type("dtype", dtype)?,
                keep_f32: self.keep_f32.clone(),
                io_dtype: element_type("io_dtype", &self.io_dtype)?,
            }),
        }
    }
}
