//! Octets to types: one frame in, one decoded packet out.
//!
//! Reads a [`Frame`], walks link, network and transport headers, and makes a [`Packet`] that
//! borrows its payload. Never allocates for a packet that is whole; fragments of one datagram
//! are copied and put together within a bound.
//!
//! Plain TCP over IPv4 over Ethernet is decoded at fixed offsets (`fast`), all else by a loop that
//! takes one header off per turn (`walk`), each in its layer's file.
//!
//! # Lengths
//!
//! A frame has three: what was captured, what was on the wire, and what its headers say. The
//! payload is what was captured of what the headers say, so Ethernet's padding is no payload.
//! Its length on the wire is what the headers say, but never more than the frame held: a header
//! that claims more would otherwise make the stream skip bytes that were never sent. Missing
//! bytes that nobody counted show as a gap; bytes counted that never were would be lost for good.
//! A header behind the end is [`Decoded::Truncated`] where some length says that it was there, and
//! [`Decoded::Malformed`] where none does.
//!
//! # Tunnels
//!
//! A UDP datagram to the port of VXLAN or Geneve is looked into. It is taken for a tunnel once an
//! IP header is found inside; until then whatever goes wrong makes it a plain UDP datagram.
#![deny(clippy::indexing_slicing)]

mod bytes;
mod fast;
mod fragment;
mod kept;
mod link;
mod network;
mod transport;
mod tunnel;
mod walk;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use self::bytes::Bytes;
pub use self::fast::Segment;
use self::fragment::{Piece, Table};
pub use self::kept::Kept;
use self::walk::{End, Layer, Stop, Walk};
use crate::limits;
use crate::source::{Frame, Timestamp};

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// Source and destination address of one packet, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4, as numbers in host order.
    V4 {
        /// Sender.
        source: u32,
        /// Receiver.
        destination: u32,
    },
    /// IPv6, as numbers in host order.
    V6 {
        /// Sender.
        source: u128,
        /// Receiver.
        destination: u128,
    },
}

/// The bits of the TCP header's flags byte (RFC 9293, section 3.1; RFC 3168).
#[expect(missing_docs, reason = "the names are the specification's")]
pub mod flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// A decoded TCP segment or UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When its frame was captured.
    pub time: Timestamp,
    /// Number of its frame; of the fragment that completed it where it came in several.
    pub frame: u64,
    /// The interface that it was seen on. For Linux cooked v2 the recorded interface index is
    /// folded in, so that one recording of `any` tells its interfaces apart.
    pub interface: u32,
    /// Who sent it to whom.
    pub addresses: Addresses,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// The TCP flags byte; 0 for UDP.
    pub flags: u8,
    /// The IPv4 identification field; `None` for IPv6 without a fragment header.
    pub ip_id: Option<u16>,
    /// TCP sequence number of the first payload byte (of the SYN itself where `flags` has it).
    pub seq: u32,
    /// TCP acknowledgement number; meaningless unless `flags` has ACK.
    pub ack: u32,
    /// TCP window, unscaled.
    pub window: u16,
    /// Payload bytes that were captured.
    pub payload: &'a [u8],
    /// Payload bytes on the wire, as the IP and UDP lengths say; at least `payload.len()`.
    pub payload_len: u32,
}

impl Packet<'_> {
    /// Sender as a socket address.
    pub fn source(&self) -> SocketAddr {
        let ip: IpAddr = match self.addresses {
            Addresses::V4 { source, .. } => IpAddr::V4(source.into()),
            Addresses::V6 { source, .. } => IpAddr::V6(source.into()),
        };
        SocketAddr::new(ip, self.source_port)
    }

    /// Receiver as a socket address.
    pub fn destination(&self) -> SocketAddr {
        let ip: IpAddr = match self.addresses {
            Addresses::V4 { destination, .. } => IpAddr::V4(destination.into()),
            Addresses::V6 { destination, .. } => IpAddr::V6(destination.into()),
        };
        SocketAddr::new(ip, self.destination_port)
    }
}

/// Checks plain TCP over IPv4 over Ethernet, the way of nearly every frame of a monitored service;
/// `None` for all else, errors too.
#[inline(always)]
pub fn plain<'a>(frame: &Frame<'a>) -> Option<Segment<'a>> {
    fast::segment(frame)
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A TCP segment or UDP datagram, its headers whole.
    Packet(Packet<'a>),
    /// A fragment of a datagram that is not complete yet.
    Fragment,
    /// Well formed as far as it goes, but neither TCP nor UDP over IP: ARP, ICMP, …
    Other,
    /// A link type that is not supported.
    UnknownLink,
    /// Cut by the snap length, or the end of the file, before the transport header ended.
    Truncated,
    /// Headers that contradict each other or their specification.
    Malformed,
}

/// How a packet was put together from fragments, if it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined<'a> {
    /// The frames of the earlier ones in the order in which they came, if they are kept.
    pub frames: &'a [Kept],
    /// When the first byte was seen, and in which frame. The last one missing is what the packet's own time and frame tell.
    pub begun: Option<(Timestamp, u64)>,
}

/// Decodes frames; keeps what fragments need.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Table,
    /// The datagrams last put together, for packets to borrow from: one, and the one inside it
    /// where a tunnel was fragmented outside and inside.
    whole: [Vec<u8>; limits::FRAGMENT_NESTING],
    keeps: bool,
    /// The frames of the datagram last put together, but for the one that completed it.
    earlier: Vec<Kept>,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that keeps the frames of fragments, for [`Decoder::decode_joined`] to give.
    pub fn keeping_frames() -> Self {
        Self {
            keeps: true,
            ..Self::default()
        }
    }

    /// Decodes one frame. The packet borrows from the frame, or from the decoder where it was
    /// put together from fragments.
    pub fn decode<'s>(&'s mut self, frame: &Frame<'s>) -> Decoded<'s> {
        match plain(frame) {
            Some(segment) => Decoded::Packet(segment.packet(frame)),
            None => self.decode_any(frame),
        }
    }

    /// Datagrams that came in fragments and were given up: a fragment missing for longer than
    /// [`limits::FRAGMENT_TIME`], fragments that overlap, or more datagrams at once than
    /// [`limits::FRAGMENTED_DATAGRAMS`].
    pub fn fragments_lost(&self) -> u64 {
        self.fragments.lost()
    }

    /// Datagrams that came in fragments, of which some are still missing. At the end of a run
    /// these are lost too.
    pub fn fragments_waiting(&self) -> usize {
        self.fragments.waiting()
    }

    /// As [`Decoder::decode`], without trying [`plain`] first.
    pub fn decode_any<'s>(&'s mut self, frame: &Frame<'s>) -> Decoded<'s> {
        self.decode_joined(frame).0
    }

    /// As [`Decoder::decode_any`]; and how the packet was put together from fragments.
    #[inline(never)]
    pub fn decode_joined<'s>(&'s mut self, frame: &Frame<'s>) -> (Decoded<'s>, Joined<'s>) {
        self.earlier.clear();
        let mut begun = None;
        let Some(layer) = link::first(frame.link) else {
            return (Decoded::UnknownLink, Joined::default());
        };
        let on_wire = usize::try_from(frame.wire_len).unwrap_or(usize::MAX);
        let mut walk = Walk::new(frame);
        let decoded = match walk.run(layer, Bytes::new(frame.data, on_wire)) {
            Stop::Packet => Decoded::Packet(walk.packet),
            Stop::End(end) => end.into(),
            Stop::Fragment(piece) => {
                if self.keeps {
                    self.earlier.push(frame.into());
                }
                let frames = &mut self.earlier;
                let decoded;
                (decoded, begun) =
                    put_together(&mut self.fragments, &mut self.whole, walk, piece, frames);
                frames.pop_if(|last| last.frame().number == frame.number);
                decoded
            }
        };
        let joined = Joined {
            frames: &self.earlier,
            begun,
        };
        (decoded, joined)
    }
}

/// Gathers fragments, and walks on through what they make. Each buffer serves once per frame, so
/// fragments nested deeper than there are buffers come to nothing. With it, when the first byte was seen, and in which frame.
#[inline(never)]
fn put_together<'s>(
    fragments: &mut Table,
    buffers: &'s mut [Vec<u8>],
    mut walk: Walk<'s>,
    mut piece: Piece<'s>,
    frames: &mut Vec<Kept>,
) -> (Decoded<'s>, Option<(Timestamp, u64)>) {
    for buffer in buffers {
        let Some(whole) = fragments.add(&piece, walk.packet.time, frames) else {
            frames.clear();
            return (Decoded::Fragment, None);
        };
        *buffer = whole.captured;
        let layer = Layer::Protocol(whole.protocol);
        match walk.run(layer, Bytes::new(buffer, whole.length)) {
            Stop::Packet => return (Decoded::Packet(walk.packet), Some(whole.begun)),
            Stop::End(end) => return (end.into(), None),
            Stop::Fragment(inside) => piece = inside,
        }
    }
    (Decoded::Other, None)
}

impl From<End> for Decoded<'_> {
    fn from(end: End) -> Self {
        match end {
            End::Other => Self::Other,
            End::Truncated => Self::Truncated,
            End::Malformed => Self::Malformed,
        }
    }
}
