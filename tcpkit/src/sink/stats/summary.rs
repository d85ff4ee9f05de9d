//! The summary that ends a run: per port and command, and the capture's own account.
//!
//! Reads merged [`Stats`], makes a [`Summary`] that is printed as text or as the last JSON object.
//! The same numbers serve the lines of `--interval`.

use std::io::{self, Write};

use serde::Serialize;

use super::live::Live;
use super::metrics::{Metrics, Snapshot};
use super::{Account, BOUNDS, CommandStats, Histogram, PortStats, Stats};
use crate::limits;

/// Latencies in nanoseconds; quantiles within 0.8 %, the others exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
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
}

impl Quantiles {
    fn of(latencies: &Histogram) -> Self {
        let [p50, p90, p99, p999] = latencies.quantiles([0.5, 0.9, 0.99, 0.999]);
        Self {
            avg: latencies.mean(),
            p50,
            p90,
            p99,
            p999,
            max: latencies.max(),
        }
    }
}

/// One command on one port.
#[derive(Clone, Debug, Serialize)]
pub struct CommandSummary {
    /// Its protocol.
    pub protocol: &'static str,
    /// Its label.
    pub command: &'static str,
    /// Exchanges with a latency.
    pub requests: u64,
    /// Error responses among them.
    pub errors: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Keys found by them.
    pub hits: u64,
    /// Keys not found by them.
    pub misses: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Their latencies in nanoseconds.
    pub latency_ns: Quantiles,
}

/// One server port.
#[derive(Clone, Debug, Serialize)]
pub struct PortSummary {
    /// The port.
    pub port: u16,
    /// Exchanges with a latency.
    pub requests: u64,
    /// Those at or over the threshold.
    pub slow: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Exchanges that wait by design, kept out of the latencies.
    pub blocking: u64,
    /// Requests whose response could not be told from others.
    pub ambiguous: u64,
    /// Exchanges that were found again after a gap; the others are exact.
    pub resynced: u64,
    /// Messages that nobody answers.
    pub one_way: u64,
    /// Responses whose request is not known.
    pub orphans: u64,
    /// Responses that came after their request was reported unanswered.
    pub late: u64,
    /// Their latencies in nanoseconds.
    pub latency_ns: Quantiles,
    /// Exchanges by latency: at most 0.1 ms, 0.2, 0.5, 1, 5, 10, 20, 50, 100, 200, 500 ms, 1 s, 2, 3,
    /// 5, 10, 20 s, and over 20 s.
    pub latencies: [u64; 18],
    /// By command, most requests first.
    pub commands: Vec<CommandSummary>,
}

/// What a run found, in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// `summary`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Version of this form.
    v: u32,
    /// Ports that were asked for in their order, then others ascending.
    pub ports: Vec<PortSummary>,
    /// What scripts have counted; left out where there is nothing.
    #[serde(skip_serializing_if = "Snapshot::is_empty")]
    pub scripts: Snapshot,
    /// The capture's own account.
    pub capture: Account,
    /// What the engine of a live run did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

impl Summary {
    /// The summary of a run in which `asked` ports were asked for.
    pub fn new(stats: &Stats, asked: usize) -> Self {
        let (given, seen) = stats.ports().split_at(asked.min(stats.ports().len()));
        let mut seen: Vec<&PortStats> = seen.iter().collect();
        seen.sort_by_key(|port| port.port);
        let ports = given
            .iter()
            .chain(seen)
            .take(limits::PORTS.max(asked))
            .map(port)
            .collect();
        Self {
            kind: "summary",
            v: 1,
            ports,
            scripts: Snapshot::default(),
            capture: stats.account.clone(),
            live: None,
        }
    }

    /// With what scripts have counted.
    #[must_use]
    pub fn with_scripts(self, metrics: &Metrics) -> Self {
        let scripts = metrics.snapshot();
        Self { scripts, ..self }
    }

    /// Writes it as one JSON line.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for port in &self.ports {
            port.write_text(out)?;
        }
        self.scripts.write_text(out)?;
        write_account(&self.capture, out)?;
        self.live
            .as_ref()
            .map_or(Ok(()), |live| live.write_text(out))
    }
}

fn port(stats: &PortStats) -> PortSummary {
    let mut commands: Vec<CommandSummary> = stats
        .protocols
        .iter()
        .flat_map(|protocol| {
            protocol
                .commands
                .iter()
                .enumerate()
                .filter_map(|(index, command)| {
                    Some(command_summary(
                        protocol.protocol,
                        index,
                        command.as_deref()?,
                    ))
                })
        })
        .collect();
    commands.sort_by_key(|told| (u64::MAX - told.requests, told.command, told.protocol));
    PortSummary {
        port: stats.port,
        requests: stats.buckets.iter().sum(),
        slow: stats.slow,
        unanswered: stats.unanswered,
        blocking: stats.blocking,
        ambiguous: stats.ambiguous,
        resynced: stats.resynced,
        one_way: stats.one_way,
        orphans: stats.orphans,
        late: stats.late,
        latency_ns: Quantiles::of(&stats.latencies()),
        latencies: stats.buckets,
        commands,
    }
}

fn command_summary(
    protocol: &'static dyn crate::protocol::Protocol,
    index: usize,
    stats: &CommandStats,
) -> CommandSummary {
    CommandSummary {
        protocol: protocol.name(),
        command: protocol.commands().get(index).copied().unwrap_or("other"),
        requests: stats.latencies.count(),
        errors: stats.errors,
        unanswered: stats.unanswered,
        hits: stats.hits,
        misses: stats.misses,
        request_bytes: stats.request_bytes,
        response_bytes: stats.response_bytes,
        latency_ns: Quantiles::of(&stats.latencies),
    }
}

impl PortSummary {
    /// The line of a port that `--interval` repeats.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_line(&self, out: &mut dyn Write) -> io::Result<()> {
        let q = self.latency_ns;
        write!(
            out,
            "port {}: {} requests, avg {} ms, p50 {} ms, p90 {} ms, p99 {} ms, p99.9 {} ms, max {} ms, slow {}, unanswered {}",
            self.port,
            self.requests,
            Ms(q.avg),
            Ms(q.p50),
            Ms(q.p90),
            Ms(q.p99),
            Ms(q.p999),
            Ms(q.max),
            self.slow,
            self.unanswered,
        )
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_line(out)?;
        let others = [
            ("resynced", self.resynced),
            ("ambiguous", self.ambiguous),
            ("blocking", self.blocking),
            ("one-way", self.one_way),
            ("orphans", self.orphans),
            ("late", self.late),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            write!(out, ", {name} {count}")?;
        }
        out.write_all(b"\n")?;
        if self.requests > 0 {
            write!(out, "  latencies:")?;
            for (index, count) in self
                .latencies
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
            {
                match BOUNDS.get(index) {
                    Some(&bound) => write!(out, " <= {} {count},", Bound(bound))?,
                    None => write!(out, " over 20 s {count},")?,
                }
            }
            writeln!(out, " in all {}", self.requests)?;
        }
        let mut protocols = self.commands.iter().map(|command| command.protocol);
        let first = protocols.next();
        let mixed = protocols.any(|other| Some(other) != first);
        for command in &self.commands {
            let name = match mixed {
                true => format!("{} {}", command.protocol, command.command),
                false => command.command.to_owned(),
            };
            command.write_text(&name, out)?;
        }
        Ok(())
    }
}

impl CommandSummary {
    fn write_text(&self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        let q = self.latency_ns;
        write!(
            out,
            "  {:<16} {:>10}  avg {} ms, p50 {} ms, p99 {} ms, max {} ms",
            name,
            self.requests,
            Ms(q.avg),
            Ms(q.p50),
            Ms(q.p99),
            Ms(q.max),
        )?;
        let others = [
            ("errors", self.errors),
            ("unanswered", self.unanswered),
            ("hits", self.hits),
            ("misses", self.misses),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            write!(out, ", {name} {count}")?;
        }
        out.write_all(b"\n")
    }
}

/// The capture's own account: frames first, then only what is not zero.
fn write_account(account: &Account, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "capture: {} frames seen, {} of monitored conversations, {} dropped before they were seen",
        account.frames, account.matched, account.dropped
    )?;
    let groups: [(&str, &[(&str, u64)]); 3] = [
        (
            "frames",
            &[
                ("copies from other interfaces", account.duplicates),
                (
                    "SYNs and datagrams seen again with other addresses (NAT), paired on each side",
                    account.translated,
                ),
                ("retransmissions", account.retransmissions),
                ("keep-alives", account.keepalives),
                ("neither TCP nor UDP", account.other),
                ("fragments", account.fragments),
                ("datagrams never whole", account.fragments_lost),
                ("cut in their headers", account.truncated),
                ("malformed", account.malformed_frames),
                ("of an unsupported link type", account.unknown_link),
            ],
        ),
        (
            "conversations",
            &[
                ("followed", account.conversations),
                ("joined in the middle", account.joined),
                ("opaque", account.opaque),
                ("of no known protocol", account.unrecognised),
                ("forgotten to make room", account.evicted),
            ],
        ),
        (
            "messages",
            &[
                ("gaps", account.gaps),
                ("bytes never seen", account.gap_bytes),
                ("malformed", account.malformed),
                ("requests under way at the end", account.in_flight),
                ("requests forgotten to make room", account.overflowed),
            ],
        ),
    ];
    for (name, counts) in groups {
        let told: Vec<String> = counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if !told.is_empty() {
            writeln!(out, "  {name}: {}", told.join(", "))?;
        }
    }
    Ok(())
}

/// Nanoseconds printed as milliseconds with three decimals, rounded down as all latencies are.
struct Ms(u64);

impl std::fmt::Display for Ms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

/// A bucket's bound, in the unit that it reads best in.
struct Bound(u64);

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ns if ns >= 1_000_000_000 => write!(f, "{} s", ns / 1_000_000_000),
            ns if ns >= 1_000_000 => write!(f, "{} ms", ns / 1_000_000),
            ns => write!(f, "0.{} ms", ns / 100_000),
        }
    }
}
