//! What the terminal view knows and what the user chose.
//!
//! Reads snapshots and keys; what is drawn is a function of it.

use std::collections::VecDeque;
use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::columns;
use super::feed::Told;
use super::history::History;
use crate::limits;
use crate::sink::stats::snapshot::{Period, Snapshot, Span};

/// The tables, in the order in which Tab goes through them.
pub const PANES: [Pane; 6] = [
    Pane::Commands,
    Pane::Slowest,
    Pane::Clients,
    Pane::Keys,
    Pane::Health,
    Pane::Coverage,
];

const SPANS: [Span; 4] = [
    Span::Start,
    Span::FiveMinutes,
    Span::Minute,
    Span::TenSeconds,
];

/// A table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// What was asked.
    #[default]
    Commands,
    /// The slowest requests.
    Slowest,
    /// Who asked.
    Clients,
    /// Hot and big keys.
    Keys,
    /// Answers and TCP.
    Health,
    /// What the capture saw.
    Coverage,
}

impl Pane {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Slowest => "slowest",
            Self::Clients => "clients",
            Self::Keys => "keys",
            Self::Health => "answers, TCP",
            Self::Coverage => "coverage",
        }
    }
}

/// How a table is sorted: by which column, and whether against its own order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sorting {
    /// Column from the left; `None` is the order of the snapshot.
    pub column: Option<usize>,
    /// Least first.
    pub ascending: bool,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Draw again.
    Go,
    /// The user has seen enough.
    Quit,
}

/// Everything that is drawn.
#[derive(Clone, Debug)]
pub struct State {
    /// Whose figures they are.
    pub title: String,
    /// What is shown.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What came after the user stopped the picture.
    pub pending: Option<Arc<Snapshot>>,
    /// Columns of the charts.
    pub history: History,
    /// Why there is no newer snapshot.
    pub trouble: Option<String>,
    /// The chosen port, or all.
    pub port: Option<u16>,
    /// The chosen span.
    pub span: Span,
    /// The chosen table.
    pub pane: Pane,
    /// How tables are sorted, in the order of [`PANES`].
    pub sorting: [Sorting; PANES.len()],
    /// Rows that hold this text are shown.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// The picture is stopped.
    pub paused: bool,
    /// Keys are explained.
    pub help: bool,
    /// Rows that are scrolled out of sight.
    pub scroll: usize,
    /// Sentences for the user.
    pub notices: VecDeque<String>,
    /// Data that was lost between the last two snapshots, by stage.
    pub losing: Vec<(String, u64)>,
}

impl State {
    /// Nothing is known yet.
    pub fn new(title: String) -> Self {
        Self {
            title,
            snapshot: None,
            pending: None,
            history: History::default(),
            trouble: None,
            port: None,
            span: Span::Start,
            pane: Pane::default(),
            sorting: Default::default(),
            filter: String::new(),
            typing: false,
            paused: false,
            help: false,
            scroll: 0,
            notices: VecDeque::new(),
            losing: Vec::new(),
        }
    }

    /// The period that is shown.
    pub fn period(&self) -> Option<&Period> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot
            .period(self.span)
            .or_else(|| snapshot.since_start())
    }

    /// How the chosen table is sorted.
    pub fn sorting(&mut self) -> &mut Sorting {
        &mut self.sorting[self.pane as usize]
    }

    /// Takes an answer.
    pub fn take(&mut self, told: Told) {
        let new = match told {
            Ok(new) => new,
            Err(trouble) => {
                self.trouble = Some(trouble);
                return;
            }
        };
        self.trouble = None;
        match self.paused && self.snapshot.is_some() {
            true => self.pending = Some(new),
            false => self.show(new),
        }
    }

    /// Shows a snapshot, and what it adds to the one before: after a longer stop that is a break.
    fn show(&mut self, new: Arc<Snapshot>) {
        if let Some(before) = &self.snapshot {
            self.history.add(before, &new);
            self.losing = lost_between(before, &new);
        }
        self.snapshot = Some(new);
    }

    /// Keeps a sentence for the user.
    pub fn tell(&mut self, notice: String) {
        self.notices.push_back(notice);
        while self.notices.len() > limits::TOP_NOTICES {
            self.notices.pop_front();
        }
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Flow {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c')) {
            return Flow::Quit;
        }
        if self.typing {
            self.type_key(key.code);
            return Flow::Go;
        }
        if self.help {
            self.help = false;
            return Flow::Go;
        }
        match key.code {
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char(' ') => self.pause(),
            KeyCode::Char('p') => self.turn_port(1),
            KeyCode::Char('P') => self.turn_port(-1),
            KeyCode::Char('t') => self.turn_span(1),
            KeyCode::Char('T') => self.turn_span(-1),
            other => self.table_key(other),
        }
        Flow::Go
    }

    /// Keys that are about the table.
    fn table_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Tab => self.turn_pane(1),
            KeyCode::BackTab => self.turn_pane(-1),
            KeyCode::Char(digit @ '1'..='6') => {
                let place = digit as usize - '1' as usize;
                self.choose(PANES.get(place).copied().unwrap_or_default());
            }
            KeyCode::Right | KeyCode::Char('>') => self.sort_by(1),
            KeyCode::Left | KeyCode::Char('<') => self.sort_by(-1),
            KeyCode::Char('r') => {
                let sorting = self.sorting();
                sorting.column.get_or_insert(0);
                sorting.ascending = !sorting.ascending;
            }
            KeyCode::Char('o') => *self.sorting() = Sorting::default(),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = usize::MAX,
            _ => {}
        }
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(char) if self.filter.chars().count() < limits::TOP_FILTER => {
                self.filter.push(char);
            }
            _ => {}
        }
        self.scroll = 0;
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if let Some(pending) = self.pending.take().filter(|_| !self.paused) {
            self.show(pending);
        }
    }

    fn turn_port(&mut self, step: isize) {
        let since_start = self.snapshot.as_ref().and_then(|all| all.since_start());
        let ports = since_start.map_or(&[][..], |all| &all.ports);
        let mut choices = vec![None];
        choices.extend(ports.iter().map(|port| Some(port.port)));
        self.port = turned(&choices, &self.port, step);
        self.scroll = 0;
    }

    fn turn_span(&mut self, step: isize) {
        self.span = turned(&SPANS, &self.span, step);
    }

    fn turn_pane(&mut self, step: isize) {
        self.choose(turned(&PANES, &self.pane, step));
    }

    fn choose(&mut self, pane: Pane) {
        self.pane = pane;
        self.scroll = 0;
    }

    /// Sorts by a column further right or left.
    fn sort_by(&mut self, step: isize) {
        let column = match self.sorting().column {
            None if step > 0 => 0,
            None => return,
            Some(column) => column.saturating_add_signed(step),
        };
        let last = columns(self.pane).saturating_sub(1);
        let sorting = self.sorting();
        sorting.column = Some(column.min(last));
        sorting.ascending = false;
    }
}

/// The choice so many steps on, around the end.
fn turned<T: Copy + PartialEq>(choices: &[T], chosen: &T, step: isize) -> T {
    let place = choices.iter().position(|choice| choice == chosen);
    let length = choices.len() as isize;
    let next = (place.unwrap_or(0) as isize + step).rem_euclid(length.max(1));
    choices.get(next as usize).copied().unwrap_or(*chosen)
}

fn lost_between(before: &Snapshot, after: &Snapshot) -> Vec<(String, u64)> {
    let lost = |snapshot: &Snapshot, name: &str| {
        let stage = snapshot.stages.iter().find(|stage| stage.name == name);
        stage.map_or(0, |stage| stage.lost)
    };
    let more = after.stages.iter().map(|stage| {
        let more = stage.lost.saturating_sub(lost(before, &stage.name));
        (stage.name.clone(), more)
    });
    more.filter(|(_, more)| *more > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(state: &mut State, keys: &str) {
        for char in keys.chars() {
            let code = match char {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                other => KeyCode::Char(other),
            };
            assert_eq!(state.key(KeyEvent::from(code)), Flow::Go, "{char}");
        }
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut state = State::new(String::new());
        press(&mut state, "t");
        assert_eq!(state.span, Span::FiveMinutes);
        press(&mut state, "TT");
        assert_eq!(state.span, Span::TenSeconds);
        press(&mut state, "\t\t");
        assert_eq!(state.pane, Pane::Clients);
        press(&mut state, ">>r");
        let sorting = Sorting {
            column: Some(1),
            ascending: true,
        };
        assert_eq!(*state.sorting(), sorting);
        press(&mut state, "o");
        assert_eq!(*state.sorting(), Sorting::default());
        press(&mut state, "/q10.\n");
        assert_eq!((state.filter.as_str(), state.typing), ("q10.", false));
        state.key(KeyCode::Esc.into());
        assert_eq!(state.filter, "");
        press(&mut state, "?");
        assert!(state.help);
        press(&mut state, "x");
        assert!(!state.help);
        assert_eq!(state.key(KeyCode::Char('q').into()), Flow::Quit);
        press(&mut state, "/");
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state.key(control_c), Flow::Quit);
    }

    #[test]
    fn what_is_typed_and_told_has_a_bound() {
        let mut state = State::new(String::new());
        press(&mut state, "/");
        press(&mut state, &"x".repeat(1000));
        assert_eq!(state.filter.len(), limits::TOP_FILTER);
        for _ in 0..1000 {
            state.tell("x".to_owned());
        }
        assert_eq!(state.notices.len(), limits::TOP_NOTICES);
    }
}
