//! Has the kernel map the pages ahead of a mapped file's readers, in a thread of its own.
//!
//! Mapping a page that lies in memory costs a sixth of what is done with its frames, and reading one that does not takes
//! far longer: neither is waited for. The thread keeps a bounded lead over the reader that is furthest, so that a file
//! larger than memory is not read in vain.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;

use memmap2::Mmap;

/// How many bytes are mapped at a time.
const STEP: usize = 2 << 20;

/// How far ahead of the furthest reader pages are mapped, in bytes: some 10 ms of reading.
const LEAD: usize = 32 << 20;

/// A file that is not longer has no thread.
const SHORT: usize = 8 << 20;

/// What readers and thread share.
#[derive(Debug)]
struct Progress {
    /// Where the furthest reader is.
    reached: AtomicUsize,
    ended: AtomicBool,
}

/// The thread; it ends with this.
#[derive(Debug)]
pub(super) struct Ahead {
    progress: Arc<Progress>,
    thread: Thread,
}

impl Ahead {
    /// Starts it over a map; `None` where that is not worth it or cannot be done: then readers call [`populate`].
    pub(super) fn start<M>(map: Arc<M>) -> Option<Self>
    where
        M: AsRef<Mmap> + Send + Sync + 'static,
    {
        if (*map).as_ref().len() <= SHORT || populate((*map).as_ref(), 0).is_err() {
            return None;
        }
        let progress = Arc::new(Progress {
            reached: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&progress);
        let thread = std::thread::Builder::new()
            .name("pages".to_owned())
            .spawn(move || keep_ahead((*map).as_ref(), &theirs))
            .ok()?
            .thread()
            .clone();
        Some(Self { progress, thread })
    }

    /// A reader has come to `at`; returns where it is to say so again.
    #[cold]
    pub(super) fn reached(&self, at: usize) -> usize {
        self.progress.reached.fetch_max(at, Ordering::Relaxed);
        self.thread.unpark();
        at + LEAD / 4
    }
}

impl Drop for Ahead {
    /// The thread is not waited for: it may be amid reading from a slow disk.
    fn drop(&mut self) {
        self.progress.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Maps pages from the second step on, as readers go on, until the end of the map.
fn keep_ahead(map: &Mmap, progress: &Progress) {
    let mut at = STEP;
    while at < map.len() && !progress.ended.load(Ordering::Relaxed) {
        let reached = progress.reached.load(Ordering::Relaxed);
        if at >= reached.saturating_add(LEAD) {
            std::thread::park();
        } else if reached > at {
            // A reader that overtook has had its pages mapped as it touched them.
            at = reached.next_multiple_of(STEP);
        } else if populate(map, at).is_err() {
            return;
        } else {
            at += STEP;
        }
    }
}

/// Has the kernel map the step of pages from `at` on at once, which costs less than a fault for every few of them.
///
/// # Errors
/// Before Linux 5.14 and elsewhere there is no such advice; a file that was shortened has no such pages.
pub(super) fn populate(map: &Mmap, at: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if at < map.len() {
        let step = STEP.min(map.len() - at);
        return map.advise_range(memmap2::Advice::PopulateRead, at, step);
    }
    let _ = (map, at);
    Ok(())
}

/// The first place from `at` on where a reader without a thread calls [`populate`].
pub(super) fn next_step(at: usize) -> usize {
    at.next_multiple_of(STEP)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::time::{Duration, Instant};

    use memmap2::MmapMut;

    use super::*;

    struct Map(Mmap);

    impl AsRef<Mmap> for Map {
        fn as_ref(&self) -> &Mmap {
            &self.0
        }
    }

    fn map(bytes: usize) -> Arc<Map> {
        let bytes = MmapMut::map_anon(bytes).unwrap();
        Arc::new(Map(bytes.make_read_only().unwrap()))
    }

    fn until(done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(done());
    }

    #[test]
    fn the_thread_ends_at_the_end_of_the_file_and_with_its_readers() {
        let map = map(12 << 20);
        let ahead = Ahead::start(Arc::clone(&map)).unwrap();
        until(|| Arc::strong_count(&map) == 1);
        drop(ahead);
        let map = self::map(64 << 20);
        let ahead = Ahead::start(Arc::clone(&map)).unwrap();
        assert!(ahead.reached(1) > 1);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(Arc::strong_count(&map), 2, "it keeps its lead and waits");
        ahead.reached(40 << 20);
        until(|| Arc::strong_count(&map) == 1);
        let ahead = Ahead::start(Arc::clone(&map)).unwrap();
        drop(ahead);
        until(|| Arc::strong_count(&map) == 1);
    }

    #[test]
    fn a_short_file_has_no_thread() {
        assert!(Ahead::start(map(1 << 20)).is_none());
    }
}
