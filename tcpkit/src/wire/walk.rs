//! The way through a frame's headers, one layer at a time.
//!
//! Reads [`Bytes`], takes one header off per step, and stops at a TCP or UDP packet, at a
//! fragment, or where there is nothing to be had. Each layer's own file knows its format.

use super::bytes::Bytes;
use super::fragment::Piece;
use super::{Addresses, Packet, Transport, link, network, transport, tunnel};
use crate::limits;
use crate::source::Frame;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Ethernet,
    /// What an EtherType stands for.
    EtherType(u16),
    /// An IEEE 802.2 header.
    Llc,
    /// A Linux cooked header, version 1.
    Cooked1,
    /// A Linux cooked header, version 2.
    Cooked2,
    /// The address family of BSD's loopback and of OpenBSD's.
    Loopback,
    /// PPP, with or without HDLC's address and control.
    Ppp,
    Pppoe,
    /// An entry of a label stack.
    Mpls,
    /// A packet logged by netfilter.
    Nflog,
    /// A packet queued by netfilter.
    Nfqueue,
    /// A message between the kernel and netfilter's programs.
    Netlink,
    /// IP of the version that its first four bits name.
    Ip,
    Ipv4,
    Ipv6,
    /// What an IP protocol number stands for.
    Protocol(u8),
    Gre,
    Vxlan,
    Geneve,
    L2tp,
}

/// Where one header leads.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Next(Layer),
    /// The walk's packet is complete.
    Packet,
    Fragment(Piece<'a>),
}

/// Why there is no packet; the words are those of [`super::Decoded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Other,
    Truncated,
    Malformed,
}

/// Where the whole walk led.
#[derive(Debug)]
pub(super) enum Stop<'a> {
    /// To the walk's packet.
    Packet,
    Fragment(Piece<'a>),
    End(End),
}

/// What is known from the headers walked so far.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    /// Each header fills its part in, at its place: copies cost more than the headers do.
    pub(super) packet: Packet<'a>,
    /// The UDP datagram that looks like a tunnel, until what is inside bears it out.
    pub(super) outer: Option<Packet<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(frame: &Frame<'_>) -> Self {
        let packet = Packet {
            time: frame.time,
            frame: frame.number,
            interface: frame.interface,
            addresses: Addresses::V4 {
                source: 0,
                destination: 0,
            },
            source_port: 0,
            destination_port: 0,
            transport: Transport::Udp,
            flags: 0,
            ip_id: None,
            seq: 0,
            ack: 0,
            window: 0,
            payload: &[],
            payload_len: 0,
        };
        Self {
            packet,
            outer: None,
        }
    }

    /// An IP header was found: what follows is of these addresses, and a tunnel that led here
    /// was one.
    pub(super) fn enter(&mut self, addresses: Addresses, ip_id: Option<u16>) {
        self.packet.addresses = addresses;
        self.packet.ip_id = ip_id;
        self.outer = None;
    }

    /// Takes headers off until there is a result; the bound makes it end.
    pub(super) fn run(&mut self, mut layer: Layer, mut bytes: Bytes<'a>) -> Stop<'a> {
        for _ in 0..limits::HEADERS {
            match self.step(layer, &mut bytes) {
                Ok(Step::Next(next)) => layer = next,
                Ok(Step::Packet) => return Stop::Packet,
                Ok(Step::Fragment(piece)) => return Stop::Fragment(piece),
                Err(end) => return self.give_up(end),
            }
        }
        self.give_up(End::Other)
    }

    fn step(&mut self, layer: Layer, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
        match layer {
            Layer::Ethernet => link::ethernet(bytes).map(Step::Next),
            Layer::EtherType(number) => link::ether_type(number, bytes).map(Step::Next),
            Layer::Llc => link::llc(bytes).map(Step::Next),
            Layer::Cooked1 => link::cooked1(bytes).map(Step::Next),
            Layer::Cooked2 => link::cooked2(self, bytes).map(Step::Next),
            Layer::Loopback => link::loopback(bytes).map(Step::Next),
            Layer::Ppp => link::ppp(bytes).map(Step::Next),
            Layer::Pppoe => link::pppoe(bytes).map(Step::Next),
            Layer::Mpls => link::mpls(bytes).map(Step::Next),
            Layer::Nflog => link::nflog(bytes).map(Step::Next),
            Layer::Nfqueue => link::nfqueue(bytes).map(Step::Next),
            Layer::Netlink => link::netlink(bytes).map(Step::Next),
            Layer::Ip => network::ip(bytes).map(Step::Next),
            Layer::Ipv4 => network::ipv4(self, bytes),
            Layer::Ipv6 => network::ipv6(self, bytes).map(Step::Next),
            Layer::Protocol(number) => self.protocol(number, bytes),
            Layer::Gre => tunnel::gre(bytes).map(Step::Next),
            Layer::Vxlan => tunnel::vxlan(bytes).map(Step::Next),
            Layer::Geneve => tunnel::geneve(bytes).map(Step::Next),
            Layer::L2tp => tunnel::l2tp(bytes).map(Step::Next),
        }
    }

    /// IANA's protocol numbers; the extension headers among them are IPv6's own.
    fn protocol(&mut self, number: u8, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
        match number {
            4 => Ok(Step::Next(Layer::Ipv4)),
            6 => transport::tcp(self, bytes),
            17 => transport::udp(self, bytes),
            41 => Ok(Step::Next(Layer::Ipv6)),
            47 => Ok(Step::Next(Layer::Gre)),
            51 => network::authentication(bytes).map(Step::Next),
            137 => Ok(Step::Next(Layer::Mpls)),
            _ => match self.packet.addresses {
                Addresses::V4 { .. } => Err(End::Other),
                Addresses::V6 { .. } => network::extension(self, number, bytes),
            },
        }
    }

    /// No packet inside: the datagram around it, if it only looked like a tunnel.
    #[cold]
    fn give_up(&mut self, end: End) -> Stop<'a> {
        match self.outer.take() {
            Some(packet) => {
                self.packet = packet;
                Stop::Packet
            }
            None => Stop::End(end),
        }
    }
}
