//! Writes times of day, and asks the time zone once a second.

use jiff::tz::TimeZone;

use super::digits::{push_fixed, six};
use crate::source::Timestamp;
use crate::source::live::Drift;

/// `2018-11-16 18:38:36`.
const LEN: usize = 19;

const SECOND: u64 = 1_000_000_000;

/// Turns [`Timestamp`]s into the text of a date and time of one zone.
///
/// Reports are nearly sorted, so the texts of the last two seconds are all that is asked for.
#[derive(Debug)]
pub struct Clock {
    zone: TimeZone,
    drift: Drift,
    separator: u8,
    cache: [(u64, [u8; LEN]); 2],
}

impl Clock {
    /// A clock of this zone, with `separator` between date and time.
    pub fn new(zone: TimeZone, separator: u8) -> Self {
        // No timestamp has so many seconds: nothing is cached yet.
        Self {
            zone,
            drift: Drift::default(),
            separator,
            cache: [(u64::MAX, [b' '; LEN]); 2],
        }
    }

    /// Shows wall time, for frames whose clock is another one.
    pub fn set_drift(&mut self, drift: Drift) {
        self.drift = drift;
    }

    /// The wall time of a frame's.
    pub fn wall(&self, time: Timestamp) -> Timestamp {
        self.drift.wall(time)
    }

    /// Appends the time in whole seconds.
    pub fn push_seconds(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        self.push_wall_seconds(self.wall(time), out);
    }

    fn push_wall_seconds(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        out.extend_from_slice(self.wall_seconds(time));
    }

    #[inline]
    fn wall_seconds(&mut self, time: Timestamp) -> &[u8; LEN] {
        let second = time.0 / SECOND;
        let index = (second & 1) as usize;
        if self.cache[index].0 != second {
            self.cache[index] = (second, self.text(second));
        }
        &self.cache[index].1
    }

    /// Appends the time in microseconds.
    pub fn push_micros(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        // Every line begins so: put together first, it is appended in one go.
        const POINT: usize = LEN + 1;
        let time = self.wall(time);
        let (mut text, start) = ([b'.'; POINT + 8], out.len());
        text[..LEN].copy_from_slice(self.wall_seconds(time));
        text[POINT..].copy_from_slice(&six((time.0 % SECOND) / 1_000));
        out.extend_from_slice(&text);
        out.truncate(start + POINT + 6);
    }

    /// Appends the time in nanoseconds.
    pub fn push_nanos(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let time = self.wall(time);
        self.push_wall_seconds(time, out);
        out.push(b'.');
        push_fixed(out, time.0 % SECOND, 9);
    }

    fn text(&self, second: u64) -> [u8; LEN] {
        // 64 bits of nanoseconds end in 2554, and jiff's years only in 9999.
        let instant = i64::try_from(second)
            .ok()
            .and_then(|s| jiff::Timestamp::from_second(s).ok());
        let local = self.zone.to_datetime(instant.unwrap_or_default());
        let mut text = Vec::with_capacity(LEN);
        let fields = [
            (local.year().unsigned_abs(), 4, b'-'),
            (local.month().unsigned_abs().into(), 2, b'-'),
            (local.day().unsigned_abs().into(), 2, self.separator),
            (local.hour().unsigned_abs().into(), 2, b':'),
            (local.minute().unsigned_abs().into(), 2, b':'),
            (local.second().unsigned_abs().into(), 2, b' '),
        ];
        for (value, width, after) in fields {
            push_fixed(&mut text, u64::from(value), width);
            text.push(after);
        }
        text.first_chunk().copied().unwrap_or([b' '; LEN])
    }
}
