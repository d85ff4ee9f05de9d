//! How long tcpkit takes for a recording, in units of what tcpdump takes to copy it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Report;
use super::recordings::{Recording, recording};
use super::time::{Sample, median, sample, sample_both};
use crate::record::redis::PORT;
use crate::shell;

/// Rounds that count; one more before them warms the page cache.
const ROUNDS: usize = 5;

/// The most that a run may take, in units of tcpdump's.
struct Targets {
    one_thread: f64,
    two_threads: f64,
}

/// Something to time: its name and how to run it.
type Run = (&'static str, fn(&Recording) -> Result<Sample>);

/// Printing every line, in units of printing none.
const PRINTING: f64 = 3.0;

/// Measures both recordings.
///
/// # Errors
/// When recording or running fails, or a command was not paired.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let scale = if quick { 10 } else { 1 };
    let plain = recording("plain", 800_000 / scale, 1)?;
    let piped = recording("piped", 4_000_000 / scale, 16)?;
    recorded(
        report,
        &plain,
        &Targets {
            one_thread: 0.6,
            two_threads: 0.45,
        },
    )?;
    recorded(
        report,
        &piped,
        &Targets {
            one_thread: 1.2,
            two_threads: 0.85,
        },
    )
}

fn recorded(report: &mut Report, recording: &Recording, targets: &Targets) -> Result<()> {
    every_command_is_paired(recording)?;
    let runs: [Run; 5] = [
        ("tcpdump -w /dev/null", |recording| {
            sample(&mut tcpdump(recording))
        }),
        ("tcpkit -q -j 1", |recording| {
            sample(&mut tcpkit(recording, &["-q", "-j", "1"]))
        }),
        ("tcpkit -q -j 2", |recording| {
            sample(&mut tcpkit(recording, &["-q", "-j", "2"]))
        }),
        ("tcpkit -q -j 1, twice at once", |recording| {
            sample_both([(); 2].map(|()| tcpkit(recording, &["-q", "-j", "1"])))
        }),
        ("tcpkit -j 1, every line", |recording| {
            sample(&mut tcpkit(recording, &["-j", "1"]))
        }),
    ];
    let mut samples = [const { Vec::new() }; 5];
    for round in 0..=ROUNDS {
        for ((_, run), samples) in runs.iter().zip(&mut samples) {
            let sample = run(recording)?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let medians = samples.map(|samples: Vec<Sample>| median(&samples));
    tell(
        report,
        recording,
        targets,
        &runs.map(|(name, _)| name),
        &medians,
    )
}

fn tell(
    report: &mut Report,
    recording: &Recording,
    targets: &Targets,
    names: &[&str; 5],
    medians: &[Sample; 5],
) -> Result<()> {
    let megabytes = std::fs::metadata(&recording.file)?.len() / 1_000_000;
    report.line(&format!("\n## {}\n", recording.name));
    report.line(&format!(
        "{} commands, {megabytes} MB; median of {ROUNDS}, warm; every command paired\n",
        recording.commands
    ));
    report.line("| run | wall, s | cpu, s |\n|---|---|---|");
    for (name, median) in names.iter().zip(medians) {
        let (wall, cpu) = (median.wall.as_secs_f64(), median.cpu.as_secs_f64());
        report.line(&format!("| `{name}` | {wall:.3} | {cpu:.3} |"));
    }
    let [tcpdump, one, two, twice, printing] = medians.map(|median| median.wall.as_secs_f64());
    report.line("\n| ratio | measured | at most | |\n|---|---|---|---|");
    report.verdict("one thread to tcpdump", one / tcpdump, targets.one_thread);
    report.verdict("two threads to tcpdump", two / tcpdump, targets.two_threads);
    report.verdict("every line printed to none", printing / one, PRINTING);
    // CPUs that share a core, or memory, do less than twice as much: no program that does all of this could be faster.
    report.line(&format!(
        "\nTwo CPUs do {:.2} times the work of one here. Work that is halved and costs nothing to halve takes {:.2} of tcpdump.",
        2.0 * one / twice,
        twice / 2.0 / tcpdump
    ));
    Ok(())
}

fn tcpdump(recording: &Recording) -> Command {
    let mut command = shell::program("tcpdump");
    command
        .arg("-r")
        .arg(&recording.file)
        .args(["-w", "/dev/null"]);
    command
}

pub(super) fn tcpkit(recording: &Recording, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .arg("-r")
        .arg(&recording.file)
        .args(["-p", &format!("{PORT}=redis")])
        .args(args);
    command
}

/// The release build.
pub fn program() -> PathBuf {
    shell::target().join("release/tcpkit")
}

/// As many exchanges of each command as the file holds requests, none unanswered.
fn every_command_is_paired(recording: &Recording) -> Result<()> {
    let said = shell::text(&mut tcpkit(recording, &["-q", "--format", "json"]))?;
    let summary: Value = serde_json::from_str(said.lines().last().context("no summary")?)?;
    for command in ["SET", "GET"] {
        let paired = exchanges(&summary, command);
        ensure!(
            paired == recording.commands / 2,
            "{}: {paired} of {} {command} were paired",
            recording.name,
            recording.commands / 2
        );
    }
    Ok(())
}

/// Exchanges of one command in the summary, over all ports.
fn exchanges(summary: &Value, command: &str) -> u64 {
    let ports = summary["ports"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let commands = ports
        .iter()
        .flat_map(|port| port["commands"].as_array().into_iter().flatten());
    let of_name = commands.filter(|entry| entry["command"] == command);
    of_name.filter_map(|entry| entry["requests"].as_u64()).sum()
}
