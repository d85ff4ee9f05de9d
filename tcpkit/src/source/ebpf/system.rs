//! What the operating system tells about itself and this process.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// What loading and attaching the programs needs.
pub(super) const CAPABILITIES: &str = "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON";

/// Numbers of [`CAPABILITIES`], and of `CAP_SYS_ADMIN`, which stands for the first and the last.
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Bytes of a page.
pub(super) fn page_size() -> usize {
    // SAFETY: reads a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// The kernel's release, as `uname -r` prints it.
pub(super) fn kernel_release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// Which of [`CAPABILITIES`] this process lacks.
pub(super) fn missing_capabilities() -> Vec<&'static str> {
    let held = effective_capabilities();
    let has = |bit: u32| held >> bit & 1 == 1;
    let wanted = [
        ("CAP_BPF", has(BPF) || has(SYS_ADMIN)),
        ("CAP_NET_ADMIN", has(NET_ADMIN)),
        ("CAP_PERFMON", has(PERFMON) || has(SYS_ADMIN)),
    ];
    let missing = wanted.into_iter().filter(|(_, held)| !held);
    missing.map(|(name, _)| name).collect()
}

/// Whether this process has all of [`CAPABILITIES`].
pub(super) fn has_capabilities() -> bool {
    missing_capabilities().is_empty()
}

/// Whether this process may open packet sockets, as libpcap does.
pub(super) fn has_packet_sockets() -> bool {
    effective_capabilities() >> NET_RAW & 1 == 1
}

/// Commands of bpf(2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    ProgLoad = 5,
    ProgTestRun = 10,
    LinkCreate = 28,
}

/// Whether its capabilities are those of a user namespace, which the kernel does not ask for eBPF.
pub(super) fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = ["0", "0", "4294967295"];
    !map.is_empty() && !map.split_whitespace().eq(whole)
}

/// Calls bpf(2); returns what the call does.
///
/// # Errors
/// What the kernel answers.
///
/// # Safety
/// The attributes must be the start of `union bpf_attr` for this command, without padding, and what they point to
/// must live during the call.
pub(super) unsafe fn bpf<T>(command: Command, attributes: &mut T) -> io::Result<libc::c_long> {
    let size = size_of::<T>();
    let command = command as libc::c_long;
    // SAFETY: the caller's; the size is that of the attributes.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size) };
    match done {
        0.. => Ok(done),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As [`bpf`], of a command that makes a descriptor.
///
/// # Errors
/// As [`bpf`].
///
/// # Safety
/// As [`bpf`].
pub(super) unsafe fn bpf_made<T>(command: Command, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the call made the descriptor, which belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Before Linux 5.11 maps count as locked memory, of which a process may have little.
pub(super) fn lift_memory_limit() {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: reads `limit`. Refused without privilege: then loading says what is missing.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// The error code of the operating system that an error is about.
pub(super) fn os_code(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    causes(error).find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error())
}

/// The error, what caused it, and so on.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// What an error says, and each cause that it does not tell itself.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    for cause in causes(error).skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    // What a verifier did not say.
    let empty = "Verifier output:";
    let rest = said.trim_end();
    rest.strip_suffix(empty)
        .unwrap_or(rest)
        .trim_end()
        .to_owned()
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no map {0}")]
    struct NoMap(&'static str, #[source] io::Error);

    #[test]
    fn causes_are_told_once() {
        let denied = || io::Error::from_raw_os_error(libc::EPERM);
        let error = NoMap("CONTROL", denied());
        assert_eq!(with_causes(&error), format!("no map CONTROL: {}", denied()));
        assert_eq!(with_causes(&denied()), denied().to_string());
        let silent = io::Error::other("refused. Verifier output: ");
        assert_eq!(with_causes(&silent), "refused.");
    }
}
