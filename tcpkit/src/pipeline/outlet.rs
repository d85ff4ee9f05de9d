//! Where pairing's finds go: statistics always, sinks where there are any.

use std::io;

use crate::event::{Event, Gap, Malformed, PacketEvent};
use crate::exchange::{Exchange, OneWay, Report, Service, Tally, Unanswered};
use crate::flow::Direction;
use crate::flow::connection::Connection;
use crate::flow::stream::Seen;
use crate::sink::stats::Stats;
use crate::sink::stats::desk::Desk;
use crate::sink::{Needs, Sink};
use crate::source::Timestamp;

/// Statistics and sinks of one worker.
pub struct Outlet {
    /// What is counted.
    pub stats: Stats,
    /// Exchanges with a latency, for `--count`.
    pub exchanges: u64,
    /// No more of them than that are counted and told: a frame may hold many.
    most: u64,
    /// Sentences for the user, in the order in which they came up.
    pub notices: Vec<String>,
    sinks: Vec<Box<dyn Sink + Send>>,
    /// Whether exchanges are told to anybody.
    tells: bool,
    /// Where somebody reads statistics while the run goes on.
    desk: Option<Box<Desk>>,
    needs: Needs,
    failure: Option<io::Error>,
    told: Vec<(u16, &'static str)>,
    /// What was found depends on something that was not known of a conversation: nothing of it counts.
    pub hinges: bool,
}

impl Outlet {
    /// An outlet to these sinks.
    pub fn new(stats: Stats, sinks: Vec<Box<dyn Sink + Send>>) -> Self {
        let needs = sinks
            .iter()
            .map(|sink| sink.needs())
            .fold(Needs::default(), |all, one| Needs {
                packets: all.packets || one.packets,
                text: all.text || one.text,
            });
        let (notices, told) = (Vec::new(), Vec::new());
        Self {
            stats,
            exchanges: 0,
            most: u64::MAX,
            notices,
            tells: !sinks.is_empty(),
            desk: None,
            sinks,
            needs,
            failure: None,
            told,
            hinges: false,
        }
    }

    /// Takes what another worker has counted and found worth a sentence.
    pub fn take_over(&mut self, other: &mut Self) {
        self.stats.merge(&other.stats);
        self.exchanges += other.exchanges;
        for notice in other.notices.drain(..) {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
        for told in other.told.drain(..) {
            if !self.told.contains(&told) {
                self.told.push(told);
            }
        }
    }

    /// Counts for those who read statistics while the run goes on.
    pub fn with_desk(mut self, desk: Option<Desk>) -> Self {
        if let Some(desk) = desk {
            self.desk = Some(Box::new(desk));
            self.needs.text = true;
            self.tells = true;
        }
        self
    }

    /// Counts and tells so many exchanges with a latency at most.
    pub fn with_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Whether somebody reads statistics while the run goes on.
    pub fn is_read(&self) -> bool {
        self.desk.is_some()
    }

    /// Where counts are handed to those who read them, if there are such.
    pub fn desk(&mut self) -> Option<&mut Desk> {
        self.desk.as_deref_mut()
    }

    /// The loop has turned: whoever waits for statistics gets them.
    pub fn look(&mut self, now: Timestamp) {
        if let Some(desk) = &mut self.desk {
            desk.look(now, &self.stats);
        }
    }

    /// Hands the last counts to those who read them.
    pub fn close_desk(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.close(&self.stats);
        }
    }

    /// Counts a frame of a conversation with this server port for readers.
    pub fn count_packet(&mut self, port: u16, way: Direction, wire_len: u32, zero_window: bool) {
        if let Some(desk) = &mut self.desk {
            let place = self.stats.place(port) as u16;
            desk.detail.packet(place, way, wire_len, zero_window);
        }
    }

    /// Counts what a segment turned out to be.
    pub fn segment(&mut self, port: u16, seen: Seen) {
        let account = &mut self.stats.account;
        match seen {
            Seen::New | Seen::OutOfOrder => {}
            Seen::Retransmission => account.retransmissions += 1,
            Seen::KeepAlive => account.keepalives += 1,
            Seen::Copy => account.duplicates += 1,
        }
        if let Some(desk) = &mut self.desk {
            desk.detail.segment(self.stats.place(port) as u16, seen);
        }
    }

    /// What the sinks want to be told.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The first failure of a sink, once.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Whether a sink has failed.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Tells all sinks.
    pub fn tell(&mut self, event: &Event<'_>) {
        for sink in &mut self.sinks {
            if let Err(error) = sink.event(event) {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Tells all sinks of a packet.
    pub fn packet(&mut self, packet: &PacketEvent<'_>) {
        self.tell(&Event::Packet(packet));
    }

    /// Capture time passed a whole second.
    pub fn tick(&mut self, now: Timestamp) {
        if let Some(desk) = &mut self.desk {
            desk.hand_over(now, &self.stats);
        }
        self.tell(&Event::Tick(now));
    }

    /// A connection was opened, established, closed or reset.
    pub fn connection(&mut self, connection: &Connection) {
        if let Some(desk) = &mut self.desk {
            let place = self.stats.place(connection.endpoints.server.port());
            desk.detail.connection(place as u16, connection);
        }
        self.tell(&Event::Connection(connection));
    }

    /// Bytes were never seen.
    pub fn gap(&mut self, gap: &Gap) {
        self.stats.account.gaps += 1;
        self.stats.account.gap_bytes += gap.bytes;
        self.tell(&Event::Gap(gap));
    }

    /// Bytes broke the protocol's grammar.
    pub fn malformed(&mut self, malformed: &Malformed) {
        self.stats.account.malformed += 1;
        self.tell(&Event::Malformed(malformed));
    }

    /// A conversation cannot be read; told once a port.
    pub fn opaque(&mut self, port: u16, what: &'static str) {
        self.stats.account.opaque += 1;
        if self.told.len() < crate::limits::PORTS && !self.told.contains(&(port, what)) {
            self.told.push((port, what));
            self.notices.push(format!(
                "port {port}: {what}: such conversations cannot be read and are counted as opaque"
            ));
        }
    }

    /// Ends all sinks.
    ///
    /// # Errors
    /// The first failure that a sink met.
    pub fn finish(&mut self) -> io::Result<()> {
        for sink in &mut self.sinks {
            if let Err(error) = sink.finish() {
                self.failure.get_or_insert(error);
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl Report for Outlet {
    #[inline(always)]
    fn answered(&mut self, service: Service, tally: &Tally) {
        self.exchanges += 1;
        if self.exchanges <= self.most {
            self.stats.answered(service, tally);
        }
    }

    fn ambiguous(&mut self, service: Service) {
        self.stats.of(service).ambiguous += 1;
    }

    #[inline]
    fn wants_exchanges(&self) -> bool {
        self.tells
    }

    fn exchange(&mut self, service: Service, exchange: &Exchange<'_>) {
        if self.exchanges > self.most {
            return;
        }
        if let Some(desk) = &mut self.desk {
            desk.detail.exchange(service, exchange);
        }
        self.tell(&Event::Exchange(exchange));
    }

    fn unanswered(&mut self, service: Service, unanswered: &Unanswered<'_>) {
        self.stats.unanswered(service, unanswered);
        if let Some(desk) = &mut self.desk {
            desk.detail.unanswered(service, unanswered);
        }
        self.tell(&Event::Unanswered(unanswered));
    }

    fn one_way(&mut self, service: Service, message: &OneWay) {
        self.stats.of(service).one_way += 1;
        if !self.sinks.is_empty() {
            self.tell(&Event::OneWay(message));
        }
    }

    fn orphan(&mut self, service: Service) {
        self.stats.of(service).orphans += 1;
    }

    fn late(&mut self, service: Service) {
        self.stats.of(service).late += 1;
    }

    fn overflow(&mut self, _: Service) {
        self.stats.account.overflowed += 1;
    }

    fn hinges(&mut self) {
        self.hinges = true;
    }
}
