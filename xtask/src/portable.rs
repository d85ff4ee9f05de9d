//! `cargo xtask portable`: the library and the program type-check for macOS, with what only Linux has left out.
//!
//! No system library and no C compiler of that system is needed: nothing is linked, and C sources are passed over by a
//! compiler that only pretends. The standard library is checked from its source, so that source has to be here:
//! rustup's (`rustup component add rust-src`) or a distribution's; Debian's is installed (`rustc-web` and `rust-web-src`).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{packages, shell};

const TARGET: &str = "x86_64-apple-darwin";

/// Makes the file that `-o` names, empty.
const COMPILER: &str =
    "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n  [ \"$1\" = -o ] && : > \"$2\"\n  shift\ndone\n";

/// Checks the program for the other system.
///
/// # Errors
/// When it does not build there, or no source of the standard library is here.
pub fn main() -> Result<()> {
    let folder = shell::target().join("portable");
    std::fs::create_dir_all(&folder)?;
    let compiler = compiler(&folder)?;
    let folder = folder.to_string_lossy().into_owned();
    let mut check = shell::cargo(&[
        "check",
        "--locked",
        "--package",
        "tcpkit",
        "--no-default-features",
        "--target",
        TARGET,
        "--target-dir",
        &folder,
        "-Zbuild-std=std,panic_unwind",
    ]);
    check
        .env("RUSTC", rustc()?)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CC_x86_64_apple_darwin", &compiler)
        .env("AR_x86_64_apple_darwin", &compiler)
        .env("SDKROOT", "/")
        // Not asked of a library that is not here.
        .env("LIBPCAP_VER", "1.10.0");
    shell::run(&mut check)
}

fn compiler(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("cc");
    std::fs::write(&path, COMPILER)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    Ok(path)
}

/// A compiler that has the source of its standard library beside it: cargo's own, or the system's, which is installed where
/// neither is here.
fn rustc() -> Result<PathBuf> {
    if let Some(rustc) = with_source() {
        return Ok(rustc);
    }
    const WANTED: &str = "no source of the standard library: `rustup component add rust-src`, or on Debian \
                          `apt-get install rustc-web rust-web-src`";
    packages::install_newest(packages::EBPF_COMPILER).context(WANTED)?;
    with_source().context(WANTED)
}

fn with_source() -> Option<PathBuf> {
    for rustc in [PathBuf::from("rustc"), PathBuf::from("/usr/bin/rustc")] {
        let sysroot = shell::command(&rustc.to_string_lossy(), &["--print", "sysroot"]).output();
        let Ok(sysroot) = sysroot else { continue };
        let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
        let source = "lib/rustlib/src/rust/library/std/Cargo.toml";
        if Path::new(&sysroot).join(source).is_file() {
            return Some(rustc);
        }
    }
    None
}
