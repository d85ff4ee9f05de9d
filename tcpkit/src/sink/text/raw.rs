//! The line of a packet with payload.

use super::clock::Clock;
use super::digits::{push_address, push_number};
use super::line::push_rest;
use crate::flow::Direction;
use crate::limits::TEXT_BYTES;
use crate::protocol::escape;
use crate::wire::{Packet, Transport, flag};

/// The flags that the classic line knows; ECN's and URG are left out of its number.
const CLASSIC: u8 = flag::FIN | flag::SYN | flag::RST | flag::PSH | flag::ACK;

/// Appends the line of `packet`. Of the payload the first [`TEXT_BYTES`] are shown; what was left
/// out is counted as on the wire, so what the snap length cut is in it.
pub fn packet(out: &mut Vec<u8>, clock: &mut Clock, packet: &Packet<'_>, direction: Direction) {
    clock.push_seconds(packet.time, out);
    out.push(b' ');
    push_address(out, packet.source());
    out.extend_from_slice(b"=>");
    push_address(out, packet.destination());
    out.extend_from_slice(match direction {
        Direction::ToServer => b" REQ ",
        Direction::ToClient => b" RSP ",
    });
    if packet.transport == Transport::Tcp {
        push_tcp(out, packet);
    }
    push_number(out, u64::from(packet.payload_len));
    out.push(b' ');
    let rest = push_payload(out, packet);
    push_rest(out, u64::from(rest));
    out.push(b'\n');
}

/// Appends the first [`TEXT_BYTES`] of the payload, so that a terminal acts on none of them; returns how many bytes of it, as on the
/// wire, were left out.
pub(in crate::sink) fn push_payload(out: &mut Vec<u8>, packet: &Packet<'_>) -> u32 {
    let shown = packet.payload.get(..TEXT_BYTES).unwrap_or(packet.payload);
    shown.iter().for_each(|&byte| escape(byte, out));
    packet.payload_len.saturating_sub(shown.len() as u32)
}

/// Sequence number, acknowledgement, flags.
fn push_tcp(out: &mut Vec<u8>, packet: &Packet<'_>) {
    for number in [packet.seq, packet.ack, u32::from(packet.flags & CLASSIC)] {
        push_number(out, u64::from(number));
        out.push(b' ');
    }
}
