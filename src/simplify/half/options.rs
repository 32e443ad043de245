//! What a user wants of half precision, and how an ONNX model says it.

use crate::error::{Error, Result};
use crate::tensor::DType;

/// How a model is written in half precision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfPrecision {
    /// [`DType::F16`] or [`DType::BF16`].
    pub dtype: DType,
    /// What stays in float32 beside [`KEPT_IN_FLOAT32`](crate::KEPT_IN_FLOAT32): PHI names of ops, or parts of the paths of
    /// layers and of the names of results and weights, in which `*` stands for any characters.
    pub keep_f32: Vec<String>,
    /// The element type of those inputs and outputs that are float32 in Paddle: [`DType::F32`], or that of `dtype`.
    pub io_dtype: DType,
}

/// The keys of the metadata.
const DTYPE: &str = "paddle2onnx_rs.dtype";
const IO_DTYPE: &str = "paddle2onnx_rs.io_dtype";
const KEEP_F32: &str = "paddle2onnx_rs.keep_f32";

impl HalfPrecision {
    /// Half precision with inputs and outputs of float32.
    pub fn new(dtype: DType) -> Self {
        Self {
            dtype,
            keep_f32: Vec::new(),
            io_dtype: DType::F32,
        }
    }

    /// # Errors
    /// When a type is none that the field may have.
    pub(crate) fn refuse_other_types(&self) -> Result<()> {
        let Self {
            dtype, io_dtype, ..
        } = *self;
        if !matches!(dtype, DType::F16 | DType::BF16) {
            return Err(Error::invalid(format!(
                "{dtype} is no half precision: that is float16 or bfloat16"
            )));
        }
        if io_dtype != DType::F32 && io_dtype != dtype {
            return Err(Error::invalid(format!(
                "inputs and outputs of {io_dtype} in a model of {dtype}: they are {dtype} or float32"
            )));
        }
        Ok(())
    }

    /// The metadata that say so in an ONNX model, so that the model can be compared op by op.
    pub(crate) fn described(&self) -> Vec<(String, String)> {
        let mut described = vec![
            (DTYPE.to_owned(), self.dtype.to_string()),
            (IO_DTYPE.to_owned(), self.io_dtype.to_string()),
        ];
        if !self.keep_f32.is_empty() {
            described.push((KEEP_F32.to_owned(), self.keep_f32.join("\n")));
        }
        described
    }

    /// What the metadata of an ONNX model say, of which `value` has those of a key. None if they say nothing of half precision.
    pub(crate) fn from_description<'m>(value: impl Fn(&str) -> Option<&'m str>) -> Option<Self> {
        let dtype = |key: &str| {
            let name = value(key)?;
            DType::ALL.into_iter().find(|dtype| dtype.name() == name)
        };
        let patterns = value(KEEP_F32).into_iter().flat_map(str::lines);
        Some(Self {
            dtype: dtype(DTYPE)?,
            keep_f32: patterns.map(str::to_owned).collect(),
            io_dtype: dtype(IO_DTYPE)?,
        })
    }
}
