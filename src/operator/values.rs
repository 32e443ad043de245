//! The values of a run, as ops see them.

use crate::error::{Error, Result};
use crate::program::ValueId;
use crate::tensor::{DType, Panels, Tensor};

/// The type in which a run computes what Paddle computes in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Float32, as Paddle does.
    Single,
    /// Float64, to know how far rounding takes the float32 results from the truth.
    Double,
}

impl Precision {
    pub(crate) fn computing(self, dtype: DType) -> DType {
        match (self, dtype) {
            (Precision::Single, DType::F16 | DType::BF16) => DType::F32,
            (Precision::Double, DType::F16 | DType::BF16 | DType::F32) => DType::F64,
            _ => dtype,
        }
    }

    /// The type in which results of type `dtype` are kept between ops.
    pub(crate) fn keeping(self, dtype: DType) -> DType {
        match self {
            Precision::Single => dtype,
            Precision::Double => self.computing(dtype),
        }
    }
}

/// The tensors that the values of a program hold at one point of a run.
pub struct Values<'r> {
    pub(crate) tensors: &'r [Option<Tensor>],
    /// The weights that are held in panels instead, by the number of their value. Empty if none are.
    pub(crate) panels: &'r [Option<Panels>],
    pub(crate) precision: Precision,
}

impl<'r> Values<'r> {
    /// Values of which none is in panels.
    pub(crate) fn new(tensors: &'r [Option<Tensor>], precision: Precision) -> Self {
        Self {
            tensors,
            panels: &[],
            precision,
        }
    }

    /// The tensor of a value.
    ///
    /// # Errors
    /// When it is not computed yet, which is a defect of the caller.
    pub fn get(&self, id: ValueId) -> Result<&Tensor> {
        self.tensors
            .get(id.index())
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::internal("a value is used before it is computed"))
    }

    /// A weight that is held in panels, of which there is no tensor then: one that all its readers name as their
    /// [`right_matrix`](super::Operator::right_matrix).
    pub fn panels(&self, id: ValueId) -> Option<&Panels> {
        self.panels.get(id.index())?.as_ref()
    }

    /// The elements of an integer tensor, in row-major order.
    ///
    /// # Errors
    /// Those of [`Values::get`].
    pub fn integers(&self, id: ValueId) -> Result<Vec<i64>> {
        Ok(self.get(id)?.to_i64_vec())
    }

    /// Whether the run is there to know the exact results: then nothing is rounded as Paddle's kernels round it on the
    /// way to a result, such as positions to float32.
    pub fn are_exact(&self) -> bool {
        self.precision == Precision::Double
    }

    /// The type in which kernels compute what the program declares as `dtype`. Half precision is computed in float32
    /// and rounded after each op, as Paddle's kernels do; operands come in that type already.
    pub fn dtype(&self, dtype: DType) -> DType {
        self.precision.computing(dtype)
    }
}
