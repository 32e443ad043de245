//! Element types, with their codes in Paddle's and in ONNX's files.

use std::fmt;

use crate::proto::onnx::tensor_proto::DataType;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of an f32.
    BF16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// A complex number of two f32. Files may declare it, but no tensor here holds it: a program has the real and the
    /// imaginary parts in two tensors.
    C64,
    /// A complex number of two f64, as [`DType::C64`].
    C128,
}

impl DType {
    /// Every element type that a tensor can hold, for tables and tests.
    pub const ALL: [DType; 10] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// The element type with this `VarType.Type` code of Paddle's `framework.proto`, if it is one
    /// that this crate handles (complex numbers, strings and FP8 are not).
    pub fn from_paddle_code(code: i64) -> Option<Self> {
        DType::declared(code).filter(|dtype| !dtype.is_complex())
    }

    /// The element type with this code, which may be one of the complex types, that a program declares of a value.
    pub(crate) fn declared(code: i64) -> Option<Self> {
        let mut known = DType::ALL.into_iter().chain([DType::C64, DType::C128]);
        known.find(|dtype| dtype.paddle_code() == code)
    }

    /// The `VarType.Type` code in Paddle's `framework.proto`.
    pub fn paddle_code(self) -> i64 {
        match self {
            DType::Bool => 0,
            DType::I16 => 1,
            DType::I32 => 2,
            DType::I64 => 3,
            DType::F16 => 4,
            DType::F32 => 5,
            DType::F64 => 6,
            DType::U8 => 20,
            DType::I8 => 21,
            DType::BF16 => 22,
            DType::C64 => 23,
            DType::C128 => 24,
        }
    }

    /// The code of `TensorProto.DataType` in ONNX.
    pub fn onnx_code(self) -> i32 {
        let code = match self {
            DType::Bool => DataType::Bool,
            DType::U8 => DataType::Uint8,
            DType::I8 => DataType::Int8,
            DType::I16 => DataType::Int16,
            DType::I32 => DataType::Int32,
            DType::I64 => DataType::Int64,
            DType::F16 => DataType::Float16,
            DType::BF16 => DataType::Bfloat16,
            DType::F32 => DataType::Float,
            DType::F64 => DataType::Double,
            DType::C64 => DataType::Complex64,
            DType::C128 => DataType::Complex128,
        };
        code.into()
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 | DType::C64 => 8,
            DType::C128 => 16,
        }
    }

    /// Whether this is one of the four floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// The largest relative error of rounding a number to this type. None if it is not a floating-point type of lower
    /// precision than float64.
    pub(crate) fn unit_roundoff(self) -> Option<f64> {
        match self {
            DType::F32 => Some(2_f64.powi(-24)),
            DType::F16 => Some(2_f64.powi(-11)),
            DType::BF16 => Some(2_f64.powi(-8)),
            _ => None,
        }
    }

    /// Whether this is one of the two complex types.
    pub fn is_complex(self) -> bool {
        matches!(self, DType::C64 | DType::C128)
    }

    /// The type of the parts of a complex number of this type. Other types stay as they are.
    pub fn real(self) -> Self {
        match self {
            DType::C64 => DType::F32,
            DType::C128 => DType::F64,
            other => other,
        }
    }

    /// The type of complex numbers whose parts are declared to be of this type: complex128 for float64, otherwise complex64,
    /// since no others have parts.
    pub fn complex(self) -> Self {
        match self {
            DType::F64 | DType::C128 => DType::C128,
            _ => DType::C64,
        }
    }

    /// The type to which bools and integers of less than 32 bits are cast for ONNX operators that have no
    /// kernels for them: int32. Other types stay as they are.
    pub(crate) fn widened(self) -> Self {
        match self {
            DType::Bool | DType::U8 | DType::I8 | DType::I16 => DType::I32,
            other => other,
        }
    }

    /// NumPy's name, as in `float32`.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::C64 => "complex64",
            DType::C128 => "complex128",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
