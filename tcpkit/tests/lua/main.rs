//! Scripts, run by the built program over recordings: what they are told, what they may, what they cannot do.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod bit32;
mod docs;
mod fields;
mod frames;
mod order;
mod reload;
mod safety;
mod scripts;
mod start;
mod taught;

use std::path::Path;

use support::cases::Case;
use support::scratch::Scratch;
use support::tcpkit;

/// What a run has said.
struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// Runs a script over a recording.
fn run_file(script: &Path, input: &Path, args: &[&str]) -> Run {
    let mut command = tcpkit();
    command
        .arg("-S")
        .arg(script)
        .arg("-r")
        .arg(input)
        .args(args);
    let output = command.output().unwrap();
    Run {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// Runs the text of a script over a recording.
fn run(script: &str, input: &Path, args: &[&str]) -> Run {
    let scratch = Scratch::new("lua");
    run_file(&scratch.file("script.lua", script), input, args)
}

/// Runs the text of a script over a golden case's recording.
fn over(script: &str, case: &str, args: &[&str]) -> Run {
    run(script, &Case::named(case).input(), args)
}

/// What the text of a script prints.
fn printed(script: &str, case: &str) -> String {
    let run = over(script, case, &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stderr, "");
    run.stdout
}
