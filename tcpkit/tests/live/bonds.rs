//! A bond of two cables, with a VLAN on top: every request counts once, wherever the bond sends its frames.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::clients;
use crate::kernel;
use crate::net::{Namespace, connect, privileged};
use crate::run::{Run, assert_exact, requests};
use crate::servers::{REDIS, Redis};
use crate::support::comes_true;
use crate::support::program;

/// How a bond spreads frames, as `ip link add type bond` takes it.
const MODES: &[&[&str]] = &[
    &["mode", "active-backup"],
    &[
        "mode",
        "802.3ad",
        "lacp_rate",
        "fast",
        "xmit_hash_policy",
        "layer3+4",
    ],
    &["mode", "balance-xor", "xmit_hash_policy", "layer2"],
];

/// What captures beside one another. What `bond0.7` carries, the others see too.
const CAPTURES: &[&[&str]] = &[
    &["--backend", "ebpf", "-i", "bond0"],
    &["--backend", "ebpf", "-i", "bond0.7"],
    &["--backend", "ebpf", "-i", "any"],
    &["--xdp", "-i", "bond0"],
    &["--backend", "pcap", "-i", "bond0"],
    &["--backend", "pcap", "-i", "bond0.7"],
    &["--backend", "pcap", "-i", "any"],
];

const PLAIN: &str = "10.97.0.1";
const TAGGED: &str = "10.97.7.1";

/// Two hosts, two cables, a bond at each end.
struct Bonded {
    client: Namespace,
    server: Namespace,
}

impl Bonded {
    fn new(mode: &[&str]) -> Self {
        let (client, server) = (Namespace::new(), Namespace::new());
        let bond = ["link", "add", "bond0", "type", "bond", "miimon", "100"];
        for host in [&client, &server] {
            host.ip(&[&bond[..], mode].concat());
        }
        for cable in ["leg0", "leg1"] {
            connect((&client, cable), (&server, cable), 1500);
            for host in [&client, &server] {
                host.ip(&["link", "set", cable, "down"]);
                host.ip(&["link", "set", cable, "master", "bond0"]);
            }
        }
        for (host, number) in [(&server, 1), (&client, 2)] {
            let vlan = ["type", "vlan", "id", "7"];
            host.ip(&["link", "set", "bond0", "up"]);
            host.ip(&[
                &["link", "add", "link", "bond0", "name", "bond0.7"],
                &vlan[..],
            ]
            .concat());
            host.ip(&["link", "set", "bond0.7", "up"]);
            for (network, device) in [("10.97.0", "bond0"), ("10.97.7", "bond0.7")] {
                let address = format!("{network}.{number}/24");
                host.ip(&["addr", "add", &address, "dev", device]);
            }
        }
        Self { client, server }
    }

    /// Waits until both cables carry frames, and the server answers at both addresses.
    fn wait(&self) {
        let carries = || self.is_whole() && self.answers(PLAIN) && self.answers(TAGGED);
        assert!(comes_true(carries), "{}", self.state());
    }

    /// With 802.3ad both cables have to have found each other (LACP); others use a cable that is up.
    fn is_whole(&self) -> bool {
        let state = self.state();
        !state.contains("802.3ad") || state.contains("Number of ports: 2")
    }

    fn state(&self) -> String {
        let path = "/proc/thread-self/net/bonding/bond0";
        self.server
            .within(|| std::fs::read_to_string(path).unwrap_or_default())
    }

    fn answers(&self, address: &str) -> bool {
        let address = format!("{address}:{REDIS}").parse().unwrap();
        let limit = Duration::from_secs(2);
        self.client
            .within(|| TcpStream::connect_timeout(&address, limit).is_ok())
    }
}

#[test]
#[ignore = "takes a kernel with bonds and VLANs: cargo xtask vm"]
fn every_request_over_a_bond_counts_once() {
    if !privileged() {
        return;
    }
    for mode in MODES {
        let bonded = Bonded::new(mode);
        let redis = Redis::start(&bonded.server);
        bonded.wait();
        doctor(&bonded, mode);
        let runs: Vec<_> = CAPTURES
            .iter()
            .map(|capture| start(&bonded, capture))
            .collect();
        redis.forget();
        traffic(&bonded, PLAIN);
        let plain = redis.calls("GET");
        traffic(&bonded, TAGGED);
        let all = redis.calls("GET");
        assert!(plain >= 420 && all >= plain + 420);
        for (capture, run) in CAPTURES.iter().zip(runs) {
            let summary = run.stop().report().summary;
            let what = format!("{mode:?}, {capture:?}");
            let expected = if capture.contains(&"bond0.7") {
                all - plain
            } else {
                all
            };
            assert_eq!(
                requests(&summary, REDIS, "GET"),
                expected,
                "{what}: {summary}"
            );
            assert_exact(&summary, &what);
            hooks(&summary, capture, mode);
        }
    }
}

/// That `tcpkit doctor` tells how the bond spreads frames, and where it can be captured.
fn doctor(bonded: &Bonded, mode: &[&str]) {
    let mut command = bonded.server.command(&program().to_string_lossy());
    let output = command.args(["doctor", "-i", "bond0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let policy = said.lines().find(|line| line.contains("bond policy"));
    assert!(policy.is_some_and(|line| line.contains(mode[1])), "{said}");
    let native = said.lines().find(|line| line.contains("XDP (native)"));
    let is_taken = native.is_some_and(|line| line.ends_with("yes"));
    assert_eq!(is_taken, kernel::version() >= (5, 15), "{said}");
}

fn start(bonded: &Bonded, capture: &[&str]) -> Run {
    let rest = ["-p", "6379", "-q", "--format", "json"];
    Run::start(&bonded.server, &[capture, &rest[..]].concat())
}

/// One by one, and in batches that the bond carries as large frames.
fn traffic(bonded: &Bonded, address: &str) {
    clients::redis(&bonded.client, address, 100, 1, 100);
    clients::redis(&bonded.client, address, 320, 16, 3000);
}

/// That XDP runs in the driver where the kernel lets a bond do so, which is since 5.15.
fn hooks(summary: &Value, capture: &[&str], mode: &[&str]) {
    let engine = summary["live"]["engine"].as_str().unwrap();
    if capture.contains(&"--xdp") {
        let native = engine.contains("XDP (native)");
        assert_eq!(native, kernel::version() >= (5, 15), "{mode:?}: {engine}");
    }
}
