//! A scrape of 64 ports by 64 commands: what it is made of, and what it costs.
//!
//! In a release build making and rendering it may take 100 ms of processor time, none of it the capture's.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

use std::collections::BTreeMap;
use std::time::Duration;

use tcpkit::exchange::{Confidence, Exchange, Span};
use tcpkit::flow::Endpoints;
use tcpkit::protocol::{Mark, PROTOCOLS};
use tcpkit::serve::metrics;
use tcpkit::sink::stats::book::{Book, Parcel};
use tcpkit::sink::stats::detail::Detail;
use tcpkit::sink::stats::keys::Shown;
use tcpkit::sink::stats::snapshot::{Build, KeyForm, Snapshot, VERSION};
use tcpkit::sink::stats::{BOUNDS, Rules, Stats};
use tcpkit::source::Timestamp;

const PORTS: u16 = 64;
const COMMANDS: u16 = 64;
const SECOND: u64 = 1_000_000_000;

/// A book with a minute of traffic: every command at every port each second, with latencies of two powers of ten.
fn book() -> Book {
    let rules = Rules::default();
    let (mut stats, mut detail) = (Stats::new(rules, &[]), Detail::new(rules, false));
    let mut book = Book::new((0..PORTS).map(|port| 7000 + port).collect());
    let mut latency = 20_000;
    for second in 1..=60 {
        for port in 0..PORTS {
            for command in 0..COMMANDS {
                latency = (latency * 7 + 3) % 2_000_000;
                count(&mut stats, &mut detail, (7000 + port, command), latency);
            }
        }
        let now = Timestamp((1_000_000 + second) * SECOND);
        book.add(Parcel {
            worker: 0,
            begun: now,
            now,
            figures: detail.take(&stats),
            open: BTreeMap::new(),
            stages: Vec::new(),
            rings: Vec::new(),
            asked: false,
            last: false,
        });
    }
    book
}

fn count(stats: &mut Stats, detail: &mut Detail, (port, command): (u16, u16), latency: u64) {
    let endpoints = Endpoints {
        client: "127.0.0.1:1".parse().unwrap(),
        server: std::net::SocketAddr::new("127.0.0.1".parse().unwrap(), port),
    };
    let span = Span {
        first: Mark::default(),
        last: Mark::default(),
        size: 100,
    };
    let exchange = Exchange {
        endpoints: &endpoints,
        protocol: PROTOCOLS[0],
        command,
        text: &[],
        text_len: 0,
        request: span,
        response: Some(span),
        latency: Some(latency),
        wait: 0,
        status: 0,
        status_text: &[],
        hits: 1,
        misses: 0,
        error: false,
        blocking: false,
        early: false,
        cut: false,
        confidence: Confidence::Exact,
    };
    stats.exchange(&exchange);
    let service = stats.service(port, PROTOCOLS[0]);
    detail.exchange(service, &exchange);
}

fn snapshot(book: &Book) -> Snapshot {
    let (begun, now) = book.time();
    Snapshot {
        v: VERSION,
        build: Build {
            name: "tcpkit".to_owned(),
            version: "0".to_owned(),
        },
        made_ns: now.0,
        uptime_ns: SECOND,
        begun_ns: begun.0,
        now_ns: now.0,
        ended: false,
        threshold_ns: None,
        bounds_ns: BOUNDS.to_vec(),
        keys: KeyForm::None,
        stages: book.stages(),
        rings: book.rings(),
        pushes: None,
        scripts: tcpkit::sink::stats::metrics::Snapshot::default(),
        periods: book.periods(&Shown::Not, false),
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = text.split(' ').next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

#[test]
fn a_large_scrape_is_whole_and_cheap() {
    let book = book();
    let mut times = Vec::new();
    for _ in 0..5 {
        let before = processor_time();
        let text = metrics::text(&snapshot(&book));
        times.push(processor_time() - before);
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(samples > usize::from(PORTS * COMMANDS) * 20, "{samples}");
        let count = text
            .lines()
            .filter(|line| line.starts_with("tcpkit_request_duration_seconds_count"));
        assert!(count.clone().all(|line| line.ends_with(" 60")));
        assert_eq!(count.count(), usize::from(PORTS * COMMANDS));
    }
    times.sort();
    let median = times[2].as_secs_f64() * 1e3;
    println!("scrape: {median:.1} ms of processor time");
    if !cfg!(debug_assertions) {
        assert!(median <= 100.0, "{median} ms");
    }
}
