//! Reports in files, which are written whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::outcome::{Failure, Result};

/// The file of a report. It is opened before the work, so that a wrong path is known at once, and gets
/// its name when it is complete.
pub(super) struct Pending {
    /// None for a device or a pipe, which can't be replaced, only written to.
    file: Option<NamedTempFile>,
    path: PathBuf,
}

impl Pending {
    /// Opens a temporary file that will become the file at `path`.
    pub fn create(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path);
        if metadata.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(Failure::new(format!(
                "{}: this is a folder",
                path.display()
            )));
        }
        let is_special = metadata.is_ok_and(|metadata| !metadata.is_file());
        let file = if is_special {
            None
        } else {
            Some(temporary(path)?)
        };
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// Writes the text, and gives the file its name.
    pub fn finish(self, text: &str) -> Result<()> {
        let result = match self.file {
            Some(mut file) => file
                .write_all(text.as_bytes())
                .and_then(|()| file.persist(&self.path).map(drop).map_err(|e| e.error)),
            None => fs::write(&self.path, text),
        };
        result.map_err(|e| failure(&self.path, &e))
    }
}

fn temporary(path: &Path) -> Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".paddle2onnx-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The user's umask restricts this, as it does for any other file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|e| failure(path, &e))
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "{}: could not write the report: {error}",
        path.display()
    ))
}
