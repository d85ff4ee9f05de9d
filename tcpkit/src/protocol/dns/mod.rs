//! DNS: datagrams, and messages behind a length over TCP.
//!
//! Reads both directions, makes one request message per query and one response message per answer.
//! Which of the two a message is, its QR bit says, whichever way it went. The pair is made by
//! identifier and question, from the header and the first question alone, so that a message is paired
//! even where what follows is cut or broken; `queries` tells how messages without a question and
//! repeated ones are taken.
//!
//! Follows RFC 1035, RFC 7766 (TCP), RFC 6891 (EDNS), RFC 5936 and 1995 (transfers), RFC 1996 (NOTIFY),
//! RFC 2136 (UPDATE), RFC 8490 (stateful operations, of which the unacknowledged ones are one-way).
//! Multicast DNS is left out: its answers go to a group, not to who asked.
//!
//! [`Message::status`](super::Message::status) is the response code, the extended one where EDNS brings it. Every code but NOERROR and
//! NXDOMAIN is an error: a server that says that a name does not exist did what it was asked, and
//! search lists make that the most frequent answer on many hosts. Reports show it by its name.

mod conversation;
mod message;
mod names;
mod queries;
#[cfg(test)]
mod tests;

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::wire::Transport;
use conversation::Conversation;

/// The DNS protocol.
#[derive(Debug)]
pub struct Dns;

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn transports(&self) -> &'static [Transport] {
        &[Transport::Udp, Transport::Tcp]
    }

    fn ports(&self) -> &'static [u16] {
        &[53]
    }

    fn pairing(&self) -> Pairing {
        Pairing::ById
    }

    fn commands(&self) -> &'static [&'static str] {
        names::LABELS
    }

    fn probe(&self, transport: Transport, bytes: &[u8]) -> Probe {
        let header = match transport {
            Transport::Udp => message::unmistakable(bytes),
            Transport::Tcp => match framed(bytes) {
                Framed::Whole(message) => message::unmistakable(message),
                Framed::Part(message) => {
                    let hopeless = message.len() >= message::HEADER;
                    if hopeless && message::plausible(message).is_none() {
                        return Probe::No;
                    }
                    return Probe::More;
                }
                Framed::Broken => None,
            },
        };
        match header {
            Some(header) if header.is_response() => Probe::Response,
            Some(_) => Probe::Request,
            None => Probe::No,
        }
    }

    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        Box::new(Conversation::default())
    }

    /// A question as dig would be asked: `A example.com.`, with the name in presentation format
    /// (RFC 4343, section 2.1), the operation before it where it is no query: `NOTIFY SOA example.com.`.
    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        let begin = out.len();
        let (mut written, mut full) = (0, false);
        message::compose(kept, &mut |bytes, label| {
            for byte in bytes {
                let end = out.len();
                if label {
                    escape(*byte, out);
                } else {
                    out.push(*byte);
                }
                // A sign that does not fit is left out whole, and what comes behind it too.
                full |= out.len() - begin > max;
                if full {
                    out.truncate(end);
                    return;
                }
                written += 1;
            }
        });
        written
    }

    fn status(&self, code: u16) -> StatusName {
        names::rcode(code).map_or(StatusName::Code(code), StatusName::Name)
    }
}

/// A byte of a label in presentation format: dots and backslashes quoted, what cannot be printed in
/// decimal.
fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
            out.extend_from_slice(&[b'\\', byte])
        }
        0x21..=0x7e => out.push(byte),
        _ => {
            let digit = |number: u8| b'0' + number % 10;
            out.extend_from_slice(&[b'\\', digit(byte / 100), digit(byte / 10), digit(byte)]);
        }
    }
}

/// What a TCP direction begins with.
enum Framed<'a> {
    /// A whole message.
    Whole(&'a [u8]),
    /// The beginning of one.
    Part(&'a [u8]),
    /// A length that no message has.
    Broken,
}

fn framed(bytes: &[u8]) -> Framed<'_> {
    let Some(len) = length(bytes) else {
        return Framed::Part(&[]);
    };
    match bytes.get(PREFIX..PREFIX + len) {
        _ if len < message::HEADER => Framed::Broken,
        Some(message) => Framed::Whole(message),
        None => Framed::Part(bytes.get(PREFIX..).unwrap_or_default()),
    }
}

/// Length of the length in bytes (RFC 1035, section 4.2.2).
const PREFIX: usize = 2;

fn length(bytes: &[u8]) -> Option<usize> {
    bytes
        .first_chunk()
        .map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
}
