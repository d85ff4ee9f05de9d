//! The line of an exchange, and of a request without an answer.

use super::clock::Clock;
use super::digits::{push_address, push_millis, push_number};
use crate::exchange::{Exchange, Unanswered};
use crate::flow::Endpoints;
use crate::limits::TEXT_BYTES;
use crate::protocol::Protocol;
use crate::source::Timestamp;

/// Appends the line of `exchange`, whose response began at `stamp`.
pub fn exchange(out: &mut Vec<u8>, clock: &mut Clock, exchange: &Exchange<'_>, stamp: Timestamp) {
    push_start(out, clock, stamp, exchange.endpoints);
    push_millis(out, exchange.latency.unwrap_or(0));
    out.extend_from_slice(b" ms | ");
    push_text(out, exchange.protocol, exchange.text, exchange.text_len);
    out.push(b'\n');
}

/// Appends the line of a request that was given up.
pub fn unanswered(out: &mut Vec<u8>, clock: &mut Clock, unanswered: &Unanswered<'_>) {
    push_start(out, clock, unanswered.time, &unanswered.endpoints);
    out.extend_from_slice(b"no answer ");
    push_millis(out, unanswered.time.since(unanswered.request.last.time));
    out.extend_from_slice(b" ms | ");
    push_text(
        out,
        unanswered.protocol,
        unanswered.text,
        unanswered.text_len,
    );
    out.push(b'\n');
}

/// Appends how many bytes were left out, if any.
pub fn push_rest(out: &mut Vec<u8>, bytes: u64) {
    if bytes > 0 {
        out.extend_from_slice("…(+".as_bytes());
        push_number(out, bytes);
        out.push(b')');
    }
}

fn push_start(out: &mut Vec<u8>, clock: &mut Clock, stamp: Timestamp, endpoints: &Endpoints) {
    clock.push_micros(stamp, out);
    out.push(b' ');
    push_address(out, endpoints.client);
    out.extend_from_slice(b" => ");
    push_address(out, endpoints.server);
    out.extend_from_slice(b" | ");
}

fn push_text(out: &mut Vec<u8>, protocol: &dyn Protocol, kept: &[u8], text_len: u32) {
    let written = protocol.render(kept, TEXT_BYTES, out);
    push_rest(out, u64::from(text_len).saturating_sub(written as u64));
}
