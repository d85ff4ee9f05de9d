//! Link layers, and what stands between them and IP: VLAN tags, LLC, PPP, MPLS.
//!
//! Each function takes one header off and names the next layer.

use super::bytes::Bytes;
use super::walk::{End, Layer, Walk};
use crate::limits;
use crate::source::LinkType;

/// EtherTypes as IEEE registers them.
mod ether {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const ARP: u16 = 0x0806;
    pub(super) const BRIDGED: u16 = 0x6558;
    pub(super) const VLAN: u16 = 0x8100;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const MPLS_MULTICAST: u16 = 0x8848;
    pub(super) const PPPOE: u16 = 0x8864;
    pub(super) const SERVICE_VLAN: u16 = 0x88a8;
    pub(super) const OLD_SERVICE_VLAN: u16 = 0x9100;
    /// Values up to 1500 are IEEE 802.3 lengths, those from 1536 types.
    pub(super) const LAST_LENGTH: u16 = 1500;
}

/// The layer that a frame of this link type begins with; `None` for one not supported.
///
/// Numbers without a name in [`LinkType`]: 12 and 14 are what BSD systems call raw IP and some
/// programs write to files, 50 and 104 are PPP and Cisco HDLC on serial lines, 51 is PPPoE.
pub(super) fn first(link: LinkType) -> Option<Layer> {
    Some(match link {
        LinkType::ETHERNET => Layer::Ethernet,
        LinkType::NULL | LinkType::LOOP => Layer::Loopback,
        LinkType::RAW | LinkType(12 | 14) => Layer::Ip,
        LinkType::IPV4 => Layer::Ipv4,
        LinkType::IPV6 => Layer::Ipv6,
        LinkType::LINUX_SLL => Layer::Cooked1,
        LinkType::LINUX_SLL2 => Layer::Cooked2,
        LinkType::PPP | LinkType(50 | 104) => Layer::Ppp,
        LinkType(51) => Layer::Pppoe,
        LinkType::NFLOG => Layer::Nflog,
        LinkType::NETLINK => Layer::Netlink,
        _ => return None,
    })
}

/// Ethernet II and IEEE 802.3.
pub(super) fn ethernet(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 14] = bytes.take()?;
    type_or_length(u16::from_be_bytes([head[12], head[13]]), bytes)
}

/// What stands where Ethernet has its type, and a VLAN tag its own.
fn type_or_length(number: u16, bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    if number > ether::LAST_LENGTH {
        return Ok(Layer::EtherType(number));
    }
    bytes.limit(usize::from(number));
    Ok(Layer::Llc)
}

/// What an EtherType announces; VLAN tags are taken off here (IEEE 802.1Q).
pub(super) fn ether_type(number: u16, bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    match number {
        ether::IPV4 => Ok(Layer::Ipv4),
        ether::IPV6 => Ok(Layer::Ipv6),
        ether::VLAN | ether::SERVICE_VLAN | ether::OLD_SERVICE_VLAN => {
            let tag: &[u8; 4] = bytes.take()?;
            type_or_length(u16::from_be_bytes([tag[2], tag[3]]), bytes)
        }
        ether::MPLS | ether::MPLS_MULTICAST => Ok(Layer::Mpls),
        ether::PPPOE => Ok(Layer::Pppoe),
        ether::BRIDGED => Ok(Layer::Ethernet),
        _ => Err(End::Other),
    }
}

/// IEEE 802.2 with SNAP (RFC 1042), or with the service access point of IP itself.
pub(super) fn llc(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 3] = bytes.take()?;
    match head {
        [0xaa, 0xaa, 0x03] => snap(bytes),
        [0x06, 0x06, 0x03] => Ok(Layer::Ipv4),
        _ => Err(End::Other),
    }
}

/// Organisation 0 is EtherTypes, 0x0000f8 is EtherTypes through an IEEE 802.1H bridge.
fn snap(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    match bytes.take()? {
        [0, 0, 0x00 | 0xf8, high, low] => Ok(Layer::EtherType(u16::from_be_bytes([*high, *low]))),
        _ => Err(End::Other),
    }
}

/// LINKTYPE_LINUX_SLL.
pub(super) fn cooked1(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 16] = bytes.take()?;
    cooked_protocol(
        u16::from_be_bytes([head[2], head[3]]),
        u16::from_be_bytes([head[14], head[15]]),
    )
}

/// LINKTYPE_LINUX_SLL2. The interface's index is folded into the walk's interface: what differs
/// in either differs in the result, as long as both are under 65,536.
pub(super) fn cooked2(walk: &mut Walk<'_>, bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 20] = bytes.take()?;
    let index = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    walk.packet.interface = walk.packet.interface.rotate_left(16) ^ index;
    cooked_protocol(
        u16::from_be_bytes([head[8], head[9]]),
        u16::from_be_bytes([head[0], head[1]]),
    )
}

/// The protocol field is an EtherType, save for hardware that has its own use for it, and for
/// numbers that Linux made up below 1536.
fn cooked_protocol(hardware: u16, protocol: u16) -> Result<Layer, End> {
    const RADIOTAP: u16 = 803;
    const NETLINK: u16 = 824;
    const LINUX_LLC: u16 = 4;
    match (hardware, protocol) {
        (RADIOTAP | NETLINK, _) => Err(End::Other),
        (_, LINUX_LLC) => Ok(Layer::Llc),
        (_, number) => Ok(Layer::EtherType(number)),
    }
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family, in the byte order of the machine that
/// captured or in the network's. Families are small numbers, so the order shows.
pub(super) fn loopback(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let family = match bytes.take()? {
        [0, 0, high, low] => u16::from_be_bytes([*high, *low]),
        [low, high, 0, 0] => u16::from_le_bytes([*low, *high]),
        _ => return Err(End::Other),
    };
    match family {
        2 => Ok(Layer::Ipv4),
        // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        10 | 24 | 28 | 30 => Ok(Layer::Ipv6),
        _ => Err(End::Other),
    }
}

/// PPP (RFC 1661), with HDLC-like address and control (RFC 1662) or without, or Cisco's HDLC
/// (RFC 1547, section 4.3.1), whose first byte is never one of a PPP protocol that carries IP.
pub(super) fn ppp(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    match bytes.captured() {
        [0xff, 0x03, ..] => bytes.skip(2)?,
        [0x0f | 0x8f, 0x00, ..] => {
            let head: &[u8; 4] = bytes.take()?;
            return Ok(Layer::EtherType(u16::from_be_bytes([head[2], head[3]])));
        }
        _ => {}
    }
    match ppp_protocol(bytes)? {
        0x0021 => Ok(Layer::Ipv4),
        0x0057 => Ok(Layer::Ipv6),
        0x0281 | 0x0283 => Ok(Layer::Mpls),
        _ => Err(End::Other),
    }
}

/// One byte where the field is compressed, which shows in its lowest bit (RFC 1661, section 6.5).
fn ppp_protocol(bytes: &mut Bytes<'_>) -> Result<u16, End> {
    let [first] = *bytes.peek()?;
    if first & 1 == 1 {
        bytes.skip(1)?;
        return Ok(u16::from(first));
    }
    Ok(u16::from_be_bytes(*bytes.take()?))
}

/// PPPoE (RFC 2516); only its session stage carries PPP.
pub(super) fn pppoe(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 6] = bytes.take()?;
    if head[0] != 0x11 {
        return Err(End::Malformed);
    }
    if head[1] != 0 {
        return Err(End::Other);
    }
    bytes.limit(usize::from(u16::from_be_bytes([head[4], head[5]])));
    Ok(Layer::Ppp)
}

/// One entry of a label stack (RFC 3032). What is under the last one no header tells: IP shows
/// in its version, a pseudowire (RFC 4448) in the Ethernet header that it must hold.
pub(super) fn mpls(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let entry: &[u8; 4] = bytes.take()?;
    if entry[2] & 1 == 0 {
        return Ok(Layer::Mpls);
    }
    let [first] = *bytes.peek()?;
    match first >> 4 {
        4 => Ok(Layer::Ipv4),
        6 => Ok(Layer::Ipv6),
        _ => pseudowire(bytes),
    }
}

/// Ethernet behind a control word, whose first four bits are 0 (RFC 4385), or without one.
fn pseudowire(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let captured = bytes.captured();
    let worded = captured.split_first_chunk::<4>();
    if worded.is_some_and(|(word, rest)| word[0] >> 4 == 0 && is_ethernet(rest)) {
        bytes.skip(4)?;
        return Ok(Layer::Ethernet);
    }
    if is_ethernet(captured) {
        return Ok(Layer::Ethernet);
    }
    Err(End::Other)
}

/// Whether this reads as an Ethernet header with a type that is common inside pseudowires.
fn is_ethernet(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<14>() else {
        return false;
    };
    matches!(
        u16::from_be_bytes([head[12], head[13]]),
        ether::IPV4
            | ether::ARP
            | ether::IPV6
            | ether::VLAN
            | ether::SERVICE_VLAN
            | ether::MPLS
            | ether::PPPOE
    )
}

/// LINKTYPE_NFLOG: a head, then values with type and length, one of which is the packet.
pub(super) fn nflog(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    netfilter(bytes, 9)
}

/// A packet that netfilter queued: as one that it logged, with another number for the payload
/// (linux/netfilter/nfnetlink_queue.h).
pub(super) fn nfqueue(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    netfilter(bytes, 10)
}

/// A netlink message behind a cooked header of 16 bytes (LINKTYPE_NETLINK). The packets in it are
/// those that netfilter logs or queues; of several messages in one frame the first is looked into.
pub(super) fn netlink(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    const NETFILTER: u16 = 12;
    let cooked: &[u8; 16] = bytes.take()?;
    let head: &[u8; 16] = bytes.take()?;
    // Message type and subsystem, in the byte order of the machine that captured: packets are
    // messages of type 0, so the order shows.
    let subsystem = head[4].max(head[5]);
    match (
        u16::from_be_bytes([cooked[14], cooked[15]]),
        head[4].min(head[5]),
        subsystem,
    ) {
        (NETFILTER, 0, 3) => Ok(Layer::Nfqueue),
        (NETFILTER, 0, 4) => Ok(Layer::Nflog),
        _ => Err(End::Other),
    }
}

/// Netfilter's general header and values; `payload` is the type of the one with the packet.
fn netfilter(bytes: &mut Bytes<'_>, payload: u16) -> Result<Layer, End> {
    let head: &[u8; 4] = bytes.take()?;
    let layer = match head {
        // AF_UNSPEC, NFPROTO_INET and a bridge hook leave the version to the packet.
        [0 | 1 | 7, 0, ..] => Layer::Ip,
        [2, 0, ..] => Layer::Ipv4,
        [10, 0, ..] => Layer::Ipv6,
        _ => return Err(End::Other),
    };
    for _ in 0..limits::HEADERS {
        let (length, kind) = nflog_value(bytes)?;
        if kind == payload {
            bytes.limit(length);
            return Ok(layer);
        }
        // Values are padded to four bytes.
        bytes.skip(length.next_multiple_of(4))?;
    }
    Err(End::Other)
}

/// The head of one value: the length behind it, and its type. Both are in the byte order of the
/// machine that captured; types are small, so the order shows.
fn nflog_value(bytes: &mut Bytes<'_>) -> Result<(usize, u16), End> {
    let [a, b, c, d] = *bytes.take()?;
    let (length, kind) = if d & 0x7f == 0 {
        (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    } else {
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    };
    let length = usize::from(length).checked_sub(4).ok_or(End::Malformed)?;
    Ok((length, kind & 0x7fff))
}
