//! libpcap as a static library that needs nothing but the C library.
//!
//! Fetches its source from Debian, makes `libpcap.a`. Debian's own one wants D-Bus, and with it systemd, and
//! libraries for hardware, to capture from what is no network interface.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::apt::Archive;
use crate::shell;

/// The built library.
pub struct Libpcap {
    /// Holds `libpcap.a`, and no other library.
    pub folder: PathBuf,
    /// `1.10.5`.
    pub version: String,
    /// Its licence.
    pub licence: String,
}

/// Where the source comes from; apt checks that Debian has signed it.
const SOURCES: &str = "\
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://deb.debian.org/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

/// What is left out: capturing from anything but network interfaces, and from other machines.
const CONFIGURE: &[&str] = &[
    "--disable-shared",
    "--disable-dbus",
    "--disable-bluetooth",
    "--disable-rdma",
    "--disable-usb",
    "--disable-netmap",
    "--disable-remote",
    "--without-libnl",
    "--without-dag",
    "--without-snf",
    "--without-turbocap",
];

/// Builds it where it is not there yet. Removing `target/dist/libpcap` fetches it anew.
///
/// # Errors
/// When the source cannot be had, or does not build.
pub fn build() -> Result<Libpcap> {
    let folder = super::folder().join("libpcap");
    let library = folder.join("lib");
    if !library.join("libpcap.a").is_file() {
        let source = source(&folder)?;
        compile(&source)?;
        fs::create_dir_all(&library)?;
        for file in ["VERSION", "LICENSE", "libpcap.a"] {
            fs::copy(source.join(file), library.join(file)).with_context(|| file.to_owned())?;
        }
    }
    Ok(Libpcap {
        version: fs::read_to_string(library.join("VERSION"))?
            .trim()
            .to_owned(),
        licence: fs::read_to_string(library.join("LICENSE"))?,
        folder: library,
    })
}

/// Fetches and unpacks the source.
fn source(folder: &std::path::Path) -> Result<PathBuf> {
    let archive = Archive::fetch(folder, SOURCES)?;
    let unpacked = folder.join("source");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    shell::run(
        archive
            .command("apt-get")
            .args(["source", "--download-only", "libpcap"]),
    )?;
    let description = shell::entry(folder, "libpcap_", ".dsc")?;
    shell::run(
        shell::program("dpkg-source")
            .args(["--extract"])
            .args([description, unpacked.clone()]),
    )?;
    Ok(unpacked)
}

fn compile(source: &std::path::Path) -> Result<()> {
    let flags = format!(
        "-O2 -g -fPIC -ffile-prefix-map={}=libpcap",
        source.display()
    );
    let mut configure = shell::command("./configure", CONFIGURE);
    shell::run(configure.current_dir(source).env("CFLAGS", flags))?;
    shell::run(shell::command("make", &["libpcap.a"]).current_dir(source))
}
