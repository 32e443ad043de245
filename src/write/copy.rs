//! Writing a file of headers and weights, several parts at once, with reports of progress.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::Progress;
use super::positioned::{allocate, read_exact_at, write_all_at};
use crate::error::{Error, Result};
use crate::graph::{InitializerData, Mapping};
use crate::read::ByteRange;
use crate::tensor::Tensor;

/// The bytes that are copied at a time: few enough to stay in the processor's cache until they are written.
const STEP: u64 = 256 << 10;

/// The most bytes of a part, so that threads which write parts end at about the same time.
const LARGEST_PART: u64 = 32 * STEP;

/// The bytes after which a thread tells that it has written them, since each message wakes another thread.
const REPORT: u64 = 4 << 20;

/// With more threads, the disk gains nothing.
const MOST_THREADS: usize = 4;

/// A part of an output file.
pub(super) struct Part<'m> {
    /// Where it begins in the file.
    offset: u64,
    content: Content<'m>,
}

enum Content<'m> {
    Bytes(&'m [u8]),
    Tensor(&'m Tensor),
    /// A part of one of Paddle's files.
    File(ByteRange),
    /// What the elements in a part of one of Paddle's files become, of which the first is at this position in the weight.
    Mapped(ByteRange, &'m Mapping, usize),
}

impl<'m> Part<'m> {
    /// Bytes that are in memory.
    pub fn bytes(offset: u64, bytes: &'m [u8]) -> Self {
        Self {
            offset,
            content: Content::Bytes(bytes),
        }
    }

    /// The parts that an initializer consists of, of which the first begins at `offset`.
    pub fn of(data: &'m InitializerData, mut offset: u64) -> Vec<Self> {
        match data {
            InitializerData::Memory(tensor) => vec![Self {
                offset,
                content: Content::Tensor(tensor),
            }],
            InitializerData::File(ranges) => {
                let mut parts = Vec::new();
                for range in ranges.iter().flat_map(pieces_of) {
                    let len = range.len;
                    let content = Content::File(range);
                    parts.push(Self { offset, content });
                    offset += len;
                }
                parts
            }
            InitializerData::Mapped(range, mapping) => pieces_of(range)
                .map(|piece| {
                    let before = piece.offset - range.offset;
                    let first = mapping.elements(before);
                    Self {
                        offset: offset + mapping.size(before),
                        content: Content::Mapped(piece, mapping, first),
                    }
                })
                .collect(),
        }
    }
}

/// The consecutive pieces of a part of a file, none of which is too large for a [`Part`].
fn pieces_of(range: &ByteRange) -> impl Iterator<Item = ByteRange> {
    let count = range.len.div_ceil(LARGEST_PART);
    (0..count).map(|number| {
        let before = number * LARGEST_PART;
        ByteRange {
            path: range.path.clone(),
            offset: range.offset + before,
            len: (range.len - before).min(LARGEST_PART),
        }
    })
}

/// Writes files, and reports how much of all of them is written.
pub(super) struct Copier<'p> {
    progress: &'p dyn Progress,
    done: u64,
    total: u64,
}

impl<'p> Copier<'p> {
    pub fn new(total: u64, progress: &'p dyn Progress) -> Self {
        Self {
            progress,
            done: 0,
            total,
        }
    }

    /// Writes the parts of a file of `size` bytes, which are all of it, or all but zeros.
    ///
    /// # Errors
    /// When a source can't be read or has become shorter, the file can't be written, or the caller stops the writing.
    pub fn write(&mut self, parts: &[Part<'_>], size: u64, output: &File) -> Result<()> {
        // A disk that is too small is found before the work, and the file lies in one piece.
        allocate(output, size).map_err(write_error)?;
        let work = Work {
            parts,
            output,
            next: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(MOST_THREADS).min(parts.len());
        let (sender, receiver) = channel();
        let (before, mut outcome) = (self.done, Ok(()));
        thread::scope(|scope| {
            for _ in 0..threads {
                let (work, sender) = (&work, sender.clone());
                scope.spawn(move || work.run(&sender));
            }
            drop(sender);
            for written in receiver {
                let result = written.and_then(|bytes| self.advance(bytes));
                if result.is_err() && outcome.is_ok() {
                    work.is_stopped.store(true, Ordering::Relaxed);
                    outcome = result;
                }
            }
        });
        outcome?;
        // Zeros between the parts are there already.
        self.advance(size - (self.done - before))
    }

    /// Reports that so many more bytes are written. An error if the caller wants to stop.
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        match self.progress.step(self.done, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::interrupted()),
        }
    }
}

/// The parts that are still to be written, which threads share.
struct Work<'w> {
    parts: &'w [Part<'w>],
    output: &'w File,
    /// The next part that no thread has begun.
    next: AtomicUsize,
    is_stopped: AtomicBool,
}

impl Work<'_> {
    /// Writes part after part, and sends the numbers of bytes that are written, or the error at which it ends.
    fn run(&self, sender: &Sender<Result<u64>>) {
        let mut worker = Worker {
            work: self,
            sender,
            sources: HashMap::new(),
            buffer: vec![0; STEP as usize],
            mapped: Vec::new(),
            unreported: 0,
        };
        while let Some(part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = worker.part(part) {
                // Nobody listens any more if another thread has failed before.
                let _ = sender.send(Err(e));
                return;
            }
        }
        worker.report();
    }
}

/// A thread that writes parts.
struct Worker<'w> {
    work: &'w Work<'w>,
    sender: &'w Sender<Result<u64>>,
    /// The files that it has opened.
    sources: HashMap<Arc<Path>, File>,
    buffer: Vec<u8>,
    /// What elements have become.
    mapped: Vec<u8>,
    /// The bytes that it has written since it last told.
    unreported: u64,
}

impl Worker<'_> {
    fn part(&mut self, part: &Part<'_>) -> Result<()> {
        let output = self.work.output;
        match &part.content {
            Content::Bytes(bytes) => self.bytes(bytes, part.offset),
            Content::Tensor(tensor) => self.bytes(&tensor.to_le_bytes(), part.offset),
            Content::File(range) => self.copy(range, |_, piece, before| {
                write_all_at(output, piece, part.offset + before).map_err(write_error)?;
                Ok(piece.len() as u64)
            }),
            Content::Mapped(range, mapping, first) => self.copy(range, |mapped, piece, before| {
                mapped.clear();
                mapping.append(first + mapping.elements(before), piece, mapped);
                let offset = part.offset + mapping.size(before);
                write_all_at(output, mapped, offset).map_err(write_error)?;
                Ok(mapped.len() as u64)
            }),
        }
    }

    fn bytes(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        write_all_at(self.work.output, bytes, offset).map_err(write_error)?;
        self.count(bytes.len() as u64);
        Ok(())
    }

    /// Reads a part of a file in steps, and hands each to `write` with the bytes before it. `io::copy` would use
    /// `copy_file_range` or `splice`, which move page by page, and take longer where source and destination are not
    /// aligned alike within their pages, as is the rule here.
    fn copy(
        &mut self,
        range: &ByteRange,
        write: impl Fn(&mut Vec<u8>, &[u8], u64) -> Result<u64>,
    ) -> Result<()> {
        let read_error = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::malformed("the weights have become shorter").in_file(&range.path)
            }
            _ => Error::io(&range.path, "read the weights", e),
        };
        let source = match self.sources.entry(range.path.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(File::open(&range.path).map_err(read_error)?),
        };
        let (mut before, mut written) = (0, 0);
        while before < range.len && !self.work.is_stopped.load(Ordering::Relaxed) {
            let step = STEP.min(range.len - before);
            let piece = &mut self.buffer[..step as usize];
            read_exact_at(source, piece, range.offset + before).map_err(read_error)?;
            written += write(&mut self.mapped, piece, before)?;
            before += step;
        }
        self.count(written);
        Ok(())
    }

    /// Counts so many more bytes as written.
    fn count(&mut self, bytes: u64) {
        self.unreported += bytes;
        if self.unreported >= REPORT {
            self.report();
        }
    }

    /// Tells what has been written. Nobody listens any more if another thread has failed before.
    fn report(&mut self) {
        let _ = self.sender.send(Ok(std::mem::take(&mut self.unreported)));
    }
}

/// A failure to write the output. The caller adds the file.
fn write_error(error: io::Error) -> Error {
    Error::io_somewhere("write the model", error)
}
