//! Ctrl-C and SIGTERM during the conversion of a large model give exit code 130, and leave no file behind.

#![cfg(all(unix, feature = "cli"))]

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::command::{Ran, names_in};
use support::large::write_model;

/// Longer than it takes to notice a signal, and too short to fill a disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what `is_done` says. Kills the child and panics if that takes too long.
fn wait(child: &mut Child, what: &str, mut is_done: impl FnMut(&mut Child) -> bool) {
    let start = Instant::now();
    while !is_done(child) {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("waited too long until {what}");
        }
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_ends_a_conversion_and_leaves_nothing() {
    // This is not the system's folder for temporary files, since that may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_model(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    for signal in ["INT", "TERM"] {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("paddle2onnx-rs"))
            .arg("convert")
            .arg(folder.path())
            .arg("-o")
            .arg(out.join("m.onnx"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait(&mut child, "something was written", |child| {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
            !names_in(&out).is_empty()
        });
        let kill = Command::new("kill")
            .args(["-s", signal])
            .arg(child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        wait(&mut child, "it ended", |child| {
            child.try_wait().unwrap().is_some()
        });
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran}");
        assert!(
            ran.stderr
                .contains("interrupted; no output file was written"),
            "{ran}"
        );
        assert_eq!(names_in(&out), [""; 0]);
    }
}
