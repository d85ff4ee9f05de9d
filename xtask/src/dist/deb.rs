//! The Debian package: a tree of files, packed by dpkg-deb.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::libpcap::Libpcap;
use super::licences;
use crate::shell;

/// Files of the project that go into the package as they are, and where.
const FILES: &[(&str, &str)] = &[
    (
        "dist/tcpkit.service",
        "usr/lib/systemd/system/tcpkit.service",
    ),
    ("dist/tcpkit.default", "etc/default/tcpkit"),
    ("dist/tcpkit.logrotate", "etc/logrotate.d/tcpkit"),
    ("dist/copyright", "usr/share/doc/tcpkit/copyright"),
    ("README.md", "usr/share/doc/tcpkit/README.md"),
    ("docs", "usr/share/doc/tcpkit/docs"),
    ("scripts", "usr/share/tcpkit/scripts"),
];

/// Files that the program itself makes: its arguments, and where.
const MADE: &[(&[&str], &str)] = &[
    (&["man"], "usr/share/man/man1/tcpkit.1"),
    (
        &["completions", "bash"],
        "usr/share/bash-completion/completions/tcpkit",
    ),
    (
        &["completions", "zsh"],
        "usr/share/zsh/vendor-completions/_tcpkit",
    ),
    (
        &["completions", "fish"],
        "usr/share/fish/vendor_completions.d/tcpkit.fish",
    ),
];

/// What the package manager asks and does.
const CONTROL: &[&str] = &["conffiles", "postinst", "prerm", "postrm"];

/// Makes the package.
///
/// # Errors
/// When a file is missing, or dpkg-deb fails.
pub fn make(program: &Path, libpcap: &Libpcap) -> Result<PathBuf> {
    let root = tree();
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fill(&root, program, libpcap)?;
    let version = env!("CARGO_PKG_VERSION");
    let architecture = shell::text(shell::program("dpkg").arg("--print-architecture"))?;
    control(&root, version, &architecture)?;
    let package = super::folder().join(format!("tcpkit_{version}_{architecture}.deb"));
    let mut build = shell::program("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]);
    build.env("SOURCE_DATE_EPOCH", commit_time());
    shell::run(build.args([&root, &package]))?;
    // What remains is the container image's tree.
    fs::remove_dir_all(root.join("DEBIAN"))?;
    Ok(package)
}

/// The files of the package, and of the container image.
pub fn tree() -> PathBuf {
    super::folder().join("root")
}

fn fill(root: &Path, program: &Path, libpcap: &Libpcap) -> Result<()> {
    copy(program, &root.join("usr/bin/tcpkit"))?;
    for (from, to) in FILES {
        copy(&shell::root().join(from), &root.join(to))?;
    }
    for (args, to) in MADE {
        let made = shell::output(Command::new(program).args(*args))?;
        write(&root.join(to), &made)?;
    }
    let documents = root.join("usr/share/doc/tcpkit");
    let others = licences::text(libpcap, &super::target()?)?;
    write(&documents.join("third-party-licences"), others.as_bytes())?;
    let changes = fs::read(shell::root().join("CHANGELOG.md"))?;
    write(&documents.join("changelog"), &changes)?;
    for file in [
        "usr/share/man/man1/tcpkit.1",
        "usr/share/doc/tcpkit/third-party-licences",
        "usr/share/doc/tcpkit/changelog",
    ] {
        shell::run(shell::program("gzip").args(["-9n"]).arg(root.join(file)))?;
    }
    modes(root)
}

/// What dpkg-deb reads.
fn control(root: &Path, version: &str, architecture: &str) -> Result<()> {
    let folder = root.join("DEBIAN");
    let text = fs::read_to_string(shell::root().join("dist/debian/control"))?;
    let kilobytes = shell::text(
        shell::program("du")
            .args(["-sk", "--apparent-size"])
            .arg(root),
    )?;
    let kilobytes = kilobytes.split_whitespace().next().unwrap_or("0");
    let text = text
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@KILOBYTES@", kilobytes);
    write(&folder.join("control"), text.as_bytes())?;
    for file in CONTROL {
        let to = folder.join(file);
        copy(&shell::root().join("dist/debian").join(file), &to)?;
        let mode = if *file == "conffiles" { 0o644 } else { 0o755 };
        fs::set_permissions(&to, PermissionsExt::from_mode(mode))?;
    }
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// As packages have them, whatever the umask is here: the program may be run, everything may be read.
fn modes(root: &Path) -> Result<()> {
    shell::run(
        shell::program("chmod")
            .args(["-R", "u=rwX,go=rX"])
            .arg(root),
    )?;
    let program = root.join("usr/bin/tcpkit");
    fs::set_permissions(program, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// The time of the last commit, so that the same sources make the same package.
fn commit_time() -> String {
    let args = ["log", "-1", "--format=%ct"];
    shell::text(&mut shell::command("git", &args)).unwrap_or_else(|_| "0".to_owned())
}

/// Copies a file, or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    shell::output(shell::program("cp").arg("-rT").args([from, to]))?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(path, bytes).with_context(|| format!("{}", path.display()))
}
