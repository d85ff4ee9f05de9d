//! Diagnostics of the programs in the kernel, as sentences for the user. They are off unless asked for, and then not even
//! in the loaded code.

use std::sync::{Arc, Mutex, PoisonError};

use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use log::{Log, Metadata, Record};

use crate::limits::DIAGNOSTICS;

/// The level that the programs are loaded with.
pub(super) fn level(is_on: bool) -> u8 {
    if is_on { Level::Debug as u8 } else { 0 }
}

/// Reads what the programs say.
pub(super) struct Diagnostics {
    logger: EbpfLogger<Said>,
    said: Said,
}

impl Diagnostics {
    /// Of programs that were loaded with diagnostics.
    ///
    /// # Errors
    /// When they were not.
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, aya_log::Error> {
        let said = Said::default();
        let logger = EbpfLogger::init_with_logger(ebpf, said.clone())?;
        Ok(Self { logger, said })
    }

    /// What was said since the last call; beyond a bound, how much more.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.logger.flush();
        let Lines { mut lines, more } = std::mem::take(&mut *self.said.lines());
        if more > 0 {
            lines.push(format!("kernel: {more} more such lines"));
        }
        lines
    }
}

/// What was said and not taken yet.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    more: u64,
}

impl Said {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut said = self.lines();
        if said.lines.len() < DIAGNOSTICS {
            said.lines.push(format!("kernel: {}", record.args()));
        } else {
            said.more += 1;
        }
    }

    fn flush(&self) {}
}
