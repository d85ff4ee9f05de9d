//! tcpdump on loopback, started before the traffic and ended when all of it is written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell;

/// How frames are handed to tcpdump.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One by one, at once: for a few frames.
    Immediate,
    /// In blocks, through a large buffer: for millions.
    Bulk,
}

/// A running tcpdump.
pub struct Capture {
    child: Child,
    said: BufReader<ChildStderr>,
    file: PathBuf,
    pace: Pace,
}

/// What tcpdump said at its end.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Frames in the file.
    pub captured: u64,
    /// Frames that the kernel could not hand over.
    pub dropped: u64,
}

impl Capture {
    /// Starts to write the frames of loopback that match `filter`.
    ///
    /// # Errors
    /// When tcpdump cannot be started or may not capture.
    pub fn start(file: &Path, filter: &str, pace: Pace) -> Result<Self> {
        let mut command = shell::program("tcpdump");
        command.args(["-i", "lo", "-n", "-s", "0", "-w", "-"]);
        match pace {
            Pace::Immediate => command.args(["-U", "--immediate-mode", "-B", "262144"]),
            Pace::Bulk => command.args(["-B", "524288"]),
        };
        // Standard output is the file, so that neither tcpdump's user nor a profile of a security
        // module has to be allowed to write there.
        command
            .arg(filter)
            .stdout(File::create(file)?)
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start tcpdump")?;
        let stderr = child
            .stderr
            .take()
            .context("tcpdump has no standard error")?;
        let mut capture = Self {
            child,
            said: BufReader::new(stderr),
            file: file.into(),
            pace,
        };
        capture.wait_until_listening()?;
        Ok(capture)
    }

    /// Ends tcpdump once the file has stopped growing.
    ///
    /// # Errors
    /// When tcpdump does not say what it captured.
    pub fn stop(mut self) -> Result<Counts> {
        self.settle()?;
        interrupt(&self.child)?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        self.child.wait()?;
        let count = |what: &str| number_before(&said, what).with_context(|| said.clone());
        // What the filter "received" counts loopback's frames on both of their ways: no use here.
        Ok(Counts {
            captured: count("packet")?,
            dropped: count("packets dropped by kernel")?,
        })
    }

    /// As [`Capture::stop`], for a capture that must be whole.
    ///
    /// # Errors
    /// As [`Capture::stop`], and when frames were dropped or none came.
    pub fn finish(self) -> Result<u64> {
        let counts = self.stop()?;
        if counts.dropped > 0 || counts.captured == 0 {
            bail!("tcpdump: {counts:?}");
        }
        Ok(counts.captured)
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let mut said = String::new();
        while self.said.read_line(&mut said)? > 0 {
            if said.contains("listening on") {
                return Ok(());
            }
        }
        bail!("tcpdump does not capture (root or CAP_NET_RAW is needed):\n{said}");
    }

    /// Waits until nothing more is written; in bulk, blocks are handed over once a second.
    fn settle(&self) -> Result<()> {
        let quiet = match self.pace {
            Pace::Immediate => Duration::from_millis(300),
            Pace::Bulk => Duration::from_millis(2500),
        };
        let size = || std::fs::metadata(&self.file).map(|file| file.len());
        let mut last = size()?;
        loop {
            std::thread::sleep(quiet);
            let now = size()?;
            if now == last {
                return Ok(());
            }
            last = now;
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `traffic` while its frames are written to `file`; none may be missing.
///
/// # Errors
/// When capturing or the traffic fails, or frames were dropped.
pub fn around<T>(file: &Path, filter: &str, traffic: impl FnOnce() -> Result<T>) -> Result<T> {
    let unfinished = file.with_extension("pcap.tmp");
    let capture = Capture::start(&unfinished, filter, Pace::Immediate)?;
    let result = traffic()?;
    let frames = capture.finish()?;
    std::fs::rename(&unfinished, file)?;
    let size = std::fs::metadata(file)?.len();
    eprintln!("  {frames} frames, {size} bytes");
    Ok(result)
}

fn interrupt(child: &Child) -> Result<()> {
    shell::output(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
    Ok(())
}

fn number_before(text: &str, what: &str) -> Option<u64> {
    let line = text.lines().find(|line| {
        line.split_once(' ')
            .is_some_and(|(_, rest)| rest.starts_with(what))
    })?;
    line.split(' ').next()?.parse().ok()
}
