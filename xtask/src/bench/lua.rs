//! What a script costs a packet: a run with it, less the same run without.
//!
//! Processor time of all threads is compared, so that what a script's thread does beside the capture's counts too, and
//! a busy machine changes little.
//!
//! A script that keeps packets takes memory by the hundred megabytes. As the file is warm, so is that: a virtual machine's host
//! takes free memory back within a moment and is slow to give it again, which is said apart.

use std::process::Command;

use anyhow::{Context, Result};

use super::Report;
use super::recordings::recording;
use super::speed::program;
use super::time::{Sample, least, sample};
use super::touched;
use crate::record::redis::PORT;
use crate::shell;

/// Rounds; the runs before them, which say how much there is, warm the page cache.
const ROUNDS: usize = 5;

/// A script of `benches/lua`, and the most that a packet of it may take, in microseconds.
const SCRIPTS: [(&str, f64); 3] = [("count", 0.25), (KEEP, 0.5), ("interpreted", 2.0)];

/// The one that keeps every packet.
const KEEP: &str = "keep";

/// Measures every script on the unpipelined recording.
///
/// # Errors
/// When recording or running fails.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let recording = recording("plain", if quick { 80_000 } else { 800_000 }, 1)?;
    let command = |script: Option<&str>| {
        let mut command = Command::new(program());
        command.args(["-m", "raw", "-p", &PORT.to_string(), "-r"]);
        command.arg(&recording.file);
        match script {
            Some(name) => command
                .arg("-S")
                .arg(shell::root().join(format!("benches/lua/{name}.lua"))),
            None => command.arg("-q"),
        };
        command
    };
    let packets = packets(&mut command(None))?;
    let mut samples = vec![Vec::new(); SCRIPTS.len() + 1];
    // Known before this process takes as much: its children would be told to have done so.
    let resident = |script| Ok::<_, anyhow::Error>(sample(&mut command(script))?.resident);
    let kept = resident(Some(KEEP))?.saturating_sub(resident(None)?);
    let mut unready = Vec::new();
    for _ in 0..ROUNDS {
        let scripts = SCRIPTS.iter().map(|(name, _)| Some(*name));
        for (script, samples) in std::iter::once(None).chain(scripts).zip(&mut samples) {
            if script == Some(KEEP) {
                unready.push(sample(&mut command(script))?);
                touched::make_ready(kept as usize)?;
            }
            samples.push(sample(&mut command(script))?);
        }
    }
    let all: Vec<Sample> = samples.iter().map(|samples| least(samples)).collect();
    let (without, with) = all.split_first().context("no sample")?;
    report.line("\n## Lua\n");
    report.line(&format!(
        "{packets} packets; processor time of all threads, least of {ROUNDS}, warm; {:.3} s without a script\n",
        without.cpu.as_secs_f64()
    ));
    report.line("| script | \u{b5}s a packet | at most | |\n|---|---|---|---|");
    for ((name, most), with) in SCRIPTS.iter().zip(with) {
        let more = with.cpu.as_secs_f64() - without.cpu.as_secs_f64();
        report.verdict(name, more / packets * 1e6, *most);
    }
    let touched = touched::least(kept as usize, ROUNDS)?;
    let more = least(&unready).cpu.saturating_sub(without.cpu);
    report.line(&format!(
        "\n`{KEEP}` keeps {} MB, in memory that was made ready just before. Where it was not, a packet takes {:.2} \u{b5}s. To touch that many fresh bytes takes a program that does nothing else {:.2} \u{b5}s a packet in small pages, and {:.2} in huge ones.",
        kept / 1_000_000,
        more.as_secs_f64() / packets * 1e6,
        touched.small.as_secs_f64() / packets * 1e6,
        touched.huge.as_secs_f64() / packets * 1e6,
    ));
    Ok(())
}

/// Packets of the recording, from the summary of a run.
fn packets(command: &mut Command) -> Result<f64> {
    let said = shell::text(command.args(["--format", "json"]))?;
    let summary: serde_json::Value =
        serde_json::from_str(said.lines().last().context("no summary")?)?;
    summary["capture"]["matched"]
        .as_f64()
        .context("no count of packets")
}
