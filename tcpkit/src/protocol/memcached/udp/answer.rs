//! What a server sent with one request id, put together from its datagrams.
//!
//! A response is one series of datagrams, numbered from 0 on; a server since 1.6 answers a `get` of many keys by one for each
//! item, the last of which has the `END`. A series is read in the order of its numbers: a datagram that is ahead is kept
//! until those before it have come. Where they do not come the rest is only counted.

use std::collections::VecDeque;

use super::super::command::word;
use super::super::pending::hash;
use super::super::reply::Done;
use super::frame::{FRAME, Frame};
use super::scan::Scan;
use crate::limits::MEMCACHED_UDP;
use crate::protocol::Mark;
use crate::protocol::window::Since;

/// A datagram of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub frame: Frame,
    /// What is behind the frame header, as far as it was captured.
    pub payload: &'a [u8],
    /// Bytes behind it that a snap length cut off.
    pub lost: u32,
    /// Offset of its first byte.
    pub start: u64,
    /// When its first and its last byte were seen.
    pub seen: (Mark, Mark),
}

impl Datagram<'_> {
    fn is_last(&self) -> bool {
        self.frame.sequence + 1 == self.frame.total
    }
}

/// A datagram that is kept.
#[derive(Debug)]
struct Kept {
    frame: Frame,
    payload: Box<[u8]>,
    lost: u32,
    start: u64,
    seen: (Mark, Mark),
}

impl Kept {
    fn new(datagram: &Datagram<'_>) -> Self {
        let Datagram {
            frame,
            payload,
            lost,
            start,
            seen,
        } = *datagram;
        Self {
            frame,
            payload: payload.into(),
            lost,
            start,
            seen,
        }
    }

    /// What keeping it takes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }

    fn datagram(&self) -> Datagram<'_> {
        let Self {
            frame,
            ref payload,
            lost,
            start,
            seen,
        } = *self;
        Datagram {
            frame,
            payload,
            lost,
            start,
            seen,
        }
    }
}

/// Bytes of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// How many, on the wire.
    pub bytes: u64,
    /// Offset of the first that came.
    pub start: u64,
    /// When the first and the last of them were seen.
    pub seen: Option<(Mark, Mark)>,
    /// Some of them are missing.
    pub cut: bool,
    /// The first of them are missing.
    pub headless: bool,
}

impl Part {
    fn add(&mut self, bytes: usize, start: u64, seen: (Mark, Mark)) {
        self.join(&Self {
            bytes: bytes as u64,
            start,
            seen: Some(seen),
            ..Self::default()
        });
    }

    /// Takes what is in `other` too.
    pub(super) fn join(&mut self, other: &Self) {
        self.seen = match (self.seen, other.seen) {
            (Some((first, last)), Some((begun, ended))) => {
                Some((first.min(begun), last.max(ended)))
            }
            (seen, None) | (None, seen) => seen,
        };
        if self.bytes == 0 {
            self.start = other.start;
        }
        self.start = self.start.min(other.start);
        self.bytes += other.bytes;
        self.cut |= other.cut;
        self.headless |= other.headless;
    }
}

/// The end of a response.
#[derive(Debug)]
pub(super) struct End {
    pub done: Done,
    /// An error's text.
    pub text: Vec<u8>,
    /// Its bytes, but for those in [`Answer::loose`].
    pub part: Part,
}

/// Datagrams that are numbered together.
#[derive(Debug)]
struct Series {
    total: u16,
    /// How many of them were read, or only counted.
    done: u16,
    /// `None` where it can no longer be read.
    scan: Option<Scan>,
    /// Items that were found until then.
    items: u32,
    /// Hash of the first item's key, 0 for none.
    key: u32,
    ends: Vec<End>,
    /// What came behind the last end.
    part: Part,
}

impl Series {
    fn new(total: u16) -> Self {
        Self {
            total,
            done: 0,
            scan: Some(Scan::default()),
            items: 0,
            key: 0,
            ends: Vec::new(),
            part: Part::default(),
        }
    }

    /// Whether this is the datagram that comes next.
    fn takes(&self, datagram: &Datagram<'_>) -> bool {
        let goes_on = |scan: &Scan| scan.can_go_on(datagram.payload, datagram.is_last());
        self.total == datagram.frame.total
            && self.done == datagram.frame.sequence
            && self.done > 0
            && self.scan.as_ref().is_some_and(goes_on)
    }

    /// Whether a datagram with this header is only counted.
    fn counts(&self, frame: Frame) -> bool {
        self.total == frame.total && self.scan.is_none()
    }

    /// Reads or counts a datagram.
    fn take(&mut self, datagram: &Datagram<'_>) -> Result<(), &'static str> {
        if self.done == 0 {
            self.key = item_key(datagram.payload);
        }
        self.done = self.done.saturating_add(1);
        let key = self.key;
        let Datagram {
            payload,
            lost,
            start,
            seen: (first, last),
            ..
        } = *datagram;
        let (ends, part) = (&mut self.ends, &mut self.part);
        let mut at = 0;
        let mut result = Ok(());
        if let Some(mut scan) = self.scan.take() {
            result = scan.feed(payload, &mut |end, mut done| {
                if done.reply.word == word::ITEMS && ends.is_empty() {
                    done.reply.key = key;
                }
                // The frame header belongs to what comes first.
                let (header, begun) = if at == 0 { (FRAME, first) } else { (0, last) };
                let text = done.text.and_then(|(from, to)| payload.get(from..to));
                let text = text.unwrap_or_default().to_vec();
                part.add(end.saturating_sub(at) + header, start, (begun, last));
                let part = std::mem::take(part);
                ends.push(End { done, text, part });
                at = end.max(1);
            });
            if result.is_ok() && scan.loses(lost) {
                self.scan = Some(scan);
            } else {
                self.items = scan.items();
            }
        }
        let rest = payload.len().saturating_sub(at) + lost as usize;
        if at == 0 {
            part.add(rest + FRAME, start, (first, last));
        } else if rest > 0 {
            part.add(rest, start, (last, last));
        }
        part.cut |= self.scan.is_none() || lost > 0;
        result
    }

    /// What is missing will not come.
    fn give_up(&mut self) {
        if let Some(scan) = self.scan.take() {
            self.items = scan.items();
        }
        self.part.headless |= self.done == 0;
        self.part.cut = true;
    }

    fn is_complete(&self) -> bool {
        self.done >= self.total
    }
}

/// The hash of the key of the item that text begins with; 0 where it is none.
fn item_key(payload: &[u8]) -> u32 {
    let mut words = payload.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    match (words.next(), words.next()) {
        (Some(b"VALUE"), Some(key)) => hash(key),
        _ => 0,
    }
}

/// What came with one request id.
#[derive(Debug)]
pub(super) struct Answer {
    pub id: u16,
    series: Vec<Series>,
    /// Datagrams that wait for those before them.
    ahead: Vec<Kept>,
    /// Ends of responses in series that are complete.
    pub ends: VecDeque<End>,
    /// What series that are complete hold of a response that another one ends.
    pub loose: Part,
    /// Items in it.
    pub items: u32,
    /// Since when it has not gone on.
    pub since: Since,
    /// Nobody who waited had asked for it when it began.
    pub early: bool,
    /// Nor did anybody who asked later.
    pub lapsed: bool,
    /// Something that it waits for may have come.
    pub stirred: bool,
}

impl Answer {
    pub(super) fn new(id: u16, since: Since) -> Self {
        Self {
            id,
            series: Vec::new(),
            ahead: Vec::new(),
            ends: VecDeque::new(),
            loose: Part::default(),
            items: 0,
            since,
            early: false,
            lapsed: false,
            stirred: false,
        }
    }

    /// When the first of what waits of it was seen.
    pub(super) fn begun(&self) -> Option<Mark> {
        let series = self.series.iter().filter_map(|series| series.part.seen);
        let ends = self.ends.iter().filter_map(|end| end.part.seen);
        let ahead = self.ahead.iter().map(|kept| kept.seen);
        let all = series.chain(ends).chain(ahead).chain(self.loose.seen);
        all.map(|(first, _)| first).min()
    }

    /// Whether so much of it waits that it can wait no longer.
    pub(super) fn is_full(&self) -> bool {
        self.series.len() + self.ahead.len() + self.ends.len() > MEMCACHED_UDP
    }

    /// Whether no series is under way.
    pub(super) fn is_whole(&self) -> bool {
        self.series.is_empty() && self.ahead.is_empty()
    }

    /// Whether nothing of it waits to be told.
    pub(super) fn is_told(&self) -> bool {
        self.is_whole() && self.ends.is_empty() && self.loose.bytes == 0
    }

    /// Whether a datagram waits for those before it.
    pub(super) fn has_holes(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let ahead: usize = self.ahead.iter().map(Kept::bytes).sum();
        let ends = self
            .ends
            .iter()
            .chain(self.series.iter().flat_map(|series| &series.ends));
        let ends: usize = ends.map(|end| size_of::<End>() + end.text.capacity()).sum();
        let scans = self.series.iter().filter_map(|series| series.scan.as_ref());
        let scans: usize = scans.map(Scan::bytes).sum();
        size_of::<Self>() + self.series.capacity() * size_of::<Series>() + ahead + ends + scans
    }

    /// Takes a datagram that came at `now`; an error where it is one that cannot be read.
    pub(super) fn take(&mut self, datagram: &Datagram<'_>, now: Since) -> Result<(), &'static str> {
        let Some(index) = self.place(datagram) else {
            self.ahead.push(Kept::new(datagram));
            return Ok(());
        };
        self.since = now;
        let result = self.take_in(index, datagram);
        while let Some((kept, index)) = self.no_more_ahead() {
            // What cannot be read is marked as cut.
            let _ = self.take_in(index, &kept.datagram());
        }
        result
    }

    /// The series whose next datagram this is: a new one, where it is the first.
    fn place(&mut self, datagram: &Datagram<'_>) -> Option<usize> {
        let frame = datagram.frame;
        let all = &self.series;
        let found = all.iter().position(|series| series.takes(datagram));
        let found = found.or_else(|| all.iter().position(|series| series.counts(frame)));
        if found.is_none() && frame.sequence == 0 {
            self.series.push(Series::new(frame.total));
            return Some(self.series.len() - 1);
        }
        found
    }

    /// A datagram that waited and is the next one now, and its series.
    fn no_more_ahead(&mut self) -> Option<(Kept, usize)> {
        for at in 0..self.ahead.len() {
            let datagram = self.ahead.get(at)?.datagram();
            let place = self
                .series
                .iter()
                .position(|series| series.takes(&datagram));
            if let Some(index) = place {
                return Some((self.ahead.remove(at), index));
            }
        }
        None
    }

    fn take_in(&mut self, index: usize, datagram: &Datagram<'_>) -> Result<(), &'static str> {
        let Some(series) = self.series.get_mut(index) else {
            return Ok(());
        };
        let result = series.take(datagram);
        if series.is_complete() {
            self.complete(index);
        }
        result
    }

    /// What is missing will not come: the rest is only counted.
    pub(super) fn give_up(&mut self, now: Since) {
        self.since = now;
        for kept in std::mem::take(&mut self.ahead) {
            let same = |series: &Series| series.total == kept.frame.total;
            let index = self.series.iter().position(same).unwrap_or_else(|| {
                self.series.push(Series::new(kept.frame.total));
                self.series.len() - 1
            });
            if let Some(series) = self.series.get_mut(index) {
                series.give_up();
            }
            // It is counted.
            let _ = self.take_in(index, &kept.datagram());
        }
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.give_up(self.since);
        for index in (0..self.series.len()).rev() {
            if let Some(series) = self.series.get_mut(index) {
                series.part.cut = true;
                self.complete(index);
            }
        }
    }

    /// Takes over what a series came to.
    fn complete(&mut self, index: usize) {
        let mut series = self.series.swap_remove(index);
        self.ends.extend(series.ends);
        if series.part.bytes == 0 {
            return;
        }
        match series.scan.as_mut().and_then(Scan::cut) {
            Some(done) => self.items += done.hits,
            None => {
                self.items += series.items;
                series.part.cut = true;
            }
        }
        self.loose.join(&series.part);
    }
}
