//! The figures since the start, for Prometheus.
//!
//! `prometheus-client` writes OpenMetrics 1.0; the older text format is made of that. Labels are ports, protocols,
//! commands and statuses, whose number is bounded; never a client or a key. Units are seconds and bytes.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::sink::stats::histogram::least;
use crate::sink::stats::snapshot::{Command, Latency, Period, Port, Snapshot, Stage};
use crate::sink::stats::{BOUNDS, bucket};

const SECOND: f64 = 1e9;

/// OpenMetrics 1.0.
pub fn open_metrics(snapshot: &Snapshot) -> String {
    let mut registry = Registry::with_prefix("tcpkit");
    registry.register_collector(Box::new(Metrics(snapshot.clone())));
    let mut out = String::new();
    // A string takes whatever is written.
    let _ = text::encode(&mut out, &registry);
    out
}

/// The text format 0.0.4: counters are named as their samples are, and there are no units.
pub fn text(snapshot: &Snapshot) -> String {
    let open = open_metrics(snapshot);
    let mut out = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = line;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            describe(help, rest, &mut out);
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The lines that describe a family, `typed` as in `name type`.
fn describe(help: &str, typed: &str, out: &mut String) {
    let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
    let suffix = if kind == "counter" { "_total" } else { "" };
    let words = help.splitn(4, ' ').nth(3).unwrap_or_default();
    out.push_str(&format!(
        "# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}\n"
    ));
}

#[derive(Debug)]
struct Metrics(Snapshot);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshot = &self.0;
        about(snapshot, &mut encoder)?;
        let Some(all) = snapshot.since_start() else {
            return Ok(());
        };
        of_commands(all, &mut encoder)?;
        of_ports(all, &mut encoder)?;
        of_tcp(all, &mut encoder)?;
        of_capture(snapshot, all, &mut encoder)
    }
}

fn about(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let version = [("version", snapshot.build.version.as_str())];
    let mut metric =
        encoder.encode_descriptor("build_info", "What counts", None, MetricType::Gauge)?;
    metric.encode_family(&version)?.encode_gauge(&1_u64)?;
    let seconds = |ns: u64| ns as f64 / SECOND;
    encoder
        .encode_descriptor(
            "uptime",
            "Time since start",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?
        .encode_gauge(&seconds(snapshot.uptime_ns))?;
    if let Some(threshold) = snapshot.threshold_ns {
        encoder
            .encode_descriptor(
                "threshold",
                "Exchanges at least this slow are slow",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?
            .encode_gauge(&seconds(threshold))?;
    }
    Ok(())
}

/// A command and the port that it is asked at.
type Asked<'a> = (&'a Port, &'a Command);

fn of_commands(all: &Period, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(
        "request_duration",
        "Time from a request's last byte to its response's first",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (port, command) in commands(all) {
        let labels = labels(port, command);
        let classes = command.latencies.iter().copied();
        histogram(&command.latency, classes, metric.encode_family(&labels)?)?;
    }
    type Of = fn(&Command) -> u64;
    let counters: [(&str, &str, Option<Unit>, Of); 6] = [
        (
            "response_errors",
            "Responses that tell an error",
            None,
            |of| of.errors,
        ),
        (
            "unanswered_requests",
            "Requests whose response never came",
            None,
            |of| of.unanswered,
        ),
        ("key_hits", "Keys found", None, |of| of.hits),
        ("key_misses", "Keys not found", None, |of| of.misses),
        ("request", "Length of requests", Some(Unit::Bytes), |of| {
            of.request_bytes
        }),
        ("response", "Length of responses", Some(Unit::Bytes), |of| {
            of.response_bytes
        }),
    ];
    for (name, help, unit, of) in counters {
        let mut metric =
            encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (port, command) in commands(all) {
            count(&mut metric, &labels(port, command), of(command))?;
        }
    }
    Ok(())
}

fn commands(all: &Period) -> impl Iterator<Item = Asked<'_>> {
    all.ports
        .iter()
        .flat_map(|port| port.commands.iter().map(move |command| (port, command)))
}

fn labels<'a>(port: &Port, command: &'a Command) -> [(&'static str, Label<'a>); 3] {
    [
        ("port", Label::Port(port.port)),
        ("protocol", Label::Text(&command.protocol)),
        ("command", Label::Text(&command.command)),
    ]
}

fn of_ports(all: &Period, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let counters: [PortCounter; 7] = [
        (
            "slow_requests",
            "Exchanges at or over the threshold",
            |port| port.slow,
        ),
        (
            "blocking_requests",
            "Exchanges that wait by design",
            |port| port.blocking,
        ),
        (
            "ambiguous_requests",
            "Requests whose response could not be told from others",
            |port| port.ambiguous,
        ),
        (
            "resynced_requests",
            "Exchanges that were found again after a gap",
            |port| port.resynced,
        ),
        ("one_way_messages", "Messages that nobody answers", |port| {
            port.one_way
        }),
        (
            "orphan_responses",
            "Responses whose request is not known",
            |port| port.orphans,
        ),
        (
            "late_responses",
            "Responses to requests that were given up",
            |port| port.late,
        ),
    ];
    by_port(all, &counters, encoder)?;
    let mut metric = encoder.encode_descriptor(
        "responses",
        "Responses with a status other than plain success",
        None,
        MetricType::Counter,
    )?;
    for port in &all.ports {
        for status in &port.statuses {
            let labels = [
                ("port", Label::Port(port.port)),
                ("protocol", Label::Text(&status.protocol)),
                ("status", Label::Text(&status.status)),
                (
                    "error",
                    Label::Text(if status.error { "true" } else { "false" }),
                ),
            ];
            count(&mut metric, &labels, status.count)?;
        }
    }
    let directions: [DirectionCounter; 2] = [
        (
            "frames",
            "Frames of monitored conversations",
            None,
            |port| [port.traffic.in_packets, port.traffic.out_packets],
        ),
        (
            "wire",
            "Their length on the wire",
            Some(Unit::Bytes),
            |port| [port.traffic.in_bytes, port.traffic.out_bytes],
        ),
    ];
    for (name, help, unit, of) in directions {
        let mut metric =
            encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for port in &all.ports {
            for (direction, value) in ["in", "out"].into_iter().zip(of(port)) {
                let number = Label::Port(port.port);
                let labels = [("port", number), ("direction", Label::Text(direction))];
                count(&mut metric, &labels, value)?;
            }
        }
    }
    Ok(())
}

fn of_tcp(all: &Period, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(
        "tcp_open_connections",
        "TCP connections that are open",
        None,
        MetricType::Gauge,
    )?;
    for port in &all.ports {
        let labels = [("port", Label::Port(port.port))];
        metric
            .encode_family(&labels)?
            .encode_gauge(&port.tcp.open)?;
    }
    let counters: [PortCounter; 7] = [
        (
            "tcp_opened_connections",
            "Connections whose first SYN was seen",
            |port| port.tcp.opened,
        ),
        (
            "tcp_closed_connections",
            "Connections that ended with a FIN of each side",
            |port| port.tcp.closed,
        ),
        (
            "tcp_reset_connections",
            "Connections that one side reset",
            |port| port.tcp.resets,
        ),
        (
            "tcp_syn_retries",
            "SYNs that had to be sent again",
            |port| port.tcp.syn_retries,
        ),
        (
            "tcp_retransmissions",
            "Segments that brought nothing new",
            |port| port.tcp.retransmissions,
        ),
        (
            "tcp_out_of_order_segments",
            "Segments that came after later ones",
            |port| port.tcp.out_of_order,
        ),
        (
            "tcp_zero_windows",
            "Segments that told the other side to stop",
            |port| port.tcp.zero_windows,
        ),
    ];
    by_port(all, &counters, encoder)?;
    let mut metric = encoder.encode_descriptor(
        "tcp_handshake_duration",
        "Time from a connection's first SYN to the end of its handshake",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for port in &all.ports {
        let labels = [("port", Label::Port(port.port))];
        let handshake = &port.tcp.handshake;
        // Places of histograms are narrower than what is between two bounds.
        let mut classes = [0; BOUNDS.len() + 1];
        for &(place, count) in &handshake.histogram {
            classes[bucket(least(usize::from(place)))] += count;
        }
        histogram(handshake, classes, metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn of_capture(
    snapshot: &Snapshot,
    all: &Period,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let stages: [StageCounter; 2] = [
        (
            "capture_passed",
            "What came out of each stage of the capture",
            |stage| stage.passed,
        ),
        (
            "capture_lost",
            "What was lost in each stage of the capture",
            |stage| stage.lost,
        ),
    ];
    for (name, help, of) in stages {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for stage in &snapshot.stages {
            let labels = [("stage", Label::Text(&stage.name))];
            count(&mut metric, &labels, of(stage))?;
        }
    }
    let account = &all.coverage;
    let counters = [
        ("capture_frames", "Frames that were seen", account.frames),
        (
            "capture_duplicate_frames",
            "Copies from other interfaces",
            account.duplicates,
        ),
        (
            "capture_gaps",
            "Places where bytes were never seen",
            account.gaps,
        ),
        (
            "conversations",
            "Conversations that were followed",
            account.conversations,
        ),
        (
            "joined_conversations",
            "Conversations joined in the middle",
            account.joined,
        ),
        (
            "opaque_conversations",
            "Conversations that cannot be read",
            account.opaque,
        ),
        (
            "evicted_conversations",
            "Conversations forgotten to make room",
            account.evicted,
        ),
        (
            "malformed_messages",
            "Places that broke a protocol's grammar",
            account.malformed,
        ),
        (
            "forgotten_requests",
            "Requests forgotten to make room",
            account.overflowed,
        ),
    ];
    for (name, help, value) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    let bytes = Some(&Unit::Bytes);
    encoder
        .encode_descriptor(
            "capture_gap",
            "Bytes that were never seen",
            bytes,
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, _, u64>(&account.gap_bytes, None)
}

/// A counter of every port and direction: its name, its help, its unit, its values.
type DirectionCounter = (
    &'static str,
    &'static str,
    Option<Unit>,
    fn(&Port) -> [u64; 2],
);

/// A counter of every stage: its name, its help, its value.
type StageCounter = (&'static str, &'static str, fn(&Stage) -> u64);

/// A counter of every port: its name, its help, its value.
type PortCounter = (&'static str, &'static str, fn(&Port) -> u64);

fn by_port(
    all: &Period,
    counters: &[PortCounter],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    for (name, help, of) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for port in &all.ports {
            count(&mut metric, &[("port", Label::Port(port.port))], of(port))?;
        }
    }
    Ok(())
}

fn count(
    metric: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> Result<(), Error> {
    metric
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// A histogram with the bounds of cli.md in seconds, and +Inf.
fn histogram(
    latency: &Latency,
    classes: impl IntoIterator<Item = u64>,
    mut metric: MetricEncoder<'_>,
) -> Result<(), Error> {
    let bounds = BOUNDS.iter().map(|&bound| bound as f64 / SECOND);
    let bounds = bounds.chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(classes).collect();
    let sum = latency.sum as f64 / SECOND;
    metric.encode_histogram::<NoLabelSet>(sum, latency.count, &buckets, None)
}

/// A label's value.
#[derive(Clone, Copy, Debug)]
enum Label<'a> {
    Port(u16),
    Text(&'a str),
}

impl prometheus_client::encoding::EncodeLabelValue for Label<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), Error> {
        match self {
            Self::Port(port) => u32::from(*port).encode(encoder),
            Self::Text(text) => text.encode(encoder),
        }
    }
}
