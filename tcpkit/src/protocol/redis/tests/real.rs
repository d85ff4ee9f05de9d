//! Conversations with a real redis-server (7.0.15), as `testdata/record.py` recorded them. The
//! oracle is the server: it answered every request before the next was sent, and it counted them.

use std::collections::BTreeMap;

use super::drive::Driver;
use crate::flow::Direction;
use crate::protocol::redis::commands;
use crate::protocol::{Message, Role};

const RECORDING: &str = include_str!("../testdata/real-7.0.txt");

/// Undoes Python's `unicode_escape` of Latin-1.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        let escaped = if char == '\\' { rest.next() } else { None };
        bytes.push(match escaped {
            None => char as u8,
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            Some(char) => char as u8,
        });
    }
    bytes
}

/// A connection's name and what was said on it.
type Connection = (String, Vec<(Direction, Vec<u8>)>);

/// Every connection, and what the server counted.
fn recording() -> (Vec<Connection>, BTreeMap<String, usize>) {
    let (mut connections, mut counts) = (Vec::<Connection>::new(), BTreeMap::new());
    for line in RECORDING.lines() {
        let (kind, text) = line.split_at(2);
        match kind {
            "# " => connections.push((text.to_owned(), Vec::new())),
            "= " => {
                let (command, calls) = text.split_once(' ').unwrap();
                counts.insert(command.to_uppercase(), calls.parse().unwrap());
            }
            _ => {
                let direction = if kind == "> " {
                    Direction::ToServer
                } else {
                    Direction::ToClient
                };
                connections
                    .last_mut()
                    .unwrap()
                    .1
                    .push((direction, unescape(text)));
            }
        }
    }
    (connections, counts)
}

/// Requests that are not answered yet.
fn open(driver: &Driver) -> usize {
    let requests = driver
        .told
        .iter()
        .filter(|told| told.message.role == Role::Request)
        .count();
    let answers = |message: &Message| message.role == Role::Response && !message.has(Message::MORE);
    let answered = driver
        .told
        .iter()
        .filter(|told| answers(&told.message))
        .count();
    requests.checked_sub(answered).unwrap()
}

fn drive(pieces: &[(Direction, Vec<u8>)], size: usize) -> Driver {
    let mut driver = Driver::new();
    for (direction, bytes) in pieces {
        for piece in bytes.chunks(size) {
            driver.feed(*direction, piece);
        }
    }
    driver
}

#[test]
fn every_request_has_its_response() {
    for (name, pieces) in recording().0 {
        let mut driver = Driver::new();
        for (index, (direction, bytes)) in pieces.iter().enumerate() {
            driver.feed(*direction, bytes);
            let next = pieces.get(index + 1).map(|(direction, _)| *direction);
            let blocked = driver
                .told
                .iter()
                .any(|told| told.message.has(Message::BLOCKING));
            if next != Some(Direction::ToClient) && !blocked && name != "broken" {
                assert_eq!(open(&driver), 0, "{name}: {:?}", driver.lines());
            }
        }
        if name != "broken" {
            assert_eq!((open(&driver), driver.malformed), (0, 0), "{name}");
        }
        assert_eq!(driver.opaque, name == "replica");
    }
}

#[test]
fn as_many_as_the_server_counted() {
    let (connections, counted) = recording();
    let mut counts = BTreeMap::new();
    for (name, pieces) in connections {
        let driver = drive(&pieces, usize::MAX);
        // The server did not run what it could not read.
        let requests = driver
            .told
            .iter()
            .filter(|told| told.direction == Direction::ToServer && name != "quotes");
        for told in requests.filter(|told| told.message.command != commands::OTHER) {
            *counts
                .entry(commands::names()[usize::from(told.message.command)].to_owned())
                .or_insert(0) += 1;
        }
    }
    assert_eq!(counts, counted);
}

#[test]
fn the_same_in_pieces() {
    for (name, pieces) in recording().0 {
        let timeless = |driver: &Driver| {
            driver
                .told
                .iter()
                .map(super::drive::Told::timeless)
                .collect::<Vec<_>>()
        };
        let whole = timeless(&drive(&pieces, usize::MAX));
        for size in [1, 2, 3, 5, 8, 13, 100] {
            assert_eq!(
                timeless(&drive(&pieces, size)),
                whole,
                "{name} in pieces of {size}"
            );
        }
    }
}

#[test]
fn one_ways_are_few_and_known() {
    let mut one_ways = Vec::new();
    for (_, pieces) in recording().0 {
        let lines = drive(&pieces, usize::MAX).lines();
        one_ways.extend(lines.into_iter().filter(|line| line.contains("one way")));
    }
    one_ways.sort();
    one_ways.dedup();
    assert_eq!(
        one_ways,
        [
            "< one way",
            "> CLIENT one way",
            "> GET one way",
            "> REPLCONF one way",
            "> RESET one way",
            "> SET one way",
            "> other one way"
        ]
    );
}
