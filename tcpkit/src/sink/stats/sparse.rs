//! Latencies counted in the places of a [`Histogram`](super::Histogram), for spans in which few of them occur.
//!
//! [`Dense`] takes them, a place an instruction; what it took comes out as a [`Sparse`], which can be added to
//! others.

use super::histogram::{BUCKETS, bucket, middle};
use super::snapshot::Latency;

/// Counts by place, where most places are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Place and count, places ascending, no count 0.
    counts: Vec<(u16, u64)>,
    sum: u64,
    max: u64,
}

impl Sparse {
    /// Counts one latency, where they are so few that its place may be searched for.
    pub fn record(&mut self, latency: u64) {
        let place = bucket(latency) as u16;
        match self
            .counts
            .binary_search_by_key(&place, |(place, _)| *place)
        {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(1),
            Err(at) => self.counts.insert(at, (place, 1)),
        }
        self.sum = self.sum.saturating_add(latency);
        self.max = self.max.max(latency);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        let ours = std::mem::take(&mut self.counts);
        self.counts.reserve(ours.len().max(other.counts.len()));
        let mut theirs = other.counts.iter().copied().peekable();
        for (place, count) in ours {
            while let Some(before) = theirs.next_if(|(other, _)| *other < place) {
                self.counts.push(before);
            }
            let same = theirs.next_if(|(other, _)| *other == place);
            self.counts.push((
                place,
                count.saturating_add(same.map_or(0, |(_, more)| more)),
            ));
        }
        self.counts.extend(theirs);
    }

    /// How many places are in use.
    pub fn places(&self) -> usize {
        self.counts.len()
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        let counts = self.counts.iter().map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }

    /// What was counted since `before`, which is an earlier state of the same. The largest of it is known where it is
    /// the largest of all, else as its place tells it.
    pub fn since(&self, before: &Self) -> Self {
        let mut old = before.counts.iter().copied().peekable();
        let less = |&(place, count): &(u16, u64)| {
            while old.next_if(|(other, _)| *other < place).is_some() {}
            let was = old.next_if(|(other, _)| *other == place);
            let more = count.saturating_sub(was.map_or(0, |(_, was)| was));
            (more > 0).then_some((place, more))
        };
        let counts: Vec<(u16, u64)> = self.counts.iter().filter_map(less).collect();
        let max = match counts.last() {
            Some(_) if self.max > before.max => self.max,
            Some(&(place, _)) => middle(usize::from(place)).min(self.max),
            None => 0,
        };
        Self {
            counts,
            sum: self.sum.saturating_sub(before.sum),
            max,
        }
    }

    /// With quantiles.
    pub fn latency(&self) -> Latency {
        let count = self.count();
        let [p50, p90, p99, p999] = self.quantiles([0.5, 0.9, 0.99, 0.999]);
        Latency {
            count,
            sum: self.sum,
            avg: self.sum.checked_div(count).unwrap_or(0),
            p50,
            p90,
            p99,
            p999,
            max: self.max,
            histogram: self.counts.clone(),
        }
    }

    /// As [`Histogram::quantiles`](super::Histogram::quantiles), to the last bit: a snapshot has thousands, and a general
    /// histogram for each would cost more than all the rest of it.
    fn quantiles<const N: usize>(&self, parts: [f64; N]) -> [u64; N] {
        let total = self.count() as f64;
        parts.map(|part| {
            let rank = ((part * total).ceil() as u64).max(1);
            let mut reached = 0;
            let place = self.counts.iter().find(|(_, count)| {
                reached = count.saturating_add(reached);
                reached >= rank
            });
            let value = place.map_or(0, |(place, _)| middle(usize::from(*place)).min(self.max));
            rounded_up(value).min(self.max)
        })
    }
}

/// Reads back what a snapshot tells, which may come from another host: places that there are not are left out.
impl From<&Latency> for Sparse {
    fn from(told: &Latency) -> Self {
        let is_place = |(place, count): &(u16, u64)| usize::from(*place) < BUCKETS && *count > 0;
        let mut counts: Vec<(u16, u64)> = told.histogram.iter().copied().filter(is_place).collect();
        counts.sort_by_key(|(place, _)| *place);
        Self {
            counts,
            sum: told.sum,
            max: told.max,
        }
    }
}

/// The largest value that a histogram of three significant digits (2,048 parts) does not tell from this one.
fn rounded_up(value: u64) -> u64 {
    let bits = u64::BITS - value.leading_zeros();
    value | ((1_u64 << bits.saturating_sub(11)) - 1)
}

/// Counts by place, all of them at hand.
#[derive(Clone, Debug)]
pub struct Dense {
    counts: Box<[u32; BUCKETS]>,
    low: u16,
    high: u16,
    sum: u64,
    max: u64,
}

impl Default for Dense {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            low: u16::MAX,
            high: 0,
            sum: 0,
            max: 0,
        }
    }
}

impl Dense {
    /// Counts a latency whose place is known.
    #[inline(always)]
    pub fn record_at(&mut self, place: usize, latency: u64) {
        self.counts[place] = self.counts[place].saturating_add(1);
        self.low = self.low.min(place as u16);
        self.high = self.high.max(place as u16);
        self.sum = self.sum.saturating_add(latency);
        self.max = self.max.max(latency);
    }

    /// What was counted since this was last asked.
    pub fn take(&mut self) -> Sparse {
        let (low, high) = (usize::from(self.low), usize::from(self.high));
        let mut counts = Vec::new();
        if let Some(used) = self.counts.get_mut(low..=high) {
            for (place, count) in used.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                counts.push(((low + place) as u16, u64::from(std::mem::take(count))));
            }
        }
        self.low = u16::MAX;
        self.high = 0;
        Sparse {
            counts,
            sum: std::mem::take(&mut self.sum),
            max: std::mem::take(&mut self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::stats::Histogram;
    use crate::sink::stats::histogram::bucket;
    use proptest::prelude::*;

    fn sparse(values: &[u64]) -> Sparse {
        let mut dense = Dense::default();
        for &value in values {
            dense.record_at(bucket(value), value);
        }
        dense.take()
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            one in prop::collection::vec(1u64..1 << 40, 0..300),
            two in prop::collection::vec(1u64..1 << 40, 0..300),
        ) {
            let mut merged = sparse(&one);
            merged.merge(&sparse(&two));
            prop_assert_eq!(merged, sparse(&[one, two].concat()));
        }

        #[test]
        fn quantiles_are_those_of_the_histogram(values in prop::collection::vec(1u64..1 << 40, 1..300)) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|&value| histogram.record(value));
            let told = sparse(&values).latency();
            let expected = histogram.quantiles([0.5, 0.9, 0.99, 0.999]);
            prop_assert_eq!([told.p50, told.p90, told.p99, told.p999], expected);
            prop_assert_eq!((told.count, told.max), (histogram.count(), histogram.max()));
            prop_assert_eq!((u128::from(told.sum), told.avg), (histogram.sum(), histogram.mean()));
        }
    }

    #[test]
    fn what_a_snapshot_tells_is_read_back() {
        let (old, new) = (
            sparse(&[5000, 70_000]),
            sparse(&[5000, 70_000, 70_100, 900]),
        );
        assert_eq!(Sparse::from(&new.latency()), new);
        let since = new.since(&old).latency();
        assert_eq!((since.count, since.sum), (2, 71_000));
        assert_eq!(since.max, 70_100);
        assert_eq!(old.since(&old).latency(), Latency::default());
        let foreign = Latency {
            sum: u64::MAX,
            max: u64::MAX,
            histogram: vec![(u16::MAX, 1), (9, u64::MAX), (3, u64::MAX), (9, 1)],
            ..Latency::default()
        };
        let mut sum = Sparse::from(&foreign);
        sum.merge(&Sparse::from(&foreign));
        assert_eq!(sum.latency().count, u64::MAX, "nothing overflows");
    }

    #[test]
    fn what_was_taken_is_not_told_again() {
        let mut dense = Dense::default();
        dense.record_at(bucket(5000), 5000);
        assert_eq!(dense.take().count(), 1);
        assert_eq!(dense.take(), Sparse::default());
        dense.record_at(bucket(7), 7);
        let second = dense.take().latency();
        assert_eq!((second.count, second.max, second.sum), (1, 7, 7));
    }
}
