//! Has the kernel map the pages ahead of a mapped file's readers, and let go of those behind, in a thread of its own.
//!
//! Mapping a page that lies in memory and letting go of it costs a sixth of what is done with its frames, and reading
//! one that does not takes far longer: neither is waited for. The thread keeps a bounded lead over the reader that is
//! furthest, so that a file larger than memory is not read in vain.

use std::io;
use std::ops::Range;
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
#[derive(Debug)]
struct Progress {
    lanes: Mutex<Vec<Lane>>,
    ended: AtomicBool,
}

/// A run of the map's bytes that is read from its beginning to its end, by all of its readers.
#[derive(Debug)]
struct Lane {
    to: usize,
    /// Up to where pages were mapped.
    at: usize,
    /// Up to where they were let go.
    left: usize,
    /// Where each reader is.
    readers: Vec<Arc<AtomicUsize>>,
}

/// What the thread does next.
enum Step {
    /// Maps pages from this place on.
    Map(usize),
    /// Lets go of these.
    Leave(Range<usize>),
}

impl Lane {
    fn new(bytes: Range<usize>) -> Self {
        Self {
            to: bytes.end,
            at: bytes.start / STEP * STEP,
            left: bytes.start.next_multiple_of(LEFT),
            readers: Vec::new(),
        }
    }

    /// Where the last and the first of those readers are that are left.
    fn reached(&mut self) -> (usize, usize) {
        self.readers.retain(|reader| Arc::strong_count(reader) > 1);
        let places = || {
            let readers = self.readers.iter();
            readers.map(|reader| reader.load(Ordering::Relaxed))
        };
        (places().min().unwrap_or(0), places().max().unwrap_or(0))
    }

    /// What is to be done now; `None` where that depends on the readers' going on.
    fn step(&mut self) -> Option<Step> {
        let (last, first) = self.reached();
        if self.at < self.to && self.at < first.saturating_add(LEAD) {
            // A reader that overtook has had its pages mapped as it touched them.
            let at = self.at.max(first.next_multiple_of(STEP));
            self.at = at + STEP;
            Some(Step::Map(at))
        } else if self.left < self.to && last >= self.to.min(self.left + LEFT) {
            let left = self.left;
            self.left += LEFT;
            Some(Step::Leave(left..self.to.min(self.left)))
        } else {
            None
        }
    }
}

impl Progress {
    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does next; `Err` where it has to wait, and with `true` where nothing will be left to do.
    fn step(&self) -> Result<Step, bool> {
        let mut lanes = self.lanes();
        let step = lanes.iter_mut().find_map(Lane::step);
        step.ok_or_else(|| lanes.iter().all(|lane| lane.left >= lane.to))
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
        let mut whole = Lane::new(0..(*map).as_ref().len());
        // Mapped above.
        whole.at = STEP;
        let progress = Arc::new(Progress {
            lanes: Mutex::new(vec![whole]),
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

    /// A reader more, at the beginning of the whole map.
    pub(super) fn reader(&self) -> Reader {
        let place = Arc::new(AtomicUsize::new(0));
        if let Some(whole) = self.progress.lanes().first_mut() {
            whole.readers.push(Arc::clone(&place));
        }
        Reader(place)
    }

    /// The only reader of a part of the map.
    pub(super) fn reader_of(&self, bytes: Range<usize>) -> Reader {
        let place = Arc::new(AtomicUsize::new(bytes.start));
        let mut lane = Lane::new(bytes);
        lane.readers.push(Arc::clone(&place));
        self.progress.lanes().push(lane);
        self.thread.unpark();
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

/// Maps pages and lets go of them, as readers go on, until that is done.
fn keep_ahead(map: &Mmap, progress: &Progress) {
    while !progress.ended.load(Ordering::Relaxed) {
        match progress.step() {
            // Where it fails, pages are mapped as they are touched.
            Ok(Step::Map(at)) => drop(populate(map, at)),
            Ok(Step::Leave(bytes)) => leave(map, bytes),
            Err(true) => return,
            Err(false) => std::thread::park(),
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
fn leave(map: &Mmap, bytes: Range<usize>) {
    let (at, len) = (bytes.start, bytes.len());
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
