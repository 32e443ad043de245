//! The arguments that ask for half precision.

use clap::ValueEnum;
use paddle2onnx::tensor::DType;
use paddle2onnx::{HalfPrecision, Model};

use super::outcome::Result;

/// Which floating-point type ONNX models compute in.
#[derive(clap::Args)]
pub(super) struct Types {
    /// Convert to half precision: what is float32 in Paddle becomes this type, but for ops that need more digits or range,
    /// such as softmax and norms [default: float32]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "float16|bfloat16"
    )]
    dtype: Option<Float>,

    /// Keep these in float32 as well: ops by their names, or those whose layer, result or weight has this in its name, where
    /// * stands for anything
    #[arg(
        long,
        value_name = "OP|PATTERN,…",
        value_delimiter = ',',
        requires = "dtype"
    )]
    keep_f32: Vec<String>,

    /// The type of those inputs and outputs that are float32 in Paddle: float32, or that of --dtype
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "TYPE",
        default_value = "float32",
        requires = "dtype"
    )]
    io_dtype: Float,
}

#[derive(Clone, Copy, ValueEnum)]
enum Float {
    Float32,
    Float16,
    Bfloat16,
}

impl From<Float> for DType {
    fn from(float: Float) -> Self {
        match float {
            Float::Float32 => DType::F32,
            Float::Float16 => DType::F16,
            Float::Bfloat16 => DType::BF16,
        }
    }
}

impl Types {
    /// A model that is written so.
    pub fn applied(&self, model: Model) -> Result<Model> {
        match self.dtype {
            None | Some(Float::Float32) => Ok(model),
            Some(dtype) => Ok(model.in_half_precision(HalfPrecision {
                dtype: dtype.into(),
                keep_f32: self.keep_f32.clone(),
                io_dtype: self.io_dtype.into(),
            })?),
        }
    }
}
