//! Counts everything, a port and a command at a time.
//!
//! Reads exchanges and what became of frames, makes [`Stats`]: each worker keeps its own, and
//! they are merged when somebody asks. What is counted does not depend on the number of threads, but for which commands
//! are told apart where there are more than [`limits::COMMANDS`].

pub mod account;
pub mod book;
pub mod clients;
pub mod desk;
pub mod detail;
pub mod figures;
pub mod histogram;
pub mod keys;
pub mod live;
pub mod metrics;
mod shape;
pub mod slowest;
pub mod snapshot;
pub mod sparse;
pub mod summary;

pub use account::Account;
pub use histogram::Histogram;
pub use metrics::Metrics;

use std::time::Duration;

use crate::exchange::{Exchange, Service, Tally, Unanswered};
use crate::limits;
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

/// The command of every protocol that stands for those that are not told apart.
const OTHER: u16 = 0;

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

    /// The place of a protocol, made where it is new.
    fn protocol(&mut self, protocol: &'static dyn Protocol) -> usize {
        let known = |seen: &ProtocolStats| seen.protocol.name() == protocol.name();
        self.protocols.iter().position(known).unwrap_or_else(|| {
            self.protocols.push(ProtocolStats {
                protocol,
                commands: Vec::new(),
            });
            self.protocols.len() - 1
        })
    }

    /// What is counted of the port as a whole.
    pub fn counts(&self) -> figures::PortCounts {
        figures::PortCounts {
            latencies: self.buckets,
            slow: self.slow,
            unanswered: self.unanswered,
            blocking: self.blocking,
            ambiguous: self.ambiguous,
            resynced: self.resynced,
            one_way: self.one_way,
            orphans: self.orphans,
            late: self.late,
        }
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

    fn merge(&mut self, other: &Self, room: &mut usize) {
        for theirs in &other.protocols {
            let place = self.protocol(theirs.protocol);
            for (index, more) in theirs.commands.iter().enumerate() {
                let Some(more) = more else { continue };
                let ours = self.protocols[place].command(index as u16, room);
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

impl ProtocolStats {
    /// Where a command is counted; one that is new takes of the `room` that all ports share.
    #[inline(always)]
    fn command(&mut self, command: u16, room: &mut usize) -> &mut CommandStats {
        let mut place = usize::from(command);
        if !matches!(self.commands.get(place), Some(Some(_))) {
            place = self.place_of(command, room);
        }
        match &mut self.commands[place] {
            Some(stats) => stats,
            none => begin(none),
        }
    }

    /// Makes a place for a command, or finds that of the others where there is no room.
    #[cold]
    #[inline(never)]
    fn place_of(&mut self, command: u16, room: &mut usize) -> usize {
        let mut place = usize::from(OTHER);
        if command != OTHER && *room > 0 {
            *room -= 1;
            place = usize::from(command);
        }
        if place >= self.commands.len() {
            self.commands.resize_with(place + 1, || None);
        }
        place
    }
}

#[cold]
#[inline(never)]
fn begin(slot: &mut Option<Box<CommandStats>>) -> &mut CommandStats {
    slot.insert(Box::default())
}

/// Index of the latency bucket that a latency in nanoseconds falls into.
#[inline]
pub fn bucket(latency: u64) -> usize {
    bucket_within(histogram::bucket(latency), latency)
}

/// As [`bucket`], for a latency whose place in a [`Histogram`] is known. Bounds are further apart than a
/// histogram's buckets are wide, so at most one lies within.
#[inline(always)]
fn bucket_within(place: usize, latency: u64) -> usize {
    const LOWEST: [u8; histogram::BUCKETS] = lowest();
    let lowest = usize::from(LOWEST[place]);
    lowest + usize::from(BOUNDS.get(lowest).is_some_and(|&bound| latency > bound))
}

/// The latency bucket of the least value of each of a histogram's buckets.
const fn lowest() -> [u8; histogram::BUCKETS] {
    let mut lowest = [0; histogram::BUCKETS];
    let (mut place, mut class) = (0, 0);
    while place < histogram::BUCKETS {
        while class < BOUNDS.len() && histogram::least(place) > BOUNDS[class] {
            class += 1;
        }
        lowest[place] = class as u8;
        place += 1;
    }
    lowest
}

/// How exchanges are counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Exchanges at least this slow are slow; without it none is.
    pub threshold: Option<Duration>,
    /// Count commands that wait by design as others.
    pub include_blocking: bool,
}

impl Rules {
    /// The threshold in nanoseconds; without one the longest time there is.
    pub fn threshold_ns(&self) -> u64 {
        self.threshold.map_or(u64::MAX, |threshold| {
            u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX)
        })
    }
}

/// The label of a command.
pub fn label(protocol: &'static dyn Protocol, command: u16) -> &'static str {
    let labels = protocol.commands();
    labels.get(usize::from(command)).copied().unwrap_or("other")
}

/// Statistics of a run or of one worker's part of it.
#[derive(Clone, Debug)]
pub struct Stats {
    /// What became of frames and conversations.
    pub account: Account,
    rules: Rules,
    threshold: u64,
    ports: Vec<PortStats>,
    /// Commands that may still be told apart, over all ports.
    room: usize,
    /// Port to place in `ports`, plus one.
    index: Box<[u16; 1 << 16]>,
}

impl Stats {
    /// Statistics that hold nothing yet but the ports that were asked for, in their order.
    pub fn new(rules: Rules, ports: &[u16]) -> Self {
        let mut stats = Self {
            account: Account::default(),
            rules,
            threshold: rules.threshold_ns(),
            ports: Vec::new(),
            room: limits::COMMANDS,
            index: Box::new([0; 1 << 16]),
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

    /// The place of a port in [`Stats::ports`], made where it is new.
    pub fn place(&mut self, port: u16) -> usize {
        let entry = &mut self.index[usize::from(port)];
        if *entry == 0 {
            // 65,535 entries hold every port but one; port 0 is no server's.
            self.ports.push(PortStats::new(port));
            *entry = self.ports.len().min(usize::from(u16::MAX)) as u16;
        }
        usize::from(*entry) - 1
    }

    /// Where conversations in `protocol` with this server port are counted.
    pub fn service(&mut self, port: u16, protocol: &'static dyn Protocol) -> Service {
        let place = self.place(port);
        Service {
            port: place as u16,
            protocol: self.ports[place].protocol(protocol) as u16,
        }
    }

    /// The statistics of a service's port.
    #[inline]
    pub fn of(&mut self, service: Service) -> &mut PortStats {
        &mut self.ports[usize::from(service.port)]
    }

    /// Counts an exchange that has a latency.
    #[inline(always)]
    pub fn answered(&mut self, service: Service, tally: &Tally) {
        let port = &mut self.ports[usize::from(service.port)];
        port.resynced += u64::from(tally.resynced);
        if tally.blocking && !self.rules.include_blocking {
            port.blocking += 1;
            return;
        }
        let place = histogram::bucket(tally.latency);
        port.buckets[bucket_within(place, tally.latency)] += 1;
        port.slow += u64::from(tally.latency >= self.threshold);
        let protocol = &mut port.protocols[usize::from(service.protocol)];
        let command = protocol.command(tally.command, &mut self.room);
        command.latencies.record_at(place, tally.latency);
        command.errors += u64::from(tally.error);
        command.hits += u64::from(tally.hits);
        command.misses += u64::from(tally.misses);
        command.request_bytes += tally.request_bytes;
        command.response_bytes += tally.response_bytes;
    }

    /// Counts a request and its response, for those who were told nothing but that.
    pub fn exchange(&mut self, exchange: &Exchange<'_>) {
        let service = self.service(exchange.endpoints.server.port(), exchange.protocol);
        match Tally::of(exchange) {
            Some(tally) => self.answered(service, &tally),
            None => self.of(service).ambiguous += 1,
        }
    }

    /// Counts a request whose response never came.
    pub fn unanswered(&mut self, service: Service, unanswered: &Unanswered<'_>) {
        let port = &mut self.ports[usize::from(service.port)];
        if unanswered.blocking && !self.rules.include_blocking {
            port.blocking += 1;
            return;
        }
        port.unanswered += 1;
        let protocol = &mut port.protocols[usize::from(service.protocol)];
        protocol
            .command(unanswered.command, &mut self.room)
            .unanswered += 1;
    }

    /// Adds what another worker counted.
    pub fn merge(&mut self, other: &Self) {
        self.account.merge(&other.account);
        for theirs in &other.ports {
            let place = self.place(theirs.port);
            self.ports[place].merge(theirs, &mut self.room);
        }
    }

    /// Exchanges with a latency, over all ports.
    pub fn exchanges(&self) -> u64 {
        self.ports.iter().flat_map(|port| port.buckets).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        for (index, &bound) in BOUNDS.iter().enumerate() {
            let around = [bound - 1, bound, bound + 1].map(bucket);
            assert_eq!(around, [index, index, index + 1], "{bound}");
        }
        assert_eq!(
            [0, 1, u64::MAX].map(bucket),
            [0, 0, BOUNDS.len()],
            "the ends"
        );
    }

    fn tally(command: u16) -> Tally {
        Tally {
            latency: 1000,
            resynced: false,
            blocking: false,
            command,
            error: false,
            hits: 1,
            misses: 0,
            request_bytes: 10,
            response_bytes: 20,
        }
    }

    /// Exchanges of so many commands at so many ports, once each.
    fn wide(ports: u16, commands: u16) -> Stats {
        let mut stats = Stats::new(Rules::default(), &[]);
        for port in 1..=ports {
            let service = stats.service(port, crate::protocol::PROTOCOLS[0]);
            for command in 1..=commands {
                stats.answered(service, &tally(command));
            }
        }
        stats
    }

    /// How many commands are told apart, and exchanges by command and by port.
    fn told(stats: &Stats) -> (usize, u64, u64) {
        let protocols = stats.ports.iter().flat_map(|port| &port.protocols);
        let named = |protocol: &ProtocolStats| protocol.commands.iter().skip(1).flatten().count();
        let named = protocols.map(named).sum();
        let by_command = stats.ports.iter().map(|port| port.latencies().count());
        (named, by_command.sum(), stats.exchanges())
    }

    #[test]
    fn commands_of_all_ports_together_are_bounded() {
        let stats = wide(1000, 100);
        assert_eq!(told(&stats), (limits::COMMANDS, 100_000, 100_000));
        let last = &stats.ports[999].protocols[0].commands;
        assert_eq!(last.len(), 1, "others alone");
        let others = last[0].as_ref().map(|others| {
            let CommandStats {
                hits,
                request_bytes,
                response_bytes,
                ..
            } = **others;
            (
                others.latencies.count(),
                hits,
                request_bytes,
                response_bytes,
            )
        });
        assert_eq!(others, Some((100, 100, 1000, 2000)));
    }

    #[test]
    fn commands_of_all_workers_together_are_bounded() {
        let mut all = wide(100, 100);
        assert_eq!(told(&all), (limits::COMMANDS, 10_000, 10_000));
        all.merge(&wide(200, 50));
        assert_eq!(told(&all), (limits::COMMANDS, 20_000, 20_000));
    }

    #[test]
    fn every_latency_finds_the_first_bound_that_holds_it() {
        for latency in (0..500_000).chain((0..63).flat_map(|power| {
            let low = 1_u64 << power;
            (0..200).map(move |part| low + low / 200 * part)
        })) {
            let first = BOUNDS.iter().position(|&bound| latency <= bound);
            assert_eq!(bucket(latency), first.unwrap_or(BOUNDS.len()), "{latency}");
        }
    }
}
