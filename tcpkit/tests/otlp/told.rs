//! A collector that works is told what the summary says.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::receiver::{Points, Receiver, points, quantile};
use crate::support::cases::Case;
use crate::support::served::free_port;
use crate::{OF_COMMANDS, pushing};

/// Runs a case to its end; what was pushed at last, and the summary.
fn told(case: &Case) -> (Vec<Value>, Value) {
    let receiver = Receiver::start();
    let url = format!("http://127.0.0.1:{}", receiver.port);
    let mut command = pushing(case, &url);
    command.args(["-t", "1ms"]);
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", case.name);
    assert!(!said.contains("--otlp"), "{said}");
    let line = String::from_utf8(output.stdout).unwrap();
    (receiver.all(), serde_json::from_str(&line).unwrap())
}

#[test]
fn every_case_is_pushed_as_its_summary_has_it() {
    for case in Case::all() {
        let (requests, summary) = told(&case);
        let points = points(&requests);
        for port in summary["ports"].as_array().unwrap() {
            same_port(&case.name, &points, port);
        }
        let capture = &summary["capture"];
        for (metric, field) in [
            ("tcpkit.capture.frames", "frames"),
            ("tcpkit.capture.gap.bytes", "gap_bytes"),
            ("tcpkit.conversations", "conversations"),
            ("tcpkit.malformed_messages", "malformed"),
        ] {
            assert_eq!(
                points[metric][""]["value"], capture[field],
                "{}: {metric}",
                case.name
            );
        }
    }
}

fn same_port(case: &str, points: &Points, port: &Value) {
    let number = port["port"].to_string();
    for (metric, field) in [
        ("tcpkit.slow_requests", "slow"),
        ("tcpkit.orphan_responses", "orphans"),
        ("tcpkit.one_way_messages", "one_way"),
    ] {
        assert_eq!(
            points[metric][&number]["value"], port[field],
            "{case}: {metric}"
        );
    }
    for command in port["commands"].as_array().unwrap() {
        let word = |name: &str| command[name].as_str().unwrap();
        let key = format!("{number} {} {}", word("protocol"), word("command"));
        for (metric, field) in OF_COMMANDS {
            assert_eq!(
                points[metric][&key]["value"], command[field],
                "{case} {key}: {metric}"
            );
        }
        same_latency(
            &format!("{case} {key}"),
            &points["tcpkit.request.duration"][&key],
            command,
        );
    }
}

/// Counts and the largest exactly; quantiles within half a bucket of the summary's, and with its own 0.8 % within the
/// 1.1 % that the manual states.
fn same_latency(what: &str, point: &Value, command: &Value) {
    assert_eq!(point["count"], command["requests"], "{what}");
    let counted: u64 = point["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(
        counted + point["zeros"].as_u64().unwrap(),
        point["count"],
        "{what}"
    );
    if counted == 0 {
        return;
    }
    let latency = |name: &str| command["latency_ns"][name].as_f64().unwrap() / 1e9;
    assert_eq!(point["max"].as_f64().unwrap(), latency("max"), "{what}");
    let average = point["sum"].as_f64().unwrap() / point["count"].as_f64().unwrap();
    assert!(
        (average - latency("avg")).abs() <= 1.1e-9,
        "{what}: {average}"
    );
    for (part, name) in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")] {
        let (told, expected) = (quantile(point, part), latency(name));
        // The summary tells no more than the largest, whose place may reach beyond it.
        let within = if expected == latency("max") {
            0.011
        } else {
            0.004
        };
        assert!(
            (told - expected).abs() <= expected * within + 1e-9,
            "{what} {name}: {told} {expected}"
        );
    }
}

#[test]
fn a_push_says_who_counts_and_in_which_units() {
    let mut receiver = Receiver::start();
    let url = format!("http://localhost:{}/otlp/", receiver.port);
    let mut command = pushing(&Case::named("redis-cli"), &url);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "X-Tenant=a%20b");
    command.env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=lab",
    );
    assert!(command.output().unwrap().status.success());
    let request = receiver.next();
    assert_eq!(request["path"], "/otlp/v1/metrics");
    assert_eq!(request["tenant"], "a b");
    assert_eq!(request["scope"], "tcpkit");
    let resource = &request["resource"];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(resource["service.name"], "tcpkit");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(resource["host.name"], host.trim());
    assert_eq!(resource["deployment.environment.name"], "lab");
    let unit = |name: &str| {
        let metrics = request["metrics"].as_array().unwrap().iter();
        let mut named = metrics.filter(|metric| metric["name"] == name);
        (
            named.next().unwrap()["unit"].clone(),
            named.next().is_none(),
        )
    };
    for (name, expected) in [
        ("tcpkit.request.duration", "s"),
        ("tcpkit.request.bytes", "By"),
        ("tcpkit.tcp.open_connections", "{connection}"),
        ("tcpkit.capture.frames", "{frame}"),
    ] {
        assert_eq!(unit(name), (expected.into(), true), "{name}");
    }
    // Words are told apart from numbers.
    let points = points(&[request]);
    let point = points["tcpkit.request.duration"].values().next().unwrap();
    assert!(point["attributes"]["port"].is_u64(), "{point}");
}

#[test]
fn pushes_go_on_at_their_interval_and_are_counted() {
    let mut receiver = Receiver::start();
    let url = format!("http://127.0.0.1:{}", receiver.port);
    let mut command = pushing(&Case::named("redis-cli"), &url);
    let mut child = command
        .args(["--linger", "-P", &free_port().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let accepted = |request: &Value| {
        let pushes = request["metrics"].as_array().unwrap().iter();
        let pushes = pushes.filter(|metric| metric["name"] == "tcpkit.otlp.pushes");
        pushes.clone().next().unwrap()["points"][0]["value"].as_u64()
    };
    for before in 0..5 {
        assert_eq!(accepted(&receiver.next()), Some(before));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_collector_behind_tls_is_told_if_its_certificate_is_good() {
    let folder = std::env::temp_dir().join(format!("tcpkit-otlp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ]);
    openssl.args([
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]);
    openssl.args(["-addext", "basicConstraints=CA:FALSE"]);
    openssl
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    let receiver = Receiver::with_tls(&certificate, &key);
    let url = format!("https://localhost:{}", receiver.port);
    let push = |trusted: bool| {
        let mut command = pushing(&Case::named("redis-cli"), &url);
        if trusted {
            command.env("SSL_CERT_FILE", &certificate);
        }
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = push(false);
    assert!(
        said.contains("--otlp https://localhost") && said.contains("certificate"),
        "{said}"
    );
    let said = push(true);
    assert!(!said.contains("--otlp"), "{said}");
    assert_eq!(receiver.all().len(), 1);
    let _ = std::fs::remove_dir_all(&folder);
}
