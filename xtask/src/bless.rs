//! `cargo xtask bless`: rewrites what the golden cases expect. Read the diff before committing it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Runs every case and keeps its output.
///
/// # Errors
/// When tcpkit does not build, a case cannot be read, or tcpkit fails on it.
pub fn main() -> Result<()> {
    shell::run(&mut shell::cargo(&["build", "--package", "tcpkit"]))?;
    let program = shell::target().join("debug/tcpkit");
    for case in cases()? {
        let expected = case.join("expected.txt");
        let new = shell::output(&mut text_run(&program, &case)?)?;
        if std::fs::read(&expected).is_ok_and(|old| old == new) {
            continue;
        }
        std::fs::write(&expected, new)?;
        eprintln!("rewrote {}", expected.display());
    }
    Ok(())
}

/// The golden cases, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn cases() -> Result<Vec<PathBuf>> {
    let folder = shell::root().join("tcpkit/tests/cases");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.join("input.pcap").is_file() {
            cases.push(path);
        }
    }
    cases.sort();
    Ok(cases)
}

/// tcpkit on one case, as the golden test runs it.
///
/// # Errors
/// When the case cannot be read.
pub fn text_run(program: &Path, case: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command
        .current_dir(case)
        .env("TZ", "UTC")
        .args(["-r", "input.pcap"]);
    command
        .args(words(&case.join("args"))?)
        .args(words(&case.join("args.text"))?);
    Ok(command)
}

/// The words of a file of arguments; none where there is no such file.
fn words(file: &Path) -> Result<Vec<String>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
