//! What a script's driver reads, as C structures.
//!
//! The Lua side sees them through LuaJIT's FFI by the same declarations ([`CDEF`]).

use std::sync::atomic::{AtomicU32, Ordering};

use super::payloads::Place;

/// The structures of this file as LuaJIT reads them; a test compares their sizes.
pub const CDEF: &str = "
typedef struct { volatile uint32_t item; } tk_control;
typedef struct { uint32_t at, len; } tk_text;
typedef struct {
  double tv_sec;
  uint32_t tv_usec, sip, dip, seq, ack, at, captured, size;
  int32_t place;
  uint16_t sport, dport;
  uint8_t sip_len, dip_len, request, udp, tcp_flags;
} tk_packet;
typedef struct {
  double latency_ns, wait_ns, request_first_ns, request_last_ns, response_first_ns,
    response_last_ns, request_bytes, response_bytes, request_first, request_last, response_first,
    response_last;
  tk_text time, client, server, protocol, command, text, host, status, status_text, word;
  uint32_t text_len, text_cut, hits, misses;
  uint16_t client_port, server_port;
  uint8_t answered, error, blocking, early, cut;
} tk_exchange;
typedef struct {
  double time_ns, frame, handshake_ns, age_ns;
  tk_text time, client, server, state;
  uint32_t syn_retries;
  uint16_t client_port, server_port;
} tk_connection;
typedef struct { uint32_t kind, first, item, count; } tk_run;
typedef struct { const char *address; uint32_t hash; uint16_t len, batch; } tk_place;
typedef struct {
  const tk_run *runs; const tk_packet *packets; const tk_exchange *exchanges;
  const tk_connection *connections; const double *ticks; const char *arena;
  tk_place *places;
  uint32_t place_count, run_count;
} tk_batch;";

/// What the driver tells while it runs: how far it has come in its batch.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Control {
    /// Items that were begun.
    pub item: AtomicU32,
}

impl Control {
    /// Begins a batch.
    pub fn rewind(&self) {
        self.item.store(0, Ordering::Relaxed);
    }

    /// How many items were begun.
    pub fn begun(&self) -> u32 {
        self.item.load(Ordering::Relaxed)
    }
}

/// Bytes of the arena.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Text {
    pub(super) at: u32,
    pub(super) len: u32,
}

/// A packet.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct PacketRecord {
    pub(super) tv_sec: f64,
    pub(super) tv_usec: u32,
    pub(super) sip: u32,
    pub(super) dip: u32,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// The payload; IPv6 addresses stand before it.
    pub(super) at: u32,
    pub(super) captured: u32,
    pub(super) size: u32,
    /// Where the payload's string is among those that the driver keeps; negative: where it is to be kept;
    /// 0: nowhere.
    pub(super) place: i32,
    pub(super) sport: u16,
    pub(super) dport: u16,
    /// Length of an IPv6 address's text; 0 says that `sip` and `dip` hold IPv4.
    pub(super) sip_len: u8,
    pub(super) dip_len: u8,
    pub(super) request: u8,
    pub(super) udp: u8,
    pub(super) tcp_flags: u8,
}

impl PacketRecord {
    /// The payload, of what was captured.
    pub(super) fn payload<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let rest = arena.get(self.at as usize..).unwrap_or_default();
        rest.get(..self.captured as usize).unwrap_or_default()
    }
}

/// An exchange, or a request without a response. What is absent is NaN.
#[repr(C)]
#[derive(Debug)]
pub(super) struct ExchangeRecord {
    pub(super) latency_ns: f64,
    pub(super) wait_ns: f64,
    pub(super) request_first_ns: f64,
    pub(super) request_last_ns: f64,
    pub(super) response_first_ns: f64,
    pub(super) response_last_ns: f64,
    pub(super) request_bytes: f64,
    pub(super) response_bytes: f64,
    pub(super) request_first: f64,
    pub(super) request_last: f64,
    pub(super) response_first: f64,
    pub(super) response_last: f64,
    pub(super) time: Text,
    pub(super) client: Text,
    pub(super) server: Text,
    pub(super) protocol: Text,
    pub(super) command: Text,
    pub(super) text: Text,
    pub(super) host: Text,
    pub(super) status: Text,
    pub(super) status_text: Text,
    /// The confidence, or why there is no response.
    pub(super) word: Text,
    pub(super) text_len: u32,
    pub(super) text_cut: u32,
    pub(super) hits: u32,
    pub(super) misses: u32,
    pub(super) client_port: u16,
    pub(super) server_port: u16,
    pub(super) answered: u8,
    pub(super) error: u8,
    pub(super) blocking: u8,
    pub(super) early: u8,
    pub(super) cut: u8,
}

/// A change of a connection.
#[repr(C)]
#[derive(Debug)]
pub(super) struct ConnectionRecord {
    pub(super) time_ns: f64,
    pub(super) frame: f64,
    pub(super) handshake_ns: f64,
    pub(super) age_ns: f64,
    pub(super) time: Text,
    pub(super) client: Text,
    pub(super) server: Text,
    pub(super) state: Text,
    pub(super) syn_retries: u32,
    pub(super) client_port: u16,
    pub(super) server_port: u16,
}

/// Records of one kind that follow each other.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Run {
    pub(super) kind: u32,
    /// Place of the first among the records of its kind.
    pub(super) first: u32,
    /// Place of the first among all.
    pub(super) item: u32,
    pub(super) count: u32,
}

/// Which hook takes a record; the driver's loops are in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Packet,
    Exchange,
    Unanswered,
    Connection,
    Tick,
}

/// Where the parts of a batch are, as the driver is told.
#[repr(C)]
#[derive(Debug)]
pub struct View {
    pub(super) runs: *const Run,
    pub(super) packets: *const PacketRecord,
    pub(super) exchanges: *const ExchangeRecord,
    pub(super) connections: *const ConnectionRecord,
    pub(super) ticks: *const f64,
    pub(super) arena: *const u8,
    pub(super) places: *mut Place,
    pub(super) place_count: u32,
    pub(super) run_count: u32,
}

/// Sizes of what the driver reads, for the test that compares them with [`CDEF`]'s.
#[cfg(test)]
pub(super) fn sizes() -> [usize; 6] {
    [
        size_of::<PacketRecord>(),
        size_of::<ExchangeRecord>(),
        size_of::<ConnectionRecord>(),
        size_of::<Run>(),
        size_of::<Place>(),
        size_of::<View>(),
    ]
}
