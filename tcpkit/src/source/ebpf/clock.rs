//! The clock of the frames: nanoseconds since boot, which never step, dressed as time since the epoch.

use std::time::{Duration, Instant};

use crate::source::Timestamp;

/// How often the wall clock is looked at.
const SAMPLE: Duration = Duration::from_secs(1);

/// Boot time plus an offset that was fixed at the start.
pub(super) struct Clock {
    offset: i64,
    drift: i64,
    sampled: Instant,
}

impl Clock {
    /// Fixes the offset.
    pub(super) fn new() -> Self {
        Self {
            offset: offset(),
            drift: 0,
            sampled: Instant::now(),
        }
    }

    /// The time of a frame that was stamped with nanoseconds since boot.
    pub(super) fn time(&self, boot: u64) -> Timestamp {
        Timestamp(boot.saturating_add_signed(self.offset))
    }

    /// How far the wall clock has moved away since the start.
    pub(super) fn drift(&mut self) -> i64 {
        if self.sampled.elapsed() >= SAMPLE {
            self.sampled = Instant::now();
            self.drift = offset() - self.offset;
        }
        self.drift
    }
}

/// Nanoseconds since boot, suspended time included.
pub(super) fn boot() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// The wall clock less the time since boot. Of three attempts the one with the least time between both readings.
fn offset() -> i64 {
    let attempts = (0..3).map(|_| {
        let before = boot();
        let wall = read(libc::CLOCK_REALTIME);
        let after = boot();
        let middle = before + (after - before) / 2;
        (after - before, wall as i64 - middle as i64)
    });
    attempts.min().map_or(0, |(_, offset)| offset)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to `time` alone; the clocks are ones that every kernel has.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_of_now_is_the_time_of_now() {
        let clock = Clock::new();
        let wall = read(libc::CLOCK_REALTIME);
        let stamped = clock.time(boot()).0;
        assert!(stamped.abs_diff(wall) < 50_000_000, "{stamped} {wall}");
    }

    #[test]
    fn drift_is_sampled_once_a_second() {
        let mut clock = Clock::new();
        clock.offset -= 5_000_000_000;
        assert_eq!(clock.drift(), 0);
        clock.sampled = Instant::now().checked_sub(SAMPLE).unwrap_or(clock.sampled);
        assert!(clock.drift().abs_diff(5_000_000_000) < 50_000_000);
    }
}
