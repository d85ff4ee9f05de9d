//! tcpkit: which requests were slow, and why.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use tcpkit::cli::{self, AskedScripts, Command, Options};
use tcpkit::pipeline::{self, Caller, Forked, Scripts, Signals};
use tcpkit::source::names;

/// Exit status for what the user asked and cannot have.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    names::built_in_only();
    let asked = cli::scripts(std::env::args_os());
    if !asked.background {
        return go(asked, None);
    }
    match Caller::leave() {
        Ok(Forked::Caller(status)) => status,
        Ok(Forked::Run(caller)) => go(asked, Some(caller)),
        Err(error) => fail(&format!("--daemonize: {error}"), ExitCode::FAILURE),
    }
}

/// Does what the command line says; in the background, a caller waits to hear how it began.
fn go(asked: AskedScripts, caller: Option<Caller>) -> ExitCode {
    let scripts = match Scripts::load(asked.paths, asked.live, asked.allow_all) {
        Ok(scripts) => scripts,
        Err(error) => return fail(&format!("{error:#}"), unloaded(&error)),
    };
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => cli::exit(&error),
    };
    if let Some(lacking) = command.lacking() {
        return fail(&lacking, ExitCode::from(USAGE));
    }
    let done = match command {
        Command::Run(options) => run(&options, &scripts, caller),
        Command::Completions(shell) => print(&cli::completions(shell)).map_err(Into::into),
        Command::Man => cli::man().and_then(|page| print(&page)).map_err(Into::into),
        Command::Doctor { interface, clean } => doctor(interface.as_deref(), clean),
        Command::Top { options, from } => top(&options, from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), ExitCode::FAILURE),
    }
}

fn run(options: &Options, scripts: &Scripts, caller: Option<Caller>) -> anyhow::Result<()> {
    let started = || Ok(caller.map_or(Ok(()), Caller::release)?);
    pipeline::run(options, &signals()?, scripts, started)
}

fn top(options: &Options, from: Option<SocketAddr>) -> anyhow::Result<()> {
    pipeline::top(options, from, &signals()?)
}

/// What the host can do; with `clean`, removes what earlier runs left behind.
#[cfg(all(feature = "ebpf", target_os = "linux"))]
fn doctor(interface: Option<&str>, clean: bool) -> anyhow::Result<()> {
    use tcpkit::source::{ebpf, shown};

    let report = if clean {
        ebpf::clean(interface)?.join("\n") + "\n"
    } else {
        ebpf::doctor(interface)?
    };
    Ok(print(shown::sentence(&report).as_bytes())?)
}

#[cfg(not(all(feature = "ebpf", target_os = "linux")))]
fn doctor(_: Option<&str>, _: bool) -> anyhow::Result<()> {
    anyhow::bail!("this build captures with libpcap alone: there is nothing to look into")
}

/// A script that cannot be read is like any other file that cannot; one that is wrong is like a wrong value.
fn unloaded(error: &anyhow::Error) -> ExitCode {
    match error.is::<io::Error>() {
        true => ExitCode::FAILURE,
        false => ExitCode::from(USAGE),
    }
}

fn fail(sentence: &str, status: ExitCode) -> ExitCode {
    pipeline::tell(sentence);
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
    signal_hook::flag::register(SIGUSR2, Arc::clone(&signals.reload))?;
    Ok(signals)
}
