//! Counts everything, a port and a command at a time.
//!
//! Reads exchanges and what became of frames, makes [`Stats`]: each worker keeps its own, and
//! they are merged when somebody asks. What is counted does not depend on the number of threads.

pub mod account;
pub mod histogram;
pub mod metrics;
pub mod summary;

pub use account::Account;
pub use histogram::Histogram;
pub use metrics::Metrics;

use std::time::Duration;

use crate::exchange::{Confidence, Exchange, Unanswered};
use crate::protocol::Protocol;

/// Upper bounds of the latency buckets of cli.md in nanoseconds, inclusive; one more bucket
/// holds what is over the last.
pub const BOUNDS: [u64; 17] = [
    100_000,
    200_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    3_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
];

/// What is counted of one command on one port.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// Latencies of its exchanges.
    pub latencies: Histogram,
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
}

/// One protocol's commands on one port, by index into [`Protocol::commands`].
#[derive(Clone, Debug)]
pub struct ProtocolStats {
    /// The protocol.
    pub protocol: &'static dyn Protocol,
    /// Its commands that were seen.
    pub commands: Vec<Option<Box<CommandStats>>>,
}

/// What is counted of one server port.
#[derive(Clone, Debug)]
pub struct PortStats {
    /// The port.
    pub port: u16,
    /// By protocol: nearly always one.
    pub protocols: Vec<ProtocolStats>,
    /// Exchanges with a latency, by [`BOUNDS`].
    pub buckets: [u64; 18],
    /// Exchanges at or over the threshold.
    pub slow: u64,
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
}

impl PortStats {
    fn new(port: u16) -> Self {
        Self {
            port,
            protocols: Vec::new(),
            buckets: [0; 18],
            slow: 0,
            unanswered: 0,
            blocking: 0,
            ambiguous: 0,
            resynced: 0,
            one_way: 0,
            orphans: 0,
            late: 0,
        }
    }

    #[inline]
    fn command(&mut self, protocol: &'static dyn Protocol, command: u16) -> &mut CommandStats {
        let place = self
            .protocols
            .iter()
            .position(|seen| same(seen.protocol, protocol));
        let place = place.unwrap_or_else(|| {
            self.protocols.push(ProtocolStats {
                protocol,
                commands: Vec::new(),
            });
            self.protocols.len() - 1
        });
        let commands = &mut self.protocols[place].commands;
        let command = usize::from(command);
        if command >= commands.len() {
            commands.resize_with(command + 1, || None);
        }
        commands[command].get_or_insert_default()
    }

    /// All latencies of the port together.
    pub fn latencies(&self) -> Histogram {
        let mut all = Histogram::default();
        for command in self
            .protocols
            .iter()
            .flat_map(|protocol| protocol.commands.iter().flatten())
        {
            all.merge(&command.latencies);
        }
        all
    }

    fn merge(&mut self, other: &Self) {
        for theirs in &other.protocols {
            for (index, more) in theirs.commands.iter().enumerate() {
                let Some(more) = more else { continue };
                let ours = self.command(theirs.protocol, index as u16);
                ours.latencies.merge(&more.latencies);
                ours.errors += more.errors;
                ours.hits += more.hits;
                ours.misses += more.misses;
                ours.request_bytes += more.request_bytes;
                ours.response_bytes += more.response_bytes;
                ours.unanswered += more.unanswered;
            }
        }
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        self.slow += other.slow;
        self.unanswered += other.unanswered;
        self.blocking += other.blocking;
        self.ambiguous += other.ambiguous;
        self.resynced += other.resynced;
        self.one_way += other.one_way;
        self.orphans += other.orphans;
        self.late += other.late;
    }
}

fn same(a: &'static dyn Protocol, b: &'static dyn Protocol) -> bool {
    // The same name is nearly always the same string; addresses of protocols say nothing, since
    // types without data may share one.
    let (a, b) = (a.name(), b.name());
    std::ptr::eq(a, b) || a == b
}

/// Index of the latency bucket that a latency in nanoseconds falls into.
#[inline]
pub fn bucket(latency: u64) -> usize {
    BOUNDS
        .iter()
        .position(|&bound| latency <= bound)
        .unwrap_or(BOUNDS.len())
}

/// How exchanges are counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Exchanges at least this slow are slow; without it none is.
    pub threshold: Option<Duration>,
    /// Count commands that wait by design as others.
    pub include_blocking: bool,
}

/// Statistics of a run or of one worker's part of it.
#[derive(Clone, Debug)]
pub struct Stats {
    /// What became of frames and conversations.
    pub account: Account,
    rules: Rules,
    threshold: u64,
    ports: Vec<PortStats>,
    /// Port to place in `ports`, plus one.
    index: Box<[u16; 1 << 16]>,
    last: (u16, usize),
}

impl Stats {
    /// Statistics that hold nothing yet but the ports that were asked for, in their order.
    pub fn new(rules: Rules, ports: &[u16]) -> Self {
        let threshold = rules.threshold.map_or(u64::MAX, |threshold| {
            u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX)
        });
        let mut stats = Self {
            account: Account::default(),
            rules,
            threshold,
            ports: Vec::new(),
            index: Box::new([0; 1 << 16]),
            last: (0, usize::MAX),
        };
        for &port in ports {
            stats.place(port);
        }
        stats
    }

    /// The ports: first those that were asked for, then others in the order they were seen.
    pub fn ports(&self) -> &[PortStats] {
        &self.ports
    }

    #[inline]
    fn place(&mut self, port: u16) -> usize {
        if self.last.0 == port && self.last.1 != usize::MAX {
            return self.last.1;
        }
        let entry = &mut self.index[usize::from(port)];
        if *entry == 0 {
            // 65,535 entries hold every port but one; port 0 is no server's.
            self.ports.push(PortStats::new(port));
            *entry = self.ports.len().min(usize::from(u16::MAX)) as u16;
        }
        self.last = (port, usize::from(*entry) - 1);
        self.last.1
    }

    /// The statistics of a server port.
    #[inline]
    pub fn port(&mut self, port: u16) -> &mut PortStats {
        let place = self.place(port);
        &mut self.ports[place]
    }

    /// Counts a request and its response.
    #[inline]
    pub fn exchange(&mut self, exchange: &Exchange<'_>) {
        let (threshold, include_blocking) = (self.threshold, self.rules.include_blocking);
        let port = self.port(exchange.endpoints.server.port());
        let Some(latency) = exchange.latency else {
            port.ambiguous += 1;
            return;
        };
        port.resynced += u64::from(exchange.confidence == Confidence::Resynced);
        if exchange.blocking && !include_blocking {
            port.blocking += 1;
            return;
        }
        port.buckets[bucket(latency)] += 1;
        port.slow += u64::from(latency >= threshold);
        let command = port.command(exchange.protocol, exchange.command);
        command.latencies.record(latency);
        command.errors += u64::from(exchange.error);
        command.hits += u64::from(exchange.hits);
        command.misses += u64::from(exchange.misses);
        command.request_bytes += exchange.request.size;
        command.response_bytes += exchange.response.map_or(0, |response| response.size);
    }

    /// Counts a request whose response never came.
    pub fn unanswered(&mut self, unanswered: &Unanswered<'_>) {
        let include_blocking = self.rules.include_blocking;
        let port = self.port(unanswered.endpoints.server.port());
        if unanswered.blocking && !include_blocking {
            port.blocking += 1;
            return;
        }
        port.unanswered += 1;
        port.command(unanswered.protocol, unanswered.command)
            .unanswered += 1;
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        self.account.merge(&other.account);
        for theirs in &other.ports {
            self.port(theirs.port).merge(theirs);
        }
    }

    /// Exchanges with a latency, over all ports.
    pub fn exchanges(&self) -> u64 {
        self.ports.iter().flat_map(|port| port.buckets).sum()
    }
}
