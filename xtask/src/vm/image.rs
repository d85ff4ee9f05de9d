//! The machine's file system: an archive that the kernel unpacks into memory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use crate::shell;

/// A program that runs in the machine.
pub struct Tool {
    /// Its name there.
    pub name: &'static str,
    /// Where it is here.
    pub path: PathBuf,
    /// Whether it has to be as it is: else what only debuggers need is left out, since unpacking takes long.
    pub whole: bool,
}

/// Modules that the tests need, with their options.
const MODULES: &[&str] = &[
    "af_packet",
    "veth",
    "tun",
    "sch_ingress",
    "cls_bpf",
    "cls_matchall",
    "act_mirred",
    "sch_netem",
    "8021q",
    // Without a bond that nobody asked for.
    "bonding max_bonds=0",
];

/// Folders of modules that hold them, and what they need.
const MODULE_FOLDERS: &[&str] = &["kernel/net", "kernel/drivers/net", "kernel/lib"];

/// Packs it: busybox, the tools with their libraries, the kernel's modules, and `script` to run.
///
/// # Errors
/// When a file is missing or cannot be written.
pub fn pack(kernel: &Kernel, tools: &[Tool], script: &str) -> Result<PathBuf> {
    let root = kernel.folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    copy(Path::new("/usr/bin/busybox"), &root.join("bin/busybox"))?;
    for tool in tools {
        install(&root, tool)?;
    }
    modules(kernel, &root)?;
    fs::write(root.join("init"), init(script))?;
    shell::run(shell::program("chmod").arg("755").arg(root.join("init")))?;
    let image = kernel.folder.join("initramfs");
    // Not packed: the machine unpacks far slower than it reads.
    let pack = format!("find . | cpio --quiet -o -H newc > {}", image.display());
    shell::run(shell::command("sh", &["-c", &pack]).current_dir(&root))?;
    Ok(image)
}

/// What the kernel starts.
fn init(script: &str) -> String {
    let modules: Vec<_> = MODULES
        .iter()
        .map(|module| format!("modprobe {module}\n"))
        .collect();
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox mkdir -p /proc /sys /dev /tmp /run /sbin /usr/bin /usr/sbin\n\
         /bin/busybox --install -s\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         export PATH=/tools:/bin:/sbin:/usr/bin:/usr/sbin CI=true RUST_BACKTRACE=0\n\
         {}ip link set lo up\n\
         uname -r\n\
         {script}\n\
         poweroff -f\n",
        modules.concat()
    )
}

/// A program with the libraries that it names.
fn install(root: &Path, tool: &Tool) -> Result<()> {
    let to = root.join("tools").join(tool.name);
    copy(&tool.path, &to)?;
    if !tool.whole {
        shell::run(shell::program("objcopy").arg("--strip-all").arg(&to))?;
    }
    let ldd = shell::program("ldd").arg(&tool.path).output()?;
    let libraries = String::from_utf8_lossy(&ldd.stdout).into_owned();
    let words = libraries.split_whitespace();
    for library in words.filter(|word| word.starts_with('/')) {
        copy(
            Path::new(library),
            &root.join(library.trim_start_matches('/')),
        )?;
    }
    Ok(())
}

/// The kernel's network modules, with the list of what needs what.
fn modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let all = kernel.modules()?;
    let release = all.file_name().context("modules have a folder")?;
    let into = root.join("lib/modules").join(release);
    for part in MODULE_FOLDERS {
        let (from, to) = (all.join(part), into.join(part));
        if from.is_dir() {
            fs::create_dir_all(to.parent().context("a folder has a parent")?)?;
            shell::run(shell::program("cp").arg("-r").args([from, to]))?;
        }
    }
    for list in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        copy(&all.join(list), &into.join(list))?;
    }
    // Here it takes a moment, in the machine many.
    let unpack = "find . -name '*.ko.xz' -exec unxz {} +";
    shell::run(shell::command("sh", &["-c", unpack]).current_dir(&into))?;
    shell::run(shell::program("depmod").arg("-b").arg(root).arg(release))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(from, to).with_context(|| format!("{}", from.display()))?;
    Ok(())
}
