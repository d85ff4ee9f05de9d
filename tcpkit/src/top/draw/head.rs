//! The first lines: whose figures, how fresh, and the figures that say most.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span, Text};

use super::{Picture, dim};
use crate::sink::stats::snapshot::{self, Snapshot};
use crate::top::state::State;
use crate::top::units;

/// Cells that a tile takes.
const TILE: u16 = 12;

pub(super) fn title(state: &State) -> Line<'static> {
    let port = state
        .port
        .map_or_else(|| "all".to_owned(), |port| port.to_string());
    let (word, style) = condition(state);
    Line::from(vec![
        Span::raw("tcpkit top ").bold(),
        Span::raw(format!("{}  ", state.title)),
        Span::styled(word, style),
        Span::styled("  port ", dim()),
        Span::raw(port).bold(),
        Span::styled("  span ", dim()),
        Span::raw(span(state.span)).bold(),
    ])
}

fn condition(state: &State) -> (&'static str, Style) {
    let ended = |snapshot: &Snapshot| snapshot.ended;
    match &state.snapshot {
        _ if state.paused => ("paused", Style::new().reversed()),
        _ if state.trouble.is_some() => ("no answer", Style::new().red()),
        None => ("waiting", dim()),
        Some(snapshot) if ended(snapshot) => ("ended", Style::new().yellow()),
        Some(_) => ("live", Style::new().green()),
    }
}

fn span(span: snapshot::Span) -> &'static str {
    match span {
        snapshot::Span::Start => "since the start",
        snapshot::Span::TenSeconds => "10 s",
        snapshot::Span::Minute => "1 min",
        snapshot::Span::FiveMinutes => "5 min",
    }
}

/// As many figures as there is room for, the ones that say most first.
pub(super) fn tiles(picture: &Picture<'_>, frame: &mut Frame<'_>, area: Rect) {
    let tiles = figures(picture);
    let room = usize::from(area.width / TILE).min(tiles.len());
    let places = Layout::horizontal(vec![Constraint::Length(TILE); room]).split(area);
    for ((name, value, bad), place) in tiles.into_iter().zip(places.iter()) {
        let value = if bad {
            Line::from(value).red().bold()
        } else {
            Line::from(value).bold()
        };
        let text = Text::from(vec![Line::styled(name, dim()), value]);
        frame.render_widget(text, *place);
    }
}

fn figures(picture: &Picture<'_>) -> Vec<(String, String, bool)> {
    let all = &picture.all;
    let some = |value| match all.requests {
        0 => "–".to_owned(),
        _ => units::time(value),
    };
    let tile = |name: &str, value| (name.to_owned(), value, false);
    let alarm = |name: String, count: u64| (name, units::count(count), count > 0);
    let latency = &all.latency;
    let mut tiles = vec![
        tile("requests", units::count(all.requests)),
        tile(
            "a second",
            units::rate(all.requests, picture.period.length_ns),
        ),
        tile("p50", some(latency.p50)),
        tile("p99", some(latency.p99)),
        tile("max", some(latency.max)),
        alarm("errors".to_owned(), all.errors),
        alarm("unanswered".to_owned(), all.unanswered),
        tile("p90", some(latency.p90)),
        tile("average", some(latency.avg)),
    ];
    if let Some(threshold) = picture.snapshot.threshold_ns {
        tiles.insert(7, alarm(format!("≥ {}", units::bound(threshold)), all.slow));
    }
    tiles
}
