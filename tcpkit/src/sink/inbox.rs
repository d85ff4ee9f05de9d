//! Lines that something else than a sink makes for the report, each with its time.
//!
//! Takes lines from a script's thread; a sink puts them among its own by time. The report's lines wait
//! until all inboxes have reached their time, so the order does not depend on threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::order::Sorter;
use crate::limits::LUA_PRINTED_BYTES;
use crate::source::Timestamp;

/// Lines on their way to a report.
#[derive(Debug, Default)]
pub struct Inbox {
    lines: Mutex<Lines>,
    reached: AtomicU64,
    /// Something has changed since the report looked.
    fresh: AtomicBool,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<(Timestamp, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
}

impl Inbox {
    /// Adds lines of the time `stamp`. What would be over [`LUA_PRINTED_BYTES`] is dropped whole,
    /// and counted.
    pub fn put(&self, stamp: Timestamp, text: &[u8]) {
        let mut lines = self.lock();
        if lines.bytes + text.len() > LUA_PRINTED_BYTES {
            lines.dropped += 1;
            return;
        }
        lines.bytes += text.len();
        lines.waiting.push_back((stamp, text.to_vec()));
        self.fresh.store(true, Ordering::Release);
    }

    /// No line before `stamp` will come any more.
    pub fn reach(&self, stamp: Timestamp) {
        self.reached.fetch_max(stamp.0, Ordering::Release);
        self.fresh.store(true, Ordering::Release);
    }

    /// How often lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inboxes of one report.
#[derive(Clone, Debug, Default)]
pub struct Inboxes {
    inboxes: Vec<Arc<Inbox>>,
    /// The sorter was told to wait for them.
    begun: bool,
}

impl Inboxes {
    /// These, in the order in which lines of the same time are printed.
    pub fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        let begun = false;
        Self { inboxes, begun }
    }

    /// Puts what has come into `sorter`, and lets it write what waits for no inbox.
    ///
    /// # Errors
    /// When `out` cannot be written.
    #[inline]
    pub fn merge(&mut self, sorter: &mut Sorter, out: &mut impl Write) -> io::Result<()> {
        if self.inboxes.is_empty() {
            return Ok(());
        }
        self.merge_all(sorter, out)
    }

    #[inline(never)]
    fn merge_all(&mut self, sorter: &mut Sorter, out: &mut impl Write) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            sorter.hold(Timestamp::default(), out)?;
        }
        let is_fresh = |inbox: &Arc<Inbox>| inbox.fresh.load(Ordering::Acquire);
        if !self.inboxes.iter().any(is_fresh) {
            return Ok(());
        }
        let reached = self.inboxes.iter().map(|inbox| {
            inbox.fresh.store(false, Ordering::Release);
            inbox.reached.load(Ordering::Acquire)
        });
        let reached = reached.min();
        for (inbox, rank) in self.inboxes.iter().zip(1..) {
            let mut lines = inbox.lock();
            lines.bytes = 0;
            for (stamp, text) in lines.waiting.drain(..) {
                sorter.insert(stamp, rank, &text);
            }
        }
        sorter.hold(Timestamp(reached.unwrap_or(u64::MAX)), out)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_at_their_time_whenever_they_come() {
        let inbox = Arc::new(Inbox::default());
        let mut inboxes = Inboxes::new(vec![Arc::clone(&inbox)]);
        let (mut sorter, mut out) = (Sorter::new(), Vec::new());
        inboxes.merge(&mut sorter, &mut out).unwrap();
        for second in [1, 2, 3] {
            let at = Timestamp::new(second, 0);
            sorter
                .push(at, at, &mut out, |line| line.extend(b"report\n"))
                .unwrap();
        }
        assert_eq!(out, b"", "the script has not come so far");
        inbox.put(Timestamp::new(1, 0), b"script 1\n");
        inbox.put(Timestamp::new(2, 500), b"script 2\n");
        inbox.reach(Timestamp::new(4, 0));
        inboxes.merge(&mut sorter, &mut out).unwrap();
        sorter.finish(&mut out).unwrap();
        assert_eq!(
            out,
            b"report\nscript 1\nreport\nscript 2\nreport\n".as_slice()
        );
    }

    #[test]
    fn what_nobody_fetches_is_bounded() {
        let inbox = Inbox::default();
        for _ in 0..3 {
            inbox.put(Timestamp::default(), &vec![b'x'; LUA_PRINTED_BYTES / 2]);
        }
        assert_eq!(inbox.dropped(), 1);
    }
}
