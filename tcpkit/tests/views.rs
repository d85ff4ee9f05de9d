//! The ways to read figures tell the same: summary, lines of an interval, JSON, the statistics port, the terminal.
//!
//! The terminal is a real one, tmux's; it is asked for what it shows, and whether it was given back.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod common;
mod support;

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{ACK, Script};
use serde_json::Value;
use support::served::Served;
use support::tcpkit;
use support::window::Window;
use tcpkit::sink::stats::snapshot::Snapshot;
use tcpkit::top::units;

/// Requests of many latencies within a second, then three seconds of nothing, so that one interval holds them all.
fn recording() -> PathBuf {
    let mut script = Script::new(40_000, 6379);
    for turn in 0..200_u64 {
        let command = if turn % 3 == 0 { "INCR" } else { "LLEN" };
        let asked = format!("*2\r\n$4\r\n{command}\r\n$1\r\nk\r\n");
        script.say(false, asked.as_bytes(), 1400);
        script.pass(1_000 + turn * turn * 37);
        let answer: &[u8] = if turn % 50 == 0 {
            b"-ERR no\r\n"
        } else {
            b":1\r\n"
        };
        script.say(true, answer, 1400);
    }
    for _ in 0..3 {
        script.pass(1_000_000_000);
        script.send(false, ACK, &[]);
    }
    common::save(&script.frames, "views")
}

fn run(file: &Path, args: &[&str]) -> String {
    let output = tcpkit().arg("-r").arg(file).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The figures of a line, behind its stamp and `port N: `.
fn figures(line: &str) -> &str {
    line.split_once("port 6379: ").unwrap().1
}

#[test]
fn interval_lines_summary_and_snapshot_are_of_one_definition() {
    let file = recording();
    let args = ["-p", "6379=redis", "-t", "1ms", "--interval", "1"];
    let text = run(&file, &[&args[..], &["-q"]].concat());
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("port 6379: "))
        .collect();
    let is_full = |line: &&&str| figures(line).starts_with("200 requests");
    let told: Vec<&&str> = lines.iter().filter(is_full).collect();
    assert_eq!(told.len(), 2, "an interval and the summary:\n{text}");
    assert_eq!(figures(told[0]), figures(told[1]));

    let served = Served::start(&file, &args);
    let summary = served.summary();
    let port = &summary["ports"][0];
    let interval = served
        .said
        .iter()
        .find(|line| line["type"] == "interval" && line["ports"][0]["requests"] == 200);
    let interval = &interval.unwrap()["ports"][0];
    for field in [
        "requests",
        "slow",
        "unanswered",
        "latencies",
        "latency_ns",
        "commands",
    ] {
        assert_eq!(interval[field], port[field], "{field}");
    }
    let snapshot = served.snapshot();
    let told = &snapshot["periods"][0]["ports"][0];
    for quantile in ["avg", "p50", "p90", "p99", "p999", "max"] {
        assert_eq!(
            port["latency_ns"][quantile], told["latency"][quantile],
            "{quantile}"
        );
    }
    assert_eq!(
        (&port["requests"], &port["slow"], &port["latencies"]),
        (&told["requests"], &told["slow"], &told["latencies"])
    );

    let lines = run(&file, &["-p", "6379=redis", "--format", "json"]);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let latencies: Vec<u64> = lines
        .filter_map(|line| line["latency_ns"].as_u64())
        .collect();
    assert_eq!(latencies.len(), 200);
    assert_eq!(latencies.iter().sum::<u64>(), told["latency"]["sum"]);
    assert_eq!(*latencies.iter().max().unwrap(), told["latency"]["max"]);
    assert_eq!(
        latencies.iter().filter(|ns| **ns >= 1_000_000).count() as u64,
        told["slow"]
    );
    std::fs::remove_file(file).unwrap();
}

fn demo() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo/redis.pcap"))
}

/// Every figure of the snapshot's commands stands in the terminal, in the row of its command.
fn assert_shows(shown: &str, snapshot: &Snapshot) {
    let period = snapshot.since_start().unwrap();
    let all = &period.ports[0];
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let tiles = words(shown.lines().nth(2).unwrap());
    let latency = &all.latency;
    let expected = [
        units::count(all.requests),
        units::rate(all.requests, period.length_ns),
        units::time(latency.p50),
        units::time(latency.p99),
        units::time(latency.max),
        units::count(all.errors),
        units::count(all.unanswered),
    ];
    assert!(
        tiles.starts_with(&expected.join(" ")),
        "{tiles}\n{expected:?}"
    );
    for command in &all.commands {
        let row = [
            command.command.clone(),
            command.protocol.clone(),
            units::count(command.requests),
            units::rate(command.requests, period.length_ns),
            units::time(command.latency.p50),
            units::time(command.latency.p90),
            units::time(command.latency.p99),
            units::time(command.latency.max),
            units::count(command.errors),
        ];
        let row = row.join(" ");
        assert!(
            shown.lines().any(|line| words(line).starts_with(&row)),
            "no `{row}` in\n{shown}"
        );
    }
    for (count, bound) in all.latencies.iter().zip(&snapshot.bounds_ns) {
        let row = format!("≤ {}", units::bound(*bound));
        let line = shown
            .lines()
            .find(|line| line.trim().starts_with(&row))
            .unwrap();
        assert!(
            words(line).contains(&format!(" {}", units::count(*count))),
            "{line}"
        );
    }
}

#[test]
fn the_terminal_shows_what_the_snapshot_tells() {
    let served = Served::start(demo(), &[]);
    let snapshot: Snapshot = serde_json::from_value(served.snapshot()).unwrap();
    let file = format!("-r {}", demo().display());
    let other = format!("--from {}", served.address);
    for (name, args) in [("file", file), ("other", other)] {
        let window = Window::open(name, 120, 50, &args);
        assert_shows(&window.wait_for("ended"), &snapshot);
        window.tmux(&["send-keys", "/", "incr", "Enter"]);
        let shown = window.wait_for("only rows with");
        assert!(
            shown.contains("INCR") && !shown.contains("HGETALL"),
            "{shown}"
        );
        window.tmux(&["resize-window", "-x", "60", "-y", "15"]);
        window.wait_for("only rows with");
        window.tmux(&["send-keys", "?"]);
        window.wait_for("show all rows");
        window.tmux(&["send-keys", "?", "q"]);
        window.assert_given_back("0");
    }
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let window = Window::open("signal", 80, 24, &format!("-r {}", demo().display()));
    window.wait_for("ended");
    let killed = Command::new("kill")
        .arg(window.note("pid"))
        .status()
        .unwrap();
    assert!(killed.success());
    window.assert_given_back("0");
}

#[test]
fn where_nobody_answers_the_terminal_says_so() {
    let port = support::served::free_port();
    let window = Window::open("nobody", 80, 24, &format!("--from 127.0.0.1:{port}"));
    let shown = window.wait_for("refused");
    assert!(shown.contains("no answer"), "{shown}");
    window.tmux(&["send-keys", "C-c"]);
    window.assert_given_back("0");
    let window = Window::open("missing", 80, 24, "-r no-such.pcap");
    window.wait_for("no-such.pcap");
    window.assert_given_back("1");
}

/// Both ends of a terminal of 80 columns; no other process inherits them.
fn terminal() -> (File, File) {
    let size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let mut name = [0; 64];
    // SAFETY: makes a descriptor, which belongs to nobody else; reads a size; writes a name, which has an end.
    let (near, name) = unsafe {
        let near = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(near >= 0);
        assert_eq!(libc::unlockpt(near), 0);
        assert_eq!(libc::ioctl(near, libc::TIOCSWINSZ, &raw const size), 0);
        assert_eq!(libc::ptsname_r(near, name.as_mut_ptr(), name.len()), 0);
        (File::from_raw_fd(near), CStr::from_ptr(name.as_ptr()))
    };
    let mut far = File::options();
    let far = far.read(true).write(true).custom_flags(libc::O_NOCTTY);
    (near, far.open(name.to_str().unwrap()).unwrap())
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let (mut near, far) = terminal();
    let mut child = tcpkit()
        .args(["top", "-r"])
        .arg(demo())
        .stdin(far.try_clone().unwrap())
        .stdout(far.try_clone().unwrap())
        .stderr(far)
        .spawn()
        .unwrap();
    let mut drawn = Vec::new();
    while !String::from_utf8_lossy(&drawn).contains("KEYS") {
        let mut bytes = [0; 4096];
        let count = near.read(&mut bytes).unwrap();
        drawn.extend(&bytes[..count]);
    }
    drop(near);
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn without_a_terminal_top_says_so() {
    let output = tcpkit().args(["top", "-r"]).arg(demo()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("standard output"), "{said}");
}
