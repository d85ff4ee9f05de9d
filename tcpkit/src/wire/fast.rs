//! The way that nearly every frame of a monitored service takes: Ethernet, IPv4 without options
//! and not in fragments, TCP.
//!
//! Decodes it at fixed offsets, and says `None` to everything else, errors too: those are told
//! by the walk through all layers, which decodes these frames to the same packets.

use super::{Addresses, Packet, Transport};
use crate::source::{Frame, LinkType};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;

#[inline(always)]
pub(super) fn decode<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    if frame.link != LinkType::ETHERNET {
        return None;
    }
    let head: &[u8; ETHERNET + IPV4 + TCP] = frame.data.first_chunk()?;
    let plain = u16_at(head, 12) == 0x0800
        && head[14] == 0x45
        && u16_at(head, 20) & 0x3fff == 0
        && head[23] == 6;
    let total = usize::from(u16_at(head, 16));
    let tcp_header = usize::from(head[46] >> 4) * 4;
    let headers = IPV4 + tcp_header;
    if !plain || tcp_header < TCP {
        return None;
    }
    // A total length below the headers' ends before the payload begins, and yields nothing.
    let end = frame.data.len().min(ETHERNET + total);
    let payload = frame.data.get(ETHERNET + headers..end)?;
    Some(Packet {
        time: frame.time,
        frame: frame.number,
        interface: frame.interface,
        addresses: Addresses::V4 {
            source: u32_at(head, 26),
            destination: u32_at(head, 30),
        },
        source_port: u16_at(head, 34),
        destination_port: u16_at(head, 36),
        transport: Transport::Tcp,
        flags: head[47],
        ip_id: Some(u16_at(head, 18)),
        seq: u32_at(head, 38),
        ack: u32_at(head, 42),
        window: u16_at(head, 48),
        payload,
        payload_len: payload_len(frame, total, headers),
    })
}

/// What the IP header says, but no more than the frame held.
#[inline]
fn payload_len(frame: &Frame<'_>, total: usize, headers: usize) -> u32 {
    let on_wire = (frame.wire_len as usize).max(frame.data.len()) - ETHERNET;
    // Both are at least the headers, which were captured; the total is under 65,536.
    (total.min(on_wire) - headers) as u32
}

/// For constant offsets that lie within: the compiler then makes it one load.
#[inline(always)]
fn u16_at<const N: usize>(head: &[u8; N], at: usize) -> u16 {
    let bytes = head.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// As [`u16_at`].
#[inline(always)]
fn u32_at<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    let bytes = head.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
