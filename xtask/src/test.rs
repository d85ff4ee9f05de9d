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

/// What the tests ask of Python, in the versions that they were written with.
const PYTHON_PACKAGES: [&str; 4] = [
    "opentelemetry-proto==1.45.2",
    "prometheus-client==0.26.0",
    "rotel==0.0.1a15",
    "PyYAML==6.0.2",
];

/// An environment beside the build with OpenTelemetry's own messages, on which the receiver of pushes stands, a collector,
/// Prometheus' own parser of OpenMetrics, and one of YAML. Not the system's packages: the `python3` of the path may be another one.
fn python() -> Result<()> {
    let folder = shell::target().join("python");
    let program = folder.join("bin/python");
    let program = program.to_string_lossy();
    let imports = "import opentelemetry.proto, prometheus_client.openmetrics.parser, rotel, yaml";
    if shell::output(&mut shell::command(&program, &["-c", imports])).is_ok() {
        return Ok(());
    }
    let folder = folder.to_string_lossy();
    shell::run(&mut shell::command("python3", &["-m", "venv", &folder]))?;
    let install = ["-m", "pip", "install", "--quiet"];
    shell::run(shell::command(&program, &install).args(PYTHON_PACKAGES))
}
