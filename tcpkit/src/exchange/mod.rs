//! Pairs every request with its own response.
//!
//! Reads [`Message`](crate::protocol::Message)s of both directions in an order in which they can have happened, makes
//! [`Exchange`]s with the times of both and a [`Confidence`].

pub mod pairing;
mod queue;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::flow::Endpoints;
use crate::protocol::{Mark, Protocol};
use crate::source::Timestamp;

/// How sure a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Every message before it on its connection is known, or the protocol's own identifier
    /// pairs it; never wrong.
    Exact,
    /// Found again after a gap or a start in mid-conversation, with one candidate left.
    Resynced,
    /// Several candidates: no latency is stated.
    Ambiguous,
}

impl Confidence {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Resynced => "resynced",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// A message's size and the times of its ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When its first byte was seen.
    pub first: Mark,
    /// When its last byte was seen.
    pub last: Mark,
    /// Its length in bytes on the wire, framing included.
    pub size: u64,
}

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Who asked whom.
    pub endpoints: &'a Endpoints,
    /// In which protocol.
    pub protocol: &'static dyn Protocol,
    /// Index into [`Protocol::commands`].
    pub command: u16,
    /// The first bytes of the request, for [`Protocol::render`]; empty where no sink wants text.
    pub text: &'a [u8],
    /// Length of the request's whole text.
    pub text_len: u32,
    /// The request.
    pub request: Span,
    /// The response; `None` where it is [`Confidence::Ambiguous`].
    pub response: Option<Span>,
    /// Time from the request's last byte to the response's first byte, in nanoseconds;
    /// `None` where it is [`Confidence::Ambiguous`].
    pub latency: Option<u64>,
    /// The part of `latency` that was spent behind earlier pipelined requests, in nanoseconds.
    pub wait: u64,
    /// The response's status code, for [`Protocol::status`].
    pub status: u16,
    /// The response's status text; empty where there is none or no sink wants text.
    pub status_text: &'a [u8],
    /// Keys found by a read command.
    pub hits: u32,
    /// Keys asked for and not found.
    pub misses: u32,
    /// The response reports an error.
    pub error: bool,
    /// The request waits by design; kept out of latency counts unless asked.
    pub blocking: bool,
    /// The response began before the request had ended; the latency is 0.
    pub early: bool,
    /// The end of the request or of the response was not seen; its `last` is the last that was.
    pub cut: bool,
    /// How sure the pair is.
    pub confidence: Confidence,
}

/// Stands where endpoints are kept apart.
static NOBODY: Endpoints = {
    const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    Endpoints {
        client: NOWHERE,
        server: NOWHERE,
    }
};

impl Exchange<'_> {
    /// The same without what it borrows, for who keeps its endpoints and texts apart: it is nobody's, and has none.
    pub fn detached(&self) -> Exchange<'static> {
        Exchange {
            endpoints: &NOBODY,
            protocol: self.protocol,
            command: self.command,
            text: &[],
            text_len: self.text_len,
            request: self.request,
            response: self.response,
            latency: self.latency,
            wait: self.wait,
            status: self.status,
            status_text: &[],
            hits: self.hits,
            misses: self.misses,
            error: self.error,
            blocking: self.blocking,
            early: self.early,
            cut: self.cut,
            confidence: self.confidence,
        }
    }
}

/// A message that nobody answers.
#[derive(Clone, Debug)]
pub struct OneWay {
    /// Between whom.
    pub endpoints: Endpoints,
    /// Which way.
    pub direction: crate::flow::Direction,
    /// In which protocol.
    pub protocol: &'static dyn Protocol,
    /// Index into [`Protocol::commands`].
    pub command: u16,
    /// The message.
    pub span: Span,
}

/// Why a request counts as unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Its connection closed.
    Closed,
    /// It waited for longer than `--timeout`.
    Timeout,
    /// The capture ended.
    End,
}

impl Silence {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::End => "end",
        }
    }
}

/// A request whose response never came.
#[derive(Clone, Debug)]
pub struct Unanswered<'a> {
    /// Who asked whom.
    pub endpoints: Endpoints,
    /// In which protocol.
    pub protocol: &'static dyn Protocol,
    /// Index into [`Protocol::commands`].
    pub command: u16,
    /// The first bytes of the request, for [`Protocol::render`].
    pub text: &'a [u8],
    /// Length of the request's whole text.
    pub text_len: u32,
    /// The request.
    pub request: Span,
    /// When it was given up.
    pub time: Timestamp,
    /// The request waits by design.
    pub blocking: bool,
    /// Why.
    pub why: Silence,
}

impl Unanswered<'_> {
    /// The same without what it borrows, for who keeps its text apart.
    pub fn detached(&self) -> Unanswered<'static> {
        Unanswered {
            endpoints: self.endpoints,
            protocol: self.protocol,
            command: self.command,
            text: &[],
            text_len: self.text_len,
            request: self.request,
            time: self.time,
            blocking: self.blocking,
            why: self.why,
        }
    }
}

/// One protocol at one server port: where a [`Report`] counts a conversation, in its own numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Place of the port.
    pub port: u16,
    /// Place of the protocol at that port.
    pub protocol: u16,
}

/// What is counted of an exchange that has a latency: little enough to be told of every one.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// As [`Exchange::latency`].
    pub latency: u64,
    /// Length of the request in bytes.
    pub request_bytes: u64,
    /// Length of the response in bytes.
    pub response_bytes: u64,
    /// As [`Exchange::hits`].
    pub hits: u32,
    /// As [`Exchange::misses`].
    pub misses: u32,
    /// As [`Exchange::command`].
    pub command: u16,
    /// As [`Exchange::error`].
    pub error: bool,
    /// As [`Exchange::blocking`].
    pub blocking: bool,
    /// Not [`Confidence::Exact`].
    pub resynced: bool,
}

impl Tally {
    /// Of an exchange that has a latency.
    pub fn of(exchange: &Exchange<'_>) -> Option<Self> {
        Some(Self {
            latency: exchange.latency?,
            request_bytes: exchange.request.size,
            response_bytes: exchange.response.map_or(0, |response| response.size),
            hits: exchange.hits,
            misses: exchange.misses,
            command: exchange.command,
            error: exchange.error,
            blocking: exchange.blocking,
            resynced: exchange.confidence != Confidence::Exact,
        })
    }
}

/// Takes what pairing finds.
pub trait Report {
    /// A request found its response. Where [`Report::wants_exchanges`], the exchange follows.
    fn answered(&mut self, service: Service, tally: &Tally);
    /// A request's response could not be told from others. Where [`Report::wants_exchanges`], the
    /// exchange follows.
    fn ambiguous(&mut self, service: Service);
    /// Whether whole exchanges are wanted.
    fn wants_exchanges(&self) -> bool;
    /// A request and its response, already counted.
    fn exchange(&mut self, service: Service, exchange: &Exchange<'_>);
    /// A request whose response never came.
    fn unanswered(&mut self, service: Service, unanswered: &Unanswered<'_>);
    /// A message that nobody answers.
    fn one_way(&mut self, service: Service, message: &OneWay);
    /// A response whose request is not known.
    fn orphan(&mut self, service: Service);
    /// A response that came after its request was reported unanswered.
    fn late(&mut self, service: Service);
    /// A request that no longer counts, since too many were waiting.
    fn overflow(&mut self, service: Service);
    /// What comes depends on what is not known of a conversation that was resumed.
    fn hinges(&mut self) {}
}
