//! One live run: an engine's frames through one worker, while outputs that stall are left behind.
//!
//! Time goes on when nothing arrives: the engine waits for a tenth of a second at most, and the worker is told
//! the time then. No clock is read here; the engine has one.

use std::io;
use std::time::Duration;

use super::ending::{Ending, Step};
use super::loss::LossWatch;
use super::outlet::Outlet;
use super::outputs::{self, Outputs};
use super::owners::Owners;
use super::readers;
use super::report::Report;
use super::setup::{Setup, transports, well_known};
use super::view;
use super::worker::Worker;
use super::{ladder, privileges};
use crate::cli::{Mode, Options};
use crate::serve::Service;
use crate::sink::stats::Stats;
use crate::sink::stats::live::Live;
use crate::sink::stats::summary::Summary;
use crate::source::filter::Filter;
use crate::source::live::{Engine, Interest};
use crate::source::{LinkType, SourceError, Timestamp};
use crate::top::View;

/// The longest that an engine waits for frames: signals and time are looked at as often.
const WAIT: Duration = Duration::from_millis(100);

/// Frames between two looks at signals and time, when they come faster.
const LOOK_EVERY: u32 = 16_384;

/// The environment variable that switches diagnostics on: `kernel` for those of the programs in the kernel. Not an
/// option: it is for who looks into tcpkit, not for who looks into a service.
const DIAGNOSTICS: &str = "TCPKIT_LOG";

const SECOND: u64 = 1_000_000_000;

/// Captures until a signal or an option ends it, and reports.
///
/// # Errors
/// A sentence for the user: why nothing can be captured, or the report not be written.
pub(super) fn run(
    setup: &Setup<'_>,
    started: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let options = setup.options;
    let mut notices = Vec::new();
    let readers = readers::open(options, &mut notices)?;
    let engine = ladder::open(&interest(options), options, &mut notices)?;
    notices.push(format!("capturing with {}", engine.describe()));
    let filter = filter(engine.as_ref(), options)?;
    let writer = outputs::writer(setup, engine.as_ref(), &mut notices)?;
    let report = setup.report()?;
    privileges::keep(engine.privileges(), reopens_files(options))?;
    started()?;
    let (sinks, outputs) = Outputs::start(setup, &report, writer)?;
    let service = readers::start(setup, readers, outputs.teller())?;
    let view = view::start(setup, service.as_ref())?;
    outputs.tell(notices);
    let stats = Stats::new(setup.rules(), &setup.asked);
    let desk = service.as_ref().map(|service| service.desk(0));
    let count = options.count.unwrap_or(u64::MAX);
    let outlet = Outlet::new(stats, sinks).with_desk(desk).with_most(count);
    let worker = Worker::new(setup.settings(0, Owners::alone()), outlet);
    Run {
        setup,
        engine,
        filter,
        worker,
        service,
        view,
        report,
        outputs,
        loss: LossWatch::default(),
        looked: 0,
    }
    .run()
}

/// The user's filter, where the engine does not apply it.
fn filter(engine: &dyn Engine, options: &Options) -> anyhow::Result<Option<Filter>> {
    if engine.filters() || options.filter.is_empty() {
        return Ok(None);
    }
    let first = engine.interfaces().first();
    let link = first.map_or(LinkType::ETHERNET, |interface| interface.link);
    Ok(Some(Filter::new(&options.filter.join(" "), link)?))
}

/// What the options want to see.
fn interest(options: &Options) -> Interest {
    let mode = options.mode.unwrap_or(Mode::Auto);
    let (tcp, udp) = transports(options);
    let mut ports: Vec<_> = options
        .ports
        .iter()
        .map(|ports| ports.first..=ports.last)
        .collect();
    if ports.is_empty() {
        ports = well_known(mode)
            .into_iter()
            .map(|port| port..=port)
            .collect();
    }
    Interest {
        interfaces: if options.captures_any() {
            Vec::new()
        } else {
            each_once(&options.interfaces)
        },
        ports,
        servers: options.servers.clone(),
        tcp,
        udp,
        empty_segments: options.write.is_some() || !options.scripts.is_empty(),
        snaplen: options.snaplen,
        buffer: options.buffer_size.map(|kib| u64::from(kib) << 10),
        filter: options.filter.join(" "),
        diagnostics: std::env::var_os(DIAGNOSTICS).is_some_and(|value| value == "kernel"),
    }
}

/// A name that is given twice is one interface, which takes a program once.
fn each_once(names: &[String]) -> Vec<String> {
    let mut once = Vec::new();
    for name in names {
        if !once.contains(name) {
            once.push(name.clone());
        }
    }
    once
}

/// Whether files are opened after capture has begun: anew at SIGHUP, or the next one at `--write-size`.
fn reopens_files(options: &Options) -> bool {
    options.report_file().is_some() || (options.write.is_some() && !options.saves_to_stdout())
}

/// A run under way.
struct Run<'a> {
    setup: &'a Setup<'a>,
    engine: Box<dyn Engine>,
    /// What the engine leaves to be filtered.
    filter: Option<Filter>,
    worker: Worker,
    /// Answers those who read statistics.
    service: Option<Service>,
    /// Shows it in the terminal.
    view: Option<View>,
    report: Report,
    outputs: Outputs,
    loss: LossWatch,
    /// The last second in which slow things were looked at.
    looked: u64,
}

impl Run<'_> {
    fn run(mut self) -> anyhow::Result<()> {
        let captured = self.capture();
        let ended = self.finish();
        captured?;
        match ended {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// Follows frames until something ends the run, then those that were captured before that.
    fn capture(&mut self) -> Result<(), SourceError> {
        let last = match self.setup.options.duration {
            Some(duration) => after(self.engine.clock(), duration),
            None => Timestamp(u64::MAX),
        };
        let count = self.setup.options.count.unwrap_or(u64::MAX);
        let mut ending: Option<Ending> = None;
        while ending.as_mut().is_none_or(|ending| !self.has_ended(ending)) {
            self.deliver(count)?;
            self.look_once_a_second();
            if self.worker.outlet().exchanges >= count || self.worker.outlet().has_failed() {
                return Ok(());
            }
            let stopped = self.setup.look(&mut self.worker, &self.report);
            if ending.is_none() && (stopped || self.engine.clock() >= last) {
                ending = Some(Ending::told(self.engine.clock()));
            }
        }
        Ok(())
    }

    fn deliver(&mut self, count: u64) -> Result<(), SourceError> {
        let (worker, filter) = (&mut self.worker, &mut self.filter);
        let mut left = LOOK_EVERY;
        self.engine.deliver(WAIT, &mut |frame| {
            if filter.as_mut().is_none_or(|filter| filter.matches(frame)) {
                worker.frame(frame);
            } else {
                worker.pass(frame);
            }
            left -= 1;
            left > 0 && worker.outlet().exchanges < count
        })?;
        worker.advance(self.engine.settled());
        self.outputs.learn(self.engine.as_mut());
        Ok(())
    }

    /// Whether all frames from before the end were followed, or are no longer waited for, which is told.
    fn has_ended(&mut self, ending: &mut Ending) -> bool {
        let step = ending.look(self.worker.now(), self.engine.clock());
        if step == Step::Leave {
            let notice = "the run has ended: frames that were captured before may be left, the reader is behind";
            self.outputs.tell([notice.to_owned()]);
        }
        step != Step::Follow
    }

    fn look_once_a_second(&mut self) {
        let now = self.engine.clock();
        if now.0 / SECOND == self.looked {
            return;
        }
        self.looked = now.0 / SECOND;
        let mut notices = self.engine.take_notices();
        notices.append(&mut self.worker.outlet().notices);
        let live = self.live();
        let outlet = self.worker.outlet();
        outlet.stats.account.dropped = live.lost_frames();
        if let Some(desk) = outlet.desk() {
            desk.set_source(&live);
        }
        notices.extend(self.loss.look(now, &live));
        self.outputs.tell(notices);
    }

    /// The engine's account so far, and that of the outputs.
    fn live(&mut self) -> Live {
        let live = Live::new(self.engine.describe(), self.engine.counters());
        Live {
            lines_dropped: self.outputs.lines_dropped(),
            saves_dropped: self.outputs.saves_dropped(),
            ..live
        }
    }

    /// Ends the sinks, prints the summary, and says what nobody took.
    fn finish(mut self) -> io::Result<()> {
        let live = self.live();
        let mut notices = self.engine.take_notices();
        if let Some(desk) = self.worker.outlet().desk() {
            desk.set_source(&live);
        }
        let mut outlet = self.worker.finish();
        notices.append(&mut outlet.notices);
        notices.extend(self.filter.iter().flat_map(Filter::notices).cloned());
        outlet.stats.account.dropped = live.lost_frames();
        outlet.close_desk();
        let finished = outlet.finish();
        let mut summary = Summary::new(&outlet.stats, self.setup.asked.len());
        summary.live = Some(Live {
            lines_dropped: self.outputs.lines_dropped(),
            saves_dropped: self.outputs.saves_dropped(),
            ..live
        });
        // Frames that cannot be saved take nothing from the summary; a pipe that is closed ends it all quietly.
        let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        let left = match finished {
            Err(error) if is_closed(&error) => Err(error),
            other => {
                let ended = self.outputs.end(self.setup, summary);
                other.and(ended)
            }
        };
        if let Ok(left @ 1..) = left {
            notices.push(format!(
                "the report is not read: its last {left} lines are lost"
            ));
        }
        self.outputs.tell(notices);
        let shown = view::end(self.view);
        self.outputs.tell(readers::end(self.service, self.setup));
        self.outputs.end_notices();
        left.map(drop).and(shown)
    }
}

fn after(start: Timestamp, duration: Duration) -> Timestamp {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(start.0.saturating_add(nanoseconds))
}
