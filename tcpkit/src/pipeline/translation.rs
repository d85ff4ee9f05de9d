//! Packets that are seen twice, with other addresses the second time: copies that were translated (NAT).
//!
//! Reads SYNs and UDP datagrams of monitored conversations, tells which of them repeat another. A translator
//! leaves a SYN's sequence number as it was, and a datagram's bytes and identification; so what is
//! the same within the time of a copy, between other ends, is a copy. Each side is a conversation of its own
//! and stays one: here they are only counted.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::limits::{COPY_TIME, TRANSLATIONS};
use crate::source::Timestamp;
use crate::wire::{Addresses, Packet, Transport, flag};

/// What was seen lately, each in the place that its content says: one that falls on another's takes it.
#[derive(Debug)]
pub struct Translations(Box<[Option<Seen>; TRANSLATIONS]>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    content: u64,
    time: Timestamp,
    interface: u32,
    ends: (Addresses, u16, u16),
}

impl Default for Translations {
    fn default() -> Self {
        Self(Box::new([None; TRANSLATIONS]))
    }
}

impl Translations {
    /// Whether a packet can be told from all others by what a translator leaves.
    #[inline]
    pub fn may_tell(packet: &Packet<'_>) -> bool {
        packet.transport == Transport::Udp || packet.flags & (flag::SYN | flag::ACK) == flag::SYN
    }

    /// Whether the packet was seen between other ends just now.
    pub fn is_copy(&mut self, packet: &Packet<'_>) -> bool {
        let seen = Seen {
            content: content(packet),
            time: packet.time,
            interface: packet.interface,
            ends: (
                packet.addresses,
                packet.source_port,
                packet.destination_port,
            ),
        };
        let place = (seen.content % TRANSLATIONS as u64) as usize;
        let Some(place) = self.0.get_mut(place) else {
            return false;
        };
        let before = place.replace(seen);
        before.is_some_and(|before| before.is_source_of(&seen, packet.transport))
    }
}

impl Seen {
    /// A resolver may ask several servers the same thing; it does so on one interface.
    fn is_source_of(&self, copy: &Self, transport: Transport) -> bool {
        self.content == copy.content
            && self.ends != copy.ends
            && (transport == Transport::Tcp || self.interface != copy.interface)
            && !copy.time.is_past(self.time, COPY_TIME)
    }
}

/// What a translator leaves as it was.
fn content(packet: &Packet<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u8(packet.transport as u8);
    hasher.write_u32(packet.payload_len);
    match packet.transport {
        Transport::Tcp => hasher.write_u32(packet.seq),
        Transport::Udp => {
            hasher.write_u32(packet.ip_id.map_or(u32::MAX, u32::from));
            hasher.write(packet.payload);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u32 = 0x0a00_0001;
    const B: u32 = 0x0a00_0002;
    const C: u32 = 0xac11_0002;

    fn packet(transport: Transport, source: u32, destination: u32, micros: u64) -> Packet<'static> {
        Packet {
            time: Timestamp(1_000_000_000 + micros * 1000),
            frame: 1,
            interface: 0,
            addresses: Addresses::V4 {
                source,
                destination,
            },
            source_port: 40_000,
            destination_port: 6379,
            transport,
            flags: if transport == Transport::Tcp {
                flag::SYN
            } else {
                0
            },
            ip_id: Some(7),
            seq: 12_345,
            ack: 0,
            window: 64_000,
            payload: b"",
            payload_len: 0,
        }
    }

    fn syn(source: u32, destination: u32, micros: u64) -> Packet<'static> {
        packet(Transport::Tcp, source, destination, micros)
    }

    #[test]
    fn a_syn_to_another_address_is_a_copy() {
        let mut translations = Translations::default();
        assert!(!translations.is_copy(&syn(A, B, 0)));
        assert!(translations.is_copy(&syn(A, C, 40)));
        // Its retransmission, a second later, passes both places again.
        assert!(!translations.is_copy(&syn(A, B, 1_000_000)));
        assert!(translations.is_copy(&syn(A, C, 1_000_040)));
    }

    #[test]
    fn the_same_ends_or_another_sequence_number_are_none() {
        let mut translations = Translations::default();
        assert!(!translations.is_copy(&syn(A, B, 0)));
        assert!(!translations.is_copy(&syn(A, B, 10)));
        let other = Packet {
            seq: 99,
            ..syn(A, C, 20)
        };
        assert!(!translations.is_copy(&other));
        assert!(!translations.is_copy(&syn(A, C, 6_000)), "too late");
    }

    #[test]
    fn a_datagram_is_a_copy_on_another_interface() {
        let udp = |destination, interface, payload: &'static [u8]| Packet {
            interface,
            payload,
            payload_len: payload.len() as u32,
            ..packet(Transport::Udp, A, destination, 0)
        };
        let mut translations = Translations::default();
        assert!(!translations.is_copy(&udp(B, 0, b"query")));
        assert!(
            !translations.is_copy(&udp(C, 0, b"query")),
            "two servers were asked"
        );
        assert!(!translations.is_copy(&udp(C, 1, b"other")));
        assert!(translations.is_copy(&udp(B, 1, b"query")));
    }

    #[test]
    fn other_packets_are_not_looked_at() {
        let of = |flags| Packet {
            flags,
            ..syn(A, B, 0)
        };
        assert!(Translations::may_tell(&of(flag::SYN)));
        assert!(!Translations::may_tell(&of(flag::SYN | flag::ACK)));
        assert!(!Translations::may_tell(&of(flag::ACK)));
    }
}
