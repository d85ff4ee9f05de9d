//! Everything that was counted within some span of time, to be added to others.
//!
//! A worker's [`Detail`](super::detail::Detail) makes them, the [`Book`](super::book::Book) adds them up, and a
//! [`Period`](super::snapshot::Period) shows them. Adding is the same for workers, for seconds and for the whole run.

use std::collections::BTreeMap;

use super::Account;
use super::clients::Clients;
use super::keys::Keys;
use super::slowest::Slowest;
use super::snapshot::Traffic;
use super::sparse::Sparse;
use crate::protocol::Protocol;

/// Bytes of a place of a histogram.
const PLACE: usize = size_of::<(u16, u64)>();

/// Counts of a span of time.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What became of frames and conversations.
    pub account: Account,
    /// By port.
    pub ports: BTreeMap<u16, PortFigures>,
    /// By client.
    pub clients: Clients,
    /// The slowest requests.
    pub slowest: Slowest,
    /// Hot and big keys.
    pub keys: Keys,
    /// Exchanges that no command's figures hold.
    pub commands_left_out: u64,
}

/// Counts of one port.
#[derive(Clone, Debug, Default)]
pub struct PortFigures {
    /// What is counted of the port as a whole.
    pub counts: PortCounts,
    /// Frames and bytes.
    pub traffic: Traffic,
    /// Its TCP connections.
    pub tcp: TcpFigures,
    /// Responses by protocol and status code, and whether that tells an error.
    pub statuses: BTreeMap<StatusKey, u64>,
    /// By protocol and command.
    pub commands: BTreeMap<(&'static str, u16), CommandFigures>,
}

/// Counts of one port as a whole, as [`PortStats`](super::PortStats) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Exchanges by latency bucket.
    pub latencies: [u64; 18],
    /// Exchanges at or over the threshold.
    pub slow: u64,
    /// Requests whose response never came.
    pub unanswered: u64,
    /// Exchanges that wait by design.
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

/// Counts of a port's TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpFigures {
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
    /// Handshake times.
    pub handshake: Sparse,
}

/// Which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusKey {
    /// Name of the protocol.
    pub protocol: &'static str,
    /// Its code; `None` for those beyond the bound.
    pub code: Option<u16>,
    /// Whether it tells an error.
    pub error: bool,
}

/// Counts of one command.
#[derive(Clone, Debug)]
pub struct CommandFigures {
    /// Its protocol, to name it.
    pub protocol: &'static dyn Protocol,
    /// Latencies.
    pub latency: Sparse,
    /// Exchanges by latency bucket.
    pub latencies: [u64; 18],
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
}

impl Figures {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.account.merge(&other.account);
        for (port, theirs) in &other.ports {
            self.ports.entry(*port).or_default().merge(theirs);
        }
        self.clients.merge(&other.clients);
        self.slowest.merge(&other.slowest);
        self.keys.merge(&other.keys);
        self.commands_left_out += other.commands_left_out;
    }

    /// Places of histograms that they hold, and as many as what their ports and commands take besides.
    pub fn places(&self) -> usize {
        self.ports.values().map(PortFigures::places).sum()
    }
}

impl PortFigures {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        let Self {
            counts,
            traffic,
            tcp,
            statuses,
            commands,
        } = self;
        *counts == PortCounts::default()
            && *traffic == Traffic::default()
            && *tcp == TcpFigures::default()
            && statuses.is_empty()
            && commands.is_empty()
    }

    fn places(&self) -> usize {
        const PORT: usize = size_of::<PortFigures>() / PLACE;
        const COMMAND: usize = size_of::<CommandFigures>() / PLACE;
        let commands = self.commands.values();
        let commands = commands.map(|command| COMMAND + command.latency.places());
        PORT + self.tcp.handshake.places() + self.statuses.len() + commands.sum::<usize>()
    }

    fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.traffic.in_packets += other.traffic.in_packets;
        self.traffic.out_packets += other.traffic.out_packets;
        self.traffic.in_bytes += other.traffic.in_bytes;
        self.traffic.out_bytes += other.traffic.out_bytes;
        self.tcp.merge(&other.tcp);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (name, theirs) in &other.commands {
            match self.commands.get_mut(name) {
                Some(ours) => ours.merge(theirs),
                None => drop(self.commands.insert(*name, theirs.clone())),
            }
        }
    }
}

impl PortCounts {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.each(other, |count, more| *count += more);
    }

    /// What was counted since `before`, an earlier state of the same counts.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        since.each(before, |count, before| {
            *count = count.saturating_sub(before);
        });
        since
    }

    fn each(&mut self, other: &Self, with: impl Fn(&mut u64, u64)) {
        for (count, other) in self.latencies.iter_mut().zip(other.latencies) {
            with(count, other);
        }
        with(&mut self.slow, other.slow);
        with(&mut self.unanswered, other.unanswered);
        with(&mut self.blocking, other.blocking);
        with(&mut self.ambiguous, other.ambiguous);
        with(&mut self.resynced, other.resynced);
        with(&mut self.one_way, other.one_way);
        with(&mut self.orphans, other.orphans);
        with(&mut self.late, other.late);
    }
}

impl TcpFigures {
    fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.resets += other.resets;
        self.syn_retries += other.syn_retries;
        self.retransmissions += other.retransmissions;
        self.out_of_order += other.out_of_order;
        self.zero_windows += other.zero_windows;
        self.handshake.merge(&other.handshake);
    }
}

impl CommandFigures {
    /// None yet, of a command of this protocol.
    pub fn new(protocol: &'static dyn Protocol) -> Self {
        Self {
            protocol,
            latency: Sparse::default(),
            latencies: [0; 18],
            errors: 0,
            unanswered: 0,
            hits: 0,
            misses: 0,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        for (count, more) in self.latencies.iter_mut().zip(other.latencies) {
            *count += more;
        }
        self.errors += other.errors;
        self.unanswered += other.unanswered;
        self.hits += other.hits;
        self.misses += other.misses;
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
    }
}
