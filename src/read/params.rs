//! `.pdiparams`: where the bytes of each weight are, found without loading them.
//!
//! The file is a plain sequence of tensors, sorted by name. Each follows a small header (see
//! [`read_header`]), which does not hold the name. [`index`] reads the headers and skips the data.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use byteorder::{LittleEndian, ReadBytesExt};
use prost::Message;

use super::kinds;
use crate::error::{Error, Result};
use crate::proto::framework::TensorDesc;
use crate::tensor::{DType, display_shape};

/// The most bytes that are read as a tensor description. It usually takes some 20.
const LARGEST_DESCRIPTION: i32 = 4096;

/// A part of a file: the little-endian elements of one tensor, at any alignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteRange {
    /// The file.
    pub path: Arc<Path>,
    /// Bytes from the file's start.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// A weight as the program declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub name: String,
    pub dtype: DType,
    /// The extents, of which one below zero is any: the program leaves it open.
    pub shape: Vec<i64>,
}

/// A weight as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub range: ByteRange,
    /// The element type: the declared one, or int8 where float32 is declared.
    pub dtype: DType,
    pub shape: Vec<i64>,
}

/// Whether a file that starts with these bytes holds weights: both versions and the number of LoD levels are 0.
pub(super) fn starts_like_weights(start: &[u8]) -> bool {
    let zeros = start.get(..16);
    let description = start.get(16..20).and_then(|size| size.try_into().ok());
    let size = description.map_or(0, i32::from_le_bytes);
    zeros.is_some_and(|zeros| zeros.iter().all(|byte| *byte == 0))
        && (1..=LARGEST_DESCRIPTION).contains(&size)
}

/// The place and the shape of every weight in a file that holds exactly `expected`, in this order.
///
/// # Errors
/// When the file can't be read, holds another number of weights or other element types or shapes, or is
/// truncated or too long.
pub(crate) fn index(path: &Path, expected: &[Expected]) -> Result<Vec<Found>> {
    let file = File::open(path).map_err(|e| Error::io(path, "open the weights", e))?;
    let size = file
        .metadata()
        .map_err(|e| Error::io(path, "open the weights", e))?
        .len();
    let mut stream = Stream {
        reader: BufReader::with_capacity(kinds::START, file),
        position: 0,
        size,
    };
    let start = stream.reader.fill_buf();
    let start = start.map_err(|e| Error::io(path, "read the weights", e))?;
    if let Some(what) = kinds::by_start(start) {
        return Err(Error::malformed(what).in_file(path));
    }
    let shared: Arc<Path> = path.into();
    let mut found = Vec::with_capacity(expected.len());
    for (number, weight) in expected.iter().enumerate() {
        let weight = stream
            .tensor(weight, &shared)
            .map_err(|e| locate_weight(e, weight, number, expected.len()).in_file(path))?;
        found.push(weight);
    }
    if stream.position < size {
        return Err(Error::malformed(format!(
            "{} bytes follow the last of the program's {} weights; \
             do these weights belong to another program?",
            size - stream.position,
            expected.len()
        ))
        .in_file(path)
        .at_byte(stream.position));
    }
    Ok(found)
}

fn locate_weight(error: Error, weight: &Expected, number: usize, count: usize) -> Error {
    error.at_op(format_args!(
        "weight `{}` ({} of {count})",
        weight.name,
        number + 1
    ))
}

/// The file of weights, the position in it and its size, both in bytes.
struct Stream {
    reader: BufReader<File>,
    position: u64,
    size: u64,
}

impl Stream {
    /// Reads the header of the next tensor, and skips its data.
    fn tensor(&mut self, expected: &Expected, path: &Arc<Path>) -> Result<Found> {
        let start = self.position;
        if start >= self.size {
            return Err(Error::malformed(
                "the file ends before this weight; it was cut short or belongs to another program",
            )
            .at_byte(start));
        }
        let description = read_header(self).map_err(|e| match e {
            HeaderError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Error::malformed("the file ends inside this weight's header").at_byte(start)
            }
            HeaderError::Io(e) => Error::io(path, "read the weights", e),
            HeaderError::Malformed(what) => Error::malformed(what).at_byte(start),
        })?;
        let (dtype, len) = check(&description, expected).map_err(|e| e.at_byte(start))?;
        let offset = self.position;
        let end = offset.checked_add(len).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(Error::malformed(format!(
                "the file ends inside this weight: {len} bytes of data were expected, {} are left",
                self.size - offset
            ))
            .at_byte(offset));
        };
        let distance = i64::try_from(len)
            .map_err(|_| Error::malformed("this weight's size overflows").at_byte(offset))?;
        self.reader
            .seek_relative(distance)
            .map_err(|e| Error::io(path, "read the weights", e))?;
        self.position = end;
        Ok(Found {
            range: ByteRange {
                path: path.clone(),
                offset,
                len,
            },
            dtype,
            shape: description.dims,
        })
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.position.checked_add(bytes);
        match end.filter(|end| *end <= self.size) {
            Some(end) => {
                self.reader.seek(SeekFrom::Start(end))?;
                self.position = end;
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

enum HeaderError {
    Io(io::Error),
    Malformed(String),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        HeaderError::Io(error)
    }
}

/// Reads the header of a tensor: a `u32` version; the `u64` number of LoD levels, and for each of them a
/// `u64` size and that many bytes; a `u32` tensor version; and the `i32` size and the bytes of a
/// `TensorDesc`. All numbers are little-endian.
fn read_header(stream: &mut Stream) -> Result<TensorDesc, HeaderError> {
    let malformed = |what: String| Err(HeaderError::Malformed(what));
    let version = stream.read_u32::<LittleEndian>()?;
    if version != 0 {
        return malformed(format!(
            "not a weight of a Paddle model: version {version} where 0 was expected"
        ));
    }
    let levels = stream.read_u64::<LittleEndian>()?;
    for _ in 0..levels {
        let size = stream.read_u64::<LittleEndian>()?;
        stream.skip(size)?;
    }
    let version = stream.read_u32::<LittleEndian>()?;
    if version != 0 {
        return malformed(format!(
            "not a weight of a Paddle model: tensor version {version} where 0 was expected"
        ));
    }
    let size = stream.read_i32::<LittleEndian>()?;
    let length = usize::try_from(size).ok();
    let Some(length) = length.filter(|_| size <= LARGEST_DESCRIPTION) else {
        return malformed(format!("a tensor description of {size} bytes"));
    };
    let mut description = vec![0; length];
    stream.read_exact(&mut description)?;
    TensorDesc::decode(description.as_slice())
        .map_err(|e| HeaderError::Malformed(format!("the tensor description is damaged: {e}")))
}

/// Checks a header against what the program declares. Returns the element type and the size of the data in bytes.
///
/// Quantisers leave the program as it is when they store weights as int8, or scales with other axes of one element, and
/// Paddle goes by the file.
fn check(found: &TensorDesc, expected: &Expected) -> Result<(DType, u64)> {
    let code = i64::from(found.data_type);
    let Some(dtype) = DType::declared(code) else {
        return Err(Error::unsupported(format!(
            "element type {code} of Paddle is not supported"
        )));
    };
    let mut extents = found.dims.iter().zip(&expected.shape);
    let larger = |shape: &[i64]| -> Vec<i64> {
        let extents = shape.iter().copied();
        extents.filter(|extent| *extent != 1).collect()
    };
    let fits = found.dims.len() == expected.shape.len()
        && extents.all(|(found, declared)| *declared < 0 || found == declared)
        || larger(&found.dims) == larger(&expected.shape);
    let is_quantized = dtype == DType::I8 && expected.dtype == DType::F32;
    if dtype != expected.dtype && !is_quantized || !fits {
        return Err(Error::malformed(format!(
            "the file holds {dtype} {} where the program expects {} {}; \
             do these weights belong to another program?",
            display_shape(&found.dims),
            expected.dtype,
            display_shape(&expected.shape)
        )));
    }
    let size = byte_size(dtype, &found.dims).ok_or_else(|| {
        Error::malformed(format!(
            "shape {} is negative or overflows",
            display_shape(&found.dims)
        ))
    })?;
    Ok((dtype, size))
}

/// The size of a tensor in bytes. None if an extent is negative, or the size overflows.
pub(crate) fn byte_size(dtype: DType, dims: &[i64]) -> Option<u64> {
    let element = u64::try_from(dtype.size()).ok()?;
    dims.iter().try_fold(element, |size, dim| {
        size.checked_mul(u64::try_from(*dim).ok()?)
    })
}

#[cfg(test)]
mod tests;
