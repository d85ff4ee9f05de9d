//! All that can leave the middle of the program: the one input of every sink.

use crate::exchange::{Exchange, OneWay, Unanswered};
use crate::flow::connection::Connection;
use crate::flow::{Direction, Endpoints};
use crate::source::{Frame, Timestamp};
use crate::wire::{Kept, Packet};

/// Something that happened, told to every sink in an order that does not depend on threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A packet of a monitored conversation; told only where a sink asks for packets.
    Packet(&'a PacketEvent<'a>),
    /// A request and its response.
    Exchange(&'a Exchange<'a>),
    /// A message that nobody answers: a push, a subscription, a quiet command.
    OneWay(&'a OneWay),
    /// A request whose response never came.
    Unanswered(&'a Unanswered<'a>),
    /// A TCP connection was opened, established, closed or reset.
    Connection(&'a Connection),
    /// Bytes that are not of the conversation's protocol.
    Malformed(&'a Malformed),
    /// Bytes that were never seen.
    Gap(&'a Gap),
    /// Capture time passed a whole second.
    Tick(Timestamp),
    /// Output files were moved away: what is printed from now on goes to new ones.
    Reopen,
    /// Scripts are to be loaded again.
    Reload,
}

/// A packet, the frame that it came in, and which way it went.
#[derive(Debug)]
pub struct PacketEvent<'a> {
    /// The frame as captured.
    pub frame: Frame<'a>,
    /// The frames before it that hold earlier fragments of the packet, as they came.
    pub fragments: &'a [Kept],
    /// What was decoded from it.
    pub packet: Packet<'a>,
    /// Towards the server or the client.
    pub direction: Direction,
    /// Another interface has shown it already.
    pub copy: bool,
    /// Its conversation is told packet by packet, and not read.
    pub raw: bool,
}

impl PacketEvent<'_> {
    /// Client and server of its conversation.
    pub fn endpoints(&self) -> Endpoints {
        let (source, destination) = (self.packet.source(), self.packet.destination());
        let (client, server) = match self.direction {
            Direction::ToServer => (source, destination),
            Direction::ToClient => (destination, source),
        };
        Endpoints { client, server }
    }
}

/// Bytes that are not of the conversation's protocol.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// Whose conversation.
    pub endpoints: Endpoints,
    /// Which way.
    pub direction: Direction,
    /// When they were seen.
    pub time: Timestamp,
    /// The frame that showed it.
    pub frame: u64,
    /// Name of the protocol whose grammar was broken.
    pub protocol: &'static str,
    /// What the grammar asked for.
    pub reason: &'static str,
}

/// Bytes that were never seen: lost by the capture, or cut by a snap length.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Whose conversation.
    pub endpoints: Endpoints,
    /// Which way.
    pub direction: Direction,
    /// When the loss was found out.
    pub time: Timestamp,
    /// How many bytes.
    pub bytes: u64,
}
