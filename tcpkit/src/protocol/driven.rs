//! A conversation as the stream shows it to a dissector: what is not consumed is shown again with more
//! behind it, skips are stepped over, and what was lost is told. Every call is checked.
//!
//! For tests and fuzzing: it panics where a law is broken.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "for tests"
)]

use crate::flow::Direction;
use crate::limits::KEPT_BYTES;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Past, Phase, Protocol, Resync, Role, Text, Verdict,
};
use crate::source::Timestamp;
use crate::wire::Transport;

/// What a dissector told of one message, its head and its end put together; without times, which depend on
/// the split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub direction: Direction,
    pub role: Role,
    pub flags: u8,
    pub command: u16,
    pub status: u16,
    pub replies: u16,
    pub hits: u32,
    pub misses: u32,
    pub id: Option<u64>,
    pub start: u64,
    pub end: u64,
    pub text: Vec<u8>,
    pub text_len: u32,
    /// Whether its end was told.
    pub ended: bool,
}

/// Runs a conversation through a new dissector, each part cut into pieces of the lengths that
/// `lengths` yields (at least 1), and closes it.
pub fn drive(
    protocol: &dyn Protocol,
    transport: Transport,
    conversation: &[(Direction, &[u8])],
    lengths: &mut dyn FnMut() -> usize,
) -> Wire {
    let mut wire = Wire::new(protocol, transport);
    for (direction, bytes) in conversation {
        wire.send_cut(*direction, bytes, lengths);
    }
    wire.close();
    wire
}

/// A conversation as the stream shows it to a dissector.
pub struct Wire {
    /// What was told, ordered by the beginnings of messages within each direction.
    pub told: Vec<Told>,
    /// Reasons of [`Verdict::Malformed`].
    pub malformed: Vec<&'static str>,
    /// Reason of [`Verdict::Opaque`]; nothing is shown any more.
    pub opaque: Option<&'static str>,
    dissector: Box<dyn Dissector>,
    datagrams: bool,
    halves: [Half; 2],
    out: Output,
    frame: u64,
}

#[derive(Default)]
struct Half {
    held: Vec<u8>,
    offset: u64,
    /// Bytes of `held` from earlier frames.
    old: usize,
    first: Mark,
    skip: u64,
    lost: bool,
    last: Mark,
    /// What is held waits for the other direction.
    blocked: bool,
    /// Index of the message whose end was not told.
    open: Option<usize>,
}

impl Half {
    fn drop_front(&mut self, count: usize, now: Mark) {
        self.held.drain(..count);
        self.offset += count as u64;
        self.old = self.old.saturating_sub(count);
        if self.old == 0 {
            self.first = now;
        }
    }

    /// Steps over what may be skipped; whether a skip ended by it.
    fn step_over(&mut self, now: Mark) -> bool {
        let count = self.skip.min(self.held.len() as u64);
        let skipping = self.skip > 0;
        self.skip -= count;
        self.drop_front(count as usize, now);
        skipping && self.skip == 0
    }
}

impl Wire {
    /// A new conversation.
    pub fn new(protocol: &dyn Protocol, transport: Transport) -> Self {
        let out = Output {
            wants_text: true,
            ..Output::default()
        };
        Self {
            told: Vec::new(),
            malformed: Vec::new(),
            opaque: None,
            dissector: protocol.dissector(transport),
            datagrams: transport == Transport::Udp,
            halves: Default::default(),
            out,
            frame: 0,
        }
    }

    /// A conversation that goes on with this past.
    pub fn resumed(protocol: &dyn Protocol, transport: Transport, past: Past) -> Self {
        let mut wire = Self::new(protocol, transport);
        wire.dissector.resume(past);
        wire
    }

    /// The past, where the conversation is at rest.
    pub fn past(&self) -> Option<Past> {
        let idle = |half: &Half| half.held.is_empty() && half.skip == 0 && !half.lost;
        let rests = self.opaque.is_none() && self.halves.iter().all(idle);
        self.dissector.rest().filter(|_| rests)
    }

    /// What was told of messages, from the one at this place on, with offsets from `begun` on.
    pub fn told_since(&self, place: usize, begun: [u64; 2]) -> Vec<Told> {
        let told = self.told[place..].iter().cloned();
        let since = |told: Told| {
            let begun = begun[told.direction.index()];
            let (start, end) = (told.start - begun, told.end - begun);
            Told { start, end, ..told }
        };
        told.map(since).collect()
    }

    /// How many bytes went by in each direction.
    pub fn offsets(&self) -> [u64; 2] {
        self.halves.each_ref().map(|half| half.offset)
    }

    /// Sends `bytes` in pieces of these lengths; a datagram is never cut.
    pub fn send_cut(
        &mut self,
        direction: Direction,
        mut bytes: &[u8],
        lengths: &mut dyn FnMut() -> usize,
    ) {
        while !self.datagrams && !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(lengths().clamp(1, bytes.len()));
            self.send(direction, piece);
            bytes = rest;
        }
        if self.datagrams {
            self.send(direction, bytes);
        }
    }

    /// Sends one segment or datagram.
    pub fn send(&mut self, direction: Direction, bytes: &[u8]) {
        let now = self.tick();
        let half = &mut self.halves[direction.index()];
        if half.held.is_empty() {
            half.first = now;
        }
        half.last = now;
        half.held.extend_from_slice(bytes);
        self.run(direction, now);
        let other = direction.reverse();
        if self.dissector_waits(other) {
            self.run(other, now);
        }
        self.release(Some(now.time));
    }

    /// Has told what is held back for long enough.
    fn release(&mut self, now: Option<Timestamp>) {
        if self.dissector.holds() {
            assert!(self.datagrams, "held back what is in order");
            self.dissector.release(now, &mut self.out);
            self.take(Direction::ToClient);
        }
    }

    /// Loses the next `count` bytes of a direction.
    pub fn lose(&mut self, direction: Direction, count: u64) {
        let now = self.tick();
        let half = &mut self.halves[direction.index()];
        let harmless = half.skip.min(count);
        half.skip -= harmless;
        half.offset += harmless;
        let rest = count - harmless;
        if self.opaque.is_some() || (rest == 0 && harmless == 0) {
            return;
        }
        let is_known = rest > 0 && half.held.is_empty() && half.skip == 0 && !half.lost;
        if harmless > 0 && is_known {
            self.step(direction, now, &mut false);
        }
        let implied = match is_known {
            true => self.dissector.implied(direction, rest),
            false => None,
        };
        let half = &mut self.halves[direction.index()];
        if let Some(implied) = implied {
            half.offset += rest - implied.len() as u64;
            half.held.extend_from_slice(implied);
            (half.first, half.last) = (now, now);
            self.step(direction, now, &mut false);
            self.run(direction, now);
        } else if rest > 0 {
            half.offset += rest + half.held.len() as u64;
            half.held.clear();
            half.old = 0;
            half.lost = true;
            self.dissector.gap(direction, &mut self.out);
            self.take(direction);
        } else if half.skip == 0 {
            self.run(direction, now);
        }
        if self.dissector_waits(direction.reverse()) {
            self.run(direction.reverse(), now);
        }
    }

    /// Ends both directions, the client's first.
    pub fn close(&mut self) {
        self.release(None);
        assert!(!self.dissector.holds(), "never told");
        for direction in [Direction::ToServer, Direction::ToClient] {
            let half = &self.halves[direction.index()];
            let (offset, last) = (half.offset + half.held.len() as u64, half.last);
            if self.opaque.is_none() {
                self.dissector.close(direction, offset, last, &mut self.out);
                self.take(direction);
            }
        }
        for told in &self.told {
            assert!(told.ended || self.opaque.is_some(), "never ended: {told:?}");
        }
    }

    /// Messages of one role.
    pub fn count(&self, role: Role) -> usize {
        self.told.iter().filter(|told| told.role == role).count()
    }

    fn tick(&mut self) -> Mark {
        self.frame += 1;
        Mark {
            time: Timestamp(self.frame * 1000),
            frame: self.frame,
        }
    }

    fn dissector_waits(&self, direction: Direction) -> bool {
        let half = &self.halves[direction.index()];
        !half.held.is_empty() && !half.lost && !self.dissector.blocked(direction)
    }

    /// Shows what is there until nothing moves.
    fn run(&mut self, direction: Direction, now: Mark) {
        let most = 16 + 4 * self.halves[direction.index()].held.len();
        let mut found = false;
        for _ in 0..most {
            self.unblock(direction.reverse(), now);
            let half = &mut self.halves[direction.index()];
            let skipped = half.step_over(now);
            let done = half.held.is_empty() && !skipped;
            if self.opaque.is_some() || half.skip > 0 || done {
                half.held
                    .truncate(if self.opaque.is_some() { 0 } else { usize::MAX });
                return self.rest(direction);
            }
            let more = if half.lost {
                self.find(direction, now, &mut found)
            } else {
                self.step(direction, now, &mut found)
            };
            if !more {
                return self.rest(direction);
            }
        }
        panic!("no end of calls");
    }

    /// Shows what waited for the part of the other direction that was shown last.
    fn unblock(&mut self, direction: Direction, now: Mark) {
        if self.halves[direction.index()].blocked && self.dissector_waits(direction) {
            self.run(direction, now);
        }
    }

    fn rest(&mut self, direction: Direction) {
        let half = &mut self.halves[direction.index()];
        half.old = half.held.len();
        half.blocked = self.dissector.blocked(direction);
    }

    fn find(&mut self, direction: Direction, now: Mark, found: &mut bool) -> bool {
        let half = &mut self.halves[direction.index()];
        let input = input(half, now, false);
        match self.dissector.resync(direction, &input) {
            Resync::Found(at) => {
                // At the end of what was shown, where a part of known length ends there.
                assert!(at <= half.held.len(), "found nothing");
                half.drop_front(at, now);
                half.lost = false;
                *found = true;
                true
            }
            Resync::Nowhere { keep } => {
                assert!(keep <= half.held.len(), "keeps more than there is");
                half.drop_front(half.held.len() - keep, now);
                false
            }
        }
    }

    fn step(&mut self, direction: Direction, now: Mark, found: &mut bool) -> bool {
        let half = &mut self.halves[direction.index()];
        let shown = input(half, now, self.datagrams);
        let parsed = self.dissector.parse(direction, &shown, &mut self.out);
        assert!(
            parsed.consumed <= half.held.len(),
            "consumed more than there is"
        );
        assert!(
            !self.datagrams || parsed.consumed == half.held.len(),
            "left part of a datagram"
        );
        self.take(direction);
        let half = &mut self.halves[direction.index()];
        half.drop_front(parsed.consumed, now);
        half.skip = parsed.skip;
        let moved = parsed.consumed > 0 || parsed.skip > 0;
        let was_found = std::mem::replace(found, *found && !moved);
        match parsed.verdict {
            Verdict::Continue => moved,
            Verdict::Malformed(reason) => {
                assert!(
                    moved || !was_found,
                    "found again what is malformed, {reason}: {}",
                    half.held.escape_ascii()
                );
                self.malformed.push(reason);
                half.lost = !self.datagrams;
                !half.held.is_empty()
            }
            Verdict::Opaque(what) => {
                self.opaque = Some(what);
                true
            }
        }
    }

    /// Takes the messages of the last call.
    fn take(&mut self, direction: Direction) {
        let held = self.halves[direction.index()].held.clone();
        let shown = self.halves[direction.index()].offset + held.len() as u64;
        for message in std::mem::take(&mut self.out.messages) {
            let text = text(&message, &held, &self.out.arena);
            let open = &mut self.halves[direction.index()].open;
            if message.phase == Phase::End {
                let told = &mut self.told[open.take().unwrap()];
                assert!(message.end >= told.start, "ends before it began");
                told.end = message.end;
                told.flags |= message.flags;
                told.hits = told.hits.max(message.hits);
                told.misses = told.misses.max(message.misses);
                told.status = if message.status == 0 {
                    told.status
                } else {
                    message.status
                };
                told.ended = true;
                continue;
            }
            assert!(open.is_none(), "another message before the end of the last");
            assert!(
                message.end >= message.start && message.last >= message.first,
                "{message:?}"
            );
            assert!(
                !self.datagrams || message.end <= shown,
                "ends behind its datagram: {message:?}"
            );
            let ended = message.phase == Phase::Whole;
            *open = (!ended).then_some(self.told.len());
            self.told.push(told(&message, direction, text, ended));
        }
        self.out.clear();
    }
}

fn told(message: &Message, direction: Direction, text: Vec<u8>, ended: bool) -> Told {
    Told {
        direction,
        role: message.role,
        flags: message.flags,
        command: message.command,
        status: message.status,
        replies: message.replies,
        hits: message.hits,
        misses: message.misses,
        id: message.id,
        start: message.start,
        end: message.end,
        text,
        text_len: message.text_len,
        ended,
    }
}

fn input(half: &Half, now: Mark, datagram: bool) -> Input<'_> {
    let first = if half.old > 0 { half.first } else { now };
    let Half {
        held, offset, old, ..
    } = half;
    Input {
        bytes: held,
        offset: *offset,
        old: *old,
        first,
        last: now,
        datagram,
        lost: 0,
        received: 0,
    }
}

fn text(message: &Message, input: &[u8], arena: &[u8]) -> Vec<u8> {
    let (bytes, start, len) = match message.text {
        Text::None => return Vec::new(),
        Text::Input { start, len } => (input, start, len),
        Text::Arena { start, len } => (arena, start, len),
    };
    assert!(len as usize <= KEPT_BYTES, "keeps too much");
    bytes[start as usize..(start + len) as usize].to_vec()
}
