//! A process that does one task, and the end of it.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A process at work. Dropping it ends it.
pub(super) struct Worker {
    child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    started: Instant,
    timeout: Duration,
}

/// Reads one of the process's outputs, which would otherwise block when its pipe is full.
type Reader = JoinHandle<Vec<u8>>;

/// What a process has left behind.
pub(super) struct Ended {
    /// How it ended; None if it was ended for taking too long.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub time: Duration,
}

impl Worker {
    /// Starts a process, which may take this long.
    pub fn start(mut command: Command, timeout: Duration) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        Ok(Self {
            stdout: child.stdout.take().map(read),
            stderr: child.stderr.take().map(read),
            child,
            started: Instant::now(),
            timeout,
        })
    }

    /// What it has left behind, if it has ended, or its time is over.
    pub fn poll(&mut self) -> io::Result<Option<Ended>> {
        let mut status = self.child.try_wait()?;
        let time = self.started.elapsed();
        if status.is_none() {
            if time < self.timeout {
                return Ok(None);
            }
            self.child.kill()?;
            // It may have come to its end just now, which then counts.
            status = Some(self.child.wait()?).filter(ExitStatus::success);
        }
        Ok(Some(Ended {
            status,
            stdout: finish(&mut self.stdout),
            stderr: String::from_utf8_lossy(&finish(&mut self.stderr)).into_owned(),
            time,
        }))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is all there is to tell.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn finish(reader: &mut Option<Reader>) -> Vec<u8> {
    let bytes = reader.take().map(JoinHandle::join);
    bytes.and_then(Result::ok).unwrap_or_default()
}
