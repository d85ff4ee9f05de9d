//! The counts of one interval at a time, for `--interval`.
//!
//! Reads the events of a printing sink, makes the summary of each interval of capture time that
//! has passed.

use std::time::Duration;

use super::stats::summary::{PortSummary, Summary};
use super::stats::{Rules, Stats};
use crate::event::Event;
use crate::source::Timestamp;

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
        let next = *self.next.get_or_insert(now.0.saturating_add(self.every));
        if now.0 < next {
            // The clock may have been set back.
            self.next = Some(next.min(now.0.saturating_add(self.every)));
            return None;
        }
        self.next = Some(now.0.saturating_add(self.every));
        let stats = std::mem::replace(&mut self.stats, Stats::new(self.rules, &self.asked));
        Some((now, Summary::new(&stats, self.asked.len()).ports))
    }
}
