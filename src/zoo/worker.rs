//! A process that does one task within a limited time.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running process. Dropping this kills it.
pub(super) struct Worker {
    child: Child,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    started: Instant,
    timeout: Duration,
}

/// A thread that reads stdout or stderr of a process, which would otherwise block when its pipe is full.
type Reader = JoinHandle<Vec<u8>>;

/// How a process ended, and what it printed.
pub(super) struct Ended {
    /// The exit status; None if it was killed for taking too long.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub time: Duration,
}

impl Worker {
    /// Starts a process, which may run for as long as `timeout`.
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

    /// The end of the process, if it has ended or its time is over, in which case it is killed. None
    /// while it runs.
    pub fn poll(&mut self) -> io::Result<Option<Ended>> {
        let mut status = self.child.try_wait()?;
        let time = self.started.elapsed();
        if status.is_none() {
            if time < self.timeout {
                return Ok(None);
            }
            self.child.kill()?;
            // It may have succeeded just before it was to be killed, which counts.
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
        // Both can fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is kept.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Waits for a reader, and takes what it has read.
fn finish(reader: &mut Option<Reader>) -> Vec<u8> {
    let bytes = reader.take().map(JoinHandle::join);
    bytes.and_then(Result::ok).unwrap_or_default()
}
