//! A run, from options to summary: over a capture file, or live.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::bail;

use super::scripts::Scripts;
use super::setup::Setup;
use super::{live, offline};
use crate::cli::Options;

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
    let setup = Setup::new(options, signals, scripts);
    match options.read.as_deref() {
        Some(path) => started().and_then(|()| offline::run(&setup, path)),
        None => live::run(&setup, started),
    }
}
