//! A collector that somebody else wrote takes the pushes, and hands on what the snapshot says.
//!
//! Rotel speaks OTLP both ways: it decodes, batches and encodes anew, so whatever it does not understand is lost on the way.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::receiver::{Points, Receiver, points};
use crate::support::cases::Case;
use crate::support::served::{Served, free_port};
use crate::support::{python, wait_for};
use crate::{OF_COMMANDS, pushing};

/// A running collector, which hands on what it is told.
struct Collector {
    child: Child,
    port: u16,
}

impl Collector {
    fn start(receiver: &Receiver) -> Self {
        let find =
            "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let found = Command::new(python()).args(["-c", find]).output().unwrap();
        let program = String::from_utf8(found.stdout).unwrap();
        assert!(
            found.status.success(),
            "no collector; `cargo xtask test` installs it"
        );
        let port = free_port();
        let mut command = Command::new(program.trim());
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.args(["start", "--exporter", "otlp"]);
        command.args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")]);
        command.args([
            "--otlp-grpc-endpoint",
            &format!("127.0.0.1:{}", free_port()),
        ]);
        let next = format!("http://127.0.0.1:{}", receiver.port);
        command.args(["--otlp-exporter-endpoint", &next]);
        command.args(["--otlp-exporter-protocol", "http"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        wait_for("it does not listen", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { child, port }
    }

    /// Ends it, once it has handed on all that it holds.
    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes out of the collector after a run over the case.
fn handed_on(case: &Case) -> Points {
    let receiver = Receiver::start();
    let collector = Collector::start(&receiver);
    let mut command = pushing(case, &format!("http://127.0.0.1:{}", collector.port));
    command.args(["-t", "1ms"]);
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("--otlp"),
        "{said}"
    );
    collector.end();
    points(&receiver.all())
}

#[test]
fn a_collector_hands_on_what_the_snapshot_says() {
    for name in ["redis-commands", "http-keepalive", "dns-udp"] {
        let case = Case::named(name);
        let points = handed_on(&case);
        let args = case.args();
        let args = args.iter().map(String::as_str).chain(["-t", "1ms"]);
        let served = Served::start(&case.input(), &args.collect::<Vec<_>>());
        let snapshot = served.snapshot();
        let all = &snapshot["periods"][0];
        let value = |metric: &str, key: &str| &points[metric][key]["value"];
        for (metric, field) in [
            ("tcpkit.capture.frames", "frames"),
            ("tcpkit.conversations", "conversations"),
        ] {
            assert_eq!(value(metric, ""), &all["coverage"][field], "{name}");
        }
        for stage in snapshot["stages"].as_array().unwrap() {
            let key = stage["name"].as_str().unwrap();
            assert_eq!(value("tcpkit.capture.passed", key), &stage["passed"]);
        }
        for port in all["ports"].as_array().unwrap() {
            let number = port["port"].to_string();
            for (metric, field) in [
                ("tcpkit.slow_requests", "slow"),
                ("tcpkit.one_way_messages", "one_way"),
            ] {
                assert_eq!(value(metric, &number), &port[field], "{name} {number}");
            }
            for command in port["commands"].as_array().unwrap() {
                same_command(&points, &number, command);
            }
        }
    }
}

fn same_command(points: &Points, port: &str, command: &Value) {
    let word = |name: &str| command[name].as_str().unwrap();
    let key = format!("{port} {} {}", word("protocol"), word("command"));
    for (metric, field) in OF_COMMANDS {
        let told = &points[metric][&key]["value"];
        assert_eq!(told, &command[field], "{key}: {metric}");
    }
    let durations = &points["tcpkit.request.duration"][&key];
    assert_eq!(durations["count"], command["requests"], "{key}");
    let counts = durations["buckets"].as_array().unwrap().iter();
    let counted: u64 = counts.filter_map(Value::as_u64).sum();
    let zeros = durations["zeros"].as_u64().unwrap();
    assert_eq!(Value::from(counted + zeros), command["requests"], "{key}");
    if command["requests"] != 0 {
        let latency = |name: &str| command["latency"][name].as_f64().unwrap() / 1e9;
        assert_eq!(durations["max"].as_f64().unwrap(), latency("max"), "{key}");
        let apart = durations["sum"].as_f64().unwrap() - latency("sum");
        assert!(apart.abs() <= 1e-6, "{key}: {apart}");
    }
}
