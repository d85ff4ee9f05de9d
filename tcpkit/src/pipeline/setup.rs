//! What a run needs, made from the options: what is monitored, what is printed, by which rules.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::tz::TimeZone;

use super::owners::Owners;
use super::report::Report;
use super::run::Signals;
use super::scripts::Scripts;
use super::select::{Kind, Selector};
use super::worker::{Settings, Worker};
use crate::cli::{Format, Mode, Options};
use crate::event::Event;
use crate::protocol;
use crate::sink::Sink;
use crate::sink::inbox::Inboxes;
use crate::sink::interval::Interval;
use crate::sink::json::JsonSink;
use crate::sink::overwrite;
use crate::sink::pcap;
use crate::sink::select::Select;
use crate::sink::stats::Rules;
use crate::sink::stats::summary::Summary;
use crate::sink::text::TextSink;
use crate::source::live::Drift;
use crate::source::shown;
use crate::wire::Transport;

/// The options of a run, and what follows from them.
pub(super) struct Setup<'a> {
    pub(super) options: &'a Options,
    pub(super) signals: &'a Signals,
    pub(super) scripts: &'a Scripts,
    pub(super) selector: Arc<Selector>,
    /// The ports that were asked for, in their order, ranges ascending, each once.
    pub(super) asked: Vec<u16>,
    /// The terminal shows the figures, so nothing else is written to it.
    pub(super) shown: bool,
}

impl<'a> Setup<'a> {
    pub(super) fn new(options: &'a Options, signals: &'a Signals, scripts: &'a Scripts) -> Self {
        Self {
            options,
            signals,
            scripts,
            selector: Arc::new(selector(options)),
            asked: asked(options),
            shown: false,
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            threshold: self.options.threshold,
            include_blocking: self.options.include_blocking,
        }
    }

    /// What a worker is told.
    pub(super) fn settings(&self, worker: usize, owners: Owners) -> Settings {
        Settings {
            selector: Arc::clone(&self.selector),
            timeout: self.options.timeout,
            threshold: self.options.threshold,
            worker,
            owners,
        }
    }

    /// Where the report goes.
    ///
    /// # Errors
    /// When its file cannot be made, or is one that the run reads.
    pub(super) fn report(&self) -> anyhow::Result<Report> {
        let path = self.options.report_file();
        let kept = path.map_or(Ok(()), |path| overwrite::refuse(path, &self.inputs()));
        let report = kept.and_then(|()| Report::new(path, self.options.saves_to_stdout()));
        report.map_err(|error| {
            let path = shown::path(path.unwrap_or(Path::new("-")));
            anyhow::anyhow!("--output {path}: {error}")
        })
    }

    /// The files that the run reads.
    fn inputs(&self) -> Vec<PathBuf> {
        let scripts = self.options.scripts.iter();
        self.options.read.iter().chain(scripts).cloned().collect()
    }

    /// How frames are saved to `path`.
    pub(super) fn saving(&self, path: &Path) -> pcap::Settings {
        let files = self.options.write_files;
        pcap::Settings {
            path: path.to_owned(),
            size: self.options.write_size,
            files: files.and_then(|files| u32::try_from(files).ok()),
            inputs: self.inputs(),
        }
    }

    /// Whether there is a report: a run in the background, or one that is shown, has one only where a file is named
    /// for it.
    pub(super) fn reports(&self) -> bool {
        !(self.options.daemonize || self.shown) || self.options.report_file().is_some()
    }

    /// Whether the report holds anything but what scripts print.
    pub(super) fn reports_itself(&self) -> bool {
        self.reports() && (self.scripts.is_empty() || self.options.mode.is_some())
    }

    /// Whether it holds lines: of exchanges, packets or intervals.
    pub(super) fn prints(&self) -> bool {
        // With a script, raw mode's packets are the script's.
        let lines =
            !self.options.quiet && (!self.options.is_raw_alone() || self.scripts.is_empty());
        self.reports_itself() && (lines || self.options.interval.is_some())
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

    fn is_raw(&self) -> bool {
        let raw = |mode: Option<Mode>| matches!(mode, Some(Mode::Raw));
        let ports = &self.options.ports;
        raw(self.options.mode) || ports.iter().any(|ports| raw(ports.protocol))
    }

    /// The sink that prints, if the options ask for lines; among them what comes to the inboxes.
    pub(super) fn printer<W>(
        &self,
        out: W,
        drift: &Drift,
        inboxes: Inboxes,
    ) -> Option<Box<dyn Sink + Send>>
    where
        W: Write + Send + 'static,
    {
        let options = self.options;
        let interval = options
            .interval
            .map(|every| Interval::new(every, self.rules(), self.asked.clone()));
        if !self.prints() {
            return None;
        }
        let drift = drift.clone();
        let packets = self.is_raw() && self.scripts.is_empty() && !options.quiet;
        Some(match options.format {
            Format::Json => {
                let sink = JsonSink::new(out, self.select());
                let sink = sink.with_interval(interval).with_drift(drift);
                let sink = sink.with_inboxes(inboxes).with_packets(packets);
                Box::new(if options.quiet { sink.quiet() } else { sink })
            }
            Format::Text => {
                let sink = TextSink::new(out, self.select(), TimeZone::system());
                let sink = sink.with_interval(interval).with_drift(drift);
                let sink = sink.with_inboxes(inboxes).with_packets(packets);
                Box::new(if options.quiet { sink.quiet() } else { sink })
            }
        })
    }

    /// The summary as it is printed, with what scripts have counted.
    pub(super) fn summary(&self, summary: Summary) -> io::Result<Vec<u8>> {
        let summary = summary.with_scripts(&self.scripts.metrics);
        let mut out = Vec::new();
        match self.options.format {
            Format::Json => summary.write_json(&mut out)?,
            Format::Text => summary.write_text(&mut out)?,
        }
        Ok(out)
    }

    /// Looks at signals and sinks; true ends the run.
    pub(super) fn look(&self, worker: &mut Worker, report: &Report) -> bool {
        if self.signals.reopen.swap(false, Ordering::Relaxed) {
            worker.outlet().tell(&Event::Reopen);
            report.reopen();
        }
        if self.signals.reload.swap(false, Ordering::Relaxed) {
            worker.outlet().tell(&Event::Reload);
        }
        worker.look();
        self.signals.stop.load(Ordering::Relaxed) || worker.outlet().has_failed()
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
        let mode = ports.protocol.unwrap_or(mode);
        selector.add_ports(ports.first..=ports.last, kind_at_port(mode));
    }
    if options.read.is_none() && options.ports.is_empty() {
        for port in well_known(mode) {
            selector.add_ports(port..=port, kind_at_port(mode));
        }
    }
    let (tcp, udp) = transports(options);
    selector.transports(tcp, udp);
    selector
}

/// What a port is taken for that was asked for, or is a mode's own: that says enough, whatever the first bytes are.
fn kind_at_port(mode: Mode) -> Kind {
    match mode {
        Mode::Auto => Kind::Auto,
        Mode::Raw => Kind::Raw,
        Mode::Protocol(protocol) => Kind::Forced(protocol),
    }
}

/// The ports that a mode's servers listen on, ascending, each once; none for raw mode, which is of any port.
pub(super) fn well_known(mode: Mode) -> Vec<u16> {
    let mut ports: Vec<u16> = match mode {
        Mode::Raw => Vec::new(),
        Mode::Auto => protocol::all()
            .flat_map(|one| one.ports())
            .copied()
            .collect(),
        Mode::Protocol(protocol) => protocol.ports().to_vec(),
    };
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Which transports, TCP and UDP, are looked at: `-u` is UDP alone, raw mode without it TCP alone.
pub(super) fn transports(options: &Options) -> (bool, bool) {
    if options.udp {
        return (false, true);
    }
    let mode = options.mode.unwrap_or(Mode::Auto);
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
