//! One run over a capture file, from options to summary.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use jiff::tz::TimeZone;

use super::outlet::Outlet;
use super::readers;
use super::report::Report;
use super::select::{Kind, Selector};
use super::worker::{Settings, Worker};
use crate::cli::{Format, Mode, Options};
use crate::event::Event;
use crate::limits;
use crate::serve::Service;
use crate::sink::Sink;
use crate::sink::interval::Interval;
use crate::sink::json::JsonSink;
use crate::sink::pcap::{self, Writer};
use crate::sink::select::Select;
use crate::sink::stats::summary::Summary;
use crate::sink::stats::{Rules, Stats};
use crate::sink::text::TextSink;
use crate::source::file::{FileSource, ProgressBar};
use crate::source::filter::Filter;
use crate::source::{LinkType, Source, SourceReport};
use crate::wire::Transport;

/// Frames between two looks at the signals.
const LOOK_EVERY: u32 = 1024;

/// What signals ask of a run.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// End with the summary (SIGINT, SIGTERM).
    pub stop: Arc<AtomicBool>,
    /// Open output files anew (SIGHUP).
    pub reopen: Arc<AtomicBool>,
}

/// Reads the capture file that the options name, and reports.
///
/// # Errors
/// A sentence for the user: what cannot be opened, read or written, or is not in this build.
pub fn run(options: &Options, signals: &Signals) -> anyhow::Result<()> {
    if let Some(lacking) = options.lacking() {
        bail!(lacking);
    }
    let path = options
        .read
        .as_deref()
        .context("no capture file: give one with -r FILE")?;
    let listeners = readers::listen(options)?;
    let source = FileSource::open(path)?;
    let asked = asked(options);
    let run = Run {
        service: readers::start(options, &asked, rules(options), listeners)?,
        options,
        signals,
        selector: Arc::new(selector(options)),
        asked,
        report: Report::new(options.output.as_deref(), saves_to_stdout(options)).map_err(
            |error| {
                let path = options.output.as_deref().unwrap_or(path).display();
                anyhow!("--output {path}: {error}")
            },
        )?,
    };
    // A bar and lines on the same terminal would tear each other.
    let bar = match options.quiet || options.output.is_some() || !io::stdout().is_terminal() {
        true => ProgressBar::start(&source),
        false => None,
    };
    let ran = run.read(source);
    drop(bar);
    let (mut outlet, report) = ran?;
    tell(outlet.notices.iter().chain(&report.notices));
    let ended = outlet.finish().and_then(|()| run.summarise(&outlet.stats));
    match ended {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.context("the report cannot be written")?,
    }
    if outlet.stats.account.frames == 0 && !report.notices.is_empty() {
        bail!("{}: nothing could be read", path.display());
    }
    readers::end(run.service, options, signals);
    Ok(())
}

/// Whether standard output holds saved frames, so that nothing else may be written to it.
fn saves_to_stdout(options: &Options) -> bool {
    options.write.as_deref() == Some(Path::new("-"))
}

/// Sentences for the user go to standard error. Nobody may read them: that is no failure.
pub(super) fn tell<'a>(notices: impl Iterator<Item = &'a String>) {
    let mut err = io::stderr().lock();
    for notice in notices {
        let _ = writeln!(err, "tcpkit: {notice}");
    }
}

struct Run<'a> {
    options: &'a Options,
    signals: &'a Signals,
    selector: Arc<Selector>,
    asked: Vec<u16>,
    report: Report,
    /// Answers those who read statistics while the run goes on.
    service: Option<Service>,
}

impl Run<'_> {
    /// Reads the whole file with as many workers as make sense.
    fn read(&self, source: FileSource) -> anyhow::Result<(Outlet, SourceReport)> {
        let sinks = self.sinks(&source)?;
        let many = sinks.is_empty() && self.options.count.is_none();
        let wanted = self.options.threads.unwrap_or(1).clamp(1, limits::SHARDS);
        let mut others = Vec::new();
        while many && others.len() + 1 < wanted {
            match source.reopen() {
                Some(again) => others.push(again),
                None => break,
            }
        }
        let workers = others.len() + 1;
        std::thread::scope(|scope| {
            let handles: Vec<_> = others
                .into_iter()
                .enumerate()
                .map(|(index, source)| {
                    scope.spawn(move || self.work(source, index + 1, workers, Vec::new()))
                })
                .collect();
            let (mut outlet, report) = self.work(source, 0, workers, sinks)?;
            for handle in handles {
                let (other, _) = handle.join().map_err(|_| anyhow!("a worker failed"))??;
                outlet.stats.merge(&other.stats);
                for notice in other.notices {
                    if !outlet.notices.contains(&notice) {
                        outlet.notices.push(notice);
                    }
                }
            }
            outlet.notices.sort();
            Ok((outlet, report))
        })
    }

    /// One worker's walk over the file.
    fn work(
        &self,
        mut source: FileSource,
        worker: usize,
        workers: usize,
        sinks: Vec<Box<dyn Sink + Send>>,
    ) -> anyhow::Result<(Outlet, SourceReport)> {
        let mut filter = self.filter(&source)?;
        let settings = Settings {
            selector: Arc::clone(&self.selector),
            timeout: self.options.timeout,
            threshold: self.options.threshold,
            worker,
            workers,
        };
        let desk = self
            .service
            .as_ref()
            .map(|service| service.desk(settings.worker));
        let outlet =
            Outlet::new(Stats::new(rules(self.options), &self.asked), sinks).with_desk(desk);
        let index = settings.worker;
        let mut worker = Worker::new(settings, outlet);
        let count = self.options.count.unwrap_or(u64::MAX);
        let duration = self.options.duration.unwrap_or(Duration::MAX);
        let mut until_look = LOOK_EVERY;
        source.each_frame(|frame| {
            if let Some(filter) = &mut filter
                && !filter.matches(frame)
            {
                worker.pass(frame);
            } else {
                worker.frame(frame);
            }
            until_look -= 1;
            if until_look == 0 {
                until_look = LOOK_EVERY;
                if self.look(&mut worker) {
                    return false;
                }
            }
            worker.outlet().exchanges < count
                && (duration == Duration::MAX || worker.elapsed() < duration)
        })?;
        let mut outlet = worker.finish();
        outlet
            .notices
            .extend(filter.iter().flat_map(Filter::notices).cloned());
        let report = source.report();
        if index == 0 {
            outlet.stats.account.dropped += report.dropped;
        }
        // Before others' counts are added to its own.
        outlet.close_desk();
        Ok((outlet, report))
    }

    /// Looks at signals and sinks; true ends the run.
    fn look(&self, worker: &mut Worker) -> bool {
        if self.signals.reopen.swap(false, Ordering::Relaxed) {
            worker.outlet().tell(&Event::Reopen);
            self.report.reopen();
        }
        worker.look();
        self.signals.stop.load(Ordering::Relaxed) || worker.outlet().has_failed()
    }

    fn filter(&self, source: &FileSource) -> anyhow::Result<Option<Filter>> {
        if self.options.filter.is_empty() {
            return Ok(None);
        }
        let text = self.options.filter.join(" ");
        let link = source
            .interfaces()
            .first()
            .map_or(LinkType::ETHERNET, |first| first.link);
        Ok(Some(Filter::new(&text, link)?))
    }

    fn select(&self) -> Select {
        let options = self.options;
        Select {
            threshold: options.threshold,
            commands: options.commands.clone(),
            clients: options.clients.clone(),
            errors: options.errors,
            include_blocking: options.include_blocking,
        }
    }

    /// The sinks that the options ask for, besides statistics.
    fn sinks(&self, source: &FileSource) -> anyhow::Result<Vec<Box<dyn Sink + Send>>> {
        let options = self.options;
        let mut sinks: Vec<Box<dyn Sink + Send>> = Vec::new();
        let interval = options
            .interval
            .map(|every| Interval::new(every, rules(self.options), self.asked.clone()));
        let raw = matches!(options.mode, Some(Mode::Raw))
            || options
                .ports
                .iter()
                .any(|ports| matches!(ports.protocol, Some(Mode::Raw)));
        if !options.quiet || interval.is_some() {
            let report = self.report.clone();
            match options.format {
                Format::Json => {
                    let sink = JsonSink::new(report, self.select()).with_interval(interval);
                    sinks.push(Box::new(if options.quiet { sink.quiet() } else { sink }));
                }
                Format::Text => {
                    let sink = TextSink::new(report, self.select(), TimeZone::system())
                        .with_interval(interval);
                    let sink = if raw && !options.quiet {
                        sink.with_packets()
                    } else {
                        sink
                    };
                    sinks.push(Box::new(if options.quiet { sink.quiet() } else { sink }));
                }
            }
        }
        if let Some(path) = &options.write {
            sinks.push(Box::new(self.writer(path, source)?));
        }
        Ok(sinks)
    }

    /// Saves frames to `path`. Interfaces are described by what the file tells before its first
    /// frame, and by the frames themselves.
    fn writer(&self, path: &Path, source: &FileSource) -> anyhow::Result<Writer> {
        let options = self.options;
        let writer = Writer::create(pcap::Settings {
            path: path.to_owned(),
            size: options.write_size,
            files: options
                .write_files
                .and_then(|files| u32::try_from(files).ok()),
            input: options.read.clone(),
        })?;
        let mut ahead = source.reopen();
        if let Some(ahead) = &mut ahead {
            // What is wrong with the file is told when it is read.
            let _ = ahead.next_frame();
        }
        writer
            .interfaces()
            .learn(ahead.as_ref().unwrap_or(source).interfaces());
        Ok(writer)
    }

    fn summarise(&self, stats: &Stats) -> io::Result<()> {
        let summary = Summary::new(stats, self.asked.len());
        let mut out = Vec::new();
        match self.options.format {
            Format::Json => summary.write_json(&mut out)?,
            Format::Text => summary.write_text(&mut out)?,
        }
        let mut report = self.report.clone();
        report.write_all(&out)?;
        report.flush()
    }
}

/// How exchanges are counted.
fn rules(options: &Options) -> Rules {
    Rules {
        threshold: options.threshold,
        include_blocking: options.include_blocking,
    }
}

/// What the options monitor.
fn selector(options: &Options) -> Selector {
    let mode = options.mode.unwrap_or(Mode::Auto);
    let kind = match mode {
        Mode::Auto => Kind::Auto,
        Mode::Raw => Kind::Raw,
        Mode::Protocol(protocol) => Kind::Speaking(protocol),
    };
    let mut selector = Selector::new(kind, options.servers.clone());
    for ports in &options.ports {
        let kind = match ports.protocol.unwrap_or(mode) {
            Mode::Auto => Kind::Auto,
            Mode::Raw => Kind::Raw,
            Mode::Protocol(protocol) => Kind::Forced(protocol),
        };
        selector.add_ports(ports.first..=ports.last, kind);
    }
    let (tcp, udp) = transports(options, mode);
    selector.transports(tcp, udp);
    selector
}

/// Which transports are looked at: `-u` is UDP alone, raw mode without it TCP alone.
fn transports(options: &Options, mode: Mode) -> (bool, bool) {
    if options.udp {
        return (false, true);
    }
    let carries = |transport: Transport| match mode {
        Mode::Raw => transport == Transport::Tcp,
        Mode::Auto => true,
        Mode::Protocol(protocol) => {
            protocol.transports().contains(&transport)
                || options.ports.iter().any(|ports| {
                    matches!(ports.protocol, Some(Mode::Protocol(other))
                        if other.transports().contains(&transport))
                })
        }
    };
    (carries(Transport::Tcp), carries(Transport::Udp))
}

/// The ports that were asked for, in their order, ranges ascending, each once.
fn asked(options: &Options) -> Vec<u16> {
    let mut asked = Vec::new();
    let mut seen = vec![false; 1 << 16];
    for port in options
        .ports
        .iter()
        .flat_map(|ports| ports.first..=ports.last)
    {
        if !std::mem::replace(&mut seen[usize::from(port)], true) {
            asked.push(port);
        }
    }
    asked
}
