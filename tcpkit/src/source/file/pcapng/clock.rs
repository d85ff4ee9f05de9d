//! The clock of a pcapng interface: `if_tsresol` and `if_tsoffset` (section 4.2).

use crate::source::Timestamp;

/// Turns an interface's time stamps into nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    scale: Scale,
    /// Seconds that are added to every stamp.
    offset: i64,
}

/// Nanoseconds in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// So many nanoseconds.
    Times(u64),
    /// This part of a nanosecond.
    Part(u64),
    /// A second in so many halvings.
    Halved(u32),
}

impl Clock {
    /// `resolution` as in the option: a negative power of ten, or of two with the top bit set.
    /// `offset` in seconds.
    pub fn new(resolution: u8, offset: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let scale = if resolution & 0x80 != 0 {
            Scale::Halved(exponent)
        } else if exponent <= 9 {
            Scale::Times(10u64.pow(9 - exponent))
        } else {
            Scale::Part(10u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        };
        Self { scale, offset }
    }

    /// When a stamp of so many ticks was; saturates at the epoch and in the year 2554.
    #[inline]
    pub fn time(&self, ticks: u64) -> Timestamp {
        let nanoseconds = match self.scale {
            Scale::Times(many) => ticks.saturating_mul(many),
            Scale::Part(part) => ticks / part,
            Scale::Halved(times) => halved(ticks, times),
        };
        if self.offset == 0 {
            return Timestamp(nanoseconds);
        }
        let offset = i128::from(self.offset) * 1_000_000_000;
        let moved = (i128::from(nanoseconds) + offset).clamp(0, i128::from(u64::MAX));
        Timestamp(u64::try_from(moved).unwrap_or_default())
    }
}

fn halved(ticks: u64, times: u32) -> u64 {
    let nanoseconds = (u128::from(ticks) * 1_000_000_000) >> times;
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten() {
        assert_eq!(Clock::new(6, 0).time(1_500_000), Timestamp(1_500_000_000));
        assert_eq!(Clock::new(9, 0).time(7), Timestamp(7));
        assert_eq!(Clock::new(0, 0).time(3), Timestamp(3_000_000_000));
        assert_eq!(Clock::new(12, 0).time(5_999), Timestamp(5));
        assert_eq!(Clock::new(127, 0).time(u64::MAX - 1), Timestamp(0));
    }

    #[test]
    fn powers_of_two() {
        assert_eq!(Clock::new(0x80, 0).time(2), Timestamp(2_000_000_000));
        assert_eq!(Clock::new(0x81, 0).time(3), Timestamp(1_500_000_000));
        assert_eq!(
            Clock::new(0x80 | 32, 0).time(1 << 31),
            Timestamp(500_000_000)
        );
        assert_eq!(Clock::new(0xff, 0).time(u64::MAX), Timestamp(0));
    }

    #[test]
    fn offsets_saturate() {
        assert_eq!(Clock::new(6, 10).time(1), Timestamp(10_000_001_000));
        assert_eq!(
            Clock::new(6, -10).time(11_000_000),
            Timestamp(1_000_000_000)
        );
        assert_eq!(Clock::new(6, i64::MIN).time(1), Timestamp(0));
        assert_eq!(Clock::new(6, i64::MAX).time(1), Timestamp(u64::MAX));
    }
}
