//! A file that is followed in parts, at the same time.
//!
//! Each part has a worker that follows all conversations in it; what it takes for granted is looked at when the part before
//! has been followed (`worker/seam.rs`). Where that does not hold, nothing of it counts, and the caller goes another way.

use std::collections::BTreeMap;
use std::iter::Enumerate;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::vec::IntoIter;

use anyhow::anyhow;

use super::{LOOK_EVERY, Run, Walk};
use crate::limits;
use crate::pipeline::outlet::Outlet;
use crate::pipeline::owners::Owners;
use crate::pipeline::worker::{NoSeam, Worker};
use crate::protocol::Past;
use crate::source::SourceReport;
use crate::source::file::FileSource;

/// What following a file came to.
type Read = (Outlet, SourceReport);

/// Parts on their way.
struct Line {
    /// What conversations at rest are taken to have behind them.
    past: Past,
    /// Those that nobody has taken yet, with their places.
    parts: Mutex<Enumerate<IntoIter<FileSource>>>,
    /// Those that were followed, by their places.
    done: Mutex<BTreeMap<usize, Walk>>,
    /// No thread need go on.
    over: AtomicBool,
}

impl Line {
    fn new(parts: Vec<FileSource>, past: Past) -> Self {
        Self {
            past,
            parts: Mutex::new(parts.into_iter().enumerate()),
            done: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    fn next(&self) -> Option<(usize, FileSource)> {
        if self.over.load(Ordering::Relaxed) {
            return None;
        }
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.next()
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<usize, Walk>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run<'_> {
    /// Reads the whole file in parts, with so many threads; `None` where that cannot be done, or came to nothing.
    pub(super) fn read_parts(
        &self,
        source: &FileSource,
        threads: usize,
    ) -> anyhow::Result<Option<Read>> {
        let told = self.service.is_some() || self.setup.shown;
        if told || self.setup.options.duration.is_some() {
            return Ok(None);
        }
        let places = places(length(source), threads);
        let Some(&longest) = places.first() else {
            return Ok(None);
        };
        let Some(past) = self.past(source, longest)? else {
            return Ok(None);
        };
        let Some(parts) = source.parts(&places) else {
            return Ok(None);
        };
        begin_progress(source);
        let read = self.follow_parts(parts, past, threads)?;
        if read.is_err() {
            begin_progress(source);
        }
        Ok(read.ok())
    }

    /// The past that conversations have in a part at the file's beginning, where it could be joined with it, and little
    /// enough of it is left to the part before that all of one with so many bytes will be.
    fn past(&self, source: &FileSource, longest: usize) -> anyhow::Result<Option<Past>> {
        for past in [Past::Whole, Past::Lossy] {
            if self.is_worth_it(source, longest, past)? {
                return Ok(Some(past));
            }
        }
        Ok(None)
    }

    fn is_worth_it(&self, source: &FileSource, longest: usize, past: Past) -> anyhow::Result<bool> {
        let trial = [limits::TRIAL_BYTES, 2 * limits::TRIAL_BYTES];
        let parts = source.parts(&trial).unwrap_or_default();
        let mut parts = parts.into_iter();
        let (Some(first), Some(second)) = (parts.next(), parts.next()) else {
            return Ok(false);
        };
        let mut left = self.begin(first, 0, Owners::alone(), Vec::new())?;
        self.follow(&mut left, LOOK_EVERY, |_| false)?;
        let mut right = self.begin_part(second, past)?;
        let mut left_over = Vec::new();
        self.follow(&mut right, LOOK_EVERY / 32, |worker| {
            left_over.push(worker.left_over());
            worker.is_hopeless()
        })?;
        let half = left_over.get(left_over.len() / 2).copied();
        let (all, half) = (right.worker.left_over(), half.unwrap_or_default());
        let times = (longest / (limits::TRIAL_BYTES / 2)) as u64;
        let fits = |all: usize, half: usize, most: usize| {
            all as u64 + (all - half) as u64 * times <= most as u64 / 2
        };
        Ok(fits(all.steps, half.steps, limits::SEAM_STEPS)
            && fits(all.bytes, half.bytes, limits::SEAM_BYTES)
            && left.join(right).is_ok())
    }

    fn begin_part(&self, source: FileSource, past: Past) -> anyhow::Result<Walk> {
        let walk = self.begin(source, 0, Owners::alone(), Vec::new())?;
        let worker = walk.worker.amid(past);
        Ok(Walk { worker, ..walk })
    }

    /// Follows all parts with so many threads, of which this is one, and joins them. Who is done with a part takes the
    /// next one.
    fn follow_parts(
        &self,
        parts: Vec<FileSource>,
        past: Past,
        threads: usize,
    ) -> anyhow::Result<Result<Read, NoSeam>> {
        let line = Line::new(parts, past);
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| self.follow_line(&line, || Ok(()))))
                .collect();
            let mut joining = Joining::default();
            let followed = self.follow_line(&line, || joining.join(self, &line));
            // Where this thread failed, the others need not go on.
            line.over.fetch_or(followed.is_err(), Ordering::Relaxed);
            for other in others {
                other.join().map_err(|_| anyhow!("a worker failed"))??;
            }
            followed?;
            joining.join(self, &line)?;
            Ok(joining.end(self, &line))
        })
    }

    /// Follows parts as long as there are more. When one is done, so is `then`.
    fn follow_line(
        &self,
        line: &Line,
        mut then: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        while let Some((place, part)) = line.next() {
            let mut walk = match place {
                0 => self.begin(part, 0, Owners::alone(), Vec::new())?,
                _ => self.begin_part(part, line.past)?,
            };
            self.follow(&mut walk, LOOK_EVERY, |worker: &mut Worker| {
                line.over.fetch_or(worker.is_hopeless(), Ordering::Relaxed);
                line.over.load(Ordering::Relaxed) || self.is_told_to_end()
            })?;
            line.done().insert(place, walk);
            if self.is_told_to_end() {
                break;
            }
            then()?;
        }
        Ok(())
    }

    fn is_told_to_end(&self) -> bool {
        self.setup.signals.stop.load(Ordering::Relaxed)
    }
}

/// Parts that were joined.
#[derive(Default)]
struct Joining {
    all: Option<Walk>,
    /// How many.
    parts: usize,
    failure: Option<NoSeam>,
}

impl Joining {
    /// Joins the parts that are done and come next, and follows what their own workers stopped before.
    fn join(&mut self, run: &Run<'_>, line: &Line) -> anyhow::Result<()> {
        while self.failure.is_none() {
            let Some(next) = line.done().remove(&self.parts) else {
                break;
            };
            let mut all = match self.all.take() {
                None => next,
                // The run was told to end, or the file was shortened: it ends there.
                Some(all)
                    if run.is_told_to_end() || all.source.is_lost() && !all.leads_to(&next) =>
                {
                    self.all = Some(all);
                    break;
                }
                Some(all) => match all.join(next) {
                    Ok(all) => all,
                    Err(why) => {
                        self.failure = Some(why);
                        line.over.store(true, Ordering::Relaxed);
                        break;
                    }
                },
            };
            run.follow(&mut all, LOOK_EVERY, |worker| {
                run.setup.look(worker, &run.report) || line.over.load(Ordering::Relaxed)
            })?;
            self.all = Some(all);
            self.parts += 1;
        }
        Ok(())
    }

    fn end(self, run: &Run<'_>, line: &Line) -> Result<Read, NoSeam> {
        if let Some(why) = self.failure {
            return Err(why);
        }
        if line.over.load(Ordering::Relaxed) && !run.is_told_to_end() {
            return Err(NoSeam("a part was given up"));
        }
        let mut all = self.all.ok_or(NoSeam("there is no part"))?;
        run.setup.look(&mut all.worker, &run.report);
        let (mut outlet, report) = all.end(0);
        outlet.notices.sort();
        if outlet.stats.account.evicted > 0 {
            return Err(NoSeam("which conversations make room depends on parts"));
        }
        Ok((outlet, report))
    }
}

/// What was read before does not count.
fn begin_progress(source: &FileSource) {
    if let Some(progress) = source.progress() {
        progress.again();
    }
}

/// How many bytes there are.
fn length(source: &FileSource) -> usize {
    let bytes = source.progress().map_or(0, |progress| progress.total());
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Where parts begin but the first, in a file of so many bytes that so many threads read. Processors are not equally fast at
/// all times, and who is done first takes another part: so each is as long as half of what one thread would have
/// left, down to [`limits::PART_BYTES`].
fn places(length: usize, threads: usize) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), 0);
    if length < limits::PARTS_FROM {
        return places;
    }
    loop {
        let part = (length - at) / (2 * threads);
        at += part.max(limits::PART_BYTES);
        if at + limits::PART_BYTES > length {
            return places;
        }
        places.push(at);
    }
}

impl Walk {
    fn leads_to(&self, next: &Self) -> bool {
        self.source.is_followed_by(&next.source)
    }

    /// Goes on behind the next part.
    fn join(self, next: Self) -> Result<Self, NoSeam> {
        if !self.leads_to(&next) {
            return Err(NoSeam("the next part does not begin where this one ends"));
        }
        let mut source = next.source;
        source.follow(&self.source);
        Ok(Self {
            source,
            narrowing: self.narrowing,
            worker: self.worker.join(next.worker)?,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#[path = "parts_tests.rs"]
mod tests;
