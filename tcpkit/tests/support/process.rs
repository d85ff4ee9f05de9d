//! A run that is watched: how long it takes and how much memory.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a run took.
#[derive(Debug)]
pub struct Usage {
    /// How it ended; `None` when it was stopped because it took too long.
    pub status: Option<ExitStatus>,
    /// From start to end.
    pub time: Duration,
    /// The most memory that it had resident, mapped files included, in bytes.
    pub resident: u64,
}

/// Runs a program to its end, at most for `limit`, its output written to `output`.
pub fn watched(command: &mut Command, output: &Path, limit: Duration) -> Usage {
    let file = File::create(output).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    let begin = Instant::now();
    #[expect(clippy::zombie_processes, reason = "wait4 in `ended` waits for it")]
    let mut child = command.spawn().unwrap();
    loop {
        if let Some((status, resident)) = ended(child.id()) {
            let time = begin.elapsed();
            return Usage {
                status: Some(ExitStatus::from_raw(status)),
                time,
                resident,
            };
        }
        if begin.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            return Usage {
                status: None,
                time: begin.elapsed(),
                resident: 0,
            };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The raw status and peak memory of a child that has ended. The standard library does not say what a
/// child used.
fn ended(pid: u32) -> Option<(i32, u64)> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let pid = pid.cast_signed();
    // SAFETY: both pointers are to live variables of the right types; an all-zero rusage is valid.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    (waited == pid).then_some((status, usage.ru_maxrss.unsigned_abs() * unit))
}
