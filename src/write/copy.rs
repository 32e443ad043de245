//! Copying weights from file to file, with reports of progress.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::Progress;
use crate::error::{Error, Result};
use crate::graph::{InitializerData, Mapping};
use crate::read::{ByteRange, pieces};

/// The bytes that are copied at a time: few enough to stay in the processor's cache until they are written.
const STEP: usize = 256 << 10;

/// Copies initializers to an output. The files that hold them are kept open.
pub(super) struct Copier<'p> {
    sources: HashMap<Arc<Path>, File>,
    buffer: Vec<u8>,
    progress: &'p dyn Progress,
    done: u64,
    total: u64,
}

impl<'p> Copier<'p> {
    pub fn new(total: u64, progress: &'p dyn Progress) -> Self {
        Self {
            sources: HashMap::new(),
            buffer: vec![0; STEP],
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
    pub fn data(&mut self, data: &InitializerData, output: &mut impl Write) -> Result<()> {
        match data {
            InitializerData::Bytes(bytes) => self.bytes(bytes, output),
            InitializerData::File(ranges) => {
                let mut ranges = ranges.iter();
                ranges.try_for_each(|range| self.range(range, output))
            }
            InitializerData::Mapped(range, mapping) => self.mapped(range, mapping, output),
        }
    }

    /// Copies a part of a file through a buffer. `io::copy` would use `copy_file_range` or `splice`, which
    /// move page by page, and take a fifth more time where source and destination are not aligned alike
    /// within their pages, as is the rule here.
    fn range(&mut self, range: &ByteRange, output: &mut impl Write) -> Result<()> {
        let read_error = |e| Error::io(&range.path, "read the weights", e);
        let mut source = match self.sources.entry(range.path.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(File::open(&range.path).map_err(read_error)?),
        } as &File;
        source
            .seek(SeekFrom::Start(range.offset))
            .map_err(read_error)?;
        let mut left = range.len;
        while left > 0 {
            let step = usize::try_from(left).map_or(STEP, |left| left.min(STEP));
            let buffer = &mut self.buffer[..step];
            source.read_exact(buffer).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => {
                    Error::malformed("the weights have become shorter").in_file(&range.path)
                }
                _ => read_error(e),
            })?;
            output.write_all(buffer).map_err(write_error)?;
            left -= step as u64;
            self.done += step as u64;
            go_on(self.progress, self.done, self.total)?;
        }
        Ok(())
    }

    /// Writes what the elements in a part of a file become.
    fn mapped(
        &mut self,
        range: &ByteRange,
        mapping: &Mapping,
        output: &mut impl Write,
    ) -> Result<()> {
        let (mut position, mut mapped) = (0, Vec::with_capacity(STEP));
        pieces(range, &mut |piece| {
            mapped.clear();
            position = mapping.append(position, piece, &mut mapped);
            self.bytes(&mapped, output)
        })
    }

    /// Reports that so many more bytes are written.
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        go_on(self.progress, self.done, self.total)
    }
}

/// Reports progress. An error if the caller wants to stop.
fn go_on(progress: &dyn Progress, done: u64, total: u64) -> Result<()> {
    match progress.step(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::interrupted()),
    }
}

/// A failure to write the output. The caller adds the file.
fn write_error(error: io::Error) -> Error {
    Error::io_somewhere("write the model", error)
}
