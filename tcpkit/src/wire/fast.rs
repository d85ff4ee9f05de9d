//! The way that nearly every frame of a monitored service takes: Ethernet, IPv4 without options
//! and not in fragments, TCP.
//!
//! Checks it at fixed offsets, and says `None` to everything else, errors too: those are told
//! by the walk through all layers, which decodes these frames to the same packets. What is asked for is read where it
//! is asked for: a whole [`Packet`] costs as much to fill in and hand over as the frame to follow.

use super::{Addresses, Packet, Transport};
use crate::source::{Frame, LinkType};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;

/// A plain TCP segment, its headers checked.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    head: &'a [u8; ETHERNET + IPV4 + TCP],
    /// As [`Packet::payload`].
    pub payload: &'a [u8],
    /// As [`Packet::payload_len`].
    pub payload_len: u32,
}

#[inline(always)]
pub(super) fn segment<'a>(frame: &Frame<'a>) -> Option<Segment<'a>> {
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
    Some(Segment {
        head,
        payload,
        payload_len: payload_len(frame, total, headers),
    })
}

impl<'a> Segment<'a> {
    /// All that is known of it; `frame` is the one that it came in.
    #[inline(never)]
    pub fn packet(&self, frame: &Frame<'_>) -> Packet<'a> {
        let [source_port, destination_port] = self.ports();
        Packet {
            time: frame.time,
            frame: frame.number,
            interface: frame.interface,
            addresses: Addresses::V4 {
                source: u32_at(self.head, 26),
                destination: u32_at(self.head, 30),
            },
            source_port,
            destination_port,
            transport: Transport::Tcp,
            flags: self.flags(),
            ip_id: Some(u16_at(self.head, 18)),
            seq: self.seq(),
            ack: self.ack(),
            window: u16_at(self.head, 48),
            payload: self.payload,
            payload_len: self.payload_len,
        }
    }

    /// Sender's and receiver's address and port: 32 bits, then 16.
    #[inline(always)]
    pub fn ends(&self) -> [u64; 2] {
        let [source, destination] = self.ports();
        [
            u64::from(u32_at(self.head, 26)) << 16 | u64::from(source),
            u64::from(u32_at(self.head, 30)) << 16 | u64::from(destination),
        ]
    }

    /// Sender's and receiver's port.
    #[inline(always)]
    pub fn ports(&self) -> [u16; 2] {
        [u16_at(self.head, 34), u16_at(self.head, 36)]
    }

    /// As [`Packet::seq`].
    #[inline(always)]
    pub fn seq(&self) -> u32 {
        u32_at(self.head, 38)
    }

    /// As [`Packet::ack`].
    #[inline(always)]
    pub fn ack(&self) -> u32 {
        u32_at(self.head, 42)
    }

    /// As [`Packet::flags`].
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.head[47]
    }

    /// Whether all of the payload was captured.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.payload.len() == self.payload_len as usize
    }
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
