//! What the server counted is what is reported, all of it exact.

use crate::ENGINES;
use crate::clients;
use crate::net::{Namespace, Pair, SERVER_IF, SERVER_V4, SERVER_V6, privileged};
use crate::run::{Run, assert_exact, requests};
use crate::servers::{self, DNS, HTTP, MEMCACHED, REDIS, Redis};

/// Where client and server are, and how they find each other.
struct Place<'a> {
    name: &'static str,
    client: &'a Namespace,
    server: &'a Namespace,
    interface: &'static str,
    hosts: [&'static str; 2],
}

/// Does something on a veth with small frames, on one with large ones, and on loopback.
fn everywhere(act: impl Fn(&Place<'_>)) {
    for (name, mtu) in [("veth, MTU 1500", 1500), ("veth, MTU 9000", 9000)] {
        let pair = Pair::new(mtu);
        act(&Place {
            name,
            client: &pair.client,
            server: &pair.server,
            interface: SERVER_IF,
            hosts: [SERVER_V4, SERVER_V6],
        });
    }
    let namespace = Namespace::new();
    act(&Place {
        name: "loopback",
        client: &namespace,
        server: &namespace,
        interface: "lo",
        hosts: ["127.0.0.1", "::1"],
    });
}

/// Captures while `traffic` runs, once on the interface and once on all; returns the summaries.
fn captured(
    place: &Place<'_>,
    ports: &str,
    mut traffic: impl FnMut(),
    mut check: impl FnMut(&serde_json::Value, &str),
) {
    for engine in ENGINES {
        for interface in [place.interface, "any"] {
            // Values of a megabyte come as fast as memory is copied, while the reader may have to wait for a processor.
            let args = ["-i", interface, "-p", ports, "-q", "--format", "json"];
            let args = [&args[..], &["-B", "262144"]].concat();
            let run = Run::start(place.server, &[engine, &args[..]].concat());
            traffic();
            let report = run.stop().report();
            let what = format!("{engine:?} on {interface}, {}", place.name);
            assert_exact(&report.summary, &what);
            check(&report.summary, &what);
        }
    }
}

#[test]
fn redis() {
    if !privileged() {
        return;
    }
    everywhere(|place| {
        let redis = Redis::start(place.server);
        let traffic = || {
            redis.forget();
            for host in place.hosts {
                for depth in [1, 64] {
                    clients::redis(place.client, host, 2000, depth, 1);
                    clients::redis(place.client, host, 640, depth, 3000);
                }
                clients::redis(place.client, host, 64, 1, 1_000_000);
                clients::redis(place.client, host, 64, 8, 1_000_000);
            }
        };
        captured(place, "6379", traffic, |summary, what| {
            for command in ["SET", "GET"] {
                let counted = redis.calls(command);
                assert!(counted > 10_000);
                assert_eq!(
                    requests(summary, REDIS, command),
                    counted,
                    "{command}: {what}"
                );
            }
        });
    });
}

#[test]
fn memcached() {
    if !privileged() {
        return;
    }
    everywhere(|place| {
        let _server = servers::memcached(place.server);
        let mut before = servers::memcached_stats(place.server);
        let traffic = || {
            for host in place.hosts {
                place.client.within(|| {
                    for depth in [1, 64] {
                        clients::memcached(host, 100, depth, 1);
                        clients::memcached(host, 10, depth, 3000);
                    }
                    clients::memcached(host, 5, 8, 1_000_000);
                    clients::memcached_udp(host, 50);
                });
            }
        };
        captured(place, "11211", traffic, |summary, what| {
            let now = servers::memcached_stats(place.server);
            for (command, stat) in [("set", "cmd_set"), ("get", "cmd_get")] {
                let counted = now[stat] - before[stat];
                assert!(counted > 200);
                assert_eq!(
                    requests(summary, MEMCACHED, command),
                    counted,
                    "{command}: {what}"
                );
            }
            before = now;
        });
    });
}

#[test]
fn nginx() {
    if !privileged() {
        return;
    }
    everywhere(|place| {
        let (_server, log) = servers::nginx(place.server, &[1, 3000, 1_000_000]);
        let mut before = servers::fetched(&log);
        let traffic = || {
            for host in place.hosts {
                place.client.within(|| {
                    for depth in [1, 64] {
                        clients::http(host, 20, depth, 1);
                        clients::http(host, 5, depth, 3000);
                    }
                    clients::http(host, 10, 1, 1_000_000);
                    clients::http(host, 1, 16, 1_000_000);
                });
            }
        };
        captured(place, "80", traffic, |summary, what| {
            let now = servers::fetched(&log);
            assert!(now - before > 1000);
            assert_eq!(requests(summary, HTTP, "GET"), now - before, "{what}");
            before = now;
        });
    });
}

#[test]
fn dnsmasq() {
    if !privileged() {
        return;
    }
    everywhere(|place| {
        let (_server, log) = servers::dnsmasq(place.server);
        let mut before = servers::logged(&log, "query[A]");
        let traffic = || {
            for host in place.hosts {
                place.client.within(|| clients::dns(host, 100));
            }
        };
        captured(place, "53", traffic, |summary, what| {
            let now = servers::logged(&log, "query[A]");
            assert_eq!(now - before, 400);
            assert_eq!(requests(summary, DNS, "A"), now - before, "{what}");
            before = now;
        });
    });
}
