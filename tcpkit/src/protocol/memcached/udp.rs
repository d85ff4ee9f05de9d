//! Datagrams: a frame header of 8 bytes, then text or binary as over TCP (doc/protocol.txt, "UDP protocol").
//!
//! A request is one datagram, and a response one or more, which [`answer`] puts together. The request id pairs. Where
//! several requests wait that have the same, as several commands in one datagram do, the kind of a response has to say whose it
//! is; where it fits more than one, it is [`Message::UNSURE`] for them all, since datagrams have no order, and any may be
//! lost. Quiet commands beside others are told as one-way.
//!
//! Within the reordering window datagrams may come in any order. What came ahead of its time is held back, and told when its time
//! has come or the window has passed ([`Exchange::release`]): later datagrams of a series, a response before its
//! request, and a response that leaves keys out of those asked for, of which another datagram may still hold an item. One that
//! comes again, just as it was, is one-way, as long as it cannot be another request.

mod answer;
mod frame;
mod reuse;
mod scan;

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use self::answer::{Answer, Datagram, End, Part};
use self::frame::{FRAME, Frame};
use self::reuse::Reuse;
use super::command::{self, Kind, word};
use super::pending::{Entry, Reply, hash};
use super::reply::Done;
use super::{Head, Step, binary, find, keys, request};
use crate::flow::Direction;
use crate::limits::{
    KEPT_BYTES, MEMCACHED_ANSWERED, MEMCACHED_ASKED, MEMCACHED_REPEAT_TIME, MEMCACHED_UDP,
    REORDER_FRAMES, REORDER_TIME,
};
use crate::protocol::window::Since;
use crate::protocol::{Input, Message, Output, Parsed, Probe, Role, Text, Verdict};
use crate::source::Timestamp;

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

/// A request that waits.
#[derive(Debug)]
struct Asked {
    id: u16,
    /// Tells it apart from others of the same id.
    place: u32,
    entry: Entry,
    /// Of its datagram.
    print: u64,
    time: Timestamp,
    /// It was told as one-way.
    silent: bool,
    /// A response may have been its own, or not.
    vague: bool,
    /// A snap length cut its datagram within a command: others may follow.
    cut: bool,
}

impl Asked {
    /// What pairs it.
    fn pair(&self) -> u64 {
        pair(self.id, self.place)
    }
}

/// What pairs a response that is of no request that is known.
const NOBODYS: u64 = 1 << 48;

/// What pairs a request, and its response: the id, and what tells apart requests that have the same.
fn pair(id: u16, place: u32) -> u64 {
    u64::from(place) << 16 | u64::from(id)
}

/// State of one conversation over UDP.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Datagrams so far.
    datagrams: u32,
    /// Oldest first.
    asked: VecDeque<Asked>,
    /// Responses that are not complete, or wait for something.
    answers: VecDeque<Answer>,
    /// Ids of the latest responses that were told.
    answered: VecDeque<u16>,
    /// The latest datagrams of responses, by what is in them.
    prints: VecDeque<(u16, u64)>,
    /// The latest number that told a request apart from another of its id.
    places: u32,
    /// How the client uses ids again.
    reuse: Reuse,
}

/// Whose a response is.
enum Whose {
    Nobodys,
    /// Of the request at this place.
    Ones(usize),
    /// It may be of any of several.
    Anyones,
}

impl Exchange {
    /// Takes one datagram.
    pub(super) fn datagram(
        &mut self,
        direction: Direction,
        input: &Input<'_>,
        out: &mut Output,
    ) -> Parsed {
        self.datagrams = self.datagrams.wrapping_add(1);
        let result = match Frame::read(input.bytes) {
            None => Err("a datagram without a frame header"),
            Some((frame, payload)) if direction == Direction::ToServer => {
                self.requests(frame, payload, input, out)
            }
            Some((frame, payload)) => self.response(frame, payload, input, out),
        };
        Parsed {
            consumed: input.bytes.len(),
            skip: 0,
            verdict: result.err().map_or(Verdict::Continue, Verdict::Malformed),
        }
    }

    /// Whether something is held back.
    pub(super) fn holds(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The memory that waiting requests and responses take.
    pub(super) fn bytes(&self) -> usize {
        let answers: usize = self.answers.iter().map(Answer::bytes).sum();
        self.asked.capacity() * size_of::<Asked>() + answers
    }

    /// Tells what need not be held back any longer at `now`; all of it where nothing more will come.
    pub(super) fn release(&mut self, now: Option<Timestamp>, out: &mut Output) {
        for _ in 0..self.answers.len() {
            let Some(mut answer) = self.answers.pop_front() else {
                return;
            };
            let over =
                answer.lapsed || now.is_none_or(|now| answer.since.is_over(now, self.datagrams));
            if !over && !std::mem::take(&mut answer.stirred) {
                self.answers.push_back(answer);
                continue;
            }
            match now {
                Some(time) if over && answer.has_holes() => {
                    let datagrams = self.datagrams;
                    answer.give_up(Since { time, datagrams });
                    self.settle(answer, false, out);
                }
                _ => self.settle(answer, over, out),
            }
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
        let print = print(input);
        let again = self.begin(frame.id, print, input.last.time);
        let mut at = FRAME;
        // More commands follow that a snap length cut off.
        let mut hidden = false;
        // More may.
        let mut cut_short = false;
        while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (mut head, ends) = head(rest, input.lost)?;
            let len = usize::try_from(head.total())
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let last = at + len == input.bytes.len();
            let cut = match (last, ends) {
                (false, _) => 0,
                (true, true) => u64::from(input.lost).min(head.total() - len as u64),
                (true, false) => u64::from(input.lost),
            };
            hidden |= last && cut < u64::from(input.lost);
            cut_short |= last && !ends && cut > 0;
            name_key(&mut head, rest);
            let mut message = request_message(at, at + len, cut, input);
            message.command = head.command;
            message.text = Text::Input {
                start: at as u32,
                len: head.text.min(KEPT_BYTES).min(len) as u32,
            };
            message.text_len = head.text_len;
            if cut > 0 || head.total() > rest.len() as u64 {
                message.flags |= Message::CUT;
            }
            match head.entry {
                Some(entry) if !again => self.ask(frame.id, entry, print, &mut message),
                _ => message.role = Role::OneWay,
            }
            out.messages.push(message);
            at += len;
        }
        let told = out.messages.get_mut(before..).unwrap_or_default();
        for asked in self.asked.iter_mut().filter(|asked| asked.print == print) {
            asked.vague |= hidden;
            asked.cut |= cut_short;
        }
        if hidden || told.len() > 1 {
            for message in told
                .iter_mut()
                .filter(|message| message.has(Message::QUIET))
            {
                (message.role, message.id) = (Role::OneWay, None);
                message.flags &= !Message::QUIET;
            }
            for asked in self.asked.iter_mut().filter(|asked| asked.print == print) {
                asked.silent |= asked.entry.has(Entry::QUIET);
            }
        }
        if payload.is_empty() {
            Err("a datagram without a request")
        } else {
            Ok(())
        }
    }

    /// A datagram of requests: whether it came before. If not, older requests of its id are given up by their client, and so are
    /// those of which nobody knows whether they were answered.
    fn begin(&mut self, id: u16, print: u64, time: Timestamp) -> bool {
        let same = |asked: &Asked| asked.id == id && asked.print == print && !asked.vague;
        let waits = |asked: &Asked| !time.is_past(asked.time, MEMCACHED_REPEAT_TIME);
        // Of a client that numbers all its requests alike it may be another one.
        if self.reuse.is_varied(id) && self.asked.iter().any(|asked| same(asked) && waits(asked)) {
            return true;
        }
        self.reuse.note(id);
        if self
            .asked
            .iter()
            .any(|asked| asked.id == id && !asked.entry.has(Entry::QUIET))
        {
            self.reuse.doubt();
        }
        self.asked.retain(|asked| {
            let settled = asked.vague && time.is_past(asked.time, REORDER_TIME);
            asked.id != id || waits(asked) && !settled
        });
        let varied = self.reuse.is_varied(id);
        let place = self.place(id);
        let answer = place.and_then(|index| self.answers.get_mut(index));
        let goes_on = answer.is_some_and(|answer| {
            // Where a client numbers all its requests alike, what came early is of one that was not seen.
            let begun_before = || answer.begun().is_none_or(|begun| begun.time < time);
            answer.lapsed = answer.early && !varied && begun_before();
            !answer.lapsed
        });
        if !goes_on {
            self.prints.retain(|(of, _)| *of != id);
        }
        false
    }

    /// Where the answer of this id is, if one is under way.
    fn place(&self, id: u16) -> Option<usize> {
        let goes_on = |answer: &Answer| answer.id == id && !answer.lapsed;
        self.answers.iter().position(goes_on)
    }

    /// A number that no request of this id has that waits: 0 where none does.
    fn free_place(&mut self, id: u16) -> u32 {
        if self.asked.iter().all(|asked| asked.id != id) {
            return 0;
        }
        self.places = self.places.wrapping_add(1).max(1);
        self.places
    }

    fn ask(&mut self, id: u16, entry: Entry, print: u64, message: &mut Message) {
        if entry.has(Entry::QUIET) {
            message.flags |= Message::QUIET;
        }
        let place = self.free_place(id);
        let asked = Asked {
            id,
            place,
            entry,
            print,
            time: message.last.time,
            silent: false,
            vague: false,
            cut: false,
        };
        message.id = Some(asked.pair());
        if self.asked.len() >= MEMCACHED_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
        for answer in self.answers.iter_mut().filter(|answer| answer.id == id) {
            answer.stirred = true;
        }
    }

    /// One datagram of a response, or several responses in one datagram.
    fn response(
        &mut self,
        frame: Frame,
        payload: &[u8],
        input: &Input<'_>,
        out: &mut Output,
    ) -> Result<(), &'static str> {
        let asked = self.asked.iter().any(|asked| asked.id == frame.id);
        let print = print(input);
        if self.prints.contains(&(frame.id, print)) {
            let lost = input.lost.into();
            let mut message = request_message(FRAME, input.bytes.len(), lost, input);
            message.role = Role::OneWay;
            out.messages.push(message);
            return Ok(());
        }
        if self.prints.len() >= REORDER_FRAMES as usize {
            self.prints.pop_front();
        }
        self.prints.push_back((frame.id, print));
        let now = Since {
            time: input.last.time,
            datagrams: self.datagrams,
        };
        let known = self
            .place(frame.id)
            .and_then(|index| self.answers.remove(index));
        let fresh = known.is_none();
        let mut answer = known.unwrap_or_else(|| Answer::new(frame.id, now));
        if fresh && !asked {
            answer.early = true;
            self.reuse.doubt();
        }
        let datagram = Datagram {
            frame,
            payload,
            lost: input.lost,
            start: input.offset,
            seen: (input.first, input.last),
        };
        let result = answer.take(&datagram, now);
        if result.is_err() && fresh && frame.total == 1 {
            return result;
        }
        let over = answer.is_full() || answer.early && self.answered.contains(&frame.id);
        self.settle(answer, over, out);
        if self.answers.len() > MEMCACHED_UDP
            && let Some(oldest) = self.answers.pop_front()
        {
            self.settle(oldest, true, out);
        }
        Ok(())
    }

    /// Tells what is complete of an answer, or all of it where nothing more will come, and keeps the rest.
    fn settle(&mut self, mut answer: Answer, over: bool, out: &mut Output) {
        if over {
            answer.end();
        }
        while answer.is_whole()
            && let Some(end) = answer.ends.pop_front()
        {
            if !self.tell(&mut answer, &end, over, out) {
                answer.ends.push_front(end);
                break;
            }
        }
        if over {
            self.tell_cut(&answer, out);
        } else if !answer.is_told() {
            self.answers.push_back(answer);
        }
    }

    /// Tells a response that has ended; false, and nothing done, where something has to be waited for.
    fn tell(&mut self, answer: &mut Answer, end: &End, over: bool, out: &mut Output) -> bool {
        let whose = self.whose(answer, Some(&end.done.reply));
        if matches!(whose, Whose::Nobodys) && !over {
            return false;
        }
        let listed = end.done.reply.word & (word::ITEMS | word::LINES) != 0;
        let (mut part, mut done) = (end.part, end.done);
        if listed {
            part.join(&answer.loose);
            done.hits += answer.items;
            done.reply.items += answer.items;
        }
        let mut message = response_message(&part);
        done.fill(&mut message);
        if command::is_error(message.status) {
            message.flags |= Message::ERROR;
        }
        match whose {
            Whose::Nobodys => {
                message.id = Some(self.nobodys(answer));
                if !listed && done.reply.opcode.is_none() {
                    (message.hits, message.misses) = (0, 0);
                }
            }
            Whose::Anyones => {
                self.doubt(answer.id, &message, Some(&done.reply), out);
                (answer.loose, answer.items) = (Part::default(), 0);
                return true;
            }
            Whose::Ones(place) => {
                if !over && self.may_lack(place, &done) {
                    return false;
                }
                let Some(entry) = self.settle_asked(place, &mut message) else {
                    return true;
                };
                entry.count_keys(&done.reply, &mut message);
            }
        }
        if listed {
            (answer.loose, answer.items) = (Part::default(), 0);
        }
        if !end.text.is_empty() {
            message.text = out.keep(&end.text);
        }
        out.messages.push(message);
        self.note_answered(answer.id);
        true
    }

    /// Tells what came of a response that has no end.
    fn tell_cut(&mut self, answer: &Answer, out: &mut Output) {
        if answer.is_told() {
            return;
        }
        let mut message = response_message(&answer.loose);
        message.flags |= Message::CUT;
        match self.whose(answer, None) {
            Whose::Nobodys => message.id = Some(self.nobodys(answer)),
            Whose::Anyones => return self.doubt(answer.id, &message, None, out),
            Whose::Ones(place) => {
                let Some(entry) = self.settle_asked(place, &mut message) else {
                    return;
                };
                if entry.kind == Kind::Get {
                    message.hits = answer.items;
                }
            }
        }
        out.messages.push(message);
        self.note_answered(answer.id);
    }

    /// The request at this place has its response, which gets what pairs it.
    fn settle_asked(&mut self, place: usize, message: &mut Message) -> Option<Entry> {
        let asked = self.asked.remove(place)?;
        message.id = Some(asked.pair());
        message.flags |= self.reuse.flags();
        if asked.cut {
            message.flags |= Message::LIKELY;
        }
        if asked.silent {
            (message.role, message.id) = (Role::OneWay, None);
        }
        Some(asked.entry)
    }

    /// A response may be of any of the requests that wait for one such: none of them is sure from here on.
    fn doubt(&mut self, id: u16, message: &Message, reply: Option<&Reply>, out: &mut Output) {
        let fits = |asked: &Asked| asked.id == id && asked.fits(reply);
        let any = self.asked.iter().any(fits);
        for asked in &mut self.asked {
            if asked.id == id && !asked.silent && !asked.vague && (!any || fits(asked)) {
                asked.vague = true;
                let mut message = message.clone();
                message.id = Some(asked.pair());
                message.flags |= Message::UNSURE | Message::MORE;
                out.messages.push(message);
            }
        }
        self.note_answered(id);
    }

    /// What pairs a response that nobody asked for who waits. Of very many requests some were forgotten here.
    fn nobodys(&self, answer: &Answer) -> u64 {
        let waits = self.asked.iter().any(|asked| asked.id == answer.id);
        match answer.lapsed || waits {
            true => NOBODYS,
            false => pair(answer.id, 0),
        }
    }

    /// Whose a response is: of who waits for one of its kind, or else of the only one who waits.
    fn whose(&self, answer: &Answer, reply: Option<&Reply>) -> Whose {
        let same = |(_, asked): &(usize, &Asked)| asked.id == answer.id && !answer.lapsed;
        let waiting = || self.asked.iter().enumerate().filter(same);
        let mut fitting = waiting().filter(|(_, asked)| asked.fits(reply));
        let found = match (fitting.next(), fitting.next()) {
            // What no request can get is of none that is known.
            (None, _) if reply.is_none() => {
                let mut loud = waiting().filter(|(_, asked)| !asked.silent);
                (loud.next(), loud.next())
            }
            found => found,
        };
        match found {
            (None, _) => Whose::Nobodys,
            (Some((_, asked)), None) if reply.is_some_and(|reply| !asked.entry.accepts(reply)) => {
                Whose::Nobodys
            }
            (Some((place, asked)), None) if !asked.vague => Whose::Ones(place),
            _ => Whose::Anyones,
        }
    }

    /// Whether another datagram may hold an item that the response seems to lack.
    fn may_lack(&self, place: usize, done: &Done) -> bool {
        self.asked.get(place).is_some_and(|asked| {
            let keys = u32::from(asked.entry.count);
            asked.entry.kind == Kind::Get && done.status == 0 && keys > 1 && done.reply.items < keys
        })
    }

    fn note_answered(&mut self, id: u16) {
        if self.answered.contains(&id) {
            return;
        }
        if self.answered.len() >= MEMCACHED_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back(id);
    }
}

impl Asked {
    /// Whether it can get a response of this kind, of whatever key; where nothing is known of it, any request can.
    fn fits(&self, reply: Option<&Reply>) -> bool {
        reply.is_none_or(|reply| self.entry.accepts(&Reply { key: 0, ..*reply }))
    }
}

/// What is in a datagram.
fn print(input: &Input<'_>) -> u64 {
    FixedState::default().hash_one((input.bytes, input.lost))
}

/// The request that `bytes` begin with; `lost` bytes are missing behind them.
/// With it whether its head was captured whole.
fn head(bytes: &[u8], lost: u32) -> Result<(Head, bool), &'static str> {
    let cut: Vec<u8>;
    let mut step = request(bytes, 0);
    let ends = !matches!(step, Step::More);
    if matches!(step, Step::More) && lost > 0 && bytes.first() != Some(&binary::REQUEST) {
        cut = [bytes, b"\r\n"].concat();
        step = request(&cut, 0);
    }
    match step {
        Step::More => Err("a datagram that ends within a request"),
        Step::Bad(why) => Err(why),
        Step::Done(head) => Ok((head, ends)),
    }
}

/// Notes the key that the only item of a response names.
fn name_key(head: &mut Head, bytes: &[u8]) {
    if let Some(entry) = &mut head.entry
        && entry.kind == Kind::Get
        && entry.count == 1
    {
        let line = bytes.get(..head.text.min(bytes.len())).unwrap_or_default();
        keys::keys(line, &mut |key| entry.key = hash(key));
    }
}

/// The message that these bytes of a datagram are, and so many more that were cut off.
fn request_message(from: usize, to: usize, lost: u64, input: &Input<'_>) -> Message {
    // The frame header belongs to the first message.
    let from = if from == FRAME { 0 } else { from };
    let (start, end) = (input.offset + from as u64, input.offset + to as u64 + lost);
    Message::new(Role::Request, start, end, input.mark(from), input.last)
}

fn response_message(part: &Part) -> Message {
    let (first, last) = part.seen.unwrap_or_default();
    let end = part.start + part.bytes;
    let mut message = Message::new(Role::Response, part.start, end, first, last);
    if part.cut {
        message.flags |= Message::CUT;
    }
    if part.headless {
        // When it began is not known.
        message.flags |= Message::UNSURE;
    }
    message
}
