//! Has the kernel map the pages ahead of a mapped file's readers, and let go of those behind, in a thread of its own.
//!
//! Mapping a page that lies in memory and letting go of it costs a sixth of what is done with its frames, and reading
//! one that does not takes far longer: neither is waited for. The thread keeps a bounded lead over the reader that is
//! furthest, so that a file larger than memory is not read in vain.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use memmap2::{Mmap, UncheckedAdvice};

/// How many bytes are mapped at a time.
const STEP: usize = 2 << 20;

/// How far ahead of the furthest reader pages are mapped, in bytes: some 10 ms of reading.
const LEAD: usize = 32 << 20;

/// A reader says so often where it is.
const REPORT: usize = 4 << 20;

/// How many bytes are let go at a time: each time interrupts the processors of all readers.
const LEFT: usize = 8 << 20;

/// A file that is not longer has no thread.
const SHORT: usize = 8 << 20;

/// A fault maps the pages around it that lie in memory, aligned to so many bytes (Linux' `fault_around_bytes`).
#[cfg(target_os = "linux")]
const AROUND: usize = 64 << 10;

/// What readers and thread share.
#[derive(Debug, Default)]
struct Progress {
    /// Where each reader is.
    readers: Mutex<Vec<Arc<AtomicUsize>>>,
    ended: AtomicBool,
}

impl Progress {
    fn readers(&self) -> MutexGuard<'_, Vec<Arc<AtomicUsize>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the last and the first of those readers are that are left.
    fn reached(&self) -> (usize, usize) {
        let mut readers = self.readers();
        readers.retain(|reader| Arc::strong_count(reader) > 1);
        let places = || readers.iter().map(|reader| reader.load(Ordering::Relaxed));
        (places().min().unwrap_or(0), places().max().unwrap_or(0))
    }
}

/// The thread; it ends with this.
#[derive(Debug)]
pub(super) struct Ahead {
    progress: Arc<Progress>,
    thread: Thread,
}

/// Where one reader is, for the thread.
#[derive(Debug)]
pub(super) struct Reader(Arc<AtomicUsize>);

impl Ahead {
    /// Starts it over a map; `None` where that is not worth it or cannot be done: then readers call [`populate`].
    pub(super) fn start<M>(map: Arc<M>) -> Option<Self>
    where
        M: AsRef<Mmap> + Send + Sync + 'static,
    {
        if (*map).as_ref().len() <= SHORT || populate((*map).as_ref(), 0).is_err() {
            return None;
        }
        let progress = Arc::new(Progress::default());
        let theirs = Arc::clone(&progress);
        let thread = std::thread::Builder::new()
            .name("pages".to_owned())
            .spawn(move || keep_ahead((*map).as_ref(), &theirs))
            .ok()?
            .thread()
            .clone();
        Some(Self { progress, thread })
    }

    /// A reader more, at the beginning.
    pub(super) fn reader(&self) -> Reader {
        let place = Arc::new(AtomicUsize::new(0));
        self.progress.readers().push(Arc::clone(&place));
        Reader(place)
    }

    /// A reader has come to `at`; returns where it is to say so again.
    #[cold]
    pub(super) fn reached(&self, reader: &Reader, at: usize) -> usize {
        reader.0.store(at, Ordering::Relaxed);
        self.thread.unpark();
        at + REPORT
    }
}

impl Drop for Ahead {
    /// The thread is not waited for: it may be amid reading from a slow disk.
    fn drop(&mut self) {
        self.progress.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Maps pages from the second step on and lets go of them, as readers go on, until the end of the map.
fn keep_ahead(map: &Mmap, progress: &Progress) {
    let (mut at, mut left) = (STEP, 0);
    while left < map.len() && !progress.ended.load(Ordering::Relaxed) {
        let (last, first) = progress.reached();
        if at < map.len() && at < first.saturating_add(LEAD) {
            // A reader that overtook has had its pages mapped as it touched them.
            at = at.max(first.next_multiple_of(STEP));
            // Where it fails, pages are mapped as they are touched.
            let _ = populate(map, at);
            at += STEP;
        } else if last >= map.len().min(left + LEFT) {
            leave(map, left);
            left += LEFT;
        } else {
            std::thread::park();
        }
    }
}

/// Has the kernel map the step of pages from `at` on. Asking for one page of each [`AROUND`] costs two thirds of what
/// asking for all does.
///
/// # Errors
/// Before Linux 5.14 and elsewhere there is no such advice; a file that was shortened has no such pages.
pub(super) fn populate(map: &Mmap, at: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    for page in (at..map.len().min(at.saturating_add(STEP))).step_by(AROUND) {
        map.advise_range(memmap2::Advice::PopulateRead, page, 1)?;
    }
    let _ = (map, at);
    Ok(())
}

/// Lets go of pages that every reader has passed; the file keeps them.
fn leave(map: &Mmap, at: usize) {
    let len = LEFT.min(map.len() - at);
    // SAFETY: the map is one of a file, and only ever read: a page that is touched once more is mapped once more, with
    // what the file holds there, which may change at any time anyway. Where it fails, pages stay until the end.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, at, len) };
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
        let reader = ahead.reader();
        ahead.reached(&reader, 12 << 20);
        until(|| Arc::strong_count(&map) == 1);
        drop(ahead);
        let map = self::map(64 << 20);
        let ahead = Ahead::start(Arc::clone(&map)).unwrap();
        let readers = [ahead.reader(), ahead.reader()];
        assert!(ahead.reached(&readers[0], 1) > 1);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(Arc::strong_count(&map), 2, "it keeps its lead and waits");
        ahead.reached(&readers[0], 64 << 20);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(Arc::strong_count(&map), 2, "it waits for the other reader");
        ahead.reached(&readers[1], 64 << 20);
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
