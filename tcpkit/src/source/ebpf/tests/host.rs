//! A network namespace for one test: two ends of a cable, frames put on it as they are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::source::ebpf::interfaces::devices;
use crate::source::ebpf::{Hooks, open};
use crate::source::live::{Engine, Interest};

/// Runs a test in a network namespace of its own, which goes with the thread.
pub(super) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: moves this thread alone to a new namespace.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "{}", io::Error::last_os_error());
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these words, in this thread's namespace.
pub(super) fn ip(words: &str) {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {said}");
}

/// A cable from `near` to `far`, both up, without frames of their own.
pub(super) fn cable(near: &str, far: &str) {
    ip(&format!("link add {near} type veth peer name {far}"));
    for end in [near, far] {
        // No neighbour discovery between the frames of the test.
        ip(&format!("link set {end} addrgenmode none"));
        ip(&format!("link set {end} up"));
    }
}

/// A socket that puts frames on an interface as they are.
pub(super) struct Wire(OwnedFd);

impl Wire {
    pub(super) fn new(interface: &str) -> Self {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: makes a descriptor, which belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_PACKET, kind, 0)) };
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: index(interface) as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: reads `address`.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        Self(socket)
    }

    pub(super) fn send(&self, frame: &[u8]) {
        // SAFETY: reads `frame`.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }
}

/// The kernel's index of an interface.
pub(super) fn index(name: &str) -> u32 {
    let devices = devices().unwrap();
    devices
        .iter()
        .find(|device| device.name == name)
        .unwrap()
        .index
}

/// An engine on these interfaces, and what it said.
pub(super) fn capture(
    interest: &Interest,
    interfaces: &[&str],
    hooks: Hooks,
) -> (Box<dyn Engine>, Vec<String>) {
    let mut interest = interest.clone();
    interest.interfaces = interfaces.iter().map(|&name| name.to_owned()).collect();
    open(&interest, hooks).unwrap()
}

/// A frame that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) data: Vec<u8>,
    pub(super) wire_len: u32,
    pub(super) interface: String,
    pub(super) time: u64,
}

/// Keeps this thread on the CPU that it is on.
pub(super) fn stay_here() {
    let mut here = rustix::thread::CpuSet::new();
    here.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &here).unwrap();
}

/// Takes frames until there are so many, or none comes for a second and for so many looks: on a busy machine a second may
/// pass between two of them.
pub(super) fn take(engine: &mut dyn Engine, enough: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    let (mut last, mut looks) = (Instant::now(), 0);
    while taken.len() < enough && (looks < 20 || last.elapsed() < Duration::from_secs(1)) {
        looks += 1;
        let names: Vec<_> = engine
            .interfaces()
            .iter()
            .map(|interface| interface.name.clone())
            .collect();
        let before = taken.len();
        let mut keep = |frame: &crate::source::Frame<'_>| {
            let interface = names[frame.interface as usize].clone();
            taken.push(Taken {
                data: frame.data.to_vec(),
                wire_len: frame.wire_len,
                interface: interface.unwrap_or_default(),
                time: frame.time.0,
            });
            true
        };
        engine
            .deliver(Duration::from_millis(50), &mut keep)
            .unwrap();
        if taken.len() > before {
            (last, looks) = (Instant::now(), 0);
        }
    }
    taken
}

/// The bytes of what was taken.
pub(super) fn bytes(taken: &[Taken]) -> Vec<Vec<u8>> {
    taken.iter().map(|frame| frame.data.clone()).collect()
}
