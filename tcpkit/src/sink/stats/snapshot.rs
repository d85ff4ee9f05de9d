//! What a reader of statistics is told: the shape of `GET /api/v1/snapshot`.
//!
//! Plain data, made from [`Figures`](super::figures::Figures) and read back by whoever asks another host.
//! Names and units are a contract, described by `docs/schema/snapshot-1.json`: fields may be added, none
//! changes its meaning without a new [`VERSION`]. Times are nanoseconds, sizes bytes.

use serde::{Deserialize, Serialize};

use super::Account;
use super::metrics;

/// Version of the shape.
pub const VERSION: u32 = 1;

/// Everything that is counted, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`VERSION`].
    pub v: u32,
    /// What counted it.
    pub build: Build,
    /// When it was made, in nanoseconds since the epoch.
    pub made_ns: u64,
    /// How long the program has been running.
    pub uptime_ns: u64,
    /// Capture time of the first frame, in nanoseconds since the epoch; 0 where there was none.
    pub begun_ns: u64,
    /// The latest capture time.
    pub now_ns: u64,
    /// The capture has ended: nothing more is counted.
    pub ended: bool,
    /// Exchanges at least this slow are slow; without it none is.
    pub threshold_ns: Option<u64>,
    /// Inclusive upper bounds of the latency buckets; one more bucket holds what is over the last.
    pub bounds_ns: Vec<u64>,
    /// How keys are shown.
    pub keys: KeyForm,
    /// Places where frames pass, in the order in which they do, and what each lost.
    pub stages: Vec<Stage>,
    /// The rings between kernel and reader; empty where the engine has none, or they cannot be looked into.
    #[serde(default)]
    pub rings: Vec<Ring>,
    /// What became of pushes to an OpenTelemetry collector; without `--otlp` there are none.
    pub pushes: Option<Pushes>,
    /// What scripts have counted since the start.
    #[serde(default)]
    pub scripts: metrics::Snapshot,
    /// The same figures since the start, and over the last 10 s, 1 min and 5 min, in this order.
    pub periods: Vec<Period>,
}

impl Snapshot {
    /// The figures since the start.
    pub fn since_start(&self) -> Option<&Period> {
        self.period(Span::Start)
    }

    /// The figures of one period.
    pub fn period(&self, span: Span) -> Option<&Period> {
        self.periods.iter().find(|period| period.span == span)
    }
}

/// What made a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Pushes to an OpenTelemetry collector, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushes {
    /// Those that it took whole.
    pub accepted: u64,
    /// Those that did not reach it, or that it refused, all or in part.
    pub failed: u64,
}

/// How keys are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// Not at all.
    #[default]
    None,
    /// As they are, escaped for a terminal.
    Plain,
    /// As sixteen hexadecimal digits that mean nothing in another run.
    Hash,
}

/// A place where frames pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name, such as `kernel` or `headers`.
    pub name: String,
    /// What came out of it.
    pub passed: u64,
    /// What was lost in it.
    pub lost: u64,
}

/// A ring between kernel and reader, and how full it was since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Bytes that it has room for.
    pub size_bytes: u64,
    /// The most bytes that were in use at once. What does not fit into the rest is lost: a ring loses before it is full.
    pub highest_fill_bytes: u64,
}

/// What a period reaches back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Span {
    /// The start of the run.
    #[serde(rename = "start")]
    Start,
    /// Ten seconds ago.
    #[serde(rename = "10s")]
    TenSeconds,
    /// A minute ago.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes ago.
    #[serde(rename = "5m")]
    FiveMinutes,
}

impl Span {
    /// Its name in the snapshot.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
        }
    }
}

/// What was counted within a span of capture time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// What it reaches back to.
    pub span: Span,
    /// Capture time that it holds: less than its name says where the run is younger.
    pub length_ns: u64,
    /// What became of frames and conversations.
    pub coverage: Account,
    /// The ports: first those that were asked for, then others, ascending.
    pub ports: Vec<Port>,
    /// Clients with the most requests, most first; the rest is in `other_clients`.
    pub clients: Vec<Client>,
    /// All clients that are not listed, together.
    pub other_clients: ClientFigures,
    /// The slowest requests, slowest first.
    pub slowest: Vec<Slow>,
    /// Keys with the most requests, most first; empty without `--keys`.
    pub hot_keys: Vec<HotKey>,
    /// Keys with the largest messages, largest first; empty without `--keys`.
    pub big_keys: Vec<BigKey>,
    /// Exchanges that are in their ports' figures and in no command's, since too many commands are followed.
    pub commands_left_out: u64,
}

/// One server port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// Exchanges with a latency: the sum of `latencies`.
    pub requests: u64,
    /// Those at or over the threshold.
    pub slow: u64,
    /// Error responses.
    pub errors: u64,
    /// Keys found.
    pub hits: u64,
    /// Keys not found.
    pub misses: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Exchanges that wait by design, kept out of the latencies.
    pub blocking: u64,
    /// Requests whose response could not be told from others.
    pub ambiguous: u64,
    /// Exchanges that were found again after a gap.
    pub resynced: u64,
    /// Messages that nobody answers.
    pub one_way: u64,
    /// Responses whose request is not known.
    pub orphans: u64,
    /// Responses that came after their request was reported unanswered.
    pub late: u64,
    /// Its latencies.
    pub latency: Latency,
    /// Exchanges by latency bucket; see [`Snapshot::bounds_ns`].
    pub latencies: Vec<u64>,
    /// Frames and bytes.
    pub traffic: Traffic,
    /// How its TCP connections do.
    pub tcp: Tcp,
    /// Response statuses other than plain success, by protocol and name.
    pub statuses: Vec<Status>,
    /// Its commands, most requests first.
    pub commands: Vec<Command>,
}

/// One command of one protocol at a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The protocol.
    pub protocol: String,
    /// The command's label.
    pub command: String,
    /// Exchanges with a latency.
    pub requests: u64,
    /// Error responses.
    pub errors: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Keys found.
    pub hits: u64,
    /// Keys not found.
    pub misses: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Its latencies.
    pub latency: Latency,
    /// Exchanges by latency bucket; see [`Snapshot::bounds_ns`].
    pub latencies: Vec<u64>,
}

/// Latencies in nanoseconds: quantiles within 0.8 %, the others exact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// Their average.
    pub avg: u64,
    /// Half are at or under it.
    pub p50: u64,
    /// Nine in ten are.
    pub p90: u64,
    /// 99 in a hundred are.
    pub p99: u64,
    /// 999 in a thousand are.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// What the quantiles are made of, to be added up with those of other hosts: pairs of place and count,
    /// places ascending. The least latency of place `i` is `i` under 64; above, with
    /// `p = i / 64 - 1`, it is `(64 + i % 64) << p`, and the place is `1 << p` wide.
    pub histogram: Vec<(u16, u64)>,
}

/// Frames and bytes of a port's conversations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Frames to the server.
    pub in_packets: u64,
    /// Frames from the server.
    pub out_packets: u64,
    /// Bytes on the wire to the server, headers included.
    pub in_bytes: u64,
    /// Bytes on the wire from the server, headers included.
    pub out_bytes: u64,
}

/// How a port's TCP connections do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Connections that are open at the end of the period, counted once a second of capture time.
    pub open: u64,
    /// Connections whose first SYN was seen.
    pub opened: u64,
    /// Connections that ended with a FIN of each side.
    pub closed: u64,
    /// Connections that one side reset.
    pub resets: u64,
    /// SYNs that had to be sent again.
    pub syn_retries: u64,
    /// Segments that brought nothing new.
    pub retransmissions: u64,
    /// Segments that came after later ones of their direction.
    pub out_of_order: u64,
    /// Segments that told the other side to stop sending.
    pub zero_windows: u64,
    /// Time from the first SYN to the end of the handshake.
    pub handshake: Latency,
}

/// Responses with one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The protocol.
    pub protocol: String,
    /// The status, such as `404`, `NXDOMAIN` or `MOVED`; `other` for those beyond the bound.
    pub status: String,
    /// It tells an error.
    pub error: bool,
    /// How many.
    pub count: u64,
}

/// One client, over all ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address.
    pub address: std::net::IpAddr,
    /// What is counted of it.
    #[serde(flatten)]
    pub figures: ClientFigures,
}

/// What is counted of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFigures {
    /// Exchanges with a latency.
    pub requests: u64,
    /// Those at or over the threshold.
    pub slow: u64,
    /// Error responses.
    pub errors: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Sum of latencies.
    pub latency_sum_ns: u64,
    /// The longest.
    pub latency_max_ns: u64,
}

/// One slow request. No value that it carried is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// When its response began, in nanoseconds since the epoch.
    pub time_ns: u64,
    /// How long it took.
    pub latency_ns: u64,
    /// The part of it spent behind earlier pipelined requests.
    pub wait_ns: u64,
    /// Who asked.
    pub client: std::net::SocketAddr,
    /// Who answered.
    pub server: std::net::SocketAddr,
    /// The protocol.
    pub protocol: String,
    /// The command's label.
    pub command: String,
    /// The status, where it is not plain success.
    pub status: Option<String>,
    /// The response tells an error.
    pub error: bool,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response.
    pub response_bytes: u64,
    /// Sizes in bytes of its first arguments, where the protocol has such.
    pub arguments: Vec<u32>,
    /// Its key, with `--keys` and where it has one.
    pub key: Option<String>,
}

/// A key with many requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotKey {
    /// The port that it was asked at.
    pub port: u16,
    /// The key, as [`Snapshot::keys`] says; long ones are cut.
    pub key: String,
    /// Requests at least.
    pub requests: u64,
    /// How many more there may have been.
    pub error: u64,
}

/// A key with large messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BigKey {
    /// The port that it was asked at.
    pub port: u16,
    /// The key, as [`Snapshot::keys`] says; long ones are cut.
    pub key: String,
    /// Bytes of the largest request or response seen with it.
    pub bytes: u64,
    /// The command of that message.
    pub command: String,
}
