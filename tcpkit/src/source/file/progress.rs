//! How far reading a file has come, and the bar that shows it.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressDrawTarget, ProgressStyle};

use super::FileSource;

/// Files up to this many bytes are read before a bar could be looked at.
const LONG: u64 = 64 << 20;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// Bytes of a file that were read, and that there are. Cheap to share and to look at; updated
/// every few thousand frames. Of a compressed file, its compressed bytes.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self {
            done: AtomicU64::new(0),
            total: AtomicU64::new(total),
        }
    }

    /// Bytes read so far by the reader that is furthest, or by the readers of all parts.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Reading begins anew.
    pub(crate) fn again(&self) {
        self.done.store(0, Ordering::Relaxed);
    }

    /// Bytes of the file; grows once where the file does.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// A reader of a part has read so many bytes more.
    pub(super) fn read(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn reached(&self, bytes: u64) {
        self.done.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(super) fn grown(&self, total: u64) {
        self.total.fetch_max(total, Ordering::Relaxed);
    }
}

/// A progress bar on standard error.
#[derive(Debug)]
pub struct ProgressBar;

impl ProgressBar {
    /// Shows a bar until the guard is dropped, which clears it. `None` unless standard error is
    /// a terminal and the file is a long one. A report that is printed line by line to the same
    /// terminal would tear the bar: who prints one does not start it.
    pub fn start(source: &FileSource) -> Option<Guard> {
        let progress = source.progress()?;
        if progress.total() < LONG || !stderr().is_terminal() {
            return None;
        }
        Guard::start(progress, ProgressDrawTarget::stderr())
    }
}

/// Keeps the progress bar on the screen; clears it when dropped.
#[derive(Debug)]
pub struct Guard {
    stop: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

impl Guard {
    fn start(progress: Arc<Progress>, target: ProgressDrawTarget) -> Option<Self> {
        let (stop, stopped) = channel();
        let drawing = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || draw(&progress, target, &stopped))
            .ok()?;
        Some(Self {
            stop: Some(stop),
            drawing: Some(drawing),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

fn draw(progress: &Progress, target: ProgressDrawTarget, stopped: &Receiver<()>) {
    let bar = indicatif::ProgressBar::with_draw_target(Some(progress.total()), target);
    let style = "reading {bar:30} {percent:>3} %  {bytes} of {total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    while stopped.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
        bar.set_length(progress.total());
        bar.set_position(progress.done());
    }
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_furthest_reader_counts() {
        let progress = Progress::new(10);
        progress.reached(7);
        progress.reached(3);
        progress.grown(12);
        assert_eq!((progress.done(), progress.total()), (7, 12));
    }

    #[test]
    fn a_dropped_guard_ends_its_thread() {
        let guard = Guard::start(Arc::new(Progress::new(1)), ProgressDrawTarget::hidden());
        assert!(guard.is_some());
        drop(guard);
    }
}
