//! The state of one conversation.
//!
//! Reads both directions' bytes, makes messages. All bytes are consumed as they come, except those
//! that follow a CONNECT or upgrade request: the response tells what they are. So nothing behind such a response
//! is read before them: the next response answers one of them.

use super::asked::Asked;
use super::body::{self, Framing};
use super::cursor::Cursor;
use super::head::{Head, Kind};
use super::open::{Open, cut_start_line, is_interim, role};
use super::resync::resync;
use super::way::{State, Turn, Way};
use crate::flow::Direction;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Parsed, Past, Phase, Resync, Role, Verdict,
};

/// Parser state of one conversation; nothing else is allocated while no message is half read and no
/// request waits.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    ways: [Way; 2],
    asked: Asked,
    /// What the conversation became, where that was found out.
    opaque: Option<&'static str>,
    /// The answer to a CONNECT or an upgrade was lost: what is no HTTP from here on comes of that.
    undecided: bool,
}

impl Dissector for Conversation {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        let mut cursor = Cursor::new(direction, input);
        if let Some(what) = self.opaque {
            return cursor.stop(Verdict::Opaque(what));
        }
        let parsed = loop {
            if let Some(parsed) = self.turn(&mut cursor, out) {
                break parsed;
            }
        };
        let way = self.way(direction);
        way.seen = cursor.offset();
        way.last = input.last;
        parsed
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        self.asked.join();
        match self.way(direction).state {
            State::Close => Resync::Found(0),
            _ => resync(direction, input),
        }
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        let way = self.way(direction);
        let (seen, last) = (way.seen, way.last);
        // What is missing of a body that ends with the connection is part of it.
        if !matches!(way.state, State::Close) {
            self.cut(direction, seen, last, out);
        }
        self.lose(direction);
    }

    fn rest(&self) -> Option<Past> {
        let idle = self.ways.iter().all(Way::is_idle);
        let decided = self.opaque.is_none() && !self.undecided;
        self.asked.rest().filter(|_| idle && decided)
    }

    fn resume(&mut self, past: Past) {
        if past == Past::Lossy {
            self.asked.join();
        }
    }

    fn bytes(&self) -> usize {
        self.asked.bytes()
    }

    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output) {
        let way = self.way(direction);
        match way.state {
            State::Close => way.finish(direction, offset, last, 0, out),
            State::Length(end) if offset >= end => way.finish(direction, end, last, 0, out),
            // Nothing came that could be a body.
            State::Doubt(_) => way.finish(direction, way.seen, last, 0, out),
            // A head that its sender never finished conveys nothing (RFC 9112, section 8).
            State::Idle | State::Head(_) => way.state = State::Idle,
            _ => way.finish(direction, offset, last, Message::CUT, out),
        }
        way.carry.clear();
        if direction == Direction::ToClient {
            self.release();
        }
    }

    fn blocked(&self, direction: Direction) -> bool {
        let [to_server, _] = &self.ways;
        let idle = matches!(to_server.state, State::Idle);
        direction == Direction::ToServer && idle && self.opaque.is_none() && self.asked.decides()
    }
}

impl Conversation {
    fn way(&mut self, direction: Direction) -> &mut Way {
        let [to_server, to_client] = &mut self.ways;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    fn turn(&mut self, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        let blocked = self.blocked(cursor.direction);
        let way = self.way(cursor.direction);
        match std::mem::take(&mut way.state) {
            State::Idle if blocked || cursor.decided || cursor.is_done() => {
                Some(cursor.stop(Verdict::Continue))
            }
            State::Idle => self.begin(cursor, out),
            State::Head(open) => self.resume(open, cursor, out),
            State::Length(end) => way.length(end, cursor, out),
            State::Close => way.until_close(cursor),
            State::Doubt(body) => way.doubt(body, cursor, out),
            State::Chunk(end) => way.chunk(end, cursor),
            state => match way.chunk_line(state, cursor, out) {
                Ok(turn) => turn,
                Err(reason) => Some(self.fault(reason, cursor, out)),
            },
        }
    }

    fn begin(&mut self, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        if cursor.direction == Direction::ToServer && self.asked.is_unsure() {
            self.settle();
        }
        let mut open = Open::new(cursor);
        match open.read(&mut self.way(cursor.direction).carry, cursor) {
            Ok(true) => self.complete(&open, cursor, out),
            Ok(false) => self.wait(Box::new(open), cursor),
            Err(verdict) => Some(self.broken(verdict, cursor)),
        }
    }

    fn resume(&mut self, mut open: Box<Open>, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        match open.read(&mut self.way(cursor.direction).carry, cursor) {
            Ok(true) => {
                open.keep(cursor);
                self.complete(&open, cursor, out)
            }
            Ok(false) => self.wait(open, cursor),
            Err(verdict) => Some(self.broken(verdict, cursor)),
        }
    }

    /// The head goes on in the next input.
    fn wait(&mut self, mut open: Box<Open>, cursor: &Cursor<'_>) -> Turn {
        let way = self.way(cursor.direction);
        if open.head.is_some() || way.carry.len() > 0 {
            open.keep(cursor);
            way.state = State::Head(open);
        }
        Some(cursor.stop(Verdict::Continue))
    }

    /// The head is whole: tells the message, and finds out what follows.
    fn complete(&mut self, open: &Open, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        let head = open.head.as_ref()?;
        let waits = self.asked.decides();
        let (role, framing) = self.framing(cursor.direction, head, cursor.is_done());
        cursor.decided |= waits && !self.asked.decides();
        self.undecided = false;
        let text = open.text(head, cursor, out);
        let message = open.message(role, head, cursor.offset(), cursor.last());
        cursor.told = Some(out.messages.len());
        out.messages.push(Message {
            phase: Phase::Head,
            text,
            ..message
        });
        let way = self.way(cursor.direction);
        way.start = open.start;
        let end = cursor.offset();
        match framing {
            Framing::Length(0) => way.finish_here(end, 0, cursor, out),
            Framing::Length(length) => way.state = State::Length(end.saturating_add(length)),
            Framing::Chunked => way.state = State::ChunkSize,
            Framing::Close => way.state = State::Close,
            Framing::Doubt(body) => way.state = State::Doubt(body),
            Framing::Faulty(reason) => return Some(self.fault(reason, cursor, out)),
            Framing::Switch(what) => {
                way.finish_here(end, 0, cursor, out);
                return Some(self.broken(Verdict::Opaque(what), cursor));
            }
        }
        None
    }

    /// A request begins after a loss: where no response is under way, and none is to come, it is the only one.
    fn settle(&mut self) {
        let [_, to_client] = &self.ways;
        if to_client.is_idle() {
            self.asked.settle();
        }
    }

    /// Notes a request, or finds a response's, and tells what the message is for and what follows its head. `last`
    /// says whether it is the last that there is so far.
    fn framing(&mut self, direction: Direction, head: &Head, last: bool) -> (Role, Framing) {
        match direction {
            Direction::ToServer => (self.asked.push(head.kind), body::of_request(head)),
            Direction::ToClient => (role(direction, head.status), self.answer(head, last)),
        }
    }

    /// Finds a response's request, and tells what follows its head.
    fn answer(&mut self, head: &Head, last: bool) -> Framing {
        let [to_server, _] = &self.ways;
        let asking = matches!(to_server.state, State::Head(_));
        let interim = is_interim(head.status);
        let unsure = self.asked.is_unsure();
        let kind = if interim {
            self.asked.peek()
        } else {
            self.asked.pop(asking)
        };
        match kind {
            // The answer to a HEAD that is all that came, and all that is to come, is most likely to be just that.
            Kind::Head if unsure && (!last || self.asked.waits()) => {
                body::of_response(head, Kind::Other).or_none()
            }
            Kind::Other if unsure => body::of_response(head, kind).or_none(),
            kind => body::of_response(head, kind),
        }
    }

    /// Ends the message that is being read: nobody can tell where it really does.
    fn fault(&mut self, reason: &'static str, cursor: &mut Cursor<'_>, out: &mut Output) -> Parsed {
        let end = cursor.offset();
        self.way(cursor.direction)
            .finish_here(end, Message::CUT, cursor, out);
        self.broken(Verdict::Malformed(reason), cursor)
    }

    /// Leaves the grammar.
    fn broken(&mut self, verdict: Verdict, cursor: &Cursor<'_>) -> Parsed {
        self.way(cursor.direction).carry.clear();
        self.opaque = match verdict {
            Verdict::Opaque(what) => Some(what),
            _ if self.undecided => Some("tunnel"),
            _ => None,
        };
        self.lose(cursor.direction);
        cursor.stop(self.opaque.map_or(verdict, Verdict::Opaque))
    }

    /// Ends what is half read.
    fn cut(&mut self, direction: Direction, end: u64, last: Mark, out: &mut Output) {
        let way = self.way(direction);
        match std::mem::take(&mut way.state) {
            State::Idle => {}
            State::Head(open) => self.cut_head(direction, &open, end, last, out),
            _ => way.finish(direction, end, last, Message::CUT, out),
        }
        self.way(direction).carry.clear();
    }

    /// Tells a message by as much of its head as there is, if that is enough.
    fn cut_head(
        &mut self,
        direction: Direction,
        open: &Open,
        end: u64,
        last: Mark,
        out: &mut Output,
    ) {
        let carry = &self.way(direction).carry;
        let Some(head) = open.head.or_else(|| cut_start_line(direction, carry)) else {
            return;
        };
        let (role, framing) = self.framing(direction, &head, true);
        if let Framing::Switch(what) = framing {
            self.opaque = Some(what);
        }
        let text = open.kept_text(&head, out);
        let message = open.message(role, &head, end, last);
        let flags = message.flags | Message::CUT;
        out.messages.push(Message {
            flags,
            text,
            ..message
        });
    }

    /// Something of `direction` was not seen, or not understood.
    fn lose(&mut self, direction: Direction) {
        self.asked.lose(direction);
        if direction == Direction::ToClient {
            self.release();
        }
    }

    /// Nobody will tell what the client's next bytes are: they are taken as they look.
    fn release(&mut self) {
        if self.asked.decides() {
            self.asked.clear();
            self.undecided = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of 100,000 that are open at once.
    #[test]
    fn a_conversation_is_small() {
        assert!(
            size_of::<Conversation>() <= 192,
            "{}",
            size_of::<Conversation>()
        );
    }
}
