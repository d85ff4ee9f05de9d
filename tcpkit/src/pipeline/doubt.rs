//! Whether a frame's stamp is capture time.
//!
//! A damaged stamp must not end every conversation by its being years ahead, and a clock that was set back must not
//! stop all that waits for time to pass. Both depend on the frames alone, so that every worker finds the same.

use crate::limits::{CLOCK_BEHIND, CLOCK_JUMP};
use crate::source::Timestamp;

const JUMP: u64 = CLOCK_JUMP.as_nanos() as u64;

/// What is remembered of stamps that were not believed.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// The last frame that was looked at was so far ahead.
    ahead: Option<Timestamp>,
    /// Frames far behind, since capture time was this.
    behind: (Timestamp, u32),
}

impl Doubt {
    /// Whether `time` is so far behind `now` that the clock may have been set back.
    #[inline]
    pub(super) fn is_behind(now: Timestamp, time: Timestamp) -> bool {
        now.since(time) > JUMP
    }

    /// Whether `time` is so far ahead of `now` that it may not be capture time.
    pub(super) fn is_jump(now: Timestamp, time: Timestamp) -> bool {
        time.since(now) > JUMP
    }

    /// Whether what comes next is looked at with other eyes, for what came before `now`.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        let (since, frames) = self.behind;
        self.ahead.is_some() || frames > 0 && since == now
    }

    /// Whether capture time goes on from `now` to `time`.
    pub(super) fn goes_on(&mut self, now: Timestamp, time: Timestamp) -> bool {
        let before = self.ahead.take();
        let confirmed = before.is_some_and(|before| before.0.abs_diff(time.0) <= JUMP);
        if !Self::is_jump(now, time) || confirmed {
            return true;
        }
        self.ahead = Some(time);
        false
    }

    /// Whether capture time is set back from `now`, which it is by a frame that [`Doubt::is_behind`].
    pub(super) fn goes_back(&mut self, now: Timestamp) -> bool {
        let (since, frames) = self.behind;
        let frames = if since == now { frames + 1 } else { 1 };
        self.behind = (now, frames);
        frames >= CLOCK_BEHIND
    }

    /// The end of all frames: what nothing speaks against any more is believed.
    pub(super) fn end(&mut self, now: Timestamp) -> Timestamp {
        self.ahead.take().unwrap_or(now)
    }
}
