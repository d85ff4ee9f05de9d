//! The objects themselves: which fields, in which order, made of what.

use std::net::{IpAddr, SocketAddr};

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::VERSION;
use crate::event::PacketEvent;
use crate::exchange::{Exchange, Span, Unanswered};
use crate::limits::TEXT_BYTES;
use crate::protocol::{Protocol, StatusName, escape};
use crate::sink::stats::summary::PortSummary;
use crate::sink::text::clock::Clock;
use crate::sink::text::raw::push_payload;
use crate::source::Timestamp;
use crate::source::live::Drift;
use crate::wire::Transport;

/// Where the strings of one object are made; reused from object to object.
#[derive(Debug)]
pub(super) struct Scratch {
    clock: Clock,
    time: Vec<u8>,
    text: Vec<u8>,
    status: Vec<u8>,
    host: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let clock = Clock::new(TimeZone::UTC, b'T');
        Self {
            clock,
            time: Vec::new(),
            text: Vec::new(),
            status: Vec::new(),
            host: Vec::new(),
        }
    }

    pub(super) fn exchange(
        &mut self,
        exchange: &Exchange<'_>,
        stamp: Timestamp,
    ) -> ExchangeObject<'_> {
        let written = self.fill(exchange.protocol, exchange.text, stamp);
        self.host.clear();
        let host = exchange.protocol.host(exchange.text).map(|host| {
            host.iter().for_each(|&byte| escape(byte, &mut self.host));
        });
        self.status.clear();
        exchange
            .status_text
            .iter()
            .for_each(|&byte| escape(byte, &mut self.status));
        let response = exchange.response;
        ExchangeObject {
            v: VERSION,
            kind: "exchange",
            time: Ascii(&self.time),
            client: exchange.endpoints.client.into(),
            server: exchange.endpoints.server.into(),
            protocol: exchange.protocol.name(),
            command: exchange.protocol.label(exchange.command),
            text: Ascii(&self.text),
            host: host.map(|()| Ascii(&self.host)),
            text_len: exchange.text_len,
            text_cut: exchange.text_len.saturating_sub(written),
            latency_ns: exchange.latency,
            wait_ns: exchange.wait,
            request_first_ns: self.ns(exchange.request.first.time),
            request_last_ns: self.ns(exchange.request.last.time),
            response_first_ns: response.map(|span| self.ns(span.first.time)),
            response_last_ns: response.map(|span| self.ns(span.last.time)),
            request_bytes: exchange.request.size,
            response_bytes: response.map(|span| span.size),
            status: response.map(|_| Status(exchange.protocol.status(exchange.status))),
            status_text: Ascii(&self.status),
            error: exchange.error,
            blocking: exchange.blocking,
            early: exchange.early,
            cut: exchange.cut,
            hits: exchange.hits,
            misses: exchange.misses,
            confidence: exchange.confidence.name(),
            frames: Frames::new(exchange.request, response),
        }
    }

    pub(super) fn unanswered(&mut self, unanswered: &Unanswered<'_>) -> UnansweredObject<'_> {
        let written = self.fill(unanswered.protocol, unanswered.text, unanswered.time);
        let request = unanswered.request;
        UnansweredObject {
            v: VERSION,
            kind: "unanswered",
            time: Ascii(&self.time),
            client: unanswered.endpoints.client.into(),
            server: unanswered.endpoints.server.into(),
            protocol: unanswered.protocol.name(),
            command: unanswered.protocol.label(unanswered.command),
            text: Ascii(&self.text),
            text_len: unanswered.text_len,
            text_cut: unanswered.text_len.saturating_sub(written),
            why: unanswered.why.name(),
            waited_ns: unanswered.time.since(request.last.time),
            request_first_ns: self.ns(request.first.time),
            request_last_ns: self.ns(request.last.time),
            request_bytes: request.size,
            blocking: unanswered.blocking,
            frames: RequestFrames::new(request),
        }
    }

    /// A packet; of its payload the first [`TEXT_BYTES`].
    pub(super) fn packet(&mut self, event: &PacketEvent<'_>) -> PacketObject<'_> {
        let packet = &event.packet;
        self.stamp(packet.time);
        self.text.clear();
        let cut = push_payload(&mut self.text, packet);
        let endpoints = event.endpoints();
        let is_tcp = packet.transport == Transport::Tcp;
        PacketObject {
            v: VERSION,
            kind: "packet",
            time: Ascii(&self.time),
            client: endpoints.client.into(),
            server: endpoints.server.into(),
            transport: if is_tcp { "tcp" } else { "udp" },
            direction: event.direction.carries(),
            seq: is_tcp.then_some(packet.seq),
            ack: is_tcp.then_some(packet.ack),
            flags: is_tcp.then_some(packet.flags),
            text: Ascii(&self.text),
            text_len: packet.payload_len,
            text_cut: cut,
            time_ns: self.ns(packet.time),
            frame: packet.frame,
        }
    }

    pub(super) fn interval<'a>(
        &'a mut self,
        stamp: Timestamp,
        ports: &'a [PortSummary],
    ) -> IntervalObject<'a> {
        self.stamp(stamp);
        IntervalObject {
            v: VERSION,
            kind: "interval",
            time: Ascii(&self.time),
            ports,
        }
    }

    /// Times are printed as the wall clock's.
    pub(super) fn set_drift(&mut self, drift: Drift) {
        self.clock.set_drift(drift);
    }

    fn ns(&self, time: Timestamp) -> u64 {
        self.clock.wall(time).0
    }

    fn stamp(&mut self, stamp: Timestamp) {
        self.time.clear();
        self.clock.push_nanos(stamp, &mut self.time);
        self.time.push(b'Z');
    }

    /// Writes time and text; returns how many bytes of the request's text were written.
    fn fill(&mut self, protocol: &dyn Protocol, kept: &[u8], stamp: Timestamp) -> u32 {
        self.stamp(stamp);
        self.text.clear();
        u32::try_from(protocol.render(kept, TEXT_BYTES, &mut self.text)).unwrap_or(u32::MAX)
    }
}

/// The counts of one interval.
#[derive(Serialize)]
pub(super) struct IntervalObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    ports: &'a [PortSummary],
}

/// A request and its response, in the order of `docs/json-lines.md`.
#[derive(Serialize)]
pub(super) struct ExchangeObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    client: Endpoint,
    server: Endpoint,
    protocol: &'static str,
    command: &'static str,
    text: Ascii<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Ascii<'a>>,
    text_len: u32,
    text_cut: u32,
    latency_ns: Option<u64>,
    wait_ns: u64,
    request_first_ns: u64,
    request_last_ns: u64,
    response_first_ns: Option<u64>,
    response_last_ns: Option<u64>,
    request_bytes: u64,
    response_bytes: Option<u64>,
    status: Option<Status>,
    status_text: Ascii<'a>,
    error: bool,
    blocking: bool,
    early: bool,
    cut: bool,
    hits: u32,
    misses: u32,
    confidence: &'static str,
    frames: Frames,
}

/// A request whose response never came.
#[derive(Serialize)]
pub(super) struct UnansweredObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    client: Endpoint,
    server: Endpoint,
    protocol: &'static str,
    command: &'static str,
    text: Ascii<'a>,
    text_len: u32,
    text_cut: u32,
    why: &'static str,
    waited_ns: u64,
    request_first_ns: u64,
    request_last_ns: u64,
    request_bytes: u64,
    blocking: bool,
    frames: RequestFrames,
}

/// A packet with a payload, in the order of `docs/json-lines.md`.
#[derive(Serialize)]
pub(super) struct PacketObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    client: Endpoint,
    server: Endpoint,
    transport: &'static str,
    direction: &'static str,
    seq: Option<u32>,
    ack: Option<u32>,
    flags: Option<u8>,
    text: Ascii<'a>,
    text_len: u32,
    text_cut: u32,
    time_ns: u64,
    frame: u64,
}

#[derive(Serialize)]
struct Endpoint {
    ip: IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }
}

/// Numbers of the frames that the four times are from.
#[derive(Serialize)]
struct Frames {
    request_first: u64,
    request_last: u64,
    response_first: Option<u64>,
    response_last: Option<u64>,
}

impl Frames {
    fn new(request: Span, response: Option<Span>) -> Self {
        Self {
            request_first: request.first.frame,
            request_last: request.last.frame,
            response_first: response.map(|span| span.first.frame),
            response_last: response.map(|span| span.last.frame),
        }
    }
}

#[derive(Serialize)]
struct RequestFrames {
    request_first: u64,
    request_last: u64,
}

impl RequestFrames {
    fn new(request: Span) -> Self {
        Self {
            request_first: request.first.frame,
            request_last: request.last.frame,
        }
    }
}

/// Text that was escaped when it was made.
struct Ascii<'a>(&'a [u8]);

impl Serialize for Ascii<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            // A renderer that lets such bytes through must not stop the report.
            Err(_) => serializer.serialize_str(&String::from_utf8_lossy(self.0)),
        }
    }
}

/// A status is a string, be it a word or a number.
struct Status(StatusName);

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            StatusName::Name(name) => serializer.serialize_str(name),
            code @ StatusName::Code(_) => serializer.collect_str(&code),
        }
    }
}
