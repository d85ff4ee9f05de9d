//! How a TCP connection came to be and how it ended, from its control segments alone.
//!
//! Reads segments with SYN, FIN or RST, and the one that ends a handshake (RFC 9293, section 3.5); makes
//! [`Connection`]s. Segments of an established connection pass it by.

use std::time::Duration;

use super::{Endpoints, Side};
use crate::limits::COPY_TIME;
use crate::source::Timestamp;
use crate::wire::{Packet, flag};

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Its first SYN was seen.
    Opened,
    /// The client has acknowledged the server's SYN, or sent what only an open connection carries.
    Established,
    /// Both sides have sent their FIN.
    Closed,
    /// One side has reset it; of a connection that was not established this is a refusal.
    Reset,
}

impl Change {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Established => "established",
            Self::Closed => "closed",
            Self::Reset => "reset",
        }
    }
}

/// A change of a connection's state.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whose connection.
    pub endpoints: Endpoints,
    /// What happened.
    pub change: Change,
    /// When the segment that tells it was seen.
    pub time: Timestamp,
    /// The frame that it came in.
    pub frame: u64,
    /// From the first SYN to the client's acknowledgement of the server's, in nanoseconds; `None`
    /// until then, and where the beginning was not seen.
    pub handshake: Option<u64>,
    /// How often the client had to send its SYN again.
    pub syn_retries: u32,
    /// From the first SYN to this segment, in nanoseconds; `None` where the beginning was not seen.
    pub age: Option<u64>,
}

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracker {
    phase: Phase,
    /// Who sent the SYN.
    client: Option<Side>,
    /// Whose FIN was seen, by side.
    ended: [bool; 2],
    interface: u32,
    retries: u32,
    opened: Timestamp,
    /// When the latest SYN of the client was seen.
    syn: Timestamp,
    handshake: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Its beginning was not seen, or it is established.
    #[default]
    Open,
    /// The client's SYN was seen.
    Opening,
    /// Nothing more is told of it.
    Over,
}

impl Tracker {
    /// Whether the next segment may end the handshake: then [`Tracker::note`] is to see it, whatever
    /// its flags are.
    #[inline]
    pub fn is_opening(&self) -> bool {
        self.phase == Phase::Opening
    }

    /// Takes a segment in, sent by `from`, and tells what it changes.
    pub fn note(&mut self, from: Side, packet: &Packet<'_>) -> Option<Change> {
        let change = match packet.flags & (flag::SYN | flag::RST | flag::ACK) {
            flags if flags & flag::RST != 0 => self.reset(),
            flag::SYN => self.syn(from, packet),
            flags if flags == flag::SYN | flag::ACK => None,
            _ => self.acknowledged(from, packet),
        };
        let closed = packet.flags & flag::FIN != 0 && self.end(from);
        change.or(closed.then_some(Change::Closed))
    }

    /// The event of a change.
    pub fn tell(&self, change: Change, endpoints: Endpoints, packet: &Packet<'_>) -> Connection {
        let begun = self.client.is_some();
        Connection {
            endpoints,
            change,
            time: packet.time,
            frame: packet.frame,
            handshake: self.handshake.map(|time| time.as_nanos() as u64),
            syn_retries: self.retries,
            age: begun.then(|| packet.time.since(self.opened)),
        }
    }

    fn syn(&mut self, from: Side, packet: &Packet<'_>) -> Option<Change> {
        if self.client.is_none() {
            *self = Self {
                phase: Phase::Opening,
                client: Some(from),
                interface: packet.interface,
                opened: packet.time,
                syn: packet.time,
                ..Self::default()
            };
            return Some(Change::Opened);
        }
        if self.client == Some(from) && self.is_opening() && !self.is_copy(packet) {
            self.retries = self.retries.saturating_add(1);
            self.syn = packet.time;
        }
        None
    }

    /// Whether this SYN is the latest one, seen on another interface.
    fn is_copy(&self, packet: &Packet<'_>) -> bool {
        packet.interface != self.interface && !packet.time.is_past(self.syn, COPY_TIME)
    }

    fn acknowledged(&mut self, from: Side, packet: &Packet<'_>) -> Option<Change> {
        if !self.is_opening() || self.client != Some(from) || packet.flags & flag::ACK == 0 {
            return None;
        }
        self.phase = Phase::Open;
        self.handshake = Some(Duration::from_nanos(packet.time.since(self.opened)));
        Some(Change::Established)
    }

    fn end(&mut self, from: Side) -> bool {
        self.ended[from as usize] = true;
        let over = self.ended == [true; 2] && self.phase != Phase::Over;
        if over {
            self.phase = Phase::Over;
        }
        over
    }

    fn reset(&mut self) -> Option<Change> {
        if self.phase == Phase::Over {
            return None;
        }
        self.phase = Phase::Over;
        Some(Change::Reset)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::wire::{Addresses, Transport};

    const MS: u64 = 1_000_000;

    fn packet(ms: u64, flags: u8, interface: u32) -> Packet<'static> {
        Packet {
            time: Timestamp(ms * MS),
            frame: ms,
            interface,
            addresses: Addresses::V4 {
                source: 1,
                destination: 2,
            },
            source_port: 1,
            destination_port: 2,
            transport: Transport::Tcp,
            flags,
            ip_id: None,
            seq: 7,
            ack: 8,
            window: 9,
            payload: b"",
            payload_len: 0,
        }
    }

    fn told(segments: &[(u64, Side, u8)]) -> Vec<(u64, Change)> {
        let mut tracker = Tracker::default();
        segments
            .iter()
            .filter_map(|&(ms, from, flags)| {
                let change = tracker.note(from, &packet(ms, flags, 0))?;
                Some((ms, change))
            })
            .collect()
    }

    const SYN_ACK: u8 = flag::SYN | flag::ACK;
    const FIN_ACK: u8 = flag::FIN | flag::ACK;

    #[test]
    fn a_connection_is_opened_established_and_closed() {
        let segments = [
            (1, Side::A, flag::SYN),
            (2, Side::B, SYN_ACK),
            (3, Side::A, flag::ACK),
            (4, Side::A, FIN_ACK),
            (5, Side::B, FIN_ACK),
            (6, Side::A, flag::ACK),
            (7, Side::B, flag::RST),
        ];
        let expected = [
            (1, Change::Opened),
            (3, Change::Established),
            (5, Change::Closed),
        ];
        assert_eq!(told(&segments), expected);
    }

    #[test]
    fn a_refused_connection_is_reset() {
        let refused = [
            (1, Side::A, flag::SYN),
            (2, Side::B, flag::RST | flag::ACK),
            (3, Side::B, flag::RST),
        ];
        assert_eq!(told(&refused), [(1, Change::Opened), (2, Change::Reset)]);
    }

    #[test]
    fn one_that_was_joined_has_an_end_but_no_age() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.note(Side::A, &packet(1, FIN_ACK, 0)), None);
        let last = packet(2, FIN_ACK, 0);
        assert_eq!(tracker.note(Side::B, &last), Some(Change::Closed));
        let ends = Endpoints {
            client: last.source(),
            server: last.destination(),
        };
        let told = tracker.tell(Change::Closed, ends, &last);
        assert_eq!((told.age, told.handshake), (None, None));
    }

    #[test]
    fn repeated_syns_are_counted_and_copies_are_not() {
        let mut tracker = Tracker::default();
        tracker.note(Side::A, &packet(0, flag::SYN, 0)).unwrap();
        assert_eq!(tracker.note(Side::A, &packet(2, flag::SYN, 1)), None);
        assert_eq!(tracker.note(Side::A, &packet(1000, flag::SYN, 0)), None);
        assert_eq!(tracker.note(Side::B, &packet(1001, SYN_ACK, 0)), None);
        let last = packet(1002, flag::ACK, 0);
        assert_eq!(tracker.note(Side::A, &last), Some(Change::Established));
        let ends = Endpoints {
            client: last.source(),
            server: last.destination(),
        };
        let told = tracker.tell(Change::Established, ends, &last);
        assert_eq!(told.syn_retries, 1);
        assert_eq!(told.handshake, Some(1002 * MS));
    }
}
