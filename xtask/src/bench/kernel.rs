//! What a frame costs in the kernel: test runs of the program at TC, as `tcpkit doctor` makes them.

use std::process::Command;

use anyhow::{Context, Result};

use super::Report;
use crate::shell;

/// The most nanoseconds of a frame: what it is called, a word before its number in doctor's line, and the bound.
/// The first is net of an empty program, the others are whole test runs.
const TARGETS: [(&str, &str, f64); 3] = [
    (
        "unmonitored port, net of an empty program",
        "unmonitored",
        10.0,
    ),
    ("100 bytes", "100 bytes", 110.0),
    ("1,400 bytes", "1400 bytes", 180.0),
];

/// Nanoseconds of an empty program on the machine that the bounds come from: on another, the ratio says more.
const HARNESS: f64 = 19.0;

/// Runs of doctor; the least number of each counts, since the machine is shared.
const RUNS: usize = 5;

/// Measures with rings of the default size.
///
/// # Errors
/// When `tcpkit doctor` cannot be run, or does not know the cost.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let mut least = [f64::INFINITY; TARGETS.len()];
    let mut empty = f64::INFINITY;
    for _ in 0..if quick { 1 } else { RUNS } {
        let line = told()?;
        empty = empty.min(number(&line, "itself")?);
        for ((_, word, _), least) in TARGETS.iter().zip(&mut least) {
            *least = least.min(number(&line, word)?);
        }
    }
    report.line("\n## Cost of a frame in the kernel\n");
    report.line(&format!(
        "Test runs of the program at TC, nanoseconds, least of {RUNS}; an empty program takes {empty}\n"
    ));
    report.line("| frame | ns | at most | |\n|---|---|---|---|");
    for ((name, _, bound), least) in TARGETS.iter().zip(least) {
        let net = if name.contains("net of") { empty } else { 0.0 };
        report.verdict(name, least - net, *bound);
    }
    for ((name, _, bound), least) in TARGETS.iter().zip(least).skip(1) {
        let name = format!("{name}, times an empty program");
        report.verdict(&name, least / empty, bound / HARNESS);
    }
    Ok(())
}

/// The line of `tcpkit doctor` about the cost.
fn told() -> Result<String> {
    let program = shell::target().join("release/tcpkit");
    let said = shell::text(Command::new(program).args(["doctor", "-i", "lo"]))?;
    let line = said.lines().find(|line| line.starts_with("cost a frame"));
    Ok(line.with_context(|| said.clone())?.to_owned())
}

/// The number behind a word.
fn number(line: &str, word: &str) -> Result<f64> {
    let (_, rest) = line.split_once(word).with_context(|| line.to_owned())?;
    let digits = rest.trim_start().split(' ').next().unwrap_or_default();
    digits.parse().with_context(|| line.to_owned())
}
