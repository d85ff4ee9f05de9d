//! Lines about loss, when it happens, and not more often than somebody can read.

use crate::limits::LOSS_LINE;
use crate::sink::stats::live::Live;
use crate::source::Timestamp;

/// Remembers what was told.
#[derive(Debug, Default)]
pub(super) struct LossWatch {
    told: Vec<(&'static str, u64)>,
    last: Option<Timestamp>,
}

impl LossWatch {
    /// What was lost since the last line, if it is time for another.
    pub(super) fn look(&mut self, now: Timestamp, live: &Live) -> Option<String> {
        if self.last.is_some_and(|last| !now.is_past(last, LOSS_LINE)) {
            return None;
        }
        let counts = causes(live);
        let new: Vec<String> = counts
            .iter()
            .filter_map(|&(what, count)| {
                let more = count.saturating_sub(self.told(what));
                (more > 0).then(|| format!("{more} {what} ({count} in all)"))
            })
            .collect();
        if new.is_empty() {
            return None;
        }
        let since = self.last.map_or(0, |last| now.since(last) / 1_000_000_000);
        self.told = counts;
        self.last = Some(now);
        Some(match since {
            0 => format!("lost: {}", new.join(", ")),
            since => format!("lost in {since} s: {}", new.join(", ")),
        })
    }

    fn told(&self, what: &str) -> u64 {
        let told = self.told.iter().find(|(name, _)| *name == what);
        told.map_or(0, |(_, count)| *count)
    }
}

fn causes(live: &Live) -> Vec<(&'static str, u64)> {
    let outputs = [
        (
            "lines of the report, which is not read fast enough",
            live.lines_dropped,
        ),
        ("frames to be saved", live.saves_dropped),
    ];
    live.lost.iter().copied().chain(outputs).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn live(lost: u64, lines_dropped: u64) -> Live {
        Live {
            lost: vec![("frames, buffer full", lost)],
            lines_dropped,
            ..Live::default()
        }
    }

    #[test]
    fn loss_is_told_at_once_and_then_at_most_every_few_seconds() {
        let mut watch = LossWatch::default();
        let at = |seconds: u64| Timestamp::new(1_700_000_000 + seconds, 0);
        assert_eq!(watch.look(at(0), &live(0, 0)), None);
        let line = watch.look(at(1), &live(7, 0)).unwrap();
        assert_eq!(line, "lost: 7 frames, buffer full (7 in all)");
        assert_eq!(watch.look(at(2), &live(9, 0)), None);
        let line = watch.look(at(11), &live(10, 5)).unwrap();
        assert!(line.starts_with("lost in 10 s: 3 frames, buffer full (10 in all), 5 lines"));
        assert_eq!(watch.look(at(30), &live(10, 5)), None);
    }
}
