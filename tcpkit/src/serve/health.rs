//! Whether the capture's loop turns, traffic or none, or has come to its end.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::keeper::Reader;
use crate::limits;

/// When the loop was last seen to have turned.
#[derive(Debug)]
pub(super) struct Health {
    reader: Reader,
    seen: Mutex<(u64, Instant)>,
}

impl Health {
    pub(super) fn new(reader: Reader) -> Self {
        let seen = Mutex::new((reader.turns(), Instant::now()));
        Self { reader, seen }
    }

    /// Looks; to be called more often than every [`limits::STALL_TIME`].
    pub(super) fn look(&self) {
        let turns = self.reader.turns();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != turns {
            *seen = (turns, Instant::now());
        }
    }

    /// Whether it has turned lately.
    pub(super) fn is_good(&self) -> bool {
        self.look();
        if self.reader.has_ended() {
            return true;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1.elapsed() < limits::STALL_TIME
    }
}
