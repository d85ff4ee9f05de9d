//! `cargo xtask vm`: what a kernel decides, on the kernels of Debian's releases, in QEMU.
//!
//! Boots each from an archive in memory, with the static binary of `cargo xtask dist`, real servers, and the kernel's
//! own network modules. What its verifier takes, TC without TCX, XDP without fragments, bonds, VLANs, and a network that
//! loses frames show there only. What cannot be had is an error: nothing is passed over.

mod image;
mod kernel;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::{dist, packages, shell};
use image::Tool;
use kernel::Kernel;

/// Which kernels, and which tests.
#[derive(clap::Args)]
pub struct Options {
    /// Kernels to boot
    #[arg(long, value_delimiter = ',', default_value = KERNELS)]
    kernels: Vec<String>,
    /// All tests on each kernel, those of the library in the kernel too, which takes long
    #[arg(long)]
    all: bool,
    /// Only tests whose names hold this, of all that there are
    #[arg(default_value = "")]
    filter: String,
}

/// What `cargo xtask ci` passes.
impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: KERNELS.split(',').map(str::to_owned).collect(),
            all: false,
            filter: String::new(),
        }
    }
}

/// What Debian 11, 12 and 13 run.
const KERNELS: &str = "5.10,6.1,6.12";

/// What the machine prints when all tests have passed.
const PASSED: &str = "tcpkit-vm: passed";

/// Longest run of one kernel, in seconds.
const SECONDS: &str = "900";

/// What the kernel is told. At boot it looks whether the timer ticks while it counts to some number: on a busy machine an
/// emulated timer does not, and the kernel gives up. Waiting for readers of its structures is most of what removing
/// an interface takes; expedited, that is short.
const BOOT: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check rcupdate.rcu_expedited=1";

/// Programs of the system that run in the machine: what the tests call.
const SYSTEM: &[&str] = &["ip", "tc", "redis-server", "redis-cli", "redis-benchmark"];

/// Passes the tests on each kernel.
///
/// # Errors
/// When a kernel cannot be had, does not boot, or a test fails on it.
pub fn main(options: &Options) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("the kernels are those of amd64, and the tests in them are what is built here");
    }
    packages::install(packages::VM)?;
    packages::install(packages::TEST)?;
    let tools = tools()?;
    let mut machines = Vec::new();
    for version in &options.kernels {
        let kernel = Kernel::find(version)?;
        let is_newest = options.kernels.last() == Some(version);
        let image = image::pack(&kernel, &tools, &script(options, is_newest))?;
        machines.push((kernel, image));
    }
    // A machine waits as often as it works: together they take little longer than the slowest.
    std::thread::scope(|scope| {
        let start = |(kernel, image)| scope.spawn(move || boot(kernel, image));
        let running: Vec<_> = machines
            .iter()
            .map(|(kernel, image)| start((kernel, image)))
            .collect();
        let ended = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| bail!("a machine is not watched any more"))
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// What a kernel decides: which programs its verifier takes, which rung the ladder, what a bond does. Who loses frames is
/// netem, the same everywhere: that is left to the newest kernel. The library's own tests have passed on this machine's
/// kernel, and an emulated processor takes minutes for them.
fn script(options: &Options, is_newest: bool) -> String {
    let filter = &options.filter;
    let mut steps = vec!["tcpkit doctor -i lo".to_owned()];
    if options.all || !filter.is_empty() {
        let unit = if filter.is_empty() {
            "source::ebpf"
        } else {
            filter
        };
        steps.push(format!("unit {unit} --test-threads 1"));
    }
    let left_out = if options.all || is_newest || !filter.is_empty() {
        ""
    } else {
        "--skip disturbed"
    };
    steps.push(format!(
        "live {filter} {left_out} --ignored --test-threads 1"
    ));
    steps.push(format!("echo '{PASSED}'"));
    format!(
        "export TCPKIT_PROGRAM=/tools/tcpkit\n{}",
        steps.join(" &&\n")
    )
}

/// What runs in the machine.
fn tools() -> Result<Vec<Tool>> {
    let tool = |name, path, whole| Tool { name, path, whole };
    let mut tools = vec![
        tool("tcpkit", dist::program()?, true),
        tool("unit", tests(&["--lib"])?, false),
        tool("live", tests(&["--test", "live"])?, false),
    ];
    for name in SYSTEM {
        let path = shell::find(name).with_context(|| format!("`{name}` is missing"))?;
        tools.push(tool(name, path, true));
    }
    Ok(tools)
}

/// A test program, built.
fn tests(which: &[&str]) -> Result<PathBuf> {
    let build = ["test", "--package", "tcpkit", "--locked", "--no-run"];
    let mut cargo = shell::cargo(&build);
    let messages = shell::text(cargo.arg("--message-format=json").args(which))?;
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let is_test = |message: &serde_json::Value| message["profile"]["test"] == true;
    let program = built
        .filter(is_test)
        .filter_map(|message| Some(message["executable"].as_str()?.to_owned()))
        .next_back();
    program
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("cargo names no test program"))
}

/// Runs the machine to its end; what it prints is printed.
fn boot(kernel: &Kernel, image: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut command = shell::program("timeout");
    command
        .args([SECONDS, "qemu-system-x86_64"])
        .args(accelerator());
    command.args(["-m", "2048", "-smp", "2"]);
    command.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(kernel.image()?);
    command.arg("-initrd").arg(image);
    command.args(["-append", BOOT]);
    let mut machine = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let console = machine.stdout.take().context("the console is piped")?;
    let mut has_passed = false;
    for line in BufReader::new(console).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let seconds = begun.elapsed().as_secs();
        eprintln!("{:<5}{seconds:>4} s | {}", kernel.version, line.trim_end());
        has_passed |= line.trim_end() == PASSED;
    }
    machine.wait()?;
    if !has_passed {
        bail!("not all tests passed on Linux {}", kernel.version);
    }
    let seconds = begun.elapsed().as_secs();
    eprintln!("Linux {}: passed in {seconds} s", kernel.version);
    Ok(())
}

/// The processor's own virtualisation, where it has it and it may be used. A device alone does not tell: KVM
/// without it runs kernels that were made for that only.
fn accelerator() -> &'static [&'static str] {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| processor.split_whitespace().any(|word| word == flag);
    let device = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm");
    if device.is_ok() && (has("vmx") || has("svm")) {
        &["-accel", "kvm", "-cpu", "host"]
    } else {
        // A thread a processor misses, now and then, code that another one has just changed, as the kernel does.
        &["-accel", "tcg,thread=single"]
    }
}
