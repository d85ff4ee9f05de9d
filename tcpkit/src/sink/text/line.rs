//! The line of an exchange, and of a request without an answer.

use super::clock::Clock;
use super::digits::{push_millis, push_number};
use super::parties::Parties;
use crate::exchange::{Exchange, Unanswered};
use crate::flow::Endpoints;
use crate::limits::TEXT_BYTES;
use crate::protocol::Protocol;
use crate::source::Timestamp;

/// What lines are made with.
#[derive(Debug)]
pub struct With {
    pub clock: Clock,
    pub parties: Parties,
}

impl With {
    fn push_start(&mut self, out: &mut Vec<u8>, stamp: Timestamp, endpoints: &Endpoints) {
        self.clock.push_micros(stamp, out);
        out.push(b' ');
        self.parties.push(endpoints, out);
        out.extend_from_slice(b" | ");
    }
}

/// Appends the line of `exchange`, whose response began at `stamp`.
pub fn exchange(out: &mut Vec<u8>, with: &mut With, exchange: &Exchange<'_>, stamp: Timestamp) {
    with.push_start(out, stamp, exchange.endpoints);
    push_millis(out, exchange.latency.unwrap_or(0));
    out.extend_from_slice(b" ms | ");
    push_text(out, exchange.protocol, exchange.text, exchange.text_len);
    out.push(b'\n');
}

/// Appends the line of a request that was given up.
pub fn unanswered(out: &mut Vec<u8>, with: &mut With, unanswered: &Unanswered<'_>) {
    with.push_start(out, unanswered.time, &unanswered.endpoints);
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

fn push_text(out: &mut Vec<u8>, protocol: &dyn Protocol, kept: &[u8], text_len: u32) {
    let written = protocol.render(kept, TEXT_BYTES, out);
    push_rest(out, u64::from(text_len).saturating_sub(written as u64));
}
