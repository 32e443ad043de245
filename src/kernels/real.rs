//! The floating-point types that kernels are generic over.

use num_traits::Float;

use crate::tensor::Element;

/// f32, in which Paddle computes, or f64, to know how far rounding takes the f32 results from the truth.
pub(crate) trait Real: Element + Float + std::iter::Sum + std::ops::AddAssign {
    /// The error function, `2/√π ∫₀ˣ exp(-t²) dt`.
    fn erf(self) -> Self;

    /// Of the two versions of a function, the one for this type.
    fn version(single: fn(f32) -> f32, double: fn(f64) -> f64) -> fn(Self) -> Self;
}

impl Real for f32 {
    fn erf(self) -> Self {
        libm::erff(self)
    }

    fn version(single: fn(f32) -> f32, _: fn(f64) -> f64) -> fn(f32) -> f32 {
        single
    }
}

impl Real for f64 {
    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn version(_: fn(f32) -> f32, double: fn(f64) -> f64) -> fn(f64) -> f64 {
        double
    }
}

/// Runs a generic kernel on a tensor of f32 or f64. The array that the kernel returns becomes a tensor.
macro_rules! with_real {
    ($tensor:expr, $array:ident => $kernel:expr) => {
        match $tensor {
            $crate::tensor::Tensor::F32($array) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            $crate::tensor::Tensor::F64($array) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            other => Err($crate::error::Error::unsupported(format!(
                "the reference has no kernel for {}",
                other.dtype()
            ))),
        }
    };
}
pub(crate) use with_real;

/// Runs a generic kernel on two tensors, both of f32 or both of f64. The array that the kernel returns
/// becomes a tensor.
macro_rules! with_reals {
    ($x:expr, $y:expr, ($a:ident, $b:ident) => $kernel:expr) => {
        match ($x, $y) {
            ($crate::tensor::Tensor::F32($a), $crate::tensor::Tensor::F32($b)) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            ($crate::tensor::Tensor::F64($a), $crate::tensor::Tensor::F64($b)) => {
                Ok($crate::tensor::Element::tensor($kernel.into()))
            }
            (x, y) => Err($crate::error::Error::unsupported(format!(
                "the reference has no kernel for {} with {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    };
}
pub(crate) use with_reals;
