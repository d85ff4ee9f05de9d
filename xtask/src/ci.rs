//! `cargo xtask ci`: everything that a change has to pass, in the order in which it fails fastest.

use std::path::PathBuf;

use anyhow::Result;

use crate::{dist, ebpf, packages, portable, rooms, shell, test, vm};

/// Runs every check; the first that fails ends it.
///
/// # Errors
/// When a check fails.
pub fn main() -> Result<()> {
    packages::install(packages::BUILD)?;
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))?;
    rooms::main()?;
    deny()?;
    shell::run(&mut shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]))?;
    portable::main()?;
    ebpf::check_committed()?;
    test::main(&test::Options::default())?;
    documentation()?;
    dist::main()?;
    vm::main(&vm::Options::default())
}

fn documentation() -> Result<()> {
    let args = [
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--locked",
    ];
    shell::run(shell::cargo(&args).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Licences, banned and doubled crates, and where crates come from.
fn deny() -> Result<()> {
    let program = cargo_deny()?;
    let args = ["--locked", "check", "licenses", "bans", "sources"];
    shell::run(&mut shell::command(&program.to_string_lossy(), &args))
}

/// cargo-deny, installed beside the build where the machine has none.
fn cargo_deny() -> Result<PathBuf> {
    if let Some(program) = shell::find("cargo-deny") {
        return Ok(program);
    }
    let tools = shell::target().join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        let root = tools.to_string_lossy();
        shell::run(&mut shell::cargo(&[
            "install",
            "--locked",
            "--root",
            &root,
            "cargo-deny",
        ]))?;
    }
    Ok(program)
}
