//! Whether the capture's loop turns, traffic or none, or has come to its end.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::keeper::Reader;
use crate::limits;

/// When the loop was last seen to have turned.
#[derive(Debug)]
pub(super) struct Health {
    reader: Reader,
    seen: Mutex<Turns>,
}

impl Health {
    pub(super) fn new(reader: Reader) -> Self {
        let seen = Mutex::new(Turns {
            count: reader.turns(),
            since: Instant::now(),
        });
        Self { reader, seen }
    }

    /// Looks; to be called more often than every [`limits::STALL_TIME`].
    pub(super) fn look(&self) {
        self.is_good();
    }

    /// Whether it has turned lately.
    pub(super) fn is_good(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.turns_at(self.reader.turns(), Instant::now()) || self.reader.has_ended()
    }
}

/// How often the loop has turned, and since when so often.
#[derive(Debug)]
struct Turns {
    count: u64,
    since: Instant,
}

impl Turns {
    /// Whether it turns, as far as it is known now that the loop has turned so often.
    fn turns_at(&mut self, count: u64, now: Instant) -> bool {
        if self.count != count {
            *self = Self { count, since: now };
        }
        now.duration_since(self.since) < limits::STALL_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_told_and_one_that_turns_again_too() {
        let begun = Instant::now();
        let mut turns = Turns {
            count: 1,
            since: begun,
        };
        assert!(turns.turns_at(2, begun + limits::STALL_TIME / 2));
        assert!(turns.turns_at(2, begun + limits::STALL_TIME));
        assert!(!turns.turns_at(2, begun + limits::STALL_TIME * 3 / 2));
        assert!(turns.turns_at(3, begun + limits::STALL_TIME * 2));
    }
}
