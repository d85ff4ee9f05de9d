//! A clock that never steps, for frames that the system stamps with the wall clock.
//!
//! Reads the wall clock beside a steady one, makes times that go on evenly when somebody sets the wall
//! clock, so that no latency is measured across a step. How far both have moved apart since is told, for
//! times that are printed. Slewing (adjtime, NTP) is too slow to matter to a latency and is followed.

use rustix::time::{ClockId, clock_gettime};

use super::Timestamp;

/// Two readings of both clocks that differ by more than this are a step. Slewing moves the wall clock by
/// at most a tenth, and readings are some 100 ms apart where they are rare.
const STEP: u64 = 20_000_000;

/// Both clocks are read at one moment if no more time than this passed meanwhile: else the thread was put aside
/// between them.
const MOMENT: i128 = 1_000_000;

/// How often a moment is tried for, on a machine that is too busy for one.
const TRIES: usize = 8;

/// Counts on while the system is suspended, as frames' stamps do.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// Both clocks at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: i128,
    steady: i128,
}

impl Reading {
    fn take() -> Self {
        let mut best = Self::timed();
        for _ in 1..TRIES {
            if best.1 < MOMENT {
                break;
            }
            best = std::cmp::min_by_key(best, Self::timed(), |reading| reading.1);
        }
        best.0
    }

    /// A reading, and how long it took.
    fn timed() -> (Self, i128) {
        let steady = nanoseconds(STEADY);
        let wall = nanoseconds(ClockId::Realtime);
        let took = nanoseconds(STEADY) - steady;
        (Self { wall, steady }, took)
    }

    fn apart(self) -> i128 {
        self.wall - self.steady
    }
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Takes steps of the wall clock out of stamps.
#[derive(Debug)]
pub(super) struct SteadyClock {
    last: Reading,
    /// Nanoseconds that the wall clock was set forward by since the start.
    stepped: i128,
    /// As `stepped`, before the latest step; and that step's steady time.
    before: (i128, i128),
}

impl SteadyClock {
    /// Starts at the wall clock's time.
    pub(super) fn start() -> Self {
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
    pub(super) fn now(&mut self) -> Timestamp {
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
    pub(super) fn steady(&mut self, wall: Timestamp) -> Timestamp {
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
    pub(super) fn drift(&self) -> i64 {
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
