//! Arithmetic of floats and of integers, for kernels on both.

use crate::tensor::Element;

/// Arithmetic of an element type. Integers wrap around.
pub(super) trait Number: Element {
    fn times(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

macro_rules! number {
    ($($type:ty: $times:expr, $minus:expr;)*) => {
        $(impl Number for $type {
            fn times(self, other: Self) -> Self {
                $times(self, other)
            }

            fn minus(self, other: Self) -> Self {
                $minus(self, other)
            }
        })*
    };
}

number! {
    f32: |x, y| x * y, |x, y| x - y;
    f64: |x, y| x * y, |x, y| x - y;
    i32: i32::wrapping_mul, i32::wrapping_sub;
    i64: i64::wrapping_mul, i64::wrapping_sub;
}

/// Runs a kernel that is generic over [`Number`] on two tensors of the same element type. The array that the kernel
/// returns becomes a tensor.
macro_rules! with_numbers {
    ($x:expr, $y:expr, ($a:ident, $b:ident) => $kernel:expr) => {{
        use $crate::tensor::{Element, Tensor};
        match ($x, $y) {
            (Tensor::F32($a), Tensor::F32($b)) => Ok(Element::tensor($kernel)),
            (Tensor::F64($a), Tensor::F64($b)) => Ok(Element::tensor($kernel)),
            (Tensor::I32($a), Tensor::I32($b)) => Ok(Element::tensor($kernel)),
            (Tensor::I64($a), Tensor::I64($b)) => Ok(Element::tensor($kernel)),
            (x, y) => Err($crate::error::Error::unsupported(format!(
                "the reference has no kernel for {} with {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    }};
}
pub(super) use with_numbers;
