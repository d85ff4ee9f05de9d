//! Puts report lines in the order of their stamps.
//!
//! Reads lines in the order in which they became known, writes them in the order of their stamps;
//! lines with equal stamps keep the order in which they came. A response is known when its last
//! byte has come and stamped with its first, so lines come nearly sorted: those in order are
//! appended to one run and leave it in one piece, the few others wait in a heap. Nothing is
//! allocated for a line.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};

use crate::limits::{SORT_BYTES, SORT_LINES, SORT_TIME};
use crate::source::Timestamp;

/// Below this, bytes that were written are not worth moving the rest for.
const COMPACT_BYTES: usize = 64 << 10;

/// Bytes of a piece of the run: what leaves in one write.
const PIECE_BYTES: usize = 256 << 10;

/// What may wait longer than it need, as a part of each bound: lines leave by the thousand.
const SLACK: usize = 16;

/// Where the rank stands in a key's sequence: above more lines than a run can have.
const RANK_SHIFT: u32 = 56;

/// Holds lines back until no earlier one can come.
///
/// A line waits for [`SORT_TIME`] of capture time. One that comes later than that is put as far
/// forward as can be: the order is that of `max(stamp, now - SORT_TIME)`.
#[derive(Debug, Default)]
pub struct Sorter {
    run: VecDeque<Entry>,
    /// The lines of `run`, one after the other, none in two pieces.
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were written.
    written: usize,
    /// Bytes of `run`.
    run_bytes: usize,
    /// A piece that was written, to be used again.
    spare: Vec<u8>,
    strays: BinaryHeap<Reverse<Stray>>,
    /// Lines of `strays` in any order, and lines that were written.
    stray_bytes: Vec<u8>,
    /// Bytes of `stray_bytes` that were written.
    stray_waste: usize,
    sequence: u64,
    now: Timestamp,
    /// Lines of this time and later are not written yet, whatever `now` is.
    hold: Option<Timestamp>,
    /// When `horizon` comes here, lines are written, in nanoseconds.
    due: u64,
}

/// Where a line stands in the order: its time in nanoseconds, then its arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    time: u64,
    sequence: u64,
}

/// A line that came in order.
#[derive(Debug)]
struct Entry {
    key: Key,
    len: usize,
}

/// A line that came out of order; the key is unique, so that it alone decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stray {
    key: Key,
    start: usize,
    len: usize,
}

impl Sorter {
    /// A sorter that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the line that `fill` appends, which became known at capture time `now`, and writes
    /// lines that need not wait any longer once there are some.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn push(
        &mut self,
        stamp: Timestamp,
        now: Timestamp,
        out: &mut impl Write,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        self.now = self.now.max(now);
        let horizon = self.horizon();
        self.take(stamp.0.max(horizon), 0, fill);
        let full = self.held() > SORT_LINES || self.held_bytes() > SORT_BYTES;
        // One that is late already waits for nothing.
        if full || horizon >= self.due || stamp.0 <= horizon {
            self.release(out)?;
        }
        Ok(())
    }

    /// Takes lines that somebody else made, behind the report's own of the same time and in the order
    /// of `rank`. Nothing is written yet.
    pub fn insert(&mut self, stamp: Timestamp, rank: u64, text: &[u8]) {
        self.take(stamp.0, rank, |line| line.extend_from_slice(text));
    }

    /// Lines of other makers may still come from `until` on: what is not before it waits.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn hold(&mut self, until: Timestamp, out: &mut impl Write) -> io::Result<()> {
        self.hold = Some(until);
        self.release(out)
    }

    fn take(&mut self, time: u64, rank: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        let key = Key {
            time,
            sequence: rank << RANK_SHIFT | self.sequence,
        };
        self.sequence += 1;
        if self.run.back().is_none_or(|last| last.key <= key) {
            let len = self.append(fill);
            self.run_bytes += len;
            self.run.push_back(Entry { key, len });
        } else {
            let start = self.stray_bytes.len();
            fill(&mut self.stray_bytes);
            self.strays.push(Reverse(Stray {
                key,
                start,
                len: self.stray_bytes.len() - start,
            }));
        }
    }

    /// Appends a line to the run; returns its length.
    fn append(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> usize {
        let open = self
            .pieces
            .back()
            .is_some_and(|last| last.len() < PIECE_BYTES);
        if !open {
            let mut piece = std::mem::take(&mut self.spare);
            piece.reserve(PIECE_BYTES);
            self.pieces.push_back(piece);
        }
        let Some(piece) = self.pieces.back_mut() else {
            return 0;
        };
        let start = piece.len();
        fill(piece);
        piece.len() - start
    }

    /// Capture time is `now`: writes the lines that need not wait any longer.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn advance(&mut self, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
        self.now = self.now.max(now);
        if self.run.is_empty() && self.strays.is_empty() {
            return Ok(());
        }
        self.release(out)
    }

    /// Writes all lines that are held.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.write_while(out, |_, _| true)
    }

    /// Lines that are held.
    pub fn held(&self) -> usize {
        self.run.len() + self.strays.len()
    }

    /// The time before which nothing waits, in nanoseconds.
    fn horizon(&self) -> u64 {
        self.now.0.saturating_sub(SORT_TIME.as_nanos() as u64)
    }

    fn held_bytes(&self) -> usize {
        self.run_bytes + (self.stray_bytes.len() - self.stray_waste)
    }

    fn release(&mut self, out: &mut impl Write) -> io::Result<()> {
        let (horizon, hold) = (self.horizon(), self.hold);
        self.due = horizon.saturating_add(SORT_TIME.as_nanos() as u64 / SLACK as u64);
        let over = |held: usize, bound: usize| match held > bound {
            true => held - (bound - bound / SLACK),
            false => 0,
        };
        let mut left = (
            over(self.held(), SORT_LINES),
            over(self.held_bytes(), SORT_BYTES),
        );
        self.write_while(out, |key, len| {
            // At the horizon itself as well: once a frame of a far future has set it, all lines are put there.
            let settled = key.time <= horizon && hold.is_none_or(|until| key.time < until.0);
            let due = settled || left != (0, 0);
            left = (left.0.saturating_sub(1), left.1.saturating_sub(len));
            due
        })
    }

    /// Writes lines in order as long as `due` says so.
    fn write_while(
        &mut self,
        out: &mut impl Write,
        mut due: impl FnMut(Key, usize) -> bool,
    ) -> io::Result<()> {
        loop {
            let stray = self.strays.peek().map(|stray| stray.0);
            let mut len = 0;
            let mut open = true;
            while let Some(entry) = self.run.front()
                && stray.is_none_or(|stray| entry.key < stray.key)
            {
                open = due(entry.key, entry.len);
                if !open {
                    break;
                }
                len += entry.len;
                self.run.pop_front();
            }
            self.write_run(len, out)?;
            match stray.filter(|stray| open && due(stray.key, stray.len)) {
                Some(stray) => self.write_stray(stray, out)?,
                None => return Ok(()),
            }
        }
    }

    /// Writes the next `len` bytes of the run, a piece at a time.
    fn write_run(&mut self, mut len: usize, out: &mut impl Write) -> io::Result<()> {
        self.run_bytes -= len;
        while len > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let rest = piece.get(self.written..).unwrap_or_default();
            let part = rest.get(..len).unwrap_or(rest);
            out.write_all(part)?;
            len -= part.len();
            self.written += part.len();
            if self.written == piece.len() {
                self.written = 0;
                self.spare = self.pieces.pop_front().unwrap_or_default();
                self.spare.clear();
                self.spare.shrink_to(PIECE_BYTES * 2);
            }
        }
        Ok(())
    }

    /// Writes the first stray line.
    fn write_stray(&mut self, stray: Stray, out: &mut impl Write) -> io::Result<()> {
        self.strays.pop();
        let line = self.stray_bytes.get(stray.start..stray.start + stray.len);
        out.write_all(line.unwrap_or_default())?;
        self.stray_waste += stray.len;
        if self.strays.is_empty() {
            self.stray_bytes.clear();
            self.stray_waste = 0;
        } else if self.stray_waste > COMPACT_BYTES && self.stray_waste > self.stray_bytes.len() / 2
        {
            self.compact_strays();
        }
        Ok(())
    }

    /// Drops the written bytes among the stray lines. Each byte pays for one that was written.
    fn compact_strays(&mut self) {
        let mut strays = std::mem::take(&mut self.strays).into_vec();
        let mut bytes = Vec::with_capacity(self.stray_bytes.len() - self.stray_waste);
        for Reverse(stray) in &mut strays {
            let line = self.stray_bytes.get(stray.start..stray.start + stray.len);
            stray.start = bytes.len();
            bytes.extend_from_slice(line.unwrap_or_default());
        }
        self.stray_bytes = bytes;
        self.stray_waste = 0;
        self.strays = BinaryHeap::from(strays);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: u64 = SORT_TIME.as_nanos() as u64;

    /// A line of `(stamp, number)`, padded so that compaction is reached.
    fn line(stamp: u64, number: usize, pad: usize) -> String {
        format!("{stamp} {number}{}\n", " ".repeat(pad))
    }

    fn sorted(items: &[(u64, u64)], pad: usize) -> String {
        let mut sorter = Sorter::new();
        let mut out = Vec::new();
        for (number, &(stamp, now)) in items.iter().enumerate() {
            let text = line(stamp, number, pad);
            let fill = |bytes: &mut Vec<u8>| bytes.extend_from_slice(text.as_bytes());
            sorter
                .push(Timestamp(stamp), Timestamp(now), &mut out, fill)
                .unwrap();
        }
        sorter.finish(&mut out).unwrap();
        assert_eq!(sorter.held(), 0);
        assert_eq!((sorter.run_bytes, sorter.stray_bytes.len()), (0, 0));
        assert!(sorter.pieces.is_empty());
        String::from_utf8(out).unwrap()
    }

    /// What the sorter promises, by a stable sort.
    fn plain(items: &[(u64, u64)], pad: usize) -> String {
        let mut now = 0;
        let mut keyed: Vec<(u64, String)> = Vec::new();
        for (number, &(stamp, at)) in items.iter().enumerate() {
            now = now.max(at);
            keyed.push((
                stamp.max(now.saturating_sub(WAIT)),
                line(stamp, number, pad),
            ));
        }
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, text)| text).collect()
    }

    proptest! {
        #[test]
        fn any_lines_come_as_a_plain_sort_puts_them(
            steps in prop::collection::vec((0..WAIT / 10, 0..WAIT * 2, any::<bool>()), 0..300),
            pad in prop_oneof![Just(0_usize), Just(3000)],
        ) {
            let mut now = WAIT * 3;
            let items: Vec<_> = steps.iter().map(|&(step, back, late)| {
                now += step;
                (if late { now.saturating_sub(back) } else { now }, now)
            }).collect();
            prop_assert_eq!(sorted(&items, pad), plain(&items, pad));
        }

        #[test]
        fn what_has_waited_is_written(back in 0..WAIT, ahead in 0..WAIT * 2) {
            let mut sorter = Sorter::new();
            let mut out = Vec::new();
            let now = Timestamp(WAIT * 10);
            let stamp = Timestamp(now.0 - back);
            sorter.push(stamp, now, &mut out, |line| line.push(b'x')).unwrap();
            sorter.advance(Timestamp(now.0 + ahead), &mut out).unwrap();
            prop_assert_eq!(out.len(), usize::from(back + ahead >= WAIT));
        }
    }

    #[test]
    fn more_lines_than_the_bound_leave_smallest_first() {
        let mut sorter = Sorter::new();
        let mut out = Vec::new();
        let now = Timestamp(WAIT * 10);
        for number in 0..SORT_LINES as u64 + 10 {
            // Every second line is a stray.
            let stamp = Timestamp(now.0 - (number ^ 1));
            let fill = |line: &mut Vec<u8>| line.extend_from_slice(&stamp.0.to_be_bytes());
            sorter.push(stamp, now, &mut out, fill).unwrap();
            assert!(sorter.held() <= SORT_LINES);
        }
        assert_eq!(out.len(), 8 * (SORT_LINES + 10 - sorter.held()));
        assert!(sorter.held() >= SORT_LINES - SORT_LINES / SLACK);
        assert_eq!(out[..8], (now.0 - (SORT_LINES as u64 + 1)).to_be_bytes());
    }

    #[test]
    fn more_bytes_than_the_bound_leave() {
        let mut sorter = Sorter::new();
        let mut out = Vec::new();
        let line = vec![b'x'; 4096];
        for number in 0..2 * (SORT_BYTES / line.len()) as u64 {
            let (stamp, now) = (Timestamp(WAIT * 10 - number % 7), Timestamp(WAIT * 10));
            sorter
                .push(stamp, now, &mut out, |bytes| bytes.extend_from_slice(&line))
                .unwrap();
            assert!(sorter.held_bytes() <= SORT_BYTES);
            let pieces: usize = sorter.pieces.iter().map(Vec::capacity).sum();
            assert!(pieces + sorter.stray_bytes.len() <= 3 * SORT_BYTES);
        }
        assert_eq!(out.len() + sorter.held_bytes(), 2 * SORT_BYTES);
        assert!(out.len() <= SORT_BYTES + SORT_BYTES / SLACK);
    }

    /// A frame whose clock is wrong: what comes behind it is late, and must not wait for that time to come again.
    #[test]
    fn a_jump_of_time_holds_nothing_up() {
        for jump in [WAIT * 4, u64::MAX / 2, u64::MAX] {
            let mut sorter = Sorter::new();
            let mut out = Vec::new();
            for (number, now) in [WAIT * 2, jump, WAIT * 2, WAIT * 2 + 1]
                .into_iter()
                .enumerate()
            {
                let now = Timestamp(now);
                let fill = |line: &mut Vec<u8>| line.push(b'0' + number as u8);
                sorter.push(now, now, &mut out, fill).unwrap();
            }
            assert_eq!(String::from_utf8_lossy(&out), "023", "{jump}");
            sorter.finish(&mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), "0231", "{jump}");
        }
    }

    #[test]
    fn a_closed_pipe_is_passed_on() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sorter = Sorter::new();
        let now = Timestamp(1);
        sorter
            .push(now, now, &mut Closed, |line| line.push(b'x'))
            .unwrap();
        let error = sorter.finish(&mut Closed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
