//! `cargo xtask ebpf`: builds the programs for the kernel and keeps the object that tcpkit embeds.
//!
//! The object is committed, so that building tcpkit needs stable Rust only. Beside it stands a [`record`]
//! of what it was built from and with; `--check` builds again and refuses an object that is not that.

mod object;
mod record;
mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;
use record::Record;
use toolchain::Toolchain;

/// What to do.
#[derive(clap::Args)]
pub struct Options {
    /// Refuse an object that the sources do not make, instead of replacing it
    #[arg(long)]
    check: bool,
}

/// Builds the object, and keeps it or compares it.
///
/// # Errors
/// When there is no toolchain and none can be installed, the build fails, or the check does.
pub fn main(options: &Options) -> Result<()> {
    let kept = Record::read(&record_path());
    let toolchain = Toolchain::find(kept.as_ref().ok().map(|record| record.compiler.as_str()))?;
    let object = build(&toolchain)?;
    let record = Record::new(&toolchain, &object)?;
    if options.check {
        return check(&kept?, &record, &object);
    }
    write(&object_path(), &object)?;
    write(&record_path(), record.to_string().as_bytes())?;
    eprintln!("wrote {} ({} bytes)", object_path().display(), object.len());
    Ok(())
}

/// As `cargo xtask ebpf --check`.
///
/// # Errors
/// As [`main`].
pub fn check_committed() -> Result<()> {
    main(&Options { check: true })
}

/// Refuses an object whose sources differ, or that the recorded compiler makes differently.
fn check(kept: &Record, built: &Record, object: &[u8]) -> Result<()> {
    let again = "build it again with `cargo xtask ebpf`";
    if kept.sources != built.sources {
        bail!("the kernel sources have changed since the object was built; {again}");
    }
    let committed = std::fs::read(object_path())?;
    if kept.object != record::digest(&committed) {
        bail!("the object is not the one that was recorded; {again}");
    }
    if kept.compiler != built.compiler || kept.linker != built.linker {
        eprintln!(
            "built with {} and {}; bytes are not compared with those of {} and {}",
            built.compiler, built.linker, kept.compiler, kept.linker
        );
        return Ok(());
    }
    if committed != object {
        bail!("the recorded compiler makes another object of these sources; {again}");
    }
    eprintln!("the object is what its sources make, byte for byte");
    Ok(())
}

/// The finished object.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = shell::target().join("ebpf");
    let mut cargo = shell::cargo(&[
        "build",
        "--locked",
        "--release",
        "-Zbuild-std=core",
        "--target",
        TARGET,
    ]);
    cargo
        .current_dir(sources())
        .env("RUSTC", &toolchain.compiler)
        // Debian's compiler is a stable one; the standard library for this target is built here.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", toolchain.flags().join("\x1f"))
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER");
    shell::run(&mut cargo)?;
    let linked = target.join(TARGET).join("release/tcpkit");
    let bytes = std::fs::read(&linked).with_context(|| format!("{}", linked.display()))?;
    object::without_debug_info(&bytes)
}

const TARGET: &str = "bpfel-unknown-none";

/// The kernel half, a workspace of its own.
fn sources() -> PathBuf {
    shell::root().join("tcpkit-ebpf")
}

fn object_path() -> PathBuf {
    shell::root().join("tcpkit/ebpf/tcpkit.bpf.o")
}

fn record_path() -> PathBuf {
    shell::root().join("tcpkit/ebpf/tcpkit.bpf.record")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("{}", path.display()))
}
