//! `cargo xtask test`: from a fresh clone to all tests passed.

use std::ffi::OsString;

use anyhow::Result;

use crate::{packages, shell};

/// What to test.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Arguments for `cargo test`, after those that select the whole workspace
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Installs what is missing and runs the tests.
///
/// # Errors
/// When installing fails or a test does.
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::BUILD)?;
    packages::install(packages::TEST)?;
    python()?;
    shell::run(shell::cargo(&["test", "--workspace", "--locked"]).args(&options.args))
}

/// OpenTelemetry's own messages for Python, beside the build: the receiver that pushes are tested with stands on them.
fn python() -> Result<()> {
    let folder = shell::target().join("python");
    let program = folder.join("bin/python");
    let works = shell::command(
        &program.to_string_lossy(),
        &["-c", "import opentelemetry.proto"],
    )
    .output()
    .is_ok_and(|output| output.status.success());
    if works {
        return Ok(());
    }
    let folder = folder.to_string_lossy().into_owned();
    shell::run(&mut shell::command("python3", &["-m", "venv", &folder]))?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "opentelemetry-proto==1.45.2",
    ];
    shell::run(&mut shell::command(&program.to_string_lossy(), &install))
}
