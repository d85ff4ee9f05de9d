//! How long a live run that was told to end follows what was captured before that.

use crate::limits::{CATCH_UP, CATCH_UP_STALL};
use crate::source::Timestamp;

/// So many looks without progress at least: a reader that waits for a processor has not looked yet.
const LOOKS: u32 = 10;

/// A run that was told to end.
#[derive(Debug)]
pub(super) struct Ending {
    /// When that was.
    told: Timestamp,
    /// Up to when frames have been followed.
    reached: Timestamp,
    /// The clock when that last moved.
    moved: Timestamp,
    /// Looks since then.
    looks: u32,
}

/// What is to be done with frames from before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more of them.
    Follow,
    /// All were followed.
    Done,
    /// Some may be left: no more are waited for.
    Leave,
}

impl Ending {
    /// The run was told at `clock`.
    pub(super) fn told(clock: Timestamp) -> Self {
        Self {
            told: clock,
            reached: Timestamp::default(),
            moved: clock,
            looks: 0,
        }
    }

    /// One look at how far frames have been followed, in capture time, at `clock`.
    pub(super) fn look(&mut self, followed: Timestamp, clock: Timestamp) -> Step {
        if followed >= self.told {
            return Step::Done;
        }
        if followed > self.reached {
            (self.reached, self.moved, self.looks) = (followed, clock, 0);
        }
        self.looks += 1;
        let is_still = self.looks > LOOKS && clock.is_past(self.moved, CATCH_UP_STALL);
        match is_still || clock.is_past(self.told, CATCH_UP) {
            true => Step::Leave,
            false => Step::Follow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(1_000_000 * MILLISECOND + milliseconds * MILLISECOND)
    }

    /// What the end comes to, and when, where frames are followed up to `followed` at each millisecond after it.
    fn end(step: u64, followed: impl Fn(u64) -> Timestamp) -> (u64, Step) {
        let mut ending = Ending::told(at(0));
        let mut now = 0;
        loop {
            match ending.look(followed(now), at(now)) {
                Step::Follow => now += step,
                ended => return (now, ended),
            }
        }
    }

    #[test]
    fn what_was_captured_before_is_followed_to_its_end() {
        assert_eq!(end(100, |_| at(0)), (0, Step::Done));
        // Five seconds behind, and it catches up in three.
        let behind = |now| Timestamp(at(0).0 - 5_000 * MILLISECOND + now * 5 * MILLISECOND / 3);
        assert_eq!(end(100, behind), (3_000, Step::Done));
    }

    #[test]
    fn what_does_not_come_is_left() {
        let still = |_| Timestamp(at(0).0 - MILLISECOND);
        assert_eq!(end(100, still), (1_100, Step::Leave));
        // Put aside for a second and more between two looks: that says nothing about the frames.
        assert_eq!(end(1_500, still).1, Step::Leave);
        assert!(end(1_500, still).0 > 1_500);
    }

    #[test]
    fn it_ends_though_there_is_always_more() {
        let slow = |now| Timestamp(at(0).0 - 60_000 * MILLISECOND + now * MILLISECOND);
        let (took, step) = end(100, slow);
        assert_eq!(step, Step::Leave);
        assert!(u128::from(took) <= CATCH_UP.as_millis() + 100);
    }
}
