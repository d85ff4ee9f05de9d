//! Where and with what something was measured.

use anyhow::Result;

use crate::record::today;
use crate::shell;

/// The head of a report.
///
/// # Errors
/// When a program cannot say its version.
pub fn describe() -> Result<String> {
    let rustc = shell::text(&mut shell::command("rustc", &["--version"]))?;
    let kernel = shell::text(&mut shell::command("uname", &["-sr"]))?;
    let commit = shell::text(&mut shell::command(
        "git",
        &["describe", "--always", "--dirty"],
    ))
    .unwrap_or_else(|_| "unknown".to_owned());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "# {date}\n\n{cpu}, {threads} CPUs, {kernel}\n{rustc}, tcpkit at {commit}\n{tcpdump}\n",
        date = today()?,
        cpu = cpu(),
        tcpdump = tcpdump(),
    ))
}

/// Date and processor, as the name of a file.
///
/// # Errors
/// When the date cannot be had.
pub fn file_name() -> Result<String> {
    let cpu = cpu().to_lowercase();
    let words = cpu
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    Ok(format!(
        "{}-{}.md",
        today()?,
        words.collect::<Vec<_>>().join("-")
    ))
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    match model {
        Some((_, name)) => name.to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

/// tcpdump's first two lines: its own version and libpcap's.
fn tcpdump() -> String {
    let said = shell::program("tcpdump").arg("--version").output();
    let said = said
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    String::from_utf8_lossy(&said)
        .lines()
        .take(2)
        .collect::<Vec<_>>()
        .join(", ")
}
