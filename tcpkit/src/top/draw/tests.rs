//! Pictures of a snapshot whose figures are known, in terminals of several sizes.

use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;

use super::draw;
use crate::sink::stats::BOUNDS;
use crate::sink::stats::histogram::bucket;
use crate::sink::stats::snapshot::{
    Build, Client, ClientFigures, Command, HotKey, KeyForm, Latency, Period, Port, Ring, Slow,
    Snapshot, Span, Stage, Tcp,
};
use crate::sink::stats::sparse::{Dense, Sparse};
use crate::top::state::{Pane, State};

const SECOND: u64 = 1_000_000_000;

fn latency(values: &[u64]) -> Latency {
    let mut dense = Dense::default();
    for &value in values {
        dense.record_at(bucket(value), value);
    }
    dense.take().latency()
}

fn buckets(values: &[u64]) -> Vec<u64> {
    let mut latencies = vec![0; BOUNDS.len() + 1];
    for value in values {
        latencies[BOUNDS.partition_point(|bound| bound < value)] += 1;
    }
    latencies
}

fn command(name: &str, values: &[u64], errors: u64) -> Command {
    Command {
        protocol: "redis".to_owned(),
        command: name.to_owned(),
        requests: values.len() as u64,
        errors,
        latency: latency(values),
        latencies: buckets(values),
        ..Command::default()
    }
}

fn port(number: u16, commands: Vec<(&str, Vec<u64>, u64)>) -> Port {
    let values: Vec<u64> = commands
        .iter()
        .flat_map(|(_, values, _)| values.clone())
        .collect();
    let made = commands
        .iter()
        .map(|(name, values, errors)| command(name, values, *errors));
    Port {
        port: number,
        requests: values.len() as u64,
        errors: commands.iter().map(|(.., errors)| errors).sum(),
        latency: latency(&values),
        latencies: buckets(&values),
        commands: made.collect(),
        tcp: Tcp {
            open: 3,
            ..Tcp::default()
        },
        ..Port::default()
    }
}

fn slow(name: &str, nanoseconds: u64, key: &str) -> Slow {
    Slow {
        time_ns: 1_700_000_000 * SECOND,
        latency_ns: nanoseconds,
        wait_ns: 0,
        client: "10.0.0.1:40000".parse().unwrap(),
        server: "10.0.0.2:6379".parse().unwrap(),
        protocol: "redis".to_owned(),
        command: name.to_owned(),
        status: None,
        error: false,
        request_bytes: 30,
        response_bytes: 5,
        arguments: Vec::new(),
        key: Some(key.to_owned()),
    }
}

/// So many seconds into a run with two ports.
fn snapshot(second: u64) -> Snapshot {
    let times = |count: u64, nanoseconds: u64| vec![nanoseconds; (count * second) as usize];
    let ports = vec![
        port(
            6379,
            vec![
                ("GET", times(20, 80_000), 0),
                ("SET", times(5, 300_000), 2),
                ("KEYS", times(1, 120_000_000), 0),
            ],
        ),
        port(6380, vec![("GET", times(4, 40_000), 0)]),
    ];
    let client = Client {
        address: "10.0.0.1".parse().unwrap(),
        figures: ClientFigures {
            requests: 30 * second,
            latency_sum_ns: 30 * second * 100_000,
            latency_max_ns: 120_000_000,
            ..ClientFigures::default()
        },
    };
    let period = Period {
        span: Span::Start,
        length_ns: second * SECOND,
        coverage: Default::default(),
        ports,
        clients: vec![client],
        other_clients: ClientFigures::default(),
        slowest: vec![slow("KEYS", 120_000_000, "session:*")],
        hot_keys: vec![HotKey {
            port: 6379,
            key: "\u{1b}[2Jevil\n".to_owned(),
            requests: 9,
            error: 0,
        }],
        big_keys: Vec::new(),
        commands_left_out: 0,
    };
    Snapshot {
        v: 1,
        build: Build {
            name: "tcpkit".to_owned(),
            version: "0".to_owned(),
        },
        made_ns: (1_700_000_000 + second) * SECOND,
        uptime_ns: second * SECOND,
        begun_ns: 1_700_000_000 * SECOND,
        now_ns: (1_700_000_000 + second) * SECOND,
        ended: false,
        threshold_ns: Some(1_000_000),
        bounds_ns: BOUNDS.to_vec(),
        keys: KeyForm::Plain,
        stages: vec![Stage {
            name: "kernel".to_owned(),
            passed: 1000 * second,
            lost: second / 4,
        }],
        rings: vec![
            Ring {
                size_bytes: 2 << 20,
                highest_fill_bytes: 300_000,
            },
            Ring {
                size_bytes: 2 << 20,
                highest_fill_bytes: 400_000,
            },
        ],
        pushes: None,
        scripts: crate::sink::stats::metrics::Snapshot::default(),
        periods: vec![period],
    }
}

/// After three seconds.
fn state() -> State {
    let mut state = State::new("eth0".to_owned());
    for second in 1..=3 {
        state.take(Ok(Arc::new(snapshot(second))));
    }
    state
}

/// The picture as lines of text, without spaces at their ends.
fn picture(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y: u16| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

/// Compares with the picture of this name; `TCPKIT_BLESS=1` writes it.
fn assert_picture(state: &State, width: u16, height: u16, name: &str) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/draw/golden");
    let path = format!("{golden}/{name}.txt");
    let shown = picture(state, width, height).join("\n") + "\n";
    if std::env::var_os("TCPKIT_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(&path).unwrap(), "\n{shown}");
}

#[test]
fn a_wide_terminal_shows_everything() {
    assert_picture(&state(), 100, 34, "wide");
}

#[test]
fn a_narrow_one_shows_what_says_most() {
    let mut state = state();
    state.port = Some(6380);
    assert_picture(&state, 60, 24, "narrow");
}

#[test]
fn a_tiny_one_shows_a_table_or_says_so() {
    assert_picture(&state(), 40, 8, "tiny");
    assert_eq!(picture(&state(), 30, 5)[0], "30 × 5 is too small");
}

#[test]
fn every_pane_fits_in_every_size() {
    for pane in crate::top::state::PANES {
        for (width, height) in [(1, 1), (40, 8), (79, 12), (80, 17), (133, 60), (400, 100)] {
            let mut state = state();
            state.pane = pane;
            state.scroll = usize::MAX;
            assert_eq!(picture(&state, width, height).len(), usize::from(height));
            state.help = true;
            picture(&state, width, height);
        }
    }
}

#[test]
fn figures_of_all_ports_are_added_up() {
    let period = snapshot(1).periods.remove(0);
    let all = super::figures(&period, None);
    assert_eq!((all.requests, all.errors, all.tcp.open), (30, 2, 6));
    let values: Vec<u64> = [
        vec![80_000; 20],
        vec![300_000; 5],
        vec![120_000_000],
        vec![40_000; 4],
    ]
    .concat();
    assert_eq!(all.latency, latency(&values));
    assert_eq!(all.latencies, buckets(&values));
    let gets = [vec![80_000; 20], vec![40_000; 4]].concat();
    assert_eq!(all.commands[0].latency, latency(&gets));
}

#[test]
fn a_column_holds_what_came_since_the_one_before() {
    let state = state();
    let shown: Vec<_> = state.history.newest(Some(6380)).collect();
    assert_eq!(shown.len(), 2);
    let newest = shown[0].as_ref().unwrap();
    assert_eq!((newest.length_ns, newest.latency.count), (SECOND, 4));
    let expected = Sparse::from(&latency(&[40_000; 4])).latency();
    assert_eq!(newest.latency.histogram, expected.histogram);
    assert_eq!(newest.latencies, buckets(&[40_000; 4]));
}

#[test]
fn what_is_wrong_is_said() {
    let mut state = state();
    state.take(Err("192.0.2.1:33333: connection refused".to_owned()));
    let shown = picture(&state, 80, 20);
    assert!(shown[0].contains("no answer"), "{shown:?}");
    assert!(shown[19].contains("connection refused"), "{shown:?}");
    state.take(Ok(Arc::new(snapshot(4))));
    let shown = picture(&state, 80, 20);
    assert!(shown[19].contains("loses data: 1 at kernel"), "{shown:?}");
    let mut ended = snapshot(5);
    ended.ended = true;
    state.take(Ok(Arc::new(ended)));
    assert!(picture(&state, 80, 20)[0].contains("ended"));
}

#[test]
fn a_stopped_picture_stays_and_then_goes_on() {
    let mut state = state();
    state.key(KeyCode::Char(' ').into());
    let before = picture(&state, 80, 20);
    state.take(Ok(Arc::new(snapshot(9))));
    assert_eq!(picture(&state, 80, 20)[3..9], before[3..9]);
    state.key(KeyCode::Char(' ').into());
    assert!(picture(&state, 80, 20)[2].starts_with("270 "));
}

#[test]
fn rows_are_filtered_and_sorted() {
    let mut state = state();
    let first = |state: &State| {
        let shown = picture(state, 80, 12);
        shown[5]
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(first(&state), "GET");
    for _ in 0..8 {
        state.key(KeyCode::Right.into());
    }
    assert_eq!(first(&state), "KEYS", "by max");
    state.key(KeyCode::Char('r').into());
    assert_eq!(first(&state), "GET");
    state.filter = "set".to_owned();
    assert_eq!(first(&state), "SET");
    state.filter = "nothing".to_owned();
    assert!(picture(&state, 80, 12)[5].contains("no row holds the text"));
}

#[test]
fn the_fullest_ring_has_a_row() {
    let mut state = state();
    state.pane = Pane::Coverage;
    let row = |state: &State| {
        let shown = picture(state, 80, 20);
        shown.into_iter().find(|row| row.contains("ring"))
    };
    let told = row(&state).unwrap();
    assert!(
        told.starts_with("fullest ring of 2.10 MB, at most "),
        "{told}"
    );
    assert!(told.ends_with(" 400 kB"), "{told}");
    let mut without = snapshot(4);
    without.rings.clear();
    state.take(Ok(Arc::new(without)));
    assert_eq!(row(&state), None, "libpcap has no rings");
}

/// Keys come from the wire, and snapshots from other hosts: none acts on the terminal.
#[test]
fn no_control_character_reaches_the_terminal() {
    let mut state = state();
    state.pane = Pane::Keys;
    state.tell("\u{1b}]0;title\u{7}".to_owned());
    let shown = picture(&state, 100, 20).concat();
    assert!(shown.contains("evil"));
    assert!(!shown.contains(char::is_control), "{shown:?}");
}
