//! One conversation over TCP: cuts both directions into messages.
//!
//! Reads the bytes of either direction, makes request messages of command lines and packets, and response
//! messages of what the readers of [`super::reply`] and [`super::binary`] put together. Only heads are looked
//! at: data blocks are stepped over, and of each the bytes that end it are looked at again, to know
//! when it ended.

use super::command::{self, Kind};
use super::login::{self, Asked, Login};
use super::pending::{Pending, Reply};
use super::reply::{self, Progress, Reader};
use super::{Head, Step, binary, find, request, udp};
use crate::flow::Direction;
use crate::limits::KEPT_BYTES;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Parsed, Past, Phase, Resync, Role, Text, Verdict,
};
use crate::source::Timestamp;

/// What is shown instead of credentials.
const HIDDEN: &[u8] = b"***";

/// A request whose data block is under way.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    start: u64,
    first: Mark,
    end: u64,
    trailer: u8,
}

/// A response that is under way.
#[derive(Debug)]
struct Open {
    start: u64,
    first: Mark,
    /// The binary packet whose body is under way.
    packet: Option<Box<binary::Packet>>,
}

/// Parser state of one conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    pending: Pending,
    unfinished: Option<Unfinished>,
    reader: Reader,
    login: Login,
    open: Option<Open>,
    /// Where, in each direction, the bytes begin that were not yet searched for a line end.
    searched: [u64; 2],
    /// When the last byte of each direction was seen, and where it ends.
    last: [(Mark, u64); 2],
    udp: Option<Box<udp::Exchange>>,
}

impl Dissector for Conversation {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        if input.datagram {
            let udp = self.udp.get_or_insert_with(Box::default);
            return udp.datagram(direction, input, out);
        }
        if let Some(last) = self.last.get_mut(direction.index()) {
            *last = (input.last, input.offset + input.bytes.len() as u64);
        }
        let mut cursor = Cursor { input, at: 0, out };
        let stop = match direction {
            Direction::ToServer => self.requests(&mut cursor),
            Direction::ToClient => {
                self.pending.had_received(input.received);
                self.responses(&mut cursor)
            }
        };
        let consumed = cursor.at;
        match stop {
            Stop::Wait => Parsed {
                consumed,
                ..Parsed::default()
            },
            Stop::Skip(skip) => Parsed {
                consumed,
                skip,
                verdict: Verdict::Continue,
            },
            Stop::Bad(why) => {
                self.drop_partial(direction);
                Parsed {
                    consumed,
                    skip: 0,
                    verdict: Verdict::Malformed(why),
                }
            }
            Stop::Opaque(why) => Parsed {
                consumed,
                skip: 0,
                verdict: Verdict::Opaque(why),
            },
        }
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        self.drop_partial(direction);
        self.login = Login::Past;
        self.pending.doubt();
        find::resync(direction, input)
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        let (last, end) = self
            .last
            .get(direction.index())
            .copied()
            .unwrap_or_default();
        self.cut(direction, end, last, out);
        self.login = Login::Past;
        match direction {
            Direction::ToServer => self.pending.doubt(),
            Direction::ToClient => self.pending.forget(),
        }
        self.release(None, out);
        self.udp = None;
    }

    /// A data block's end, and `END` where all keys that were asked for have come: no other line is as short.
    fn implied(&mut self, direction: Direction, lost: u64) -> Option<&'static [u8]> {
        let lost = usize::try_from(lost).ok()?;
        match direction {
            Direction::ToServer => trailer(self.unfinished?.trailer, lost),
            Direction::ToClient => match &self.open.as_ref()?.packet {
                Some(packet) => trailer(packet.trailer, lost),
                None => self.reader.implied(lost, self.pending.items()),
            },
        }
    }

    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output) {
        self.cut(direction, offset, last, out);
    }

    fn rest(&self) -> Option<Past> {
        let ends = self.unfinished.is_none() && !self.reader.is_open() && self.open.is_none();
        let rest = self.pending.rest();
        let known = self.login == Login::Past;
        rest.filter(|_| ends && known && self.udp.is_none())
    }

    fn resume(&mut self, past: Past) {
        self.login = Login::Past;
        if past == Past::Lossy {
            self.pending.resume();
        }
    }

    fn bytes(&self) -> usize {
        self.pending.bytes() + self.udp.as_ref().map_or(0, |udp| udp.bytes())
    }

    fn holds(&self) -> bool {
        self.udp.as_ref().is_some_and(|udp| udp.holds())
    }

    fn release(&mut self, now: Option<Timestamp>, out: &mut Output) {
        if let Some(udp) = &mut self.udp {
            udp.release(now, out);
        }
    }
}

/// The end of a message of which all else was seen or stepped over, if that is what was lost. Nobody looks at that of a
/// binary packet.
fn trailer(len: u8, lost: usize) -> Option<&'static [u8]> {
    let end = b"\r\n".get(2_usize.checked_sub(len.into())?..)?;
    (end.len() == lost).then_some(end)
}

/// Why a direction's parser stopped.
enum Stop {
    Wait,
    Skip(u64),
    Bad(&'static str),
    Opaque(&'static str),
}

/// The input, how far it is read, and where messages go.
struct Cursor<'a, 'b> {
    input: &'a Input<'b>,
    at: usize,
    out: &'a mut Output,
}

impl<'b> Cursor<'_, 'b> {
    fn rest(&self) -> &'b [u8] {
        self.input.bytes.get(self.at..).unwrap_or_default()
    }

    fn offset(&self) -> u64 {
        self.input.offset + self.at as u64
    }

    fn here(&self) -> Mark {
        self.input.mark(self.at)
    }

    /// When the byte before this place was seen.
    fn before(&self) -> Mark {
        self.input.mark(self.at.saturating_sub(1))
    }

    /// How many bytes from here on were searched for a line end by an earlier call.
    fn seen(&self, searched: u64) -> usize {
        let seen = searched.saturating_sub(self.offset());
        usize::try_from(seen).unwrap_or(0).min(self.rest().len())
    }

    fn end(&self) -> u64 {
        self.input.offset + self.input.bytes.len() as u64
    }

    /// Names bytes from here on as a message's text.
    fn text(&self, from: usize, to: usize) -> Text {
        let len = (to - from).min(KEPT_BYTES) as u32;
        Text::Input {
            start: (self.at + from) as u32,
            len,
        }
    }
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self {
            pending: Pending::new(),
            unfinished: None,
            reader: Reader::default(),
            login: Login::Open,
            open: None,
            searched: [0; 2],
            last: [(Mark::default(), 0); 2],
            udp: None,
        }
    }

    fn requests(&mut self, cursor: &mut Cursor<'_, '_>) -> Stop {
        loop {
            if let Some(unfinished) = self.unfinished {
                if cursor.rest().len() < usize::from(unfinished.trailer) {
                    return Stop::Wait;
                }
                self.finish(&unfinished, cursor);
            }
            if cursor.rest().is_empty() {
                return Stop::Wait;
            }
            let [searched, _] = &mut self.searched;
            match request(cursor.rest(), cursor.seen(*searched)) {
                Step::More => {
                    *searched = cursor.end();
                    return Stop::Wait;
                }
                Step::Bad(why) => return Stop::Bad(why),
                Step::Done(head) => {
                    let stop = match self.login {
                        Login::Past => self.begin(&head, cursor),
                        _ => self.begin_outside(head, cursor),
                    };
                    if let Some(stop) = stop {
                        return stop;
                    }
                }
            }
        }
    }

    /// Tells a request whose head is here; stops where its data block goes beyond the input.
    fn begin(&mut self, head: &Head, cursor: &mut Cursor<'_, '_>) -> Option<Stop> {
        let whole = usize::try_from(head.total())
            .ok()
            .filter(|len| *len <= cursor.rest().len());
        let start = cursor.offset();
        let mut message = Message::new(
            Role::Request,
            start,
            start + head.total(),
            cursor.here(),
            Mark::default(),
        );
        message.command = head.command;
        message.text = cursor.text(0, head.text);
        message.text_len = head.text_len;
        match head.entry {
            Some(entry) => self.pending.push(entry, &mut message),
            None => message.role = Role::OneWay,
        }
        cursor.at += whole.unwrap_or(head.len);
        message.last = cursor.before();
        if whole.is_none() {
            message.phase = Phase::Head;
            self.unfinished = Some(Unfinished {
                start,
                first: message.first,
                end: message.end,
                trailer: head.trailer,
            });
        }
        cursor.out.messages.push(message);
        whole.is_none().then_some(Stop::Skip(head.body))
    }

    /// Tells a request of a client that may have to log in.
    #[cold]
    fn begin_outside(&mut self, mut head: Head, cursor: &mut Cursor<'_, '_>) -> Option<Stop> {
        let first = self.pending.waiting() == 0;
        let asked = self.login.ask(&mut head, cursor.rest(), first);
        if asked == Asked::More {
            return Some(Stop::Wait);
        }
        let stop = self.begin(&head, cursor);
        if asked == Asked::Hidden {
            let text = cursor.out.keep(HIDDEN);
            if let Some(message) = cursor.out.messages.last_mut() {
                (message.text, message.text_len) = (text, HIDDEN.len() as u32);
            }
        }
        stop
    }

    /// Tells the end of a request whose last bytes are here.
    fn finish(&mut self, unfinished: &Unfinished, cursor: &mut Cursor<'_, '_>) {
        self.unfinished = None;
        cursor.at += usize::from(unfinished.trailer);
        cursor
            .out
            .messages
            .push(unfinished.end(unfinished.end, cursor.before(), 0));
    }

    fn responses(&mut self, cursor: &mut Cursor<'_, '_>) -> Stop {
        loop {
            if let Some(packet) = self.open.as_mut().and_then(|open| open.packet.take()) {
                if cursor.rest().len() < usize::from(packet.trailer) {
                    self.open
                        .as_mut()
                        .and_then(|open| open.packet.replace(packet));
                    return Stop::Wait;
                }
                cursor.at += usize::from(packet.trailer);
                self.packet_end(&packet, Text::None, cursor);
            }
            let stop = match cursor.rest().first() {
                None => Some(Stop::Wait),
                Some(&binary::RESPONSE) if !self.reader.is_open() => self.packet(cursor),
                Some(&binary::REQUEST) if !self.reader.is_open() => {
                    Some(Stop::Bad("a binary request where a response belongs"))
                }
                Some(_) => self.line(cursor),
            };
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    /// One binary response packet.
    fn packet(&mut self, cursor: &mut Cursor<'_, '_>) -> Option<Stop> {
        let packet = match binary::response(cursor.rest()) {
            Step::More => return Some(Stop::Wait),
            Step::Bad(why) => return Some(Stop::Bad(why)),
            Step::Done(packet) => packet,
        };
        let text = packet
            .text
            .map_or(Text::None, |(from, to)| cursor.text(from, to));
        let open = self.open.get_or_insert(Open {
            start: cursor.offset(),
            first: cursor.here(),
            packet: None,
        });
        let total = packet.len as u64 + packet.body + u64::from(packet.trailer);
        if let Some(whole) = usize::try_from(total)
            .ok()
            .filter(|len| *len <= cursor.rest().len())
        {
            cursor.at += whole;
            self.packet_end(&packet, text, cursor);
            return None;
        }
        cursor.at += packet.len;
        let body = packet.body;
        open.packet = Some(Box::new(packet));
        Some(Stop::Skip(body))
    }

    fn packet_end(&mut self, packet: &binary::Packet, text: Text, cursor: &mut Cursor<'_, '_>) {
        if packet.more {
            return;
        }
        let mut message = self.whole(cursor);
        message.status = packet.status;
        message.hits = packet.hits;
        message.misses = packet.misses;
        message.text = text;
        self.answer(&packet.reply, message, cursor.out);
    }

    /// One line of a text response, or the end of a data block in it.
    fn line(&mut self, cursor: &mut Cursor<'_, '_>) -> Option<Stop> {
        let [_, searched] = &mut self.searched;
        let progress = match self.reader.step(cursor.rest(), cursor.seen(*searched)) {
            Step::More => {
                *searched = cursor.end();
                return Some(Stop::Wait);
            }
            Step::Bad(why) => return Some(Stop::Bad(why)),
            Step::Done(progress) => progress,
        };
        self.open.get_or_insert(Open {
            start: cursor.offset(),
            first: cursor.here(),
            packet: None,
        });
        match progress {
            Progress::Goes(len) => {
                cursor.at += len;
                None
            }
            Progress::Data(len, data) => {
                cursor.at += len;
                match usize::try_from(data)
                    .ok()
                    .filter(|data| *data <= cursor.rest().len())
                {
                    Some(data) => {
                        cursor.at += data;
                        None
                    }
                    None => Some(Stop::Skip(data)),
                }
            }
            Progress::MayEnd(len) if !self.pending.switches_sizes() => {
                cursor.at += len;
                None
            }
            Progress::MayEnd(len) => {
                let done = self.reader.cut();
                self.line_end(len, &done, cursor)
            }
            Progress::Ends(len, done) => self.line_end(len, &done, cursor),
        }
    }

    fn line_end(
        &mut self,
        len: usize,
        done: &reply::Done,
        cursor: &mut Cursor<'_, '_>,
    ) -> Option<Stop> {
        if done.reply.word == command::word::OTHER {
            if cursor.rest().starts_with(b"ts=") {
                return Some(Stop::Opaque("watch"));
            }
            if done.status == 0 && !self.pending.front_accepts(done.reply.word) {
                return Some(Stop::Bad("a response line of no known kind"));
            }
        }
        let text = done
            .text
            .map_or(Text::None, |(from, to)| cursor.text(from, to));
        let refused = self.login != Login::Past && self.refuses(done, cursor);
        cursor.at += len;
        let mut message = self.whole(cursor);
        message.text = text;
        done.fill(&mut message);
        if refused {
            message.flags |= Message::ERROR;
            self.pending.lose_order(&mut message);
            cursor.out.messages.push(message);
            return None;
        }
        let kind = self.answer(&done.reply, message, cursor.out);
        let watches = kind == Some(Kind::Watch) && done.reply.word == command::word::OK;
        watches.then_some(Stop::Opaque("watch"))
    }

    /// Whether it is an error of a server that wants credentials first. All who wait may have no other answer.
    #[cold]
    fn refuses(&self, done: &reply::Done, cursor: &Cursor<'_, '_>) -> bool {
        let text = done.text.and_then(|(from, to)| cursor.rest().get(from..to));
        text.is_some_and(login::is_refused) && self.pending.waiting() > 1
    }

    /// The response that ends here.
    fn whole(&mut self, cursor: &Cursor<'_, '_>) -> Message {
        let (start, first) = match self.open.take() {
            Some(open) => (open.start, open.first),
            None => (cursor.offset(), cursor.here()),
        };
        Message::new(
            Role::Response,
            start,
            cursor.offset(),
            first,
            cursor.before(),
        )
    }

    /// Pairs a response and tells it.
    fn answer(&mut self, reply: &Reply, mut message: Message, out: &mut Output) -> Option<Kind> {
        if command::is_error(message.status) {
            message.flags |= Message::ERROR;
        }
        if self.login != Login::Past {
            self.login.answer(message.status);
            self.pending.be_strict();
        }
        let kind = self.pending.answer(reply, &mut message);
        out.messages.push(message);
        kind
    }

    /// Ends what is under way in a direction, short of its end.
    fn cut(&mut self, direction: Direction, end: u64, last: Mark, out: &mut Output) {
        match direction {
            Direction::ToServer => {
                if let Some(unfinished) = self.unfinished.take() {
                    let end = end.min(unfinished.end).max(unfinished.start);
                    out.messages.push(unfinished.end(end, last, Message::CUT));
                }
            }
            Direction::ToClient => self.cut_response(end, last, out),
        }
    }

    fn cut_response(&mut self, end: u64, last: Mark, out: &mut Output) {
        let Some(open) = self.open.take() else { return };
        let last = last.max(open.first);
        let mut message = Message::new(Role::Response, open.start, end, open.first, last);
        message.flags |= Message::CUT;
        let reply = match &open.packet {
            Some(packet) => {
                message.status = packet.status;
                (message.hits, message.misses) = (packet.hits, packet.misses);
                packet.reply
            }
            None => {
                let done = self.reader.cut();
                done.fill(&mut message);
                done.reply
            }
        };
        self.answer(&reply, message, out);
    }

    fn drop_partial(&mut self, direction: Direction) {
        // What was searched as one thing may be another, with line ends in it.
        if let Some(searched) = self.searched.get_mut(direction.index()) {
            *searched = 0;
        }
        match direction {
            Direction::ToServer => self.unfinished = None,
            Direction::ToClient => {
                self.open = None;
                self.reader = Reader::default();
            }
        }
    }
}

impl Unfinished {
    fn end(&self, end: u64, last: Mark, flags: u8) -> Message {
        let last = last.max(self.first);
        let mut message = Message::new(Role::Request, self.start, end, self.first, last);
        message.phase = Phase::End;
        message.flags = flags;
        message
    }
}

impl reply::Done {
    /// Status and keys.
    pub(super) fn fill(&self, message: &mut Message) {
        message.status = self.status;
        message.hits = self.hits;
        message.misses = self.misses;
    }
}
