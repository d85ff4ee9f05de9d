//! JSON lines for programs: one object an exchange, one a request without an answer, in raw mode one a packet.
//!
//! Reads events, makes lines in the order of their stamps. `docs/json-lines.md` says what each
//! field means, `docs/schema/exchange-1.json` is their schema, and the tests hold both together.
//! Every string is printable: what a request held beyond that is escaped before it is written.

mod object;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::inbox::Inboxes;
use super::interval::Interval;
use super::order::Sorter;
use super::select::Select;
use super::stats::summary::PortSummary;
use super::{Needs, Sink};
use crate::event::{Event, PacketEvent};
use crate::exchange::{Exchange, Unanswered};
use crate::limits::REPORT_BUFFER;
use crate::source::Timestamp;
use crate::source::live::Drift;
use object::Scratch;

/// Version of the objects: a field that changes its meaning, or goes, makes it another.
pub const VERSION: u32 = 1;

/// Prints objects to `W`.
#[derive(Debug)]
pub struct JsonSink<W: Write> {
    out: BufWriter<W>,
    select: Select,
    sorter: Sorter,
    scratch: Scratch,
    now: Timestamp,
    packets: bool,
    quiet: bool,
    interval: Option<Interval>,
    inboxes: Inboxes,
}

impl<W: Write> JsonSink<W> {
    /// Prints what `select` wants.
    pub fn new(out: W, select: Select) -> Self {
        Self {
            out: BufWriter::with_capacity(REPORT_BUFFER, out),
            select,
            sorter: Sorter::new(),
            scratch: Scratch::new(),
            now: Timestamp::default(),
            packets: false,
            quiet: false,
            interval: None,
            inboxes: Inboxes::default(),
        }
    }

    /// Prints packets as well, if `packets`: raw mode.
    #[must_use]
    pub fn with_packets(self, packets: bool) -> Self {
        Self { packets, ..self }
    }

    /// Prints no object an exchange, only those of `interval`.
    #[must_use]
    pub fn quiet(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
    }

    /// Prints an object at the end of each interval as well.
    #[must_use]
    pub fn with_interval(self, interval: Option<Interval>) -> Self {
        Self { interval, ..self }
    }

    /// Prints wall times, where the clock of the frames is another one.
    #[must_use]
    pub fn with_drift(mut self, drift: Drift) -> Self {
        self.scratch.set_drift(drift);
        self
    }

    /// Prints what comes to `inboxes` among its own lines.
    #[must_use]
    pub fn with_inboxes(self, inboxes: Inboxes) -> Self {
        Self { inboxes, ..self }
    }

    /// Prints the ports of an interval that ended at `stamp`.
    fn ports(&mut self, stamp: Timestamp, ports: &[PortSummary]) -> io::Result<()> {
        self.now = self.now.max(stamp);
        let object = self.scratch.interval(stamp, ports);
        push(&mut self.sorter, stamp, self.now, &mut self.out, &object)
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) -> io::Result<()> {
        let response = exchange
            .response
            .map(|span| (span.first.time, span.last.time));
        let sent = exchange.request.last.time;
        let (stamp, now) = response.unwrap_or((sent, sent));
        self.now = self.now.max(now);
        if !self.select.exchange(exchange) {
            return self.sorter.advance(self.now, &mut self.out);
        }
        let object = self.scratch.exchange(exchange, stamp);
        push(&mut self.sorter, stamp, self.now, &mut self.out, &object)
    }

    fn unanswered(&mut self, unanswered: &Unanswered<'_>) -> io::Result<()> {
        self.now = self.now.max(unanswered.time);
        if !self.select.unanswered(unanswered) {
            return self.sorter.advance(self.now, &mut self.out);
        }
        let object = self.scratch.unanswered(unanswered);
        push(
            &mut self.sorter,
            unanswered.time,
            self.now,
            &mut self.out,
            &object,
        )
    }

    fn packet(&mut self, event: &PacketEvent<'_>) -> io::Result<()> {
        if !self.packets || !self.select.packet(event) {
            return Ok(());
        }
        let stamp = event.packet.time;
        self.now = self.now.max(stamp);
        let object = self.scratch.packet(event);
        push(&mut self.sorter, stamp, self.now, &mut self.out, &object)
    }

    /// Lets out what has waited, so that a live report is never a second behind its capture.
    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.now = self.now.max(now);
        self.sorter.advance(self.now, &mut self.out)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn needs(&self) -> Needs {
        Needs {
            packets: self.packets,
            text: !self.quiet,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.inboxes.merge(&mut self.sorter, &mut self.out)?;
        if let Some((stamp, ports)) = self.interval.as_mut().and_then(|one| one.event(event)) {
            self.ports(stamp, &ports)?;
        }
        match event {
            Event::Exchange(_) | Event::Unanswered(_) if self.quiet => Ok(()),
            Event::Reopen => self.out.flush(),
            Event::Exchange(exchange) => self.exchange(exchange),
            Event::Unanswered(unanswered) => self.unanswered(unanswered),
            Event::Packet(packet) => self.packet(packet),
            Event::Tick(now) => self.tick(*now),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inboxes.merge(&mut self.sorter, &mut self.out)?;
        self.sorter.finish(&mut self.out)?;
        self.out.flush()
    }
}

fn push(
    sorter: &mut Sorter,
    stamp: Timestamp,
    now: Timestamp,
    out: &mut impl Write,
    object: &impl Serialize,
) -> io::Result<()> {
    let mut written = Ok(());
    sorter.push(stamp, now, out, |line| {
        written = serde_json::to_writer(&mut *line, object);
        line.push(b'\n');
    })?;
    written.map_err(io::Error::from)
}
