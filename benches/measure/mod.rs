//! What the benchmarks share.

use std::process::{Command, Stdio};
use std::time::Instant;

/// The time and memory that one run of a command took.
pub struct Measured {
    pub seconds: f64,
    pub peak_kib: i64,
}

/// Runs a command to its end, and asks the system for its peak memory.
pub fn run(command: &mut Command) -> Result<Measured, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let child = command.stdout(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: both pointers are to live variables, and a zeroed rusage is a valid one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(i32::try_from(child.id())?, &mut status, 0, &mut usage);
        usage
    };
    let seconds = start.elapsed().as_secs_f64();
    if status != 0 {
        return Err(format!("{command:?} failed").into());
    }
    Ok(Measured {
        seconds,
        peak_kib: usage.ru_maxrss,
    })
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
