//! What happened, as C structures in one piece of memory: how events reach a script's thread.
//!
//! Reads events on the capture's thread, makes batches of records and the bytes that they point
//! into. The Lua side sees them through LuaJIT's FFI (`record.rs`), so that a packet costs one table and no
//! call between the languages.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use jiff::tz::TimeZone;

use super::payloads::Payloads;
use super::record::{ConnectionRecord, ExchangeRecord, Kind, PacketRecord, Run, Text, View};
use crate::event::PacketEvent;
use crate::exchange::{Exchange, Span, Unanswered};
use crate::flow::Direction;
use crate::flow::connection::Connection;
use crate::limits::{LUA_BATCH, LUA_BATCH_BYTES, TEXT_BYTES};
use crate::protocol::{Protocol, escape};
use crate::sink::text::clock::Clock;
use crate::source::Timestamp;
use crate::wire::{Addresses, Transport};

/// Events for one script, in their order. Its memory is used again when the script is done with it.
#[derive(Debug)]
pub struct Batch {
    runs: Vec<Run>,
    packets: Vec<PacketRecord>,
    exchanges: Vec<ExchangeRecord>,
    connections: Vec<ConnectionRecord>,
    ticks: Vec<f64>,
    arena: Vec<u8>,
    /// When each item happened: where what it prints belongs in the report.
    stamps: Vec<Timestamp>,
    /// Capture time at its end.
    pub reached: Timestamp,
    clock: Clock,
    scratch: String,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            packets: Vec::new(),
            exchanges: Vec::new(),
            connections: Vec::new(),
            ticks: Vec::new(),
            arena: Vec::new(),
            stamps: Vec::new(),
            reached: Timestamp::default(),
            clock: Clock::new(TimeZone::UTC, b'T'),
            scratch: String::new(),
        }
    }
}

impl Batch {
    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.packets.clear();
        self.exchanges.clear();
        self.connections.clear();
        self.ticks.clear();
        self.arena.clear();
        self.stamps.clear();
    }

    /// How many items it holds.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Whether it is worth handing over.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.stamps.len() >= LUA_BATCH || self.arena.len() >= LUA_BATCH_BYTES
    }

    /// When the item happened that was begun last, `begun` of all being begun.
    pub fn stamp(&self, begun: u32) -> Timestamp {
        let item = (begun as usize).saturating_sub(1);
        self.stamps.get(item).copied().unwrap_or(self.reached)
    }

    /// What the driver is shown; good as long as the batch stays as it is. Payloads that are strings already
    /// are found where there is something to find them by.
    ///
    /// # Safety
    /// As for [`Payloads::find`].
    pub unsafe fn view(&mut self, payloads: Option<&mut Payloads>) -> View {
        let (places, count) = payloads.map_or((std::ptr::null_mut(), 0), |payloads| {
            // SAFETY: as the caller says.
            unsafe { payloads.find(&mut self.packets, &self.arena) };
            payloads.places()
        });
        View {
            runs: self.runs.as_ptr(),
            packets: self.packets.as_ptr(),
            exchanges: self.exchanges.as_ptr(),
            connections: self.connections.as_ptr(),
            ticks: self.ticks.as_ptr(),
            arena: self.arena.as_ptr(),
            places,
            place_count: count as u32,
            run_count: self.runs.len() as u32,
        }
    }

    /// Adds a packet.
    #[inline]
    pub fn packet(&mut self, event: &PacketEvent<'_>) {
        let packet = &event.packet;
        self.item(Kind::Packet, self.packets.len(), packet.time);
        let (sip, dip, lengths) = match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => (source, destination, [0; 2]),
            Addresses::V6 { .. } => {
                let ends = [packet.source(), packet.destination()];
                (0, 0, ends.map(|end| self.address(end).len as u8))
            }
        };
        let at = self.arena.len() as u32;
        self.arena.extend_from_slice(packet.payload);
        self.packets.push(PacketRecord {
            tv_sec: (packet.time.0 / 1_000_000_000) as f64,
            tv_usec: (packet.time.0 % 1_000_000_000 / 1000) as u32,
            sip,
            dip,
            seq: packet.seq,
            ack: packet.ack,
            at,
            captured: packet.payload.len() as u32,
            size: packet.payload_len,
            place: 0,
            sport: packet.source_port,
            dport: packet.destination_port,
            sip_len: lengths[0],
            dip_len: lengths[1],
            request: u8::from(event.direction == Direction::ToServer),
            udp: u8::from(packet.transport == Transport::Udp),
            tcp_flags: packet.flags,
        });
    }

    /// Adds an exchange.
    pub fn exchange(&mut self, exchange: &Exchange<'_>) {
        let (request, response) = (exchange.request, exchange.response);
        let stamp = response.map_or(request.last.time, |span| span.first.time);
        self.item(Kind::Exchange, self.exchanges.len(), stamp);
        let of = |part: fn(&Span) -> u64| response.as_ref().map_or(f64::NAN, |s| part(s) as f64);
        let protocol = exchange.protocol;
        let (text, written) = self.request(protocol, exchange.text);
        let host = protocol.host(exchange.text).unwrap_or_default();
        let (client, server) = (exchange.endpoints.client, exchange.endpoints.server);
        let record = ExchangeRecord {
            latency_ns: exchange.latency.map_or(f64::NAN, |latency| latency as f64),
            wait_ns: exchange.wait as f64,
            request_first_ns: request.first.time.0 as f64,
            request_last_ns: request.last.time.0 as f64,
            response_first_ns: of(|span| span.first.time.0),
            response_last_ns: of(|span| span.last.time.0),
            request_bytes: request.size as f64,
            response_bytes: of(|span| span.size),
            request_first: request.first.frame as f64,
            request_last: request.last.frame as f64,
            response_first: of(|span| span.first.frame),
            response_last: of(|span| span.last.frame),
            time: self.time(stamp),
            client: self.address(client),
            server: self.address(server),
            protocol: self.text(protocol.name().as_bytes()),
            command: self.text(protocol.label(exchange.command).as_bytes()),
            text,
            host: self.escaped(host),
            status: self.status(protocol, exchange.status),
            status_text: self.escaped(exchange.status_text),
            word: self.text(exchange.confidence.name().as_bytes()),
            text_len: exchange.text_len,
            text_cut: exchange.text_len.saturating_sub(written),
            hits: exchange.hits,
            misses: exchange.misses,
            client_port: client.port(),
            server_port: server.port(),
            answered: u8::from(response.is_some()),
            error: u8::from(exchange.error),
            blocking: u8::from(exchange.blocking),
            early: u8::from(exchange.early),
            cut: u8::from(exchange.cut),
        };
        self.exchanges.push(record);
    }

    /// Adds a request without a response.
    pub fn unanswered(&mut self, unanswered: &Unanswered<'_>) {
        self.item(Kind::Unanswered, self.exchanges.len(), unanswered.time);
        let (protocol, request) = (unanswered.protocol, unanswered.request);
        let (text, written) = self.request(protocol, unanswered.text);
        let (client, server) = (unanswered.endpoints.client, unanswered.endpoints.server);
        let record = ExchangeRecord {
            latency_ns: f64::NAN,
            wait_ns: unanswered.time.since(request.last.time) as f64,
            request_first_ns: request.first.time.0 as f64,
            request_last_ns: request.last.time.0 as f64,
            response_first_ns: f64::NAN,
            response_last_ns: f64::NAN,
            request_bytes: request.size as f64,
            response_bytes: f64::NAN,
            request_first: request.first.frame as f64,
            request_last: request.last.frame as f64,
            response_first: f64::NAN,
            response_last: f64::NAN,
            time: self.time(unanswered.time),
            client: self.address(client),
            server: self.address(server),
            protocol: self.text(protocol.name().as_bytes()),
            command: self.text(protocol.label(unanswered.command).as_bytes()),
            text,
            host: Text::default(),
            status: Text::default(),
            status_text: Text::default(),
            word: self.text(unanswered.why.name().as_bytes()),
            text_len: unanswered.text_len,
            text_cut: unanswered.text_len.saturating_sub(written),
            hits: 0,
            misses: 0,
            client_port: client.port(),
            server_port: server.port(),
            answered: 0,
            error: 0,
            blocking: u8::from(unanswered.blocking),
            early: 0,
            cut: 0,
        };
        self.exchanges.push(record);
    }

    /// Adds a change of a connection.
    pub fn connection(&mut self, connection: &Connection) {
        self.item(Kind::Connection, self.connections.len(), connection.time);
        let or_nan = |time: Option<u64>| time.map_or(f64::NAN, |time| time as f64);
        let (client, server) = (connection.endpoints.client, connection.endpoints.server);
        let record = ConnectionRecord {
            time_ns: connection.time.0 as f64,
            frame: connection.frame as f64,
            handshake_ns: or_nan(connection.handshake),
            age_ns: or_nan(connection.age),
            time: self.time(connection.time),
            client: self.address(client),
            server: self.address(server),
            state: self.text(connection.change.name().as_bytes()),
            syn_retries: connection.syn_retries,
            client_port: client.port(),
            server_port: server.port(),
        };
        self.connections.push(record);
    }

    /// Adds a tick.
    pub fn tick(&mut self, now: Timestamp) {
        self.item(Kind::Tick, self.ticks.len(), now);
        self.ticks.push(now.0 as f64 / 1e9);
    }

    /// Notes an item whose record will be number `first` of its kind.
    #[inline]
    fn item(&mut self, kind: Kind, first: usize, stamp: Timestamp) {
        let item = self.stamps.len() as u32;
        self.stamps.push(stamp);
        match self.runs.last_mut() {
            Some(run) if run.kind == kind as u32 => run.count += 1,
            _ => self.runs.push(Run {
                kind: kind as u32,
                first: first as u32,
                item,
                count: 1,
            }),
        }
    }

    /// The request's text, and how much of it was written.
    fn request(&mut self, protocol: &dyn Protocol, kept: &[u8]) -> (Text, u32) {
        let mut written = 0;
        let text = self.filled(|arena| written = protocol.render(kept, TEXT_BYTES, arena));
        (text, u32::try_from(written).unwrap_or(u32::MAX))
    }

    fn status(&mut self, protocol: &dyn Protocol, code: u16) -> Text {
        self.scratch.clear();
        let _ = write!(self.scratch, "{}", protocol.status(code));
        let at = self.arena.len();
        self.arena.extend_from_slice(self.scratch.as_bytes());
        self.from(at)
    }

    fn address(&mut self, end: SocketAddr) -> Text {
        self.scratch.clear();
        let _ = match end.ip() {
            IpAddr::V4(ip) => write!(self.scratch, "{ip}"),
            IpAddr::V6(ip) => write!(self.scratch, "{ip}"),
        };
        let at = self.arena.len();
        self.arena.extend_from_slice(self.scratch.as_bytes());
        self.from(at)
    }

    fn time(&mut self, stamp: Timestamp) -> Text {
        let at = self.arena.len();
        self.clock.push_nanos(stamp, &mut self.arena);
        self.arena.push(b'Z');
        self.from(at)
    }

    fn escaped(&mut self, bytes: &[u8]) -> Text {
        self.filled(|arena| bytes.iter().for_each(|&byte| escape(byte, arena)))
    }

    fn text(&mut self, bytes: &[u8]) -> Text {
        self.filled(|arena| arena.extend_from_slice(bytes))
    }

    fn filled(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Text {
        let at = self.arena.len();
        fill(&mut self.arena);
        self.from(at)
    }

    fn from(&self, at: usize) -> Text {
        Text {
            at: at as u32,
            len: (self.arena.len() - at) as u32,
        }
    }
}
