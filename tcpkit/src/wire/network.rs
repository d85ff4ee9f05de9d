//! IPv4 and IPv6 with its extension headers.
//!
//! A length of zero is taken as it is meant: segmentation offload hands the capture frames
//! longer than the field can say, and then the frame's own length counts.

use super::Addresses;
use super::bytes::Bytes;
use super::fragment::{Key, Piece};
use super::walk::{End, Layer, Step, Walk};

/// IP of the version that its first four bits name.
pub(super) fn ip(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let [first] = *bytes.peek()?;
    match first >> 4 {
        4 => Ok(Layer::Ipv4),
        6 => Ok(Layer::Ipv6),
        _ => Err(End::Malformed),
    }
}

/// IPv4 (RFC 791, section 3.1).
pub(super) fn ipv4<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
    let head: &[u8; 20] = bytes.peek()?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if head[0] >> 4 != 4 || header < head.len() {
        return Err(End::Malformed);
    }
    match usize::from(u16::from_be_bytes([head[2], head[3]])) {
        0 => {}
        total if total < header => return Err(End::Malformed),
        total => bytes.limit(total),
    }
    bytes.skip(header)?;
    let id = u16::from_be_bytes([head[4], head[5]]);
    let addresses = Addresses::V4 {
        source: u32::from_be_bytes([head[12], head[13], head[14], head[15]]),
        destination: u32::from_be_bytes([head[16], head[17], head[18], head[19]]),
    };
    walk.enter(addresses, Some(id));
    let place = u16::from_be_bytes([head[6], head[7]]);
    if place & 0x3fff == 0 {
        return Ok(Step::Next(Layer::Protocol(head[9])));
    }
    piece(walk, bytes, Place::v4(place), u32::from(id), head[9])
}

/// IPv6 (RFC 8200, section 3). Options for every hop may only stand first, so they are read here.
pub(super) fn ipv6<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Layer, End> {
    const HOP_BY_HOP: u8 = 0;
    let head: &[u8; 40] = bytes.take()?;
    if head[0] >> 4 != 6 {
        return Err(End::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if length != 0 {
        bytes.limit(length);
    }
    let addresses = Addresses::V6 {
        source: address(head, 8),
        destination: address(head, 24),
    };
    walk.enter(addresses, None);
    let next = match head[6] {
        HOP_BY_HOP => hop_by_hop(bytes, length == 0)?,
        next => next,
    };
    Ok(Layer::Protocol(next))
}

fn address(head: &[u8; 40], at: usize) -> u128 {
    let bytes = head.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// Hop-by-hop options; where the header's own length is zero, they may hold a jumbogram's.
fn hop_by_hop(bytes: &mut Bytes<'_>, jumbo: bool) -> Result<u8, End> {
    let [next, units] = *bytes.peek()?;
    let header = (usize::from(units) + 1) * 8;
    let options = bytes.peek_slice(header)?;
    if let Some(length) = options.get(2..).filter(|_| jumbo).and_then(jumbo_length) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length <= usize::from(u16::MAX) {
            return Err(End::Malformed);
        }
        bytes.limit(length);
    }
    bytes.skip(header)?;
    Ok(next)
}

/// The jumbo payload option's length (RFC 2675, section 2), counted from the end of the fixed
/// header. Each turn takes at least one byte off.
fn jumbo_length(mut options: &[u8]) -> Option<u32> {
    const PAD1: u8 = 0;
    const JUMBO: u8 = 0xc2;
    loop {
        options = match *options {
            [PAD1, ref rest @ ..] => rest,
            [JUMBO, 4, a, b, c, d, ..] => return Some(u32::from_be_bytes([a, b, c, d])),
            [_, length, ref rest @ ..] => rest.get(usize::from(length)..)?,
            _ => return None,
        };
    }
}

/// IPv6's other extension headers (RFC 8200, section 4), and what is none.
pub(super) fn extension<'a>(
    walk: &mut Walk<'a>,
    number: u8,
    bytes: &mut Bytes<'a>,
) -> Result<Step<'a>, End> {
    match number {
        // Hop-by-hop options anywhere but first make every receiver drop the packet.
        0 => Err(End::Malformed),
        // Routing, destination options, mobility (RFC 6275), HIP (RFC 7401), Shim6 (RFC 5533).
        43 | 60 | 135 | 139 | 140 => {
            let [next, units] = *bytes.peek()?;
            bytes.skip((usize::from(units) + 1) * 8)?;
            Ok(Step::Next(Layer::Protocol(next)))
        }
        44 => fragment_header(walk, bytes),
        _ => Err(End::Other),
    }
}

/// The authentication header (RFC 4302), whose length is in other units than its neighbours'.
/// The smallest is 12 bytes.
pub(super) fn authentication(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let [next, units] = *bytes.peek()?;
    if units == 0 {
        return Err(End::Malformed);
    }
    bytes.skip((usize::from(units) + 2) * 4)?;
    Ok(Layer::Protocol(next))
}

/// The fragment header (RFC 8200, section 4.5). One that is first and last at once is a whole
/// packet (RFC 6946).
fn fragment_header<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
    let head: &[u8; 8] = bytes.take()?;
    walk.packet.ip_id = Some(u16::from_be_bytes([head[6], head[7]]));
    let place = Place::v6(u16::from_be_bytes([head[2], head[3]]));
    if place.offset == 0 && !place.more {
        return Ok(Step::Next(Layer::Protocol(head[0])));
    }
    let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    piece(walk, bytes, place, id, head[0])
}

/// Where a fragment belongs in its datagram.
struct Place {
    /// In bytes.
    offset: usize,
    more: bool,
}

impl Place {
    fn v4(field: u16) -> Self {
        Self {
            offset: usize::from(field & 0x1fff) * 8,
            more: field & 0x2000 != 0,
        }
    }

    fn v6(field: u16) -> Self {
        Self {
            offset: usize::from(field & 0xfff8),
            more: field & 1 != 0,
        }
    }
}

/// A fragment: as long as its header says, even where the frame did not hold all of it.
fn piece<'a>(
    walk: &Walk<'a>,
    bytes: &Bytes<'a>,
    place: Place,
    id: u32,
    protocol: u8,
) -> Result<Step<'a>, End> {
    let length = bytes.claimed();
    let end = place.offset.saturating_add(length);
    let uneven = place.more && !length.is_multiple_of(8);
    if length == 0 || uneven || end > usize::from(u16::MAX) {
        return Err(End::Malformed);
    }
    Ok(Step::Fragment(Piece {
        key: Key::new(&walk.packet, id, protocol),
        protocol,
        start: place.offset,
        end,
        last: !place.more,
        captured: bytes.captured(),
        seen: (walk.packet.time, walk.packet.frame),
    }))
}
