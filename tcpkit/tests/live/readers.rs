//! What is served of a live run is what servers and clients counted; no reader takes anything from the capture.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::clients;
use crate::net::{Namespace, privileged};
use crate::run::{Run, assert_exact, requests};
use crate::servers::{self, HTTP, MEMCACHED, REDIS, Redis};
use crate::support::client::{ask, middle};

/// Where a live run serves statistics unless told otherwise.
const SERVED: (&str, u16) = ("127.0.0.1", 33333);

/// The engines that do not share their way through the kernel.
const ENGINES: [&str; 2] = ["ebpf", "pcap"];

fn connect() -> TcpStream {
    let stream = TcpStream::connect(SERVED).unwrap();
    let time = Some(Duration::from_secs(20));
    stream.set_read_timeout(time).unwrap();
    stream
}

/// What a client in the namespace is told that sends this, and then is silent.
fn told(namespace: &Namespace, sent: &str) -> String {
    namespace.within(|| ask(SERVED, sent.as_bytes()))
}

/// The body of an answer.
pub fn body(namespace: &Namespace, path: &str) -> String {
    let told = told(namespace, &format!("GET {path} HTTP/1.0\r\n\r\n"));
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{path}: {head}");
    body.to_owned()
}

/// What the run tells in full.
pub fn snapshot(namespace: &Namespace) -> Value {
    serde_json::from_str(&body(namespace, "/api/v1/snapshot")).unwrap()
}

/// The figures since the start, once they say what is expected, or after a while.
pub fn figures(namespace: &Namespace, is_whole: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let figures = snapshot(namespace)["periods"][0].take();
        if is_whole(&figures) || begun.elapsed() > Duration::from_secs(60) {
            return figures;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What `/metrics` counts of a command.
fn measured(metrics: &str, port: u16, command: &str) -> u64 {
    let labels = [format!("port=\"{port}\""), format!("command=\"{command}\"")];
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("tcpkit_request_duration_seconds_count{"));
    lines
        .filter(|line| labels.iter().all(|label| line.contains(label.as_str())))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn what_is_served_is_what_servers_counted() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let redis = Redis::start(&namespace);
    let _memcached = servers::memcached(&namespace);
    let (_nginx, log) = servers::nginx(&namespace, &[1, 3000]);
    for engine in ENGINES {
        redis.forget();
        let stats = servers::memcached_stats(&namespace);
        let logged = servers::fetched(&log);
        let run = Run::start(
            &namespace,
            &["--backend", engine, "-i", "lo", "-p", "6379,11211,80", "-q"],
        );
        clients::redis(&namespace, "127.0.0.1", 2000, 16, 100);
        namespace.within(|| {
            clients::memcached("127.0.0.1", 50, 16, 100);
            clients::http("127.0.0.1", 50, 4, 3000);
        });
        let now = servers::memcached_stats(&namespace);
        let counted = [
            (REDIS, "SET", redis.calls("SET")),
            (REDIS, "GET", redis.calls("GET")),
            (MEMCACHED, "set", now["cmd_set"] - stats["cmd_set"]),
            (MEMCACHED, "get", now["cmd_get"] - stats["cmd_get"]),
            (HTTP, "GET", servers::fetched(&log) - logged),
        ];
        let is_whole = |all: &Value| {
            let told = counted.map(|(port, command, count)| requests(all, port, command) == count);
            told.iter().all(|is_same| *is_same)
        };
        let all = figures(&namespace, is_whole);
        let metrics = body(&namespace, "/metrics");
        for (port, command, count) in counted {
            assert!(count >= 50);
            assert_eq!(requests(&all, port, command), count, "{engine}: {command}");
            assert_eq!(
                measured(&metrics, port, command),
                count,
                "{engine}: {command}"
            );
        }
        let hits = |all: &Value| all["ports"][1]["hits"].as_u64();
        assert_eq!(hits(&all), Some(now["get_hits"] - stats["get_hits"]));
        classic_is_served(&namespace, &all);
        assert_eq!(body(&namespace, "/healthz"), "ok\n");
        run.stop();
    }
}

/// The classic form, to a client that says nothing, has the ports in the order of `-p`.
fn classic_is_served(namespace: &Namespace, all: &Value) {
    let classic: Value = serde_json::from_str(&told(namespace, "")).unwrap();
    let elements = classic.as_array().unwrap();
    let ports = all["ports"].as_array().unwrap();
    assert_eq!(elements.len(), ports.len());
    for (element, (port, number)) in elements
        .iter()
        .zip(ports.iter().zip(["6379", "11211", "80"]))
    {
        assert_eq!(element[number]["total_reqs"], port["requests"]);
        assert_eq!(element[number]["latencies"], port["latencies"]);
    }
}

/// A server that takes its time, and says how long it took: from the request to the moment before it answers.
fn serve_slowly(mut stream: TcpStream, seed: u64, took: &Mutex<Vec<u64>>) {
    let (mut request, mut random) = ([0; 64], seed);
    while let Ok(1..) = stream.read(&mut request) {
        let begun = Instant::now();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // From 0.25 ms, doubled up to seven times.
        std::thread::sleep(Duration::from_micros(250 << ((random >> 33) % 8)));
        took.lock().unwrap().push(nanoseconds(begun));
        stream.write_all(b"+PONG\r\n").unwrap();
    }
}

/// A client that says how long each request took: from the moment before it asks to its answer.
fn ask_slowly(asked: &Mutex<Vec<u64>>) {
    let mut stream = TcpStream::connect(("127.0.0.1", REDIS)).unwrap();
    let mut answer = [0; 7];
    for _ in 0..150 {
        let begun = Instant::now();
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        stream.read_exact(&mut answer).unwrap();
        asked.lock().unwrap().push(nanoseconds(begun));
    }
}

fn nanoseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap()
}

/// What was on the wire took longer than the server says, and less than the client says; so did every quantile, within
/// the 0.8 % that the histogram states.
#[test]
fn quantiles_are_between_those_of_the_server_and_of_the_client() {
    const CLIENTS: u64 = 4;
    if !privileged() {
        return;
    }
    for engine in ENGINES {
        let namespace = Namespace::new();
        let run = Run::start(
            &namespace,
            &["--backend", engine, "-i", "lo", "-p", "6379", "-q"],
        );
        let (took, asked) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let listener = namespace.within(|| TcpListener::bind(("127.0.0.1", REDIS)).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| namespace.within(|| ask_slowly(&asked)));
            }
            for seed in 0..CLIENTS {
                let (stream, _) = listener.accept().unwrap();
                let took = &took;
                scope.spawn(move || serve_slowly(stream, seed, took));
            }
        });
        let (took, asked) = (sorted(took), sorted(asked));
        let whole = |all: &Value| requests(all, REDIS, "PING") == took.len() as u64;
        let all = figures(&namespace, whole);
        let latency = &all["ports"][0]["latency"];
        assert_eq!(latency["count"], took.len());
        for (part, name) in [
            (0.5, "p50"),
            (0.9, "p90"),
            (0.99, "p99"),
            (0.999, "p999"),
            (1.0, "max"),
        ] {
            let place = (took.len() as f64 * part).ceil() as usize - 1;
            let told = latency[name].as_f64().unwrap();
            let (least, most) = (took[place] as f64 * 0.992, asked[place] as f64 * 1.0085);
            assert!(
                (least..=most).contains(&told),
                "{engine} {name}: {least} {told} {most}"
            );
        }
        run.stop();
    }
}

fn sorted(values: Mutex<Vec<u64>>) -> Vec<u64> {
    let mut values = values.into_inner().unwrap();
    values.sort_unstable();
    values
}

/// Anonymous memory in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

/// A good client is answered within a second.
fn is_answered(namespace: &Namespace, what: &str) {
    for path in ["/healthz", "/stats", "/metrics", "/api/v1/snapshot"] {
        let second = Duration::from_secs(1);
        let took = middle(|| assert!(!body(namespace, path).is_empty()));
        assert!(took < second, "{what}: {path} took {took:?}");
    }
}

/// So many clients that begin with this, and then neither read nor say more.
fn silent(count: usize, begin: &[u8]) -> Vec<TcpStream> {
    let client = |_| {
        let mut stream = connect();
        let _ = stream.write_all(begin);
        stream
    };
    (0..count).map(client).collect()
}

/// Clients that send a byte a second of a request, until they are told to stop.
fn drip(streams: &mut [TcpStream], stop: &AtomicBool) {
    let request = b"GET /metrics HTTP/1.1\r\nHost: example.test\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'a'));
    for byte in request {
        for stream in streams.iter_mut() {
            let _ = stream.write_all(&[*byte]);
        }
        for _ in 0..20 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Everything that clients do wrong, each while a good one is answered.
fn be_hostile(namespace: &Namespace) {
    let mut kept = namespace.within(|| silent(1000, b""));
    is_answered(namespace, "1,000 silent clients");
    for begin in [
        &b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost:",
    ] {
        kept.extend(namespace.within(|| silent(300, begin)));
        is_answered(namespace, "clients that do not read, or do not end");
    }
    let stop = AtomicBool::new(false);
    let mut dripping = namespace.within(|| silent(100, b""));
    std::thread::scope(|scope| {
        scope.spawn(|| drip(&mut dripping, &stop));
        std::thread::sleep(Duration::from_millis(1500));
        is_answered(namespace, "a byte a second");
        stop.store(true, Ordering::Relaxed);
    });
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(10_000)].concat();
    for broken in [
        &long[..],
        &many,
        b"GET \x00\xff / / HTTP/9\r\n\r\n",
        &[0; 4096],
    ] {
        kept.extend(namespace.within(|| silent(50, broken)));
        is_answered(namespace, "oversized and broken heads");
    }
    namespace.within(|| (0..5000).for_each(|_| drop(connect())));
    is_answered(namespace, "a flood of connections");
}

#[test]
fn hostile_readers_take_nothing_from_the_capture() {
    if !privileged() {
        return;
    }
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let namespace = Namespace::new();
    let redis = Redis::start(&namespace);
    let args = ["-i", "lo", "-p", "6379", "-q", "--format", "json"];
    let run = Run::start(&namespace, &args);
    redis.forget();
    clients::redis(&namespace, "127.0.0.1", 5000, 16, 100);
    is_answered(&namespace, "nobody else");
    let before = memory(run.pid());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                clients::redis(&namespace, "127.0.0.1", 5000, 16, 100);
            }
        });
        be_hostile(&namespace);
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
    let grown = memory(run.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    let report = run.stop().report();
    assert_exact(&report.summary, "hostile readers");
    for command in ["SET", "GET"] {
        let counted = redis.calls(command);
        assert!(counted > 5000);
        assert_eq!(requests(&report.summary, REDIS, command), counted);
    }
}

#[test]
fn where_statistics_are_served_is_told_and_how_others_may_read_them() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let here = "statistics are served at http://127.0.0.1:33333/, on this host alone: -P 0.0.0.0:33333 opens them to others";
    let two = "statistics are served at http://0.0.0.0:4000/, http://[::1]:4001/\n";
    for (args, told) in [
        (&[][..], here),
        (&["-P", "33333"], here),
        (&["-P", "0.0.0.0:4000", "-P", "[::1]:4001"], two),
    ] {
        let run = Run::start(&namespace, &[&["-i", "lo"], args].concat());
        let said = run.stop().said;
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn statistics_are_served_nowhere_where_that_is_asked_for() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let run = Run::start(&namespace, &["-i", "lo", "-P", "off"]);
    assert!(namespace.within(|| TcpStream::connect(SERVED).is_err()));
    assert!(!run.stop().said.contains("statistics are served"));
}

/// Of the default port that is a notice, of one that was asked for an error before anything is captured.
#[test]
fn a_port_that_is_taken_is_told() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let _taken = namespace.within(|| TcpListener::bind(SERVED).unwrap());
    let run = Run::start(&namespace, &["-i", "lo"]);
    let ended = run.stop();
    assert!(ended.status.success());
    let notice = "no statistics are served, since 127.0.0.1:33333 cannot be listened at";
    assert!(ended.said.contains(notice), "{}", ended.said);
    let mut asked = namespace.command(env!("CARGO_BIN_EXE_tcpkit"));
    let output = asked.args(["-i", "lo", "-P", "33333"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("--stats 127.0.0.1:33333"), "{said}");
    assert!(!said.contains("capturing with"), "{said}");
}

/// The last push is tried, fails, is told, and holds nobody up.
#[test]
fn a_collector_that_is_away_is_told_at_the_end_of_a_live_run() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let url = "http://127.0.0.1:9";
    let run = Run::start(&namespace, &["-i", "lo", "-q", "-P", "off", "--otlp", url]);
    let ended = run.stop();
    assert!(ended.status.success() && ended.took < Duration::from_secs(8));
    let said = ended.said;
    assert!(
        said.contains(&format!("--otlp {url}/v1/metrics: ")) && said.contains("refused"),
        "{said}"
    );
}
