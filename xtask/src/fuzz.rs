//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage and runs them.
//!
//! libFuzzer needs no more of the compiler than LLVM's coverage pass, which stable Rust has. What was
//! found is written to `fuzz/artifacts`; once it is mended it belongs into `fuzz/inputs`, which the tests replay.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;

use crate::{packages, shell};

/// Which targets, and for how long.
#[derive(Args)]
pub struct Options {
    /// Names of files in fuzz/fuzz_targets; all without it
    targets: Vec<String>,
    /// Time for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What cargo-fuzz asks of the compiler too, without the address sanitizer, which takes nightly.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Runs each target, from the kept inputs on.
///
/// # Errors
/// When a target does not build, or finds something.
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::BUILD)?;
    packages::install(packages::FUZZ)?;
    let folder = shell::root().join("fuzz");
    let mut targets = options.targets.clone();
    if targets.is_empty() {
        targets = names(&folder.join("fuzz_targets"))?;
    }
    let target = folder.join("target");
    let host = host()?;
    let build = ["build", "--release", "--locked", "--target", &host];
    // Naming the target keeps the flags from build scripts, which could not be linked with them.
    shell::run(
        shell::cargo(&build)
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")),
    )?;
    let programs = target.join(host).join("release");
    for name in targets {
        run(&folder, &programs, &name, options.seconds)?;
    }
    Ok(())
}

/// The compiler's own platform.
fn host() -> Result<String> {
    let said = shell::output(&mut shell::command("rustc", &["--version", "--verbose"]))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc tells no host")?.to_owned())
}

fn run(folder: &Path, programs: &Path, name: &str, seconds: u64) -> Result<()> {
    let (corpus, artifacts) = (
        folder.join("corpus").join(name),
        folder.join("artifacts").join(name),
    );
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).with_context(|| format!("{}", made.display()))?;
    }
    let inputs = folder.join("inputs").join(name);
    let program = programs.join(name);
    let mut command = shell::command(&program.to_string_lossy(), &[corpus, inputs]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"])
        .arg("-print_final_stats=1");
    shell::run(&mut command)
}

/// The targets, by name.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}
