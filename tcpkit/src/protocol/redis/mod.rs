//! redis: RESP2 and RESP3, with inline commands.
//!
//! Reads both directions of a conversation, makes one [`Message`] a request, a response and a
//! push. The rooms: [`token`] numbers and lines, [`commands`] the table of commands, [`request`]
//! and [`response`] the two grammars, [`session`] what one direction must know of the other,
//! [`resync`] and [`probe`] how a message is told in unknown bytes, [`render`] the text.
//!
//! A message that lies whole in the input is parsed where it is, without keeping anything. Of one
//! that does not, the state of its parse is kept in a box for as long as it lasts, and bytes of
//! long strings are skipped.
//!
//! Specifications: the RESP protocol page of redis' documentation, the RESP3 specification
//! (`antirez/RESP3`), and where they are silent what redis-server does.

mod commands;
mod keys;
mod probe;
mod render;
mod request;
mod response;
mod resync;
mod session;
mod status;
#[cfg(test)]
mod tests;
mod token;

use std::borrow::Cow;

use self::request::{Line, Partial, Reader, Words};
use self::response::{ErrorText, Walk};
use self::session::{Effect, Reply, Session, Told, Word};
use super::{
    Dissector, Input, Mark, Message, Output, Pairing, Parsed, Past, Plain, Probe, Protocol, Resync,
    Role, StatusName, Text, Verdict,
};
use crate::flow::Direction;
use crate::limits;
use crate::wire::Transport;

/// The protocol of redis, Valkey and their kin.
#[derive(Debug)]
pub struct Redis;

impl Protocol for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp]
    }

    fn ports(&self) -> &'static [u16] {
        &[6379]
    }

    fn pairing(&self) -> Pairing {
        Pairing::InOrder
    }

    fn commands(&self) -> &'static [&'static str] {
        commands::names()
    }

    fn probe(&self, _: Transport, bytes: &[u8]) -> Probe {
        probe::probe(bytes)
    }

    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        Box::new(RedisDissector::new())
    }

    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        render::render(kept, max, out)
    }

    fn keys(&self, command: u16, kept: &[u8], each: &mut dyn FnMut(&[u8])) {
        keys::keys(command, kept, each);
    }

    fn argument_sizes(&self, kept: &[u8], max: usize, out: &mut Vec<u32>) {
        keys::sizes(kept, max, out);
    }

    fn status(&self, code: u16) -> StatusName {
        status::name(code).map_or(StatusName::Code(code), StatusName::Name)
    }
}

/// Why a direction goes on as something else.
const REPLICATION: &str = "replication";

/// Parser of one conversation.
struct RedisDissector {
    session: Session,
    /// The request whose beginning was consumed.
    request: Option<Box<Partial>>,
    /// The response whose beginning was consumed.
    response: Option<Box<PartialResponse>>,
    /// How many bytes at the front of each direction's next input hold no line feed.
    seen: [u32; 2],
    /// What to look for after a loss.
    lost: Option<Box<[Lost; 2]>>,
}

/// A response whose beginning was consumed.
struct PartialResponse {
    start: u64,
    first: Mark,
    /// Stream offset of the first byte not yet consumed or skipped.
    next: u64,
    last: Mark,
    walk: Walk,
    /// What is told of a long error that has been consumed.
    text: Vec<u8>,
    text_len: u32,
}

/// What is known of a direction that lost bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// Here a message begins: the one before it had a known length.
    landmark: Option<u64>,
    /// Here none begins: it was tried.
    malformed: Option<u64>,
    /// Here a segment begins that may begin with a message.
    anchor: Option<u64>,
    /// The message before the loss was told as cut.
    cut: bool,
}

impl Lost {
    /// Whether nothing is looked for any more; other places are gone by.
    fn is_found(&self) -> bool {
        self.landmark.is_none() && !self.cut
    }
}

/// Where a message lies in the input of this call, or began before it.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    first: Mark,
    end: u64,
    last: Mark,
}

impl Place {
    fn of(input: &Input<'_>, from: usize, to: usize) -> Self {
        Self {
            start: input.offset + from as u64,
            first: input.mark(from),
            end: input.offset + to as u64,
            last: input.mark(to.saturating_sub(1)),
        }
    }
}

impl Dissector for RedisDissector {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        let parsed = match direction {
            Direction::ToServer => self.requests(input, out),
            Direction::ToClient => {
                self.session.heard();
                self.responses(input, out)
            }
        };
        if let Verdict::Malformed(_) = parsed.verdict {
            self.drop_partial(direction);
            self.lost(direction).malformed = Some(input.offset + parsed.consumed as u64);
        }
        parsed
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        self.drop_partial(direction);
        let lost = *self.lost(direction);
        if let Some(resync) = at_landmark(lost.landmark, direction, input) {
            if let Resync::Found(_) = resync {
                self.lost(direction).landmark = None;
            }
            return resync;
        }
        self.lost(direction).landmark = None;
        let found = self.search(direction, input, lost);
        self.lost(direction).anchor = found.anchor.map(|at| input.offset + at as u64);
        found.resync
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        match direction {
            Direction::ToServer => self.cut_request(out),
            Direction::ToClient => self.cut_response(out),
        }
        self.drop_partial(direction);
        self.session.lose();
    }

    fn implied(&mut self, direction: Direction, lost: u64) -> Option<&'static [u8]> {
        match direction {
            Direction::ToServer => self.request.as_mut()?.implied(lost),
            Direction::ToClient => self.response.as_mut()?.walk.implied(lost),
        }
    }

    fn rest(&self) -> Option<Past> {
        let mut lost = self.lost.iter().flat_map(|lost| lost.iter());
        let ends = self.request.is_none() && self.response.is_none() && self.seen == [0; 2];
        let found = lost.all(Lost::is_found);
        self.session.rest().filter(|_| ends && found)
    }

    fn resume(&mut self, past: Past) {
        self.session.resume(past);
    }

    fn bytes(&self) -> usize {
        self.session.bytes()
    }

    fn close(&mut self, direction: Direction, _: u64, _: Mark, _: &mut Output) {
        self.drop_partial(direction);
    }
}

/// After a loss: the place where a message must begin, if that is still ahead and what stands there is no other thing.
fn at_landmark(landmark: Option<u64>, direction: Direction, input: &Input<'_>) -> Option<Resync> {
    let ahead = landmark?.checked_sub(input.offset)?;
    let index = usize::try_from(ahead).unwrap_or(usize::MAX);
    let Some(rest) = input.bytes.get(index..).filter(|rest| !rest.is_empty()) else {
        return Some(Resync::Nowhere { keep: 0 });
    };
    let broken = match direction {
        Direction::ToServer => resync::is_no_request(rest),
        Direction::ToClient => resync::is_no_response(rest),
    };
    (!broken).then_some(Resync::Found(index))
}

impl RedisDissector {
    fn new() -> Self {
        Self {
            session: Session::new(),
            request: None,
            response: None,
            seen: [0; 2],
            lost: None,
        }
    }

    fn lost(&mut self, direction: Direction) -> &mut Lost {
        let [requests, responses] = self.lost.get_or_insert_default().as_mut();
        match direction {
            Direction::ToServer => requests,
            Direction::ToClient => responses,
        }
    }

    fn drop_partial(&mut self, direction: Direction) {
        match direction {
            Direction::ToServer => self.request = None,
            Direction::ToClient => self.response = None,
        }
        self.set_seen(direction, 0);
    }

    fn set_seen(&mut self, direction: Direction, bytes: usize) {
        let [requests, responses] = &mut self.seen;
        match direction {
            Direction::ToServer => *requests = bytes as u32,
            Direction::ToClient => *responses = bytes as u32,
        }
    }

    fn search(&mut self, direction: Direction, input: &Input<'_>, lost: Lost) -> resync::Found {
        let behind = lost
            .malformed
            .and_then(|bad| (bad + 1).checked_sub(input.offset));
        let starts = resync::Starts {
            fresh: input.old == 0 || lost.anchor == Some(input.offset),
            old: input.old,
            from: behind.map_or(0, |behind| usize::try_from(behind).unwrap_or(usize::MAX)),
        };
        if direction == Direction::ToServer {
            self.session.lost_requests();
            return resync::request(input.bytes, starts);
        }
        let awaited = self.session.awaited();
        let found = resync::response(input.bytes, starts, awaited, lost.cut);
        if let Resync::Found(_) = found.resync {
            self.session.lost_responses(found.count, awaited);
            self.lost(direction).cut = false;
        }
        self.session.heard();
        found
    }
}

/// Requests.
impl RedisDissector {
    fn requests(&mut self, input: &Input<'_>, out: &mut Output) -> Parsed {
        let seen = std::mem::take(&mut self.seen[0]) as usize;
        let mut at = 0;
        if let Some(partial) = self.request.take() {
            match self.resume_request(partial, input, 0, 0, out) {
                Ok(end) => at = end,
                Err(parsed) => return parsed,
            }
        }
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(found) = request::whole(rest) {
                if at >= input.old && self.session.ask_plainly(found.kind) {
                    out.push_plain(plain_request(at, &found), Direction::ToServer, input);
                } else {
                    self.tell_whole(input, at, rest, &found, out);
                }
                at += found.len;
                continue;
            }
            let line_seen = if at == 0 { seen } else { 0 };
            match self.other_request(input, at, rest, line_seen, out) {
                Ok(end) => at = end,
                Err(parsed) => return parsed,
            }
        }
        consumed(at)
    }

    #[inline(never)]
    fn tell_whole(
        &mut self,
        input: &Input<'_>,
        at: usize,
        rest: &[u8],
        found: &request::Request,
        out: &mut Output,
    ) {
        let effect = if found.kind.has_options() {
            Reader::effect_of(rest)
        } else {
            Effect::None
        };
        let told = self.session.request(found.kind, effect, found.arguments);
        let place = Place::of(input, at, at + found.len);
        let text = input_text(at, found.len);
        out.messages
            .push(message(place, told, found.command, text, found.text_len));
    }

    /// Something else than an array that lies whole in the input.
    #[cold]
    fn other_request(
        &mut self,
        input: &Input<'_>,
        at: usize,
        rest: &[u8],
        seen: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        let Some((b'*', body)) = rest.split_first() else {
            return self.inline(input, at, rest, seen, out);
        };
        match token::number(body) {
            token::Token::Short => Err(consumed(at)),
            token::Token::Whole(count, len) if count <= 0 => Ok(at + 1 + len),
            token::Token::Whole(count, len) if count <= i64::from(request::ARGUMENTS) => {
                let partial = Partial::new(
                    input.offset + at as u64,
                    input.mark(at),
                    count as u32,
                    out.wants_text,
                );
                self.resume_request(Box::new(partial), input, at, at + 1 + len, out)
            }
            token::Token::Whole(..) => Err(malformed(at, "more arguments than redis takes")),
            token::Token::Bad => Err(malformed(at, "an array without its count")),
        }
    }

    /// Goes on with a request from `at`; its bytes from `from` on are not kept yet.
    fn resume_request(
        &mut self,
        mut partial: Box<Partial>,
        input: &Input<'_>,
        from: usize,
        mut at: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        let step = partial.advance(input.bytes, from, &mut at);
        partial.keep(input.bytes.get(from..at).unwrap_or_default());
        match step {
            request::Step::Done => {
                let end = Place::of(input, from, at);
                self.tell_partial(&partial, end.end, end.last, 0, out);
                Ok(at)
            }
            request::Step::More(skip) => {
                partial.next = input.offset + at as u64 + skip;
                partial.last = input.last;
                self.request = Some(partial);
                Err(Parsed {
                    consumed: at,
                    skip,
                    verdict: Verdict::Continue,
                })
            }
            request::Step::Bad(reason) => Err(malformed(at, reason)),
        }
    }

    fn tell_partial(
        &mut self,
        partial: &Partial,
        end: u64,
        last: Mark,
        flags: u8,
        out: &mut Output,
    ) {
        let reader = &partial.reader;
        let told = self
            .session
            .request(reader.kind, reader.effect, partial.arguments);
        let place = Place {
            start: partial.start,
            first: partial.first,
            end,
            last,
        };
        let text = if partial.kept.is_empty() {
            Text::None
        } else {
            out.keep(&partial.kept)
        };
        let mut message = message(
            place,
            told,
            reader.command,
            text,
            reader.text_len(partial.arguments),
        );
        message.flags |= flags;
        out.messages.push(message);
    }

    fn inline(
        &mut self,
        input: &Input<'_>,
        at: usize,
        rest: &[u8],
        seen: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        let (line, len) = match request::line(rest, seen) {
            Line::Whole(line, len) => (line, len),
            Line::Bad(reason) => return Err(malformed(at, reason)),
            Line::Short => {
                self.set_seen(Direction::ToServer, rest.len());
                return Err(consumed(at));
            }
        };
        let mut reader = Reader::default();
        for word in Words::of(line) {
            reader.read(&word.bytes, word.len);
        }
        if reader.arguments > 0 {
            let told = self
                .session
                .request(reader.kind, reader.effect, reader.arguments);
            let text = input_text(at, line.len());
            let place = Place::of(input, at, at + len);
            out.messages.push(message(
                place,
                told,
                reader.command,
                text,
                reader.text_len(reader.arguments),
            ));
        }
        Ok(at + len)
    }

    /// Ends a request of which bytes were lost, if it was seen what it is.
    fn cut_request(&mut self, out: &mut Output) {
        let Some(partial) = self
            .request
            .take()
            .filter(|partial| partial.reader.arguments > 0)
        else {
            return;
        };
        self.lost(Direction::ToServer).landmark = partial.end();
        let end = partial.end().unwrap_or(partial.next);
        self.tell_partial(&partial, end, partial.last, Message::CUT, out);
    }
}

/// Responses.
impl RedisDissector {
    fn responses(&mut self, input: &Input<'_>, out: &mut Output) -> Parsed {
        let seen = std::mem::take(&mut self.seen[1]) as usize;
        let mut at = 0;
        if let Some(partial) = self.response.take() {
            match self.resume_response(partial, input, 0, seen, out) {
                Ok(end) => at = end,
                Err(parsed) => return parsed,
            }
        }
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if at >= input.old
                && let Some(quick) = response::quick(rest)
                && let Some(counts) = self.session.answer_plainly(quick.null)
            {
                let plain = plain_response(at, quick.len, counts);
                out.push_plain(plain, Direction::ToClient, input);
                at += quick.len;
                continue;
            }
            let line_seen = if at == 0 { seen } else { 0 };
            match self.other_response(input, at, rest, line_seen, out) {
                Ok(end) => at = end,
                Err(parsed) => return parsed,
            }
        }
        consumed(at)
    }

    /// Something else than a scalar that lies whole in the input.
    fn other_response(
        &mut self,
        input: &Input<'_>,
        at: usize,
        rest: &[u8],
        seen: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        if self.session.awaits_replication() {
            match rest.first() {
                // A master that is busy saving says so, byte by byte.
                Some(b'\n') => return Ok(at + 1),
                Some(b'$') => return self.replication(input, at, rest, seen, out),
                _ => {}
            }
        }
        if let Some((b'*', body)) = rest.split_first()
            && self.session.awaits_parts()
        {
            match token::number(body) {
                token::Token::Short => return Err(consumed(at)),
                token::Token::Whole(elements @ 0.., len) => {
                    let end = at + 1 + len;
                    let told = self
                        .session
                        .parts(u32::try_from(elements).unwrap_or(u32::MAX));
                    let place = Place::of(input, at, end);
                    out.messages.push(message(place, told, 0, Text::None, 0));
                    return Ok(end);
                }
                _ => {}
            }
        }
        let mut walk = Walk::new();
        let mut end = at;
        let step = walk.advance(input.bytes, &mut end, if at == 0 { seen } else { 0 });
        match step {
            response::Step::Done => {
                let text = walk
                    .error
                    .map_or(Text::None, |error| error_text(input, error, out));
                let text_len = walk.error.map_or(0, |error| error.len);
                self.tell_response(&walk, Place::of(input, at, end), text, text_len, 0, out)
                    .map_or(Ok(end), |()| Err(opaque(end)))
            }
            response::Step::More(0) if end == at => {
                self.set_seen(Direction::ToClient, rest.len());
                Err(consumed(at))
            }
            response::Step::More(skip) => {
                let place = Place::of(input, at, end);
                let partial = PartialResponse {
                    start: place.start,
                    first: place.first,
                    next: place.end,
                    last: input.last,
                    walk,
                    text: Vec::new(),
                    text_len: 0,
                };
                Err(self.suspend(Box::new(partial), input, end, skip))
            }
            response::Step::Bad(reason) => Err(malformed(end, reason)),
        }
    }

    fn resume_response(
        &mut self,
        mut partial: Box<PartialResponse>,
        input: &Input<'_>,
        from: usize,
        seen: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        let mut at = from;
        match partial.walk.advance(input.bytes, &mut at, seen) {
            response::Step::Done => {
                let place = Place::of(input, from, at);
                let place = Place {
                    start: partial.start,
                    first: partial.first,
                    ..place
                };
                let (text, len) = match partial.walk.error {
                    Some(error) => (error_text(input, error, out), error.len),
                    None if partial.text.is_empty() => (Text::None, 0),
                    None => (out.keep(&partial.text), partial.text_len),
                };
                self.tell_response(&partial.walk, place, text, len, 0, out)
                    .map_or(Ok(at), |()| Err(opaque(at)))
            }
            response::Step::More(skip) => Err(self.suspend(partial, input, at, skip)),
            response::Step::Bad(reason) => Err(malformed(at, reason)),
        }
    }

    fn suspend(
        &mut self,
        mut partial: Box<PartialResponse>,
        input: &Input<'_>,
        at: usize,
        skip: u64,
    ) -> Parsed {
        partial.next = input.offset + at as u64 + skip;
        partial.last = input.last;
        if let Some(ErrorText { start, shown, len }) = partial.walk.error.take() {
            let text = input.bytes.get(start..start + shown).unwrap_or_default();
            partial.text = status::without_secrets(text).into_owned();
            partial.text_len = len;
        }
        self.response = Some(partial);
        if skip == 0 {
            self.set_seen(Direction::ToClient, input.bytes.len().saturating_sub(at));
        }
        Parsed {
            consumed: at,
            skip,
            verdict: Verdict::Continue,
        }
    }

    /// Whether a replication link begins behind it.
    fn tell_response(
        &mut self,
        walk: &Walk,
        place: Place,
        text: Text,
        text_len: u32,
        flags: u8,
        out: &mut Output,
    ) -> Option<()> {
        let told = self.session.response(&walk.reply);
        let mut message = message(place, told, 0, text, text_len);
        message.flags |= flags;
        // What failed within a transaction is no failure of EXEC.
        if walk.reply.error && !told.part {
            message.flags |= Message::ERROR;
            message.status = walk.status;
        }
        out.messages.push(message);
        told.opaque.then_some(())
    }

    /// SYNC is answered by the length of a snapshot, and then by the snapshot.
    fn replication(
        &mut self,
        input: &Input<'_>,
        at: usize,
        rest: &[u8],
        seen: usize,
        out: &mut Output,
    ) -> Result<usize, Parsed> {
        let Some(line) = token::line(rest, seen) else {
            if rest.len() > response::LINE_BYTES {
                return Err(malformed(at, "a line too long"));
            }
            self.set_seen(Direction::ToClient, rest.len());
            return Err(consumed(at));
        };
        let end = at + line.len() + 1;
        let told = self.session.response(&Reply {
            kind: b'+',
            word: Word::Replication,
            ..Reply::default()
        });
        out.messages
            .push(message(Place::of(input, at, end), told, 0, Text::None, 0));
        Err(opaque(end))
    }

    /// Ends a response of which bytes were lost, if its type was seen.
    fn cut_response(&mut self, out: &mut Output) {
        let Some(partial) = self
            .response
            .take()
            .filter(|partial| partial.walk.reply.kind != 0)
        else {
            return;
        };
        let end = partial.walk.end().map(|left| partial.next + left);
        let lost = self.lost(Direction::ToClient);
        (lost.landmark, lost.cut) = (end, true);
        let place = Place {
            start: partial.start,
            first: partial.first,
            end: end.unwrap_or(partial.next),
            last: partial.last,
        };
        let text = if partial.text.is_empty() {
            Text::None
        } else {
            out.keep(&partial.text)
        };
        self.tell_response(
            &partial.walk,
            place,
            text,
            partial.text_len,
            Message::CUT,
            out,
        );
    }
}

/// A request that came whole in this input, with nothing special about it.
#[inline(always)]
fn plain_request(at: usize, found: &request::Request) -> Plain {
    Plain {
        start: at as u32,
        len: found.len as u32,
        text_len: found.text_len,
        command: found.command,
        hits: 0,
        misses: 0,
    }
}

/// A response that came whole in this input, with nothing special about it.
#[inline(always)]
fn plain_response(at: usize, len: usize, (hits, misses): (u8, u8)) -> Plain {
    Plain {
        start: at as u32,
        len: len as u32,
        text_len: 0,
        command: 0,
        hits,
        misses,
    }
}

#[inline]
fn message(place: Place, told: Told, command: u16, text: Text, text_len: u32) -> Message {
    Message {
        role: told.role,
        phase: super::Phase::Whole,
        flags: told.flags,
        command,
        status: 0,
        replies: u16::from(told.role == Role::Request),
        hits: told.hits,
        misses: told.misses,
        id: None,
        start: place.start,
        end: place.end,
        first: place.first,
        last: place.last,
        text,
        text_len,
    }
}

#[inline(always)]
fn input_text(start: usize, len: usize) -> Text {
    Text::Input {
        start: start as u32,
        len: len.min(limits::KEPT_BYTES) as u32,
    }
}

/// What is told of an error.
fn error_text(input: &Input<'_>, error: ErrorText, out: &mut Output) -> Text {
    let ErrorText { start, shown, .. } = error;
    let text = input.bytes.get(start..start + shown).unwrap_or_default();
    match status::without_secrets(text) {
        Cow::Owned(told) => out.keep(&told),
        Cow::Borrowed(_) => input_text(start, shown),
    }
}

fn consumed(at: usize) -> Parsed {
    Parsed {
        consumed: at,
        skip: 0,
        verdict: Verdict::Continue,
    }
}

fn malformed(at: usize, reason: &'static str) -> Parsed {
    Parsed {
        consumed: at,
        skip: 0,
        verdict: Verdict::Malformed(reason),
    }
}

fn opaque(at: usize) -> Parsed {
    Parsed {
        consumed: at,
        skip: 0,
        verdict: Verdict::Opaque(REPLICATION),
    }
}
