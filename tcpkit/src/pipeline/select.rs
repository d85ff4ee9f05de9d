//! Which packets are monitored, as which protocol, and who is the server.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::protocol::{self, Protocol};
use crate::wire::{Packet, Transport, flag};

/// What the conversations of a port are taken for.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Told by the well-known port, then by the first bytes.
    Auto,
    /// Not looked into: packets only.
    Raw,
    /// This protocol, whatever the bytes are.
    Forced(&'static dyn Protocol),
    /// This protocol where the first bytes say so.
    Speaking(&'static dyn Protocol),
}

impl Kind {
    /// Whether it is the same as the other one.
    pub fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Auto, Self::Auto) | (Self::Raw, Self::Raw) => true,
            (Self::Forced(one), Self::Forced(other))
            | (Self::Speaking(one), Self::Speaking(other)) => one.name() == other.name(),
            _ => false,
        }
    }
}

/// Which end of a packet is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The sender.
    Source,
    /// The receiver.
    Destination,
}

/// What the options select.
#[derive(Debug)]
pub struct Selector {
    /// By port: 0 is not monitored, else a place in `kinds` plus one. None: every port.
    ports: Option<Box<[u8; 1 << 16]>>,
    kinds: Vec<Kind>,
    default: Kind,
    servers: Vec<IpNet>,
    tcp: bool,
    udp: bool,
}

/// A monitored packet's conversation.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// What it is taken for.
    pub kind: Kind,
    /// Who serves.
    pub server: Server,
    /// Whether a port or address that was asked for says so; else the first bytes may overrule it.
    pub certain: bool,
}

impl Selector {
    /// Selects every port, as `default`.
    pub fn new(default: Kind, servers: Vec<IpNet>) -> Self {
        Self {
            ports: None,
            kinds: Vec::new(),
            default,
            servers,
            tcp: true,
            udp: true,
        }
    }

    /// Restricts the transports that are looked at.
    pub fn transports(&mut self, tcp: bool, udp: bool) {
        (self.tcp, self.udp) = (tcp, udp);
    }

    /// Adds ports to monitor; the first call ends the monitoring of all.
    pub fn add_ports(&mut self, ports: std::ops::RangeInclusive<u16>, kind: Kind) {
        self.kinds.push(kind);
        let place = u8::try_from(self.kinds.len()).unwrap_or(u8::MAX);
        let map = self.ports.get_or_insert_with(|| Box::new([0; 1 << 16]));
        for port in ports {
            map[usize::from(port)] = place;
        }
    }

    /// Whether only some ports are monitored.
    pub fn is_restricted(&self) -> bool {
        self.ports.is_some()
    }

    /// Whether a packet can be of interest at all: the cheap test for every frame.
    #[inline]
    pub fn admits(&self, transport: Transport, between: [u16; 2]) -> bool {
        (match transport {
            Transport::Tcp => self.tcp,
            Transport::Udp => self.udp,
        }) && self.ports.as_ref().is_none_or(|ports| {
            let [source, destination] = between.map(|port| ports[usize::from(port)]);
            source | destination != 0
        })
    }

    fn kind_of(&self, port: u16) -> Option<Kind> {
        let ports = self.ports.as_ref()?;
        let place = ports[usize::from(port)].checked_sub(1)?;
        self.kinds.get(usize::from(place)).copied()
    }

    fn serves(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|net| net.contains(&address))
    }

    /// How the conversation that begins with this packet is followed, if it is.
    pub fn select(&self, packet: &Packet<'_>) -> Option<Selected> {
        let (from, to) = (packet.source(), packet.destination());
        let syn = match packet.flags & (flag::SYN | flag::ACK) {
            flag::SYN => Some(Server::Destination),
            x if x == flag::SYN | flag::ACK => Some(Server::Source),
            _ => None,
        };
        let by_address = if self.servers.is_empty() {
            None
        } else {
            match (self.serves(from.ip()), self.serves(to.ip())) {
                (false, false) => return None,
                (true, false) => Some(Server::Source),
                (false, true) => Some(Server::Destination),
                (true, true) => None,
            }
        };
        let of = |server: Server| match server {
            Server::Source => from.port(),
            Server::Destination => to.port(),
        };
        if self.ports.is_some() {
            let by_port = match (self.kind_of(from.port()), self.kind_of(to.port())) {
                (None, None) => return None,
                (Some(_), None) => Some(Server::Source),
                (None, Some(_)) => Some(Server::Destination),
                (Some(_), Some(_)) => None,
            };
            if let (Some(port), Some(address)) = (by_port, by_address)
                && port != address
            {
                return None;
            }
            let known = by_port.or(by_address).or(syn);
            let server = known.unwrap_or_else(|| lower(packet));
            let kind = self.kind_of(of(server))?;
            return Some(Selected {
                kind,
                server,
                certain: known.is_some(),
            });
        }
        let known = by_address.or(syn);
        let server = known.unwrap_or_else(|| self.guess(packet));
        let kind = match self.default {
            Kind::Speaking(protocol)
                if protocol.transports().contains(&packet.transport)
                    && protocol.ports().contains(&of(server)) =>
            {
                Kind::Forced(protocol)
            }
            kind => kind,
        };
        Some(Selected {
            kind,
            server,
            certain: known.is_some(),
        })
    }

    /// Without a better sign the well-known port is the server's, then the lower one.
    fn guess(&self, packet: &Packet<'_>) -> Server {
        let known = |port| protocol::by_port(packet.transport, port).is_some();
        match (known(packet.source_port), known(packet.destination_port)) {
            (true, false) => Server::Source,
            (false, true) => Server::Destination,
            _ => lower(packet),
        }
    }
}

fn lower(packet: &Packet<'_>) -> Server {
    if packet.source_port < packet.destination_port {
        Server::Source
    } else {
        Server::Destination
    }
}
