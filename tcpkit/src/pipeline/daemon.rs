//! Running in the background (`-d`): the caller waits until the run has started, and hears what keeps it from that.
//!
//! The process forks before it has done anything; the child opens what it needs with the caller's standard error still
//! in its hands, so every error is told where it would be without `-d`, and ends the caller with the same status.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::ExitCode;

use rustix::process::{Pid, WaitOptions, setsid, waitpid};

/// Says that the run goes on alone.
const STARTED: u8 = 1;

/// The process that asked for a run in the background, seen from that run.
#[derive(Debug)]
pub struct Caller {
    pipe: PipeWriter,
}

/// Which of the two processes goes on.
#[derive(Debug)]
pub enum Forked {
    /// The caller, with the status that it ends with.
    Caller(ExitCode),
    /// The run.
    Run(Caller),
}

impl Caller {
    /// Goes on in a child. The caller comes back when the child has started its run, or failed to. Called before any thread
    /// is started.
    ///
    /// # Errors
    /// When the system has no process or pipe to give.
    pub fn leave() -> io::Result<Forked> {
        let (reader, pipe) = io::pipe()?;
        // SAFETY: nothing has started a thread yet, so the child may go on as the only copy of the only thread.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(reader);
                setsid()?;
                Ok(Forked::Run(Self { pipe }))
            }
            child => {
                drop(pipe);
                wait(child, reader).map(Forked::Caller)
            }
        }
    }

    /// Lets go of the terminal and of the caller.
    ///
    /// # Errors
    /// When `/dev/null` cannot be opened.
    pub fn release(mut self) -> io::Result<()> {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        self.pipe.write_all(&[STARTED])
    }
}

/// Waits until the child says that it goes on, or ends; then it has said why.
fn wait(child: i32, mut pipe: PipeReader) -> io::Result<ExitCode> {
    let mut said = [0];
    if pipe.read(&mut said)? > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let ended = waitpid(Pid::from_raw(child), WaitOptions::empty())?;
    let status = ended.and_then(|(_, status)| status.exit_status());
    let status = status.and_then(|status| u8::try_from(status).ok());
    // Ended by a signal, or without a word although all was well: a run that ended before it began.
    Ok(status.map_or(ExitCode::FAILURE, ExitCode::from))
}
