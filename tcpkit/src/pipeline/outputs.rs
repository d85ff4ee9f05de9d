//! Where a live run's output goes: queues, each with a thread that writes, so that none stalls the capture.

use std::io::{self, Write};

use anyhow::{anyhow, bail};

use super::notice;
use super::report::Report;
use super::setup::Setup;
use crate::limits::{NOTICE_QUEUE, REPORT_QUEUE};
use crate::serve::otlp::Teller;
use crate::sink::Sink;
use crate::sink::pcap::queued::Queued;
use crate::sink::pcap::{Interfaces, Writer, holds_one_link};
use crate::sink::queue::{Lines, Queue};
use crate::sink::stats::summary::Summary;
use crate::source::live::{Drift, Engine};
use crate::source::{Interface, shown};

/// The sinks of a run besides statistics.
pub(super) type Sinks = Vec<Box<dyn Sink + Send>>;

/// The queues of a live run.
pub(super) struct Outputs {
    lines: Lines,
    saves: Option<(Queue, Interfaces)>,
    notices: Lines,
    drift: Drift,
}

impl Outputs {
    /// Starts the writers, and makes the sinks that fill their queues. `writer` saves frames.
    pub(super) fn start(
        setup: &Setup<'_>,
        report: &Report,
        writer: Option<Writer>,
    ) -> io::Result<(Sinks, Self)> {
        let drift = Drift::default();
        let lines = Lines::start("report", REPORT_QUEUE, report.clone())?;
        let notices = Lines::start("notices", NOTICE_QUEUE, io::stderr())?;
        // Live, nothing waits for a script: what it prints comes when it comes.
        let (mut sinks, inboxes) = setup.scripts.sinks(report, &lines, false);
        sinks.extend(setup.printer(lines.clone(), &drift, inboxes));
        let saves = match writer {
            Some(writer) => {
                let interfaces = writer.interfaces();
                let queued = Queued::start(writer, drift.clone())?;
                let queue = queued.queue();
                sinks.push(Box::new(queued));
                Some((queue, interfaces))
            }
            None => None,
        };
        let outputs = Self {
            lines,
            saves,
            notices,
            drift,
        };
        Ok((sinks, outputs))
    }

    /// Sentences for the user. Nobody may read them: that is no failure.
    pub(super) fn tell(&self, notices: impl IntoIterator<Item = String>) {
        let mut out = self.notices.clone();
        for notice in notices {
            let _ = out.write_all(notice::line(&notice).as_bytes());
        }
    }

    /// Tells the user, from any thread.
    pub(super) fn teller(&self) -> Teller {
        let mut out = self.notices.clone();
        Box::new(move |notice| {
            let _ = out.write_all(notice::line(&notice).as_bytes());
        })
    }

    /// Takes over what the engine knows by now of its interfaces and of the wall clock.
    pub(super) fn learn(&self, engine: &mut dyn Engine) {
        self.drift.set(engine.drift());
        let renumbered = engine.take_renumbered();
        if let Some((_, interfaces)) = &self.saves {
            interfaces.learn(engine.interfaces());
            for number in renumbered {
                if let Some(interface) = engine.interfaces().get(number as usize) {
                    interfaces.replace(number, interface);
                }
            }
        }
    }

    /// Lines of the report that were dropped, so far.
    pub(super) fn lines_dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Frames that were not saved, so far.
    pub(super) fn saves_dropped(&self) -> u64 {
        self.saves.as_ref().map_or(0, |(queue, _)| queue.dropped())
    }

    /// Prints the summary and waits for the report's reader, as long as there is one. Returns how many lines nobody
    /// took.
    pub(super) fn end(&self, setup: &Setup<'_>, summary: Summary) -> io::Result<u64> {
        if setup.reports_itself() {
            self.lines.insist(&setup.summary(summary)?)?;
        }
        self.lines.finish()
    }

    /// Waits for the reader of standard error, as long as there is one.
    pub(super) fn end_notices(&self) {
        // Nobody is left to be told of a failure.
        let _ = self.notices.finish();
    }
}

/// Creates the (first) file for saved frames, if the options ask for one.
///
/// # Errors
/// When it cannot be created, or cannot hold what interfaces have that were named; where all are captured, that one may have what the
/// file cannot hold is told to `notices`.
pub(super) fn writer(
    setup: &Setup<'_>,
    engine: &dyn Engine,
    notices: &mut Vec<String>,
) -> anyhow::Result<Option<Writer>> {
    let Some(path) = &setup.options.write else {
        return Ok(None);
    };
    if let Some((one, other)) = two_links(engine.interfaces()).filter(|_| holds_one_link(path)) {
        let told = format!(
            "--write {}: a pcap file holds one link type, and {one}, but {other}",
            shown::path(path)
        );
        let right = "a file that is named .pcapng holds both";
        let ends = "saving ends at the first frame of a second type";
        // Standard output has no other name to take, and there need be no traffic on all of them.
        if setup.options.saves_to_stdout() {
            notices.push(format!("{told}: {ends}"));
        } else if setup.options.captures_any() {
            notices.push(format!("{told}: {ends}; {right}"));
        } else {
            bail!("{told}: {right}");
        }
    }
    let writer = Writer::create(setup.saving(path)).map_err(|error| anyhow!("--write {error}"))?;
    writer.interfaces().learn(engine.interfaces());
    Ok(Some(writer))
}

/// What the first interface has, and the first one that has another link type.
fn two_links(interfaces: &[Interface]) -> Option<(String, String)> {
    let first = interfaces.first()?;
    let other = interfaces.iter().find(|other| other.link != first.link)?;
    let told = |one: &Interface| {
        let name = one.name.as_deref().unwrap_or("an interface");
        format!("{name} has {}", one.link)
    };
    Some((told(first), told(other)))
}
