//! Files that people take for a model or its weights: what they are, and what to do.

use std::path::Path;

/// What a file is by the end of its name, where that is neither a program nor weights.
const BY_NAME: &[(&[&str], &str)] = &[
    (
        &[".pdparams"],
        "this is a training checkpoint, which holds no program; \
         export an inference model with paddle.jit.save first",
    ),
    (
        &[".pdopt"],
        "this is the state of an optimizer, which only training reads; \
         export an inference model with paddle.jit.save first",
    ),
    (
        &[".pdiparams.info"],
        "this lists names for training tools; name the program beside it",
    ),
    (&[".onnx"], "this is an ONNX model already"),
    (
        &[".nb"],
        "this is a model for Paddle Lite, which can't be taken back; \
         name the inference model that it was made of",
    ),
    (
        &[".pth", ".pt"],
        "this is a file of PyTorch, not of Paddle; torch.onnx.export makes ONNX of such models",
    ),
    (
        &[".safetensors"],
        "these are weights without a program; export an inference model with paddle.jit.save first",
    ),
    (
        &[".h5", ".keras", ".pb", ".tflite"],
        "this is a file of TensorFlow, not of Paddle; tf2onnx makes ONNX of such models",
    ),
    (
        &[".yml", ".yaml"],
        "this describes a model; name the program beside it",
    ),
    (
        &[
            ".tar", ".tgz", ".gz", ".zip", ".7z", ".rar", ".xz", ".bz2", ".zst",
        ],
        "this is an archive; unpack it, and name the folder or the program in it",
    ),
];

/// What a file is by its first bytes, where that is neither a program nor weights.
const BY_START: &[(&[u8], &str)] = &[
    (
        POINTER,
        "this is a Git LFS pointer, not the file itself; run `git lfs pull`",
    ),
    (
        b"PK\x03\x04",
        "this is a zip archive; unpack it and name the program in it",
    ),
    (
        b"\x1f\x8b",
        "this is a gzip archive; unpack it and name the program in it",
    ),
    (
        b"\xfd7zXZ\x00",
        "this is an xz archive; unpack it and name the program in it",
    ),
    (
        b"BZh",
        "this is a bzip2 archive; unpack it and name the program in it",
    ),
    (
        b"7z\xbc\xaf",
        "this is a 7z archive; unpack it and name the program in it",
    ),
    (
        b"Rar!",
        "this is a rar archive; unpack it and name the program in it",
    ),
    (
        b"\x89HDF",
        "this is an HDF5 file, as Keras writes it, and not one of Paddle's",
    ),
    (
        b"\xff\xfe",
        "this is text in UTF-16; save it in UTF-8, as Paddle does",
    ),
    (b"<!DOCTYPE", HTML),
    (b"<!doctype", HTML),
    (b"<html", HTML),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];

/// How a Git LFS pointer starts.
const POINTER: &[u8] = b"version https://git-lfs";

const HTML: &str =
    "this is a page in HTML, as a failed download leaves it; download the file itself";

/// What `paddle.save` and `torch.save` write.
const PICKLE: &str = "this is a Python pickle, as a training checkpoint (.pdparams) is; \
                      export an inference model with paddle.jit.save, which writes .pdiparams";

/// Where a tar archive has the word `ustar`.
const TAR_MAGIC: usize = 257;

/// How many bytes [`by_start`] looks at.
pub(super) const START: usize = 512;

/// What a file is that is neither a program nor weights, and what to do, by its name.
pub(super) fn by_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let found = BY_NAME
        .iter()
        .find(|(ends, _)| ends.iter().any(|end| name.ends_with(end)));
    found.map(|(_, what)| *what)
}

/// What a file is that is neither a program nor weights, and what to do, by its first [`START`] bytes.
pub(super) fn by_start(bytes: &[u8]) -> Option<&'static str> {
    if bytes
        .get(TAR_MAGIC..)
        .is_some_and(|rest| rest.starts_with(b"ustar"))
    {
        return Some("this is a tar archive; unpack it and name the program in it");
    }
    let found = BY_START.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, what)| *what)
}

/// Whether a file that starts with these bytes is a Git LFS pointer, whatever its name promises.
pub(super) fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(POINTER)
}
