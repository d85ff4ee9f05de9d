//! The two recordings: unpipelined, and sixteen commands at a time.

use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::record::capture::{Capture, Pace};
use crate::record::redis::{PORT, Redis};
use crate::shell;

/// How the two requests begin, one as long as the other. (`CONFIG GET` begins in another way.)
const REQUESTS: [&[u8]; 2] = [b"*3\r\n$3\r\nSET\r\n", b"*2\r\n$3\r\nGET\r\n"];

/// A recording that is to be measured.
pub struct Recording {
    /// For reports.
    pub name: &'static str,
    /// Its file.
    pub file: PathBuf,
    /// Commands in it, half of them SET and half GET: as the server counted them.
    pub commands: u64,
}

/// A recording of so many commands, made if it is not there.
///
/// # Errors
/// When it cannot be recorded without loss, or holds other than it should.
pub fn recording(name: &'static str, commands: u64, depth: u32) -> Result<Recording> {
    let folder = shell::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}-{commands}.pcap"));
    if !file.is_file() {
        record(&file, commands, depth)?;
    }
    let recording = Recording {
        name,
        file,
        commands,
    };
    recording.check()?;
    Ok(recording)
}

fn record(file: &std::path::Path, commands: u64, depth: u32) -> Result<()> {
    let unfinished = file.with_extension("unfinished");
    for _ in 0..5 {
        eprintln!(
            "recording {} ({commands} commands, -P {depth})",
            file.display()
        );
        let redis = Redis::start("bench", PORT)?;
        let mut admin = redis.admin()?;
        redis.forget(&mut admin)?;
        let capture = Capture::start(&unfinished, &format!("tcp port {PORT}"), Pace::Bulk)?;
        let (port, depth, half) = (
            PORT.to_string(),
            depth.to_string(),
            (commands / 2).to_string(),
        );
        let mut benchmark = shell::program("redis-benchmark");
        benchmark.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-c",
            "50",
            "-r",
            "100000",
            "-d",
            "100",
        ]);
        benchmark.args(["-P", &depth, "-n", &half, "-t", "set,get", "-q"]);
        shell::output(&mut benchmark)?;
        let counts = capture.stop()?;
        let calls = redis.calls(&mut admin)?;
        for command in ["SET", "GET"] {
            let called = calls.get(command).copied().unwrap_or(0);
            ensure!(
                called == commands / 2,
                "redis-server counted {called} calls of {command}"
            );
        }
        if counts.dropped == 0 {
            std::fs::rename(&unfinished, file)?;
            return Ok(());
        }
        eprintln!("{} frames were dropped, again", counts.dropped);
    }
    bail!("no recording without dropped frames in five attempts; is the machine busy?")
}

impl Recording {
    /// Counts commands in the payloads that tcpdump selects; an oracle that rebuilds no streams (no
    /// request lies in two frames: each write is one, and loopback's frames are large).
    fn check(&self) -> Result<()> {
        let mut tcpdump = shell::program("tcpdump");
        tcpdump
            .arg("-r")
            .arg(&self.file)
            .args(["-w", "-", &format!("tcp dst port {PORT}")]);
        let mut child = tcpdump
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut frames = child.stdout.take().context("tcpdump has no output")?;
        let counted = count(&mut frames, &REQUESTS)?;
        child.wait()?;
        if counted != [self.commands / 2; 2] {
            bail!(
                "{} holds {counted:?} SET and GET, delete it",
                self.file.display()
            );
        }
        Ok(())
    }
}

/// How often each of two words of the same length occurs.
fn count(input: &mut impl Read, words: &[&[u8]; 2]) -> Result<[u64; 2]> {
    let finders = words.map(memchr::memmem::Finder::new);
    let keep = words[0].len() - 1;
    let mut counts = [0; 2];
    let mut buffer = vec![0; 1 << 20];
    let mut held = 0;
    loop {
        let read = input.read(&mut buffer[held..])?;
        if read == 0 {
            return Ok(counts);
        }
        let end = held + read;
        for (count, finder) in counts.iter_mut().zip(&finders) {
            *count += finder.find_iter(&buffer[..end]).count() as u64;
        }
        // A word may lie across two reads; what is kept is too short to hold one, so none counts twice.
        held = keep.min(end);
        buffer.copy_within(end - held..end, 0);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    /// Yields one byte a read.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn words_are_counted_across_reads() {
        let text = b"SETGETxSETSET GESET";
        assert_eq!(count(&mut Slow(text), &[b"SET", b"GET"]).unwrap(), [4, 1]);
        assert_eq!(count(&mut &text[..], &[b"SET", b"GET"]).unwrap(), [4, 1]);
    }
}
