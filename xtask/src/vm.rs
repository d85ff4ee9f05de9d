//! `cargo xtask vm`: the tests in the kernel, on the kernels of Debian's releases.
//!
//! Boots each in QEMU without hardware help, from an initramfs of busybox, the library's tests, `ip`, and the
//! kernel's network modules. What a verifier takes, TC without TCX and XDP without fragments show there only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};

use crate::{packages, shell};

/// Which kernels, and which tests.
#[derive(clap::Args)]
pub struct Options {
    /// Kernels to boot
    #[arg(long, value_delimiter = ',', default_value = "5.10,6.1,6.12")]
    kernels: Vec<String>,
    /// Tests to pass
    #[arg(default_value = "source::ebpf")]
    filter: String,
}

/// What the machine prints when all tests have passed.
const PASSED: &str = "tcpkit-vm: passed";

/// Longest run of one kernel, in seconds.
const SECONDS: &str = "900";

/// Where kernels that are not of this release come from.
const ARCHIVE: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main\n";

/// Passes the tests on each kernel.
///
/// # Errors
/// When a kernel cannot be had, does not boot, or a test fails on it.
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::VM)?;
    let tests = tests()?;
    for version in &options.kernels {
        let kernel = Kernel::find(version)?;
        let image = initramfs(&kernel, &tests, &options.filter)?;
        boot(&kernel, &image)?;
    }
    Ok(())
}

/// An unpacked package of a kernel.
struct Kernel {
    version: String,
    folder: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks it where it is not there yet.
    fn find(version: &str) -> Result<Self> {
        let folder = shell::target().join("vm").join(version);
        if !folder.join("boot").is_dir() {
            fs::create_dir_all(&folder)?;
            let package = download(version, &folder)?;
            let (package, into) = (package.to_string_lossy(), folder.to_string_lossy());
            shell::run(&mut shell::command("dpkg", &["-x", &*package, &*into]))?;
        }
        let version = version.to_owned();
        Ok(Self { version, folder })
    }

    /// The file in `boot` that begins so.
    fn boot_file(&self, start: &str) -> Result<PathBuf> {
        entry(&self.folder.join("boot"), start)
    }
}

/// The newest package of a kernel line.
fn download(version: &str, folder: &Path) -> Result<PathBuf> {
    let apt = apt_options(folder)?;
    let apt: Vec<&str> = apt.iter().map(String::as_str).collect();
    shell::run(shell::program("apt-get").args(&apt).arg("update"))?;
    let pattern = format!(
        "^linux-image-{}.*-cloud-amd64-unsigned$",
        version.replace('.', r"\.")
    );
    let found = shell::text(shell::program("apt-cache").args(&apt).args([
        "search",
        "--names-only",
        &pattern,
    ]))?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    // The first that can still be fetched: an archive forgets the files of older security updates.
    for name in names {
        let fetched = shell::run(
            shell::program("apt-get")
                .args(&apt)
                .args(["download", name])
                .current_dir(folder),
        );
        if fetched.is_ok() {
            return entry(folder, "linux-image");
        }
    }
    bail!("no package matches {pattern}: the kernels come from Debian")
}

/// Lists of packages of their own, with the releases that the older kernels are from.
fn apt_options(folder: &Path) -> Result<Vec<String>> {
    let apt = folder.join("apt");
    fs::create_dir_all(apt.join("lists/partial"))?;
    fs::create_dir_all(apt.join("parts"))?;
    fs::write(apt.join("parts/bullseye.list"), ARCHIVE)?;
    for own in ["debian.sources", "debian.list"] {
        let system = Path::new("/etc/apt/sources.list.d").join(own);
        if system.is_file() {
            fs::copy(system, apt.join("parts").join(own))?;
        }
    }
    let option = |name: &str, path: &str| {
        [
            "-o".to_owned(),
            format!("{name}={}", apt.join(path).display()),
        ]
    };
    Ok([
        option("Dir::Etc::sourceparts", "parts"),
        option("Dir::State::lists", "lists"),
    ]
    .concat())
}

/// The library's tests, built.
fn tests() -> Result<PathBuf> {
    let args = [
        "test",
        "--package",
        "tcpkit",
        "--lib",
        "--no-run",
        "--message-format=json",
    ];
    let messages = shell::text(&mut shell::cargo(&args))?;
    let built = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = built
        .filter_map(|message| Some(message.get("executable")?.as_str()?.to_owned()))
        .next_back();
    program
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("cargo names no test program"))
}

/// What runs in the machine.
fn init(filter: &str) -> String {
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox mkdir -p /proc /sys /dev /tmp /sbin /usr/bin /usr/sbin\n\
         /bin/busybox --install -s\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         export PATH=/tools:/bin:/sbin:/usr/bin:/usr/sbin CI=true RUST_BACKTRACE=0\n\
         for module in af_packet veth tun sch_ingress cls_bpf; do modprobe $module; done\n\
         ip link set lo up\n\
         uname -r\n\
         /tools/tests {filter} --test-threads 1 && echo '{PASSED}'\n\
         poweroff -f\n"
    )
}

/// Packs the machine's file system.
fn initramfs(kernel: &Kernel, tests: &Path, filter: &str) -> Result<PathBuf> {
    let root = kernel.folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(root.join("bin"))?;
    fs::copy("/usr/bin/busybox", root.join("bin/busybox"))?;
    let ip = shell::find("ip").context("`ip` of iproute2 is missing")?;
    install(&root, tests, "tests")?;
    install(&root, &ip, "ip")?;
    modules(kernel, &root)?;
    fs::write(root.join("init"), init(filter))?;
    shell::run(&mut shell::command(
        "chmod",
        &["755", &root.join("init").to_string_lossy()],
    ))?;
    let image = kernel.folder.join("initramfs.gz");
    let pack = format!(
        "find . | cpio --quiet -o -H newc | gzip -1 > {}",
        image.display()
    );
    shell::run(shell::command("sh", &["-c", &pack]).current_dir(&root))?;
    Ok(image)
}

/// A program with the libraries that it names.
fn install(root: &Path, program: &Path, name: &str) -> Result<()> {
    copy(program, &root.join("tools").join(name))?;
    let libraries = shell::text(shell::program("ldd").arg(program))?;
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        copy(
            Path::new(library),
            &root.join(library.trim_start_matches('/')),
        )?;
    }
    Ok(())
}

/// The kernel's network modules, with the list of what needs what.
fn modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let all = entry(&kernel.folder.join("lib/modules"), "")?;
    let release = all
        .file_name()
        .context("no modules")?
        .to_string_lossy()
        .into_owned();
    let into = root.join("lib/modules").join(&release);
    fs::create_dir_all(into.join("kernel/drivers"))?;
    for part in ["kernel/net", "kernel/drivers/net", "kernel/lib"] {
        let (from, to) = (all.join(part), into.join(part));
        if from.is_dir() {
            shell::run(shell::program("cp").arg("-r").arg(from).arg(to))?;
        }
    }
    let root = root.to_string_lossy();
    shell::run(shell::program("depmod").args(["-b", &*root, &release]))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(from, to).with_context(|| format!("{}", from.display()))?;
    Ok(())
}

/// Runs the machine to its end; what it prints is printed.
fn boot(kernel: &Kernel, image: &Path) -> Result<()> {
    let mut command = shell::program("timeout");
    command.args([
        SECONDS,
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-m",
        "2048",
        "-smp",
        "2",
    ]);
    command.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
    command
        .arg("-kernel")
        .arg(kernel.boot_file("vmlinuz")?)
        .arg("-initrd")
        .arg(image);
    command.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
    let said = shell::text(command.stdin(Stdio::null()))?;
    eprintln!("{said}");
    if !said.contains(PASSED) {
        bail!("not all tests passed on Linux {}", kernel.version);
    }
    Ok(())
}

/// The first entry of a folder whose name begins so.
fn entry(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut found = entries.flatten().map(|entry| entry.path());
    let begins = |path: &PathBuf| {
        let name = path.file_name();
        name.is_some_and(|name| name.to_string_lossy().starts_with(start))
    };
    found
        .find(begins)
        .ok_or_else(|| anyhow!("{}: nothing begins with `{start}`", folder.display()))
}
