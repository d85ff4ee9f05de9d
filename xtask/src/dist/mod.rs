//! `cargo xtask dist`: what is given to users.
//!
//! Makes a static binary, which runs on any Linux of its processor, with libpcap, LuaJIT and the programs for the
//! kernel in it; a Debian package of it; and the same tree for a container image (`dist/Containerfile`). Then it checks
//! what it made.

mod check;
mod deb;
mod libpcap;
mod licences;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{packages, shell};
use libpcap::Libpcap;

/// Makes everything, checks it, and says where it is.
///
/// # Errors
/// When something is missing and cannot be installed, does not build, or does not pass its check.
pub fn main() -> Result<()> {
    let (program, libpcap) = build()?;
    check::program(&program)?;
    let package = deb::make(&program, &libpcap)?;
    check::package(&package)?;
    let size = fs::metadata(&program)?.len() >> 10;
    eprintln!(
        "made {} ({size} KiB), {}.debug and {}",
        program.display(),
        program.display(),
        package.display()
    );
    eprintln!(
        "container image: podman build -f dist/Containerfile -t tcpkit {}",
        deb::tree().display()
    );
    Ok(())
}

/// The static binary, built where it is not up to date.
///
/// # Errors
/// As [`main`].
pub fn program() -> Result<PathBuf> {
    Ok(build()?.0)
}

/// Where everything is made.
fn folder() -> PathBuf {
    shell::target().join("dist")
}

fn build() -> Result<(PathBuf, Libpcap)> {
    packages::install(packages::BUILD)?;
    packages::install(packages::DIST)?;
    fs::create_dir_all(folder())?;
    let libpcap = libpcap::build()?;
    let built = compile(&libpcap)?;
    let program = folder().join("tcpkit");
    split(&built, &program)?;
    Ok((program, libpcap))
}

/// The program with its C library, libpcap and LuaJIT in it.
fn compile(libpcap: &Libpcap) -> Result<PathBuf> {
    let target = target()?;
    let mut cargo = shell::cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "tcpkit",
        "--target",
        &target,
    ]);
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f"))
        .env_remove("RUSTFLAGS")
        .env("LIBPCAP_LIBDIR", &libpcap.folder)
        .env("LIBPCAP_VER", &libpcap.version);
    shell::run(&mut cargo)?;
    Ok(shell::target().join(target).join("release/tcpkit"))
}

/// The C library in it, the paths of this machine not.
fn flags() -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let remapped = [
        (Some(shell::root()), "tcpkit"),
        (licences::cargo_home(), "cargo"),
    ];
    for (path, name) in remapped {
        flags.extend(path.map(|path| format!("--remap-path-prefix={}={name}", path.display())));
    }
    flags
}

/// This processor's target with the GNU C library.
fn target() -> Result<String> {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        bail!("a static binary is made on Linux with the GNU C library, such as Debian");
    }
    Ok(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
}

/// Moves what only a debugger needs into a file beside the program, which names it.
fn split(built: &std::path::Path, program: &std::path::Path) -> Result<()> {
    let debug = program.with_extension("debug");
    let objcopy = || shell::program("objcopy");
    shell::run(
        objcopy()
            .arg("--only-keep-debug")
            .args([built, debug.as_path()]),
    )?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    shell::run(
        objcopy()
            .args(["--strip-all", &link])
            .args([built, program]),
    )
}
