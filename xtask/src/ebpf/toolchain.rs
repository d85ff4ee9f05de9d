//! A compiler that can build for the kernel: one with the source of the standard library, and bpf-linker for
//! the same LLVM.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::packages::{self, Need};
use crate::shell;

/// The linker's version that is installed where there is none.
const LINKER: &str = "0.13.0";

/// What builds the object.
pub struct Toolchain {
    /// The compiler's program.
    pub compiler: PathBuf,
    /// What it says of itself: `rustc 1.96.0 (…), LLVM 22.1.8`.
    pub version: String,
    /// What the linker says of itself.
    pub linker_version: String,
    linker: PathBuf,
    sysroot: PathBuf,
}

/// A compiler that was found.
struct Compiler {
    program: PathBuf,
    version: String,
    llvm: String,
    sysroot: PathBuf,
}

impl Toolchain {
    /// Flags that do not depend on the machine.
    pub const FLAGS: [&str; 3] = [
        // The layout of the host's `pt_regs`, which no program here looks at; aya-ebpf wants to know it.
        "--cfg=bpf_target_arch=\"x86_64\"",
        // BTF is made from it.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
    ];

    /// The recorded compiler where it is here, else any that will do; installs what is missing.
    ///
    /// # Errors
    /// When none can be found or installed.
    pub fn find(recorded: Option<&str>) -> Result<Self> {
        if compilers().is_empty() {
            packages::install_newest(packages::EBPF_COMPILER)?;
        }
        let mut found = compilers();
        found.sort_by_key(|compiler| Some(compiler.version.as_str()) != recorded);
        let Some(compiler) = found.into_iter().next() else {
            bail!(
                "no compiler has the source of the standard library: install Debian's rustc-web and rust-web-src, or \
                 run `rustup toolchain install nightly --component rust-src`"
            );
        };
        let linker = linker(&compiler.llvm)?;
        let linker_version = shell::text(&mut shell::command(
            &linker.to_string_lossy(),
            &["--version"],
        ))?;
        Ok(Self {
            compiler: compiler.program,
            version: compiler.version,
            linker_version,
            linker,
            sysroot: compiler.sysroot,
        })
    }

    /// All flags. Paths of this machine are left out of the object.
    pub fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = Self::FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("-Clinker={}", self.linker.display()));
        let mut remap = |from: &Path, to: &str| {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        };
        remap(&shell::root(), "tcpkit");
        remap(&registry(), "registry");
        remap(&self.sysroot, "rust");
        flags
    }
}

/// Compilers with the source of the standard library: the system's, and rustup's nightly.
fn compilers() -> Vec<Compiler> {
    let nightly = shell::text(&mut shell::command(
        "rustup",
        &["which", "--toolchain", "nightly", "rustc"],
    ));
    [
        Some(PathBuf::from("/usr/bin/rustc")),
        nightly.ok().map(PathBuf::from),
    ]
    .into_iter()
    .flatten()
    .filter_map(|program| compiler(&program))
    .collect()
}

fn compiler(program: &Path) -> Option<Compiler> {
    let name = program.to_string_lossy();
    let sysroot = shell::text(&mut shell::command(&name, &["--print", "sysroot"])).ok()?;
    let sysroot = PathBuf::from(sysroot);
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return None;
    }
    let verbose = shell::text(&mut shell::command(&name, &["--version", "--verbose"])).ok()?;
    let llvm = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    let version = format!("{}, LLVM {llvm}", verbose.lines().next()?);
    Some(Compiler {
        program: program.to_path_buf(),
        version,
        llvm: llvm.to_owned(),
        sysroot,
    })
}

/// bpf-linker, built beside tcpkit where the machine has none: it reads what the compiler's LLVM writes, so it
/// is built against the same.
fn linker(llvm: &str) -> Result<PathBuf> {
    let tools = shell::target().join("tools");
    let program = tools.join("bin/bpf-linker");
    if program.is_file() {
        return Ok(program);
    }
    if let Some(program) = shell::find("bpf-linker") {
        return Ok(program);
    }
    let major = llvm.split('.').next().unwrap_or(llvm);
    packages::install(llvm_needs(major)?)?;
    let (feature, root) = (
        format!("llvm-{major}"),
        tools.to_string_lossy().into_owned(),
    );
    let args = [
        "install",
        "--locked",
        "--version",
        LINKER,
        "--root",
        &root,
        "--no-default-features",
        "--features",
        &feature,
        "bpf-linker",
    ];
    let mut install = shell::cargo(&args);
    shell::run(install.env("LLVM_PREFIX", format!("/usr/lib/llvm-{major}")))
        .context("bpf-linker could not be built; put a released one on the path")?;
    Ok(program)
}

/// LLVM's libraries for the linker.
fn llvm_needs(major: &str) -> Result<&'static [Need]> {
    match major {
        "22" => Ok(packages::LLVM_22),
        _ => {
            bail!("bpf-linker has to be built against LLVM {major}; put a released one on the path")
        }
    }
}

/// Where cargo keeps the sources of crates.
fn registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    home.unwrap_or_default().join("registry/src")
}
