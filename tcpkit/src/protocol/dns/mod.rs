//! DNS: datagrams, and messages behind a length over TCP.
//!
//! Reads both directions, makes one request message per query and one response message per answer.
//! Which of the two a message is, its QR bit says, whichever way it went. The pair is made by
//! identifier and question, from the header and the first question alone, so that a message is paired
//! even where what follows is cut or broken; [`queries`] tells how messages without a question and
//! repeated ones are taken.
//!
//! Follows RFC 1035, RFC 7766 (TCP), RFC 6891 (EDNS), RFC 5936 and 1995 (transfers), RFC 1996 (NOTIFY),
//! RFC 2136 (UPDATE), RFC 8490 (stateful operations, of which the unacknowledged ones are one-way).
//! Multicast DNS is left out: its answers go to a group, not to who asked.
//!
//! [`Message::status`] is the response code, the extended one where EDNS brings it. Every code but NOERROR and
//! NXDOMAIN is an error: a server that says that a name does not exist did what it was asked, and
//! search lists make that the most frequent answer on many hosts. Reports show it by its name.

mod message;
mod names;
mod queries;
#[cfg(test)]
mod tests;

use super::{
    Dissector, Input, Mark, Message, Output, Pairing, Parsed, Probe, Protocol, Resync, Role,
    StatusName, Text, Verdict,
};
use crate::flow::Direction;
use crate::limits::{DNS_RESYNC_TRIES, KEPT_BYTES};
use crate::wire::Transport;
use message::{Header, Question};
use queries::{Ask, Queries, Transfer};

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
        let mut written = 0;
        message::compose(kept, &mut |bytes, label| {
            for byte in bytes.iter().take(max.saturating_sub(written)) {
                if label {
                    escape(*byte, out)
                } else {
                    out.push(*byte)
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

/// A message whose end is not there yet.
#[derive(Clone, Copy, Debug)]
struct Partial {
    /// What it will be told as, as far as it is known.
    told: Option<Told>,
    start: u64,
    end: u64,
    first: Mark,
}

/// What pairing needs of a message.
#[derive(Clone, Copy, Debug)]
struct Told {
    header: Header,
    question: Option<Question>,
}

impl Told {
    fn read(message: &[u8]) -> Option<Self> {
        let header = Header::read(message)?;
        Some(Self {
            header,
            question: message::question(message, &header),
        })
    }

    fn id(&self) -> u64 {
        queries::id(
            self.header.id,
            self.question.map_or(0, |question| question.hash),
        )
    }

    fn command(&self) -> u16 {
        match (self.header.opcode(), self.question) {
            (message::QUERY, Some(question)) => names::label(names::kind(question.kind)),
            (message::QUERY, None) => 0,
            (opcode, _) => names::label(names::opcode(opcode)),
        }
    }

    fn ask(&self, datagram: bool) -> Ask {
        let transfer = match self.question {
            Some(Question { kind: 252, .. }) => Transfer::Full,
            Some(Question { kind: 251, .. }) => Transfer::Incremental,
            _ => Transfer::None,
        };
        Ask {
            id: self.id(),
            transfer,
            datagram,
        }
    }
}

/// State of one direction over TCP.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    partial: Option<Partial>,
    /// Where the next message begins, after a loss inside one.
    boundary: Option<u64>,
    /// When the last byte was seen, and where it ends.
    last: (Mark, u64),
}

/// Parser state of one conversation.
#[derive(Debug, Default)]
struct Conversation {
    queries: Queries,
    sides: [Side; 2],
}

impl Dissector for Conversation {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        if input.datagram {
            return self.datagram(input, out);
        }
        let mut at = 0;
        loop {
            let rest = input.bytes.get(at..).unwrap_or_default();
            let message = match framed(rest) {
                Framed::Whole(message) => message,
                Framed::Part(message) => {
                    self.note(direction, input, at, message);
                    return Parsed {
                        consumed: at,
                        ..Parsed::default()
                    };
                }
                Framed::Broken => {
                    let verdict = Verdict::Malformed("a length that holds no header");
                    return Parsed {
                        consumed: at,
                        skip: 0,
                        verdict,
                    };
                }
            };
            let end = at + PREFIX + message.len();
            self.tell(
                message,
                Place {
                    input,
                    from: at,
                    text: at + PREFIX,
                    to: end,
                },
                out,
            );
            at = end;
            if let Some(side) = self.sides.get_mut(direction.index()) {
                side.partial = None;
            }
        }
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        let Some(side) = self.sides.get_mut(direction.index()) else {
            return Resync::Nowhere { keep: 0 };
        };
        side.partial = None;
        match side
            .boundary
            .take()
            .and_then(|boundary| boundary.checked_sub(input.offset))
        {
            Some(ahead) if ahead <= input.bytes.len() as u64 => Resync::Found(ahead as usize),
            Some(ahead) => {
                side.boundary = Some(input.offset + ahead);
                Resync::Nowhere { keep: 0 }
            }
            None => search(input),
        }
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        let side = self
            .sides
            .get(direction.index())
            .copied()
            .unwrap_or_default();
        let (last, end) = side.last;
        self.cut(direction, end, last, out);
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.boundary = side.partial.take().map(|partial| partial.end);
        }
    }

    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output) {
        self.cut(direction, offset, last, out);
        if let Some(side) = self.sides.get_mut(direction.index()) {
            side.partial = None;
        }
    }
}

/// Where a message stands in its input.
struct Place<'a, 'b> {
    input: &'a Input<'b>,
    from: usize,
    text: usize,
    to: usize,
}

impl Place<'_, '_> {
    fn message(&self, role: Role) -> Message {
        let input = self.input;
        let (start, end) = (
            input.offset + self.from as u64,
            input.offset + self.to as u64,
        );
        let last = input.mark(self.to.saturating_sub(1));
        Message::new(role, start, end, input.mark(self.from), last)
    }
}

impl Conversation {
    fn datagram(&mut self, input: &Input<'_>, out: &mut Output) -> Parsed {
        let consumed = input.bytes.len();
        let place = Place {
            input,
            from: 0,
            text: 0,
            to: consumed,
        };
        let verdict = match self.tell(input.bytes, place, out) {
            Some(told) if told.header.questions == 0 || told.question.is_some() => {
                Verdict::Continue
            }
            Some(_) => Verdict::Malformed("a question that cannot be read"),
            None => Verdict::Malformed("shorter than a header"),
        };
        Parsed {
            consumed,
            skip: 0,
            verdict,
        }
    }

    fn tell(&mut self, bytes: &[u8], place: Place<'_, '_>, out: &mut Output) -> Option<Told> {
        let told = Told::read(bytes)?;
        let message = if told.header.is_response() {
            self.response(&told, bytes, &place)
        } else {
            self.request(&told, bytes, &place)
        };
        out.messages.push(message);
        Some(told)
    }

    fn request(&mut self, told: &Told, bytes: &[u8], place: &Place<'_, '_>) -> Message {
        let mut message = place.message(Role::Request);
        message.command = told.command();
        message.id = Some(told.id());
        let len = bytes.len().min(KEPT_BYTES) as u32;
        message.text = Text::Input {
            start: place.text as u32,
            len,
        };
        message::compose(bytes, &mut |piece, _| {
            message.text_len += piece.len() as u32
        });
        let again = self
            .queries
            .ask(told.ask(place.input.datagram), message.first.time);
        let unacknowledged = told.header.opcode() == message::DSO && told.header.id == 0;
        if unacknowledged || again {
            (message.role, message.id) = (Role::OneWay, None);
        }
        message
    }

    fn response(&mut self, told: &Told, bytes: &[u8], place: &Place<'_, '_>) -> Message {
        let mut message = place.message(Role::Response);
        let answer = self.queries.answer(told.id(), bytes, &told.header);
        message.id = Some(answer.id);
        message.status = message::rcode(bytes, &told.header);
        if !matches!(message.status, names::NOERROR | names::NXDOMAIN) {
            message.flags |= Message::ERROR;
        }
        if answer.more {
            message.flags |= Message::MORE;
        }
        if answer.again {
            (message.role, message.id) = (Role::OneWay, None);
        }
        message
    }

    /// Remembers what is known of a message whose end is still to come.
    fn note(&mut self, direction: Direction, input: &Input<'_>, at: usize, bytes: &[u8]) {
        let Some(side) = self.sides.get_mut(direction.index()) else {
            return;
        };
        let rest = input.bytes.get(at..).unwrap_or_default();
        side.last = (input.last, input.offset + input.bytes.len() as u64);
        side.partial = length(rest).map(|len| {
            let start = input.offset + at as u64;
            let told = Told::read(bytes);
            Partial {
                told,
                start,
                end: start + (PREFIX + len) as u64,
                first: input.mark(at),
            }
        });
    }

    /// Tells a message that will not end, if its question is known.
    fn cut(&mut self, direction: Direction, end: u64, last: Mark, out: &mut Output) {
        let side = self
            .sides
            .get(direction.index())
            .copied()
            .unwrap_or_default();
        let Some(Partial {
            told: Some(told),
            start,
            first,
            ..
        }) = side.partial
        else {
            return;
        };
        if told.question.is_none() {
            return;
        }
        let role = if told.header.is_response() {
            Role::Response
        } else {
            Role::Request
        };
        let mut message = Message::new(role, start, end.max(start), first, last.max(first));
        message.flags |= Message::CUT;
        message.id = Some(told.id());
        if role == Role::Request {
            message.command = told.command();
            self.queries.ask(told.ask(false), first.time);
        } else {
            message.id = Some(self.queries.answer(told.id(), &[], &told.header).id);
            message.status = told.header.flags & 15;
            if !matches!(message.status, names::NOERROR | names::NXDOMAIN) {
                message.flags |= Message::ERROR;
            }
        }
        out.messages.push(message);
    }
}

/// Finds the next message over TCP: at the start of a segment one whose header and question fit,
/// elsewhere one that is right to its end.
fn search(input: &Input<'_>) -> Resync {
    let mut tries = 0;
    for at in 0..input.bytes.len() {
        let rest = input.bytes.get(at..).unwrap_or_default();
        let (message, whole) = match framed(rest) {
            Framed::Whole(message) => (message, true),
            Framed::Part(message) if message.len() >= message::HEADER => (message, false),
            Framed::Part(_) => return Resync::Nowhere { keep: rest.len() },
            Framed::Broken => continue,
        };
        if message::plausible(message).is_none() {
            continue;
        }
        tries += 1;
        if tries > DNS_RESYNC_TRIES {
            break;
        }
        let begins = at == 0 && input.old == 0;
        if whole && message::unmistakable(message).is_some() {
            return Resync::Found(at);
        }
        if !whole {
            let told = Told::read(message).is_some_and(|told| told.question.is_some());
            return match (begins, told) {
                (true, true) => Resync::Found(at),
                (_, true) => Resync::Nowhere { keep: rest.len() },
                _ => continue,
            };
        }
    }
    Resync::Nowhere { keep: 0 }
}
