//! The tables: rows of the chosen one, sorted, filtered and scrolled.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Row, Table};

use super::{Picture, dim};
use crate::sink::stats::snapshot::{ClientFigures, Command, Slow};
use crate::top::figures::is;
use crate::top::state::{PANES, Pane};
use crate::top::units;

/// A column: its name, and the width of a terminal from which on it is shown.
struct Head {
    name: &'static str,
    from: u16,
}

const fn head(name: &'static str, from: u16) -> Head {
    Head { name, from }
}

const COMMANDS: &[Head] = &[
    head("command", 0),
    head("protocol", 100),
    head("requests", 0),
    head("a second", 60),
    head("p50", 0),
    head("p90", 110),
    head("p99", 0),
    head("max", 50),
    head("errors", 70),
    head("unanswered", 90),
    head("hits", 120),
];

const SLOWEST: &[Head] = &[
    head("latency", 0),
    head("waited", 80),
    head("command", 0),
    head("key", 100),
    head("answer", 60),
    head("client", 70),
    head("server", 110),
    head("asked", 120),
    head("answered", 120),
    head("at", 0),
];

const CLIENTS: &[Head] = &[
    head("client", 0),
    head("requests", 0),
    head("a second", 60),
    head("average", 0),
    head("max", 50),
    head("errors", 70),
    head("unanswered", 80),
    head("sent", 100),
    head("received", 100),
];

const KEYS: &[Head] = &[
    head("key", 0),
    head("port", 60),
    head("requests", 0),
    head("largest", 0),
    head("command", 70),
];

const HEALTH: &[Head] = &[head("what", 0), head("count", 0)];

const COVERAGE: &[Head] = &[head("what", 0), head("count", 0), head("lost", 0)];

fn heads(pane: Pane) -> &'static [Head] {
    match pane {
        Pane::Commands => COMMANDS,
        Pane::Slowest => SLOWEST,
        Pane::Clients => CLIENTS,
        Pane::Keys => KEYS,
        Pane::Health => HEALTH,
        Pane::Coverage => COVERAGE,
    }
}

/// How many columns a table has.
pub(crate) fn columns(pane: Pane) -> usize {
    heads(pane).len()
}

/// A field: what is written, and what it is sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    text: String,
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    /// Largest first.
    Number(u64),
    /// A to Z.
    Text,
}

fn text(text: &str) -> Field {
    Field {
        text: text.to_owned(),
        by: By::Text,
    }
}

fn number(value: u64, text: String) -> Field {
    Field {
        text,
        by: By::Number(value),
    }
}

fn count(value: u64) -> Field {
    number(value, units::count(value))
}

fn time(value: u64, counted: u64) -> Field {
    match counted {
        0 => number(0, "–".to_owned()),
        _ => number(value, units::time(value)),
    }
}

pub(super) fn draw(picture: &Picture<'_>, frame: &mut Frame<'_>, area: Rect) {
    let heads = heads(picture.state.pane);
    let rows = rows(picture);
    let seen: Vec<usize> = (0..heads.len())
        .filter(|index| heads[*index].from <= area.width)
        .collect();
    let room = usize::from(area.height).saturating_sub(1);
    let from = picture.state.scroll.min(rows.len().saturating_sub(room));
    let shown = &rows[from..rows.len().min(from + room)];
    let sorted = picture.state.sorting[picture.state.pane as usize];
    let header = Row::new(seen.iter().map(|&index| {
        let chosen = sorted.column == Some(index);
        let arrow = match (chosen, sorted.ascending) {
            (false, _) => "",
            (true, false) => "↓",
            (true, true) => "↑",
        };
        let style = if chosen { Style::new().bold() } else { dim() };
        let name = format!("{}{arrow}", heads[index].name);
        cell(Span::styled(name, style), is_text(&rows, index))
    }));
    let lines = shown.iter().map(|row| {
        let fields = seen
            .iter()
            .filter_map(|&index| Some((index, row.get(index)?)));
        Row::new(
            fields.map(|(index, field)| cell(Span::raw(field.text.clone()), is_text(&rows, index))),
        )
    });
    let widths = seen
        .iter()
        .map(|&index| width(heads[index].name, shown, index));
    let table = Table::new(lines.collect::<Vec<_>>(), widths)
        .header(header)
        .column_spacing(2);
    frame.render_widget(table, area);
    if shown.is_empty() && area.height > 1 {
        let line = Rect {
            y: area.y + 1,
            height: 1,
            ..area
        };
        frame.render_widget(Line::styled(nothing(picture), dim()), line);
    }
}

fn nothing(picture: &Picture<'_>) -> &'static str {
    match picture.state.pane {
        _ if !picture.state.filter.is_empty() => "no row holds the text",
        Pane::Keys => "no keys: they are counted with --keys",
        _ => "none in this span",
    }
}

fn cell(span: Span<'static>, is_text: bool) -> Cell<'static> {
    let side = if is_text {
        Alignment::Left
    } else {
        Alignment::Right
    };
    Cell::from(Text::from(Line::from(span)).alignment(side))
}

/// As wide as its widest field, the arrow of the head included; a long text gets what is left.
fn width(name: &str, shown: &[Vec<Field>], index: usize) -> Constraint {
    let fields = shown.iter().filter_map(|row| row.get(index));
    let widest = fields
        .map(|field| Span::raw(field.text.as_str()).width())
        .max();
    let widest = widest.unwrap_or(0).max(name.chars().count() + 1);
    Constraint::Max(u16::try_from(widest).unwrap_or(u16::MAX))
}

fn is_text(rows: &[Vec<Field>], index: usize) -> bool {
    let field = rows.first().and_then(|row| row.get(index));
    field.is_none_or(|field| field.by == By::Text)
}

/// All rows that the filter lets through, in the chosen order.
fn rows(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let mut rows = all_rows(picture);
    let filter = picture.state.filter.to_lowercase();
    rows.retain(|row| {
        let holds = |field: &Field| field.text.to_lowercase().contains(&filter);
        filter.is_empty() || row.iter().any(holds)
    });
    let sorted = picture.state.sorting[picture.state.pane as usize];
    if let Some(column) = sorted.column {
        rows.sort_by(|a, b| {
            let order = compare(a.get(column), b.get(column));
            if sorted.ascending {
                order.reverse()
            } else {
                order
            }
        });
    }
    rows
}

fn compare(a: Option<&Field>, b: Option<&Field>) -> Ordering {
    match (a, b) {
        (
            Some(Field {
                by: By::Number(a), ..
            }),
            Some(Field {
                by: By::Number(b), ..
            }),
        ) => b.cmp(a),
        (Some(a), Some(b)) => a.text.cmp(&b.text),
        _ => Ordering::Equal,
    }
}

fn all_rows(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let (period, chosen) = (picture.period, picture.state.port);
    match picture.state.pane {
        Pane::Commands => {
            let commands = picture.all.commands.iter();
            commands.map(|one| command(one, period.length_ns)).collect()
        }
        Pane::Slowest => {
            let slowest = period
                .slowest
                .iter()
                .filter(|slow| is(chosen, slow.server.port()));
            let zone = TimeZone::system();
            slowest.map(|slow| slowest_row(slow, &zone)).collect()
        }
        Pane::Clients => clients(picture),
        Pane::Keys => keys(picture),
        Pane::Health => health(picture),
        Pane::Coverage => coverage(picture),
    }
}

fn command(one: &Command, length_ns: u64) -> Vec<Field> {
    let (latency, looked) = (&one.latency, one.hits.saturating_add(one.misses));
    vec![
        text(&one.command),
        text(&one.protocol),
        count(one.requests),
        number(one.requests, units::rate(one.requests, length_ns)),
        time(latency.p50, latency.count),
        time(latency.p90, latency.count),
        time(latency.p99, latency.count),
        time(latency.max, latency.count),
        count(one.errors),
        count(one.unanswered),
        number(one.hits, units::share(one.hits, looked)),
    ]
}

fn slowest_row(slow: &Slow, zone: &TimeZone) -> Vec<Field> {
    vec![
        time(slow.latency_ns, 1),
        time(slow.wait_ns, slow.wait_ns),
        text(&slow.command),
        text(slow.key.as_deref().unwrap_or("")),
        text(slow.status.as_deref().unwrap_or("ok")),
        text(&slow.client.to_string()),
        text(&slow.server.to_string()),
        number(slow.request_bytes, units::bytes(slow.request_bytes)),
        number(slow.response_bytes, units::bytes(slow.response_bytes)),
        number(slow.time_ns, clock(slow.time_ns, zone)),
    ]
}

/// A time of day to the millisecond.
fn clock(nanoseconds: u64, zone: &TimeZone) -> String {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => time
            .to_zoned(zone.clone())
            .strftime("%H:%M:%S%.3f")
            .to_string(),
        Err(_) => "–".to_owned(),
    }
}

fn clients(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let period = picture.period;
    let listed = period.clients.iter();
    let mut rows: Vec<_> = listed
        .map(|client| {
            client_row(
                &client.address.to_string(),
                &client.figures,
                period.length_ns,
            )
        })
        .collect();
    let others = &period.other_clients;
    if others.requests > 0 || others.unanswered > 0 {
        rows.push(client_row("others", others, period.length_ns));
    }
    rows
}

fn client_row(name: &str, figures: &ClientFigures, length_ns: u64) -> Vec<Field> {
    let average = figures.latency_sum_ns.checked_div(figures.requests);
    vec![
        text(name),
        count(figures.requests),
        number(figures.requests, units::rate(figures.requests, length_ns)),
        time(average.unwrap_or(0), figures.requests),
        time(figures.latency_max_ns, figures.requests),
        count(figures.errors),
        count(figures.unanswered),
        number(figures.request_bytes, units::bytes(figures.request_bytes)),
        number(figures.response_bytes, units::bytes(figures.response_bytes)),
    ]
}

fn keys(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let (period, chosen) = (picture.period, picture.state.port);
    let none = || number(0, String::new());
    let port = |port: u16| number(u64::from(port), port.to_string());
    let hot = period
        .hot_keys
        .iter()
        .filter(|key| is(chosen, key.port))
        .map(|key| {
            let at_least = if key.error > 0 { "≥ " } else { "" };
            let requests = format!("{at_least}{}", units::count(key.requests));
            vec![
                text(&key.key),
                port(key.port),
                number(key.requests, requests),
                none(),
                text(""),
            ]
        });
    let big = period
        .big_keys
        .iter()
        .filter(|key| is(chosen, key.port))
        .map(|key| {
            let largest = number(key.bytes, units::bytes(key.bytes));
            vec![
                text(&key.key),
                port(key.port),
                none(),
                largest,
                text(&key.command),
            ]
        });
    hot.chain(big).collect()
}

fn health(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let (all, tcp) = (&picture.all, &picture.all.tcp);
    let counts = [
        ("errors", all.errors),
        ("unanswered", all.unanswered),
        ("late answers", all.late),
        ("blocking by design", all.blocking),
        ("one-way messages", all.one_way),
        ("found again after a gap", all.resynced),
        ("ambiguous, not timed", all.ambiguous),
        ("answers without request", all.orphans),
        ("TCP connections open", tcp.open),
        ("TCP connections opened", tcp.opened),
        ("TCP connections closed", tcp.closed),
        ("TCP connections reset", tcp.resets),
        ("TCP SYN sent again", tcp.syn_retries),
        ("TCP retransmissions", tcp.retransmissions),
        ("TCP segments out of order", tcp.out_of_order),
        ("TCP zero windows", tcp.zero_windows),
    ];
    let mut rows: Vec<Vec<Field>> = counts
        .map(|(name, value)| vec![text(name), count(value)])
        .into();
    let shake = &tcp.handshake;
    for (name, value) in [("p50", shake.p50), ("p99", shake.p99), ("max", shake.max)] {
        rows.push(vec![
            text(&format!("TCP handshake {name}")),
            time(value, shake.count),
        ]);
    }
    for status in &all.statuses {
        let name = format!("{} answer {}", status.protocol, status.status);
        rows.push(vec![text(&name), count(status.count)]);
    }
    rows
}

fn coverage(picture: &Picture<'_>) -> Vec<Vec<Field>> {
    let stages = picture.snapshot.stages.iter().map(|stage| {
        let name = format!("{}, since the start", stage.name);
        vec![text(&name), count(stage.passed), count(stage.lost)]
    });
    let rings = picture.snapshot.rings.iter();
    let fullest = rings.max_by_key(|ring| ring.highest_fill_bytes);
    let ring = fullest.map(|ring| {
        let (size, highest) = (ring.size_bytes, ring.highest_fill_bytes);
        let name = format!("fullest ring of {}, at most", units::bytes(size));
        vec![
            text(&name),
            number(highest, units::bytes(highest)),
            number(0, String::new()),
        ]
    });
    let account = &picture.period.coverage;
    let counts = [
        ("frames seen", account.frames),
        ("frames of monitored conversations", account.matched),
        ("frames dropped by the capture", account.dropped),
        ("duplicate frames", account.duplicates),
        ("gaps", account.gaps),
        ("bytes in gaps", account.gap_bytes),
        ("conversations", account.conversations),
        ("conversations joined in the middle", account.joined),
        ("conversations that are opaque", account.opaque),
        ("conversations not recognised", account.unrecognised),
        ("malformed messages", account.malformed),
        ("conversations forgotten for room", account.evicted),
        ("requests forgotten for room", account.overflowed),
    ];
    let none = || number(0, String::new());
    let counts = counts.map(|(name, value)| vec![text(name), count(value), none()]);
    stages.chain(ring).chain(counts).collect()
}

const _: () = assert!(PANES.len() == 6, "the keys 1 to 6 choose a table");
