//! Whose conversation a packet belongs to, and its bytes in order.
//!
//! Reads decoded packets, makes [`FlowKey`]s, a bounded [`table`] of conversations, and for each
//! TCP direction a [`stream`] that yields bytes in order and tells gaps.

pub mod stream;
pub mod table;

use std::fmt;
use std::net::SocketAddr;

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
