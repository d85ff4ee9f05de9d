//! Stands for the scripts of a run in a build without Lua; `-S` is refused before.

use std::path::PathBuf;

use super::report::Report;
use crate::sink::Sink;
use crate::sink::inbox::Inboxes;
use crate::sink::stats::Metrics;

/// No scripts.
#[derive(Default)]
pub struct Scripts {
    /// Nothing is counted.
    pub metrics: Metrics,
}

impl Scripts {
    /// Loads none.
    ///
    /// # Errors
    /// None.
    pub fn load(_: Vec<PathBuf>, _: bool, _: bool) -> anyhow::Result<Self> {
        Ok(Self::default())
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// No sinks.
    pub(super) fn sinks<W>(
        &self,
        _: &Report,
        _: &W,
        _: bool,
    ) -> (Vec<Box<dyn Sink + Send>>, Inboxes) {
        (Vec::new(), Inboxes::default())
    }
}
