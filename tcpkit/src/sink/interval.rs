//! The counts of one interval at a time, for `--interval`.
//!
//! Reads the events of a printing sink, makes the summary of each interval of capture time that
//! has passed.

use std::time::Duration;

use super::stats::summary::{PortSummary, Summary};
use super::stats::{Rules, Stats};
use crate::event::Event;
use crate::source::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// Counts since the last interval ended.
#[derive(Debug)]
pub struct Interval {
    every: u64,
    next: Option<u64>,
    rules: Rules,
    asked: Vec<u16>,
    stats: Stats,
}

impl Interval {
    /// Counts by `rules` over intervals of `every`, always telling the ports `asked` for.
    pub fn new(every: Duration, rules: Rules, asked: Vec<u16>) -> Self {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
        let stats = Stats::new(rules, &asked);
        Self {
            every,
            next: None,
            rules,
            asked,
            stats,
        }
    }

    /// Counts an event; at a tick that passes the end of an interval, its end and its ports. An
    /// interval is looked at once a second of capture time.
    pub fn event(&mut self, event: &Event<'_>) -> Option<(Timestamp, Vec<PortSummary>)> {
        match event {
            Event::Exchange(exchange) => self.stats.exchange(exchange),
            Event::Unanswered(unanswered) => {
                let port = unanswered.endpoints.server.port();
                let service = self.stats.service(port, unanswered.protocol);
                self.stats.unanswered(service, unanswered);
            }
            Event::Tick(now) => return self.tick(*now),
            _ => {}
        }
        None
    }

    fn tick(&mut self, now: Timestamp) -> Option<(Timestamp, Vec<PortSummary>)> {
        // Ticks come a little after their second has begun, now sooner, now later: their seconds are compared.
        let second = now.0 / SECOND * SECOND;
        // The first one comes up to a second after the beginning.
        let first = second.saturating_sub(SECOND).saturating_add(self.every);
        let latest = second.saturating_add(SECOND).saturating_add(self.every);
        // Later than that only where the clock was set back.
        let next = self.next.map_or(first, |next| next.min(latest));
        self.next = Some(next);
        let passed = second.checked_sub(next)? / self.every + 1;
        self.next = Some(next.saturating_add(passed.saturating_mul(self.every)));
        let stats = std::mem::replace(&mut self.stats, Stats::new(self.rules, &self.asked));
        Some((now, Summary::new(&stats, self.asked.len()).ports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the ticks, at these milliseconds, that end an interval of so many.
    fn ends(every: u64, ticks: &[u64]) -> Vec<u64> {
        let mut interval =
            Interval::new(Duration::from_millis(every), Rules::default(), vec![6379]);
        let mut told = ticks.to_vec();
        told.retain(|tick| {
            let tick = Event::Tick(Timestamp(tick * 1_000_000));
            interval.event(&tick).is_some()
        });
        told
    }

    #[test]
    fn a_tick_that_comes_early_ends_its_interval_too() {
        let ticks = [1500, 2090, 3040, 4070, 5010, 6500, 10_010, 11_000];
        assert_eq!(ends(1000, &ticks), ticks);
        assert_eq!(ends(2000, &ticks), [2090, 4070, 6500, 10_010]);
        assert_eq!(ends(1500, &ticks), [2090, 3040, 5010, 6500, 10_010, 11_000]);
        assert_eq!(ends(10, &ticks), ticks);
    }
}
