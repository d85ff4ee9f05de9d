//! A run, from options to summary: over a capture file, or live.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Error, bail};

use super::scripts::Scripts;
use super::setup::Setup;
use super::{live, offline, view};
use crate::cli::Options;
use crate::top::check_terminal;

/// What signals ask of a run.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// End with the summary (SIGINT, SIGTERM).
    pub stop: Arc<AtomicBool>,
    /// Open output files anew (SIGHUP).
    pub reopen: Arc<AtomicBool>,
    /// Load scripts again (SIGUSR2).
    pub reload: Arc<AtomicBool>,
}

/// Reads the capture file that the options name, or captures, runs the scripts, and reports. `started` is called once nothing is left that
/// a caller should hear of before a live run goes on in the background.
///
/// # Errors
/// A sentence for the user: what cannot be opened, read or written, or is not in this build.
pub fn run(
    options: &Options,
    signals: &Signals,
    scripts: &Scripts,
    started: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(lacking) = options.lacking() {
        bail!(lacking);
    }
    go(&Setup::new(options, signals, scripts), started)
}

/// Shows a run in the terminal, or the figures of a tcpkit that runs at `from`.
///
/// # Errors
/// As [`run`]; and where there is no terminal.
pub fn top(options: &Options, from: Option<SocketAddr>, signals: &Signals) -> anyhow::Result<()> {
    check_terminal().map_err(Error::msg)?;
    if let Some(lacking) = options.lacking() {
        bail!(lacking);
    }
    let scripts = Scripts::default();
    let mut setup = Setup::new(options, signals, &scripts);
    setup.shown = true;
    match from {
        Some(address) => view::show_other(&setup, address),
        None => go(&setup, || Ok(())),
    }
}

fn go(setup: &Setup<'_>, started: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    match setup.options.read.as_deref() {
        Some(path) => started().and_then(|()| offline::run(setup, path)),
        None => live::run(setup, started),
    }
}
