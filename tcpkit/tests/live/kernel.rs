//! Which hook the ladder takes on this kernel, and that it delivers there.

use crate::clients;
use crate::net::{Pair, SERVER_IF, SERVER_V4, privileged};
use crate::run::{Run, assert_exact, requests};
use crate::servers::{REDIS, Redis};

/// The running kernel's version: its first two numbers.
pub fn version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What the ladder takes: arguments, MTU, and the name of what has to capture on a cable.
fn expected() -> Vec<(&'static [&'static str], u32, String)> {
    let tc = if version() >= (6, 6) {
        "TC (TCX)"
    } else {
        "TC (clsact)"
    };
    let [native, generic] = ["native", "generic"].map(|mode| format!("XDP ({mode}) and {tc}"));
    // Frames of several pages, and with them those that the stack has merged, take a program that knows of them.
    let with_fragments = |name: &str| if version() >= (5, 18) { name } else { tc }.to_owned();
    vec![
        (&["--backend", "ebpf"], 1500, tc.to_owned()),
        (&["--backend", "ebpf"], 9000, tc.to_owned()),
        (&["--xdp"], 1500, native.clone()),
        (&["--xdp"], 9000, with_fragments(&native)),
        (&["--xdp=generic"], 1500, with_fragments(&generic)),
        (&["--backend", "pcap"], 1500, "libpcap".to_owned()),
    ]
}

#[test]
#[ignore = "tells what a kernel of a known version takes: cargo xtask vm"]
fn each_rung_of_the_ladder_delivers() {
    if !privileged() {
        return;
    }
    for mtu in [1500, 9000] {
        let pair = Pair::new(mtu);
        let redis = Redis::start(&pair.server);
        for (args, _, hook) in expected().iter().filter(|(_, of, _)| *of == mtu) {
            let rest = ["-i", SERVER_IF, "-p", "6379", "-q", "--format", "json"];
            let run = Run::start(&pair.server, &[args, &rest[..]].concat());
            redis.forget();
            clients::redis(&pair.client, SERVER_V4, 100, 1, 100);
            clients::redis(&pair.client, SERVER_V4, 320, 16, 3000);
            let summary = run.stop().report().summary;
            let what = format!("{args:?}, MTU {mtu}");
            for command in ["SET", "GET"] {
                let counted = redis.calls(command);
                assert_eq!(requests(&summary, REDIS, command), counted, "{what}");
            }
            assert_exact(&summary, &what);
            let engine = summary["live"]["engine"].as_str().unwrap();
            assert_eq!(engine, format!("{hook} on {SERVER_IF}"), "{what}");
        }
    }
}
