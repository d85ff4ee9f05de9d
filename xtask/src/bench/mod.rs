//! `cargo xtask bench`: speed as ratios to tcpdump in the same run, memory, what statistics and live capture cost.
//!
//! The recordings are made here, from redis-server and redis-benchmark on loopback, and kept under
//! `target/bench`. What comes out is printed and kept in `benches/results`, with date and machine.

mod kernel;
mod live;
mod lua;
mod machine;
mod recordings;
mod speed;
mod stats;
mod time;
mod touched;

use std::fmt::Write as _;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::{packages, shell};

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Parts to measure; all without any
    parts: Vec<Part>,
    /// Smaller recordings and no verdict: to see that it works
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Speed,
    Lua,
    Memory,
    /// What a frame costs in the kernel; needs root
    Kernel,
    /// What watching costs a redis-server; needs root
    Live,
    Stats,
}

/// Measures, prints and keeps the results.
///
/// # Errors
/// When something cannot be run, commands were not paired, or a target is missed (not with `--quick`).
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::BUILD)?;
    packages::install(packages::TEST)?;
    shell::run(&mut shell::cargo(&[
        "build",
        "--release",
        "--package",
        "tcpkit",
    ]))?;
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut report = Report::new()?;
    if wanted(Part::Speed) {
        speed::measure(&mut report, options.quick)?;
    }
    if wanted(Part::Lua) {
        lua::measure(&mut report, options.quick)?;
    }
    if wanted(Part::Stats) {
        stats::measure(&mut report, options.quick)?;
    }
    if wanted(Part::Memory) {
        memory(&mut report)?;
    }
    if wanted(Part::Kernel) {
        kernel::measure(&mut report, options.quick)?;
    }
    if wanted(Part::Live) {
        live::measure(&mut report, options.quick)?;
    }
    eprintln!("\n{}", report.text);
    if options.quick {
        return Ok(());
    }
    report.keep(&options.parts)?;
    if report.missed > 0 {
        bail!("{} targets were missed", report.missed);
    }
    Ok(())
}

/// What was measured, as Markdown.
struct Report {
    text: String,
    missed: usize,
}

impl Report {
    fn new() -> Result<Self> {
        Ok(Self {
            text: machine::describe()?,
            missed: 0,
        })
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    /// A measured number beside the most that it may be.
    fn verdict(&mut self, name: &str, measured: f64, target: f64) {
        let met = measured <= target;
        self.missed += usize::from(!met);
        let word = if met { "met" } else { "MISSED" };
        self.line(&format!(
            "| {name} | {measured:.2} | {target:.2} | {word} |"
        ));
    }

    /// A file a day and machine; parts that were asked for have one of their own.
    fn keep(&self, parts: &[Part]) -> Result<()> {
        let folder = shell::root().join("benches/results");
        std::fs::create_dir_all(&folder)?;
        let names: Vec<_> = parts
            .iter()
            .filter_map(|part| part.to_possible_value())
            .map(|part| format!("-{}", part.get_name()))
            .collect();
        let name = machine::file_name()?.replace(".md", &format!("{}.md", names.concat()));
        let file = folder.join(name);
        std::fs::write(&file, &self.text)?;
        eprintln!("kept in {}", file.display());
        Ok(())
    }
}

/// The memory test measures; here it runs on the release build, and its line is kept.
fn memory(report: &mut Report) -> Result<()> {
    let args = [
        "test",
        "--release",
        "--package",
        "tcpkit",
        "--test",
        "memory",
        "--",
        "--nocapture",
    ];
    let said = shell::text(&mut shell::cargo(&args))?;
    report.line("\n## Memory\n");
    for line in said.lines().filter(|line| line.contains("MiB")) {
        report.line(&format!("- {line}"));
    }
    Ok(())
}
