//! Network namespaces of a test's own: made, used, and gone again, also after a crash.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::say;

/// All names begin so; the owner's process id follows.
const PREFIX: &str = "tcpkit-";

/// Whether namespaces can be made. Where all tests are asked for, they must be.
pub fn privileged() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let asked = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!asked, "CI=true asks for the live tests, which need root");
    say("live tests need root, for network namespaces: skipped");
    false
}

/// A network namespace with its loopback up.
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The first one makes the place where all are mounted, which two cannot do at once.
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        sweep();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        drop(one);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &[&str]) {
        ip(&[&["-n", self.name.as_str()], args].concat());
    }

    /// Makes an interface whose frames have no Ethernet headers, if this kernel has such.
    pub fn tunnel(&self, name: &str) -> bool {
        let made = Command::new("ip")
            .args([
                "-n", &self.name, "tuntap", "add", "dev", name, "mode", "tun",
            ])
            .output();
        let made = made.is_ok_and(|output| output.status.success());
        if made {
            self.ip(&["link", "set", name, "up"]);
        } else {
            say("no tun interfaces here: skipped");
        }
        made
    }

    /// A program that will run inside. It becomes that program at once: its process id is the child's.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// What a shell calls before a program that is to run inside.
    pub fn entered(&self) -> String {
        format!("ip netns exec {}", self.name)
    }

    /// Runs something in a thread that is inside.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = PathBuf::from("/run/netns").join(&self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = std::fs::File::open(path).unwrap();
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }

    /// Segments that TCP has sent again from here, as the kernel counts them (RFC 4022, `tcpRetransSegs`).
    pub fn retransmitted(&self) -> u64 {
        let path = "/proc/thread-self/net/snmp";
        let table = self.within(|| std::fs::read_to_string(path).unwrap());
        let mut rows = table.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let mut columns = names.split_whitespace().zip(values.split_whitespace());
        let (_, value) = columns.find(|(name, _)| *name == "RetransSegs").unwrap();
        value.parse().unwrap()
    }

    /// Processes that are inside.
    pub fn processes(&self) -> Vec<u32> {
        pids(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Two namespaces and a veth pair between them.
pub struct Pair {
    pub client: Namespace,
    pub server: Namespace,
}

/// The server's interface, and its addresses.
pub const SERVER_IF: &str = "tks";
pub const SERVER_V4: &str = "10.97.0.1";
pub const SERVER_V6: &str = "fd97::1";

impl Pair {
    pub fn new(mtu: u32) -> Self {
        let pair = Self {
            client: Namespace::new(),
            server: Namespace::new(),
        };
        connect((&pair.client, "tkc"), (&pair.server, SERVER_IF), mtu);
        pair.server
            .ip(&["addr", "add", "10.97.0.1/24", "dev", SERVER_IF]);
        pair.client
            .ip(&["addr", "add", "10.97.0.2/24", "dev", "tkc"]);
        for (namespace, address, name) in [
            (&pair.server, "fd97::1/64", SERVER_IF),
            (&pair.client, "fd97::2/64", "tkc"),
        ] {
            namespace.ip(&["addr", "add", address, "dev", name, "nodad"]);
        }
        pair
    }
}

/// A veth pair that is up, one end in each namespace.
pub fn connect(one: (&Namespace, &str), other: (&Namespace, &str), mtu: u32) {
    let mtu = mtu.to_string();
    one.0.ip(&[
        "link",
        "add",
        one.1,
        "mtu",
        &mtu,
        "type",
        "veth",
        "peer",
        "name",
        other.1,
        "mtu",
        &mtu,
        "netns",
        &other.0.name,
    ]);
    for (namespace, name) in [one, other] {
        namespace.ip(&["link", "set", name, "up"]);
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args:?}: {said}");
}

/// Removes what tests left behind that were killed.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

/// Ends what still runs inside, then takes the namespace away, and its interfaces with it.
fn remove(name: &str) {
    for pid in pids(name) {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
    }
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

fn pids(name: &str) -> Vec<u32> {
    let output = Command::new("ip").args(["netns", "pids", name]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}
