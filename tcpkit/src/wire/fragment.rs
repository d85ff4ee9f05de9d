//! IP datagrams in fragments: a bounded table of those that are not complete.
//!
//! Reads [`Piece`]s of either IP version, makes [`Whole`]s. A piece that repeats what is there
//! is dropped. One that overlaps it otherwise makes an IPv6 datagram worthless (RFC 5722); in
//! IPv4 it fills the holes, and what came first stays. Time is the frames'.

use std::ops::Range;

use super::kept::Kept;
use super::{Addresses, Packet};
use crate::limits;
use crate::source::Timestamp;

/// Which datagram a fragment belongs to (RFC 791, section 3.2; RFC 8200, section 4.5), and where
/// it was seen: the copies that several interfaces record are put together apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    interface: u32,
    addresses: Addresses,
    id: u32,
    /// Tells IPv4 datagrams apart. IPv6 fragments may differ in it: the first one's counts.
    protocol: Option<u8>,
}

impl Key {
    /// `packet` has its IP header filled in.
    pub(super) fn new(packet: &Packet<'_>, id: u32, protocol: u8) -> Self {
        let v4 = matches!(packet.addresses, Addresses::V4 { .. });
        Self {
            interface: packet.interface,
            addresses: packet.addresses,
            id,
            protocol: v4.then_some(protocol),
        }
    }
}

/// One fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) key: Key,
    pub(super) protocol: u8,
    /// Its place in the datagram's payload, in bytes; at most 65,535.
    pub(super) start: usize,
    /// Where it ends on the wire; more than `start`, at most 65,535.
    pub(super) end: usize,
    /// Nothing comes behind it.
    pub(super) last: bool,
    /// Its first bytes, as many as were captured.
    pub(super) captured: &'a [u8],
    /// When, and in which frame.
    pub(super) seen: (Timestamp, u64),
}

/// A datagram's payload, put together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) protocol: u8,
    /// What was captured without a hole from the beginning on.
    pub(super) captured: Vec<u8>,
    /// Its length on the wire.
    pub(super) length: usize,
    /// When its first byte was seen, and in which frame.
    pub(super) begun: (Timestamp, u64),
}

/// Datagrams that wait for their missing fragments.
#[derive(Debug, Default)]
pub(super) struct Table {
    datagrams: Vec<Datagram>,
    lost: u64,
}

impl Table {
    /// Datagrams given up so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Datagrams that may still be completed.
    pub(super) fn waiting(&self) -> usize {
        let waits = |datagram: &&Datagram| datagram.state == State::Waiting;
        self.datagrams.iter().filter(waits).count()
    }

    /// Takes a fragment in; the datagram, if it was the last one missing. `frames` are those that the
    /// fragment came in; they stay here until the datagram is whole, and then are all of them.
    pub(super) fn add(
        &mut self,
        piece: &Piece<'_>,
        now: Timestamp,
        frames: &mut Vec<Kept>,
    ) -> Option<Whole> {
        self.expire(now);
        let at = match self
            .datagrams
            .iter()
            .position(|known| known.key == piece.key)
        {
            Some(at) => at,
            None => self.make(piece.key, now),
        };
        let is_full = !frames.is_empty() && self.frame_bytes() > limits::FRAGMENT_FRAMES_BYTES;
        let datagram = self.datagrams.get_mut(at)?;
        if datagram.state != State::Waiting {
            return None;
        }
        let before = datagram.spans.len();
        match datagram.add(piece) {
            Added::Kept => {
                if datagram.spans.len() > before && !is_full {
                    datagram.keep_frames(frames);
                }
                let whole = datagram.finish()?;
                *frames = std::mem::take(&mut datagram.frames);
                datagram.settle(State::Done, now);
                Some(whole)
            }
            Added::Contradicts => {
                datagram.settle(State::Dropped, now);
                self.lost += 1;
                None
            }
        }
    }

    /// Bytes of the frames that are kept.
    pub(super) fn frame_bytes(&self) -> usize {
        self.datagrams.iter().map(|known| known.frame_bytes).sum()
    }

    fn expire(&mut self, now: Timestamp) {
        let lost = &mut self.lost;
        self.datagrams.retain(|datagram| {
            let expired = datagram.is_expired(now);
            *lost += u64::from(expired && datagram.state == State::Waiting);
            !expired
        });
    }

    /// A place for a new datagram; where there is none, the oldest settled one makes room, else
    /// the oldest.
    fn make(&mut self, key: Key, now: Timestamp) -> usize {
        if self.datagrams.len() >= limits::FRAGMENTED_DATAGRAMS {
            let settled = self
                .datagrams
                .iter()
                .position(|d| d.state != State::Waiting);
            self.lost += u64::from(settled.is_none());
            self.datagrams.remove(settled.unwrap_or(0));
        }
        self.datagrams.push(Datagram::new(key, now));
        self.datagrams.len() - 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Complete; kept for a moment, so that copies of its fragments do not begin it anew.
    Done,
    /// Worthless; kept, so that its remaining fragments are dropped too.
    Dropped,
}

/// What a datagram says to a fragment.
enum Added {
    Kept,
    Contradicts,
}

/// A fragment's bytes: on the wire they reach to `end`, captured are those before `cut`.
#[derive(Debug)]
struct Span {
    start: usize,
    end: usize,
    cut: usize,
}

#[derive(Debug)]
struct Datagram {
    key: Key,
    /// When its first fragment was seen, or when it was settled.
    since: Timestamp,
    state: State,
    /// Of its first fragment in place: the protocol; when it was seen, and in which frame.
    head: Option<(u8, (Timestamp, u64))>,
    /// Known once its last fragment in place was seen.
    length: Option<usize>,
    /// In order; no two of them overlap.
    spans: Vec<Span>,
    bytes: Vec<u8>,
    /// What its fragments came in, where that is asked for.
    frames: Vec<Kept>,
    frame_bytes: usize,
}

impl Datagram {
    fn new(key: Key, now: Timestamp) -> Self {
        Self {
            key,
            since: now,
            state: State::Waiting,
            head: None,
            length: None,
            spans: Vec::new(),
            bytes: Vec::new(),
            frames: Vec::new(),
            frame_bytes: 0,
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        let limit = match self.state {
            State::Waiting | State::Dropped => limits::FRAGMENT_TIME,
            State::Done => limits::COPY_TIME,
        };
        now.is_past(self.since, limit)
    }

    fn settle(&mut self, state: State, now: Timestamp) {
        *self = Self {
            state,
            ..Self::new(self.key, now)
        };
    }

    fn add(&mut self, piece: &Piece<'_>) -> Added {
        if self.contradicts(piece) {
            return Added::Contradicts;
        }
        if piece.start == 0 {
            self.head = self.head.or(Some((piece.protocol, piece.seen)));
        }
        if piece.last {
            self.length = Some(piece.end);
        }
        self.fill(piece);
        if self.spans.len() > limits::FRAGMENTS {
            return Added::Contradicts;
        }
        Added::Kept
    }

    fn keep_frames(&mut self, frames: &mut Vec<Kept>) {
        self.frame_bytes += frames.iter().map(Kept::size).sum::<usize>();
        self.frames.append(frames);
    }

    /// Whether it overlaps another where that is forbidden, or one of them lies behind the last.
    fn contradicts(&self, piece: &Piece<'_>) -> bool {
        let six = matches!(piece.key.addresses, Addresses::V6 { .. });
        let behind_end = self.length.is_some_and(|length| piece.end > length);
        let clashes = |span: &Span| {
            let same = span.start == piece.start && span.end == piece.end;
            let overlaps = span.start < piece.end && piece.start < span.end;
            six && overlaps && !same || piece.last && span.end > piece.end
        };
        behind_end || self.spans.iter().any(clashes)
    }

    /// Keeps of a fragment what is not there yet: one pass over the spans.
    fn fill(&mut self, piece: &Piece<'_>) {
        let mut at = piece.start;
        let mut next = self.spans.partition_point(|span| span.end <= at);
        while at < piece.end {
            let in_the_way = self.spans.get(next).map(|span| (span.start, span.end));
            let (start, end) = in_the_way.unwrap_or((piece.end, piece.end));
            let hole = at..start.min(piece.end);
            if !hole.is_empty() {
                self.keep(next, hole, piece);
                next += 1;
            }
            next += 1;
            at = end;
        }
    }

    fn keep(&mut self, index: usize, hole: Range<usize>, piece: &Piece<'_>) {
        let captured_end = piece.start + piece.captured.len();
        let cut = captured_end.clamp(hole.start, hole.end);
        if self.bytes.len() < cut {
            self.bytes.resize(cut, 0);
        }
        let place = self.bytes.get_mut(hole.start..cut);
        let captured = hole.start - piece.start..cut - piece.start;
        if let (Some(place), Some(captured)) = (place, piece.captured.get(captured)) {
            place.copy_from_slice(captured);
        }
        let span = Span {
            start: hole.start,
            end: hole.end,
            cut,
        };
        self.spans.insert(index, span);
    }

    /// The datagram, if nothing is missing: spans do not overlap, so their lengths tell.
    fn finish(&mut self) -> Option<Whole> {
        let (length, (protocol, begun)) = (self.length?, self.head?);
        let held: usize = self.spans.iter().map(|span| span.end - span.start).sum();
        if held != length {
            return None;
        }
        let cuts = self.spans.iter().filter(|span| span.cut < span.end);
        let whole_up_to = cuts.map(|span| span.cut).min().unwrap_or(length);
        self.bytes.truncate(whole_up_to);
        Some(Whole {
            protocol,
            captured: std::mem::take(&mut self.bytes),
            length,
            begun,
        })
    }
}
