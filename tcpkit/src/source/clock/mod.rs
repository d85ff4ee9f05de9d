//! Clocks of live frames, which never step.
//!
//! Reads the wall clock beside a steady one, makes times that go on evenly when somebody sets the wall
//! clock, so that no latency is measured across a step. How far both have moved apart since is told, for
//! times that are printed.

#[cfg(all(feature = "ebpf", target_os = "linux"))]
mod boot;
mod wall;

use rustix::time::{ClockId, clock_gettime};

#[cfg(all(feature = "ebpf", target_os = "linux"))]
pub(super) use boot::BootClock;
pub(super) use wall::SteadyClock;

/// Both clocks are read at one moment if no more time than this passed meanwhile: else the thread was put aside
/// between them.
const MOMENT: i128 = 20_000;

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
        let before = nanoseconds(STEADY);
        let wall = nanoseconds(ClockId::Realtime);
        let took = nanoseconds(STEADY) - before;
        let steady = before + took / 2;
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
