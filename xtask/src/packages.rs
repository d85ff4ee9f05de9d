//! Installs the system packages that building and testing need, and says so.
//!
//! What is there already is left alone: a need is looked for first by what it gives, a library
//! or a program, never by its package.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Something the machine must have.
pub struct Need {
    what: &'static str,
    probe: Probe,
    /// Package names in the order of [`MANAGERS`].
    packages: [&'static str; MANAGERS.len()],
}

/// How to see whether it is there.
enum Probe {
    Program(&'static str),
    Library(&'static str),
    File(&'static str),
    Module(&'static str),
}

/// A platform's package manager.
struct Manager {
    name: &'static str,
    install: &'static [&'static str],
    /// Refreshes the list of packages, where installing does not do that itself.
    refresh: &'static [&'static str],
    /// Packages are installed by the system's administrator.
    root: bool,
}

const MANAGERS: [Manager; 6] = [
    Manager {
        name: "apt-get",
        // A machine that has just started may be installing updates of its own: that is waited for.
        install: &[
            "install",
            "--yes",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=300",
        ],
        refresh: &["update"],
        root: true,
    },
    Manager {
        name: "dnf",
        install: &["install", "--assumeyes"],
        refresh: &[],
        root: true,
    },
    Manager {
        name: "apk",
        install: &["add"],
        refresh: &["update"],
        root: true,
    },
    Manager {
        name: "pacman",
        install: &["-S", "--needed", "--noconfirm"],
        refresh: &["-Sy"],
        root: true,
    },
    Manager {
        name: "zypper",
        install: &["--non-interactive", "install"],
        refresh: &["--non-interactive", "refresh"],
        root: true,
    },
    Manager {
        name: "brew",
        install: &["install"],
        refresh: &["update"],
        root: false,
    },
];

/// What building needs, besides Rust and a C compiler.
pub const BUILD: &[Need] = &[
    Need {
        what: "libpcap with its headers",
        probe: Probe::Library("pcap"),
        packages: [
            "libpcap-dev",
            "libpcap-devel",
            "libpcap-dev",
            "libpcap",
            "libpcap-devel",
            "libpcap",
        ],
    },
    // LuaJIT is built by it.
    need("make", ["make"; MANAGERS.len()]),
];

/// What fuzzing needs besides: libFuzzer is built from its source.
pub const FUZZ: &[Need] = &[need(
    "c++",
    ["g++", "gcc-c++", "g++", "gcc", "gcc-c++", "gcc"],
)];

/// What the tests need besides: independent tools to compare with, and real servers.
pub const TEST: &[Need] = &[
    need(
        "tshark",
        [
            "tshark",
            "wireshark-cli",
            "tshark",
            "wireshark-cli",
            "wireshark",
            "wireshark",
        ],
    ),
    need("tcpdump", ["tcpdump"; MANAGERS.len()]),
    need(
        "ip",
        [
            "iproute2",
            "iproute",
            "iproute2",
            "iproute2",
            "iproute2",
            "iproute2mac",
        ],
    ),
    need(
        "redis-server",
        ["redis-server", "redis", "redis", "redis", "redis", "redis"],
    ),
    need(
        "redis-benchmark",
        ["redis-tools", "redis", "redis", "redis", "redis", "redis"],
    ),
    need("memcached", ["memcached"; MANAGERS.len()]),
    need("beanstalkd", ["beanstalkd"; MANAGERS.len()]),
    need("mosquitto", ["mosquitto"; MANAGERS.len()]),
    need(
        "nginx",
        ["nginx-light", "nginx", "nginx", "nginx", "nginx", "nginx"],
    ),
    need(
        "promtool",
        [
            "prometheus",
            "golang-github-prometheus",
            "prometheus",
            "prometheus",
            "golang-github-prometheus-prometheus",
            "prometheus",
        ],
    ),
    // The terminal view is looked at in it, the page in the next one.
    need("tmux", ["tmux"; MANAGERS.len()]),
    need("chromium", ["chromium"; MANAGERS.len()]),
    Need {
        what: "Python's virtual environments",
        probe: Probe::Module("ensurepip"),
        packages: [
            "python3-venv",
            "python3",
            "python3",
            "python",
            "python3",
            "python",
        ],
    },
    need(
        "dnsmasq",
        [
            "dnsmasq-base",
            "dnsmasq",
            "dnsmasq",
            "dnsmasq",
            "dnsmasq",
            "dnsmasq",
        ],
    ),
    need(
        "dig",
        [
            "bind9-dnsutils",
            "bind-utils",
            "bind-tools",
            "bind",
            "bind-utils",
            "bind",
        ],
    ),
];

/// A compiler with the source of the standard library. Debian's packages of that name are of the same version, and
/// newer than its others; elsewhere, or beside them, rustup's nightly does.
pub const EBPF_COMPILER: &[Need] = &[
    debian_file("rustc with a new LLVM", "/usr/bin/rustc", "rustc-web"),
    debian_file(
        "the source of its standard library",
        "/usr/lib/rustlib/src/rust/library/core",
        "rust-web-src",
    ),
];

/// What bpf-linker is built against.
pub const LLVM_22: &[Need] = &[
    debian_file("LLVM 22", "/usr/lib/llvm-22/bin/llvm-config", "llvm-22-dev"),
    debian_file(
        "Polly of LLVM 22",
        "/usr/lib/llvm-22/lib/libPolly.a",
        "libpolly-22-dev",
    ),
    debian_file(
        "zstd with its headers",
        "/usr/include/zstd.h",
        "libzstd-dev",
    ),
];

/// What the static binary and the package of it are made with.
pub const DIST: &[Need] = &[
    debian_file("flex", "/usr/bin/flex", "flex"),
    debian_file("bison", "/usr/bin/bison", "bison"),
    debian_file("dpkg-source", "/usr/bin/dpkg-source", "dpkg-dev"),
    debian_file("objcopy", "/usr/bin/objcopy", "binutils"),
    debian_file(
        "the keys of Debian's archive",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
];

/// What the virtual machines with other kernels need.
pub const VM: &[Need] = &[
    debian_file("QEMU", "/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    debian_file("a static busybox", "/usr/bin/busybox", "busybox-static"),
    debian_file("cpio", "/usr/bin/cpio", "cpio"),
    debian_file("depmod", "/usr/sbin/depmod", "kmod"),
    debian_file("unxz", "/usr/bin/unxz", "xz-utils"),
    debian_file("ip", "/usr/sbin/ip", "iproute2"),
];

/// Installs those of `needs` that are missing.
///
/// # Errors
/// When there is no known package manager, or it fails; both name what to install by hand.
pub fn install(needs: &[Need]) -> Result<()> {
    install_after(needs, false)
}

/// As [`install`], of packages whose version counts: an old list has old ones, so it is refreshed first.
///
/// # Errors
/// As of [`install`].
pub fn install_newest(needs: &[Need]) -> Result<()> {
    install_after(needs, true)
}

fn install_after(needs: &[Need], refresh: bool) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing
        .iter()
        .map(|need| need.what)
        .collect::<Vec<_>>()
        .join(", ");
    let Some((index, manager)) = manager() else {
        bail!("missing: {what}; no known package manager is here, install them by hand");
    };
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|need| need.packages.get(index).copied())
        .collect();
    eprintln!(
        "missing: {what}; installing {} with {}",
        packages.join(", "),
        manager.name
    );
    eprintln!("(servers among them may be started by their packages where an init system runs)");
    if refresh {
        manager.refresh()?;
    }
    install_packages(manager, &packages)?;
    check(needs)
}

fn install_packages(manager: &Manager, packages: &[&str]) -> Result<()> {
    let install = || shell::run(&mut manager.command(manager.install, packages));
    // The list of packages may be older than the packages, or was never fetched.
    if install().is_ok() {
        return Ok(());
    }
    manager.refresh()?;
    install().with_context(|| format!("install {} by hand", packages.join(" ")))
}

fn check(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !need.is_met())
        .map(|need| need.what)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("still missing after installing: {}", missing.join(", "))
}

impl Need {
    fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => shell::find(name).is_some(),
            Probe::Library(name) => links(name),
            Probe::File(path) => Path::new(path).exists(),
            Probe::Module(name) => imports(name),
        }
    }
}

impl Manager {
    fn refresh(&self) -> Result<()> {
        if self.refresh.is_empty() {
            return Ok(());
        }
        shell::run(&mut self.command(self.refresh, &[]))
    }

    fn command(&self, verb: &[&str], packages: &[&str]) -> Command {
        let mut words: Vec<&str> = Vec::new();
        if self.root && !is_root() {
            words.push("sudo");
            // Without a terminal nobody can type a password: fail instead of waiting for it.
            words.extend((!std::io::stdin().is_terminal()).then_some("--non-interactive"));
        }
        if self.name == "apt-get" {
            words.extend(["env", "DEBIAN_FRONTEND=noninteractive"]);
        }
        words.push(self.name);
        words.extend(verb);
        words.extend(packages);
        let (program, rest) = words.split_first().unwrap_or((&self.name, &[]));
        shell::command(program, rest)
    }
}

const fn need(program: &'static str, packages: [&'static str; MANAGERS.len()]) -> Need {
    Need {
        what: program,
        probe: Probe::Program(program),
        packages,
    }
}

/// Something that is known to be in Debian, at this place.
const fn debian_file(what: &'static str, path: &'static str, package: &'static str) -> Need {
    Need {
        what,
        probe: Probe::File(path),
        packages: [package; MANAGERS.len()],
    }
}

fn manager() -> Option<(usize, &'static Manager)> {
    MANAGERS
        .iter()
        .enumerate()
        .find(|(_, manager)| shell::find(manager.name).is_some())
}

fn is_root() -> bool {
    shell::text(&mut shell::command("id", &["-u"])).is_ok_and(|id| id == "0")
}

/// Whether Python can import a module.
fn imports(module: &str) -> bool {
    let import = format!("import {module}");
    shell::text(&mut shell::command("python3", &["-c", &import])).is_ok()
}

/// Whether a C program can be linked with the library.
fn links(library: &str) -> bool {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let library = format!("-l{library}");
    let args = ["-x", "c", "-", "-x", "none", &library, "-o", "/dev/null"];
    let child = shell::command(&compiler, &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        let _ = std::io::Write::write_all(&mut stdin, b"int main(void) { return 0; }\n");
    }
    child.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_a_package_for_every_manager() {
        let all = [BUILD, TEST, EBPF_COMPILER, LLVM_22, DIST, VM];
        for need in all.into_iter().flatten() {
            assert!(
                need.packages.iter().all(|package| !package.is_empty()),
                "{}",
                need.what
            );
        }
    }

    #[test]
    fn the_c_library_links_and_an_unknown_one_does_not() {
        assert!(links("c"));
        assert!(!links("surely-no-such-library"));
    }
}
