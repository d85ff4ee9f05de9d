//! The picture: a function of the state and the room that there is.

mod chart;
mod head;
mod help;
mod table;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span};

use super::figures::figures;
use super::state::{PANES, Pane, State};
use crate::sink::stats::snapshot::{Period, Port, Snapshot};

pub(super) use table::columns;

/// Less room than this holds nothing.
const LEAST: (u16, u16) = (40, 8);

/// Rows of the table, its head included, that the charts leave.
const TABLE: u16 = 8;

/// What is drawn of a snapshot: the chosen figures of the chosen period.
struct Picture<'a> {
    state: &'a State,
    snapshot: &'a Snapshot,
    period: &'a Period,
    all: Port,
}

/// Draws everything.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("{} × {} is too small", area.width, area.height);
        frame.render_widget(Line::from(text), area);
        return;
    }
    let [first, last] = [1, 1].map(Constraint::Length);
    let [top, middle, bottom] = Layout::vertical([first, Constraint::Fill(1), last]).areas(area);
    frame.render_widget(head::title(state), top);
    frame.render_widget(foot(state), bottom);
    match (state.snapshot.as_deref(), state.period()) {
        (Some(snapshot), Some(period)) => {
            let picture = Picture {
                state,
                snapshot,
                period,
                all: figures(period, state.port),
            };
            picture.draw(frame, middle);
        }
        _ => frame.render_widget(Line::from(waiting(state)), middle),
    }
    if state.help {
        help::draw(frame, area);
    }
}

fn waiting(state: &State) -> String {
    let trouble = state.trouble.as_ref();
    trouble.map_or_else(|| "waiting for figures".to_owned(), Clone::clone)
}

impl Picture<'_> {
    fn draw(&self, frame: &mut Frame<'_>, area: Rect) {
        let chart = chart::height(area.height.saturating_sub(2 + TABLE));
        let rows = [2, chart, 1].map(Constraint::Length);
        let [tiles, charts, tabs, table] =
            Layout::vertical([rows[0], rows[1], rows[2], Constraint::Fill(1)]).areas(area);
        head::tiles(self, frame, tiles);
        chart::draw(self, frame, charts);
        frame.render_widget(self.tabs(usize::from(tabs.width)), tabs);
        table::draw(self, frame, table);
    }

    /// The panes and their keys; in a terminal too narrow for all of it, the names of others than the chosen one are
    /// left out.
    fn tabs(&self, width: usize) -> Line<'static> {
        let line = |names: bool| {
            let panes = PANES.into_iter().enumerate();
            let spans = panes.map(|(place, pane)| match (pane == self.state.pane, names) {
                (true, _) => Span::from(tab(place, pane)).reversed(),
                (false, true) => Span::styled(tab(place, pane), dim()),
                (false, false) => Span::styled(format!(" {} ", place + 1), dim()),
            });
            Line::from_iter(spans)
        };
        let whole = line(true);
        if whole.width() <= width {
            whole
        } else {
            line(false)
        }
    }
}

fn tab(place: usize, pane: Pane) -> String {
    format!(" {} {} ", place + 1, pane.name())
}

/// The last line: what is wrong, what is typed, what was told last, or the keys.
fn foot(state: &State) -> Line<'static> {
    if state.typing {
        return Line::from(format!("/{}▏ Enter keeps it, Esc drops it", state.filter));
    }
    if let Some(trouble) = state.trouble.as_ref().filter(|_| state.snapshot.is_some()) {
        return Line::from(format!("no newer figures: {trouble}")).red();
    }
    if !state.losing.is_empty() {
        let lost = state.losing.iter();
        let lost: Vec<String> = lost
            .map(|(name, count)| format!("{count} at {name}"))
            .collect();
        let text = format!(
            "the capture loses data: {}; there was more than is shown",
            lost.join(", ")
        );
        return Line::from(text).red();
    }
    if !state.filter.is_empty() {
        return Line::from(format!("only rows with `{}`; Esc shows all", state.filter));
    }
    let keys = "? help  q quit  Tab table  ←→ sort  / filter  p port  t span  space pause";
    match state.notices.back() {
        Some(notice) if !state.help => Line::from(vec![
            Span::raw(notice.clone()),
            Span::styled("  ? help", dim()),
        ]),
        _ => Line::styled(keys, dim()),
    }
}

/// What is there for who looks closer. Terminals have no one colour that is soft on light and dark alike.
fn dim() -> Style {
    Style::new().dim()
}
