//! One frame counts once, wherever it passes; interfaces come and go; tags and tunnels of switches.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap::Capture;
use rustix::process::Signal;
use serde_json::Value;

use crate::ENGINES;
use crate::clients;
use crate::common::Script;
use crate::net::{Namespace, Pair, SERVER_IF, SERVER_V4, SERVER_V6, connect, privileged};
use crate::readers::{figures, snapshot};
use crate::run::{Run, assert_exact, requests};
use crate::servers::{REDIS, Redis};
use crate::support::{program, wait_for};

const ANY: [&str; 7] = ["-i", "any", "-p", "6379", "-q", "--format", "json"];

#[test]
fn xdp_says_why_it_is_not_where_there_are_no_ethernet_headers() {
    if !privileged() {
        return;
    }
    let host = Namespace::new();
    if !host.tunnel("t0") {
        return;
    }
    let run = Run::start(&host, &["--xdp", "-i", "t0", "-p", "6379", "-q"]);
    let said = run.stop().said;
    assert!(
        said.contains("t0: no XDP: its frames have no Ethernet headers"),
        "{said}"
    );
}

/// Client in a container, bridge on the host, server in another container: the host sees each frame on two veths
/// and on the bridge.
#[test]
fn a_frame_that_crosses_a_bridge_counts_once() {
    if !privileged() {
        return;
    }
    let (host, client, server) = (Namespace::new(), Namespace::new(), Namespace::new());
    host.ip(&["link", "add", "br0", "type", "bridge"]);
    host.ip(&["link", "set", "br0", "up"]);
    host.ip(&["addr", "add", "10.97.0.1/24", "dev", "br0"]);
    for (namespace, port, address) in [
        (&client, "vc", "10.97.0.2/24"),
        (&server, "vs", "10.97.0.3/24"),
    ] {
        connect((&host, port), (namespace, "eth0"), 1500);
        host.ip(&["link", "set", port, "master", "br0"]);
        namespace.ip(&["addr", "add", address, "dev", "eth0"]);
    }
    for (place, address) in [(&server, "10.97.0.3"), (&host, "10.97.0.1")] {
        let redis = Redis::start(place);
        for engine in ENGINES {
            let run = Run::start(&host, &[engine, &ANY[..]].concat());
            redis.forget();
            // On a busy machine a tail is sent again now and then, and each time is one that is seen.
            let sent_again = || [&host, &client, &server].map(Namespace::retransmitted);
            let before: u64 = sent_again().iter().sum();
            clients::redis(&client, address, 2000, 1, 100);
            clients::redis(&client, address, 640, 64, 3000);
            let report = run.stop().report();
            assert_exact(&report.summary, address);
            for command in ["SET", "GET"] {
                assert_eq!(
                    requests(&report.summary, REDIS, command),
                    redis.calls(command)
                );
            }
            let capture = &report.summary["capture"];
            let again = sent_again().iter().sum::<u64>() - before;
            // The kernel counts segments, of which one frame may hold several.
            let seen_again = capture["retransmissions"].as_u64().unwrap();
            assert!(seen_again <= again, "{engine:?}: {again} sent: {capture}");
            assert!(capture["duplicates"].as_u64().unwrap() > 2000, "{capture}");
        }
    }
}

#[test]
fn several_named_interfaces_are_one_capture_in_order() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = ["-i", "lo,tks", "-p", "6379", "-q", "--format", "json"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        redis.forget();
        clients::redis(&pair.client, SERVER_V4, 2000, 16, 100);
        clients::redis(&pair.server, "127.0.0.1", 2000, 16, 100);
        let report = run.stop().report();
        assert_exact(&report.summary, "lo and veth");
        assert_eq!(requests(&report.summary, REDIS, "GET"), redis.calls("GET"));
    }
}

#[test]
fn an_interface_that_appears_later_is_captured() {
    if !privileged() {
        return;
    }
    for engine in ENGINES {
        let (server, client) = (Namespace::new(), Namespace::new());
        let redis = Redis::start(&server);
        let run = Run::start(&server, &[engine, &ANY[..]].concat());
        connect((&server, "late0"), (&client, "eth0"), 1500);
        server.ip(&["addr", "add", "10.97.0.1/24", "dev", "late0"]);
        client.ip(&["addr", "add", "10.97.0.2/24", "dev", "eth0"]);
        // An engine that has to find the interface looks once a second of its own time.
        wait_for_time(&server, Duration::from_secs(2));
        clients::redis(&client, SERVER_V4, 100, 1, 10);
        let report = run.stop().report();
        assert_exact(&report.summary, "late0");
        assert_eq!(requests(&report.summary, REDIS, "SET"), redis.calls("SET"));
    }
}

/// Waits until the run has got so far beyond this moment, however long it waits for a processor.
fn wait_for_time(namespace: &Namespace, more: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let until = u64::try_from((now + more).as_nanos()).unwrap();
    wait_for("time stands still", || {
        snapshot(namespace)["now_ns"].as_u64().unwrap() >= until
    });
}

/// The kernel takes any byte but a slash, a colon and space for a name.
#[test]
fn a_name_with_bytes_that_a_terminal_acts_on_is_shown() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let name = "a\x1b[31m";
    namespace.ip(&["link", "add", name, "type", "bridge"]);
    namespace.ip(&["link", "set", name, "up"]);
    for engine in ENGINES {
        let run = Run::start(&namespace, &[engine, &["-i", name, "-q"][..]].concat());
        let ended = run.stop();
        let all = ended.said + &ended.output;
        assert!(!all.contains('\x1b') && all.contains("a\\x1b[31m"), "{all}");
    }
    for args in [&["doctor"][..], &["-i", "nowhere"]] {
        let mut command = namespace.command(&program().to_string_lossy());
        let output = command.args(args).output().unwrap();
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8(all).unwrap();
        assert!(!all.contains('\x1b') && all.contains("a\\x1b[31m"), "{all}");
    }
}

#[test]
fn a_name_with_a_line_end_is_told_on_one_line() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    for args in [
        &["-i"][..],
        &["--backend", "ebpf", "-i"],
        &["--backend", "pcap", "-i"],
        &["doctor", "-i"],
    ] {
        let mut command = namespace.command(&program().to_string_lossy());
        let output = command.args(args).arg("a\nb").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let told = "--interface a\\nb: there is no such interface; there are ";
        assert!(said.contains(told), "{args:?}: {said}");
        assert!(
            said.lines().all(|line| line.starts_with("tcpkit: ")),
            "{said}"
        );
    }
}

#[test]
fn the_last_interface_going_ends_the_run_with_its_summary() {
    if !privileged() {
        return;
    }
    for engine in ENGINES {
        let pair = Pair::new(1500);
        let _redis = Redis::start(&pair.server);
        let args = ["-i", SERVER_IF, "-p", "6379", "-q"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        clients::redis(&pair.client, SERVER_V4, 100, 1, 10);
        // What the kernel holds for libpcap goes with the interface.
        let is_seen = |all: &Value| requests(all, REDIS, "GET") == 100;
        assert!(is_seen(&figures(&pair.server, is_seen)), "{engine:?}");
        pair.server.ip(&["link", "del", SERVER_IF]);
        let ended = run.wait();
        assert!(!ended.status.success());
        assert!(
            ended.said.contains("capturing on tks has ended"),
            "{}",
            ended.said
        );
        assert!(ended.output.contains("port 6379: 20"), "{}", ended.output);
        assert!(
            ended.output.contains(" on tks (gone): "),
            "{}",
            ended.output
        );
    }
}

/// A namespace in which nothing is up yet.
#[test]
fn without_an_interface_that_is_told() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    namespace.ip(&["link", "set", "lo", "down"]);
    for engine in ENGINES {
        let run = Run::start(&namespace, &[engine, &["-i", "any", "-q"][..]].concat());
        let ended = run.stop();
        for told in [&ended.said, &ended.output] {
            let is_told =
                told.contains("eBPF on no interface yet") || told.contains("libpcap on any");
            assert!(is_told, "{told}");
        }
    }
}

/// The bridge is there before its ports are, as on hosts with containers.
#[test]
fn a_bridge_takes_xdp_from_none_of_its_ports() {
    if !privileged() {
        return;
    }
    let (host, client) = (Namespace::new(), Namespace::new());
    host.ip(&["link", "add", "br0", "type", "bridge"]);
    host.ip(&["link", "set", "br0", "up"]);
    connect((&host, "port"), (&client, "eth0"), 1500);
    host.ip(&["link", "set", "port", "master", "br0"]);
    for interfaces in ["any", "br0,port"] {
        let run = Run::start(&host, &["-i", interfaces, "-q", "--xdp"]);
        let said = run.stop().said;
        assert!(said.contains("XDP (native) and TC"), "{said}");
        assert!(!said.contains("port: no XDP"), "{said}");
    }
}

/// As pods of a node come, after the run began.
#[test]
fn a_bridge_takes_xdp_from_no_port_that_joins_it_later() {
    if !privileged() {
        return;
    }
    let (host, client) = (Namespace::new(), Namespace::new());
    host.ip(&["link", "add", "br0", "type", "bridge"]);
    host.ip(&["link", "set", "br0", "up"]);
    let run = Run::start(&host, &["-i", "any", "-q", "--xdp"]);
    let told = "br0: no XDP: it is left to the interfaces that join, TC stands in";
    assert!(run.said().contains(told), "{}", run.said());
    connect((&host, "other"), (&client, "eth0"), 1500);
    // Not up before it is a part of the bridge: it is seen as that, never before.
    host.ip(&["link", "add", "port", "type", "veth", "peer", "name", "end"]);
    host.ip(&["link", "set", "port", "master", "br0"]);
    host.ip(&["link", "set", "port", "up"]);
    run.wait_until_said("the interface port appeared");
    let ended = run.stop();
    assert!(!ended.said.contains("port: no XDP"), "{}", ended.said);
    let engine = ended.output;
    let natively = engine
        .split("; ")
        .find(|part| part.contains("XDP (native)"));
    assert!(
        natively.is_some_and(|part| part.contains("port")),
        "{engine}"
    );
}

/// Options for the receiver stand before the TCP header.
#[test]
fn what_lies_behind_an_extension_header_is_captured() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = ["-i", SERVER_IF, "-p", "6379", "-q", "--format", "json"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        let script = r#"
import socket, sys
peer = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
peer.setsockopt(socket.IPPROTO_IPV6, 59, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
peer.connect((sys.argv[1], 6379))
for _ in range(20):
    peer.sendall(b"GET nothing\r\n")
    peer.recv(99)
"#;
        let mut client = pair.client.command("python3");
        assert!(
            client
                .args(["-c", script, SERVER_V6])
                .status()
                .unwrap()
                .success()
        );
        let report = run.stop().report();
        assert_exact(&report.summary, "extension header");
        assert_eq!(requests(&report.summary, REDIS, "GET"), 20, "{engine:?}");
    }
}

/// Frames as a trunk port has them, tagged once and twice.
#[test]
fn vlan_tags_are_looked_behind() {
    if !privileged() {
        return;
    }
    for engine in ENGINES {
        // libpcap's filter holds the ports too, and behind "vlan 7" takes a second tag for another protocol.
        let tagged = if engine.contains(&"pcap") { 1 } else { 2 };
        for (filter, expected) in [(None, 3), (Some("vlan 7"), tagged)] {
            let pair = Pair::new(1500);
            let mut args = vec!["-i", SERVER_IF, "-p", "6379", "--format", "json"];
            args.extend(filter);
            let run = Run::start(&pair.server, &[engine, &args[..]].concat());
            pair.client.within(|| {
                for (port, tags) in [(1001, &[][..]), (1002, &[7]), (1003, &[7, 9])] {
                    send(&conversation(port), tags);
                }
            });
            figures(&pair.server, |all| {
                requests(all, REDIS, "PING") == expected as u64
            });
            let report = run.stop().report();
            let texts: Vec<_> = report
                .exchanges
                .iter()
                .map(|one| &one["client"]["port"])
                .collect();
            assert_eq!(texts.len(), expected, "{filter:?}: {texts:?}");
        }
    }
}

fn conversation(port: u16) -> Script {
    let mut script = Script::new(port, 6379);
    script.say(false, b"*1\r\n$4\r\nPING\r\n", 1400);
    script.say(true, b"+PONG\r\n", 1400);
    script.close();
    script
}

fn send(script: &Script, tags: &[u16]) {
    let mut device = Capture::from_device("tkc").unwrap().open().unwrap();
    for sent in &script.frames {
        let (head, rest) = sent.bytes.split_at(12);
        let mut frame = head.to_vec();
        for tag in tags {
            frame.extend([0x81, 0]);
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(rest);
        device.sendpacket(frame).unwrap();
    }
}

#[test]
fn a_second_instance_works_beside_the_first() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = [engine, &ANY[..]].concat();
        let [first, second] = [(); 2].map(|()| Run::start(&pair.server, &args));
        redis.forget();
        clients::redis(&pair.client, SERVER_V4, 500, 1, 10);
        first.signal(Signal::TERM);
        let first = first.wait().report();
        clients::redis(&pair.client, SERVER_V4, 500, 1, 10);
        let second = second.stop().report();
        assert_eq!(
            requests(&first.summary, REDIS, "SET") * 2,
            redis.calls("SET")
        );
        assert_eq!(
            requests(&second.summary, REDIS, "SET"),
            redis.calls("SET"),
            "{engine:?}: {}",
            second.summary
        );
        assert_exact(&second.summary, "second");
    }
}
