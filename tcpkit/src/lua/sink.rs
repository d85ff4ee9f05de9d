//! The hooks of one script as a sink.
//!
//! Reads events, makes batches, and hands them to the script's thread.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::batch::Batch;
use super::dissector::Teacher;
use super::hooks::Hooks;
use super::host::{Host, Loading, Policy, Sent, Tried};
use crate::event::Event;
use crate::sink::{Needs, Sink};
use crate::source::{Timestamp, shown};

/// Feeds one script.
pub struct LuaSink {
    host: Arc<Host>,
    teacher: Teacher,
    needs: Needs,
    hooks: Hooks,
    packets: bool,
    batch: Box<Batch>,
    gone: bool,
    now: Timestamp,
    reload: Option<Loading>,
}

impl LuaSink {
    /// Feeds the script of `teacher`, and puts its successor there when it is reloaded.
    pub fn new(teacher: Teacher) -> Self {
        let host = Arc::clone(&teacher.read().unwrap_or_else(PoisonError::into_inner));
        let hooks = host.loaded.hooks;
        let needs = Needs {
            packets: hooks.has("process"),
            text: hooks.has("on_exchange") || hooks.has("on_unanswered"),
        };
        Self {
            teacher,
            needs,
            batch: host.spare(),
            host,
            hooks,
            packets: hooks.has("process"),
            gone: false,
            now: Timestamp::default(),
            reload: None,
        }
    }

    /// Events that the script could not keep up with.
    pub fn dropped(&self) -> u64 {
        self.host.settings.dropped.load(Ordering::Relaxed)
    }

    /// Hands over what was collected.
    #[cold]
    #[inline(never)]
    fn hand_over(&mut self) {
        if self.gone {
            self.batch.clear();
            return;
        }
        let next = self.host.spare();
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.reached = self.now;
        let items = batch.len() as u64;
        match self.host.batch(batch) {
            Sent::Taken => {}
            Sent::Full => self.host.settings.drop_items(items),
            Sent::Gone => self.gone = true,
        }
    }

    fn tick(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.hooks.has("on_tick") {
            self.batch.tick(now);
        }
        self.try_reload();
        self.hand_over();
    }

    /// Begins to load the script again; the old one runs until the new one is there.
    fn begin_reload(&mut self) {
        let settings = self.host.settings.clone();
        let printer = Arc::new(self.host.printer.successor());
        match Loading::start(settings, printer) {
            Ok(loading) if self.host.settings.policy == Policy::Wait => {
                self.reloaded(loading.wait());
            }
            Ok(loading) => self.reload = Some(loading),
            Err(error) => self.reloaded(Err(error)),
        }
    }

    fn try_reload(&mut self) {
        match self.reload.take().map(Loading::try_wait) {
            None => {}
            Some(Ok(host)) => self.reloaded(Ok(host)),
            Some(Err(Tried::NotYet(loading))) => self.reload = Some(*loading),
            Some(Err(Tried::Failed(error))) => self.reloaded(Err(error)),
        }
    }

    /// Takes the new script where it could be loaded. What was collected goes to the old one.
    fn reloaded(&mut self, host: anyhow::Result<Host>) {
        let tell = Arc::clone(&self.host.settings.tell);
        let host = match host.and_then(|host| self.fitting(host)) {
            Ok(host) => Arc::new(host),
            Err(error) => {
                tell(&format!("not reloaded, the old script goes on: {error:#}"));
                return;
            }
        };
        self.hand_over();
        self.host.printer.is_succeeded();
        let old = std::mem::replace(&mut self.host, Arc::clone(&host));
        *self.teacher.write().unwrap_or_else(PoisonError::into_inner) = host;
        self.hooks = self.host.loaded.hooks;
        self.packets = self.hooks.has("process");
        self.gone = false;
        match self.host.settings.policy {
            Policy::Wait => old.exit(),
            Policy::Drop => old.retire(),
        }
        tell(&format!(
            "{}: reloaded",
            shown::path(&self.host.settings.path)
        ));
    }

    /// Protocols are registered for the run, and packets asked for at its beginning.
    fn fitting(&self, host: Host) -> anyhow::Result<Host> {
        let path = shown::path(&host.settings.path);
        if host.loaded.plans != self.host.loaded.plans {
            anyhow::bail!(
                "{path}: what it says of its protocols, besides parse and resync, cannot change in a run"
            );
        }
        if host.loaded.hooks.has("process") && !self.needs.packets {
            anyhow::bail!(
                "{path}: process cannot be added in a run, since packets were not asked for"
            );
        }
        Ok(host)
    }
}

impl Sink for LuaSink {
    fn needs(&self) -> Needs {
        self.needs
    }

    #[inline]
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Packet(packet) if self.packets && !packet.copy => {
                self.now = self.now.max(packet.packet.time);
                self.batch.packet(packet);
            }
            Event::Exchange(exchange) if self.hooks.has("on_exchange") => {
                self.batch.exchange(exchange);
            }
            Event::Unanswered(unanswered) if self.hooks.has("on_unanswered") => {
                self.batch.unanswered(unanswered);
            }
            Event::Connection(connection) if self.hooks.has("on_connection") => {
                self.batch.connection(connection);
            }
            Event::Tick(now) => {
                self.tick(*now);
                return self.host.printer.take_failure().map_or(Ok(()), Err);
            }
            Event::Reopen => self.host.printer.flush(),
            Event::Reload => self.begin_reload(),
            _ => return Ok(()),
        }
        if self.batch.is_full() {
            self.hand_over();
            return self.host.printer.take_failure().map_or(Ok(()), Err);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(loading) = self.reload.take() {
            self.reloaded(loading.wait());
        }
        self.hand_over();
        self.host.exit();
        let dropped = self.dropped();
        if dropped > 0 {
            let path = shown::path(&self.host.settings.path);
            (self.host.settings.tell)(&format!(
                "{path}: {dropped} events were dropped, since the script was slower than the capture"
            ));
        }
        self.host.printer.take_failure().map_or(Ok(()), Err)
    }
}
