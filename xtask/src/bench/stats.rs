//! What statistics cost an exchange, all of them against a sink that counts nothing, and what a scrape costs.
//!
//! The exchanges of a recording are told from memory to a null sink, to the summary's statistics, and to all that a run
//! keeps whose statistics are served (`tcpkit/benches/counting.rs`); valgrind counts instructions, where it is there. Whole runs
//! over the file, once with a port that nobody asks at and once without, tell what making the exchanges for readers costs too:
//! processor time of one run is noisy by more than that, so runs alternate and medians are compared.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

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
    let bench = bench()?;
    let mut parts = Vec::new();
    for recording in &recordings {
        let [null, summary, all] = counting(&bench, recording)?;
        let name = format!("{}, ns an exchange", recording.name);
        report.verdict(&name, all - null, NANOSECONDS);
        let whole = cost(recording, &[])?;
        parts.push(format!(
            "- {}: {:.1} ns an exchange for the summary, {:.1} ns for readers; whole runs with and without readers are \
             {whole:.1} ns apart",
            recording.name,
            summary - null,
            all - summary
        ));
    }
    report.verdict("a scrape of 64 ports by 64 commands, ms", scrape()?, SCRAPE);
    report.line("");
    parts.iter().for_each(|part| report.line(part));
    for recording in &recordings {
        let keys = cost(recording, &["--keys"])?;
        report.line(&format!(
            "- {}, with --keys: {keys:.0} ns an exchange",
            recording.name
        ));
    }
    recordings
        .iter()
        .try_for_each(|recording| instructions(report, &bench, recording))
}

/// The sinks that exchanges are told to.
const SINKS: [&str; 3] = ["null", "summary", "all"];

/// Rounds of telling them.
const TELLINGS: &str = "15";

/// Builds the bench of counting; its program.
fn bench() -> Result<PathBuf> {
    let args = [
        "bench",
        "--package",
        "tcpkit",
        "--bench",
        "counting",
        "--no-run",
        "--message-format=json",
    ];
    let said = shell::text(&mut shell::cargo(&args))?;
    let messages = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "counting");
    let program = programs.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    program.context("cargo names no program")
}

/// Nanoseconds an exchange, of all threads, for each of [`SINKS`].
fn counting(bench: &Path, recording: &Recording) -> Result<[f64; 3]> {
    let mut command = Command::new(bench);
    let said = shell::text(command.arg(&recording.file).arg(TELLINGS))?;
    let mut costs = [0.0; 3];
    for (sink, cost) in SINKS.iter().zip(&mut costs) {
        let line = said.lines().find_map(|line| line.strip_prefix(*sink));
        let mut numbers = line
            .context("the bench of counting tells no time")?
            .split_whitespace()
            .filter_map(|word| word.parse().ok());
        *cost = numbers.nth(1).context("no time of all threads")?;
    }
    Ok(costs)
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

/// Instructions of all threads.
fn instructions(report: &mut Report, bench: &Path, recording: &Recording) -> Result<()> {
    if shell::find("valgrind").is_none() {
        report.line("- instructions: not counted, there is no valgrind here");
        return Ok(());
    }
    let mut counts = [0.0; 3];
    for (sink, count) in SINKS.iter().zip(&mut counts) {
        *count = counted(bench, recording, sink)?;
    }
    let [null, summary, all] = counts;
    report.line(&format!(
        "- {}: {:.0} instructions an exchange (callgrind), {:.0} of them for the summary",
        recording.name,
        all - null,
        summary - null
    ));
    Ok(())
}

/// Instructions an exchange: those of two rounds without those of one, so that what comes before is not among them.
fn counted(bench: &Path, recording: &Recording, sink: &str) -> Result<f64> {
    let (before, _) = collected(bench, recording, sink, "1")?;
    let (count, exchanges) = collected(bench, recording, sink, "2")?;
    Ok((count - before) / exchanges)
}

/// Instructions of a run, and the exchanges of a round.
fn collected(bench: &Path, recording: &Recording, sink: &str, rounds: &str) -> Result<(f64, f64)> {
    let mut valgrind = shell::program("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(bench)
        .arg(&recording.file)
        .args([rounds, sink]);
    let output = valgrind
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()?;
    let number = |text: &[u8], begin: &str| {
        let text = String::from_utf8_lossy(text).into_owned();
        let line = text.lines().find(|line| line.contains(begin))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let count = number(&output.stderr, "Collected :").context("valgrind tells no count")?;
    let exchanges = number(&output.stdout, "exchanges:").context("no exchanges")?;
    Ok((count, exchanges))
}

fn free_port() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port().to_string())
}
