//! memcached: text, meta and binary commands, over TCP and UDP.
//!
//! Reads both directions of a conversation, makes one request message per command and one response
//! message per answer: a `get` of many keys is one request, its items up to `END` are one response
//! with hits and misses, and so are all `STAT` lines, or the packets that answer a binary `stat`.
//! Data blocks are stepped over by their length. Text and binary are told by each message's first byte.
//!
//! Follows doc/protocol.txt of memcached 1.6 and the BinaryProtocolRevamped page. How responses find
//! their requests, quiet ones among them, is told in `pending`. `noreply` commands and `quit` are
//! one-way, but for those that a server may take for credentials (`login`). What a watcher is sent after `watch` is no answer to anything: it ends the conversation
//! as far as pairing goes.

mod binary;
mod command;
mod conversation;
mod find;
mod keys;
mod login;
mod pending;
mod render;
mod reply;
#[cfg(test)]
mod tests;
mod text;
mod udp;

use super::{Dissector, Pairing, Probe, Protocol, StatusName};
use crate::wire::Transport;
use conversation::Conversation;
use pending::Entry;

/// The memcached protocol.
#[derive(Debug)]
pub struct Memcached;

impl Protocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp, Transport::Udp]
    }

    fn ports(&self) -> &'static [u16] {
        &[11211]
    }

    fn pairing(&self) -> Pairing {
        Pairing::ById
    }

    fn commands(&self) -> &'static [&'static str] {
        command::LABELS
    }

    fn probe(&self, transport: Transport, bytes: &[u8]) -> Probe {
        match transport {
            Transport::Tcp => find::probe(bytes),
            Transport::Udp => udp::probe(bytes),
        }
    }

    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        Box::new(Conversation::new())
    }

    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        render::request(kept, max, out)
    }

    fn keys(&self, _: u16, kept: &[u8], each: &mut dyn FnMut(&[u8])) {
        keys::keys(kept, each);
    }

    fn argument_sizes(&self, kept: &[u8], max: usize, out: &mut Vec<u32>) {
        keys::sizes(kept, max, out);
    }

    fn status(&self, code: u16) -> StatusName {
        command::status_name(code).map_or(StatusName::Code(code), StatusName::Name)
    }
}

/// What one look at the bytes gave.
#[derive(Debug)]
enum Step<T> {
    /// More bytes are needed.
    More,
    /// The grammar is broken.
    Bad(&'static str),
    /// This.
    Done(T),
}

/// The head of a request: a command line, or a packet up to its key.
#[derive(Debug)]
struct Head {
    /// Its length in bytes.
    len: usize,
    /// Bytes after it to step over.
    body: u64,
    /// Bytes after these that end the request; they are looked at, to know when it ended.
    trailer: u8,
    /// Index of its label.
    command: u16,
    /// For pairing; `None` where nobody answers.
    entry: Option<Entry>,
    /// How many of its first bytes are for printing.
    text: usize,
    /// Length of the whole printed text.
    text_len: u32,
}

impl Head {
    fn line(line: text::Line<'_>, command: u16, entry: Option<Entry>) -> Self {
        let text = line.content.len();
        Self {
            len: line.len,
            body: 0,
            trailer: 0,
            command,
            entry,
            text,
            text_len: text as u32,
        }
    }

    fn total(&self) -> u64 {
        self.len as u64 + self.body + u64::from(self.trailer)
    }
}

/// The request that `bytes` begin with; the first `seen` of them hold no line end.
fn request(bytes: &[u8], seen: usize) -> Step<Head> {
    match bytes.first() {
        Some(&binary::REQUEST) => binary::request(bytes),
        Some(&binary::RESPONSE) => Step::Bad("a binary response where a request belongs"),
        _ => text::request(bytes, seen),
    }
}
