//! Pushes metrics to an OpenTelemetry collector (OTLP over HTTP, protobuf, cumulative).
//!
//! A thread of its own asks the [`keeper`](super::keeper) at an interval, as any reader does, and sends what it is
//! told. Nothing is kept for a collector that is away: sums are cumulative, so the next push tells all. What goes wrong
//! is counted, and told from time to time.

mod exponential;
mod message;
mod post;
mod settings;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::post::{Collector, Failure};
pub use self::settings::Settings;
use super::Reader;
use crate::limits;
use crate::sink::stats::snapshot::Pushes;

/// How often the end of the last push is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// What is left to a push whose time is over, to say so.
const GRACE: Duration = Duration::from_millis(500);

/// Takes sentences for the user, without waiting for anybody who reads them.
pub type Teller = Box<dyn FnMut(String) + Send>;

/// What became of pushes; clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<[AtomicU64; 2]>);

impl Counts {
    /// So far.
    pub fn now(&self) -> Pushes {
        let [accepted, failed] = self.0.as_ref();
        Pushes {
            accepted: accepted.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
        }
    }

    fn add(&self, is_accepted: bool) {
        let [accepted, failed] = self.0.as_ref();
        let count = if is_accepted { accepted } else { failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The thread, and how it is ended.
#[derive(Debug)]
pub struct Pusher {
    /// To be dropped, for the thread to end.
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Pusher {
    /// Begins to push what `reader` tells.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        settings: Settings,
        reader: Reader,
        counts: Counts,
        tell: Teller,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("tcpkit-otlp".to_owned())
            .spawn(move || Push::new(settings, reader, counts, tell).work(&stopped))?;
        Ok(Self { stop, thread })
    }

    /// Pushes a last time and ends; false if that took longer than [`limits::LAST_PUSH`], and was left to itself.
    pub fn end(self) -> bool {
        drop(self.stop);
        let until = Instant::now() + limits::LAST_PUSH + GRACE;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        self.thread.is_finished()
    }
}

/// What the thread knows.
struct Push {
    collector: Collector,
    settings: Settings,
    reader: Reader,
    counts: Counts,
    complaints: Complaints,
    tell: Teller,
}

impl Push {
    fn new(settings: Settings, reader: Reader, counts: Counts, tell: Teller) -> Self {
        Self {
            collector: Collector::new(settings.url.clone(), settings.headers.clone()),
            complaints: Complaints::new(&settings.url),
            settings,
            reader,
            counts,
            tell,
        }
    }

    fn work(mut self, stopped: &Receiver<()>) {
        let mut next = Instant::now() + self.settings.interval;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                self.push(self.settings.timeout.min(limits::LAST_PUSH));
                return;
            }
            let pause = self.push(self.settings.timeout).unwrap_or_default();
            next = (next + self.settings.interval).max(Instant::now() + pause);
        }
    }

    /// Pushes once; returns how long the collector wants to be left alone.
    fn push(&mut self, within: Duration) -> Option<Duration> {
        let pushed = self.send(Instant::now() + within);
        self.counts.add(pushed.is_ok());
        let said = self.complaints.hear(&pushed, Instant::now());
        said.into_iter().for_each(&mut self.tell);
        pushed.err()?.pause
    }

    fn send(&self, until: Instant) -> Result<(), Failure> {
        let Some(snapshot) = self.reader.since_start() else {
            return Err(Failure::new("the counts could not be had"));
        };
        for request in message::requests(&snapshot, &self.settings.resource) {
            let left = until.saturating_duration_since(Instant::now());
            // A time of nothing would be none for the client.
            self.collector
                .post(&request, left.max(Duration::from_millis(1)))?;
        }
        Ok(())
    }
}

/// Decides what of failures is told: the first, then one now and then, and that they are over.
struct Complaints {
    url: String,
    told: Option<Instant>,
    /// Failures since a push succeeded.
    failures: u64,
}

impl Complaints {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            told: None,
            failures: 0,
        }
    }

    fn hear(&mut self, pushed: &Result<(), Failure>, now: Instant) -> Option<String> {
        let Err(failure) = pushed else {
            let failures = std::mem::take(&mut self.failures);
            return (failures > 0).then(|| {
                format!(
                    "--otlp {}: works again, after {failures} failures",
                    self.url
                )
            });
        };
        self.failures += 1;
        let is_early = |told: Instant| now.duration_since(told) < limits::PUSH_LINE;
        if self.told.is_some_and(is_early) {
            return None;
        }
        self.told = Some(now);
        let again = match self.failures {
            1 => String::new(),
            failures => format!(" ({failures} pushes in a row)"),
        };
        Some(format!("--otlp {}: {}{again}", self.url, failure.said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_now_and_then_and_that_they_are_over() {
        let mut complaints = Complaints::new("http://c");
        let failed = || Err(Failure::new("refused"));
        let begun = Instant::now();
        let mut hear =
            |pushed, seconds| complaints.hear(&pushed, begun + Duration::from_secs(seconds));
        assert_eq!(hear(Ok(()), 0), None);
        assert_eq!(
            hear(failed(), 1).as_deref(),
            Some("--otlp http://c: refused")
        );
        assert_eq!(hear(failed(), 11), None);
        let told = hear(failed(), 1 + limits::PUSH_LINE.as_secs());
        assert_eq!(
            told.as_deref(),
            Some("--otlp http://c: refused (3 pushes in a row)")
        );
        let over = hear(Ok(()), 90);
        assert_eq!(
            over.as_deref(),
            Some("--otlp http://c: works again, after 3 failures")
        );
        assert_eq!(hear(Ok(()), 100), None);
    }
}
