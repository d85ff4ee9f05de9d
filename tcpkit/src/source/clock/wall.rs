//! The clock of frames that the system stamps with the wall clock: steps are taken out of their times, slewing (adjtime, NTP),
//! too slow to matter to a latency, is followed.

use super::Reading;
use crate::source::Timestamp;

/// Two readings of both clocks that differ by more than this are a step. Slewing moves the wall clock by
/// at most a tenth, and readings are some 100 ms apart where they are rare.
const STEP: u64 = 20_000_000;

/// Takes steps of the wall clock out of stamps.
#[derive(Debug)]
pub(in crate::source) struct SteadyClock {
    last: Reading,
    /// Nanoseconds that the wall clock was set forward by since the start.
    stepped: i128,
    /// As `stepped`, before the latest step; and that step's steady time.
    before: (i128, i128),
}

impl SteadyClock {
    /// Starts at the wall clock's time.
    pub(in crate::source) fn start() -> Self {
        Self::at(Reading::take())
    }

    fn at(reading: Reading) -> Self {
        Self {
            last: reading,
            stepped: 0,
            before: (0, i128::MIN),
        }
    }

    /// Reads the clocks: the time now. Called before frames are stamped by [`SteadyClock::steady`].
    pub(in crate::source) fn now(&mut self) -> Timestamp {
        self.read(Reading::take())
    }

    fn read(&mut self, reading: Reading) -> Timestamp {
        let moved = reading.apart() - self.last.apart();
        if moved.unsigned_abs() > u128::from(STEP) {
            self.before = (self.stepped, self.last.steady);
            self.stepped += moved;
        }
        self.last = reading;
        timestamp(reading.wall - self.stepped)
    }

    /// The steady time of a stamp of the wall clock, not older than the last but one reading.
    #[inline]
    pub(in crate::source) fn steady(&mut self, wall: Timestamp) -> Timestamp {
        if self.is_ahead(wall) {
            self.now();
        }
        self.convert(wall)
    }

    fn is_ahead(&self, wall: Timestamp) -> bool {
        i128::from(wall.0) - self.last.wall > i128::from(STEP)
    }

    /// Stamped before the latest step is what would lie before the reading ahead of that step, or in
    /// the future.
    fn convert(&self, wall: Timestamp) -> Timestamp {
        let stamped = self.last.steady - (self.last.wall - i128::from(wall.0));
        let stepped = if stamped < self.before.1 || self.is_ahead(wall) {
            self.before.0
        } else {
            self.stepped
        };
        timestamp(i128::from(wall.0) - stepped)
    }

    /// Nanoseconds to add to a steady time for that of the wall clock.
    pub(in crate::source) fn drift(&self) -> i64 {
        i64::try_from(self.stepped).unwrap_or_default()
    }
}

fn timestamp(nanoseconds: i128) -> Timestamp {
    Timestamp(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;
    const START: i128 = 1_700_000_000 * SECOND;

    fn reading(steady: i128, stepped: i128) -> Reading {
        Reading {
            wall: START + steady + stepped,
            steady,
        }
    }

    /// Frames stamped every millisecond around a step of the wall clock keep their distances.
    fn distances_are_kept(step: i128) {
        let mut clock = SteadyClock::at(reading(0, 0));
        clock.read(reading(SECOND / 10, 0));
        // The wall clock is set at 150 ms, and the frames of the last 100 ms are read at 200 ms.
        clock.read(reading(SECOND / 5, step));
        for millis in 101..200 {
            let at = millis * SECOND / 1000;
            let wall = START + at + if millis > 150 { step } else { 0 };
            assert_eq!(clock.convert(timestamp(wall)), timestamp(START + at));
        }
        assert_eq!(i128::from(clock.drift()), step);
        // Long after the step.
        clock.read(reading(10 * SECOND, step));
        let wall = START + 10 * SECOND - 5 + step;
        assert_eq!(
            clock.convert(timestamp(wall)),
            timestamp(START + 10 * SECOND - 5)
        );
    }

    #[test]
    fn a_step_forward_changes_no_distance() {
        distances_are_kept(3600 * SECOND);
    }

    #[test]
    fn a_step_back_changes_no_distance() {
        distances_are_kept(-3600 * SECOND);
    }

    #[test]
    fn slewing_is_followed() {
        let mut clock = SteadyClock::at(reading(0, 0));
        for tenth in 1..100 {
            clock.read(reading(tenth * SECOND / 10, tenth * 50_000));
        }
        assert_eq!(clock.drift(), 0);
    }

    #[test]
    fn the_real_clocks_do_not_step() {
        let mut clock = SteadyClock::start();
        let mut last = Timestamp::default();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            assert_eq!(clock.steady(now), now);
            last = now;
        }
        assert_eq!(clock.drift(), 0);
    }
}
