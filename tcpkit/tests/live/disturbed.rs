//! A network that loses, doubles and reorders frames, made by netem: what is said to be exact is right, and what
//! was not seen is counted.
//!
//! Behind a mirror port that does so, the hosts see every frame and the capture does not; between the hosts, the capture
//! sees more than they do. Each value that is asked for has a length of its own, which is the client's log: a response
//! of another length is another request's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::net::{Namespace, Pair, SERVER_IF, SERVER_V4, connect, privileged};
use crate::run::{Run, assert_exact};
use crate::servers::{REDIS, Redis};
use crate::support::Report;

/// Bytes before the payload of every segment: Ethernet, IPv4, TCP with its timestamps.
const HEADERS: u64 = 66;

/// Keys `k1` to this one hold values of as many bytes.
const VALUES: usize = 600;

/// Requests of a conversation, and how many are sent at once.
const TALKS: [(usize, usize); 2] = [(400, 1), (1200, 16)];

const WATCHERS: [&[&str]; 2] = [&["--backend", "ebpf"], &["--backend", "pcap"]];

/// A server whose switch mirrors its frames to a port that tcpkit listens at.
struct Mirrored {
    pair: Pair,
    monitor: Namespace,
    redis: Redis,
}

/// What one disturbance has come to.
struct Outcome {
    /// Of the server's own interface, which sees all.
    truth: Value,
    /// Of the port behind the mirror, by each engine.
    seen: Vec<(String, Report)>,
    /// Frames that netem dropped, as `tc -s` reports it.
    dropped: u64,
    /// Requests that the client asked and had answered.
    asked: u64,
    /// Segments that the hosts sent again.
    sent_again: u64,
}

impl Mirrored {
    fn new() -> Self {
        let pair = quiet_pair();
        let server = &pair.server;
        // Another machine's: a frame's stamp as it was sent does not come along.
        let monitor = Namespace::new();
        connect((server, "span0"), (&monitor, "span1"), 1500);
        // Nothing passes the mirror's port but what is mirrored.
        server
            .within(|| std::fs::write("/proc/sys/net/ipv6/conf/span0/disable_ipv6", "1").unwrap());
        tc(server, &["qdisc", "add", "dev", SERVER_IF, "clsact"]);
        for way in ["ingress", "egress"] {
            // Behind a capture's own filter: who comes after a mirror sees nothing.
            let rule = [
                "filter", "add", "dev", SERVER_IF, way, "protocol", "ip", "pref", "60000",
            ];
            let mirror = [
                "matchall", "action", "mirred", "egress", "mirror", "dev", "span0",
            ];
            tc(server, &[&rule[..], &mirror].concat());
        }
        let redis = Redis::start(server);
        fill(&redis);
        Self {
            pair,
            monitor,
            redis,
        }
    }

    /// Captures before and behind the mirror while its port is disturbed.
    fn talk(&self, netem: &[&str]) -> Outcome {
        let everything = ["-w", "/dev/null"];
        let args = [&["--backend", "ebpf"][..], &everything].concat();
        let truth = watch(&self.pair.server, SERVER_IF, &args);
        let watchers = WATCHERS
            .map(|engine| watch(&self.monitor, "span1", &[engine, &everything[..]].concat()));
        let before = self.sent_again();
        let (asked, dropped) = self.converse(netem);
        let seen = WATCHERS.iter().zip(watchers);
        Outcome {
            truth: truth.stop().report().summary,
            seen: seen
                .map(|(engine, run)| (format!("{netem:?}, {engine:?}"), run.stop().report()))
                .collect(),
            dropped,
            asked,
            sent_again: self.sent_again() - before,
        }
    }

    /// Requests that were answered, and frames that netem dropped. Each conversation begins and ends undisturbed, so that
    /// whatever was lost in between shows.
    fn converse(&self, netem: &[&str]) -> (u64, u64) {
        let server = &self.pair.server;
        let mut clients = TALKS.map(|_| self.pair.client.within(Client::new));
        clients.iter_mut().for_each(|client| client.ask(&[1, 2]));
        let queue = ["qdisc", "add", "dev", "span0", "root", "netem"];
        tc(server, &[&queue[..], &["limit", "100000"], netem].concat());
        for (client, (requests, depth)) in clients.iter_mut().zip(TALKS) {
            client.talk(requests, depth);
        }
        // What netem holds back comes out before it goes.
        std::thread::sleep(Duration::from_millis(500));
        let dropped = drops(server, "span0");
        tc(server, &["qdisc", "del", "dev", "span0", "root"]);
        clients.iter_mut().for_each(|client| client.ask(&[3, 4]));
        let asked = clients.iter().map(|client| client.asked).sum();
        drop(clients);
        self.redis.wait_for_quiet();
        std::thread::sleep(Duration::from_millis(300));
        (asked, dropped)
    }

    fn sent_again(&self) -> u64 {
        self.pair.client.retransmitted() + self.pair.server.retransmitted()
    }
}

#[test]
#[ignore = "takes a kernel with netem: cargo xtask vm"]
fn what_a_mirror_loses_is_counted_and_nothing_is_paired_wrongly() {
    if !privileged() {
        return;
    }
    let outcome = Mirrored::new().talk(&["loss", "2%"]);
    assert!(outcome.dropped > 10, "{}", outcome.dropped);
    assert_exact(&outcome.truth, "the server's own interface");
    for (what, report) in &outcome.seen {
        let capture = &report.summary["capture"];
        let lacking =
            |field: &str| number(&outcome.truth["capture"], field) - number(capture, field);
        assert_eq!(lacking("frames"), outcome.dropped, "{what}: {capture}");
        let lost = lacking("wire_bytes") - HEADERS * outcome.dropped;
        let gaps = number(capture, "gap_bytes");
        // What was lost and then sent again is no gap.
        assert!(
            gaps <= lost && (gaps == lost || outcome.sent_again > 0),
            "{what}: {lost}: {capture}"
        );
        let paired = rightly_paired(report, what);
        assert!(
            paired * 10 > outcome.asked * 8,
            "{what}: {paired} of {}",
            outcome.asked
        );
        assert!(
            paired < outcome.asked,
            "{what}: a request or response was lost"
        );
        let exact = report
            .exchanges
            .iter()
            .filter(|one| one["confidence"] == "exact")
            .count();
        assert!(
            exact < report.exchanges.len(),
            "{what}: nothing is exact behind a loss"
        );
    }
}

#[test]
#[ignore = "takes a kernel with netem: cargo xtask vm"]
fn what_a_mirror_reorders_or_doubles_stays_exact() {
    if !privileged() {
        return;
    }
    let mirrored = Mirrored::new();
    // A frame that is not held back overtakes those that are.
    let reordered = ["delay", "2ms", "reorder", "75%", "50%"];
    let doubled = ["duplicate", "5%"];
    for netem in [&reordered[..], &doubled] {
        let outcome = mirrored.talk(netem);
        assert_eq!(outcome.dropped, 0);
        for (what, report) in &outcome.seen {
            assert_exact(&report.summary, what);
            assert_eq!(rightly_paired(report, what), outcome.asked, "{what}");
            let capture = &report.summary["capture"];
            let more = number(capture, "frames") - number(&outcome.truth["capture"], "frames");
            assert_eq!(more > 0, netem == doubled, "{what}: {capture}");
            let again = number(capture, "retransmissions");
            assert!(
                again <= more + outcome.sent_again,
                "{what}: {more}: {capture}"
            );
            assert_eq!(
                again > outcome.sent_again,
                netem == doubled,
                "{what}: {capture}"
            );
        }
    }
}

/// The capture sits before what loses, and sees each frame that has to be sent again.
#[test]
#[ignore = "takes a kernel with netem: cargo xtask vm"]
fn what_the_network_loses_is_exact_and_sent_again() {
    if !privileged() {
        return;
    }
    let pair = quiet_pair();
    let redis = Redis::start(&pair.server);
    fill(&redis);
    let run = watch(&pair.server, SERVER_IF, &["--backend", "ebpf"]);
    for (host, device) in [(&pair.client, "tkc"), (&pair.server, SERVER_IF)] {
        tc(
            host,
            &[
                "qdisc", "add", "dev", device, "root", "netem", "loss", "1%", "reorder", "20%",
                "delay", "1ms",
            ],
        );
    }
    let before = pair.server.retransmitted();
    let mut client = pair.client.within(Client::new);
    client.talk(400, 4);
    let asked = client.asked;
    drop(client);
    redis.wait_for_quiet();
    std::thread::sleep(Duration::from_secs(1));
    let dropped = drops(&pair.server, SERVER_IF);
    let again = pair.server.retransmitted() - before;
    let report = run.stop().report();
    assert_exact(&report.summary, "between the hosts");
    assert_eq!(rightly_paired(&report, "between the hosts"), asked);
    let seen = number(&report.summary["capture"], "retransmissions");
    assert!(
        seen >= again,
        "the server sent {again} again of {dropped}: {}",
        report.summary
    );
    assert_eq!(redis.calls("GET"), asked);
}

/// Two hosts whose TCP sends nothing again that was not lost, with headers of one size.
fn quiet_pair() -> Pair {
    let pair = Pair::new(1500);
    for host in [&pair.client, &pair.server] {
        host.within(|| {
            for setting in ["tcp_sack", "tcp_early_retrans"] {
                std::fs::write(format!("/proc/sys/net/ipv4/{setting}"), "0").unwrap();
            }
        });
    }
    pair
}

/// Keys that hold as many bytes as they are named after, set out of sight.
fn fill(redis: &Redis) {
    let script = "for i = 1, ARGV[1] do redis.call('SET', 'k' .. i, string.rep('x', i)) end";
    redis.ask(&["EVAL", script, "0", &VALUES.to_string()]);
    redis.forget();
}

fn watch(place: &Namespace, interface: &str, args: &[&str]) -> Run {
    let rest = ["-i", interface, "-p", "6379", "--format", "json"];
    Run::start(place, &[args, &rest[..]].concat())
}

/// A client that asks for values and looks at every answer.
struct Client {
    reader: BufReader<TcpStream>,
    asked: u64,
}

impl Client {
    fn new() -> Self {
        let stream = TcpStream::connect((SERVER_V4, REDIS)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            reader: BufReader::new(stream),
            asked: 0,
        }
    }

    /// So many requests, `depth` at once; neighbours differ in length.
    fn talk(&mut self, requests: usize, depth: usize) {
        let values: Vec<usize> = (0..requests)
            .map(|number| number * 7 % VALUES + 1)
            .collect();
        values.chunks(depth).for_each(|batch| self.ask(batch));
    }

    /// Asks for all at once, and waits for the answers.
    fn ask(&mut self, values: &[usize]) {
        let request: String = values
            .iter()
            .map(|value| format!("GET k{value}\r\n"))
            .collect();
        self.reader.get_mut().write_all(request.as_bytes()).unwrap();
        for value in values {
            let mut head = String::new();
            self.reader.read_line(&mut head).unwrap();
            assert_eq!(head, format!("${value}\r\n"));
            let mut body = vec![0; value + 2];
            self.reader.read_exact(&mut body).unwrap();
            self.asked += 1;
        }
    }
}

/// How many exchanges state a latency, each with the response that its client had: by the length of it.
fn rightly_paired(report: &Report, what: &str) -> u64 {
    let mut paired = 0;
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    for exchange in report
        .exchanges
        .iter()
        .filter(|one| one["confidence"] != "ambiguous")
    {
        paired += 1;
        let text = exchange["text"].as_str().unwrap();
        *times.entry(text.to_owned()).or_default() += 1;
        // Of one that is cut its size tells what was seen of it.
        if exchange["cut"] == false {
            let value: u64 = text.trim_start_matches("GET k").parse().unwrap();
            let length = format!("${value}\r\n").len() as u64 + value + 2;
            assert_eq!(exchange["response_bytes"], length, "{what}: {exchange}");
        }
    }
    assert!(times.len() > 100, "{what}: {times:?}");
    paired
}

fn number(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap()
}

fn tc(place: &Namespace, args: &[&str]) -> String {
    let output = place.command("tc").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tc {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Frames that the first queue of an interface dropped.
fn drops(place: &Namespace, device: &str) -> u64 {
    let text = tc(place, &["-s", "-j", "qdisc", "show", "dev", device]);
    let queues: Value = serde_json::from_str(&text).unwrap();
    let netem = queues
        .as_array()
        .unwrap()
        .iter()
        .find(|queue| queue["kind"] == "netem");
    netem.unwrap()["drops"].as_u64().unwrap()
}
