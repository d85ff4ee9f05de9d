//! The reordering window of datagrams: how long what came may wait for what it may have overtaken.

use crate::limits::{REORDER_FRAMES, REORDER_TIME};
use crate::source::Timestamp;

/// Since when something waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// When its datagram was seen.
    pub time: Timestamp,
    /// How many datagrams of the conversation had been seen then.
    pub datagrams: u32,
}

impl Since {
    /// Whether the window has passed at `now`, when so many datagrams have been seen.
    pub(super) fn is_over(&self, now: Timestamp, datagrams: u32) -> bool {
        datagrams.wrapping_sub(self.datagrams) >= REORDER_FRAMES
            || now.is_past(self.time, REORDER_TIME)
    }
}
