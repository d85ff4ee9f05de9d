//! The systemd unit grants what an engine can need, and shuts out the rest.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::say;

/// As `Privilege` of `source/live.rs` names them.
const PRIVILEGES: [&str; 4] = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_NET_RAW"];

/// The exposure that `systemd-analyze security` may find, in tenths: its own word for it is OK.
const EXPOSURE: &str = "30";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/tcpkit.service")
}

#[test]
fn exactly_the_capabilities_that_capturing_takes() {
    let text = std::fs::read_to_string(unit()).unwrap();
    for key in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let granted = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap();
        let granted: BTreeSet<&str> = granted.split(' ').collect();
        assert_eq!(granted, BTreeSet::from(PRIVILEGES), "{key}");
    }
}

#[test]
fn systemd_finds_it_hardened() {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--threshold", EXPOSURE]);
    let Ok(output) = analyze.arg(unit()).output() else {
        say("systemd-analyze is not here: the unit is not looked at");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
