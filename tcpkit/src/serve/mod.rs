//! Answers those who ask for statistics while the run goes on, and tells a collector that does not ask.
//!
//! Reads what workers hand over at their [`Desk`]s, makes [`Snapshot`](crate::sink::stats::snapshot::Snapshot)s in a
//! thread of its own ([`keeper`]), serves them over TCP in another ([`server`]), and pushes them in a third ([`otlp`]): the
//! capture's thread does none of it.
//! Beside the sources and the terminal this is the only room that reads a clock.

pub mod classic;
pub mod families;
mod guest;
mod health;
pub mod keeper;
pub mod listen;
pub mod metrics;
pub mod otlp;
mod page;
mod pages;
mod routes;
pub mod server;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use self::keeper::{Keeper, Reader};
use crate::sink::stats::desk::Desk;
use crate::sink::stats::snapshot::KeyForm;
use crate::sink::stats::{Metrics, Rules};

/// What is to be served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How exchanges are counted.
    pub rules: Rules,
    /// Ports that were asked for.
    pub asked: Vec<u16>,
    /// How keys are shown.
    pub keys: KeyForm,
    /// Name of the mode, for the classic form that tells it.
    pub mode: &'static str,
    /// Capture time is the time of day: it goes on where nothing is captured.
    pub live: bool,
    /// What scripts count.
    pub scripts: Metrics,
    /// What becomes of pushes, where there are such.
    pub pushes: Option<otlp::Counts>,
}

/// Everything that answers readers.
#[derive(Debug)]
pub struct Service {
    keeper: Keeper,
    server: Option<server::Server>,
    pusher: Option<otlp::Pusher>,
    pushes: otlp::Counts,
}

impl Service {
    /// Begins to answer at these listeners; without one, only those within the program.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(settings: Settings, listeners: Vec<TcpListener>) -> std::io::Result<Self> {
        let (mode, pushes) = (settings.mode, settings.pushes.clone().unwrap_or_default());
        let keeper = Keeper::start(settings)?;
        let server = match listeners.is_empty() {
            true => None,
            false => Some(server::Server::start(listeners, keeper.reader(), mode)?),
        };
        Ok(Self {
            keeper,
            server,
            pusher: None,
            pushes,
        })
    }

    /// Begins to push to a collector; what goes wrong is told to `tell`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn push(&mut self, settings: otlp::Settings, tell: otlp::Teller) -> std::io::Result<()> {
        let pushes = self.pushes.clone();
        self.pusher = Some(otlp::Pusher::start(settings, self.reader(), pushes, tell)?);
        Ok(())
    }

    /// The desk of a worker.
    pub fn desk(&self, worker: usize) -> Desk {
        self.keeper.desk(worker)
    }

    /// For readers within the program.
    pub fn reader(&self) -> Reader {
        self.keeper.reader()
    }

    /// Goes on answering until `stop` is set, after the capture has ended.
    pub fn linger(&self, stop: &Arc<AtomicBool>) {
        while self.server.is_some() && !stop.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Pushes a last time, and ends answering: answers that are under way are finished within a moment. False if the
    /// last push took too long and was left to itself.
    pub fn end(self) -> bool {
        let pushed = self.pusher.is_none_or(otlp::Pusher::end);
        if let Some(server) = self.server {
            server.end();
        }
        pushed
    }
}
