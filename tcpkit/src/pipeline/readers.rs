//! Who reads statistics while a run goes on, as the options say.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::anyhow;

use super::setup::Setup;
use crate::cli::{Keys, Mode, Options, StatsAddress};
use crate::serve::{Service, Settings, listen};
use crate::sink::stats::snapshot::KeyForm;

/// Where a live run listens unless told otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 33333);

/// Opens the addresses that statistics are to be served at, before anything is captured.
///
/// # Errors
/// When one that was asked for cannot be had. Of the default one that is a notice.
pub(super) fn listen(
    options: &Options,
    notices: &mut Vec<String>,
) -> anyhow::Result<Vec<TcpListener>> {
    if options.stats.is_empty() && options.read.is_none() {
        return Ok(listen_by_default(notices).into_iter().collect());
    }
    let asked = options.stats.iter().filter_map(|address| match address {
        StatsAddress::Off => None,
        StatsAddress::At(address) => Some(*address),
    });
    asked
        .map(|address| {
            listen::listen(address).map_err(|error| anyhow!("--stats {address}: {error}"))
        })
        .collect()
}

fn listen_by_default(notices: &mut Vec<String>) -> Option<TcpListener> {
    let listened = listen::listen(DEFAULT);
    if let Err(error) = &listened {
        notices.push(format!(
            "no statistics are served, since {DEFAULT} cannot be listened at: {error}; -P takes another port"
        ));
    }
    listened.ok()
}

/// Begins to answer; `None` where nobody can ask.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn start(
    setup: &Setup<'_>,
    listeners: Vec<TcpListener>,
) -> anyhow::Result<Option<Service>> {
    if listeners.is_empty() && !setup.shown {
        return Ok(None);
    }
    let options = setup.options;
    let settings = Settings {
        rules: setup.rules(),
        asked: setup.asked.clone(),
        keys: match options.keys {
            None => KeyForm::None,
            Some(Keys::Plain) => KeyForm::Plain,
            Some(Keys::Hash) => KeyForm::Hash,
        },
        mode: options.mode.unwrap_or(Mode::Auto).name(),
        live: options.read.is_none(),
    };
    Ok(Some(Service::start(settings, listeners)?))
}

/// The run has ended: with `--linger` answers go on until a signal.
pub(super) fn end(service: Option<Service>, setup: &Setup<'_>) {
    let Some(service) = service else { return };
    if setup.options.linger {
        service.linger(&setup.signals.stop);
    }
    service.end();
}
