//! Text for people: one line an exchange, or one line a packet.
//!
//! Reads events, makes the lines of `cli.md`, in the order of their stamps. Times are local, and
//! cut (not rounded) to what is shown, so that no line shows a latency that its threshold excludes.

pub mod clock;
pub(super) mod digits;
mod line;
mod parties;
pub(super) mod raw;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests;

use std::io::{self, BufWriter, Write};

use jiff::tz::TimeZone;

use super::inbox::Inboxes;
use super::interval::Interval;
use super::order::Sorter;
use super::select::Select;
use super::stats::summary::PortSummary;
use super::{Needs, Sink};
use crate::event::{Event, PacketEvent};
use crate::exchange::{Confidence, Exchange, Unanswered};
use crate::limits::REPORT_BUFFER;
use crate::source::Timestamp;
use crate::source::live::Drift;
use clock::Clock;
use line::With;
use parties::Parties;

/// Prints lines to `W`.
#[derive(Debug)]
pub struct TextSink<W: Write> {
    out: BufWriter<W>,
    select: Select,
    with: With,
    sorter: Sorter,
    packets: bool,
    quiet: bool,
    interval: Option<Interval>,
    inboxes: Inboxes,
}

impl<W: Write> TextSink<W> {
    /// Prints the exchanges that `select` wants, with times of `zone`.
    pub fn new(out: W, select: Select, zone: TimeZone) -> Self {
        Self {
            out: BufWriter::with_capacity(REPORT_BUFFER, out),
            select,
            with: With {
                clock: Clock::new(zone, b' '),
                parties: Parties::new(),
            },
            sorter: Sorter::new(),
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

    /// Prints no line an exchange, only those of `interval`.
    #[must_use]
    pub fn quiet(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
    }

    /// Prints a line a port at the end of each interval as well.
    #[must_use]
    pub fn with_interval(self, interval: Option<Interval>) -> Self {
        Self { interval, ..self }
    }

    /// Prints wall times, where the clock of the frames is another one.
    #[must_use]
    pub fn with_drift(mut self, drift: Drift) -> Self {
        self.with.clock.set_drift(drift);
        self
    }

    /// Prints what comes to `inboxes` among its own lines.
    #[must_use]
    pub fn with_inboxes(self, inboxes: Inboxes) -> Self {
        Self { inboxes, ..self }
    }

    /// Prints the ports of an interval that ended at `stamp`.
    fn ports(&mut self, stamp: Timestamp, ports: &[PortSummary]) -> io::Result<()> {
        let clock = &mut self.with.clock;
        self.sorter.push(stamp, stamp, &mut self.out, |out| {
            for port in ports {
                clock.push_micros(stamp, out);
                out.push(b' ');
                // Writing to memory cannot fail.
                let _ = port.write_line(out);
                out.push(b'\n');
            }
        })
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) -> io::Result<()> {
        let Some(response) = exchange.response else {
            return Ok(());
        };
        let (stamp, now) = (response.first.time, response.last.time);
        if exchange.confidence == Confidence::Ambiguous || !self.select.exchange(exchange) {
            return self.sorter.advance(now, &mut self.out);
        }
        let with = &mut self.with;
        let fill = |out: &mut Vec<u8>| line::exchange(out, with, exchange, stamp);
        self.sorter.push(stamp, now, &mut self.out, fill)
    }

    fn unanswered(&mut self, unanswered: &Unanswered<'_>) -> io::Result<()> {
        let stamp = unanswered.time;
        if !self.select.unanswered(unanswered) {
            return self.sorter.advance(stamp, &mut self.out);
        }
        let with = &mut self.with;
        let fill = |out: &mut Vec<u8>| line::unanswered(out, with, unanswered);
        self.sorter.push(stamp, stamp, &mut self.out, fill)
    }

    fn packet(&mut self, event: &PacketEvent<'_>) -> io::Result<()> {
        if !self.packets || !self.select.packet(event) {
            return Ok(());
        }
        let (clock, stamp) = (&mut self.with.clock, event.packet.time);
        let fill = |out: &mut Vec<u8>| raw::packet(out, clock, &event.packet, event.direction);
        self.sorter.push(stamp, stamp, &mut self.out, fill)
    }

    /// Lets out what has waited, so that a live report is never a second behind its capture.
    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.sorter.advance(now, &mut self.out)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for TextSink<W> {
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
