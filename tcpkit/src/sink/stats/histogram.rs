//! Log-linear latency buckets, cheap enough for every exchange.
//!
//! Each power of two is split into 64 equal parts, so a value is known within 1/64 of itself and
//! a quantile, taken at the middle of its bucket, within 0.8 %. Values are nanoseconds.

use hdrhistogram::Histogram as Summary;

use super::snapshot::Latency;

/// Bits of a value that are told apart after its leading one.
const BITS: u32 = 6;
const PARTS: usize = 1 << BITS;
/// Latencies up to 2^43 ns, some two and a half hours; longer ones fall into the last bucket.
const POWERS: usize = 43 - BITS as usize;
/// How many buckets there are.
pub const BUCKETS: usize = PARTS * (POWERS + 1);

/// Counts of latencies in nanoseconds, with their sum and largest. Only the powers of two that occur take memory: of a
/// command they are few, and there may be one of these for every command of every port.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Where the counts of each power of two are in `rows`, plus one; 0 where it did not occur.
    places: [u8; POWERS + 1],
    rows: Vec<[u64; PARTS]>,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            places: [0; POWERS + 1],
            rows: Vec::new(),
            sum: 0,
            max: 0,
        }
    }
}

/// The bucket that a value falls into.
#[inline(always)]
pub fn bucket(value: u64) -> usize {
    // Of a small value the power is 0, and its bucket itself.
    let power = (63 - (value | PARTS as u64).leading_zeros()) - BITS;
    (power as usize * PARTS + (value >> power) as usize).min(BUCKETS - 1)
}

/// The least value of a bucket.
pub const fn least(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    ((PARTS + bucket % PARTS) as u64) << (bucket / PARTS - 1)
}

/// The middle of a bucket.
pub fn middle(bucket: usize) -> u64 {
    least(bucket) + (1u64 << (bucket / PARTS).saturating_sub(1)) / 2
}

impl Histogram {
    /// Counts one latency.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_at(bucket(value), value);
    }

    /// As [`Histogram::record`], where its bucket is known.
    #[inline(always)]
    pub(super) fn record_at(&mut self, bucket: usize, value: u64) {
        self.row(bucket / PARTS)[bucket % PARTS] += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// The counts of a power of two.
    #[inline(always)]
    fn row(&mut self, power: usize) -> &mut [u64; PARTS] {
        if self.places[power] == 0 {
            self.begin(power);
        }
        &mut self.rows[usize::from(self.places[power]) - 1]
    }

    #[cold]
    #[inline(never)]
    fn begin(&mut self, power: usize) {
        self.rows.reserve_exact(1);
        self.rows.push([0; PARTS]);
        self.places[power] = self.rows.len() as u8;
    }

    /// Buckets that are not empty, in order, with their counts.
    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let rows = self.places.iter().enumerate().filter_map(|(power, place)| {
            let row = self.rows.get(usize::from(*place).checked_sub(1)?)?;
            Some((power * PARTS, row))
        });
        let counts = rows.flat_map(|(first, row)| {
            row.iter()
                .enumerate()
                .map(move |(part, &count)| (first + part, count))
        });
        counts.filter(|(_, count)| *count > 0)
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in other.counts() {
            self.row(bucket / PARTS)[bucket % PARTS] += more;
        }
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.rows.iter().flatten().sum()
    }

    /// Their sum in nanoseconds, exactly.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The largest of them, exactly.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Their average in nanoseconds; 0 where there is none.
    pub fn mean(&self) -> u64 {
        let count = u128::from(self.count());
        self.sum.checked_div(count).unwrap_or(0) as u64
    }

    /// All that it holds, as snapshots tell it.
    pub fn latency(&self) -> Latency {
        let [p50, p90, p99, p999] = self.quantiles([0.5, 0.9, 0.99, 0.999]);
        let counts = self.counts();
        Latency {
            count: self.count(),
            sum: u64::try_from(self.sum).unwrap_or(u64::MAX),
            avg: self.mean(),
            p50,
            p90,
            p99,
            p999,
            max: self.max,
            histogram: counts
                .map(|(bucket, count)| (bucket as u16, count))
                .collect(),
        }
    }

    /// The latencies that the given parts (0 to 1) of all are at or under, within 0.8 %.
    pub fn quantiles<const N: usize>(&self, parts: [f64; N]) -> [u64; N] {
        let Ok(mut summary) = Summary::<u64>::new(3) else {
            return [0; N];
        };
        for (index, count) in self.counts() {
            // The summary resizes itself, so recording cannot fail.
            let _ = summary.record_n(middle(index).min(self.max), count);
        }
        parts.map(|part| summary.value_at_quantile(part).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_in_order_and_hold_their_middle() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(middle(index)), index);
        }
    }

    #[test]
    fn the_least_of_a_bucket_falls_into_it() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(least(index)), index);
            assert!(index == 0 || bucket(least(index) - 1) == index - 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_value_is_within_its_buckets_error(value in 0u64..1 << 42) {
            let middle = middle(bucket(value));
            prop_assert!(middle.abs_diff(value) as f64 <= value as f64 / 128.0 + 1.0);
        }

        #[test]
        fn quantiles_are_within_the_stated_error(
            mut values in prop::collection::vec(1u64..1 << 40, 1..500),
            part in 0.01f64..1.0,
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.record(value));
            values.sort_unstable();
            let rank = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let [told] = histogram.quantiles([part]);
            prop_assert!((told as f64 - exact).abs() <= exact * 0.0095 + 1.0, "{told} {exact}");
            prop_assert_eq!(histogram.count(), values.len() as u64);
        }
    }

    /// There may be one for every command of every port.
    #[test]
    fn what_does_not_occur_takes_no_memory() {
        let mut histogram = Histogram::default();
        for latency in 100_000..130_000 {
            histogram.record(latency);
        }
        let bytes = size_of::<Histogram>() + histogram.rows.capacity() * size_of::<[u64; PARTS]>();
        assert!(bytes <= 700, "{bytes}");
        assert_eq!(histogram.count(), 30_000);
    }

    #[test]
    fn merging_equals_counting_together() {
        let (mut a, mut b, mut both) = (
            Histogram::default(),
            Histogram::default(),
            Histogram::default(),
        );
        for value in 0..1000u64 {
            let histogram = if value % 3 == 0 { &mut a } else { &mut b };
            histogram.record(value * value);
            both.record(value * value);
        }
        a.merge(&b);
        assert!(a.counts().eq(both.counts()));
        assert_eq!((a.sum(), a.max()), (both.sum(), both.max()));
    }
}
