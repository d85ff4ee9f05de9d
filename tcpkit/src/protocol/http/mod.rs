//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! Reads the bytes of one conversation, makes a request for every request head and a response for every
//! final response head; interim responses (1xx) are [`Role::OneWay`](super::Role::OneWay). Heads are
//! read line by line as they come, so that a head cut by a snap length is still known by its start line;
//! bodies are stepped over. After CONNECT and upgrades that succeed, a conversation is opaque.
//!
//! Head fields that do not frame the message are not judged: a message is malformed only where its start line
//! is none or its end cannot be told.

mod asked;
mod body;
mod conversation;
mod cursor;
mod head;
mod line;
mod open;
mod render;
mod request;
mod response;
mod resync;
#[cfg(test)]
mod tests;
mod way;

pub use render::host;

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::limits::HTTP_PROBE_BYTES;
use crate::wire::Transport;

/// HTTP/1.0 and HTTP/1.1 over TCP.
#[derive(Debug)]
pub struct Http;

impl Protocol for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp]
    }

    fn ports(&self) -> &'static [u16] {
        &[80, 8080]
    }

    fn pairing(&self) -> Pairing {
        Pairing::InOrder
    }

    fn commands(&self) -> &'static [&'static str] {
        request::METHODS
    }

    fn probe(&self, _: Transport, bytes: &[u8]) -> Probe {
        probe(bytes)
    }

    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        Box::<conversation::Conversation>::default()
    }

    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        render::render(kept, max, out)
    }

    fn host<'a>(&self, kept: &'a [u8]) -> Option<&'a [u8]> {
        host(kept)
    }

    fn status(&self, code: u16) -> StatusName {
        StatusName::Code(code)
    }
}

/// A status line of version 1 as far as its code, or a request line whole: a token, a target
/// without spaces, a version 1.
fn probe(bytes: &[u8]) -> Probe {
    match probe_response(bytes) {
        Probe::No => probe_request(bytes),
        found => found,
    }
}

fn probe_response(bytes: &[u8]) -> Probe {
    let fits = |(index, byte): (usize, &u8)| match index {
        0..=6 => Some(byte) == b"HTTP/1.".get(index),
        8 => *byte == b' ',
        12 => matches!(byte, b' ' | b'\r' | b'\n'),
        _ => byte.is_ascii_digit(),
    };
    let shown = bytes.get(..13).unwrap_or(bytes);
    match shown.iter().enumerate().all(fits) {
        true if shown.len() == 13 => Probe::Response,
        true => Probe::More,
        false => Probe::No,
    }
}

fn probe_request(bytes: &[u8]) -> Probe {
    // A server skips an empty line before a request line (RFC 9112, section 2.2).
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let shown = bytes.get(..HTTP_PROBE_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', shown) else {
        let printable = shown.iter().all(|byte| *byte == b'\r' || *byte >= b' ');
        let may_come =
            printable && request::may_be_valid_request(shown) && shown.len() < HTTP_PROBE_BYTES;
        return if may_come { Probe::More } else { Probe::No };
    };
    let line = line::without_cr(shown.get(..end).unwrap_or_default());
    let mut words = line.split(|byte| *byte == b' ');
    let method = words
        .next()
        .is_some_and(|word| !word.is_empty() && word.iter().all(|b| request::is_token(*b)));
    let target = words
        .next()
        .is_some_and(|word| !word.is_empty() && word.iter().all(|b| *b > b' '));
    let version = |word: Option<&[u8]>| matches!(word, Some(b"HTTP/1.1" | b"HTTP/1.0"));
    let valid = method && target && version(words.next()) && words.next().is_none();
    // Some clients put too much between a method that everybody knows and the version.
    let odd = || target && request::is_known(line) && version(line.rsplit(|b| *b == b' ').next());
    match valid || odd() {
        true => Probe::Request,
        false => Probe::No,
    }
}
