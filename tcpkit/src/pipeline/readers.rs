//! Who reads statistics while a run goes on, and to whom they are pushed, as the options say.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::anyhow;

use super::setup::Setup;
use crate::cli::{Keys, Mode, Options, StatsAddress};
use crate::serve::otlp::{self, Teller};
use crate::serve::{Service, Settings, listen};
use crate::sink::stats::snapshot::KeyForm;

/// Where a live run listens unless told otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 33333);

/// Who is to be answered, and who is told unasked.
#[derive(Debug)]
pub(super) struct Readers {
    listeners: Vec<TcpListener>,
    collector: Option<otlp::Settings>,
}

/// Opens the addresses that statistics are to be served at, before anything is captured, and reads how they are to be
/// pushed.
///
/// # Errors
/// When an address that was asked for cannot be had, of the default one that is a notice; or when a variable that
/// goes with `--otlp` cannot be read.
pub(super) fn open(options: &Options, notices: &mut Vec<String>) -> anyhow::Result<Readers> {
    let variable = |name: &str| std::env::var(name).ok();
    let collector = options.otlp.as_deref();
    let collector = collector.map(|url| otlp::Settings::new(url, variable));
    let collector = collector.transpose();
    let collector = collector.map_err(|error| anyhow!("--otlp: {error}"))?;
    let listeners = listen(options, notices)?;
    notices.extend(served(&listeners));
    Ok(Readers {
        listeners,
        collector,
    })
}

/// Where statistics are served, and how to open them where they stay on this host.
fn served(listeners: &[TcpListener]) -> Option<String> {
    let addresses = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok());
    let addresses: Vec<SocketAddr> = addresses.collect();
    let first = addresses.first()?;
    let urls: Vec<_> = addresses.iter().map(|at| format!("http://{at}/")).collect();
    let mut sentence = format!("statistics are served at {}", urls.join(", "));
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        let port = first.port();
        sentence += &format!(", on this host alone: -P 0.0.0.0:{port} opens them to others");
    }
    Some(sentence)
}

fn listen(options: &Options, notices: &mut Vec<String>) -> anyhow::Result<Vec<TcpListener>> {
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

/// Begins to answer and to push; `None` where nobody can ask and nobody is told. What goes wrong with pushing is told
/// to `tell`.
///
/// # Errors
/// When a thread cannot be started.
pub(super) fn start(
    setup: &Setup<'_>,
    readers: Readers,
    tell: Teller,
) -> anyhow::Result<Option<Service>> {
    if readers.listeners.is_empty() && readers.collector.is_none() && !setup.shown {
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
        scripts: setup.scripts.metrics.clone(),
        pushes: options.otlp.as_ref().map(|_| otlp::Counts::default()),
    };
    let mut service = Service::start(settings, readers.listeners)?;
    if let Some(collector) = readers.collector {
        service.push(collector, tell)?;
    }
    Ok(Some(service))
}

/// The run has ended: with `--linger` answers go on until a signal. Returns a sentence for the user if there is one.
pub(super) fn end(service: Option<Service>, setup: &Setup<'_>) -> Option<String> {
    let service = service?;
    if setup.options.linger {
        service.linger(&setup.signals.stop);
    }
    let url = setup.options.otlp.as_deref().unwrap_or_default();
    (!service.end()).then(|| format!("--otlp {url}: the last push takes too long: it is given up"))
}
