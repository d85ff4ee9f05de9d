//! Where pairing's finds go: statistics always, sinks where there are any.

use std::io;

use crate::event::{Event, Gap, Malformed, PacketEvent};
use crate::exchange::{Exchange, OneWay, Report, Service, Tally, Unanswered};
use crate::flow::connection::Connection;
use crate::sink::stats::Stats;
use crate::sink::{Needs, Sink};
use crate::source::Timestamp;

/// Statistics and sinks of one worker.
pub struct Outlet {
    /// What is counted.
    pub stats: Stats,
    /// Exchanges with a latency, for `--count`.
    pub exchanges: u64,
    /// Sentences for the user, in the order in which they came up.
    pub notices: Vec<String>,
    sinks: Vec<Box<dyn Sink + Send>>,
    needs: Needs,
    failure: Option<io::Error>,
    told: Vec<(u16, &'static str)>,
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
            notices,
            sinks,
            needs,
            failure: None,
            told,
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
        self.tell(&Event::Tick(now));
    }

    /// A connection was opened, established, closed or reset.
    pub fn connection(&mut self, connection: &Connection) {
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
        self.stats.answered(service, tally);
    }

    fn ambiguous(&mut self, service: Service) {
        self.stats.of(service).ambiguous += 1;
    }

    #[inline]
    fn wants_exchanges(&self) -> bool {
        !self.sinks.is_empty()
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.tell(&Event::Exchange(exchange));
    }

    fn unanswered(&mut self, service: Service, unanswered: &Unanswered<'_>) {
        self.stats.unanswered(service, unanswered);
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
}
