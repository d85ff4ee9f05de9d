//! The rings of all CPUs as one sequence of records, in the order of their times.

use super::ring::{Record, Ring};

/// What taking records came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drained {
    /// Records that were taken.
    pub(super) records: u64,
    /// The taker wanted no more.
    pub(super) is_stopped: bool,
}

/// Hands on every record that is not younger than `horizon`, in the order of their times, until `each` says no.
///
/// A ring whose next record is not finished is left alone: that record is younger than the horizon, or its CPU was
/// stopped in the middle of it, and what others saw must not wait for that.
pub(super) fn drain(
    rings: &mut [Ring],
    horizon: u64,
    each: &mut dyn FnMut(&Record<'_>) -> bool,
) -> Drained {
    let mut times: Vec<u64> = rings.iter_mut().map(next_time).collect();
    let mut drained = Drained::default();
    while let Some((first, until)) = earliest(&times, horizon) {
        let ring = &mut rings[first];
        while times[first] <= until && !drained.is_stopped {
            if let Some(record) = ring.record() {
                drained.records += 1;
                drained.is_stopped = !each(&record);
            }
            ring.advance();
            times[first] = next_time(ring);
        }
        if drained.is_stopped {
            break;
        }
    }
    rings.iter_mut().for_each(Ring::publish);
    drained
}

/// Later than any time: nothing to take.
const NONE: u64 = u64::MAX;

fn next_time(ring: &mut Ring) -> u64 {
    ring.next_time().unwrap_or(NONE)
}

/// The ring with the earliest time, and the time up to which it stays the one to take from.
fn earliest(times: &[u64], horizon: u64) -> Option<(usize, u64)> {
    let mut first = 0;
    let (mut best, mut second) = (NONE, horizon);
    for (at, &time) in times.iter().enumerate() {
        if time < best {
            second = second.min(best);
            (first, best) = (at, time);
        } else {
            second = second.min(time);
        }
    }
    (best <= horizon && best != NONE).then_some((first, second.max(best)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_ring_is_taken_from_until_another_is_earlier() {
        assert_eq!(earliest(&[30, 10, 20], 100), Some((1, 20)));
        assert_eq!(earliest(&[30, 10, 20], 15), Some((1, 15)));
        assert_eq!(earliest(&[30, 10, 10], 100), Some((1, 10)));
        assert_eq!(earliest(&[30, NONE], 100), Some((0, 100)));
    }

    #[test]
    fn what_is_too_young_waits() {
        assert_eq!(earliest(&[30, 40], 29), None);
        assert_eq!(earliest(&[NONE], NONE), None);
        assert_eq!(earliest(&[], 10), None);
    }
}
