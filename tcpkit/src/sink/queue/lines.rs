//! A queue of lines, in front of whoever reads a report.
//!
//! Reads what is written to it, in whole lines, and hands it to its thread; what does not fit is dropped in whole lines.

use std::io::{self, Write};

use super::{Drain, PIECE_BYTES, Progress, Queue};

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
        drop(state);
        // Who writes lines collects them first, so that a wake-up each time is none a line.
        self.queue.shared.filled.notify_one();
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
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::END_STALL;
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
