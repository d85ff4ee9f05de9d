//! Datagrams: a frame header of 8 bytes, then text or binary as over TCP (doc/protocol.txt, "UDP protocol").
//!
//! The request id pairs. A request is one datagram. A response may be several, each of which is told
//! as a response, [`Message::MORE`] on all but the last; and a server since 1.6 numbers the datagrams of
//! each item on their own, so that a `get` of many keys is answered by several such series, the last of
//! which has the `END`. So the datagrams are read in their order, and the grammar says when the response
//! ends. Where one is missing or comes late, the response ends with the count of its series.
//!
//! Several commands in one datagram are answered by one response each, all with the same id, in
//! order; quiet ones among them are told as one-way, since the id cannot tell whose response it is.

use std::collections::VecDeque;

use super::binary;
use super::command;
use super::pending::Entry;
use super::reply::{Done, Progress, Reader};
use super::{Head, Step, find, request};
use crate::flow::Direction;
use crate::limits::{KEPT_BYTES, MEMCACHED_UDP};
use crate::protocol::{Input, Message, Output, Parsed, Probe, Role, Text, Verdict};

/// Length of the frame header in bytes.
const FRAME: usize = 8;

/// The frame header.
#[derive(Clone, Copy, Debug)]
struct Frame {
    id: u16,
    sequence: u16,
    total: u16,
    reserved: u16,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[i0, i1, s0, s1, t0, t1, r0, r1], payload) = bytes.split_first_chunk::<FRAME>()?;
        let frame = Self {
            id: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
            total: u16::from_be_bytes([t0, t1]),
            reserved: u16::from_be_bytes([r0, r1]),
        };
        (frame.sequence < frame.total).then_some((frame, payload))
    }
}

/// What a datagram looks like.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match Frame::read(bytes) {
        Some((frame, payload)) if frame.reserved == 0 && frame.sequence == 0 => {
            match find::probe(payload) {
                Probe::More => Probe::No,
                told => told,
            }
        }
        _ => Probe::No,
    }
}

/// State of one conversation over UDP.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// What was asked, by request id, oldest first.
    asked: VecDeque<(u16, Entry)>,
    /// Responses of several datagrams that are not complete.
    parts: VecDeque<Part>,
}

impl Exchange {
    /// Takes one datagram.
    pub(super) fn datagram(
        &mut self,
        direction: Direction,
        input: &Input<'_>,
        out: &mut Output,
    ) -> Parsed {
        let consumed = input.bytes.len();
        let before = out.messages.len();
        let result = match Frame::read(input.bytes) {
            None => Err("a datagram without a frame header"),
            Some((frame, payload)) if direction == Direction::ToServer => {
                self.requests(frame, payload, input, out)
            }
            Some((frame, payload)) => self.response(frame, payload, input, out),
        };
        // The frame header belongs to the first message, and the last one ends the datagram.
        if let Some(first) = out.messages.get_mut(before) {
            first.start = input.offset;
        }
        let verdict = result.err().map_or(Verdict::Continue, Verdict::Malformed);
        Parsed {
            consumed,
            skip: 0,
            verdict,
        }
    }

    fn requests(
        &mut self,
        frame: Frame,
        payload: &[u8],
        input: &Input<'_>,
        out: &mut Output,
    ) -> Result<(), &'static str> {
        let before = out.messages.len();
        let mut at = FRAME;
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let head = match request(rest, 0) {
                Step::More => return Err("a datagram that ends within a request"),
                Step::Bad(why) => return Err(why),
                Step::Done(head) => head,
            };
            let len = usize::try_from(head.total())
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let mut message = message(Role::Request, frame, at, at + len, input);
            self.ask(frame, &head, at, &mut message);
            if head.total() > rest.len() as u64 {
                message.flags |= Message::CUT;
            }
            out.messages.push(message);
            at += len;
        }
        let told = out.messages.get_mut(before..).unwrap_or_default();
        if let [_, _, ..] = told {
            for message in told
                .iter_mut()
                .filter(|message| message.has(Message::QUIET))
            {
                (message.role, message.id) = (Role::OneWay, None);
                message.flags &= !Message::QUIET;
            }
        }
        if payload.is_empty() {
            Err("a datagram without a request")
        } else {
            Ok(())
        }
    }

    fn ask(&mut self, frame: Frame, head: &Head, at: usize, message: &mut Message) {
        message.command = head.command;
        message.text = Text::Input {
            start: at as u32,
            len: head.text.min(KEPT_BYTES) as u32,
        };
        message.text_len = head.text_len;
        let Some(entry) = head.entry else {
            (message.role, message.id) = (Role::OneWay, None);
            return;
        };
        if entry.has(Entry::QUIET) {
            message.flags |= Message::QUIET;
        }
        if self.asked.len() >= MEMCACHED_UDP {
            self.asked.pop_front();
        }
        self.asked.push_back((frame.id, entry));
    }

    /// One datagram of a response, or several responses in one datagram.
    fn response(
        &mut self,
        frame: Frame,
        payload: &[u8],
        input: &Input<'_>,
        out: &mut Output,
    ) -> Result<(), &'static str> {
        let before = out.messages.len();
        let mut part = self.take_part(frame.id);
        let fresh = part.received == 0;
        part.count(frame);
        let mut at = FRAME;
        if part.in_order {
            let read = part.scan.feed(payload, &mut |end, done| {
                let end = FRAME + end;
                let mut message = message(Role::Response, frame, at, end, input);
                message.text = done.text.map_or(Text::None, |(from, to)| Text::Input {
                    start: (FRAME + from) as u32,
                    len: (to - from).min(KEPT_BYTES) as u32,
                });
                self.fill(frame.id, &done, &mut message);
                out.messages.push(message);
                at = end;
            });
            match read {
                Err(why) if fresh && frame.total == 1 => return Err(why),
                Err(_) => part.in_order = false,
                Ok(()) => {}
            }
        }
        if part.headless {
            // When the response began is not known.
            for message in out.messages.get_mut(before..).unwrap_or_default() {
                message.flags |= Message::UNSURE;
            }
        }
        let more = if part.in_order {
            part.scan.is_amid()
        } else {
            part.received < part.total
        };
        if more || at == FRAME {
            let mut message = message(Role::Response, frame, at, input.bytes.len(), input);
            if part.headless {
                message.flags |= Message::UNSURE;
            }
            if more {
                message.flags |= Message::MORE;
                self.parts.push_back(part);
            }
            out.messages.push(message);
        }
        Ok(())
    }

    /// The response of this request id, as far as it came.
    fn take_part(&mut self, id: u16) -> Part {
        let found = self.parts.iter().position(|part| part.id == id);
        if let Some(part) = found.and_then(|index| self.parts.remove(index)) {
            return part;
        }
        if self.parts.len() >= MEMCACHED_UDP {
            self.parts.pop_front();
        }
        Part::new(id)
    }

    /// Status, hits and misses of a response.
    fn fill(&mut self, id: u16, done: &Done, message: &mut Message) {
        done.fill(message);
        if command::is_error(message.status) {
            message.flags |= Message::ERROR;
        }
        let asked = self.asked.iter().position(|(asked, _)| *asked == id);
        match asked.and_then(|index| self.asked.remove(index)) {
            Some((_, entry)) => entry.count_keys(&done.reply, message),
            None if done.reply.opcode.is_none() && done.reply.word != command::word::ITEMS => {
                (message.hits, message.misses) = (0, 0);
            }
            None => {}
        }
    }
}

fn message(role: Role, frame: Frame, from: usize, to: usize, input: &Input<'_>) -> Message {
    let (start, end) = (input.offset + from as u64, input.offset + to as u64);
    // The frame header belongs to the first message.
    let first = input.mark(from - FRAME);
    let mut message = Message::new(role, start, end, first, input.last);
    message.id = Some(u64::from(frame.id));
    message
}

/// A response of several datagrams.
#[derive(Debug)]
struct Part {
    id: u16,
    /// Datagrams in the series, and how many of them came.
    total: u16,
    received: u16,
    in_order: bool,
    /// The first datagram that came is not the first of its series.
    headless: bool,
    /// No datagram came yet.
    fresh: bool,
    scan: Scan,
}

impl Part {
    fn new(id: u16) -> Self {
        Self {
            id,
            total: 0,
            received: 0,
            in_order: true,
            headless: false,
            fresh: true,
            scan: Scan::default(),
        }
    }

    /// Counts a datagram; whether it follows the one before shows in `in_order`.
    fn count(&mut self, frame: Frame) {
        if self.received >= self.total {
            (self.total, self.received) = (frame.total, 0);
        }
        self.headless |= self.fresh && frame.sequence > 0;
        self.fresh = false;
        self.in_order &= frame.sequence == self.received && frame.total == self.total;
        self.received = self.received.saturating_add(1);
    }
}

/// Reads responses from datagrams that follow each other.
#[derive(Debug, Default)]
struct Scan {
    reader: Reader,
    /// A line or header that the last datagram ended in.
    tail: Vec<u8>,
    /// Bytes of a data block that are still to come.
    skip: u64,
    /// Among the packets of one response.
    stats: bool,
}

impl Scan {
    fn is_amid(&self) -> bool {
        self.reader.is_open() || self.stats || !self.tail.is_empty() || self.skip > 0
    }

    /// Tells every response that ends in `bytes`, and where.
    fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(usize, Done),
    ) -> Result<(), &'static str> {
        let skip = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.skip -= skip as u64;
        let rest = bytes.get(skip..).unwrap_or_default();
        let mut before = std::mem::take(&mut self.tail);
        let old = before.len();
        if old == 0 {
            let used = self.read(rest, &mut |end, done| each(skip + end, done))?;
            before.extend_from_slice(rest.get(used..).unwrap_or_default());
        } else {
            before.extend_from_slice(rest);
            let used = self.read(&before, &mut |end, mut done| {
                // A text that begins in the datagram before is not told.
                let here = |at: usize| Some(skip + at.checked_sub(old)?);
                done.text = done
                    .text
                    .and_then(|(from, to)| Some((here(from)?, here(to)?)));
                each(here(end).unwrap_or(skip), done);
            })?;
            before.drain(..used);
        }
        self.tail = before;
        Ok(())
    }

    /// Tells every response that ends in `bytes`, and where; returns how many of the bytes were used.
    fn read(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(usize, Done),
    ) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (used, skip, done) = match self.one(rest) {
                Step::More => break,
                Step::Bad(why) => return Err(why),
                Step::Done(found) => found,
            };
            let data = usize::try_from(skip).unwrap_or(usize::MAX);
            let here = data.min(rest.len() - used);
            self.skip = skip - here as u64;
            at += used + here;
            if let Some(mut done) = done {
                let begun = at - used - here;
                done.text = done.text.map(|(from, to)| (begun + from, begun + to));
                each(at, done);
            }
        }
        Ok(at)
    }

    /// One step: bytes used, bytes to step over after them, the response that they end.
    fn one(&mut self, bytes: &[u8]) -> Step<(usize, u64, Option<Done>)> {
        if bytes.first() == Some(&binary::RESPONSE) && !self.reader.is_open() {
            return match binary::response(bytes) {
                Step::More => Step::More,
                Step::Bad(why) => Step::Bad(why),
                Step::Done(packet) => {
                    self.stats = packet.more;
                    let skip = packet.body + u64::from(packet.trailer);
                    Step::Done((
                        packet.len,
                        skip,
                        (!packet.more).then(|| Done::packet(&packet)),
                    ))
                }
            };
        }
        match self.reader.step(bytes, 0) {
            Step::More => Step::More,
            Step::Bad(why) => Step::Bad(why),
            Step::Done(Progress::Goes(len)) => Step::Done((len, 0, None)),
            Step::Done(Progress::Data(len, data)) => Step::Done((len, data, None)),
            Step::Done(Progress::Ends(len, done)) => Step::Done((len, 0, Some(done))),
        }
    }
}

impl Done {
    fn packet(packet: &binary::Packet) -> Self {
        Self {
            reply: packet.reply,
            status: packet.status,
            hits: packet.hits,
            misses: packet.misses,
            text: packet.text,
        }
    }
}
