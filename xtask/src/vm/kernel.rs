//! Kernels of Debian's releases: packages that are fetched and unpacked, not installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::Archive;
use crate::shell;

/// Where kernels that are not of this machine's release come from.
const SOURCES: &str = "\
Types: deb
URIs: http://deb.debian.org/debian
Suites: bullseye bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

/// An unpacked kernel.
pub struct Kernel {
    /// `6.1`.
    pub version: String,
    /// Where it is, and what is made for it.
    pub folder: PathBuf,
}

impl Kernel {
    /// Fetches and unpacks it where it is not there yet.
    ///
    /// # Errors
    /// When no package of it can be had.
    pub fn find(version: &str) -> Result<Self> {
        let folder = shell::target().join("vm").join(version);
        if !folder.join("boot").is_dir() {
            fs::create_dir_all(&folder)?;
            let package = download(version, &folder)
                .with_context(|| format!("Linux {version} cannot be had from Debian"))?;
            shell::run(shell::program("dpkg").arg("-x").args([&package, &folder]))?;
        }
        let version = version.to_owned();
        Ok(Self { version, folder })
    }

    /// The kernel itself.
    ///
    /// # Errors
    /// When the package had none.
    pub fn image(&self) -> Result<PathBuf> {
        shell::entry(&self.folder.join("boot"), "vmlinuz", "")
    }

    /// The folder of its modules, named after its release.
    ///
    /// # Errors
    /// When the package had none.
    pub fn modules(&self) -> Result<PathBuf> {
        shell::entry(&self.folder.join("lib/modules"), "", "")
    }
}

/// The newest package of a kernel line.
fn download(version: &str, folder: &Path) -> Result<PathBuf> {
    // One for all kernels: fetched once, then only looked at again.
    let archive = Archive::fetch(&shell::target().join("vm"), SOURCES)?;
    let pattern = format!(
        "^linux-image-{}.*-cloud-amd64-unsigned$",
        version.replace('.', r"\.")
    );
    let mut search = archive.command("apt-cache");
    let found = shell::text(search.args(["search", "--names-only", &pattern]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    // The first that can still be fetched: an archive forgets the files of older security updates.
    for name in names {
        let mut fetch = archive.command("apt-get");
        fetch.args(["download", name]).current_dir(folder);
        if shell::run(&mut fetch).is_ok() {
            return shell::entry(folder, "linux-image", ".deb");
        }
    }
    bail!("no package matches {pattern}")
}
