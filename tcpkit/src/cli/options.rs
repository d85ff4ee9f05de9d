//! The options of a run, each defined once: its letter, its name, its help, its type.
//!
//! Parsing, help, completions and the man page are all made from this list. The first line of a
//! field's documentation is what `-h` shows, the rest comes with `--help`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueHint};
use ipnet::IpNet;

use super::values::{self, Backend, Format, Keys, Mode, PortSpec, StatsAddress, Xdp};
use crate::source::shown;

const INPUT: &str = "Where from";
const WHAT: &str = "What to monitor";
const PRINT: &str = "What to print";
const REPORT: &str = "Report";
const SAVE: &str = "Saving frames";
const STATS: &str = "Statistics";
const SCRIPTS: &str = "Scripts";
const RUN: &str = "Run";

/// Everything that a run can be told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Listen on these interfaces; `any` is every one that is up [default: any]
    ///
    /// `any` includes interfaces that appear later.
    #[arg(short, long = "interface", value_name = "IF", value_delimiter = ',', help_heading = INPUT)]
    #[arg(value_parser = NonEmptyStringValueParser::new(), value_hint = ValueHint::Other)]
    #[arg(conflicts_with = "read")]
    // Empty where not given, so that a file is no conflict.
    pub interfaces: Vec<String>,

    /// Read a capture file: pcap or pcapng, also .gz and .zst; `-` is standard input
    #[arg(short, long, value_name = "FILE", help_heading = INPUT, value_hint = ValueHint::FilePath)]
    pub read: Option<PathBuf>,

    /// Capture engine [default: auto]
    ///
    /// `auto` takes the best one that works here, and says which and why.
    #[arg(long, value_name = "ENGINE", help_heading = INPUT, conflicts_with = "read")]
    pub backend: Option<Backend>,

    /// Capture ingress at XDP; without a value native, else generic with a notice
    ///
    /// Attaching native XDP can restart some drivers' queues. Without this option live capture
    /// stays at TC both ways.
    #[arg(long, value_name = "HOW", help_heading = INPUT, conflicts_with = "read")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    pub xdp: Option<Xdp>,

    /// Kernel buffer in KiB, over all rings together
    #[arg(short = 'B', long, value_name = "KIB", help_heading = INPUT, conflicts_with = "read")]
    #[arg(value_parser = values::kibibytes)]
    pub buffer_size: Option<u32>,

    /// Keep this many bytes of each frame [default: all]
    #[arg(long, value_name = "BYTES", help_heading = INPUT, value_parser = values::snaplen)]
    pub snaplen: Option<u32>,

    /// Server ports, such as 6379, 7000-7005 or 8080=http
    ///
    /// Without it: live, the well-known ports of the mode; from a file, every conversation that
    /// speaks the mode's protocol.
    #[arg(short, long, value_name = "PORT[=PROTOCOL]", value_delimiter = ',', help_heading = WHAT)]
    pub ports: Vec<PortSpec>,

    /// Servers, as addresses or networks; they are the server side
    ///
    /// Without it every server on the ports; sides are known by port, then by SYN.
    #[arg(short, long, value_name = "IP", value_delimiter = ',', help_heading = WHAT)]
    #[arg(value_parser = values::network)]
    pub servers: Vec<IpNet>,

    /// Protocol of ports that name none [default: auto]
    ///
    /// `auto` goes by well-known port, then by what the first bytes are; `raw` shows packets and
    /// pairs nothing. A protocol brings its transports: dns and memcached are TCP and UDP.
    #[arg(short, long, value_name = "MODE", help_heading = WHAT, value_parser = Mode::parser())]
    pub mode: Option<Mode>,

    /// UDP alone; selects UDP for `-m raw`
    #[arg(short, long, help_heading = WHAT)]
    pub udp: bool,

    /// Report a request as unanswered after this long; a bare number is seconds
    #[arg(long, value_name = "TIME", help_heading = WHAT, value_parser = values::seconds)]
    #[arg(default_value = "60s")]
    pub timeout: Duration,

    /// Capture filter in libpcap's language, narrowing what the options select
    ///
    /// One that begins with the name of a subcommand follows `--`.
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,

    /// Print, and count as slow, exchanges at least this slow; a bare number is ms
    ///
    /// `250us`, `0.5ms`, `1s`, `2m` and `1h` too. Without it all are printed and none is slow. Of
    /// requests that wait for an answer when the run ends, those older than this are printed.
    #[arg(short, long, value_name = "TIME", help_heading = PRINT, value_parser = values::milliseconds)]
    pub threshold: Option<Duration>,

    /// Print only these commands, such as GET or HGETALL; case does not matter
    #[arg(long = "command", value_name = "NAME", value_delimiter = ',', help_heading = PRINT)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub commands: Vec<String>,

    /// Print only these clients, as addresses or networks
    #[arg(long = "client", value_name = "IP", value_delimiter = ',', help_heading = PRINT)]
    #[arg(value_parser = values::network)]
    pub clients: Vec<IpNet>,

    /// Print only exchanges whose response reports an error
    #[arg(long, help_heading = PRINT)]
    pub errors: bool,

    /// Count and print commands that wait by design as others
    ///
    /// BLPOP, XREAD BLOCK, WAIT and the like.
    #[arg(long, help_heading = PRINT)]
    pub include_blocking: bool,

    /// Print no line an exchange: summary and statistics only
    #[arg(short, long, help_heading = PRINT)]
    pub quiet: bool,

    /// One text line, or one JSON object, per exchange
    #[arg(long, value_name = "FORMAT", help_heading = REPORT, default_value = "text")]
    pub format: Format,

    /// Write the report here instead of to standard output, which is `-`
    #[arg(short, long, value_name = "FILE", help_heading = REPORT, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// A summary line a port every so often; a bare number is seconds
    #[arg(long, value_name = "TIME", help_heading = REPORT, value_parser = values::whole_seconds)]
    pub interval: Option<Duration>,

    /// Save frames: pcapng where the name ends so, else pcap; `-` is standard output
    #[arg(short, long, value_name = "FILE", help_heading = SAVE, value_hint = ValueHint::FilePath)]
    pub write: Option<PathBuf>,

    /// Begin a new file at this size, such as 100M
    #[arg(long, value_name = "BYTES", help_heading = SAVE, value_parser = values::size)]
    #[arg(requires = "write")]
    pub write_size: Option<u64>,

    /// Keep only this many of the files that `--write-size` makes
    #[arg(long, value_name = "N", help_heading = SAVE, value_parser = values::count)]
    #[arg(requires = "write_size")]
    pub write_files: Option<u64>,

    /// Serve statistics here; `off` for nowhere [default live: 127.0.0.1:33333]
    ///
    /// May be given more than once. A bare port is on 127.0.0.1; 0.0.0.0:33333 opens it to others.
    /// With `-r` only where given.
    #[arg(short = 'P', long, value_name = "[ADDR:]PORT", help_heading = STATS)]
    pub stats: Vec<StatsAddress>,

    /// Keep serving statistics after the end of the file
    #[arg(long, help_heading = STATS, requires_all = ["read", "stats"])]
    pub linger: bool,

    /// Hot and big keys in the statistics, plain or as keyed hashes
    #[arg(long, value_name = "FORM", help_heading = STATS)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "plain")]
    pub keys: Option<Keys>,

    /// Push metrics to this OpenTelemetry collector, such as http://localhost:4318
    ///
    /// Every 10 s and at the end, OTLP over HTTP. OTEL_METRIC_EXPORT_INTERVAL (ms), OTEL_SERVICE_NAME,
    /// OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_TIMEOUT are followed.
    #[arg(long, value_name = "URL", help_heading = STATS, value_parser = values::url)]
    pub otlp: Option<String>,

    /// Run this Lua script; may be given more than once
    ///
    /// Without `-m`, standard output then holds only what scripts print; pairing and statistics
    /// still run.
    #[arg(short = 'S', long = "script", value_name = "FILE", help_heading = SCRIPTS)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub scripts: Vec<PathBuf>,

    /// Allow scripts all of io, os, package and ffi
    #[arg(long, help_heading = SCRIPTS, requires = "scripts")]
    pub lua_unsafe: bool,

    /// Stop after this many exchanges, with the summary
    #[arg(short, long, value_name = "N", help_heading = RUN, value_parser = values::count)]
    pub count: Option<u64>,

    /// Stop after this long, with the summary; a bare number is seconds
    #[arg(long, value_name = "TIME", help_heading = RUN, value_parser = values::seconds)]
    pub duration: Option<Duration>,

    /// Worker threads over a file; what is printed does not depend on it
    ///
    /// One thing may: which commands are told apart, where a capture has more than 8,192 of them on all ports together. A
    /// live run has one worker, whatever is asked for.
    #[arg(short = 'j', long, value_name = "N", help_heading = RUN, value_parser = values::threads)]
    pub threads: Option<usize>,

    /// Run in the background; what fails before that is still told to the caller
    ///
    /// Without `-o` there is no report then, only statistics.
    #[arg(short, long, help_heading = RUN, conflicts_with = "read")]
    pub daemonize: bool,
}

impl Options {
    /// Whether every interface is captured, those that appear later included.
    pub fn captures_any(&self) -> bool {
        self.interfaces.is_empty() || self.interfaces.iter().any(|name| name == "any")
    }

    /// The file that the report goes to, where that is not standard output.
    pub fn report_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|_| !is_stdout(&self.output))
    }

    /// Whether standard output holds saved frames, so that nothing else may be written to it.
    pub fn saves_to_stdout(&self) -> bool {
        is_stdout(&self.write)
    }

    /// What was asked for and is not in this build: the first such thing, a sentence for the user.
    pub fn lacking(&self) -> Option<String> {
        let lacks_scripts = !self.scripts.is_empty() && cfg!(not(feature = "lua"));
        lacks_scripts.then(|| "running Lua scripts is not in this build: leave -S out".to_owned())
    }

    /// What single values cannot tell: whether they fit each other. The error is a sentence that
    /// names options and values.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_ports()?;
        self.check_udp()?;
        if self.stats.len() > 1 && self.stats.contains(&StatsAddress::Off) {
            return Err("--stats off stands alone, without other addresses".to_owned());
        }
        if self.interfaces.len() > 1 && self.interfaces.iter().any(|name| name == "any") {
            return Err("--interface any stands alone: it is all of them".to_owned());
        }
        self.check_raw()?;
        self.check_files()
    }

    /// Whether every port is raw, and pairs nothing.
    pub fn is_raw_alone(&self) -> bool {
        let raw = |mode: Option<Mode>| mode == Some(Mode::Raw);
        match self.ports.as_slice() {
            [] => raw(self.mode),
            ports => ports.iter().all(|ports| raw(ports.protocol.or(self.mode))),
        }
    }

    /// Options about exchanges, where every port is raw.
    fn check_raw(&self) -> Result<(), String> {
        let raw_alone = self.is_raw_alone();
        let unfit = [
            (
                self.count.is_some(),
                "--count counts exchanges, and --mode raw pairs none: --duration ends such a run",
            ),
            (
                self.errors,
                "--errors prints exchanges, and --mode raw pairs none",
            ),
            (
                !self.commands.is_empty(),
                "--command prints exchanges, and --mode raw pairs none",
            ),
        ];
        let unfit = unfit.iter().find(|(given, _)| raw_alone && *given);
        unfit.map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
    }

    fn check_files(&self) -> Result<(), String> {
        let to_stdout = [(&self.write, "--write -"), (&self.output, "--output -")];
        let to_stdout = to_stdout.into_iter().find(|(file, _)| is_stdout(file));
        if let (true, Some((_, option))) = (self.daemonize, to_stdout) {
            return Err(format!(
                "{option} cannot be with --daemonize: nobody holds standard output"
            ));
        }
        if self.saves_to_stdout() && self.write_size.is_some() {
            return Err("--write-size needs a file name: --write - is standard output".to_owned());
        }
        match &self.output {
            Some(file) if Some(file) == self.write.as_ref() && !is_device(file) => Err(format!(
                "--output and --write cannot be the same file: {}",
                shown::path(file)
            )),
            _ => Ok(()),
        }
    }

    /// What the terminal view cannot do; with `other` it shows another host.
    pub(super) fn check_top(&self, other: bool) -> Result<(), String> {
        let draws = "top draws on standard output";
        let wrong = [
            (!self.scripts.is_empty(), "--script", "top runs no scripts"),
            (self.daemonize, "--daemonize", "top needs its terminal"),
            (self.saves_to_stdout(), "--write -", draws),
            (is_stdout(&self.output), "--output -", draws),
        ];
        let with_other = [
            (self.read.is_some(), "--read"),
            (!self.interfaces.is_empty(), "--interface"),
            (self.write.is_some(), "--write"),
            (!self.stats.is_empty(), "--stats"),
        ];
        if let Some((_, option, why)) = wrong.into_iter().find(|(given, ..)| *given) {
            return Err(format!("{option} cannot be with top: {why}"));
        }
        match with_other.into_iter().find(|(given, _)| other && *given) {
            Some((_, option)) => Err(format!(
                "{option} cannot be with top --from: it shows what another host captures"
            )),
            None => Ok(()),
        }
    }

    fn check_ports(&self) -> Result<(), String> {
        let mut named: Vec<_> = self
            .ports
            .iter()
            .filter(|ports| ports.protocol.is_some())
            .collect();
        named.sort_by_key(|ports| ports.first);
        // In this order, what overlaps any earlier one overlaps the one that reaches furthest.
        let mut furthest: Option<&PortSpec> = None;
        for ports in named {
            if let Some(other) = furthest.filter(|other| other.contradicts(ports)) {
                return Err(format!(
                    "--ports {other} and {ports} contradict each other: a port has one protocol"
                ));
            }
            if furthest.is_none_or(|other| other.last < ports.last) {
                furthest = Some(ports);
            }
        }
        Ok(())
    }

    fn check_udp(&self) -> Result<(), String> {
        let modes = self
            .ports
            .iter()
            .filter_map(|ports| ports.protocol)
            .chain(self.mode);
        let tcp_only = modes
            .into_iter()
            .find(|mode| self.udp && !speaks_udp(*mode));
        match tcp_only {
            Some(mode) => Err(format!(
                "--udp leaves nothing of {mode}, which is over TCP only"
            )),
            None => Ok(()),
        }
    }
}

fn is_stdout(file: &Option<PathBuf>) -> bool {
    file.as_deref() == Some(Path::new("-"))
}

/// Whether it is there, and nothing that keeps what is written to it.
fn is_device(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|there| !there.is_file())
}

fn speaks_udp(mode: Mode) -> bool {
    match mode {
        Mode::Auto | Mode::Raw => true,
        Mode::Protocol(protocol) => protocol.transports().contains(&crate::wire::Transport::Udp),
    }
}
