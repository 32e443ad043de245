//! The element types of 16 bits in NumPy's files, which the crate for these files does not read.

use std::io::{Read, Write};

use half::{bf16, f16};
use ndarray_npy::{ReadDataError, ReadableElement, WritableElement, WriteDataError};
use py_literal::Value;

/// A float16.
#[derive(Clone, Copy)]
pub(super) struct Half(pub f16);

/// A bfloat16, of which files have the bits.
#[derive(Clone, Copy)]
pub(super) struct Bits16(pub bf16);

impl ReadableElement for Half {
    fn read_to_end_exact_vec<R: Read>(
        reader: R,
        descriptor: &Value,
        count: usize,
    ) -> Result<Vec<Self>, ReadDataError> {
        let words = words(reader, descriptor, &["<f2"], count)?;
        Ok(words
            .into_iter()
            .map(|bits| Self(f16::from_bits(bits)))
            .collect())
    }
}

impl ReadableElement for Bits16 {
    fn read_to_end_exact_vec<R: Read>(
        reader: R,
        descriptor: &Value,
        count: usize,
    ) -> Result<Vec<Self>, ReadDataError> {
        let words = words(reader, descriptor, &["<u2", "<V2", "|V2"], count)?;
        Ok(words
            .into_iter()
            .map(|bits| Self(bf16::from_bits(bits)))
            .collect())
    }
}

impl WritableElement for Half {
    fn type_descriptor() -> Value {
        Value::String("<f2".into())
    }

    fn write<W: Write>(&self, mut writer: W) -> Result<(), WriteDataError> {
        Ok(writer.write_all(&self.0.to_le_bytes())?)
    }

    fn write_slice<W: Write>(slice: &[Self], mut writer: W) -> Result<(), WriteDataError> {
        slice
            .iter()
            .try_for_each(|number| number.write(&mut writer))
    }
}

/// The `count` little-endian words that are left to read, if their type is one of those named.
fn words<R: Read>(
    mut reader: R,
    descriptor: &Value,
    names: &[&str],
    count: usize,
) -> Result<Vec<u16>, ReadDataError> {
    if !matches!(descriptor, Value::String(name) if names.contains(&name.as_str())) {
        return Err(ReadDataError::WrongDescriptor(descriptor.clone()));
    }
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let needed = count.checked_mul(2);
    match needed {
        Some(needed) if needed == bytes.len() => {}
        Some(needed) if needed < bytes.len() => {
            return Err(ReadDataError::ExtraBytes(bytes.len() - needed));
        }
        _ => return Err(ReadDataError::MissingData),
    }
    let words = bytes.chunks_exact(2);
    Ok(words
        .map(|word| u16::from_le_bytes([word[0], word[1]]))
        .collect())
}
