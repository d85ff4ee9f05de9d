//! The figures since the start as families of metrics: what `/metrics` serves and `--otlp` pushes.
//!
//! Reads a [`Snapshot`], makes [`Family`]s one after the other. Labels are ports, protocols, commands and statuses,
//! whose number is bounded; never a client or a key. Units are seconds and bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::sink::stats::histogram::least;
use crate::sink::stats::snapshot::{Command, Latency, Period, Port, Pushes, Ring, Snapshot, Stage};
use crate::sink::stats::{Account, BOUNDS, metrics};

/// Nanoseconds of a second.
pub const SECOND: f64 = 1e9;

/// Metrics of one name.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// Its name without the program's, words of namespaces separated by dots.
    pub name: Cow<'a, str>,
    /// What it tells, for people.
    pub help: &'static str,
    /// What its values are measured in.
    pub unit: Unit,
    /// Its series.
    pub values: Values<'a>,
}

/// What values are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things of this kind are counted; as UCUM annotates them, such as `{frame}`.
    Of(&'static str),
}

/// Series of a family.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    /// They only grow.
    Counter(Vec<Sample<'a, u64>>),
    /// They only grow, not by whole numbers alone.
    Sum(Vec<Sample<'a, f64>>),
    /// They come and go.
    Gauge(Vec<Sample<'a, f64>>),
    /// How often which duration, or other size, was seen.
    Histogram(Vec<Sample<'a, Sizes<'a>>>),
}

/// One series.
#[derive(Clone, Debug)]
pub struct Sample<'a, V> {
    /// Names and values.
    pub labels: Vec<(&'a str, Label<'a>)>,
    /// What it holds.
    pub value: V,
}

/// A label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label<'a> {
    /// A port, or which one of several of a kind.
    Number(u32),
    /// A word.
    Text(&'a str),
}

/// Durations or other sizes, in the two forms in which they are told.
#[derive(Clone, Debug)]
pub struct Sizes<'a> {
    /// With the places that add up across hosts.
    pub latency: &'a Latency,
    /// By `bounds`, the last for what is over.
    pub classes: Cow<'a, [u64]>,
    /// Inclusive upper bounds of the classes.
    pub bounds: &'static [u64],
    /// How much of what is counted here makes one of the family's unit.
    pub scale: f64,
}

/// Bounds of what scripts measure, whose range nobody knows: a thousandth, and each power of ten up to a billion.
const DECADES: [u64; 13] = {
    let mut bounds = [1; 13];
    let mut place = 1;
    while place < bounds.len() {
        bounds[place] = bounds[place - 1] * 10;
        place += 1;
    }
    bounds
};

/// A counter of every `T`.
struct Counter<T: 'static> {
    name: &'static str,
    help: &'static str,
    unit: Unit,
    of: fn(&T) -> u64,
}

const fn counter<T>(
    name: &'static str,
    unit: Unit,
    help: &'static str,
    of: fn(&T) -> u64,
) -> Counter<T> {
    Counter {
        name,
        help,
        unit,
        of,
    }
}

const REQUESTS: Unit = Unit::Of("{request}");
const RESPONSES: Unit = Unit::Of("{response}");
const CONNECTIONS: Unit = Unit::Of("{connection}");
const SEGMENTS: Unit = Unit::Of("{segment}");
const FRAMES: Unit = Unit::Of("{frame}");
const MESSAGES: Unit = Unit::Of("{message}");
const CONVERSATIONS: Unit = Unit::Of("{conversation}");
const KEYS: Unit = Unit::Of("{key}");

#[rustfmt::skip]
const OF_COMMANDS: &[Counter<Command>] = &[
    counter("response.errors", RESPONSES, "Responses that tell an error", |of| of.errors),
    counter("unanswered_requests", REQUESTS, "Requests whose response never came", |of| of.unanswered),
    counter("key.hits", KEYS, "Keys found", |of| of.hits),
    counter("key.misses", KEYS, "Keys not found", |of| of.misses),
    counter("request", Unit::Bytes, "Length of requests", |of| of.request_bytes),
    counter("response", Unit::Bytes, "Length of responses", |of| of.response_bytes),
];

#[rustfmt::skip]
const OF_PORTS: &[Counter<Port>] = &[
    counter("slow_requests", REQUESTS, "Exchanges at or over the threshold", |of| of.slow),
    counter("blocking_requests", REQUESTS, "Exchanges that wait by design", |of| of.blocking),
    counter("ambiguous_requests", REQUESTS, "Requests whose response could not be told from others", |of| of.ambiguous),
    counter("resynced_requests", REQUESTS, "Exchanges that were found again after a gap", |of| of.resynced),
    counter("one_way_messages", MESSAGES, "Messages that nobody answers", |of| of.one_way),
    counter("orphan_responses", RESPONSES, "Responses whose request is not known", |of| of.orphans),
    counter("late_responses", RESPONSES, "Responses to requests that were given up", |of| of.late),
    counter("tcp.opened_connections", CONNECTIONS, "Connections whose first SYN was seen", |of| of.tcp.opened),
    counter("tcp.closed_connections", CONNECTIONS, "Connections that ended with a FIN of each side", |of| of.tcp.closed),
    counter("tcp.reset_connections", CONNECTIONS, "Connections that one side reset", |of| of.tcp.resets),
    counter("tcp.syn_retries", SEGMENTS, "SYNs that had to be sent again", |of| of.tcp.syn_retries),
    counter("tcp.retransmissions", SEGMENTS, "Segments that brought nothing new", |of| of.tcp.retransmissions),
    counter("tcp.out_of_order_segments", SEGMENTS, "Segments that came after later ones", |of| of.tcp.out_of_order),
    counter("tcp.zero_windows", SEGMENTS, "Segments that told the other side to stop", |of| of.tcp.zero_windows),
];

/// Towards the server, and from it.
#[rustfmt::skip]
const OF_DIRECTIONS: &[[Counter<Port>; 2]] = &[
    [
        counter("frames", FRAMES, "Frames of monitored conversations", |of| of.traffic.in_packets),
        counter("frames", FRAMES, "Frames of monitored conversations", |of| of.traffic.out_packets),
    ],
    [
        counter("wire", Unit::Bytes, "Their length on the wire", |of| of.traffic.in_bytes),
        counter("wire", Unit::Bytes, "Their length on the wire", |of| of.traffic.out_bytes),
    ],
];

#[rustfmt::skip]
const OF_STAGES: &[Counter<Stage>] = &[
    counter("capture.passed", FRAMES, "What came out of each stage of the capture", |of| of.passed),
    counter("capture.lost", FRAMES, "What was lost in each stage of the capture", |of| of.lost),
];

/// Name, help, value.
type OfRings = (&'static str, &'static str, fn(&Ring) -> u64);

#[rustfmt::skip]
const OF_RINGS: [OfRings; 2] = [
    ("capture.ring.size", "What each ring between kernel and reader holds", |ring| ring.size_bytes),
    ("capture.ring.highest_fill", "The most of each ring that was in use at once since the start", |ring| ring.highest_fill_bytes),
];

#[rustfmt::skip]
const OF_CAPTURE: &[Counter<Account>] = &[
    counter("capture.frames", FRAMES, "Frames that were seen", |of| of.frames),
    counter("capture.duplicate_frames", FRAMES, "Copies from other interfaces", |of| of.duplicates),
    counter("capture.gaps", Unit::Of("{gap}"), "Places where bytes were never seen", |of| of.gaps),
    counter("capture.gap", Unit::Bytes, "Bytes that were never seen", |of| of.gap_bytes),
    counter("conversations", CONVERSATIONS, "Conversations that were followed", |of| of.conversations),
    counter("joined_conversations", CONVERSATIONS, "Conversations joined in the middle", |of| of.joined),
    counter("opaque_conversations", CONVERSATIONS, "Conversations that cannot be read", |of| of.opaque),
    counter("evicted_conversations", CONVERSATIONS, "Conversations forgotten to make room", |of| of.evicted),
    counter("malformed_messages", MESSAGES, "Places that broke a protocol's grammar", |of| of.malformed),
    counter("forgotten_requests", REQUESTS, "Requests forgotten to make room", |of| of.overflowed),
];

/// Every family, each series in it once.
pub fn families(snapshot: &Snapshot) -> impl Iterator<Item = Family<'_>> {
    let all = snapshot.since_start();
    about(snapshot)
        .into_iter()
        .chain(snapshot.pushes.as_ref().map(of_pushes))
        .chain(OF_STAGES.iter().map(|counter| of_stages(snapshot, counter)))
        .chain(
            OF_RINGS
                .iter()
                .filter_map(|gauge| of_rings(snapshot, gauge)),
        )
        .chain(all.into_iter().flat_map(of_period))
        .chain(of_scripts(&snapshot.scripts))
}

fn about(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let gauge = |name: &'static str, help, unit, labels, value| Family {
        name: name.into(),
        help,
        unit,
        values: Values::Gauge(vec![Sample { labels, value }]),
    };
    let version = vec![("version", Label::Text(&snapshot.build.version))];
    let uptime = snapshot.uptime_ns as f64 / SECOND;
    let (seconds, none) = (Unit::Seconds, Unit::Of(""));
    let mut about = vec![
        gauge("build_info", "What counts", none, version, 1.0),
        gauge("uptime", "Time since start", seconds, Vec::new(), uptime),
    ];
    about.extend(snapshot.threshold_ns.map(|threshold| {
        let help = "Exchanges at least this slow are slow";
        let value = threshold as f64 / SECOND;
        gauge("threshold", help, seconds, Vec::new(), value)
    }));
    about
}

fn of_pushes(pushes: &Pushes) -> Family<'_> {
    let outcomes = [("accepted", pushes.accepted), ("failed", pushes.failed)];
    let samples = outcomes.into_iter().map(|(outcome, value)| Sample {
        labels: vec![("outcome", Label::Text(outcome))],
        value,
    });
    Family {
        name: "otlp.pushes".into(),
        help: "Pushes to the OpenTelemetry collector",
        unit: Unit::Of("{push}"),
        values: Values::Counter(samples.collect()),
    }
}

fn of_stages<'a>(snapshot: &'a Snapshot, counter: &'static Counter<Stage>) -> Family<'a> {
    let label = |stage: &'a Stage| vec![("stage", Label::Text(&stage.name))];
    counted(counter, snapshot.stages.iter(), label)
}

/// A gauge of all rings; `None` where there are none.
fn of_rings<'a>(snapshot: &'a Snapshot, &(name, help, of): &OfRings) -> Option<Family<'a>> {
    let samples = (0..).zip(&snapshot.rings).map(|(number, ring)| Sample {
        labels: vec![("ring", Label::Number(number))],
        value: of(ring) as f64,
    });
    (!snapshot.rings.is_empty()).then(|| Family {
        name: name.into(),
        help,
        unit: Unit::Bytes,
        values: Values::Gauge(samples.collect()),
    })
}

fn of_period(all: &Period) -> impl Iterator<Item = Family<'_>> {
    let of_commands = OF_COMMANDS
        .iter()
        .map(|counter| of_each_command(all, counter));
    let of_ports = OF_PORTS
        .iter()
        .map(|counter| counted(counter, all.ports.iter(), of_port));
    let of_directions = OF_DIRECTIONS.iter().map(|two| of_each_way(all, two));
    let of_capture = OF_CAPTURE
        .iter()
        .map(|counter| counted(counter, std::iter::once(&all.coverage), |_| Vec::new()));
    [durations(all), statuses(all), open(all), handshakes(all)]
        .into_iter()
        .chain(of_commands)
        .chain(of_ports)
        .chain(of_directions)
        .chain(of_capture)
}

/// A counter of all of these.
fn counted<'a, T>(
    counter: &'static Counter<T>,
    all: impl Iterator<Item = &'a T>,
    labels: impl Fn(&'a T) -> Vec<(&'static str, Label<'a>)>,
) -> Family<'a> {
    let samples = all.map(|of| Sample {
        labels: labels(of),
        value: (counter.of)(of),
    });
    family(counter, samples.collect())
}

fn family<'a, T>(counter: &'static Counter<T>, samples: Vec<Sample<'a, u64>>) -> Family<'a> {
    Family {
        name: counter.name.into(),
        help: counter.help,
        unit: counter.unit,
        values: Values::Counter(samples),
    }
}

fn of_port(port: &Port) -> Vec<(&'static str, Label<'_>)> {
    vec![("port", Label::Number(u32::from(port.port)))]
}

fn of_each_command<'a>(all: &'a Period, counter: &'static Counter<Command>) -> Family<'a> {
    let samples = commands(all).map(|(port, command)| Sample {
        labels: of_command(port, command),
        value: (counter.of)(command),
    });
    family(counter, samples.collect())
}

fn of_each_way<'a>(all: &'a Period, counters: &'static [Counter<Port>; 2]) -> Family<'a> {
    let samples = all.ports.iter().flat_map(|port| {
        let ways = ["in", "out"].into_iter().zip(counters);
        ways.map(|(way, counter)| Sample {
            labels: vec![
                ("port", Label::Number(u32::from(port.port))),
                ("direction", Label::Text(way)),
            ],
            value: (counter.of)(port),
        })
    });
    family(&counters[0], samples.collect())
}

fn commands(all: &Period) -> impl Iterator<Item = (&Port, &Command)> {
    all.ports
        .iter()
        .flat_map(|port| port.commands.iter().map(move |command| (port, command)))
}

fn of_command<'a>(port: &Port, command: &'a Command) -> Vec<(&'static str, Label<'a>)> {
    vec![
        ("port", Label::Number(u32::from(port.port))),
        ("protocol", Label::Text(&command.protocol)),
        ("command", Label::Text(&command.command)),
    ]
}

fn durations(all: &Period) -> Family<'_> {
    let samples = commands(all).map(|(port, command)| Sample {
        labels: of_command(port, command),
        value: durations_in(&command.latency, Cow::Borrowed(&command.latencies)),
    });
    Family {
        name: "request.duration".into(),
        help: "Time from a request's last byte to its response's first",
        unit: Unit::Seconds,
        values: Values::Histogram(samples.collect()),
    }
}

fn statuses(all: &Period) -> Family<'_> {
    let samples = all.ports.iter().flat_map(|port| {
        port.statuses.iter().map(|status| Sample {
            labels: vec![
                ("port", Label::Number(u32::from(port.port))),
                ("protocol", Label::Text(&status.protocol)),
                ("status", Label::Text(&status.status)),
                (
                    "error",
                    Label::Text(if status.error { "true" } else { "false" }),
                ),
            ],
            value: status.count,
        })
    });
    Family {
        name: "responses".into(),
        help: "Responses with a status other than plain success",
        unit: RESPONSES,
        values: Values::Counter(samples.collect()),
    }
}

fn open(all: &Period) -> Family<'_> {
    let samples = all.ports.iter().map(|port| Sample {
        labels: of_port(port),
        value: port.tcp.open as f64,
    });
    Family {
        name: "tcp.open_connections".into(),
        help: "TCP connections that are open",
        unit: CONNECTIONS,
        values: Values::Gauge(samples.collect()),
    }
}

fn handshakes(all: &Period) -> Family<'_> {
    let samples = all.ports.iter().map(|port| Sample {
        labels: of_port(port),
        value: durations_in(
            &port.tcp.handshake,
            Cow::Owned(classes(&port.tcp.handshake, &BOUNDS)),
        ),
    });
    Family {
        name: "tcp.handshake.duration".into(),
        help: "Time from a connection's first SYN to the end of its handshake",
        unit: Unit::Seconds,
        values: Values::Histogram(samples.collect()),
    }
}

fn durations_in<'a>(latency: &'a Latency, classes: Cow<'a, [u64]>) -> Sizes<'a> {
    Sizes {
        latency,
        classes,
        bounds: &BOUNDS,
        scale: SECOND,
    }
}

/// Places of histograms are narrower than what is between two bounds.
fn classes(latency: &Latency, bounds: &[u64]) -> Vec<u64> {
    let mut classes = vec![0; bounds.len() + 1];
    for &(place, count) in &latency.histogram {
        let least = least(usize::from(place));
        classes[bounds.partition_point(|bound| *bound < least)] += count;
    }
    classes
}

/// What scripts count, under `script` and the names that they gave. Names that Prometheus does not take, for a
/// metric or a label, are in the snapshot alone; so is a histogram that is called as a counter is.
fn of_scripts(scripts: &metrics::Snapshot) -> impl Iterator<Item = Family<'_>> {
    let mut counters = Named::new();
    for one in &scripts.counters {
        counters.add(stem(&one.name), &one.labels, one.value);
    }
    let mut histograms = Named::new();
    for one in &scripts.histograms {
        if !counters.0.contains_key(stem(&one.name)) {
            let sizes = Sizes {
                latency: &one.places,
                classes: Cow::Owned(classes(&one.places, &DECADES)),
                bounds: &DECADES,
                scale: metrics::SCALE,
            };
            histograms.add(&one.name, &one.labels, sizes);
        }
    }
    let family = |name: &str, values| Family {
        name: format!("script.{name}").into(),
        help: "Kept by a script",
        unit: Unit::Of("1"),
        values,
    };
    let counters = counters.0.into_iter();
    let counters = counters.map(move |(name, all)| family(name, Values::Sum(all)));
    let histograms = histograms.0.into_iter();
    counters.chain(histograms.map(move |(name, all)| family(name, Values::Histogram(all))))
}

/// A counter's name without the ending that it is told with, whether or not the script gave it that.
fn stem(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// Series by the names of their metrics.
struct Named<'a, V>(BTreeMap<&'a str, Vec<Sample<'a, V>>>);

impl<'a, V> Named<'a, V> {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a series, if its names are such that it can be told, and none with the same labels is there.
    fn add(&mut self, name: &'a str, labels: &'a BTreeMap<String, String>, value: V) {
        let reserved = |name: &str| name == "le" || name.starts_with("__");
        if !is_word(name) || labels.keys().any(|name| !is_word(name) || reserved(name)) {
            return;
        }
        let labels = labels
            .iter()
            .map(|(name, value)| (name.as_str(), Label::Text(value)));
        let labels: Vec<_> = labels.collect();
        let all = self.0.entry(name).or_default();
        if all.iter().all(|other| other.labels != labels) {
            all.push(Sample { labels, value });
        }
    }
}

/// What Prometheus takes for a name: letters, digits and underscores, no digit first.
fn is_word(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|first| !first.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a test may")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_scripts_count_is_told_once_and_under_names_that_prometheus_takes() {
        let counter = |name: &str, pairs: &[(&str, &str)]| metrics::Counter {
            name: name.to_owned(),
            labels: labels(pairs),
            value: 1.5,
        };
        let histogram = |name: &str| metrics::Distribution {
            name: name.to_owned(),
            ..metrics::Distribution::default()
        };
        let scripts = metrics::Snapshot {
            counters: vec![
                counter("asked", &[("client", "10.0.0.1")]),
                counter("asked", &[("client", "10.0.0.2")]),
                counter("asked_total", &[("client", "10.0.0.2")]),
                counter("asked", &[("a-b", "1")]),
                counter("asked", &[("le", "1")]),
                counter("two words", &[]),
                counter("4", &[]),
            ],
            histograms: vec![
                histogram("asked"),
                histogram("asked_total"),
                histogram("size"),
            ],
            dropped: 0,
        };
        let told: Vec<(String, usize)> = of_scripts(&scripts)
            .map(|family| match family.values {
                Values::Sum(all) => (family.name.into_owned(), all.len()),
                Values::Histogram(all) => (family.name.into_owned(), all.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("script.asked", 2), ("script.size", 1)];
        assert_eq!(told, expected.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn names_are_unique() {
        let tables = [
            OF_COMMANDS.iter().map(|one| (one.name, one.unit)).collect(),
            OF_PORTS.iter().map(|one| (one.name, one.unit)).collect(),
            OF_STAGES.iter().map(|one| (one.name, one.unit)).collect(),
            OF_RINGS.map(|(name, ..)| (name, Unit::Bytes)).to_vec(),
            OF_CAPTURE
                .iter()
                .map(|one| (one.name, one.unit))
                .collect::<Vec<_>>(),
        ];
        let names: Vec<_> = tables.into_iter().flatten().collect();
        let is_bytes = |unit| unit == Unit::Bytes;
        let unique: BTreeSet<_> = names
            .iter()
            .map(|(name, unit)| (name.replace('.', "_"), is_bytes(*unit)))
            .collect();
        assert_eq!(unique.len(), names.len());
    }
}
