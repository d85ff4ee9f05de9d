//! Whose conversation a packet belongs to, and its bytes in order.
//!
//! Reads decoded packets, makes [`FlowKey`]s, a bounded [`table`] of conversations, and for each
//! TCP direction a [`stream`] that yields bytes in order and tells gaps; [`connection`] tells how
//! connections begin and end.

pub mod connection;
pub mod stream;
pub mod table;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::wire::{Addresses, Packet, Transport};

/// Which way a packet, a byte or a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// The other way.
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// What goes this way, as scripts and programs are told: `request` or `response`.
    pub fn carries(self) -> &'static str {
        match self {
            Self::ToServer => "request",
            Self::ToClient => "response",
        }
    }

    /// 0 towards the server, 1 towards the client: for arrays of two.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Client and server of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Who asks.
    pub client: SocketAddr,
    /// Who answers.
    pub server: SocketAddr,
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.client, self.server)
    }
}

/// Client and server of a conversation, spelled out only where somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The conversation.
    pub key: &'a FlowKey,
    /// Which of its endpoints serves.
    pub server: Side,
}

impl Parties<'_> {
    /// Spelled out.
    pub fn endpoints(self) -> Endpoints {
        self.key.endpoints(self.server)
    }
}

/// A conversation's identity: both endpoints in an order that does not depend on who sent.
///
/// IPv4 is kept compact, since a comparison of it stands in the path of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKey {
    /// Two IPv4 endpoints.
    V4 {
        /// Lower and higher endpoint: the address, then 16 bits of port.
        ends: [u64; 2],
        /// TCP or UDP.
        transport: Transport,
    },
    /// Two IPv6 endpoints.
    V6 {
        /// Lower and higher address, each as its high and low half.
        addresses: [[u64; 2]; 2],
        /// Their ports, in the same order.
        ports: [u16; 2],
        /// TCP or UDP.
        transport: Transport,
    },
}

/// Which of a key's two endpoints is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The lower one.
    A,
    /// The higher one.
    B,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl FlowKey {
    /// The key of a packet's conversation, and which side sent it.
    #[inline(always)]
    pub fn of(packet: &Packet<'_>) -> (Self, Side) {
        let ports = [packet.source_port, packet.destination_port];
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => Self::of_four([source, destination], ports, packet.transport),
            Addresses::V6 {
                source,
                destination,
            } => Self::of_six([source, destination], ports, packet.transport),
        }
    }

    #[inline(always)]
    fn of_four(addresses: [u32; 2], ports: [u16; 2], transport: Transport) -> (Self, Side) {
        let end = |i: usize| u64::from(addresses[i]) << 16 | u64::from(ports[i]);
        Self::of_ends([end(0), end(1)], transport)
    }

    /// As [`FlowKey::of`] of IPv4: the sender's and the receiver's address, then 16 bits of port.
    #[inline(always)]
    pub fn of_ends([from, to]: [u64; 2], transport: Transport) -> (Self, Side) {
        let side = if from <= to { Side::A } else { Side::B };
        let ends = [from.min(to), from.max(to)];
        (Self::V4 { ends, transport }, side)
    }

    fn of_six([from, to]: [u128; 2], ports: [u16; 2], transport: Transport) -> (Self, Side) {
        let [source_port, destination_port] = ports;
        if (from, source_port) <= (to, destination_port) {
            let addresses = [halves(from), halves(to)];
            let key = Self::V6 {
                addresses,
                ports,
                transport,
            };
            return (key, Side::A);
        }
        let key = Self::V6 {
            addresses: [halves(to), halves(from)],
            ports: [destination_port, source_port],
            transport,
        };
        (key, Side::B)
    }

    /// TCP or UDP.
    #[inline]
    pub fn transport(&self) -> Transport {
        match *self {
            Self::V4 { transport, .. } | Self::V6 { transport, .. } => transport,
        }
    }

    /// Address and port of one side.
    pub fn endpoint(&self, side: Side) -> SocketAddr {
        let i = side as usize;
        match *self {
            Self::V4 { ends, .. } => {
                let address = Ipv4Addr::from((ends[i] >> 16) as u32);
                SocketAddr::V4(SocketAddrV4::new(address, ends[i] as u16))
            }
            Self::V6 {
                addresses, ports, ..
            } => {
                let [high, low] = addresses[i];
                let address = u128::from(high) << 64 | u128::from(low);
                SocketAddr::new(IpAddr::V6(address.into()), ports[i])
            }
        }
    }

    /// Client and server, where `server` says which side that is.
    pub fn endpoints(&self, server: Side) -> Endpoints {
        Endpoints {
            client: self.endpoint(server.other()),
            server: self.endpoint(server),
        }
    }

    /// A number that spreads conversations evenly: the same in every run. All bits of the key take
    /// part, since client ports are often all even.
    #[inline]
    pub fn spread(&self) -> Spread {
        Spread((fold(self.words(), 0x9e37_79b9_7f4a_7c15) >> 32) as u32)
    }

    /// The key in two numbers, for hashing: an IPv4 key loses nothing, an IPv6 key is mixed.
    #[inline]
    pub fn words(&self) -> [u64; 2] {
        match *self {
            Self::V4 {
                ends: [a, b],
                transport,
            } => [a, b | (transport as u64) << 48],
            Self::V6 {
                addresses: [a, b],
                ports: [p, q],
                transport,
            } => [
                fold(a, 0x2545_f491_4f6c_dd1d) ^ fold(b, 0xd6e8_feb8_6659_fd93).rotate_left(17),
                u64::from(p) << 32 | u64::from(q) << 8 | transport as u64,
            ],
        }
    }
}

/// What [`FlowKey::spread`] made of a key.
#[derive(Clone, Copy, Debug)]
pub struct Spread(u32);

impl Spread {
    /// The shard that the conversation belongs to, at any number of threads.
    #[inline]
    pub fn shard(self) -> usize {
        self.0 as usize % crate::limits::SHARDS
    }

    /// One of so many places within the shard.
    #[inline]
    fn place<const N: usize>(self) -> usize {
        self.0 as usize / crate::limits::SHARDS % N
    }
}

fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

/// A multiply-and-fold mix of two words.
#[inline]
fn fold([a, b]: [u64; 2], seed: u64) -> u64 {
    let product = u128::from(a ^ seed) * u128::from(b ^ 0xa076_1d64_78bd_642f);
    (product as u64) ^ (product >> 64) as u64
}
