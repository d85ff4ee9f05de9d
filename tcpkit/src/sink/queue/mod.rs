//! Bounded queues in front of outputs that may stall: a terminal that is stopped, a pipe that nobody reads, a disk.
//!
//! Reads records, whole lines or whole frames, and hands them in batches to a thread that writes them. What does
//! not fit is dropped whole and counted; who fills the queue never waits.

mod lines;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use lines::Lines;

use crate::limits::{END_STALL, END_WAIT};

/// From so many bytes on the writer is woken. A wake-up for each record would cost more than the record.
const WAKE_BYTES: usize = 64 << 10;

/// Below that, the writer looks by itself so often.
const LOOK: Duration = Duration::from_secs(1);

/// At the end, progress is looked at so often.
const LOOK_AT_END: Duration = Duration::from_millis(50);

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
            let waited = self.shared.written.wait_timeout(state, LOOK_AT_END);
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
