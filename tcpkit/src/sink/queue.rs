//! Bounded queues in front of outputs that may stall: a terminal that is stopped, a pipe that nobody reads, a disk.
//!
//! Reads records, whole lines or whole frames, and hands them in batches to a thread that writes them. What does
//! not fit is dropped whole and counted; who fills the queue never waits.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{END_STALL, END_WAIT};

/// From so many bytes on the writer is woken at once. Below, it looks by itself: a wake-up for each record
/// would cost more than the record.
const WAKE_BYTES: usize = 64 << 10;

/// How often the writer looks by itself.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that are written at once, so that progress shows.
pub const PIECE_BYTES: usize = 64 << 10;

/// How much of a batch was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes; at least one, and whole records.
    pub bytes: usize,
    /// Records in them.
    pub records: u64,
}

/// Where a queue's records go. May block for as long as it likes.
pub trait Drain: Send + 'static {
    /// Writes the first records of a batch, which is not empty; some [`PIECE_BYTES`] of them.
    ///
    /// # Errors
    /// When they cannot be written: the queue takes nothing more, and tells whoever fills it.
    fn write(&mut self, batch: &[u8]) -> io::Result<Progress>;

    /// Nothing more will come.
    ///
    /// # Errors
    /// As [`Drain::write`].
    fn finish(&mut self) -> io::Result<()>;
}

/// A bounded queue of records. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the writer: there is something to do.
    filled: Condvar,
    /// For whoever waits for the end: something was done.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    records: u64,
    /// Bytes and records of the batch that is being written.
    writing: (usize, u64),
    /// Records that did not fit.
    dropped: u64,
    closed: bool,
    ended: bool,
    failure: Option<io::ErrorKind>,
    why: String,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held(&self) -> usize {
        self.waiting.len() + self.writing.0
    }

    fn failed(&self) -> io::Result<()> {
        self.failure
            .map_or(Ok(()), |kind| Err(io::Error::new(kind, self.why.clone())))
    }
}

impl Queue {
    /// A queue of at most `limit` bytes, and its thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(name: &str, limit: usize, drain: impl Drain) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Self {
            shared: Arc::clone(&shared),
            limit,
        };
        // Never joined: a writer that is stuck may not keep the run from its end.
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_all(&shared, drain))?;
        Ok(queue)
    }

    /// Adds a record of at most `size` bytes, which `fill` appends; false where it does not fit.
    ///
    /// # Errors
    /// When the output has failed.
    pub fn offer(&self, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<bool> {
        let mut state = self.shared.lock();
        state.failed()?;
        if state.held() + size > self.limit {
            state.dropped += 1;
            return Ok(false);
        }
        self.add(&mut state, 1, fill);
        Ok(true)
    }

    /// Adds what is no record, even beyond the limit: a mark that must come through.
    ///
    /// # Errors
    /// As [`Queue::offer`].
    pub fn mark(&self, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.failed()?;
        self.add(&mut state, 0, fill);
        Ok(())
    }

    fn add(&self, state: &mut State, records: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        let before = state.waiting.len();
        fill(&mut state.waiting);
        state.records += records;
        if before < WAKE_BYTES && state.waiting.len() >= WAKE_BYTES {
            self.shared.filled.notify_one();
        }
    }

    /// Has what waits written now.
    ///
    /// # Errors
    /// When the output has failed.
    pub fn wake(&self) -> io::Result<()> {
        self.shared.filled.notify_one();
        self.shared.lock().failed()
    }

    /// Records that did not fit, so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Nothing more comes: waits until all is written, but not for an output that stalls. Returns how many records
    /// were left.
    ///
    /// # Errors
    /// When the output has failed.
    pub fn finish(&self) -> io::Result<u64> {
        let begun = Instant::now();
        let mut progress = (begun, usize::MAX);
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.filled.notify_one();
        while !state.ended {
            if state.held() != progress.1 {
                progress = (Instant::now(), state.held());
            }
            if progress.0.elapsed() > END_STALL || begun.elapsed() > END_WAIT {
                let left = state.records + state.writing.1;
                state.dropped += left;
                return Ok(left);
            }
            let waited = self.shared.written.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.failed().map(|()| 0)
    }
}

/// The writer's thread.
fn write_all(shared: &Shared, mut drain: impl Drain) {
    let mut batch = Vec::new();
    let result = loop {
        let closed = next_batch(shared, &mut batch);
        if batch.is_empty() && closed {
            break drain.finish();
        }
        if let Err(error) = write_batch(shared, &mut drain, &batch) {
            break Err(error);
        }
        batch.clear();
    };
    let mut state = shared.lock();
    state.ended = true;
    if let Err(error) = result {
        state.failure = Some(error.kind());
        state.why = error.to_string();
        state.waiting = Vec::new();
    }
    shared.written.notify_all();
}

/// Takes what waits, or waits for it; true when nothing more will come.
fn next_batch(shared: &Shared, batch: &mut Vec<u8>) -> bool {
    let mut state = shared.lock();
    if state.waiting.is_empty() && !state.closed {
        let waited = shared.filled.wait_timeout(state, LOOK);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    std::mem::swap(&mut state.waiting, batch);
    state.writing = (batch.len(), std::mem::take(&mut state.records));
    state.closed
}

fn write_batch(shared: &Shared, drain: &mut impl Drain, batch: &[u8]) -> io::Result<()> {
    let mut at = 0;
    while at < batch.len() {
        let progress = drain.write(batch.get(at..).unwrap_or_default())?;
        at += progress.bytes.max(1);
        let mut state = shared.lock();
        state.writing.0 = batch.len().saturating_sub(at);
        state.writing.1 = state.writing.1.saturating_sub(progress.records);
        shared.written.notify_all();
    }
    Ok(())
}

/// A queue of lines, to be written to as to a file. Each write must end with a line's end.
#[derive(Clone, Debug)]
pub struct Lines {
    queue: Queue,
}

impl Lines {
    /// A queue of at most `limit` bytes in front of `out`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(name: &str, limit: usize, out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Queue::start(name, limit, LineDrain(out))?;
        Ok(Self { queue })
    }

    /// Lines that were dropped, so far.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Adds lines beyond the limit.
    ///
    /// # Errors
    /// When the output has failed.
    pub fn insist(&self, lines: &[u8]) -> io::Result<()> {
        let mut state = self.queue.shared.lock();
        state.failed()?;
        let add = |waiting: &mut Vec<u8>| waiting.extend_from_slice(lines);
        self.queue.add(&mut state, count(lines), add);
        Ok(())
    }

    /// As [`Queue::finish`], counting lines.
    ///
    /// # Errors
    /// When the output has failed.
    pub fn finish(&self) -> io::Result<u64> {
        self.queue.finish()
    }
}

impl Write for Lines {
    /// Takes the lines that fit, from the first on, and drops the others.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.queue.shared.lock();
        state.failed()?;
        let room = self.queue.limit.saturating_sub(state.held());
        let fit = whole_lines(lines, room);
        let (taken, dropped) = lines.split_at(fit);
        state.dropped += count(dropped);
        let add = |waiting: &mut Vec<u8>| waiting.extend_from_slice(taken);
        self.queue.add(&mut state, count(taken), add);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.queue.wake()
    }
}

/// Length of as many whole lines as `room` bytes hold.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    let head = lines.get(..room).unwrap_or_default();
    memchr::memrchr(b'\n', head).map_or(0, |last| last + 1)
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

struct LineDrain<W>(W);

impl<W: Write + Send + 'static> Drain for LineDrain<W> {
    fn write(&mut self, batch: &[u8]) -> io::Result<Progress> {
        let fit = match whole_lines(batch, PIECE_BYTES) {
            // A line that is longer than a piece.
            0 => memchr::memchr(b'\n', batch).map_or(batch.len(), |end| end + 1),
            fit => fit,
        };
        let piece = batch.get(..fit).unwrap_or_default();
        self.0.write_all(piece)?;
        self.0.flush()?;
        Ok(Progress {
            bytes: fit,
            records: count(piece),
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Writes after it was let, piece by piece.
    struct Gate {
        let_through: Receiver<()>,
        out: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.let_through
                .recv()
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.out.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated(limit: usize) -> (Lines, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (sender, let_through) = channel();
        let out = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate {
            let_through,
            out: Arc::clone(&out),
        };
        (Lines::start("test", limit, gate).unwrap(), sender, out)
    }

    #[test]
    fn what_does_not_fit_is_dropped_in_whole_lines_and_counted() {
        let (mut lines, open, out) = gated(100);
        let begun = Instant::now();
        for number in 0..1000 {
            lines
                .write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits");
        for _ in 0..1000 {
            open.send(()).unwrap();
        }
        assert_eq!(lines.finish().unwrap(), 0);
        let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\nline 1\n"), "{text}");
        assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with("line ")));
        assert_eq!(text.lines().count() as u64 + lines.dropped(), 1000);
        assert!(lines.dropped() > 900);
    }

    #[test]
    fn an_output_that_stalls_does_not_keep_the_end() {
        let (mut lines, _open, _out) = gated(1 << 20);
        lines.write_all(b"one\ntwo\n").unwrap();
        lines.insist(b"the end\n").unwrap();
        let begun = Instant::now();
        assert_eq!(lines.finish().unwrap(), 3);
        assert!(begun.elapsed() >= END_STALL && begun.elapsed() < END_STALL * 2);
        assert_eq!(lines.dropped(), 3);
    }

    #[test]
    fn a_closed_pipe_is_told_with_its_kind() {
        let (mut lines, open, _out) = gated(1 << 20);
        drop(open);
        lines.write_all(b"one\n").unwrap();
        let error = lines.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let again = lines.write_all(b"two\n").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn everything_comes_through_in_order() {
        let (mut lines, open, out) = gated(1 << 22);
        for _ in 0..100_000 {
            open.send(()).unwrap();
        }
        let mut expected = Vec::new();
        for number in 0..50_000 {
            let line = format!("{number}\n");
            lines.write_all(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
        }
        assert_eq!((lines.finish().unwrap(), lines.dropped()), (0, 0));
        assert!(*out.lock().unwrap() == expected);
    }

    #[test]
    fn long_lines_are_one_piece() {
        let (mut lines, open, out) = gated(1 << 22);
        for _ in 0..10 {
            open.send(()).unwrap();
        }
        let long = [vec![b'x'; 3 * PIECE_BYTES], b"\nshort\n".to_vec()].concat();
        lines.write_all(&long).unwrap();
        lines.finish().unwrap();
        assert_eq!(*out.lock().unwrap(), long);
    }
}
