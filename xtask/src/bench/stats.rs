//! What statistics cost an exchange, with all that a reader can ask for against none of it, and what a scrape costs.
//!
//! The same file, once with a port that nobody asks at and once without. Processor time of one run is noisy by more than
//! what is measured, so runs alternate and medians are compared; valgrind counts instructions, where it is there.

use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::Report;
use super::recordings::{Recording, recording};
use super::speed::tcpkit;
use super::time::{Sample, median, sample};
use crate::shell;

/// Alternating runs that count; one more before them warms the page cache.
const ROUNDS: usize = 7;

/// Nanoseconds of processor time that all statistics may cost an exchange.
const NANOSECONDS: f64 = 60.0;

/// Milliseconds of processor time that a scrape of 64 ports by 64 commands may cost.
const SCRAPE: f64 = 100.0;

/// Measures both recordings, and a scrape.
///
/// # Errors
/// When recording or running fails.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let scale = if quick { 10 } else { 1 };
    let recordings = [
        recording("plain", 800_000 / scale, 1)?,
        recording("piped", 4_000_000 / scale, 16)?,
    ];
    report.line("\n## Statistics\n");
    report.line("| processor time | measured | at most | |\n|---|---|---|---|");
    for recording in &recordings {
        let cost = cost(recording, &[])?;
        let name = format!("{}, ns an exchange", recording.name);
        report.verdict(&name, cost, NANOSECONDS);
    }
    report.verdict("a scrape of 64 ports by 64 commands, ms", scrape()?, SCRAPE);
    report.line("");
    for recording in &recordings {
        let keys = cost(recording, &["--keys"])?;
        report.line(&format!(
            "- {}, with --keys: {keys:.0} ns an exchange",
            recording.name
        ));
    }
    instructions(report, &recordings[0])
}

/// Nanoseconds an exchange.
fn cost(recording: &Recording, args: &[&str]) -> Result<f64> {
    let port = free_port()?;
    let with = [&["-q", "-j", "1", "-P", &port], args].concat();
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (args, samples) in [&["-q", "-j", "1"][..], &with]
            .into_iter()
            .zip(&mut samples)
        {
            let sample = sample(&mut tcpkit(recording, args))?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let [without, with] = samples.map(|samples: Vec<Sample>| median(&samples).cpu.as_secs_f64());
    Ok((with - without) * 1e9 / recording.commands as f64)
}

/// The test of the scrape measures; here it runs on the release build.
fn scrape() -> Result<f64> {
    let args = [
        "test",
        "--release",
        "--package",
        "tcpkit",
        "--test",
        "scrape",
        "--",
        "--nocapture",
    ];
    let said = shell::text(&mut shell::cargo(&args))?;
    let line = said.lines().find_map(|line| line.strip_prefix("scrape: "));
    let milliseconds = line.and_then(|line| line.split(' ').next()?.parse().ok());
    milliseconds.context("the test of the scrape tells no time")
}

fn instructions(report: &mut Report, recording: &Recording) -> Result<()> {
    if shell::find("valgrind").is_none() {
        report.line("- instructions: not counted, there is no valgrind here");
        return Ok(());
    }
    let port = free_port()?;
    let without = counted(recording, &["-q", "-j", "1"])?;
    let with = counted(recording, &["-q", "-j", "1", "-P", &port])?;
    let each = (with as f64 - without as f64) / recording.commands as f64;
    let name = recording.name;
    report.line(&format!(
        "- {name}: {each:.0} instructions an exchange (callgrind)"
    ));
    Ok(())
}

/// Instructions of a run.
fn counted(recording: &Recording, args: &[&str]) -> Result<u64> {
    let run = tcpkit(recording, args);
    let mut valgrind = shell::program("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(run.get_program())
        .args(run.get_args());
    let output = valgrind
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.contains("Collected :"));
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    count.context("valgrind tells no count")
}

fn free_port() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port().to_string())
}
