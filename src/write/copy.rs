//! Copying bytes from file to file, with progress.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::Progress;
use crate::error::{Error, Result};
use crate::lower::InitializerData;
use crate::read::ByteRange;

/// How much is copied between two looks at whether to go on.
const STEP: u64 = 32 << 20;

/// Copies initializers, and keeps their files open.
pub(super) struct Copier<'p> {
    sources: HashMap<Arc<Path>, File>,
    progress: &'p dyn Progress,
    done: u64,
    total: u64,
}

impl<'p> Copier<'p> {
    pub fn new(total: u64, progress: &'p dyn Progress) -> Self {
        Self {
            sources: HashMap::new(),
            progress,
            done: 0,
            total,
        }
    }

    /// Writes bytes that are in memory.
    pub fn bytes(&mut self, bytes: &[u8], output: &mut impl Write) -> Result<()> {
        output.write_all(bytes).map_err(write_error)?;
        self.advance(bytes.len() as u64)
    }

    /// Writes the elements of an initializer.
    ///
    /// `io::copy` between files leaves the copying to the kernel where that can do it
    /// (`copy_file_range` on Linux), also through a `BufWriter`, which it flushes first.
    pub fn data<W: Write>(&mut self, data: &InitializerData, output: &mut W) -> Result<()> {
        match data {
            InitializerData::Bytes(bytes) => self.bytes(bytes, output),
            InitializerData::File(range) => self.range(range, output),
        }
    }

    fn range<W: Write>(&mut self, range: &ByteRange, output: &mut W) -> Result<()> {
        let read_error = |e| Error::io(&range.path, "read the weights", e);
        if !self.sources.contains_key(&range.path) {
            let file = File::open(&range.path).map_err(read_error)?;
            self.sources.insert(range.path.clone(), file);
        }
        let mut left = range.len;
        let mut position = range.offset;
        while left > 0 {
            let Some(mut source) = self.sources.get(&range.path) else {
                return Err(Error::internal("a source file was not opened"));
            };
            source.seek(SeekFrom::Start(position)).map_err(read_error)?;
            let step = left.min(STEP);
            let copied = io::copy(&mut source.take(step), output).map_err(write_error)?;
            if copied < step {
                return Err(Error::malformed("the weights have become shorter")
                    .in_file(&range.path)
                    .at_byte(position + copied));
            }
            left -= copied;
            position += copied;
            self.advance(copied)?;
        }
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if self.progress.step(self.done, self.total).is_break() {
            return Err(Error::interrupted());
        }
        Ok(())
    }
}

/// A failure of the output, whose name the caller adds.
fn write_error(error: io::Error) -> Error {
    Error::io(Path::new(""), "write the model", error)
}
