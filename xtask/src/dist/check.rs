//! Whether what was made is what it should be: runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{bless, shell};

/// Paths that a package must hold.
const CONTENTS: &[&str] = &[
    "./etc/default/tcpkit",
    "./etc/logrotate.d/tcpkit",
    "./usr/bin/tcpkit",
    "./usr/lib/systemd/system/tcpkit.service",
    "./usr/share/bash-completion/completions/tcpkit",
    "./usr/share/doc/tcpkit/copyright",
    "./usr/share/doc/tcpkit/third-party-licences.gz",
    "./usr/share/man/man1/tcpkit.1.gz",
    "./usr/share/tcpkit/scripts/hot-keys.lua",
];

/// Checks the program: it needs no library, holds the kernel's programs, and does what the tests expect.
///
/// # Errors
/// When it does not.
pub fn program(program: &Path) -> Result<()> {
    is_static(program)?;
    embeds(program)?;
    let says = shell::text(Command::new(program).arg("--version"))?;
    ensure!(
        says == concat!("tcpkit ", env!("CARGO_PKG_VERSION")),
        "--version says {says}"
    );
    let cases = bless::cases()?;
    for case in &cases {
        let expected = fs::read(case.join("expected.txt"))?;
        let said = shell::output(&mut bless::text_run(program, case)?)?;
        ensure!(said == expected, "{}: another report", case.display());
    }
    eprintln!("the static binary passes {} golden cases", cases.len());
    script(program)?;
    shell::run(Command::new(program).args(["doctor", "-i", "lo"]))
}

/// Checks the package: what is in it, and that the program in it runs where nothing else is.
///
/// # Errors
/// When it does not.
pub fn package(package: &Path) -> Result<()> {
    let dpkg = |verb: &str| shell::text(shell::program("dpkg-deb").arg(verb).arg(package));
    eprintln!("{}", dpkg("--info")?);
    let contents = dpkg("--contents")?;
    for path in CONTENTS {
        let has = contents.lines().any(|line| line.ends_with(path));
        ensure!(has, "{}: no {path} in it", package.display());
    }
    let unpacked = super::folder().join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    shell::run(
        shell::program("dpkg-deb")
            .arg("-x")
            .args([package, &unpacked]),
    )?;
    alone(&unpacked)
}

/// Runs the program in a root of its own that has no library, no shell and no system's files. That takes the
/// right to make one; a user may, in a namespace, where the host lets them.
fn alone(root: &Path) -> Result<()> {
    let demo = shell::root().join("demo/redis.pcap");
    fs::copy(&demo, root.join("demo.pcap"))?;
    let program = root.join("usr/bin/tcpkit");
    let args = [
        "-S",
        "/usr/share/tcpkit/scripts/hot-keys.lua",
        "-m",
        "redis",
    ];
    let mut inside = shell::program("unshare");
    inside.arg("--map-root-user").arg("--root").arg(root);
    inside
        .args(["/usr/bin/tcpkit", "-r", "/demo.pcap"])
        .args(args);
    let inside = shell::output(inside.env("TZ", "UTC"))?;
    let script = root.join("usr/share/tcpkit/scripts/hot-keys.lua");
    let mut outside = Command::new(program);
    outside.arg("-r").arg(demo).arg("-S").arg(script);
    let outside = shell::output(outside.args(["-m", "redis"]).env("TZ", "UTC"))?;
    ensure!(inside == outside, "another report in a root of its own");
    eprintln!("the packaged binary runs in an empty root");
    Ok(())
}

/// `ldd` fails on a program that is not dynamic, and says `statically linked` of one that moves itself.
fn is_static(program: &Path) -> Result<()> {
    let output = shell::program("ldd").arg(program).output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && said != "statically linked" {
        bail!("{} needs libraries:\n{said}", program.display());
    }
    Ok(())
}

/// The committed object is in it, byte for byte.
fn embeds(program: &Path) -> Result<()> {
    let object = shell::root().join("tcpkit/ebpf/tcpkit.bpf.o");
    let object = fs::read(&object).with_context(|| format!("{}", object.display()))?;
    let program = fs::read(program)?;
    ensure!(
        memchr::memmem::find(&program, &object).is_some(),
        "the programs for the kernel are not in the binary"
    );
    Ok(())
}

/// LuaJIT is in it, and works.
fn script(program: &Path) -> Result<()> {
    let root = shell::root();
    let mut run = Command::new(program);
    run.arg("-r").arg(root.join("demo/redis.pcap"));
    run.arg("-S").arg(root.join("scripts/hot-keys.lua"));
    let said = shell::text(&mut run)?;
    ensure!(said.contains("cart:1000"), "a script says {said}");
    Ok(())
}
