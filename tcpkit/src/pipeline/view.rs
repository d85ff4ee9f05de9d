//! The terminal view: of a run of its own, or of what another host counts.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::setup::Setup;
use crate::cli::Options;
use crate::serve::Service;
use crate::top::{Feed, View};

/// Shows another host's figures until the user has seen enough.
///
/// # Errors
/// When the terminal cannot be had.
pub(super) fn show_other(setup: &Setup<'_>, address: SocketAddr) -> anyhow::Result<()> {
    let feed = Feed::There(address);
    let view = View::start(feed, address.to_string(), &setup.signals.stop);
    view.and_then(View::wait)
        .context("the terminal cannot be drawn on")
}

/// Begins to show a run, where it is to be shown.
///
/// # Errors
/// When the terminal cannot be had.
pub(super) fn start(setup: &Setup<'_>, service: Option<&Service>) -> anyhow::Result<Option<View>> {
    let Some(service) = service.filter(|_| setup.shown) else {
        return Ok(None);
    };
    let feed = Feed::Here(service.reader());
    View::start(feed, title(setup.options), &setup.signals.stop)
        .map(Some)
        .map_err(|error| anyhow!("the terminal cannot be drawn on: {error}"))
}

/// The run has ended: its figures stay until the user has seen enough.
///
/// # Errors
/// When the terminal fails.
pub(super) fn end(view: Option<View>) -> std::io::Result<()> {
    view.map_or(Ok(()), View::wait)
}

/// Whose figures they are.
fn title(options: &Options) -> String {
    match (&options.read, options.interfaces.as_slice()) {
        (Some(path), _) if path == Path::new("-") => "standard input".to_owned(),
        (Some(path), _) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        }
        (None, []) => "any".to_owned(),
        (None, names) => names.join(","),
    }
}
