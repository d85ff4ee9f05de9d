//! The clock of frames that are stamped with the time since boot, which never steps: a fixed offset makes it time
//! since the epoch.

use std::time::{Duration, Instant};

use super::{Reading, STEADY, nanoseconds};
use crate::source::Timestamp;

/// How often a [`BootClock`] looks at the wall clock.
const SAMPLE: Duration = Duration::from_secs(1);

/// Time since boot plus an offset that was fixed at the start.
#[derive(Debug)]
pub(in crate::source) struct BootClock {
    offset: i64,
    drift: i64,
    sampled: Instant,
}

impl BootClock {
    /// Starts at the wall clock's time.
    pub(in crate::source) fn start() -> Self {
        Self {
            offset: offset(),
            drift: 0,
            sampled: Instant::now(),
        }
    }

    /// Nanoseconds since boot, suspended time included: what frames are stamped with.
    pub(in crate::source) fn boot() -> u64 {
        u64::try_from(nanoseconds(STEADY)).unwrap_or_default()
    }

    /// The time of a frame that was stamped with nanoseconds since boot.
    #[inline]
    pub(in crate::source) fn time(&self, boot: u64) -> Timestamp {
        Timestamp(boot.saturating_add_signed(self.offset))
    }

    /// Nanoseconds to add to a time for that of the wall clock, sampled once a second.
    pub(in crate::source) fn drift(&mut self) -> i64 {
        if self.sampled.elapsed() >= SAMPLE {
            self.sampled = Instant::now();
            self.drift = offset() - self.offset;
        }
        self.drift
    }
}

/// The wall clock less the time since boot.
fn offset() -> i64 {
    i64::try_from(Reading::take().apart()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rustix::time::ClockId;

    use super::*;

    #[test]
    fn a_stamp_of_now_is_the_time_of_now() {
        let clock = BootClock::start();
        // Between two looks at the wall clock, however long the thread is put aside.
        let wall = || nanoseconds(ClockId::Realtime);
        let before = wall() - 50_000_000;
        let stamped = i128::from(clock.time(BootClock::boot()).0);
        let after = wall() + 50_000_000;
        assert!(
            (before..after).contains(&stamped),
            "{before} {stamped} {after}"
        );
    }

    #[test]
    fn drift_is_sampled_once_a_second() {
        let mut clock = BootClock::start();
        clock.offset -= 5_000_000_000;
        assert_eq!(clock.drift(), 0);
        clock.sampled = Instant::now().checked_sub(SAMPLE).unwrap_or(clock.sampled);
        assert!(clock.drift().abs_diff(5_000_000_000) < 50_000_000);
    }
}
