//! Running one model in ONNX Runtime.

use std::path::Path;

use ort::environment::Environment;
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType};

use crate::error::{Error, Result};
use crate::tensor::{Array, Element, Tensor, row_major, with_array};

/// A model that ONNX Runtime has opened and can run.
pub struct Session {
    session: ort::session::Session,
}

impl Session {
    pub(super) fn open(environment: &Environment, model: &Path) -> Result<Self> {
        let session = ort::session::Session::builder(environment)
            .and_then(|builder| Ok(builder.with_independent_thread_pool()?))
            // Between runs, threads that spin would take their core from whatever else computes.
            .and_then(|builder| Ok(builder.with_config_entry("session.force_spinning_stop", "1")?))
            .and_then(|mut builder| builder.commit_from_file(model))
            .map_err(|e| {
                Error::invalid(format!("ONNX Runtime refuses the model: {e}")).in_file(model)
            })?;
        Ok(Self { session })
    }

    /// Opens a model whose bytes, with those of its weights, are in memory, on the threads of the environment.
    pub(super) fn open_bytes(environment: &Environment, model: &[u8]) -> Result<Self> {
        let session = ort::session::Session::builder(environment)
            .and_then(|mut builder| builder.commit_from_memory(model))
            .map_err(|e| Error::invalid(format!("ONNX Runtime refuses the model: {e}")))?;
        Ok(Self { session })
    }

    /// Computes all outputs, in the model's order, from named inputs. Inputs that the model does not have are ignored.
    ///
    /// # Errors
    /// When ONNX Runtime does not accept the inputs or fails, or an output is of a type that
    /// [`Tensor`] does not hold.
    pub fn run(&mut self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
        let prepared = self.prepare(inputs)?;
        let outputs = self.session.run(prepared.borrowed()).map_err(failed)?;
        outputs
            .iter()
            .map(|(name, value)| Ok((name.to_owned(), from_ort(&value)?)))
            .collect()
    }

    /// Converts the inputs for [`Session::run_prepared`], without those that the model does not have.
    ///
    /// # Errors
    /// When ONNX Runtime does not accept an input.
    pub fn prepare(&self, inputs: &[(String, Tensor)]) -> Result<Prepared> {
        let takes = |name: &str| {
            let mut taken = self.session.inputs().iter();
            taken.any(|input| input.name() == name)
        };
        let inputs = inputs.iter().filter(|(name, _)| takes(name));
        let values = inputs.map(|(name, tensor)| Ok((name.clone(), to_ort(tensor)?)));
        values.collect::<Result<_>>().map(Prepared)
    }

    /// Computes all outputs and drops them, to measure how long that takes.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn run_prepared(&mut self, inputs: &Prepared) -> Result<()> {
        self.session
            .run(inputs.borrowed())
            .map(drop)
            .map_err(failed)
    }
}

/// Inputs in ONNX Runtime's own form.
pub struct Prepared(Vec<(String, DynValue)>);

impl Prepared {
    fn borrowed(&self) -> Vec<(&str, SessionInputValue<'_>)> {
        let values = self.0.iter();
        values
            .map(|(name, value)| (name.as_str(), value.into()))
            .collect()
    }
}

fn failed(error: ort::Error) -> Error {
    Error::invalid(format!("ONNX Runtime failed: {error}"))
}

fn to_ort(tensor: &Tensor) -> Result<DynValue> {
    fn convert<T>(array: &Array<T>) -> ort::Result<DynValue>
    where
        T: Element + PrimitiveTensorElementType + std::fmt::Debug,
    {
        let elements = row_major(array).into_owned();
        let shape: Vec<usize> = array.shape().to_vec();
        Ok(ort::value::Tensor::from_array((shape, elements))?.into_dyn())
    }
    with_array!(tensor, array => convert(array))
        .map_err(|e| Error::invalid(format!("ONNX Runtime refuses an input: {e}")))
}

fn from_ort(value: &DynValue) -> Result<Tensor> {
    fn convert<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<Tensor> {
        let (shape, elements) = value
            .try_extract_tensor::<T>()
            .map_err(|e| Error::internal(format!("an output can't be read: {e}")))?;
        let shape: Vec<usize> = shape
            .iter()
            .map(|extent| usize::try_from(*extent).unwrap_or(0))
            .collect();
        Tensor::from_elements(&shape, elements.to_vec())
    }
    let dtype = value.dtype().tensor_type();
    match dtype {
        Some(TensorElementType::Bool) => convert::<bool>(value),
        Some(TensorElementType::Uint8) => convert::<u8>(value),
        Some(TensorElementType::Int8) => convert::<i8>(value),
        Some(TensorElementType::Int16) => convert::<i16>(value),
        Some(TensorElementType::Int32) => convert::<i32>(value),
        Some(TensorElementType::Int64) => convert::<i64>(value),
        Some(TensorElementType::Float16) => convert::<half::f16>(value),
        Some(TensorElementType::Bfloat16) => convert::<half::bf16>(value),
        Some(TensorElementType::Float32) => convert::<f32>(value),
        Some(TensorElementType::Float64) => convert::<f64>(value),
        other => Err(Error::unsupported(format!("an output of type {other:?}"))),
    }
}
