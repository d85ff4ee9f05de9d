//! Laws that every protocol keeps, and the little stream that they are tried on.
//!
//! [`Wire`] shows bytes to a dissector as the real stream does: what is not consumed is shown again with
//! more behind it, skips are stepped over, and what was lost is told. [`drive`] runs a whole conversation
//! through it, cut as one likes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod samples;

use std::collections::HashSet;

use proptest::prelude::*;

use self::samples::{SAMPLES, Sample};
use super::{
    Dissector, Input, Mark, Message, Output, PROTOCOLS, Phase, Probe, Protocol, Resync, Role, Text,
    Verdict, by_name,
};
use crate::flow::Direction;
use crate::limits::KEPT_BYTES;
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
        if rest > 0 {
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

    fn rest(&mut self, direction: Direction) {
        let half = &mut self.halves[direction.index()];
        half.old = half.held.len();
    }

    fn find(&mut self, direction: Direction, now: Mark, found: &mut bool) -> bool {
        let half = &mut self.halves[direction.index()];
        let input = input(half, now, false);
        match self.dissector.resync(direction, &input) {
            Resync::Found(at) => {
                assert!(at < half.held.len(), "found nothing");
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
                assert!(moved || !was_found, "found again what is malformed");
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

/// Protocols whose dissectors are there.
fn ready() -> impl Iterator<Item = &'static dyn Protocol> {
    PROTOCOLS
        .iter()
        .copied()
        .filter(|protocol| !samples::UNWRITTEN.contains(&protocol.name()))
}

fn samples() -> impl Iterator<Item = (&'static dyn Protocol, &'static Sample)> {
    let ready: Vec<_> = ready().map(Protocol::name).collect();
    let samples = SAMPLES
        .iter()
        .filter(move |sample| ready.contains(&sample.protocol));
    samples.map(|sample| (by_name(sample.protocol).unwrap(), sample))
}

/// Each protocol with each of its transports.
fn carried() -> impl Iterator<Item = (&'static dyn Protocol, Transport)> {
    ready().flat_map(|protocol| {
        protocol
            .transports()
            .iter()
            .map(move |transport| (protocol, *transport))
    })
}

fn direction(to_server: bool) -> Direction {
    if to_server {
        Direction::ToServer
    } else {
        Direction::ToClient
    }
}

#[test]
fn names_and_labels_are_unique() {
    let names: HashSet<_> = PROTOCOLS.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(names.len(), PROTOCOLS.len());
    for protocol in PROTOCOLS {
        let labels: HashSet<_> = protocol.commands().iter().collect();
        assert_eq!(
            labels.len(),
            protocol.commands().len(),
            "{}",
            protocol.name()
        );
        assert_eq!(
            protocol.commands().first(),
            Some(&"other"),
            "{}",
            protocol.name()
        );
        assert!(!protocol.transports().is_empty(), "{}", protocol.name());
    }
}

#[test]
fn every_protocol_has_a_sample_for_each_transport() {
    for (protocol, transport) in carried() {
        let name = protocol.name();
        let has = SAMPLES
            .iter()
            .any(|s| s.protocol == name && s.transport == transport);
        assert!(has, "{name} over {transport:?}");
    }
}

#[test]
fn samples_are_told_whole() {
    for (protocol, sample) in samples() {
        let wire = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX);
        let name = protocol.name();
        assert_eq!(wire.malformed, [""; 0], "{name}");
        assert_eq!(
            wire.count(Role::Request),
            sample.requests,
            "{name}: {:#?}",
            wire.told
        );
        assert_eq!(
            wire.count(Role::Response),
            sample.responses,
            "{name}: {:#?}",
            wire.told
        );
        for told in &wire.told {
            assert!(
                usize::from(told.command) < protocol.commands().len(),
                "{name}: {told:?}"
            );
            assert!(!Message::CUT & told.flags == told.flags, "{name}: {told:?}");
        }
    }
}

/// What a protocol says of a sample's first bytes is never another protocol's business.
#[test]
fn samples_are_claimed_by_their_protocol_alone() {
    for (owner, sample) in samples() {
        for (direction, bytes) in sample.parts {
            for other in ready().filter(|other| other.name() != owner.name()) {
                let claim = other.probe(sample.transport, bytes);
                let claimed = matches!(claim, Probe::Request | Probe::Response);
                assert!(!claimed, "{} takes {direction:?} {bytes:?}", other.name());
            }
        }
    }
}

#[test]
fn any_two_pieces_give_the_same_messages() {
    for (protocol, sample) in samples().filter(|(_, sample)| sample.transport == Transport::Tcp) {
        let whole = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX).told;
        let longest = sample
            .parts
            .iter()
            .map(|(_, bytes)| bytes.len())
            .max()
            .unwrap();
        for size in 1..=longest {
            let cut = drive(protocol, sample.transport, sample.parts, &mut || size).told;
            assert_eq!(cut, whole, "{} in pieces of {size}", protocol.name());
        }
    }
}

/// After a loss of any length at any place, the next conversations' messages are found.
#[test]
fn a_gap_is_survived() {
    for (protocol, sample) in samples().filter(|(_, sample)| sample.transport == Transport::Tcp) {
        let parts = sample.parts.len();
        for (part, at, count) in
            (0..parts).flat_map(|part| losses(part, sample.parts[part].1.len()))
        {
            let mut wire = Wire::new(protocol, sample.transport);
            for (index, (direction, bytes)) in sample.parts.iter().enumerate() {
                let (before, rest) = bytes.split_at(if index == part { at } else { bytes.len() });
                wire.send(*direction, before);
                if index == part {
                    wire.lose(*direction, count as u64);
                    wire.send(*direction, &rest[count..]);
                }
            }
            for _ in 0..2 {
                sample
                    .parts
                    .iter()
                    .for_each(|(direction, bytes)| wire.send(*direction, bytes));
            }
            wire.close();
            assert_last_is_found(
                &wire,
                sample,
                &format!("{} lost {count} at {at} of part {part}", protocol.name()),
            );
        }
    }
}

/// Losses inside a part: at each place, of some lengths, none of them the whole rest.
fn losses(part: usize, length: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let ends = move |at: usize| {
        [1, 7, 50, length - at]
            .into_iter()
            .filter(move |n| at + n <= length)
    };
    (0..length).flat_map(move |at| ends(at).map(move |count| (part, at, count)))
}

fn assert_last_is_found(wire: &Wire, sample: &Sample, what: &str) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let sent = sample.parts.iter().filter(|part| part.0 == direction);
        let end = 3 * sent.map(|part| part.1.len() as u64).sum::<u64>();
        let last = wire.told.iter().rfind(|told| told.direction == direction);
        let last = last.unwrap_or_else(|| panic!("{what}: nothing {direction:?}"));
        assert_eq!(last.end, end, "{what}: {direction:?} {last:?}");
        assert_eq!(last.flags & Message::CUT, 0, "{what}: {last:?}");
    }
}

/// Bytes that look like the protocol's, but are not quite.
fn spoiled() -> impl Strategy<Value = (usize, Vec<(u8, u16, u8)>)> {
    (
        0..SAMPLES.len(),
        prop::collection::vec((0..4_u8, any::<u16>(), any::<u8>()), 1..8),
    )
}

fn spoil(bytes: &[u8], edits: &[(u8, u16, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (edit, at, value) in edits
        .iter()
        .filter(|_| !bytes.is_empty())
        .cloned()
        .collect::<Vec<_>>()
    {
        let at = usize::from(at) % bytes.len().max(1);
        match edit {
            0 if at < bytes.len() => bytes[at] = value,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, value),
            _ => bytes.extend_from_within(at.min(bytes.len())..),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_probed_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (protocol, transport) in carried() {
            let _ = protocol.probe(transport, &bytes);
        }
        let _ = super::opaque::recognise(&bytes);
    }

    #[test]
    fn nothing_rendered_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        max in 0..300_usize,
    ) {
        for protocol in ready() {
            let mut out = b"before".to_vec();
            protocol.render(&bytes, max, &mut out);
            prop_assert!(out.starts_with(b"before"));
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", out);
            prop_assert!(out.len() <= max + 64, "{} wrote {}", protocol.name(), out.len());
        }
    }

    #[test]
    fn nothing_sent_panics(
        parts in prop::collection::vec(
            (any::<bool>(), 0..8_u8, prop::collection::vec(any::<u8>(), 0..80)),
            0..12,
        ),
    ) {
        for (protocol, transport) in carried() {
            let mut wire = Wire::new(protocol, transport);
            for (to_server, act, bytes) in &parts {
                match act {
                    0 if transport == Transport::Tcp => wire.lose(direction(*to_server), bytes.len() as u64),
                    _ => wire.send(direction(*to_server), bytes),
                }
            }
            wire.close();
        }
    }

    #[test]
    fn nothing_spoiled_panics((index, edits) in spoiled(), size in 1..40_usize) {
        let sample = &SAMPLES[index];
        if ready().any(|protocol| protocol.name() == sample.protocol) {
            let spoiled: Vec<_> =
                sample.parts.iter().map(|(way, bytes)| (*way, spoil(bytes, &edits))).collect();
            let parts: Vec<_> = spoiled.iter().map(|(way, bytes)| (*way, bytes.as_slice())).collect();
            drive(by_name(sample.protocol).unwrap(), sample.transport, &parts, &mut || size);
        }
    }

    #[test]
    fn any_split_gives_the_same_messages(sizes in prop::collection::vec(1..60_usize, 1..20)) {
        for (protocol, sample) in samples() {
            let whole = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX).told;
            let mut lengths = sizes.iter().copied().cycle();
            let cut = drive(protocol, sample.transport, sample.parts, &mut || lengths.next().unwrap());
            prop_assert_eq!(cut.told, whole, "{}", protocol.name());
        }
    }
}
