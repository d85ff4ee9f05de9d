//! One run over a capture file. Sinks are waited for, and the output is a function of the file and the options.

mod parts;

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail};

use super::notice::tell;
use super::outlet::Outlet;
use super::owners::Owners;
use super::readers;
use super::report::Report;
use super::setup::Setup;
use super::view;
use super::worker::Worker;
use crate::limits;
use crate::serve::Service;
use crate::sink::Sink;
use crate::sink::beside::Beside;
use crate::sink::pcap::Writer;
use crate::sink::stats::Stats;
use crate::sink::stats::summary::Summary;
use crate::source::file::{FileSource, ProgressBar};
use crate::source::filter::Filter;
use crate::source::live::Drift;
use crate::source::shown;
use crate::source::{BATCH, Frame, LinkType, Source, SourceReport};

/// Frames between two looks at the signals.
const LOOK_EVERY: usize = 1024;

/// Reads a capture file and reports.
///
/// # Errors
/// A sentence for the user: what cannot be opened, read or written.
pub(super) fn run(setup: &Setup<'_>, path: &Path) -> anyhow::Result<()> {
    let options = setup.options;
    let mut notices = Vec::new();
    let readers = readers::open(options, &mut notices)?;
    let source = FileSource::open_unless(path, &|| setup.signals.stop.load(Ordering::Relaxed));
    let source = source.map_err(|error| anyhow!("--read {error}"))?;
    if options.linger {
        notices.iter().for_each(|notice| tell(notice));
    }
    let run = Run {
        setup,
        service: readers::start(setup, readers, Box::new(|notice| tell(&notice)))?,
        report: setup.report()?,
    };
    let view = view::start(setup, run.service.as_ref())?;
    // A bar and lines on the same terminal would tear each other.
    let aside = options.quiet || options.report_file().is_some() || !io::stdout().is_terminal();
    let bar = match aside && !setup.shown {
        true => ProgressBar::start(&source),
        false => None,
    };
    let ran = run.read(source);
    drop(bar);
    let (mut outlet, report) = ran?;
    let notices = outlet.notices.iter().chain(&report.notices);
    notices.for_each(|notice| tell(notice));
    let ended = outlet.finish().and_then(|()| run.summarise(&outlet.stats));
    match ended {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            run.service.map(Service::end);
            return Ok(());
        }
        other => other?,
    }
    if outlet.stats.account.frames == 0 && !report.notices.is_empty() {
        bail!("{}: nothing could be read", shown::path(path));
    }
    view::end(view)?;
    let notices = readers::end(run.service, setup);
    notices.iter().for_each(|notice| tell(notice));
    Ok(())
}

/// What is followed of the frames, where that is not all.
struct Narrowing {
    filter: Option<Filter>,
    /// Bytes of each frame.
    snaplen: Option<usize>,
}

impl Narrowing {
    fn follow(&mut self, frames: &[Frame<'_>], worker: &mut Worker) {
        if self.filter.is_none() && self.snaplen.is_none() {
            return worker.frames(frames);
        }
        for frame in frames {
            let matches = self
                .filter
                .as_mut()
                .is_none_or(|filter| filter.matches(frame));
            let frame = frame.cut(self.snaplen.unwrap_or(usize::MAX));
            if matches {
                worker.frame(&frame);
            } else {
                worker.pass(&frame);
            }
        }
    }
}

/// A walk over a file, or over a part of it, with the worker that follows it.
struct Walk {
    source: FileSource,
    narrowing: Narrowing,
    worker: Worker,
}

impl Walk {
    /// What was found; frames that the source knows were lost are told by the first worker.
    fn end(self, worker: usize) -> (Outlet, SourceReport) {
        let mut outlet = self.worker.finish();
        let filter = self.narrowing.filter.iter();
        outlet
            .notices
            .extend(filter.flat_map(Filter::notices).cloned());
        let report = self.source.report();
        if worker == 0 {
            outlet.stats.account.dropped += report.dropped;
        }
        // Before others' counts are added to its own.
        outlet.close_desk();
        (outlet, report)
    }
}

struct Run<'a> {
    setup: &'a Setup<'a>,
    /// Answers those who read statistics while the run goes on.
    service: Option<Service>,
    report: Report,
}

impl Run<'_> {
    /// Reads the whole file with as many workers as make sense.
    fn read(&self, mut source: FileSource) -> anyhow::Result<(Outlet, SourceReport)> {
        let sinks = self.sinks(&mut source)?;
        let many = sinks.is_empty() && self.setup.options.count.is_none();
        let wanted = self
            .setup
            .options
            .threads
            .unwrap_or(1)
            .clamp(1, limits::SHARDS);
        if many
            && wanted > 1
            && let Some(read) = self.read_parts(&source, wanted)?
        {
            return Ok(read);
        }
        let mut others = Vec::new();
        while many && others.len() + 1 < wanted {
            match source.reopen() {
                Some(again) => others.push(again),
                None => break,
            }
        }
        let sample = match others.is_empty() {
            true => None,
            false => source.reopen(),
        };
        let owners = match sample {
            Some(sample) => Owners::of_sample(sample, &self.setup.selector, others.len() + 1),
            None => Owners::alone(),
        };
        thread::scope(|scope| {
            let handles: Vec<_> = others
                .into_iter()
                .enumerate()
                .map(|(index, source)| {
                    scope.spawn(move || self.work(source, index + 1, owners, Vec::new()))
                })
                .collect();
            let (mut outlet, report) = self.work(source, 0, owners, sinks)?;
            for handle in handles {
                let (mut other, _) = handle.join().map_err(|_| anyhow!("a worker failed"))??;
                outlet.take_over(&mut other);
            }
            outlet.notices.sort();
            Ok((outlet, report))
        })
    }

    /// One worker's walk over the file.
    fn work(
        &self,
        source: FileSource,
        worker: usize,
        owners: Owners,
        sinks: Vec<Box<dyn Sink + Send>>,
    ) -> anyhow::Result<(Outlet, SourceReport)> {
        let mut walk = self.begin(source, worker, owners, sinks)?;
        self.follow(&mut walk, LOOK_EVERY, |worker| {
            self.setup.look(worker, &self.report)
        })?;
        Ok(walk.end(worker))
    }

    fn begin(
        &self,
        source: FileSource,
        worker: usize,
        owners: Owners,
        sinks: Vec<Box<dyn Sink + Send>>,
    ) -> anyhow::Result<Walk> {
        let narrowing = Narrowing {
            filter: self.filter(&source)?,
            snaplen: self.setup.options.snaplen.map(|bytes| bytes as usize),
        };
        let stats = Stats::new(self.setup.rules(), &self.setup.asked);
        let desk = self.service.as_ref().map(|service| service.desk(worker));
        let count = self.setup.options.count.unwrap_or(u64::MAX);
        let outlet = Outlet::new(stats, sinks).with_desk(desk).with_most(count);
        Ok(Walk {
            source,
            narrowing,
            worker: Worker::new(self.setup.settings(worker, owners), outlet),
        })
    }

    /// Follows frames to the end of the file or of the part of it, or until `ends` says so, which is asked every so many
    /// frames.
    fn follow(
        &self,
        walk: &mut Walk,
        every: usize,
        mut ends: impl FnMut(&mut Worker) -> bool,
    ) -> anyhow::Result<()> {
        let Walk {
            source,
            narrowing,
            worker,
        } = walk;
        let count = self.setup.options.count.unwrap_or(u64::MAX);
        let duration = self.setup.options.duration.unwrap_or(Duration::MAX);
        let limited = count < u64::MAX || duration < Duration::MAX;
        let most = if limited { 1 } else { BATCH };
        let mut until_look = every;
        source.each_batch(most, |frames| {
            narrowing.follow(frames, worker);
            // Without frames there is time to look.
            let looks = until_look <= frames.len() || frames.is_empty();
            until_look = if looks {
                every
            } else {
                until_look - frames.len()
            };
            if looks && ends(worker) {
                return false;
            }
            !limited || worker.outlet().exchanges < count && worker.elapsed() < duration
        })?;
        Ok(())
    }

    fn filter(&self, source: &FileSource) -> anyhow::Result<Option<Filter>> {
        if self.setup.options.filter.is_empty() {
            return Ok(None);
        }
        let text = self.setup.options.filter.join(" ");
        let link = source
            .interfaces()
            .first()
            .map_or(LinkType::ETHERNET, |first| first.link);
        Ok(Some(Filter::new(&text, link)?))
    }

    /// The sinks that the options ask for, besides statistics.
    fn sinks(&self, source: &mut FileSource) -> anyhow::Result<Vec<Box<dyn Sink + Send>>> {
        let scripts = self.setup.scripts;
        let (mut sinks, inboxes) = scripts.sinks(&self.report, &self.report, self.setup.prints());
        let report = self.report.clone();
        let printer = self.setup.printer(report, &Drift::default(), inboxes);
        sinks.extend(printer.map(|printer| self.beside(printer)).transpose()?);
        if let Some(path) = &self.setup.options.write {
            sinks.push(Box::new(self.writer(path, source)?));
        }
        Ok(sinks)
    }

    /// Makes lines beside following the file, where that can be: packets would have to be copied, and what scripts print
    /// is asked for at every event.
    fn beside(&self, printer: Box<dyn Sink + Send>) -> anyhow::Result<Box<dyn Sink + Send>> {
        let many = thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        if !many || printer.needs().packets || !self.setup.scripts.is_empty() {
            return Ok(printer);
        }
        Ok(Box::new(Beside::start("report", printer)?))
    }

    /// Saves frames to `path`, their interfaces described as the file does.
    fn writer(&self, path: &Path, source: &mut FileSource) -> anyhow::Result<Writer> {
        let writer = Writer::create(self.setup.saving(path));
        let writer = writer.map_err(|error| anyhow!("--write {error}"))?;
        let interfaces = writer.interfaces();
        source.tell_interfaces(move |known| interfaces.learn(known));
        Ok(writer)
    }

    fn summarise(&self, stats: &Stats) -> io::Result<()> {
        if !self.setup.reports_itself() {
            return Ok(());
        }
        let summary = Summary::new(stats, self.setup.asked.len());
        let out = self.setup.summary(summary)?;
        let mut report = self.report.clone();
        report.write_all(&out)?;
        report.flush()
    }
}
