//! After a loss the next message is found, and hardly ever a false one.
//!
//! Pipelines as clients send them are cut into segments, and some segments are lost. What is told
//! behind a loss must be what was sent, byte for byte; and nearly all that was seen whole must be
//! told.

use std::collections::HashSet;

use super::drive::{Driver, command};
use crate::flow::Direction;
use crate::protocol::Message;
use crate::protocol::driven::Wire;
use crate::protocol::redis::Redis;
use crate::wire::Transport;

/// A small generator, so that runs are alike (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A value that may well look like RESP.
    fn value(&mut self, len: u64) -> Vec<u8> {
        let parts: [&[u8]; 12] = [
            b"\r\n",
            b"\r\n",
            b"$5\r\n",
            b"*3\r\n",
            b"hello",
            b"- item",
            b"* item",
            b"+1",
            b"\x00\xff",
            b":",
            b"OK\r\n",
            b"get ",
        ];
        let mut value = Vec::new();
        while (value.len() as u64) < len {
            value.extend_from_slice(parts[self.roll(12) as usize]);
        }
        value
    }
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[derive(Clone, Copy, Debug)]
enum Load {
    Set(u64),
    Get(u64),
    Lrange(u64, u64),
    Xrange(u64),
    Mixed,
}

impl Load {
    fn exchange(self, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Set(len) => (
                command(&[b"SET", b"key:000000000001", &dice.value(len)]),
                b"+OK\r\n".to_vec(),
            ),
            Self::Get(len) => (
                command(&[b"GET", b"key:000000000001"]),
                bulk(&dice.value(len)),
            ),
            Self::Lrange(count, len) => {
                let values: Vec<u8> = (0..count)
                    .flat_map(|_| bulk(&vec![b'x'; len as usize]))
                    .collect();
                let reply = [format!("*{count}\r\n").as_bytes(), &values].concat();
                (command(&[b"LRANGE", b"l", b"0", b"-1"]), reply)
            }
            Self::Xrange(count) => {
                let entry = b"*2\r\n$15\r\n1526985054069-0\r\n*2\r\n$1\r\na\r\n$3\r\nfoo\r\n";
                let reply = [
                    format!("*{count}\r\n").as_bytes(),
                    &entry.repeat(count as usize),
                ]
                .concat();
                (command(&[b"XRANGE", b"s", b"-", b"+"]), reply)
            }
            Self::Mixed => {
                let loads = [
                    Self::Set(30),
                    Self::Get(30),
                    Self::Lrange(10, 3),
                    Self::Get(300),
                    Self::Set(3),
                ];
                loads[dice.roll(5) as usize].exchange(dice)
            }
        }
    }
}

#[derive(Debug, Default)]
struct Score {
    /// Told, but never sent so.
    wrong: usize,
    /// Told as sent.
    right: usize,
    /// Seen whole.
    whole: usize,
}

/// What was sent in one direction: messages and lost bytes.
#[derive(Default)]
struct Truth {
    messages: Vec<(u64, u64)>,
    lost: Vec<(u64, u64)>,
    sent: u64,
}

impl Truth {
    fn send(
        &mut self,
        driver: &mut Driver,
        dice: &mut Dice,
        direction: Direction,
        bytes: &[u8],
        segment: usize,
    ) {
        for piece in bytes.chunks(segment) {
            let len = piece.len() as u64;
            if dice.roll(50) == 0 {
                driver.lose(direction, len);
                self.lost.push((self.sent, self.sent + len));
            } else {
                driver.feed(direction, piece);
            }
            self.sent += len;
        }
    }

    fn score(&self, driver: &Driver, direction: Direction) -> Score {
        let sent: HashSet<_> = self.messages.iter().copied().collect();
        let told = driver
            .told
            .iter()
            .filter(|told| told.direction == direction && !told.message.has(Message::CUT));
        let (right, wrong): (Vec<_>, Vec<_>) = told
            .map(|told| (told.message.start, told.message.end))
            .partition(|place| sent.contains(place));
        let seen = |&&(start, end): &&(u64, u64)| {
            self.lost
                .iter()
                .all(|(from, to)| *to <= start || end <= *from)
        };
        Score {
            wrong: wrong.len(),
            right: right.len(),
            whole: self.messages.iter().filter(seen).count(),
        }
    }
}

fn run(load: Load, pipeline: usize, segment: usize) -> [Score; 2] {
    let mut dice = Dice(segment as u64 + pipeline as u64);
    let mut driver = Driver::new();
    let mut truths = [Truth::default(), Truth::default()];
    for _ in 0..2000 / pipeline {
        let mut batches = [Vec::new(), Vec::new()];
        for _ in 0..pipeline {
            let (request, response) = load.exchange(&mut dice);
            for ((batch, message), truth) in
                batches.iter_mut().zip([request, response]).zip(&mut truths)
            {
                let start = truth.sent + batch.len() as u64;
                truth.messages.push((start, start + message.len() as u64));
                batch.extend_from_slice(&message);
            }
        }
        for (direction, batch) in [Direction::ToServer, Direction::ToClient]
            .into_iter()
            .zip(&batches)
        {
            truths[direction.index()].send(&mut driver, &mut dice, direction, batch, segment);
        }
    }
    [
        truths[0].score(&driver, Direction::ToServer),
        truths[1].score(&driver, Direction::ToClient),
    ]
}

#[test]
fn nothing_false_and_nearly_all_found() {
    let loads = [
        Load::Set(3),
        Load::Set(300),
        Load::Set(5000),
        Load::Get(3),
        Load::Get(300),
        Load::Get(5000),
        Load::Lrange(100, 3),
        Load::Lrange(10, 1000),
        Load::Xrange(30),
        Load::Mixed,
    ];
    let mut all = Score::default();
    for load in loads {
        for pipeline in [1, 16] {
            for segment in [536, 1460, 65_483] {
                for score in run(load, pipeline, segment) {
                    all.wrong += score.wrong;
                    all.right += score.right;
                    all.whole += score.whole;
                }
            }
        }
    }
    assert!(all.wrong * 10_000 <= all.right, "{all:?}");
    assert!(all.right * 100 >= all.whole * 95, "{all:?}");
}

/// A string says how long it is: of the rest of it, and its end, nothing need be seen.
#[test]
fn the_rest_of_a_string_is_known() {
    let value = vec![b'v'; 200];
    let set = command(&[b"SET", b"key", &value]);
    let options = command(&[b"SET", b"key", &value, b"EX", b"10"]);
    let list = [b"*2\r\n", &bulk(&value)[..], &bulk(&value)].concat();
    let tail = b"$2\r\nEX\r\n$2\r\n10\r\n".len();
    let whole = [
        (Direction::ToServer, set.clone(), 60..set.len()),
        (Direction::ToClient, b"+OK\r\n".to_vec(), 0..0),
        (Direction::ToServer, set.clone(), 60..set.len() - 1),
        (Direction::ToClient, b"+OK\r\n".to_vec(), 0..0),
        (
            Direction::ToServer,
            options.clone(),
            60..options.len() - tail,
        ),
        (Direction::ToClient, b"+OK\r\n".to_vec(), 0..0),
        (Direction::ToServer, set.clone(), 60..100),
        (Direction::ToClient, b"+OK\r\n".to_vec(), 0..0),
        (Direction::ToServer, command(&[b"GET", b"key"]), 0..0),
        (Direction::ToClient, bulk(&value), 20..208),
        (Direction::ToServer, command(&[b"MGET", b"a", b"b"]), 0..0),
        (Direction::ToClient, list.clone(), 20..212),
        (Direction::ToServer, command(&[b"MGET", b"a", b"b"]), 0..0),
        (Direction::ToClient, list.clone(), 230..list.len()),
    ];
    let tell = |lossy: bool| {
        let mut wire = Wire::new(&Redis, Transport::Tcp);
        for (direction, bytes, lost) in &whole {
            if lossy && !lost.is_empty() {
                wire.send(*direction, &bytes[..lost.start]);
                wire.lose(*direction, lost.len() as u64);
                if lost.end < bytes.len() {
                    wire.send(*direction, &bytes[lost.end..]);
                }
            } else {
                wire.send(*direction, bytes);
            }
        }
        wire.close();
        assert!(wire.malformed.is_empty(), "{:?}", wire.malformed);
        let mut told = wire.told;
        told.iter_mut().for_each(|told| told.text.clear());
        told
    };
    assert_eq!(tell(true), tell(false));
}

/// A line end that was kept from before is no earlier beginning of what stands behind it.
#[test]
fn what_begins_a_segment_begins_with_it() {
    for first in [6, 20, 31, 32, 40] {
        let mut driver = Driver::new();
        let lost = bulk(&[b'v'; 200]);
        driver.request(command(&[b"GET", b"a"]));
        driver.lose(Direction::ToClient, 60);
        driver.response(&lost[60..120]).response(&lost[120..]);
        driver.request(command(&[b"GET", b"b"]));
        let found = bulk(&[b'w'; 90]);
        driver.response(&found[..first]).response(&found[first..]);
        let last = driver.told.last().map(|told| &told.message);
        let frames = last.map(|message| (message.first.frame, message.last.frame));
        assert_eq!(frames, Some((5, 6)), "{first}");
    }
}

/// Input that looks like messages again and again, and never is, costs a bounded effort.
#[test]
fn hostile_input_is_left_soon() {
    let requests: [&[u8]; 3] = [
        b"\r\n*1\r\n$3\r\nGET",
        b"\r\n*2\r\n$3\r\nGET\r\n$1\r\na",
        b"\r\n*9999\r\n$3\r\nGET\r\n$1\r\na",
    ];
    let responses: [&[u8]; 4] = [
        b"\r\n*2\r\n:1",
        b"\r\n+OK",
        b"\r\n*1",
        b"\r\n*5000\r\n$1\r\na",
    ];
    let begun = std::time::Instant::now();
    for (direction, parts) in [
        (Direction::ToServer, &requests[..]),
        (Direction::ToClient, &responses[..]),
    ] {
        for part in parts {
            let mut driver = Driver::new();
            driver.request(command(&[b"EVAL", b"x"]).repeat(100_000));
            driver.lose(direction, 10);
            let mut input = part.repeat(200_000 / part.len());
            input.extend_from_slice(b"\r\n\x00");
            driver.feed(direction, &input);
        }
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
