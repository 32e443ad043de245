//! One test per way in which a weight file can be wrong.

use std::io::Write;

use byteorder::WriteBytesExt;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::error::ErrorKind;

/// One tensor as Paddle writes it; `levels` are LoD levels of that many bytes.
fn tensor(code: i32, dims: &[i64], data: &[u8], levels: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.write_u32::<LittleEndian>(0).unwrap();
    bytes
        .write_u64::<LittleEndian>(levels.len() as u64)
        .unwrap();
    for level in levels {
        bytes.write_u64::<LittleEndian>(*level).unwrap();
        bytes.extend(vec![7; usize::try_from(*level).unwrap()]);
    }
    bytes.write_u32::<LittleEndian>(0).unwrap();
    let description = TensorDesc {
        data_type: code,
        dims: dims.to_vec(),
    }
    .encode_to_vec();
    bytes
        .write_i32::<LittleEndian>(i32::try_from(description.len()).unwrap())
        .unwrap();
    bytes.extend(description);
    bytes.extend(data);
    bytes
}

fn weight(name: &str, dtype: DType, shape: &[i64]) -> Expected {
    Expected {
        name: name.into(),
        dtype,
        shape: shape.to_vec(),
    }
}

fn index_bytes(bytes: &[u8], expected: &[Expected]) -> Result<Vec<(u64, u64)>> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let ranges = index(file.path(), expected)?;
    Ok(ranges
        .iter()
        .map(|f| (f.range.offset, f.range.len))
        .collect())
}

/// The two weights that most tests below damage.
fn sample() -> (Vec<u8>, [Expected; 2]) {
    let mut bytes = tensor(5, &[2, 3], &[1; 24], &[]);
    bytes.extend(tensor(3, &[1], &[2; 8], &[16, 5]));
    let expected = [
        weight("a", DType::F32, &[2, 3]),
        weight("b", DType::I64, &[1]),
    ];
    (bytes, expected)
}

#[test]
fn ranges_hold_the_data() {
    let (bytes, expected) = sample();
    let ranges = index_bytes(&bytes, &expected).unwrap();
    let data: Vec<&[u8]> = ranges
        .iter()
        .map(|(offset, len)| {
            let start = usize::try_from(*offset).unwrap();
            &bytes[start..start + usize::try_from(*len).unwrap()]
        })
        .collect();
    assert_eq!(data, [&[1; 24][..], &[2; 8][..]]);
}

#[test]
fn every_truncation_is_found() {
    let (bytes, expected) = sample();
    for length in 0..bytes.len() {
        let error = index_bytes(&bytes[..length], &expected).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{length}: {error}");
        assert!(error.to_string().contains("ends"), "{length}: {error}");
    }
}

#[test]
fn damage_is_named() {
    let (good, expected) = sample();
    let with_byte = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut longer = good.clone();
    longer.push(0);
    let cases = [
        (longer, "1 bytes follow the last"),
        (with_byte(0, 1), "version 1"),
        (with_byte(12, 9), "tensor version 9"),
        (with_byte(11, 0xff), "ends inside this weight's header"),
        (with_byte(19, 0xff), "tensor description of -"),
        (with_byte(18, 1), "tensor description of 65"),
        (
            with_byte(21, 6),
            "float64 [2, 3] where the program expects float32 [2, 3]",
        ),
        (with_byte(21, 99), "element type 99"),
        (with_byte(23, 9), "[9, 3]"),
    ];
    for (bytes, words) in cases {
        let error = index_bytes(&bytes, &expected).unwrap_err();
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
}

#[test]
fn other_axes_of_one_element_are_those_of_the_file() {
    for (held, declared, fits) in [
        (&[][..], &[1][..], true),
        (&[1, 4], &[4], true),
        (&[4], &[1, 4, 1], true),
        (&[2, 4], &[4, 2], false),
        (&[8], &[2, 4], false),
        (&[1, 4], &[-1], false),
    ] {
        let elements = vec![0; 4 * held.iter().product::<i64>() as usize];
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&tensor(5, held, &elements, &[])).unwrap();
        let found = index(file.path(), &[weight("w", DType::F32, declared)]);
        let shape = found.ok().map(|found| found[0].shape.clone());
        assert_eq!(shape.as_deref(), fits.then_some(held), "{declared:?}");
    }
}

#[test]
fn impossible_shapes_are_refused_before_any_allocation() {
    for dims in [[i64::MAX, i64::MAX], [-1, 4]] {
        let bytes = tensor(5, &dims, &[], &[]);
        let error = index_bytes(&bytes, &[weight("w", DType::F32, &dims)]).unwrap_err();
        assert!(error.to_string().contains("overflows"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = index_bytes(&bytes, &[weight("w", DType::F32, &[2, 3])]);
    }

    #[test]
    fn no_flipped_byte_makes_it_panic(at in 0_usize..116, byte in any::<u8>()) {
        let (mut bytes, expected) = sample();
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        let _ = index_bytes(&bytes, &expected);
    }
}
