//! ONNX model → files: streamed, whole or absent, and the same bytes every time.
//!
//! The bytes of weights are copied from Paddle's files to the output, on several threads. The framing around them is
//! written by hand, and prost encodes only the other fields, so that memory does not grow with the weights. Files
//! are written under temporary names, and renamed when they are complete.

mod append;
mod copy;
mod frame;
mod place;
mod positioned;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufReader, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::graph::OnnxModel;
pub use append::Snapshot;
use copy::Copier;
use frame::Frames;
use place::Plan;

/// Where the weights of an ONNX model are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weights {
    /// In the model's file, or in a second one if the model is too large for one.
    #[default]
    Auto,
    /// In the model's file.
    Inline,
    /// In a second file beside it, `NAME.onnx.data`.
    External,
    /// In Paddle's own file, to which the model points. Weights that ONNX needs in another order, such as those of an
    /// LSTM, are in the model's file.
    Link,
}

/// A callback that is told how much is written, and decides whether to go on.
pub trait Progress {
    /// Called when `done` of `total` bytes are written. [`ControlFlow::Break`] stops the writing, and
    /// removes the unfinished files.
    fn step(&self, done: u64, total: u64) -> ControlFlow<()>;
}

impl<F: Fn(u64, u64) -> ControlFlow<()>> Progress for F {
    fn step(&self, done: u64, total: u64) -> ControlFlow<()> {
        self(done, total)
    }
}

/// Every file that writing to `output` may replace.
pub(crate) fn replaced(output: &Path) -> Vec<PathBuf> {
    let data = data_name(output).map(|name| output.with_file_name(name));
    std::iter::once(output.to_path_buf()).chain(data).collect()
}

/// The files that were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The model.
    pub model: PathBuf,
    /// The file with the weights, if one was written beside the model.
    pub data: Option<PathBuf>,
    /// The size of both files together, in bytes.
    pub bytes: u64,
}

/// Writes a model to `output`.
///
/// # Errors
/// When the folder does not exist or can't be written, the output is a folder, device or pipe, the disk is
/// full, the weights can't be read or have become shorter, linked weights are not in or below the folder,
/// the model is too large for one file, or `progress` breaks off. No unfinished file is left then.
pub(crate) fn write(
    model: &OnnxModel,
    output: &Path,
    weights: Weights,
    progress: &dyn Progress,
) -> Result<Written> {
    let folder = folder_of(output)?;
    let data_name = data_name(output)?;
    let plan = Plan::new(model, folder, weights, &data_name)?;
    let frames = Frames::new(model, &plan);
    refuse_too_large(&frames, weights)?;
    let mut copier = Copier::new(frames.size() + plan.data_size, progress);

    let data = if plan.data_size > 0 {
        let file = temporary(folder)?;
        let parts = plan.parts(model);
        copier
            .write(&parts, plan.data_size, file.as_file())
            .map_err(|e| e.in_file(&folder.join(&data_name)))?;
        Some((file, folder.join(&data_name)))
    } else {
        None
    };
    let file = temporary(folder)?;
    copier
        .write(&frames.parts(), frames.size(), file.as_file())
        .map_err(|e| e.in_file(output))?;

    let mut written = Written {
        model: output.to_path_buf(),
        data: None,
        bytes: frames.size() + plan.data_size,
    };
    if let Some((file, path)) = data {
        persist(file, &path)?;
        written.data = Some(path);
    }
    persist(file, output).inspect_err(|_| {
        // Without its model, the file of weights is useless. The error to report is that of the rename.
        let _ = written.data.as_deref().map(fs::remove_file);
    })?;
    Ok(written)
}

/// Writes a model, with its weights, to a stream, which gets nothing before the model is complete in a temporary file.
/// Returns the number of bytes.
///
/// # Errors
/// When the model is too large for one file, the weights can't be read or have become shorter, the temporary file or the
/// stream can't be written, or `progress` breaks off.
pub(crate) fn write_to(
    model: &OnnxModel,
    stream: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<u64> {
    let plan = Plan::inline(model);
    let frames = Frames::new(model, &plan);
    if frames.size() > place::LARGEST_MODEL {
        return Err(Error::invalid(format!(
            "the model would take {} bytes, and protobuf allows {} in one file; write it to a file, with its weights in \
             another one",
            frames.size(),
            place::LARGEST_MODEL
        )));
    }
    // A file that has no name, and is gone when it is closed.
    let mut file =
        tempfile::tempfile().map_err(|e| Error::io_somewhere("create a temporary file", e))?;
    Copier::new(frames.size(), progress).write(&frames.parts(), frames.size(), &file)?;
    let copied = file
        .rewind()
        .and_then(|()| io::copy(&mut BufReader::with_capacity(1 << 16, file), stream))
        .and_then(|_| stream.flush());
    copied.map_err(|e| Error::io_somewhere("write the model", e))?;
    Ok(frames.size())
}

/// Refuses a model whose own file would be larger than protobuf readers accept.
fn refuse_too_large(frames: &Frames<'_>, weights: Weights) -> Result<()> {
    if frames.size() <= place::LARGEST_MODEL {
        return Ok(());
    }
    let advice = match weights {
        Weights::Inline => "use --weights external",
        Weights::Link => {
            "weights that ONNX needs in another order can't be linked; use --weights external"
        }
        _ => "the graph alone is too large for the format",
    };
    Err(Error::invalid(format!(
        "the model would take {} bytes, and protobuf allows {} in one file; {advice}",
        frames.size(),
        place::LARGEST_MODEL
    )))
}

/// The folder of the output, which must exist. What the output would replace, if anything, must be a file.
fn folder_of(output: &Path) -> Result<&Path> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Error::invalid("the output folder is a file").in_file(folder)),
        Err(e) => return Err(Error::io(folder, "open the output folder", e)),
    }
    if output.is_dir() {
        return Err(Error::invalid(
            "the output is a folder; name a file in it, such as model.onnx",
        )
        .in_file(output));
    }
    // The finished file is renamed to the output's name, which would replace a device or pipe.
    if fs::metadata(output).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::invalid(
            "the output is a device or pipe, which can't be replaced; name a file",
        )
        .in_file(output));
    }
    Ok(folder)
}

/// The name of the file with the weights of a model at `output`.
fn data_name(output: &Path) -> Result<String> {
    let name = output.file_name().and_then(OsStr::to_str);
    name.map(|name| format!("{name}.data"))
        .ok_or_else(|| Error::invalid("the output's name is not valid Unicode").in_file(output))
}

/// A temporary file in `folder`, which is removed unless it is renamed.
fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".paddle2onnx-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The user's umask restricts these permissions, as those of any new file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(|e| Error::io(folder, "create a file in the output folder", e))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.persist(path)
        .map(drop)
        .map_err(|e| Error::io(path, "rename the finished file", e.error))
}
