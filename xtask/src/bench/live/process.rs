//! Monitors, and what processes use.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::place::{CLIENT_CPU, Namespace};
use crate::shell;

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Seconds of CPU time a request, of all that take part.
    pub cpu: f64,
    /// Requests a second.
    pub speed: f64,
}

/// A running monitor.
pub struct Monitor {
    child: Child,
    /// Held open: whoever writes into a closed pipe ends.
    _said: BufReader<ChildStderr>,
}

impl Monitor {
    /// Starts it and waits until it captures.
    ///
    /// # Errors
    /// When it cannot be started or does not capture.
    pub fn start(namespace: &Namespace, command: Command) -> Result<Self> {
        let is_tcpdump = command.get_program() == "tcpdump";
        let mut inside = namespace.command(CLIENT_CPU, &command);
        inside.stderr(Stdio::piped());
        inside.stdout(if is_tcpdump {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        let mut child = inside.spawn().context("the monitor cannot be started")?;
        let mut said = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut text = String::new();
        while !text.contains("capturing with ") && !text.contains("listening on ") {
            if said.read_line(&mut text)? == 0 {
                bail!("{inside:?} does not capture:\n{text}");
            }
        }
        Ok(Self { child, _said: said })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(mut self) -> Result<String> {
        shell::output(Command::new("kill").args(["-INT", &self.child.id().to_string()]))?;
        let mut text = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_string(&mut text)?;
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the monitor failed: {status}");
        }
        Ok(text)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds that the threads of a process ran so far; 0 of one that is gone.
pub fn cpu(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks.filter_map(|task| ran(&task.path())).sum()
}

/// Seconds that the kernel's own threads for networking ran so far.
pub fn softirqs() -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|process| {
        let name = std::fs::read_to_string(process.path().join("comm"));
        name.is_ok_and(|name| name.starts_with("ksoftirqd"))
    });
    own.filter_map(|process| ran(&process.path())).sum()
}

/// The first number of `schedstat`, in nanoseconds.
fn ran(task: &std::path::Path) -> Option<f64> {
    let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
