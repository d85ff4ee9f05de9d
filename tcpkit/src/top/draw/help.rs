//! What the keys do.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

const KEYS: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    ("p, P", "next, previous port; all"),
    ("t, T", "next, previous span of time"),
    ("Tab, 1 to 6", "which table"),
    ("← →", "sort by another column"),
    ("r", "turn the order around"),
    ("o", "the order that it came in"),
    ("/", "show only rows with a text"),
    ("Esc", "show all rows"),
    ("↑ ↓ PgUp PgDn", "scroll"),
    ("space", "stop the picture, go on"),
    ("?, h", "this help; any key closes it"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let rows = KEYS
        .iter()
        .map(|(key, what)| Line::from(format!(" {key:<14} {what}")));
    let lines: Vec<Line<'_>> = rows.collect();
    let (width, height) = (50, lines.len() as u16 + 2);
    let [row] = Layout::vertical([Constraint::Max(height)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    let [place] = Layout::horizontal([Constraint::Max(width)])
        .flex(ratatui::layout::Flex::Center)
        .areas(row);
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" keys ")),
        place,
    );
}
