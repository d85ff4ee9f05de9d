//! The header walk, the same at every hook: from the link layer to the ports, and one VXLAN tunnel deep.

use tcpkit_common::ETHERNET;

use crate::bytes::Bytes;
use crate::header::{Ethernet, Extension, Ipv4, Ipv6, PortPair, Tag, Tcp};
use crate::monitor::Monitor;
use crate::settings::{EMPTY_SEGMENTS, TCP, UDP, is_on};
use crate::verifier::Forget;

/// What the walk found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that is monitored.
    Other,
    /// A frame that is wanted.
    Wanted,
    /// It would be wanted, but carries nothing and changes nothing.
    Empty,
    /// A later fragment of a datagram whose port nobody knows.
    Fragment,
    /// The headers do not end in these bytes.
    Short,
    /// A header that contradicts itself, or too many of them.
    Broken,
    /// UDP to VXLAN's port; another frame begins there.
    Tunnel(usize),
}

/// `EtherType`s.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;
const OLD_QINQ: u16 = 0x9100;

/// IP protocol numbers, and IPv6 extensions among them.
const HOP_BY_HOP: u8 = 0;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// IPv6 extensions that are followed. RFC 8200 (section 4.1) knows six kinds, of which one may come twice.
const EXTENSIONS: usize = 6;

/// VLAN tags in a frame's bytes; at TC another one may stand beside them.
const TAGS: usize = 2;

/// VXLAN over UDP (RFC 7348), and the bytes before the frame inside: UDP's header and its own.
const VXLAN: u16 = 4789;
const VXLAN_HEADERS: usize = 8 + 8;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// An IP packet without its headers.
struct Packet {
    protocol: u8,
    /// Where the transport header begins.
    payload: usize,
    /// Where the packet ends: before an Ethernet frame's padding.
    end: usize,
    /// Not the first fragment of its datagram: it has no transport header.
    later_fragment: bool,
    addresses: Addresses,
}

/// Where the addresses stand.
#[derive(Clone, Copy)]
pub enum Addresses {
    V4(usize),
    V6(usize),
}

/// A walk over one frame.
pub struct Walk<'a> {
    /// The frame's bytes, of which the first ones are there to be read.
    pub length: usize,
    pub monitor: &'a Monitor<'a>,
    pub forget: Forget,
}

impl Walk<'_> {
    /// From the link layer on.
    #[inline(always)]
    pub fn run<B: Bytes>(&self, bytes: &B, link: u8) -> Verdict {
        let outer = if link == ETHERNET {
            self.ethernet(bytes, 0)
        } else {
            version(bytes).and_then(|kind| self.network(bytes, kind, 0))
        };
        match either(outer) {
            Verdict::Tunnel(inner) => self.tunnel(bytes, inner),
            verdict => verdict,
        }
    }

    #[inline(always)]
    fn tunnel<B: Bytes>(&self, bytes: &B, inner: usize) -> Verdict {
        match either(self.ethernet(bytes, self.forget.value(inner))) {
            Verdict::Tunnel(_) => Verdict::Other,
            verdict => verdict,
        }
    }

    #[inline(always)]
    fn ethernet<B: Bytes>(&self, bytes: &B, offset: usize) -> Result<Verdict, Verdict> {
        let header = bytes.at::<Ethernet>(offset).ok_or(Verdict::Short)?;
        let mut kind = u16::from_be(header.kind);
        let mut next = offset + size_of::<Ethernet>();
        for _ in 0..TAGS {
            if !matches!(kind, VLAN | QINQ | OLD_QINQ) {
                break;
            }
            kind = u16::from_be(bytes.at::<Tag>(next).ok_or(Verdict::Short)?.kind);
            next = self.forget.value(next + size_of::<Tag>());
        }
        self.network(bytes, kind, next)
    }

    #[inline(always)]
    fn network<B: Bytes>(&self, bytes: &B, kind: u16, offset: usize) -> Result<Verdict, Verdict> {
        let packet = match kind {
            IPV4 => self.ipv4(bytes, offset)?,
            IPV6 => self.ipv6(bytes, offset)?,
            _ => return Err(Verdict::Other),
        };
        self.transport(bytes, &packet)
    }

    #[inline(always)]
    fn ipv4<B: Bytes>(&self, bytes: &B, offset: usize) -> Result<Packet, Verdict> {
        let header = bytes.at::<Ipv4>(offset).ok_or(Verdict::Short)?;
        let header_length = usize::from(header.version_length & 0xf) * 4;
        if header_length < size_of::<Ipv4>() {
            return Err(Verdict::Broken);
        }
        Ok(Packet {
            protocol: header.protocol,
            payload: offset + header_length,
            end: self.end(offset, usize::from(u16::from_be(header.total))),
            later_fragment: header.fragment & 0x1fff_u16.to_be() != 0,
            addresses: Addresses::V4(offset + 12),
        })
    }

    #[inline(always)]
    fn ipv6<B: Bytes>(&self, bytes: &B, offset: usize) -> Result<Packet, Verdict> {
        let header = bytes.at::<Ipv6>(offset).ok_or(Verdict::Short)?;
        let fixed = size_of::<Ipv6>();
        let payload = usize::from(u16::from_be(header.payload));
        let total = if payload == 0 { 0 } else { fixed + payload };
        let mut packet = Packet {
            protocol: header.next,
            payload: offset + fixed,
            end: self.end(offset, total),
            later_fragment: false,
            addresses: Addresses::V6(offset + 8),
        };
        for _ in 0..EXTENSIONS {
            if packet.later_fragment || !is_extension(packet.protocol) {
                return Ok(packet);
            }
            self.extension(bytes, &mut packet)?;
        }
        if is_extension(packet.protocol) && !packet.later_fragment {
            return Err(Verdict::Broken);
        }
        Ok(packet)
    }

    /// Steps over an extension.
    #[inline(always)]
    fn extension<B: Bytes>(&self, bytes: &B, packet: &mut Packet) -> Result<(), Verdict> {
        let header = bytes
            .at::<Extension>(packet.payload)
            .ok_or(Verdict::Short)?;
        let length = match packet.protocol {
            FRAGMENT => 8,
            // RFC 4302, section 2.2: in 32-bit words, less two.
            AUTHENTICATION => (usize::from(header.length) + 2) * 4,
            _ => (usize::from(header.length) + 1) * 8,
        };
        packet.later_fragment =
            packet.protocol == FRAGMENT && header.fragment & 0xfff8_u16.to_be() != 0;
        packet.payload = self.forget.value(packet.payload + length);
        packet.protocol = header.next;
        Ok(())
    }

    /// Where a packet ends. A total of 0 is that of a segment whose length the network card is to fill in, or of a
    /// jumbogram: then it is the frame's length that counts.
    #[inline(always)]
    fn end(&self, offset: usize, total: usize) -> usize {
        if total == 0 || offset + total > self.length {
            return self.length;
        }
        offset + total
    }

    #[inline(always)]
    fn transport<B: Bytes>(&self, bytes: &B, packet: &Packet) -> Result<Verdict, Verdict> {
        if packet.protocol != PROTOCOL_TCP && packet.protocol != PROTOCOL_UDP {
            return Err(Verdict::Other);
        }
        if packet.later_fragment {
            return Ok(self.later_fragment(bytes, packet));
        }
        let ports = *bytes.at::<PortPair>(packet.payload).ok_or(Verdict::Short)?;
        if packet.protocol == PROTOCOL_TCP {
            return Ok(self.tcp(bytes, packet, ports));
        }
        if is_on(&UDP) && self.monitor.wants(bytes, ports, packet.addresses) {
            return Ok(Verdict::Wanted);
        }
        if ports.destination == VXLAN.to_be() {
            return Ok(Verdict::Tunnel(packet.payload + VXLAN_HEADERS));
        }
        Ok(Verdict::Other)
    }

    /// Later fragments carry no ports. A UDP datagram of a monitored port may be among them; TCP avoids them.
    #[inline(always)]
    fn later_fragment<B: Bytes>(&self, bytes: &B, packet: &Packet) -> Verdict {
        if packet.protocol != PROTOCOL_UDP || !is_on(&UDP) {
            return Verdict::Fragment;
        }
        if self.monitor.wants_either(bytes, packet.addresses) {
            return Verdict::Wanted;
        }
        Verdict::Other
    }

    #[inline(always)]
    fn tcp<B: Bytes>(&self, bytes: &B, packet: &Packet, ports: PortPair) -> Verdict {
        if !is_on(&TCP) || !self.monitor.wants(bytes, ports, packet.addresses) {
            return Verdict::Other;
        }
        if is_on(&EMPTY_SEGMENTS) {
            return Verdict::Wanted;
        }
        let Some(header) = bytes.at::<Tcp>(packet.payload) else {
            return Verdict::Short;
        };
        let payload = packet.payload + usize::from(header.length >> 4) * 4;
        let silent = header.flags & (SYN | FIN | RST) == 0 && header.window != 0;
        if silent && payload >= packet.end {
            return Verdict::Empty;
        }
        Verdict::Wanted
    }
}

#[inline(always)]
fn either(result: Result<Verdict, Verdict>) -> Verdict {
    match result {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// The `EtherType` that an IP packet without a link layer would have.
#[inline(always)]
fn version<B: Bytes>(bytes: &B) -> Result<u16, Verdict> {
    // The shorter of both headers.
    let header = bytes.at::<Ipv4>(0).ok_or(Verdict::Short)?;
    match header.version_length >> 4 {
        4 => Ok(IPV4),
        6 => Ok(IPV6),
        _ => Err(Verdict::Other),
    }
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}
