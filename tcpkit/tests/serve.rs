//! What the statistics port tells, and whom it cannot be kept from telling.
//!
//! The oracle is the summary of the same run, which other tests hold to what servers and clients knew.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::cases::Case;
use support::client::{ask, middle};
use support::served::free_port;
use support::{python, tcpkit};
use tcpkit::limits::SILENCE;

/// A run that goes on answering after the end of its file.
struct Run {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Run {
    fn start(case: &Case, args: &[&str]) -> Self {
        Self::start_at(&format!("127.0.0.1:{}", free_port()), case, args)
    }

    fn start_at(address: &str, case: &Case, args: &[&str]) -> Self {
        // Arguments name scripts from the case's folder.
        let mut child = tcpkit()
            .current_dir(case.path(""))
            .arg("-r")
            .arg(case.input())
            .args(case.args())
            .args(["-q", "--format", "json", "--linger", "-P", address])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let address = address.to_owned();
        Self {
            child,
            out,
            address,
        }
    }

    /// The summary, once the file has ended.
    fn summary(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        let time = Some(Duration::from_secs(20));
        stream.set_read_timeout(time).unwrap();
        stream
    }

    /// The status line and the body of an answer.
    fn get(&self, path: &str, accept: &str) -> (String, String) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        let answer = ask(&self.address, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn body(&self, path: &str) -> String {
        let (head, body) = self.get(path, "*/*");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        body
    }

    fn snapshot(&self) -> Value {
        serde_json::from_str(&self.body("/api/v1/snapshot")).unwrap()
    }

    /// What a client is told that sends `bytes` and then is silent.
    fn told_after(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        told
    }

    /// Anonymous memory in bytes.
    fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn schema() -> jsonschema::Validator {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/schema/snapshot-1.json"
    );
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

/// The classic JSON that a summary amounts to, put together by hand.
fn classic(summary: &Value, sums: &[u64]) -> String {
    let ports = summary["ports"].as_array().unwrap().iter().zip(sums);
    let elements = ports.map(|(port, sum)| {
        format!(
            "{{\"{}\":{{\"total_reqs\":{},\"total_costs\":{},\"slow_reqs\":{},\"latencies\":{}}}}}",
            port["port"],
            port["requests"],
            sum / 1000,
            port["slow"],
            port["latencies"]
        )
    });
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

/// Fields that are the same in a summary's port or command and in a snapshot's.
fn same(case: &str, summary: &Value, told: &Value, fields: &[&str]) {
    for field in fields {
        assert_eq!(summary[*field], told[*field], "{case}: {field}");
    }
    for quantile in ["avg", "p50", "p90", "p99", "p999", "max"] {
        let expected = &summary["latency_ns"][quantile];
        assert_eq!(*expected, told["latency"][quantile], "{case}: {quantile}");
    }
}

fn same_ports(case: &str, summary: &Value, told: &Value) {
    const PORT: [&str; 11] = [
        "port",
        "requests",
        "slow",
        "unanswered",
        "blocking",
        "ambiguous",
        "resynced",
        "one_way",
        "orphans",
        "late",
        "latencies",
    ];
    const COMMAND: [&str; 9] = [
        "protocol",
        "command",
        "requests",
        "errors",
        "unanswered",
        "hits",
        "misses",
        "request_bytes",
        "response_bytes",
    ];
    let (ports, told) = (
        summary["ports"].as_array().unwrap(),
        told.as_array().unwrap(),
    );
    assert_eq!(ports.len(), told.len(), "{case}");
    for (port, told) in ports.iter().zip(told) {
        same(case, port, told, &PORT);
        for command in port["commands"].as_array().unwrap() {
            let named = |other: &&Value| {
                other["command"] == command["command"] && other["protocol"] == command["protocol"]
            };
            let told = told["commands"].as_array().unwrap().iter().find(named);
            same(case, command, told.unwrap(), &COMMAND);
        }
    }
}

#[test]
fn every_case_is_told_as_its_summary_has_it() {
    let schema = schema();
    for case in Case::all() {
        for threads in ["1", "2"] {
            let mut run = Run::start(&case, &["-t", "1ms", "--keys", "-j", threads]);
            let summary = run.summary();
            let snapshot = run.snapshot();
            if let Err(error) = schema.validate(&snapshot) {
                panic!("{}: {error}", case.name);
            }
            let all = &snapshot["periods"][0];
            same_ports(&case.name, &summary, &all["ports"]);
            assert_eq!(summary["capture"], all["coverage"], "{}", case.name);
            let sum = |port: &Value| port["latency"]["sum"].as_u64().unwrap();
            let sums: Vec<u64> = all["ports"].as_array().unwrap().iter().map(sum).collect();
            let expected = classic(&summary, &sums);
            assert_eq!(run.told_after(b""), expected, "{}", case.name);
            assert_eq!(run.body("/stats"), expected, "{}", case.name);
            clients_add_up(&case.name, all);
        }
    }
}

/// The clients' requests are the ports'.
fn clients_add_up(case: &str, all: &Value) {
    let count = |list: &Value| -> u64 {
        let list = list.as_array().unwrap().iter();
        list.filter_map(|one| one["requests"].as_u64()).sum()
    };
    let others = all["other_clients"]["requests"].as_u64().unwrap();
    assert_eq!(
        count(&all["ports"]),
        count(&all["clients"]) + others,
        "{case}"
    );
}

#[test]
fn clients_that_speak_no_http_get_the_classic_form() {
    let mut run = Run::start(&Case::named("redis-cli"), &[]);
    run.summary();
    let expected = run.body("/stats");
    for bytes in [
        &b""[..],
        b"\n",
        b"stats\r\n",
        b"\x16\x03\x01",
        b"get / HTTP/1.1\r\n",
    ] {
        assert_eq!(run.told_after(bytes), expected, "{bytes:?}");
    }
    // A client that says nothing is given the time in which one that speaks HTTP would have begun.
    let second = Duration::from_secs(1);
    let took = middle(|| assert_eq!(run.told_after(b""), expected));
    assert!(
        took >= Duration::from_millis(50) && took < second,
        "{took:?}"
    );
    let mut told = String::new();
    let took = middle(|| {
        let mut stream = run.connect();
        stream.shutdown(Shutdown::Write).unwrap();
        told.clear();
        stream.read_to_string(&mut told).unwrap();
        assert_eq!(told, expected);
    });
    assert!(took < second, "{took:?}");
    // What might have become a method, but will not.
    let mut stream = run.connect();
    stream.write_all(b"GE").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    told.clear();
    stream.read_to_string(&mut told).unwrap();
    assert_eq!(told, expected);
}

/// Not every client sends its request in one piece.
#[test]
fn a_method_that_comes_in_two_pieces_is_one() {
    let mut run = Run::start(&Case::named("redis-cli"), &[]);
    run.summary();
    loop {
        let begun = Instant::now();
        let mut stream = run.connect();
        stream.write_all(b"GE").unwrap();
        // A machine that is busy with others may keep it silent for so long that it is told the classic form.
        if begun.elapsed() >= SILENCE {
            continue;
        }
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(b"T /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.0 200 OK\r\n"), "{told}");
        break;
    }
}

#[test]
fn paths_and_methods_are_answered() {
    let mut run = Run::start(&Case::named("redis-cli"), &["-m", "redis"]);
    run.summary();
    assert_eq!(run.body("/healthz"), "ok\n");
    assert!(run.body("/").starts_with("<!doctype html>"));
    let text = run.body("/stats?form=object");
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["type"], "redis");
    assert!(object["in_packets"].as_u64().unwrap() > 0);
    let ends = format!(",\"ports\":{}}}", run.body("/stats"));
    assert!(text.ends_with(&ends), "{text}");
    let (head, _) = run.get("/nowhere", "*/*");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let told = ask(&run.address, post);
    assert!(told.starts_with("HTTP/1.1 405 "), "{told}");
    let (head, _) = run.get("/", "*/*");
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
}

#[test]
fn keys_are_told_only_where_they_are_asked_for() {
    let case = Case::named("redis-benchmark-16");
    let told = |args: &[&str]| {
        let mut run = Run::start(&case, args);
        run.summary();
        (run.body("/api/v1/snapshot"), run.body("/metrics"))
    };
    for (args, shows) in [
        (&[][..], false),
        (&["--keys=hash"], false),
        (&["--keys"], true),
    ] {
        let (snapshot, metrics) = told(args);
        assert_eq!(snapshot.contains("key:0000"), shows, "{args:?}");
        assert!(!metrics.contains("key:0000") && !metrics.contains("127.0.0.1"));
        assert!(!snapshot.contains("xxx"), "a value");
        let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
        let hot = snapshot["periods"][0]["hot_keys"].as_array().unwrap();
        assert_eq!(hot.is_empty(), args.is_empty(), "{args:?}");
    }
}

#[test]
fn no_secret_is_told() {
    for case in Case::all() {
        let truth = case.truth();
        let Some(secrets) = truth["secrets"].as_array() else {
            continue;
        };
        let mut run = Run::start(&case, &["--keys"]);
        run.summary();
        let snapshot = run.body("/api/v1/snapshot");
        for secret in secrets.iter().filter_map(Value::as_str) {
            assert!(!snapshot.contains(secret), "{}: {secret}", case.name);
        }
    }
}

#[test]
fn prometheus_reads_the_metrics() {
    for name in [
        "redis-commands",
        "http-keepalive",
        "dns-udp",
        "memcached-text",
    ] {
        let mut run = Run::start(&Case::named(name), &["-t", "1ms"]);
        let summary = run.summary();
        let (head, metrics) = run.get("/metrics", "*/*");
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        promtool(&metrics);
        let open = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        let (head, metrics) = run.get("/metrics", open);
        assert!(
            head.contains("application/openmetrics-text; version=1.0.0"),
            "{head}"
        );
        assert!(metrics.ends_with("# EOF\n"));
        parse_open_metrics(&metrics);
        let counted = |line: &&str| line.starts_with("tcpkit_request_duration_seconds_count{");
        let number = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        let total: u64 = metrics.lines().filter(counted).filter_map(number).sum();
        let ports = summary["ports"].as_array().unwrap().iter();
        let expected: u64 = ports.filter_map(|port| port["requests"].as_u64()).sum();
        assert_eq!(total, expected, "{name}");
    }
}

/// Fails on what promtool warns of, too.
fn promtool(metrics: &str) {
    check(&["promtool", "check", "metrics"], metrics);
}

/// The parser of Prometheus' own Python client, which refuses what the specification forbids.
fn parse_open_metrics(metrics: &str) {
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        families = {family.name for family in parse(sys.stdin.read())}\n\
        assert 'tcpkit_request_duration_seconds' in families, families";
    check(&[&python().to_string_lossy(), "-c", script], metrics);
}

/// The same in the summary, the snapshot and the metrics; what Prometheus' own parsers take.
#[test]
#[cfg(feature = "lua")]
fn what_scripts_count_is_served() {
    let script = std::env::temp_dir().join(format!("tcpkit-served-{}.lua", std::process::id()));
    let text = "function on_exchange(x)\n\
        tcpkit.counter('asked', 0.5, { command = x.command })\n\
        tcpkit.counter('not for Prometheus')\n\
        tcpkit.histogram('size', x.response_bytes)\nend\n";
    std::fs::write(&script, text).unwrap();
    let args = ["-S", script.to_str().unwrap(), "-m", "redis"];
    let mut run = Run::start(&Case::named("redis-commands"), &args);
    let summary = run.summary();
    std::fs::remove_file(&script).unwrap();
    let snapshot: Value = serde_json::from_str(&run.body("/api/v1/snapshot")).unwrap();
    assert_eq!(snapshot["scripts"], summary["scripts"]);
    assert!(schema().is_valid(&snapshot), "{}", snapshot["scripts"]);
    let counters = snapshot["scripts"]["counters"].as_array().unwrap();
    let metrics = run.body("/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name}: {metrics}"));
        value.trim().parse::<f64>().unwrap()
    };
    for counter in counters.iter().filter(|counter| counter["name"] == "asked") {
        let command = counter["labels"]["command"].as_str().unwrap();
        let name = format!("tcpkit_script_asked_total{{command=\"{command}\"}}");
        assert_eq!(value(&name), counter["value"].as_f64().unwrap(), "{name}");
    }
    assert!(counters.len() > 10 && !metrics.contains("not for"));
    let sizes = &snapshot["scripts"]["histograms"][0];
    let number = |name: &str| sizes[name].as_f64().unwrap();
    assert_eq!(value("tcpkit_script_size_sum{} "), number("sum"));
    for name in [
        "tcpkit_script_size_count{} ",
        "tcpkit_script_size_bucket{le=\"+Inf\"} ",
    ] {
        assert_eq!(value(name), number("count"), "{name}");
    }
    promtool(&metrics);
    let open = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    parse_open_metrics(&run.get("/metrics", open).1);
}

/// Shows a text to a program that must have nothing to say about it.
fn check(command: &[&str], text: &str) {
    let child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` installs it", command[0]));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_taken_port_is_an_error_before_anything_is_read() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let case = Case::named("redis-cli");
    let output = tcpkit()
        .arg("-r")
        .arg(case.input())
        .args(["-P", &address])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(
        said.contains("--stats") && said.contains(&address),
        "{said}"
    );
}

#[test]
fn both_families_listen_on_one_port_and_signals_end_lingering() {
    let port = free_port();
    let six = format!("[::1]:{port}");
    let four = format!("127.0.0.1:{port}");
    let mut run = Run::start_at(&six, &Case::named("redis-cli"), &["-P", &four]);
    run.summary();
    let expected = run.told_after(b"");
    run.address = four;
    assert_eq!(run.told_after(b""), expected);
    let pid = run.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let begun = Instant::now();
    assert!(run.child.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn hostile_clients_keep_nobody_from_an_answer_and_no_memory() {
    let mut run = Run::start(&Case::named("redis-benchmark-64"), &[]);
    run.summary();
    let good = |run: &Run, what: &str| {
        let limit = Duration::from_secs(2);
        let took = middle(|| {
            assert_eq!(run.body("/healthz"), "ok\n");
            assert!(run.body("/stats").starts_with("[{"));
        });
        assert!(took < limit, "{what}: two answers took {took:?}");
    };
    good(&run, "nobody else");
    let before = run.memory();
    let mut kept: Vec<TcpStream> = (0..400).map(|_| run.connect()).collect();
    good(&run, "silent clients");
    for begin in [
        &b"GE"[..],
        b"GET / HTTP/1.1\r\nHost:",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        for _ in 0..100 {
            // None of these reads, and the last asks for more than the system holds for it.
            let mut stream = run.connect();
            let _ = stream.write_all(begin);
            kept.push(stream);
        }
        good(&run, "slow clients");
    }
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(10_000)].concat();
    for broken in [&long, &many, &b"GET \x00\xff / / HTTP/9\r\n\r\n".to_vec()] {
        for _ in 0..20 {
            let mut stream = run.connect();
            let _ = stream.write_all(broken);
            kept.push(stream);
        }
        good(&run, "broken requests");
    }
    for _ in 0..3000 {
        drop(run.connect());
    }
    good(&run, "a flood of connections");
    let grown = run.memory().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes");
}
