//! One conversation: cuts messages out of it and tells what each is.
//!
//! Reads datagrams, or the bytes of a TCP direction. A message over TCP is waited for as a whole, since what
//! says more about it (an extended response code, the SOA records of a transfer) may stand anywhere in
//! it; its header and question are remembered from the first, so that it is told even if its end is lost.

use std::collections::VecDeque;

use super::message::{self, Header, Question};
use super::queries::{Ask, Queries, Transfer};
use super::{Framed, PREFIX, framed, length, names, queries};
use crate::flow::Direction;
use crate::limits::{DNS_RESYNC_TRIES, KEPT_BYTES};
use crate::protocol::window::Since;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Parsed, Resync, Role, Text, Verdict,
};
use crate::source::Timestamp;

/// A message whose end is not there yet.
#[derive(Clone, Debug)]
struct Partial {
    /// What it will be told as, as far as it is known.
    told: Option<Told>,
    /// Its first bytes.
    text: Vec<u8>,
    start: u64,
    end: u64,
    first: Mark,
}

/// What pairing needs of a message.
#[derive(Clone, Copy, Debug)]
struct Told {
    header: Header,
    question: Option<Question>,
    /// It has a question that breaks the grammar, and is not just cut short.
    bad: bool,
}

impl Told {
    fn read(message: &[u8]) -> Option<Self> {
        let header = Header::read(message)?;
        let question = message::question(message, &header);
        let bad = question == Err(message::Unread::Broken);
        Some(Self {
            header,
            question: question.ok(),
            bad,
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

    /// What it asks for, being `message`.
    fn ask(&self, message: &[u8], datagram: bool) -> Ask {
        let transfer = match self.question {
            Some(Question { kind: 252, .. }) => Transfer::Full,
            Some(Question { kind: 251, .. }) => Transfer::Incremental,
            _ => Transfer::None,
        };
        Ask {
            id: self.id(),
            transfer,
            datagram,
            serial: match transfer {
                Transfer::Incremental => message::copy(message, &self.header),
                _ => None,
            },
        }
    }
}

/// State of one direction over TCP.
#[derive(Clone, Debug, Default)]
struct Side {
    partial: Option<Partial>,
    /// Where the next message begins, after a loss inside one.
    boundary: Option<u64>,
    /// When the last byte was seen, and where it ends.
    last: (Mark, u64),
}

/// A response over UDP whose query has not come.
#[derive(Debug)]
struct Early {
    told: Told,
    message: Message,
    since: Since,
}

/// What is held back.
#[derive(Debug, Default)]
struct Ahead {
    /// Oldest first.
    responses: VecDeque<Early>,
    /// Datagrams since the first of them.
    datagrams: u32,
}

/// Parser state of one conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    queries: Queries,
    /// Of TCP; most DNS conversations are a datagram each way.
    sides: Option<Box<[Side; 2]>>,
    /// Of UDP, where datagrams have overtaken others.
    ahead: Option<Box<Ahead>>,
}

impl Dissector for Conversation {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        if input.datagram {
            return self.datagram(direction, input, out);
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
                    may_be_early: false,
                },
                out,
            );
            at = end;
            self.side(direction).partial = None;
        }
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        let side = self.side(direction);
        side.partial = None;
        match side
            .boundary
            .take()
            .and_then(|boundary| boundary.checked_sub(input.offset))
        {
            Some(ahead) if ahead <= input.bytes.len() as u64 => {
                let at = ahead as usize;
                match framed(input.bytes.get(at..).unwrap_or_default()) {
                    Framed::Broken => search(input),
                    _ => Resync::Found(at),
                }
            }
            Some(ahead) => {
                side.boundary = Some(input.offset + ahead);
                Resync::Nowhere { keep: 0 }
            }
            None => search(input),
        }
    }

    fn holds(&self) -> bool {
        self.ahead.is_some()
    }

    fn release(&mut self, now: Option<Timestamp>, out: &mut Output) {
        let Some(mut ahead) = self.ahead.take() else {
            return;
        };
        let datagrams = ahead.datagrams;
        ahead.responses.retain(|early| {
            let over = now.is_none_or(|now| early.since.is_over(now, datagrams));
            let known = early.told.question.is_some() && self.queries.knows(early.told.id());
            let ready = over || known;
            if ready {
                self.answer(&early.told, &[], early.message.clone(), out);
            }
            !ready
        });
        if !ahead.responses.is_empty() {
            self.ahead = Some(ahead);
        }
    }

    fn bytes(&self) -> usize {
        let ahead = self.ahead.as_ref();
        ahead.map_or(0, |ahead| ahead.responses.capacity() * size_of::<Early>())
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        self.release(None, out);
        let side = self.side(direction);
        let (last, end) = side.last;
        let Some(partial) = side.partial.take() else {
            return;
        };
        side.boundary = Some(partial.end);
        self.cut(&partial, end, last, out);
    }

    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output) {
        if self.sides.is_none() {
            return;
        }
        if let Some(partial) = self.side(direction).partial.take() {
            self.cut(&partial, offset, last, out);
        }
    }
}

/// Where a message stands in its input.
struct Place<'a, 'b> {
    input: &'a Input<'b>,
    from: usize,
    text: usize,
    to: usize,
    /// It may have overtaken its query.
    may_be_early: bool,
}

impl Place<'_, '_> {
    fn message(&self, role: Role) -> Message {
        let input = self.input;
        let (start, end) = (
            input.offset + self.from as u64,
            input.offset + self.to as u64,
        );
        let last = input.mark(self.to.saturating_sub(1));
        let end = end + u64::from(input.lost);
        let mut message = Message::new(role, start, end, input.mark(self.from), last);
        if input.lost > 0 {
            message.flags |= Message::CUT;
        }
        message
    }
}

impl Conversation {
    fn side(&mut self, direction: Direction) -> &mut Side {
        let [server, client] = &mut **self.sides.get_or_insert_default();
        match direction {
            Direction::ToServer => server,
            Direction::ToClient => client,
        }
    }

    fn datagram(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        if let Some(ahead) = &mut self.ahead {
            ahead.datagrams += 1;
        }
        let consumed = input.bytes.len();
        let place = Place {
            input,
            from: 0,
            text: 0,
            to: consumed,
            may_be_early: direction == Direction::ToClient,
        };
        let verdict = match self.tell(input.bytes, place, out) {
            Some(told) if told.bad => Verdict::Malformed("a question that cannot be read"),
            Some(_) => Verdict::Continue,
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
        if !told.header.is_response() {
            let message = self.request(&told, bytes, &place);
            out.messages.push(message);
            return Some(told);
        }
        let message = self.response(&told, bytes, &place);
        // One without a question may be of a query that was overtaken.
        if place.may_be_early && (told.question.is_none() || !self.queries.knows(told.id())) {
            self.hold(&told, message);
        } else {
            self.answer(&told, bytes, message, out);
        }
        Some(told)
    }

    fn request(&mut self, told: &Told, bytes: &[u8], place: &Place<'_, '_>) -> Message {
        let mut message = place.message(Role::Request);
        message.command = told.command();
        let len = bytes.len().min(KEPT_BYTES) as u32;
        message.text = Text::Input {
            start: place.text as u32,
            len,
        };
        message::compose(bytes, &mut |piece, _| {
            message.text_len += piece.len() as u32
        });
        let ask = told.ask(bytes, place.input.datagram);
        let unacknowledged = told.header.opcode() == message::DSO && told.header.id == 0;
        if !unacknowledged {
            message.id = self.queries.ask(ask, message.first.time);
        }
        if message.id.is_none() {
            message.role = Role::OneWay;
        }
        message
    }

    fn response(&mut self, told: &Told, bytes: &[u8], place: &Place<'_, '_>) -> Message {
        let mut message = place.message(Role::Response);
        message.status = message::rcode(bytes, &told.header);
        if !matches!(message.status, names::NOERROR | names::NXDOMAIN) {
            message.flags |= Message::ERROR;
        }
        message
    }

    /// Finds the query of a response, and tells it.
    fn answer(&mut self, told: &Told, bytes: &[u8], mut message: Message, out: &mut Output) {
        let mut doubted = false;
        self.queries.doubt(told.id(), &mut |id| {
            doubted = true;
            let mut message = message.clone();
            message.id = Some(id);
            message.flags |= Message::UNSURE | Message::MORE;
            out.messages.push(message);
        });
        if doubted {
            return;
        }
        let answer = self.queries.answer(told.id(), bytes, &told.header);
        message.id = Some(answer.id);
        if answer.more {
            message.flags |= Message::MORE;
        }
        if answer.again {
            (message.role, message.id) = (Role::OneWay, None);
        } else if answer.unsure {
            message.flags |= Message::UNSURE;
        }
        out.messages.push(message);
    }

    /// Keeps a response to see whether its query comes.
    #[cold]
    fn hold(&mut self, told: &Told, message: Message) {
        let ahead = self.ahead.get_or_insert_default();
        let since = Since {
            time: message.last.time,
            datagrams: ahead.datagrams,
        };
        let told = *told;
        ahead.responses.push_back(Early {
            told,
            message,
            since,
        });
    }

    /// Remembers what is known of a message whose end is still to come.
    fn note(&mut self, direction: Direction, input: &Input<'_>, at: usize, bytes: &[u8]) {
        let side = self.side(direction);
        let rest = input.bytes.get(at..).unwrap_or_default();
        side.last = (input.last, input.offset + input.bytes.len() as u64);
        side.partial = length(rest).map(|len| {
            let start = input.offset + at as u64;
            let told = Told::read(bytes);
            let text = bytes.get(..KEPT_BYTES).unwrap_or(bytes).to_vec();
            Partial {
                told,
                text,
                start,
                end: start + (PREFIX + len) as u64,
                first: input.mark(at),
            }
        });
    }

    /// Tells a message that will not end, if its header is known.
    fn cut(&mut self, partial: &Partial, end: u64, last: Mark, out: &mut Output) {
        let Some(told) = &partial.told else {
            return;
        };
        let (start, first) = (partial.start, partial.first);
        let mut message =
            Message::new(Role::Request, start, end.max(start), first, last.max(first));
        message.flags |= Message::CUT;
        if told.header.is_response() {
            message.role = Role::Response;
            message.status = told.header.flags & 15;
            if !matches!(message.status, names::NOERROR | names::NXDOMAIN) {
                message.flags |= Message::ERROR;
            }
            self.answer(told, &[], message, out);
            return;
        }
        message.command = told.command();
        message.id = self.queries.ask(told.ask(&partial.text, false), first.time);
        // Of what is not known of it nothing is shown.
        if told.question.is_some() {
            message.text = out.keep(&partial.text);
            message::compose(&partial.text, &mut |piece, _| {
                message.text_len += piece.len() as u32
            });
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
