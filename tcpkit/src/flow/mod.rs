//! Whose conversation a packet belongs to, and its bytes in order.
//!
//! Reads decoded packets, makes [`FlowKey`]s, a bounded [`table`] of conversations, and for each
//! TCP direction a [`stream`] that yields bytes in order and tells gaps; [`connection`] tells how
//! connections begin and end.

pub mod connection;
pub mod stream;
pub mod table;

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

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

/// A conversation's identity: both endpoints in an order that does not depend on who sent.
///
/// IPv4 is kept compact, since a comparison of it stands in the path of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKey {
    /// Two IPv4 endpoints.
    V4 {
        /// Lower and higher address.
        addresses: [u32; 2],
        /// Their ports, in the same order.
        ports: [u16; 2],
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
    #[inline]
    pub fn of(packet: &Packet<'_>) -> (Self, Side) {
        let transport = packet.transport;
        let (source_port, destination_port) = (packet.source_port, packet.destination_port);
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                if (source, source_port) <= (destination, destination_port) {
                    let ports = [source_port, destination_port];
                    (
                        Self::V4 {
                            addresses: [source, destination],
                            ports,
                            transport,
                        },
                        Side::A,
                    )
                } else {
                    let ports = [destination_port, source_port];
                    (
                        Self::V4 {
                            addresses: [destination, source],
                            ports,
                            transport,
                        },
                        Side::B,
                    )
                }
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                let (from, to) = (halves(source), halves(destination));
                if (source, source_port) <= (destination, destination_port) {
                    let ports = [source_port, destination_port];
                    (
                        Self::V6 {
                            addresses: [from, to],
                            ports,
                            transport,
                        },
                        Side::A,
                    )
                } else {
                    let ports = [destination_port, source_port];
                    (
                        Self::V6 {
                            addresses: [to, from],
                            ports,
                            transport,
                        },
                        Side::B,
                    )
                }
            }
        }
    }

    /// TCP or UDP.
    pub fn transport(&self) -> Transport {
        match *self {
            Self::V4 { transport, .. } | Self::V6 { transport, .. } => transport,
        }
    }

    /// Address and port of one side.
    pub fn endpoint(&self, side: Side) -> SocketAddr {
        let i = side as usize;
        match *self {
            Self::V4 {
                addresses, ports, ..
            } => SocketAddr::new(IpAddr::V4(addresses[i].into()), ports[i]),
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
    #[inline(always)]
    pub fn endpoints(&self, server: Side) -> Endpoints {
        if let Self::V4 {
            addresses, ports, ..
        } = self
        {
            let end = |i: usize| SocketAddr::V4(SocketAddrV4::new(addresses[i].into(), ports[i]));
            return match server {
                Side::A => Endpoints {
                    client: end(1),
                    server: end(0),
                },
                Side::B => Endpoints {
                    client: end(0),
                    server: end(1),
                },
            };
        }
        Endpoints {
            client: self.endpoint(server.other()),
            server: self.endpoint(server),
        }
    }

    /// The shard that the conversation belongs to: the same in every run and at any number of
    /// threads. All bits take part, since client ports are often all even.
    #[inline]
    pub fn shard(&self) -> usize {
        (fold(self.words(), 0x9e37_79b9_7f4a_7c15) >> 32) as usize % crate::limits::SHARDS
    }

    /// The key in two numbers, for hashing: an IPv4 key loses nothing, an IPv6 key is mixed.
    #[inline]
    fn words(&self) -> [u64; 2] {
        match *self {
            Self::V4 {
                addresses: [a, b],
                ports: [p, q],
                transport,
            } => [
                u64::from(a) << 32 | u64::from(b),
                u64::from(p) << 32 | u64::from(q) << 8 | transport as u64,
            ],
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

fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

/// A multiply-and-fold mix of two words.
#[inline]
fn fold([a, b]: [u64; 2], seed: u64) -> u64 {
    let product = u128::from(a ^ seed) * u128::from(b ^ 0xa076_1d64_78bd_642f);
    (product as u64) ^ (product >> 64) as u64
}
