//! A real Prometheus with the example's configuration scrapes a live run: every panel of the Grafana dashboard has data,
//! rules are evaluated, and alerts are raised where there is a reason.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::clients;
use crate::net::{Namespace, privileged};
use crate::run::Run;
use crate::servers::{self, REDIS, Redis, Server};
use crate::support::wait_for;

const PROMETHEUS: (&str, u16) = ("127.0.0.1", 9090);

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Prometheus with the files of the example; only how often it asks and evaluates differs.
fn prometheus(namespace: &Namespace) -> Server {
    let folder = servers::scratch("prometheus");
    let config = example("prometheus/prometheus.yml");
    let hurried = config.replace(
        "scrape_interval: 15s",
        "scrape_interval: 1s\n  evaluation_interval: 1s",
    );
    assert_ne!(config, hurried);
    std::fs::write(folder.join("prometheus.yml"), hurried).unwrap();
    let rules = example("prometheus/tcpkit-rules.yml");
    std::fs::write(folder.join("tcpkit-rules.yml"), rules).unwrap();
    let mut command = namespace.command("prometheus");
    command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
    command.arg("--web.listen-address=127.0.0.1:9090");
    Server::start(command, folder, || is_ready(namespace))
}

/// What it answers: status line and headers, and the body. Nothing, while it does not listen.
fn answer(namespace: &Namespace, path: &str) -> Option<(String, String)> {
    namespace.within(|| {
        let mut stream = TcpStream::connect(PROMETHEUS).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Some((head.to_owned(), body.to_owned()))
    })
}

/// It listens before it can answer: until then it says 503 to everything.
fn is_ready(namespace: &Namespace) -> bool {
    answer(namespace, "/-/ready").is_some_and(|(head, _)| head.contains(" 200 "))
}

/// The data of an answer of Prometheus' API.
fn asked(namespace: &Namespace, path: &str) -> Value {
    let (head, body) = answer(namespace, &format!("/api/v1/{path}")).unwrap();
    let body: Result<Value, _> = serde_json::from_str(&body);
    let mut body = body.unwrap_or_else(|error| panic!("{path}: {error}: {head}"));
    assert_eq!(body["status"], "success", "{path}: {body}");
    body["data"].take()
}

/// The values that an expression has now.
fn values(namespace: &Namespace, expression: &str) -> Vec<f64> {
    let encoded: String = expression
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let data = asked(namespace, &format!("query?query={encoded}"));
    let results = data["result"].as_array().unwrap().iter();
    results
        .map(|result| result["value"][1].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Commands that redis does not know.
fn fail(namespace: &Namespace, times: usize) {
    namespace.within(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", REDIS)).unwrap();
        for _ in 0..times {
            stream.write_all(b"*1\r\n$6\r\nNOSUCH\r\n").unwrap();
            assert!(stream.read(&mut [0; 256]).unwrap() > 0);
        }
    });
}

/// What the dashboard asks, with its variables as Grafana puts them in.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&example("grafana/tcpkit-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    let put_in = |expression: &str| {
        let timed = expression.replace("$__rate_interval", "10s");
        ["$job", "$instance", "$port"]
            .iter()
            .fold(timed, |text, variable| text.replace(variable, ".*"))
    };
    expressions.map(put_in).collect()
}

/// Whether the traffic of the test is in the figures of this name, so that they are not 0.
fn is_moved(expression: &str) -> bool {
    let moved = [
        "request_duration",
        "response_errors",
        "key_hits",
        "_bytes_total",
        "responses_total",
        "opened_connections",
    ];
    moved.iter().any(|name| expression.contains(name))
}

fn state_of(namespace: &Namespace, alert: &str) -> Value {
    let rules = asked(namespace, "rules");
    let groups = rules["groups"].as_array().unwrap().iter();
    let mut rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let rule = rules.find(|rule| rule["name"] == alert);
    rule.unwrap_or_else(|| panic!("no rule {alert}"))["state"].clone()
}

/// Tells the clients to end, also when the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn prometheus_has_data_for_every_panel_and_rule() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let _redis = Redis::start(&namespace);
    let (_nginx, _) = servers::nginx(&namespace, &[100]);
    let run = Run::start(
        &namespace,
        &["-i", "lo", "-p", "6379,80", "-q", "-t", "1ms"],
    );
    let _prometheus = prometheus(&namespace);
    // The rates of the panels are those of the last 10 s: clients go on for as long as somebody asks.
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _done = Done(&is_done);
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                clients::redis(&namespace, "127.0.0.1", 100, 1, 10);
                namespace.within(|| clients::http("127.0.0.1", 20, 1, 100));
                fail(&namespace, 50);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        for expression in panels() {
            wait_for(&expression, || {
                let values = values(&namespace, &expression);
                let is_told =
                    |value: &f64| !value.is_nan() && (*value > 0.0 || !is_moved(&expression));
                values.iter().any(is_told)
            });
        }
    });
    for rule in [
        "port:tcpkit_requests:rate5m",
        "port:tcpkit_request_duration_seconds:p99_5m",
    ] {
        wait_for(rule, || {
            let told = values(&namespace, rule);
            told.len() == 2 && told.iter().all(|value| *value > 0.0)
        });
    }
    let rules = asked(&namespace, "rules");
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    wait_for("TcpkitErrors", || {
        state_of(&namespace, "TcpkitErrors") == "pending"
    });
    // A scrape that a busy machine made fail is made good by the next.
    wait_for("no TcpkitAway", || {
        state_of(&namespace, "TcpkitAway") == "inactive"
    });
    run.stop();
    wait_for("TcpkitAway", || {
        state_of(&namespace, "TcpkitAway") == "pending"
    });
}
