//! Cuts one conversation's bytes into messages, one file a protocol.
//!
//! Reads the bytes of both directions in order (a [`Dissector`] a conversation), makes
//! [`Message`]s. A [`Protocol`] is the stateless description: names, ports, how to tell it by
//! its first bytes, how to print a request.
//!
//! Adding a protocol is one file here and its line in [`PROTOCOLS`]; the laws in `laws.rs` run
//! over every entry:
//!
//! 1. no input makes it panic, and each call makes progress or asks for more;
//! 2. the same bytes give the same messages for any split;
//! 3. after a gap it finds the next message;
//! 4. names and command labels are unique, label 0 is `other`.
#![deny(clippy::indexing_slicing)]

pub mod dns;
#[cfg(any(test, feature = "fuzzing"))]
pub mod driven;
pub mod http;
#[cfg(test)]
mod laws;
pub mod memcached;
pub mod opaque;
pub mod redis;
#[cfg(test)]
mod testing;
mod window;

use std::fmt;
use std::sync::OnceLock;

use crate::flow::Direction;
use crate::source::Timestamp;
use crate::source::prefetch::Prefetch;
use crate::wire::Transport;

/// Every built-in protocol, in the order in which their probes are asked.
pub static PROTOCOLS: &[&dyn Protocol] =
    &[&redis::Redis, &http::Http, &memcached::Memcached, &dns::Dns];

/// When a byte was first seen, and in which frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Capture time.
    pub time: Timestamp,
    /// Frame number in the source.
    pub frame: u64,
}

/// How a protocol tells which request a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Responses come in the order of their requests.
    InOrder,
    /// Messages carry an identifier ([`Message::id`]); those without one pair in order.
    ById,
}

/// What the first bytes of one direction look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Unmistakably a request of this protocol.
    Request,
    /// Unmistakably a response of this protocol.
    Response,
    /// Might still become one: more bytes are needed.
    More,
    /// Not this protocol, or not to be told from others by these bytes.
    No,
}

/// The stateless description of a protocol.
pub trait Protocol: Send + Sync + fmt::Debug {
    /// The name that `-m` and `-p PORT=NAME` take, lower case.
    fn name(&self) -> &'static str;

    /// What carries it.
    fn transports(&self) -> &'static [Transport];

    /// Its well-known server ports.
    fn ports(&self) -> &'static [u16];

    /// How its responses find their requests.
    fn pairing(&self) -> Pairing;

    /// Labels of its commands for statistics, upper case where the protocol ignores case.
    /// [`Message::command`] is an index into it; index 0 is `other`.
    fn commands(&self) -> &'static [&'static str];

    /// Whether these first bytes of one direction are this protocol's, on any port. Must answer
    /// [`Probe::Request`] or [`Probe::Response`] only where no other protocol could have sent them.
    fn probe(&self, transport: Transport, bytes: &[u8]) -> Probe;

    /// A parser for one new conversation.
    fn dissector(&self, transport: Transport) -> Box<dyn Dissector>;

    /// Appends the request as a user would type or read it to `out`, secrets as `***`.
    /// `kept` are the first bytes of the request as [`Message::text`] named them, at most
    /// [`crate::limits::KEPT_BYTES`]. Writes at most about `max` bytes, without control characters
    /// (escaped), and returns how many bytes of the text that it wrote (unescaped) come from the
    /// request, so that the caller can say how many of [`Message::text_len`] are left out.
    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize;

    /// The host that a request names beside its text, where the protocol has such a thing (HTTP).
    fn host<'a>(&self, kept: &'a [u8]) -> Option<&'a [u8]> {
        let _ = kept;
        None
    }

    /// Hands the keys that a request names to `each`, in its order, the last perhaps cut where `kept` ends. What
    /// is no key for certain is none: no value and no secret may pass for one.
    fn keys(&self, command: u16, kept: &[u8], each: &mut dyn FnMut(&[u8])) {
        let _ = (command, kept, each);
    }

    /// Appends the lengths of a request's arguments, its command excluded, at most `max`; nothing where the
    /// protocol has no such thing.
    fn argument_sizes(&self, kept: &[u8], max: usize, out: &mut Vec<u32>) {
        let _ = (kept, max, out);
    }

    /// The name of a response status code for reports, such as `MOVED`, `NXDOMAIN`, `404`.
    fn status(&self, code: u16) -> StatusName;
}

impl dyn Protocol + '_ {
    /// The label of a command: `other` where the protocol's list has no such command.
    pub fn label(&self, command: u16) -> &'static str {
        let labels = self.commands();
        labels.get(usize::from(command)).copied().unwrap_or("other")
    }
}

/// A status code's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusName {
    /// A fixed word.
    Name(&'static str),
    /// The number itself.
    Code(u16),
}

impl fmt::Display for StatusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Code(code) => code.fmt(f),
        }
    }
}

/// Bytes shown to a dissector.
///
/// Over TCP: everything of one direction that was not consumed yet, in order, without holes.
/// Over UDP (`datagram`): one whole datagram, to be consumed whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Offset of `bytes[0]` in its direction's stream; datagrams count on from each other.
    pub offset: u64,
    /// How many of the bytes were already shown by an earlier call and not consumed then.
    pub old: usize,
    /// When `bytes[0]` was first seen.
    pub first: Mark,
    /// When the bytes after `old` were first seen.
    pub last: Mark,
    /// Whether this is one UDP datagram.
    pub datagram: bool,
    /// Bytes at the end of a datagram that a snap length cut off.
    pub lost: u32,
    /// Offset of the other direction up to which the sender had received when it sent the last of the bytes; 0 where that is not
    /// known. What is behind it did not cause them.
    pub received: u64,
}

impl Input<'_> {
    /// When the byte at `index` was first seen. Of a datagram that came in fragments that is known of its first byte, and of the
    /// last one.
    pub fn mark(&self, index: usize) -> Mark {
        if index < self.old || self.datagram && index == 0 {
            self.first
        } else {
            self.last
        }
    }
}

/// What a dissector made of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Bytes from the front that are done with. The rest is shown again, with more behind it,
    /// once more has come; a dissector keeps its own state and leaves only a partial token.
    pub consumed: usize,
    /// Bytes *after the consumed ones* that nobody needs to see (a body of known length). They may
    /// be in this input or still to come; the stream steps over them without copying, and a gap
    /// inside them costs nothing. When the last of them has gone by, another call follows at once, also
    /// where nothing is behind it: `bytes` is then empty, and `first` is when that last byte was seen.
    pub skip: u64,
    /// Whether the direction can go on.
    pub verdict: Verdict,
}

impl Parsed {
    /// Whether all of the input is done with, and nothing but more of the same is to come.
    #[inline]
    pub fn is_all_of(&self, input: &Input<'_>) -> bool {
        self.consumed == input.bytes.len()
            && self.skip == 0
            && matches!(self.verdict, Verdict::Continue)
    }
}

/// Whether a direction can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    #[default]
    Continue,
    /// The bytes after the consumed ones break the grammar, which the text names in a few words.
    /// The dissector has dropped its partial message; [`Dissector::resync`] is asked next.
    Malformed(&'static str),
    /// From here on both directions are no messages of this protocol: an upgrade, a tunnel, TLS, a
    /// replication link. The text says which.
    Opaque(&'static str),
}

/// Where the next message begins after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// At this index of the input; the bytes before it are dropped.
    Found(usize),
    /// Nowhere in it: all but at most `keep` last bytes are dropped.
    Nowhere {
        /// Bytes at the end that may be the beginning of a message.
        keep: usize,
    },
}

/// Parser state of one conversation.
///
/// Both directions are shown in an order in which they can have happened: a response never
/// before the request bytes that its sender had received.
pub trait Dissector: Send {
    /// Cuts messages from the front of `input` and appends them to `out`. Called again with the rest
    /// as long as it consumes or skips something and bytes are left.
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed;

    /// Finds the next message of `direction` after a gap, malformed bytes or a start in
    /// mid-conversation. Only a framing that can hardly be mistaken counts as found; the first byte
    /// of the input is the first byte of a segment unless `input.old > 0`.
    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync;

    /// Bytes of `direction` that the dissector did not ask to skip are lost. Drops the partial message;
    /// one whose head was complete is ended, marked [`Message::CUT`].
    fn gap(&mut self, direction: Direction, out: &mut Output);

    /// `lost` bytes of `direction` were never seen, the first of them right behind what was consumed and skipped. Where
    /// the message that was begun says what they are, as a string of known length and its end do, this is how they
    /// end: that is shown to [`Dissector::parse`] as if it had been seen, and nothing is lost but the text.
    fn implied(&mut self, direction: Direction, lost: u64) -> Option<&'static [u8]> {
        let _ = (direction, lost);
        None
    }

    /// `direction` has ended (FIN, RST, or the end of the capture). Ends what is ended by that:
    /// `last` is when the last byte of the direction was seen, `offset` where it ended.
    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output);

    /// The conversation's past, where that is all that it still knows, but for offsets that are gone by and for what no
    /// message depends on: every message that was begun has ended, and no request waits.
    fn rest(&self) -> Option<Past> {
        None
    }

    /// Goes on, before anything is shown to it, as one whose [`Dissector::rest`] is this.
    fn resume(&mut self, past: Past) {
        let _ = past;
    }

    /// Memory that grows with the requests that wait, in bytes; a gap frees it.
    fn bytes(&self) -> usize {
        0
    }

    /// Whether messages are held back that have overtaken others, or may have. Only of datagrams: streams are in order.
    fn holds(&self) -> bool {
        false
    }

    /// Capture time is `now`: tells what was held back and need not be any longer, since what it waited for has come or the
    /// reordering window ([`crate::limits::REORDER_FRAMES`], [`crate::limits::REORDER_TIME`]) has passed; all of it
    /// where nothing more will come. These are messages to the client.
    fn release(&mut self, now: Option<Timestamp>, out: &mut Output) {
        let _ = (now, out);
    }

    /// Whether bytes of `direction` were left unconsumed because the other direction has to decide
    /// first (a request sent after CONNECT). They are shown again when it has moved.
    fn blocked(&self, direction: Direction) -> bool {
        let _ = direction;
        false
    }
}

/// What a conversation at rest has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// All was seen since its beginning.
    Whole,
    /// Bytes were lost at some time, or its beginning was not seen.
    Lossy,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks for [`Message::replies`] responses.
    Request,
    /// Answers a request.
    Response,
    /// Neither: a push, a quiet command, an interim response.
    OneWay,
}

/// How much of a message is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All of it: `end` and the time of its last byte are known.
    Whole,
    /// Its head: a [`Phase::End`] of the same direction follows.
    Head,
    /// The end of the message whose head came before; only `end`, `last`, flags, hits and misses count,
    /// and `status` where it is not 0.
    End,
}

/// Where a message's first bytes are, for printing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Text {
    /// Nothing to print.
    #[default]
    None,
    /// `bytes[start..start + len]` of the input of this call.
    Input {
        /// First byte.
        start: u32,
        /// How many.
        len: u32,
    },
    /// `arena[start..start + len]` of the [`Output`], for a message that came in several inputs.
    Arena {
        /// First byte.
        start: u32,
        /// How many.
        len: u32,
    },
}

/// One message of a protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub role: Role,
    /// How much of it this tells.
    pub phase: Phase,
    /// Bits: [`Message::BLOCKING`] and so on.
    pub flags: u8,
    /// Index into [`Protocol::commands`]; of a response 0.
    pub command: u16,
    /// A response's status code, meaning as [`Protocol::status`] says; 0 is "fine".
    pub status: u16,
    /// Responses that a request asks for: 1 for nearly all.
    pub replies: u16,
    /// Found keys, of a response to a read command.
    pub hits: u32,
    /// Keys that were not there.
    pub misses: u32,
    /// The protocol's correlation identifier.
    pub id: Option<u64>,
    /// Stream offset of its first byte.
    pub start: u64,
    /// Stream offset after its last byte.
    pub end: u64,
    /// When its first byte was seen.
    pub first: Mark,
    /// When its last byte was seen.
    pub last: Mark,
    /// Its first bytes as they were on the wire: at most [`crate::limits::KEPT_BYTES`]. Of a request what
    /// [`Protocol::render`] needs; of a response the status text worth showing (an error message,
    /// a reason phrase), to be printed as it is.
    pub text: Text,
    /// Length in bytes of the whole text that [`Protocol::render`] would write without a limit,
    /// before escaping.
    pub text_len: u32,
}

impl Message {
    /// A request that waits by design (BLPOP); kept out of latency counts.
    pub const BLOCKING: u8 = 1;
    /// A response that reports an error.
    pub const ERROR: u8 = 2;
    /// Its end was lost.
    pub const CUT: u8 = 4;
    /// A response that does not finish its request: more responses to the same request follow.
    pub const MORE: u8 = 8;
    /// A request that may stay without a response (a quiet command). It is settled without one, and
    /// counted as one-way, once a request after it on its conversation has its response; it is
    /// never reported unanswered.
    pub const QUIET: u8 = 16;
    /// A response that may be of more than one request: the order of those that wait is not known from here on.
    /// With [`Message::id`]: whose it is is known, but not when it began, or that is one of several that it may be.
    pub const UNSURE: u8 = 32;
    /// A response whose identifier other requests have too, or may have: it is of the one that waits, unless that one's own response
    /// was lost, and what this one answers was not seen.
    pub const LIKELY: u8 = 64;

    /// A whole message with nothing special about it.
    pub fn new(role: Role, start: u64, end: u64, first: Mark, last: Mark) -> Self {
        Self {
            role,
            phase: Phase::Whole,
            flags: 0,
            command: 0,
            status: 0,
            replies: 1,
            hits: 0,
            misses: 0,
            id: None,
            start,
            end,
            first,
            last,
            text: Text::None,
            text_len: 0,
        }
    }

    /// Whether it is told whole, pairs in order, and has nothing special about it.
    #[inline]
    pub fn is_ordinary(&self) -> bool {
        self.flags & !Self::ERROR == 0 && self.phase == Phase::Whole && self.id.is_none()
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A message that came whole in the input of one call, in bytes that were not shown before, with nothing special about
/// it: a request that asks for one response, or a response that answers the oldest request. Most messages are such, and
/// a [`Message`] is seven times as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Place of its first byte in the input.
    pub start: u32,
    /// How many bytes it has.
    pub len: u32,
    /// As [`Message::text_len`], of a request.
    pub text_len: u32,
    /// As [`Message::command`].
    pub command: u16,
    /// As [`Message::hits`].
    pub hits: u8,
    /// As [`Message::misses`].
    pub misses: u8,
}

impl Plain {
    /// The whole message.
    pub fn message(&self, direction: Direction, input: &Input<'_>) -> Message {
        let start = input.offset + u64::from(self.start);
        let (role, replies, text) = match direction {
            Direction::ToServer => (Role::Request, 1, self.text()),
            Direction::ToClient => (Role::Response, 0, Text::None),
        };
        let end = self.end(input);
        Message {
            command: self.command,
            hits: u32::from(self.hits),
            misses: u32::from(self.misses),
            replies,
            text,
            text_len: self.text_len,
            ..Message::new(role, start, end, input.last, input.last)
        }
    }

    /// As [`Message::end`].
    #[inline]
    pub fn end(&self, input: &Input<'_>) -> u64 {
        input.offset + u64::from(self.start) + u64::from(self.len)
    }

    /// A request's first bytes.
    #[inline]
    pub fn text(&self) -> Text {
        Text::Input {
            start: self.start,
            len: self.len.min(crate::limits::KEPT_BYTES as u32),
        }
    }
}

/// Where dissectors put what they found; reused from call to call.
#[derive(Debug, Default)]
pub struct Output {
    /// Messages that come before all of `messages`, where the caller takes such apart.
    pub plain: Vec<Plain>,
    /// Whether it does; otherwise they are among `messages`.
    pub takes_plain: bool,
    /// Messages, in the order of their ends.
    pub messages: Vec<Message>,
    /// Bytes that [`Text::Arena`] points into.
    pub arena: Vec<u8>,
    /// Whether anything will be printed: where not, [`Message::text`] may stay `None` and no prefix
    /// need be copied. (Text in [`Text::Input`] costs nothing and may be given all the same.)
    pub wants_text: bool,
    /// Asks for what is read next, bit by bit.
    pub prefetch: Prefetch,
}

impl Output {
    /// Copies `bytes` into the arena, cut at [`crate::limits::KEPT_BYTES`].
    pub fn keep(&mut self, bytes: &[u8]) -> Text {
        let bytes = bytes.get(..crate::limits::KEPT_BYTES).unwrap_or(bytes);
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Text::Arena {
            start,
            len: bytes.len() as u32,
        }
    }

    /// Adds a message of `input`.
    #[inline(always)]
    pub fn push_plain(&mut self, plain: Plain, direction: Direction, input: &Input<'_>) {
        self.prefetch.more();
        if self.takes_plain && self.messages.is_empty() {
            self.plain.push(plain);
        } else {
            self.messages.push(plain.message(direction, input));
        }
    }

    /// Whether the last call made no message.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.messages.is_empty()
    }

    /// Forgets the messages of the last call.
    #[inline]
    pub fn clear(&mut self) {
        self.plain.clear();
        self.messages.clear();
        self.arena.clear();
    }
}

/// Protocols that scripts teach, once scripts are loaded.
static TAUGHT: OnceLock<Vec<&'static dyn Protocol>> = OnceLock::new();

/// Adds protocols to the built-in ones, for the rest of the process's life. Only the first call counts.
pub fn teach(protocols: Vec<&'static dyn Protocol>) {
    let _ = TAUGHT.set(protocols);
}

/// Every protocol: the built-in ones, then those that were taught.
pub fn all() -> impl Iterator<Item = &'static dyn Protocol> {
    let taught = TAUGHT.get().into_iter().flatten();
    PROTOCOLS.iter().chain(taught).copied()
}

/// The protocol of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Protocol> {
    all().find(|protocol| protocol.name() == name)
}

/// The protocol whose well-known port this is.
pub fn by_port(transport: Transport, port: u16) -> Option<&'static dyn Protocol> {
    all().find(|protocol| {
        protocol.transports().contains(&transport) && protocol.ports().contains(&port)
    })
}

/// Appends `byte` to `out` so that no terminal acts on it: printable ASCII as it is, the rest
/// as `\n`, `\r`, `\t`, `\\` or `\xHH`. The one escape that every renderer uses.
pub fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'\\' => out.extend_from_slice(b"\\\\"),
        0x20..=0x7e => out.push(byte),
        _ => {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}
