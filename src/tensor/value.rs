//! Tensors in memory: one n-dimensional array per element type.

use half::{bf16, f16};
use ndarray::{ArcArray, IxDyn};

use super::layout::mapped;
use super::{DType, display_shape};
use crate::error::{Error, Result};

/// An n-dimensional array, shared on clone and copied on write. It need not be contiguous: transposing
/// it, for one, only changes its strides.
pub type Array<T> = ArcArray<T, IxDyn>;

/// A tensor of any element type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after its element type")]
pub enum Tensor {
    Bool(Array<bool>),
    U8(Array<u8>),
    I8(Array<i8>),
    I16(Array<i16>),
    I32(Array<i32>),
    I64(Array<i64>),
    F16(Array<f16>),
    BF16(Array<bf16>),
    F32(Array<f32>),
    F64(Array<f64>),
}

/// Runs one generic expression on the array in a tensor, whatever its element type.
macro_rules! with_array {
    ($tensor:expr, $array:ident => $body:expr) => {
        match $tensor {
            $crate::tensor::Tensor::Bool($array) => $body,
            $crate::tensor::Tensor::U8($array) => $body,
            $crate::tensor::Tensor::I8($array) => $body,
            $crate::tensor::Tensor::I16($array) => $body,
            $crate::tensor::Tensor::I32($array) => $body,
            $crate::tensor::Tensor::I64($array) => $body,
            $crate::tensor::Tensor::F16($array) => $body,
            $crate::tensor::Tensor::BF16($array) => $body,
            $crate::tensor::Tensor::F32($array) => $body,
            $crate::tensor::Tensor::F64($array) => $body,
        }
    };
}
pub(crate) use with_array;

/// Runs one generic expression, which gives a `Result`, on the arrays in two tensors of the same element
/// type. Different types are an error.
macro_rules! with_arrays {
    ($x:expr, $y:expr, ($a:ident, $b:ident) => $body:expr) => {
        match ($x, $y) {
            ($crate::tensor::Tensor::Bool($a), $crate::tensor::Tensor::Bool($b)) => $body,
            ($crate::tensor::Tensor::U8($a), $crate::tensor::Tensor::U8($b)) => $body,
            ($crate::tensor::Tensor::I8($a), $crate::tensor::Tensor::I8($b)) => $body,
            ($crate::tensor::Tensor::I16($a), $crate::tensor::Tensor::I16($b)) => $body,
            ($crate::tensor::Tensor::I32($a), $crate::tensor::Tensor::I32($b)) => $body,
            ($crate::tensor::Tensor::I64($a), $crate::tensor::Tensor::I64($b)) => $body,
            ($crate::tensor::Tensor::F16($a), $crate::tensor::Tensor::F16($b)) => $body,
            ($crate::tensor::Tensor::BF16($a), $crate::tensor::Tensor::BF16($b)) => $body,
            ($crate::tensor::Tensor::F32($a), $crate::tensor::Tensor::F32($b)) => $body,
            ($crate::tensor::Tensor::F64($a), $crate::tensor::Tensor::F64($b)) => $body,
            (x, y) => Err($crate::error::Error::unsupported(format!(
                "operands of two types, {} and {}",
                x.dtype(),
                y.dtype()
            ))),
        }
    };
}
pub(crate) use with_arrays;

/// A type that tensors can hold.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// The element type that this type represents.
    const DTYPE: DType;

    /// Puts an array of this type into a tensor.
    fn tensor(array: Array<Self>) -> Tensor;

    /// The array in a tensor of this type; None for a tensor of another.
    fn array(tensor: &Tensor) -> Option<&Array<Self>>;

    /// Reads one element, little-endian. `bytes` has exactly the element's size.
    fn from_le(bytes: &[u8]) -> Self;

    /// Appends the element, little-endian.
    fn push_le(self, bytes: &mut Vec<u8>);

    /// The nearest f64.
    fn to_f64(self) -> f64;

    /// The conversion from f64, as by a C cast: fractions are truncated for integers, and bool is `!= 0`.
    /// Where C leaves the result undefined, integers saturate, and NaN becomes 0.
    fn from_f64(value: f64) -> Self;

    /// The value as an integer: exact for integers, truncated for floating-point numbers.
    fn to_i64(self) -> i64;

    /// The conversion from an integer, as by a C cast: narrower integers wrap, and bool is `!= 0`.
    fn from_i64(value: i64) -> Self;

    /// The value in another type, converted as by a C cast.
    fn cast<U: Element>(self) -> U {
        if Self::DTYPE.is_float() {
            U::from_f64(self.to_f64())
        } else {
            // Not by f64, which would round integers above 2^53.
            U::from_i64(self.to_i64())
        }
    }
}

macro_rules! element {
    ($type:ty, $variant:ident, $size:literal, $to_f64:expr, $from_f64:expr, $to_i64:expr, $from_i64:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;

            fn tensor(array: Array<Self>) -> Tensor {
                Tensor::$variant(array)
            }

            fn array(tensor: &Tensor) -> Option<&Array<Self>> {
                match tensor {
                    Tensor::$variant(array) => Some(array),
                    _ => None,
                }
            }

            fn from_le(bytes: &[u8]) -> Self {
                let mut buffer = [0; $size];
                buffer.copy_from_slice(bytes);
                Self::from_le_bytes(buffer)
            }

            fn push_le(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn to_f64(self) -> f64 {
                $to_f64(self)
            }

            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }

            fn to_i64(self) -> i64 {
                $to_i64(self)
            }

            fn from_i64(value: i64) -> Self {
                $from_i64(value)
            }
        }
    };
    ($type:ty, $variant:ident, $size:literal) => {
        element!(
            $type,
            $variant,
            $size,
            |x| x as f64,
            |x| x as $type,
            |x| x as i64,
            |x| x as $type
        );
    };
}

element!(u8, U8, 1);
element!(i8, I8, 1);
element!(i16, I16, 2);
element!(i32, I32, 4);
element!(i64, I64, 8);
element!(f32, F32, 4);
element!(f64, F64, 8);
element!(
    f16,
    F16,
    2,
    f16::to_f64,
    f16::from_f64,
    |x: f16| x.to_f64() as i64,
    |x| f16::from_f64(x as f64)
);
element!(
    bf16,
    BF16,
    2,
    bf16::to_f64,
    bf16::from_f64,
    |x: bf16| x.to_f64() as i64,
    |x| bf16::from_f64(x as f64)
);

impl Element for bool {
    const DTYPE: DType = DType::Bool;

    fn tensor(array: Array<Self>) -> Tensor {
        Tensor::Bool(array)
    }

    fn array(tensor: &Tensor) -> Option<&Array<Self>> {
        match tensor {
            Tensor::Bool(array) => Some(array),
            _ => None,
        }
    }

    fn from_le(bytes: &[u8]) -> Self {
        bytes.iter().any(|byte| *byte != 0)
    }

    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.push(self.into());
    }

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn from_f64(value: f64) -> Self {
        value != 0.0
    }

    fn to_i64(self) -> i64 {
        self.into()
    }

    fn from_i64(value: i64) -> Self {
        value != 0
    }
}

/// Checks that there is memory for a tensor of this shape with elements of 8 bytes. To be called before
/// the tensor is allocated, since a failed allocation ends the process.
///
/// # Errors
/// When there is not enough memory.
pub(crate) fn refuse_too_large(shape: &[usize]) -> Result<()> {
    const LARGEST_ELEMENT: usize = 8;
    // An extent of 0 needs no memory, but the others must not overflow either.
    let mut extents = shape.iter().filter(|extent| **extent > 0);
    let bytes = extents.try_fold(LARGEST_ELEMENT, |bytes, extent| bytes.checked_mul(*extent));
    let fits = |bytes: usize| {
        isize::try_from(bytes).is_ok()
            && (shape.contains(&0) || Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
    };
    if bytes.is_some_and(fits) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "there is not enough memory for a tensor of shape {}",
        display_shape(shape)
    )))
}

impl Tensor {
    /// A tensor of `shape` from its elements in row-major order.
    ///
    /// # Errors
    /// When `shape` does not hold exactly that many elements.
    pub fn from_elements<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self> {
        let count = elements.len();
        Array::from_shape_vec(IxDyn(shape), elements)
            .map(T::tensor)
            .map_err(|_| Error::malformed(format!("{count} elements do not fill shape {shape:?}")))
    }

    /// A tensor of rank 1.
    pub fn vector<T: Element>(elements: Vec<T>) -> Self {
        T::tensor(ndarray::Array1::from_vec(elements).into_dyn().into())
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(element: T) -> Self {
        T::tensor(ndarray::arr0(element).into_dyn().into())
    }

    /// A tensor of rank 0 of a type known only at run time.
    pub fn scalar_of(dtype: DType, value: f64) -> Self {
        Tensor::scalar(value).cast(dtype)
    }

    /// A tensor from the bytes of its elements, little-endian and in row-major order, at any alignment.
    ///
    /// # Errors
    /// When `shape` and `dtype` do not take exactly that many bytes.
    pub fn from_le_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self> {
        fn read<T: Element>(shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
            let elements = bytes.chunks_exact(T::DTYPE.size()).map(T::from_le);
            Tensor::from_elements(shape, elements.collect())
        }
        if !bytes.len().is_multiple_of(dtype.size()) {
            let (count, size) = (bytes.len(), dtype.size());
            return Err(Error::malformed(format!(
                "{count} bytes are not a whole number of {size}-byte elements"
            )));
        }
        match dtype {
            DType::Bool => read::<bool>(shape, bytes),
            DType::U8 => read::<u8>(shape, bytes),
            DType::I8 => read::<i8>(shape, bytes),
            DType::I16 => read::<i16>(shape, bytes),
            DType::I32 => read::<i32>(shape, bytes),
            DType::I64 => read::<i64>(shape, bytes),
            DType::F16 => read::<f16>(shape, bytes),
            DType::BF16 => read::<bf16>(shape, bytes),
            DType::F32 => read::<f32>(shape, bytes),
            DType::F64 => read::<f64>(shape, bytes),
            DType::C64 | DType::C128 => Err(Error::unsupported(format!(
                "{dtype} numbers are not supported"
            ))),
        }
    }

    /// The bytes of the elements, little-endian and in row-major order.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len() * self.dtype().size());
        with_array!(self, array => array.iter().for_each(|x| x.push_le(&mut bytes)));
        bytes
    }

    /// Zeros of the same shape and element type.
    pub(crate) fn zeros(&self) -> Self {
        fn zeros<T: Element>(array: &Array<T>) -> Tensor {
            T::tensor(Array::from_elem(array.shape(), T::from_i64(0)))
        }
        with_array!(self, array => zeros(array))
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        fn dtype<T: Element>(_: &Array<T>) -> DType {
            T::DTYPE
        }
        with_array!(self, array => dtype(array))
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        with_array!(self, array => array.shape())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        with_array!(self, array => array.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as f64, in row-major order.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        with_array!(self, array => mapped(array, Element::to_f64))
    }

    /// The elements as i64, in row-major order.
    pub fn to_i64_vec(&self) -> Vec<i64> {
        with_array!(self, array => mapped(array, Element::to_i64))
    }

    /// The tensor in another element type, each element converted as by a C cast.
    #[must_use]
    pub fn cast(&self, dtype: DType) -> Self {
        if self.dtype() == dtype {
            return self.clone();
        }
        match dtype {
            DType::Bool => self.cast_to::<bool>(),
            DType::U8 => self.cast_to::<u8>(),
            DType::I8 => self.cast_to::<i8>(),
            DType::I16 => self.cast_to::<i16>(),
            DType::I32 => self.cast_to::<i32>(),
            DType::I64 => self.cast_to::<i64>(),
            DType::F16 => self.cast_to::<f16>(),
            DType::BF16 => self.cast_to::<bf16>(),
            DType::F32 => self.cast_to::<f32>(),
            DType::F64 => self.cast_to::<f64>(),
            // Ops with complex results are refused before any tensor is made.
            DType::C64 | DType::C128 => self.clone(),
        }
    }

    fn cast_to<T: Element>(&self) -> Self {
        T::tensor(with_array!(self, array => array.mapv(Element::cast::<T>).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_no_memory_holds_are_refused() {
        let large = 1 << 62;
        for shape in [
            &[large][..],
            &[large, 4],
            &[large, 3, 0],
            &[large, large, 0],
        ] {
            assert!(refuse_too_large(shape).is_err(), "{shape:?}");
        }
        for shape in [&[][..], &[0], &[1 << 20, 0], &[1000]] {
            assert!(refuse_too_large(shape).is_ok(), "{shape:?}");
        }
    }
}
