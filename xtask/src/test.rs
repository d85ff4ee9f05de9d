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
    shell::run(shell::cargo(&["test", "--workspace", "--locked"]).args(&options.args))
}
