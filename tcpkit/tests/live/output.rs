//! Outputs that stall: nothing waits for them, what they miss is counted, and the end still comes.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::ENGINES;
use crate::clients;
use crate::net::{Namespace, Pair, SERVER_IF, SERVER_V4, privileged};
use crate::readers::figures;
use crate::run::{Run, assert_exact, requests};
use crate::servers::{REDIS, Redis, scratch};
use crate::support::{Report, program};

/// Some 40 MB of JSON lines: more than the queue and the pipe hold.
const REQUESTS: u64 = 30_000;

const ARGS: [&str; 8] = [
    "-i", "any", "-p", "6379", "--format", "json", "-B", "262144",
];

#[test]
fn a_report_that_is_not_read_for_a_while_loses_whole_lines_and_nothing_else() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let (run, mut stdout) = Run::unread(&pair.server, &[engine, &ARGS[..]].concat());
        redis.forget();
        clients::redis(&pair.client, SERVER_V4, REQUESTS, 16, 100);
        // Loss is told when it happens.
        run.wait_until_said("lines of the report");
        run.signal(Signal::TERM);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        let ended = run.wait();
        assert!(ended.status.success());
        let report = Report::parse(&text).unwrap();
        assert_exact(&report.summary, "all was captured");
        let counted = redis.calls("SET") + redis.calls("GET");
        let reported =
            requests(&report.summary, REDIS, "SET") + requests(&report.summary, REDIS, "GET");
        assert_eq!(reported, counted);
        let dropped = report.summary["live"]["lines_dropped"].as_u64().unwrap();
        assert!(dropped > 0);
        // redis-benchmark asks for the configuration too.
        let printed = report.exchanges.len() as u64;
        let all: u64 = report.summary["ports"][0]["requests"].as_u64().unwrap();
        assert_eq!(printed + dropped, all);
    }
}

#[test]
fn a_report_that_is_never_read_does_not_keep_the_end() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let (run, stdout) = Run::unread(&pair.server, &[engine, &ARGS[..]].concat());
        redis.forget();
        clients::redis(&pair.client, SERVER_V4, REQUESTS, 16, 100);
        // The end is timed, not what a busy machine's reader has to catch up with.
        let counted = redis.calls("GET");
        let has_caught_up = |all: &Value| requests(all, REDIS, "GET") == counted;
        assert!(has_caught_up(&figures(&pair.server, has_caught_up)));
        let ended = run.stop();
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        assert!(ended.status.success(), "{}", ended.said);
        assert!(
            ended.said.contains("the report is not read"),
            "{}",
            ended.said
        );
        drop(stdout);
    }
}

#[test]
fn a_full_disk_for_saved_frames_ends_the_run_with_its_summary() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let args = ["-i", SERVER_IF, "-p", "6379", "-q", "-w", "/dev/full"];
        let run = Run::start(&pair.server, &[engine, &args[..]].concat());
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    clients::redis(&pair.client, SERVER_V4, 1000, 16, 1000);
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
            run.wait()
        });
        assert!(!ended.status.success());
        let why = "/dev/full: cannot be written";
        assert!(ended.said.contains(why), "{}", ended.said);
        assert!(ended.output.contains("port 6379: "), "{}", ended.output);
    }
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    if !privileged() {
        return;
    }
    let pair = Pair::new(1500);
    let _redis = Redis::start(&pair.server);
    for engine in ENGINES {
        let (run, stdout) = Run::unread(&pair.server, &[engine, &ARGS[..]].concat());
        drop(stdout);
        let begun = Instant::now();
        let client = std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    clients::redis(&pair.client, SERVER_V4, 10, 1, 10);
                    std::thread::sleep(Duration::from_secs(1));
                }
            });
            run.wait()
        });
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(
            client.status.success(),
            "{}: {}",
            client.status,
            client.said
        );
        let expected = |line: &str| {
            let told = ["capturing with ", "no XDP", "statistics are served"];
            told.iter().any(|one| line.contains(one))
        };
        assert!(client.said.lines().all(expected), "{}", client.said);
    }
}

/// Ethernet on loopback, none on the tunnel.
#[test]
fn what_a_pcap_file_cannot_hold_is_told_before_anything_is_captured() {
    if !privileged() {
        return;
    }
    let host = Namespace::new();
    if !host.tunnel("t0") {
        return;
    }
    let folder = scratch("links");
    let [classic, block] = ["x.pcap", "x.pcapng"].map(|name| folder.join(name));
    let [classic, block] = [&classic, &block].map(|path| path.to_str().unwrap());
    let why = format!(
        "tcpkit: --write {classic}: a pcap file holds one link type, and lo has Ethernet, but t0 has raw IP: "
    );
    std::fs::write(classic, "kept").unwrap();
    for engine in ENGINES {
        let mut command = host.command(&program().to_string_lossy());
        command
            .args(*engine)
            .args(["-i", "lo,t0", "-q", "-w", classic]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        assert_eq!(
            said,
            format!("{why}a file that is named .pcapng holds both\n")
        );
        assert_eq!(std::fs::read(classic).unwrap(), b"kept");
        let args = ["-i", "lo,t0", "-q", "-w", block];
        let ended = Run::start(&host, &[engine, &args[..]].concat()).stop();
        assert!(ended.status.success() && !ended.said.contains("link type"));
    }
    // Standard output has no name that says otherwise.
    let mut command = host.command(&program().to_string_lossy());
    command.args(["-i", "lo,t0", "-q", "-w", "-", "--duration", "1s"]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let told = "holds one link type, and lo has Ethernet, but t0 has raw IP: saving ends";
    assert!(output.status.success() && said.contains(told), "{said}");
    // Who named none cannot know of the tunnel, and may see nothing of it.
    for engine in ENGINES {
        let args = ["-i", "any", "-q", "-w", classic];
        let ended = Run::start(&host, &[engine, &args[..]].concat()).stop();
        assert!(ended.status.success(), "{}", ended.said);
        // libpcap makes one of what all have.
        let is_told = !engine.contains(&"pcap");
        let told = format!("{why}saving ends at the first frame of a second type; ");
        assert_eq!(ended.said.contains(&told), is_told, "{}", ended.said);
    }
    std::fs::remove_dir_all(folder).unwrap();
}
