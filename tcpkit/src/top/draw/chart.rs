//! Charts over time: a heat map of latencies with the span's distribution beside it, quantiles, requests a second.
//!
//! Shades are characters, so that they show in any terminal, light, dark or without colours. The newest column is at the
//! right edge.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span};

use super::{Picture, dim};
use crate::sink::stats::BOUNDS;
use crate::sink::stats::snapshot::Latency;
use crate::top::history::Shown;
use crate::top::units;

/// From few to many.
const SHADES: [&str; 4] = ["░", "▒", "▓", "█"];

/// From low to high.
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Rows of the heat map where there is room, a bucket each.
const BUCKETS: u16 = BOUNDS.len() as u16 + 1;

/// Rows under the heat map: three quantiles and the rate.
const LINES: u16 = 4;

/// Cells for the names of rows at the left, and for the distribution at the right.
const NAMES: u16 = 18;
const COUNTS: u16 = 24;

/// Rows that the charts take of so many: a bucket a row, two buckets a row, the lines alone, or none.
pub(super) fn height(room: u16) -> u16 {
    [BUCKETS + LINES, BUCKETS.div_ceil(2) + LINES, LINES]
        .into_iter()
        .find(|height| *height <= room)
        .unwrap_or(0)
}

pub(super) fn draw(picture: &Picture<'_>, frame: &mut Frame<'_>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let counts = if area.width >= 80 { COUNTS } else { 0 };
    let columns = [
        Constraint::Length(NAMES),
        Constraint::Fill(1),
        Constraint::Length(counts),
    ];
    let [names, plot, counts] = Layout::horizontal(columns).areas(area);
    let newest = picture.state.history.newest(picture.state.port);
    let shown: Vec<Option<Shown>> = newest.take(usize::from(plot.width)).collect();
    let heat = area.height - LINES;
    if heat > 0 {
        let buckets = usize::from(BUCKETS.div_ceil(heat));
        let cut = |area: Rect| Rect {
            height: heat,
            ..area
        };
        heat_map(
            picture,
            frame,
            [names, plot, counts].map(cut),
            &shown,
            buckets,
        );
    }
    let under = |area: Rect| Rect {
        y: area.y + heat,
        height: LINES,
        ..area
    };
    lines(frame, under(names), under(plot), &shown);
}

/// Rows of so many buckets, the slowest on top.
fn heat_map(
    picture: &Picture<'_>,
    frame: &mut Frame<'_>,
    [names, plot, counts]: [Rect; 3],
    shown: &[Option<Shown>],
    buckets: usize,
) {
    let sums = |latencies: &[u64]| -> Vec<u64> {
        let rows = latencies.chunks(buckets);
        rows.map(|row| row.iter().fold(0, |sum, count| count.saturating_add(sum)))
            .collect()
    };
    let columns: Vec<Option<Vec<u64>>> = shown
        .iter()
        .map(|column| column.as_ref().map(|column| sums(&column.latencies)))
        .collect();
    let most = columns
        .iter()
        .flatten()
        .flatten()
        .copied()
        .max()
        .unwrap_or(0);
    let whole = sums(&picture.all.latencies);
    let rows = names.height;
    for row in 0..rows {
        let (place, y) = (usize::from(row), names.y + rows - 1 - row);
        let at = |area: Rect| Rect {
            y,
            height: 1,
            ..area
        };
        let name = name(&picture.snapshot.bounds_ns, place, buckets);
        let name = Line::styled(format!("{name:>16}"), dim());
        frame.render_widget(name, at(names));
        let cells = columns.iter().map(|column| {
            let count = column.as_ref().and_then(|column| column.get(place));
            count.map_or(" ", |count| shade(*count, most))
        });
        frame.render_widget(row_of(cells, plot.width), at(plot));
        distribution(frame, at(counts), &whole, place);
    }
}

/// What a row holds, by its highest bucket.
fn name(bounds: &[u64], row: usize, buckets: usize) -> String {
    let last = (row + 1) * buckets - 1;
    match (bounds.get(last), bounds.last()) {
        (Some(bound), _) => format!("≤ {}", units::bound(*bound)),
        (None, Some(bound)) if buckets == 1 => format!("> {}", units::bound(*bound)),
        // Its lower bucket ends at the last bound, its upper one has no end.
        (None, _) => {
            let below = (row * buckets)
                .checked_sub(1)
                .and_then(|below| bounds.get(below));
            below.map_or_else(String::new, |bound| format!("> {}", units::bound(*bound)))
        }
    }
}

/// Cells from the right edge, newest first.
fn row_of<'a>(cells: impl Iterator<Item = &'a str>, width: u16) -> Line<'static> {
    let newest: Vec<&str> = cells.take(usize::from(width)).collect();
    let empty = " ".repeat(usize::from(width) - newest.len());
    let text: String = std::iter::once(empty.as_str())
        .chain(newest.into_iter().rev())
        .collect();
    Line::from(text).blue()
}

/// One in the most is dark; none at all is empty.
fn shade(count: u64, most: u64) -> &'static str {
    if count == 0 {
        return " ";
    }
    let deep = (count as f64).ln() / (most.max(2) as f64).ln();
    let index = (deep * SHADES.len() as f64) as usize;
    SHADES[index.min(SHADES.len() - 1)]
}

/// A bar and a count: the requests of the span that took so long.
fn distribution(frame: &mut Frame<'_>, area: Rect, whole: &[u64], row: usize) {
    let count = whole.get(row).copied().unwrap_or(0);
    if area.width == 0 {
        return;
    }
    let most = whole.iter().copied().max().unwrap_or(0).max(1);
    let room = area.width.saturating_sub(14);
    let bar = (count as f64 / most as f64 * f64::from(room)).round() as usize;
    let bar = bar.max(usize::from(count > 0));
    let number = if count == 0 { dim() } else { Style::new() };
    let line = Line::from(vec![
        Span::styled(format!("{:>13} ", units::count(count)), number),
        Span::raw("█".repeat(bar)).blue(),
    ]);
    frame.render_widget(line, area);
}

/// A quantile's name, and where it stands.
type Quantile = (&'static str, fn(&Latency) -> u64);

const QUANTILES: [Quantile; 3] = [
    ("max", |told| told.max),
    ("p99", |told| told.p99),
    ("p50", |told| told.p50),
];

/// Three quantiles on one logarithmic scale, and the rate on a linear one.
fn lines(frame: &mut Frame<'_>, names: Rect, plot: Rect, shown: &[Option<Shown>]) {
    let counted = || shown.iter().flatten().filter(|one| one.latency.count > 0);
    let least = counted()
        .map(|one| one.latency.p50)
        .min()
        .unwrap_or(0)
        .max(1);
    let most = counted()
        .map(|one| one.latency.max)
        .max()
        .unwrap_or(0)
        .max(2);
    let scale = |value: u64| {
        let part =
            (value.max(1) as f64 / least as f64).ln() / (most as f64 / least as f64).ln().max(1e-9);
        bar(part)
    };
    let last = shown.first().and_then(Option::as_ref);
    for (row, (name, of)) in QUANTILES.into_iter().enumerate() {
        let seen = |one: &&Shown| one.latency.count > 0;
        let text = last
            .filter(seen)
            .map_or_else(|| "–".to_owned(), |one| units::time(of(&one.latency)));
        let cells = shown.iter().map(|column| {
            let column = column.as_ref().filter(seen);
            column.map_or(" ", |one| scale(of(&one.latency)))
        });
        line(frame, names, plot, row as u16, (name, text), cells);
    }
    let speed = |one: &Shown| one.latency.count as f64 / one.length_ns.max(1) as f64;
    let fastest = shown.iter().flatten().map(speed).fold(0.0, f64::max);
    let text = last.map_or_else(
        || "–".to_owned(),
        |one| units::rate(one.latency.count, one.length_ns),
    );
    let cells = shown.iter().map(|column| match column {
        Some(one) if one.latency.count > 0 => bar(speed(one) / fastest),
        _ => " ",
    });
    line(frame, names, plot, LINES - 1, ("rate", text), cells);
}

fn bar(part: f64) -> &'static str {
    let index = (part.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize;
    BARS[index.min(BARS.len() - 1)]
}

fn line<'a>(
    frame: &mut Frame<'_>,
    names: Rect,
    plot: Rect,
    row: u16,
    (name, value): (&str, String),
    cells: impl Iterator<Item = &'a str>,
) {
    let at = |area: Rect| Rect {
        y: area.y + row,
        height: 1,
        ..area
    };
    let name = Span::styled(format!("{name:<5}"), dim());
    let label = Line::from(vec![name, Span::raw(format!("{value:>11}"))]);
    frame.render_widget(label, at(names));
    frame.render_widget(row_of(cells, plot.width), at(plot));
}
