//! Metadata for a model that is written already, at the end of its file.
//!
//! The fields of a protobuf message may come in any order, so that nothing has to be moved, however large the weights before
//! it are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use prost::Message;

use super::place::LARGEST_MODEL;
use crate::error::{Error, Result};
use crate::proto::onnx::{ModelProto, StringStringEntryProto};

/// An ONNX file as it was when it was looked at, before it was verified, for example.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
    size: u64,
    /// None where the file system does not say it.
    modified: Option<SystemTime>,
}

impl Snapshot {
    /// Looks at the file.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|e| Error::io(path, "look at the model", e))?;
        Ok(Self {
            path: path.to_path_buf(),
            size: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Adds keys and values to the metadata of the model. Returns the number of bytes by which it has grown.
    ///
    /// # Errors
    /// When the file was changed since, can't be written, or becomes too large for protobuf's readers. It is as it was
    /// then.
    pub fn add_metadata(&self, entries: &[(String, String)]) -> Result<u64> {
        let added = ModelProto {
            metadata_props: entries.iter().map(StringStringEntryProto::from).collect(),
            ..ModelProto::default()
        };
        let added = added.encode_to_vec();
        let grown = added.len() as u64;
        let now = Self::of(&self.path)?;
        if (now.size, now.modified) != (self.size, self.modified) {
            return Err(
                Error::invalid("the model was changed since it was looked at").in_file(&self.path),
            );
        }
        if self.size + grown > LARGEST_MODEL {
            return Err(Error::invalid(format!(
                "with {grown} bytes of metadata more, the model would be larger than the {LARGEST_MODEL} bytes that \
                 protobuf allows"
            ))
            .in_file(&self.path));
        }
        self.append(&added)
            .map_err(|e| Error::io(&self.path, "add metadata to the model", e))?;
        Ok(grown)
    }

    /// Appends bytes at once, so that whoever ends this process finds all of them or none.
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let written = match file.write(bytes) {
            Ok(count) if count == bytes.len() => return Ok(()),
            // A disk that is full takes a part.
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(e) => Err(e),
        };
        shorten(&file, self.size)?;
        written
    }
}

/// Makes the file as long as it was.
fn shorten(file: &File, size: u64) -> io::Result<()> {
    if file.metadata()?.len() > size {
        file.set_len(size)?;
    }
    Ok(())
}
