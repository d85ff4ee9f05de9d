//! tcpkit: which requests were slow, and why.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tcpkit::cli::{self, Command, Options};
use tcpkit::pipeline::{self, Caller, Forked, Signals};

/// Exit status for what the user asked and cannot have.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    if let Some(lacking) = command.lacking() {
        return fail(&lacking, ExitCode::from(USAGE));
    }
    let done = match command {
        Command::Run(options) if options.daemonize => return in_background(&options),
        Command::Run(options) => run(&options, None),
        Command::Completions(shell) => print(&cli::completions(shell)).map_err(Into::into),
        Command::Man => cli::man().and_then(|page| print(&page)).map_err(Into::into),
        Command::Doctor { interface, clean } => doctor(interface.as_deref(), clean),
        Command::Top { .. } => Ok(()),
    };
    ended(done)
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

fn run(options: &Options, caller: Option<Caller>) -> anyhow::Result<()> {
    let started = || Ok(caller.map_or(Ok(()), Caller::release)?);
    pipeline::run(options, &signals()?, started)
}

/// The caller ends as the run began.
fn in_background(options: &Options) -> ExitCode {
    match Caller::leave() {
        Ok(Forked::Caller(status)) => status,
        Ok(Forked::Run(caller)) => ended(run(options, Some(caller))),
        Err(error) => fail(&format!("--daemonize: {error}"), ExitCode::FAILURE),
    }
}

/// What the host can do; with `clean`, removes what earlier runs left behind.
#[cfg(all(feature = "ebpf", target_os = "linux"))]
fn doctor(interface: Option<&str>, clean: bool) -> anyhow::Result<()> {
    use tcpkit::source::ebpf;
    let report = if clean {
        ebpf::clean(interface)?.join("\n") + "\n"
    } else {
        ebpf::doctor(interface)?
    };
    Ok(print(report.as_bytes())?)
}

#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
fn doctor(_: Option<&str>, _: bool) -> anyhow::Result<()> {
    anyhow::bail!("this build captures with libpcap alone: there is nothing to look into")
}

fn fail(sentence: &str, status: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "tcpkit: {sentence}");
    status
}

/// A closed pipe ends quietly.
fn print(bytes: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The first SIGINT or SIGTERM ends the run with its summary, a second one at once.
fn signals() -> io::Result<Signals> {
    let signals = Signals::default();
    for signal in [SIGINT, SIGTERM] {
        let stop = Arc::clone(&signals.stop);
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, stop)?;
    }
    signal_hook::flag::register(SIGHUP, Arc::clone(&signals.reopen))?;
    Ok(signals)
}
