//! Programs in another element type: what `f32` is in an op case of Paddle 3 becomes `bf16`, for example.

use std::fs;
use std::path::{Path, PathBuf};

use paddle2onnx::tensor::{DType, Tensor};

/// Writes the program with `f32` replaced by `dtype`, and its weights converted, to a folder. Returns the path of the
/// program.
pub fn retyped(program: &Path, dtype: DType, folder: &Path) -> PathBuf {
    let [short, long] = match dtype {
        DType::F16 => ["f16", "float16"],
        DType::BF16 => ["bf16", "bfloat16"],
        DType::F64 => ["f64", "float64"],
        other => panic!("no case is retyped to {other}"),
    };
    let text = fs::read_to_string(program).unwrap();
    let text = text
        .replace("\"0.t_f32\"", &format!("\"0.t_{short}\""))
        .replace("\"D\":\"float32\"", &format!("\"D\":\"{long}\""));
    let path = folder.join("model.json");
    fs::write(&path, text).unwrap();
    let weights = program.with_extension("pdiparams");
    let to = path.with_extension("pdiparams");
    if weights.exists() {
        fs::write(to, converted(&fs::read(weights).unwrap(), dtype)).unwrap();
    } else {
        let _ = fs::remove_file(to);
    }
    path
}

/// A file of weights whose float32 tensors are converted.
fn converted(mut bytes: &[u8], dtype: DType) -> Vec<u8> {
    let mut result = Vec::new();
    while !bytes.is_empty() {
        // Two versions, the number of LoD levels between them, which is 0, and the size of the description.
        let (head, rest) = bytes.split_at(20);
        let size = i32::from_le_bytes(head[16..].try_into().unwrap()) as usize;
        let (description, rest) = rest.split_at(size);
        // The first field is the element type, and the others the extents.
        assert_eq!(description[0], 0x08);
        let old = DType::from_paddle_code(description[1].into()).unwrap();
        let extents = extents(&description[2..]);
        let (data, rest) = rest.split_at(extents.iter().product::<usize>() * old.size());
        let new = if old == DType::F32 { dtype } else { old };
        let tensor = Tensor::from_le_bytes(old, &extents, data).unwrap();
        result.extend(head);
        result.extend([0x08, u8::try_from(new.paddle_code()).unwrap()]);
        result.extend(&description[2..]);
        result.extend(tensor.cast(new).to_le_bytes());
        bytes = rest;
    }
    result
}

/// The extents in a description: fields of a tag and a varint each.
fn extents(mut fields: &[u8]) -> Vec<usize> {
    let mut extents = Vec::new();
    while let Some((0x10, rest)) = fields.split_first() {
        let len = 1 + rest.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let value = rest[..len].iter().rev();
        extents.push(value.fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)));
        fields = &rest[len..];
    }
    assert!(fields.is_empty(), "a description with other fields");
    extents
}
