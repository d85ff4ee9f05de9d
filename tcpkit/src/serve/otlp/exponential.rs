//! Exponential histograms, base 2, of the histograms that a snapshot holds.
//!
//! Reads [`Latency`], makes the buckets of OTLP's `ExponentialHistogramDataPoint`. Every place of ours goes whole into
//! the bucket that its middle falls into, so counts add up exactly; quantiles are as good as both are narrow.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

use crate::sink::stats::histogram::middle;
use crate::sink::stats::snapshot::Latency;

/// Each power of two is split into `2^SCALE` buckets: half of one is 0.27 %. With the 0.8 % of our own places a
/// quantile is within 1.1 %. Twice as many buckets would bring 0.13 % and messages of twice the size.
pub(super) const SCALE: i32 = 7;

/// How many latencies were 0, and the buckets of the others, in a unit of which `scale` of theirs are one.
pub(super) fn buckets(latency: &Latency, scale: f64) -> (u64, Buckets) {
    let places = latency.histogram.iter();
    let (zeros, others): (Vec<_>, Vec<_>) = places.copied().partition(|(place, _)| *place == 0);
    let zeros = zeros.iter().map(|(_, count)| count).sum();
    let offset = others.first().map_or(0, |(place, _)| index(*place, scale));
    let mut bucket_counts = Vec::new();
    // Places ascend, and so do their buckets.
    for (place, count) in others {
        let bucket = usize::try_from(index(place, scale) - offset).unwrap_or_default();
        if bucket_counts.len() <= bucket {
            bucket_counts.resize(bucket + 1, 0);
        }
        bucket_counts[bucket] += count;
    }
    let buckets = Buckets {
        offset,
        bucket_counts,
    };
    (zeros, buckets)
}

/// The bucket that a place's middle falls into: bucket `i` holds what is over `base^i` and at most `base^(i+1)`,
/// with `base = 2^(2^-SCALE)` (OpenTelemetry's data model, "Exponential Buckets").
fn index(place: u16, scale: f64) -> i32 {
    let size = middle(usize::from(place)) as f64 / scale;
    (size.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::families::SECOND;
    use crate::sink::stats::histogram::{BUCKETS, bucket};
    use proptest::prelude::*;

    /// The middle of a bucket, in nanoseconds.
    fn value(index: i32) -> f64 {
        let power = |index: i32| (f64::from(index) / f64::from(1 << SCALE)).exp2() * SECOND;
        f64::midpoint(power(index), power(index + 1))
    }

    fn latency(values: &[u64]) -> Latency {
        let mut counts = std::collections::BTreeMap::new();
        for &value in values {
            *counts.entry(bucket(value) as u16).or_insert(0) += 1;
        }
        Latency {
            count: values.len() as u64,
            histogram: counts.into_iter().collect(),
            ..Latency::default()
        }
    }

    #[test]
    fn buckets_ascend_with_places() {
        for place in 2..BUCKETS as u16 {
            assert!(index(place, SECOND) >= index(place - 1, SECOND), "{place}");
        }
    }

    #[test]
    fn the_longest_range_is_bounded() {
        let (_, buckets) = buckets(&latency(&[1, u64::MAX]), SECOND);
        assert_eq!(
            buckets.bucket_counts.len(),
            (index(BUCKETS as u16 - 1, SECOND) - index(1, SECOND) + 1) as usize
        );
        assert!(buckets.bucket_counts.len() <= 43 << SCALE);
    }

    proptest! {
        #[test]
        fn counts_are_exact_and_quantiles_within_the_stated_error(
            mut values in prop::collection::vec(0u64..1 << 40, 1..400),
            part in 0.01f64..1.0,
        ) {
            let (zeros, buckets) = buckets(&latency(&values), SECOND);
            let total = zeros + buckets.bucket_counts.iter().sum::<u64>();
            prop_assert_eq!(total, values.len() as u64);
            values.sort_unstable();
            let rank = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len());
            let mut reached = zeros;
            let reaches = |count: &u64| { reached += count; reached >= rank as u64 };
            let told = match zeros >= rank as u64 {
                true => 0.0,
                false => {
                    let place = buckets.bucket_counts.iter().position(reaches);
                    value(buckets.offset + place.map_or(0, |place| place as i32))
                }
            };
            let exact = values[rank - 1] as f64;
            prop_assert!((told - exact).abs() <= exact * 0.011 + 1.0, "{} {}", told, exact);
        }
    }
}
