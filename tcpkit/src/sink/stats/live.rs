//! The account of a live run: what the engine saw, matched, delivered and lost, and what outputs did not take.

use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::snapshot::{Ring, Stage};
use crate::source::live::{Counters, RingFill};
use crate::source::shown;

/// A live run's own account, by stage.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Live {
    /// What captured, and where.
    pub engine: String,
    /// Frames that passed the hooks; null where the engine cannot tell.
    pub seen: Option<u64>,
    /// Frames of what was asked for.
    pub matched: u64,
    /// Frames that were handed on.
    pub delivered: u64,
    /// Frames that were lost on the way, by cause.
    #[serde(serialize_with = "by_cause")]
    pub lost: Vec<(&'static str, u64)>,
    /// Delivered frames of which less was kept than was asked for.
    pub cut: u64,
    /// Frames that the engine could not parse and left out.
    pub unparsed: u64,
    /// The rings between kernel and reader, where the engine can look into them.
    pub rings: Vec<Ring>,
    /// Lines of the report that did not fit into its queue.
    pub lines_dropped: u64,
    /// Frames to be saved that did not fit into their queue.
    pub saves_dropped: u64,
}

impl Live {
    /// The account of an engine.
    pub fn new(engine: String, counters: Counters) -> Self {
        Self {
            engine,
            seen: (counters.seen > 0).then_some(counters.seen),
            matched: counters.matched,
            delivered: counters.delivered,
            lost: counters.lost,
            cut: counters.cut,
            unparsed: counters.unparsed,
            rings: counters.rings.into_iter().map(Ring::from).collect(),
            ..Self::default()
        }
    }

    /// Frames that were lost on the way, for whatever cause.
    pub fn lost_frames(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }

    /// What passed on the way from the interface, and what was lost there: in the kernel, where headers were not
    /// parsed; in the buffer between kernel and reader, where there was no room.
    pub fn stages(&self) -> Vec<Stage> {
        let stage = |name: &str, passed, lost| Stage {
            name: name.to_owned(),
            passed,
            lost,
        };
        vec![
            stage("kernel", self.matched, self.unparsed),
            stage("buffer", self.delivered, self.lost_frames()),
        ]
    }

    /// Writes it for people: the stages, then only what is not zero.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        // It names interfaces, and those may hold any byte.
        write!(out, "engine: {}: ", shown::sentence(&self.engine))?;
        if let Some(seen) = self.seen {
            write!(out, "{seen} frames seen, ")?;
        }
        writeln!(
            out,
            "{} frames matched, {} delivered, {} lost",
            self.matched,
            self.delivered,
            self.lost_frames()
        )?;
        let causes = self.lost.iter().map(|(cause, count)| (*count, *cause));
        write_counts(out, "lost", causes)?;
        let kept = [
            (self.cut, "frames cut"),
            (self.unparsed, "frames not parsed"),
        ];
        write_counts(out, "engine", kept.into_iter())?;
        self.write_rings(out)?;
        let dropped = [
            (self.lines_dropped, "lines of the report dropped"),
            (self.saves_dropped, "frames not saved"),
        ];
        write_counts(out, "output too slow", dropped.into_iter())
    }

    fn write_rings(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(fullest) = self.fullest() else {
            return Ok(());
        };
        let (size, highest) = (fullest.size_bytes, fullest.highest_fill_bytes);
        writeln!(
            out,
            "  rings: {} of {} KiB, the fullest held {} KiB at most ({} %)",
            self.rings.len(),
            size >> 10,
            highest.div_ceil(1 << 10),
            (highest * 100).checked_div(size).unwrap_or(0),
        )
    }

    /// The ring that was nearest to losing, of rings of one size.
    pub fn fullest(&self) -> Option<&Ring> {
        self.rings.iter().max_by_key(|ring| ring.highest_fill_bytes)
    }
}

impl From<RingFill> for Ring {
    fn from(fill: RingFill) -> Self {
        Self {
            size_bytes: fill.size,
            highest_fill_bytes: fill.highest,
        }
    }
}

fn write_counts(
    out: &mut dyn Write,
    name: &str,
    counts: impl Iterator<Item = (u64, &'static str)>,
) -> io::Result<()> {
    let told = counts.filter(|(count, _)| *count > 0);
    let told: Vec<_> = told
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {name}: {}", told.join(", "))
}

fn by_cause<S: Serializer>(lost: &[(&'static str, u64)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(lost.len()))?;
    for (cause, count) in lost {
        map.serialize_entry(cause, count)?;
    }
    map.end()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_ring_is_told() {
        let fill = |highest| RingFill {
            size: 2 << 20,
            highest,
        };
        let counters = Counters {
            rings: vec![fill(4096), fill((1 << 20) + 1), fill(0)],
            ..Counters::default()
        };
        let live = Live::new("TC (TCX) on lo".to_owned(), counters);
        let mut out = Vec::new();
        live.write_text(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = "\n  rings: 3 of 2048 KiB, the fullest held 1025 KiB at most (50 %)\n";
        assert!(text.ends_with(line), "{text}");
        let json = serde_json::to_value(&live).unwrap();
        assert_eq!(json["rings"][0]["size_bytes"], 2 << 20);
        assert_eq!(json["rings"][0]["highest_fill_bytes"], 4096);
    }

    #[test]
    fn what_is_not_zero_is_told() {
        let counters = Counters {
            matched: 10,
            delivered: 7,
            lost: vec![("buffer full", 3), ("interface", 0)],
            ..Counters::default()
        };
        let mut live = Live::new("libpcap on lo".to_owned(), counters);
        live.lines_dropped = 4;
        let mut out = Vec::new();
        live.write_text(&mut out).unwrap();
        let expected = "engine: libpcap on lo: 10 frames matched, 7 delivered, 3 lost\n  \
                        lost: 3 buffer full\n  output too slow: 4 lines of the report dropped\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let json = serde_json::to_value(&live).unwrap();
        assert_eq!(json["lost"]["buffer full"], 3);
        assert!(json["seen"].is_null());
    }
}
