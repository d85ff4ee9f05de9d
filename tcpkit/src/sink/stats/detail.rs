//! What a worker counts beside [`Stats`] where somebody reads statistics while the run goes on.
//!
//! Reads exchanges, packets and what connections do; hands out, a span of time after the other, all that was counted
//! within it as [`Figures`]. Exists only where there is a reader, so that other runs pay nothing for it.

use crate::exchange::{Exchange, Service, Unanswered};
use crate::flow::Direction;
use crate::flow::connection::{Change, Connection};
use crate::flow::stream::Seen;
use crate::limits;
use crate::protocol::Protocol;

use super::clients::Clients;
use super::figures::{CommandFigures, Figures, PortCounts, PortFigures, StatusKey, TcpFigures};
use super::keys::Keys;
use super::slowest::Slowest;
use super::snapshot::Traffic;
use super::sparse::Dense;
use super::{Account, OTHER, Rules, Stats, bucket_within, histogram};

/// Counts since they were last taken.
#[derive(Debug)]
pub struct Detail {
    include_blocking: bool,
    threshold: u64,
    wants_keys: bool,
    ports: Vec<PortDetail>,
    /// Of all commands that are followed.
    cells: Vec<Cell>,
    /// Those that were counted, by place in `cells`.
    touched: Vec<u32>,
    /// The key of the request at hand.
    key: Vec<u8>,
    clients: Clients,
    slowest: Slowest,
    keys: Keys,
    left_out: u64,
    account: Account,
}

#[derive(Debug, Default)]
struct PortDetail {
    /// By protocol and command the place of its cell plus one; see [`index`].
    commands: Vec<u32>,
    statuses: Vec<(StatusKey, u64)>,
    traffic: Traffic,
    tcp: TcpFigures,
    before: PortCounts,
}

/// Counts of one command.
#[derive(Debug)]
struct Cell {
    /// Place of its port.
    port: u16,
    command: u16,
    touched: bool,
    latency: Dense,
    counts: CommandFigures,
}

impl Detail {
    /// Counts by `rules`; keys only where they are wanted.
    pub fn new(rules: Rules, wants_keys: bool) -> Self {
        Self {
            include_blocking: rules.include_blocking,
            threshold: rules.threshold_ns(),
            wants_keys,
            ports: Vec::new(),
            cells: Vec::new(),
            touched: Vec::new(),
            key: Vec::new(),
            clients: Clients::default(),
            slowest: Slowest::default(),
            keys: Keys::default(),
            left_out: 0,
            account: Account::default(),
        }
    }

    /// Counts an exchange, which [`Stats`] has counted.
    #[inline]
    pub fn exchange(&mut self, service: Service, exchange: &Exchange<'_>) {
        let Some(latency) = exchange.latency else {
            return;
        };
        if exchange.blocking && !self.include_blocking {
            return;
        }
        self.command(service, exchange, latency);
        self.client(exchange, latency);
        if exchange.status != 0 || exchange.error {
            self.port(service.port).status(exchange);
        }
        if self.slowest.wants(latency) {
            self.slowest.keep(exchange, latency, self.wants_keys);
        }
        if self.wants_keys {
            self.keys(exchange);
        }
    }

    #[inline]
    fn command(&mut self, service: Service, exchange: &Exchange<'_>, latency: u64) {
        let Some(cell) = self.cell(service, exchange.protocol, exchange.command) else {
            self.left_out += 1;
            return;
        };
        let place = histogram::bucket(latency);
        cell.latency.record_at(place, latency);
        let counts = &mut cell.counts;
        counts.latencies[bucket_within(place, latency)] += 1;
        counts.errors += u64::from(exchange.error);
        counts.hits += u64::from(exchange.hits);
        counts.misses += u64::from(exchange.misses);
        counts.request_bytes += exchange.request.size;
        counts.response_bytes += exchange.response.map_or(0, |response| response.size);
    }

    #[inline]
    fn client(&mut self, exchange: &Exchange<'_>, latency: u64) {
        let slow = latency >= self.threshold;
        let client = self.clients.of(exchange.endpoints.client.ip());
        client.requests += 1;
        client.slow += u64::from(slow);
        client.errors += u64::from(exchange.error);
        client.request_bytes += exchange.request.size;
        client.response_bytes += exchange.response.map_or(0, |response| response.size);
        client.latency_sum_ns = client.latency_sum_ns.saturating_add(latency);
        client.latency_max_ns = client.latency_max_ns.max(latency);
    }

    #[inline(never)]
    fn keys(&mut self, exchange: &Exchange<'_>) {
        let port = exchange.endpoints.server.port();
        let response = exchange.response.map_or(0, |response| response.size);
        let bytes = exchange.request.size.max(response);
        let command = (exchange.protocol, exchange.command);
        let (keys, only, mut named) = (&mut self.keys, &mut self.key, 0);
        let is_big = keys.is_big(bytes);
        exchange
            .protocol
            .keys(exchange.command, exchange.text, &mut |key| {
                keys.count(port, key);
                named += 1;
                if is_big {
                    only.clear();
                    only.extend_from_slice(key);
                }
            });
        // Of several keys nobody knows which is the big one.
        if is_big && named == 1 {
            self.keys.weigh(port, &self.key, bytes, command);
        }
    }

    /// Counts a request whose response never came.
    pub fn unanswered(&mut self, service: Service, unanswered: &Unanswered<'_>) {
        if unanswered.blocking && !self.include_blocking {
            return;
        }
        self.clients.of(unanswered.endpoints.client.ip()).unanswered += 1;
        match self.cell(service, unanswered.protocol, unanswered.command) {
            Some(cell) => cell.counts.unanswered += 1,
            None => self.left_out += 1,
        }
    }

    /// Counts a frame of a conversation; `place` is that of its server's port.
    #[inline]
    pub fn packet(&mut self, place: u16, direction: Direction, wire_len: u32, zero_window: bool) {
        let port = self.port(place);
        let traffic = &mut port.traffic;
        let (packets, bytes) = match direction {
            Direction::ToServer => (&mut traffic.in_packets, &mut traffic.in_bytes),
            Direction::ToClient => (&mut traffic.out_packets, &mut traffic.out_bytes),
        };
        *packets += 1;
        *bytes += u64::from(wire_len);
        port.tcp.zero_windows += u64::from(zero_window);
    }

    /// Counts what a segment turned out to be.
    pub fn segment(&mut self, place: u16, seen: Seen) {
        let tcp = &mut self.port(place).tcp;
        match seen {
            Seen::Retransmission => tcp.retransmissions += 1,
            Seen::OutOfOrder => tcp.out_of_order += 1,
            Seen::New | Seen::KeepAlive | Seen::Copy => {}
        }
    }

    /// Counts what became of a connection.
    pub fn connection(&mut self, place: u16, connection: &Connection) {
        let port = self.port(place);
        match connection.change {
            Change::Opened => port.tcp.opened += 1,
            Change::Established => port.established(connection),
            Change::Closed => port.tcp.closed += 1,
            Change::Reset => port.tcp.resets += 1,
        }
    }

    fn port(&mut self, place: u16) -> &mut PortDetail {
        let place = usize::from(place);
        if place >= self.ports.len() {
            self.ports.resize_with(place + 1, PortDetail::default);
        }
        &mut self.ports[place]
    }

    /// The counts of a command; `None` where there are too many.
    #[inline]
    fn cell(
        &mut self,
        service: Service,
        protocol: &'static dyn Protocol,
        command: u16,
    ) -> Option<&mut Cell> {
        let place = self.find_cell(service, protocol, command)?;
        let cell = self.cells.get_mut(place as usize)?;
        if !cell.touched {
            cell.touched = true;
            self.touched.push(place);
        }
        Some(cell)
    }

    /// The place of a command's cell, made where there is room; of the others' cell where there is none.
    #[inline]
    fn find_cell(
        &mut self,
        service: Service,
        protocol: &'static dyn Protocol,
        command: u16,
    ) -> Option<u32> {
        let port = self.ports.get(usize::from(service.port));
        let known = port.and_then(|port| port.commands.get(index(service, command)));
        match known {
            Some(&place @ 1..) => Some(place - 1),
            _ => self.make_cell(service, protocol, command),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_cell(
        &mut self,
        service: Service,
        protocol: &'static dyn Protocol,
        command: u16,
    ) -> Option<u32> {
        if command != OTHER && self.cells.len() >= limits::COMMANDS {
            let place = self.find_cell(service, protocol, OTHER)?;
            self.remember(service, command, place);
            return Some(place);
        }
        if self.cells.len() >= limits::FOLLOWED_COMMANDS {
            return None;
        }
        let place = self.cells.len() as u32;
        self.cells.push(Cell {
            port: service.port,
            command,
            touched: false,
            latency: Dense::default(),
            counts: CommandFigures::new(protocol),
        });
        self.remember(service, command, place);
        Some(place)
    }

    fn remember(&mut self, service: Service, command: u16, place: u32) {
        let index = index(service, command);
        let commands = &mut self.port(service.port).commands;
        if index >= commands.len() {
            commands.resize(index + 1, 0);
        }
        commands[index] = place + 1;
    }

    /// What was counted since this was last asked; `stats` are those that count the same.
    pub fn take(&mut self, stats: &Stats) -> Figures {
        let account = stats.account.since(&self.account);
        self.account.clone_from(&stats.account);
        let mut figures = Figures {
            account,
            clients: std::mem::take(&mut self.clients),
            slowest: std::mem::take(&mut self.slowest),
            keys: std::mem::take(&mut self.keys),
            commands_left_out: std::mem::take(&mut self.left_out),
            ..Figures::default()
        };
        if let Some(last) = stats.ports().len().checked_sub(1) {
            self.port(last as u16);
        }
        for (detail, stats) in self.ports.iter_mut().zip(stats.ports()) {
            let figure = detail.take(stats.counts());
            figures
                .ports
                .extend(figure.map(|figure| (stats.port, figure)));
        }
        for place in self.touched.drain(..) {
            let cell = &mut self.cells[place as usize];
            let Some(stats) = stats.ports().get(usize::from(cell.port)) else {
                continue;
            };
            let (name, told) = cell.take();
            let port = figures.ports.entry(stats.port).or_default();
            port.commands.insert(name, told);
        }
        figures
    }
}

impl PortDetail {
    fn status(&mut self, exchange: &Exchange<'_>) {
        let mut key = StatusKey {
            protocol: exchange.protocol.name(),
            code: Some(exchange.status),
            error: exchange.error,
        };
        let known = self.statuses.iter_mut().find(|(known, _)| *known == key);
        if let Some((_, count)) = known {
            *count += 1;
            return;
        }
        if self.statuses.len() >= limits::STATUSES {
            key.code = None;
        }
        match self.statuses.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count += 1,
            None => self.statuses.push((key, 1)),
        }
    }

    fn established(&mut self, connection: &Connection) {
        self.tcp.syn_retries += u64::from(connection.syn_retries);
        if let Some(time) = connection.handshake {
            self.tcp.handshake.record(time);
        }
    }

    /// `None` where nothing was counted.
    fn take(&mut self, counts: PortCounts) -> Option<PortFigures> {
        let since = counts.since(&self.before);
        self.before = counts;
        let figures = PortFigures {
            counts: since,
            traffic: std::mem::take(&mut self.traffic),
            tcp: std::mem::take(&mut self.tcp),
            statuses: self.statuses.drain(..).collect(),
            ..PortFigures::default()
        };
        Some(figures).filter(|figures| !figures.is_empty())
    }
}

impl Cell {
    /// What was counted, by name of protocol and place of the command.
    fn take(&mut self) -> ((&'static str, u16), CommandFigures) {
        self.touched = false;
        let fresh = CommandFigures::new(self.counts.protocol);
        let mut told = std::mem::replace(&mut self.counts, fresh);
        told.latency = self.latency.take();
        ((told.protocol.name(), self.command), told)
    }
}

/// Where a port's command is found: no protocol has a thousand of them.
#[inline]
fn index(service: Service, command: u16) -> usize {
    usize::from(service.protocol) << 10 | usize::from(command) & 1023
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PROTOCOLS;

    #[test]
    fn commands_that_are_followed_are_bounded() {
        let (mut detail, mut stats) = (
            Detail::new(Rules::default(), false),
            Stats::new(Rules::default(), &[]),
        );
        let mut left_out = 0;
        for port in 1..=2000 {
            let service = stats.service(port, PROTOCOLS[0]);
            for command in (1..=100).chain(1..=100) {
                match detail.cell(service, PROTOCOLS[0], command) {
                    Some(cell) => cell.counts.unanswered += 1,
                    None => left_out += 1,
                }
            }
        }
        assert_eq!(detail.cells.len(), limits::FOLLOWED_COMMANDS);
        let figures = detail.take(&stats);
        let told = |port: &PortFigures| {
            let commands = port.commands.iter();
            let counts = commands.map(|((_, command), told)| (*command, told.unanswered));
            counts.collect::<Vec<_>>()
        };
        let ports: Vec<_> = figures.ports.values().map(told).collect();
        assert_eq!(
            ports[0],
            (1..=100).map(|command| (command, 2)).collect::<Vec<_>>()
        );
        assert_eq!(
            ports[81][..2],
            [(OTHER, 16), (1, 2)],
            "the first with others"
        );
        assert_eq!(ports[1000], [(OTHER, 200)]);
        assert_eq!(ports.len(), 81 + limits::PORTS);
        let counted: u64 = ports.iter().flatten().map(|(_, count)| count).sum();
        assert_eq!(counted + left_out, 2000 * 200, "each is told once");
    }
}
