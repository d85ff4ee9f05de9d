//! `cargo xtask run -- ARGS…`: from a fresh clone to a running tcpkit.

use std::ffi::OsString;

use anyhow::Result;

use crate::{packages, shell};

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Arguments for tcpkit
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Installs what is missing, builds, and ends as tcpkit does.
///
/// # Errors
/// When installing or building fails, or tcpkit cannot be started.
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::BUILD)?;
    shell::run(&mut shell::cargo(&[
        "build",
        "--release",
        "--package",
        "tcpkit",
    ]))?;
    let program = shell::target().join("release/tcpkit");
    // In the user's own directory, so that relative file names mean what they say.
    let status = std::process::Command::new(program)
        .args(&options.args)
        .status()?;
    std::process::exit(status.code().unwrap_or(1))
}
