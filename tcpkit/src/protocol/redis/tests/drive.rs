//! Shows a dissector what a stream would show it, and notes what it says.

use crate::flow::Direction;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Protocol, Resync, Role, Text, Verdict,
};
use crate::source::Timestamp;
use crate::wire::Transport;

use super::super::{Redis, commands, status};

/// A message with what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) direction: Direction,
    pub(super) message: Message,
    pub(super) text: Vec<u8>,
}

impl Told {
    /// Of a request its role and text, of a response what matters of it, for comparing.
    pub(super) fn line(&self) -> String {
        let message = &self.message;
        let mut line = match (self.direction, message.role) {
            (Direction::ToServer, Role::Request) => format!("> {}", self.command()),
            (Direction::ToServer, _) => format!("> {} one way", self.command()),
            (Direction::ToClient, Role::Response) => "<".to_owned(),
            (Direction::ToClient, _) => "< one way".to_owned(),
        };
        let flags = [
            (Message::BLOCKING, "blocking"),
            (Message::ERROR, "error"),
            (Message::CUT, "cut"),
            (Message::MORE, "more"),
        ];
        for (flag, name) in flags {
            if message.has(flag) {
                line += &format!(" {name}");
            }
        }
        if message.status != 0 {
            line += &format!(" {}", status::name(message.status).unwrap());
        }
        if message.hits + message.misses > 0 {
            line += &format!(" {}/{}", message.hits, message.hits + message.misses);
        }
        line
    }

    fn command(&self) -> &'static str {
        commands::names()[usize::from(self.message.command)]
    }

    pub(super) fn rendered(&self) -> String {
        let mut out = Vec::new();
        let written = Redis.render(&self.text, 255, &mut out);
        assert!(out.len() <= 255, "{}", out.len());
        if out.len() < 240 && self.text.len() < 1024 && !self.message.has(Message::CUT) {
            assert_eq!(written, self.message.text_len as usize, "{self:?}");
        }
        String::from_utf8(out).unwrap()
    }

    /// All but the times.
    pub(super) fn timeless(&self) -> Self {
        let mut told = self.clone();
        told.message.first = Mark::default();
        told.message.last = Mark::default();
        told.message.text = Text::None;
        told
    }
}

#[derive(Default)]
struct Side {
    bytes: Vec<u8>,
    offset: u64,
    old: usize,
    skip: u64,
    first: Mark,
    lost: bool,
}

pub(super) struct Driver {
    dissector: Box<dyn Dissector>,
    sides: [Side; 2],
    out: Output,
    frame: u64,
    pub(super) told: Vec<Told>,
    pub(super) opaque: bool,
    pub(super) malformed: usize,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self {
            dissector: Redis.dissector(Transport::Tcp),
            sides: [Side::default(), Side::default()],
            out: Output {
                wants_text: true,
                ..Output::default()
            },
            frame: 0,
            told: Vec::new(),
            opaque: false,
            malformed: 0,
        }
    }

    pub(super) fn without_text() -> Self {
        let mut driver = Self::new();
        driver.out.wants_text = false;
        driver
    }

    pub(super) fn request(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed(Direction::ToServer, bytes.as_ref());
        self
    }

    pub(super) fn response(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.feed(Direction::ToClient, bytes.as_ref());
        self
    }

    /// A conversation that was joined in the middle.
    pub(super) fn joined(mut self) -> Self {
        for side in &mut self.sides {
            side.lost = true;
        }
        self
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.told.iter().map(Told::line).collect()
    }

    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self
            .told
            .iter()
            .filter(|told| told.direction == Direction::ToServer);
        requests.map(Told::rendered).collect()
    }

    fn now(&self) -> Mark {
        Mark {
            time: Timestamp::default(),
            frame: self.frame,
        }
    }

    /// Bytes that nobody saw.
    pub(super) fn lose(&mut self, direction: Direction, bytes: u64) {
        let side = &mut self.sides[direction.index()];
        let skipped = side.skip.min(bytes);
        side.skip -= skipped;
        side.offset += skipped;
        if skipped < bytes {
            self.out.clear();
            self.dissector.gap(direction, &mut self.out);
            let side = &mut self.sides[direction.index()];
            side.offset += side.bytes.len() as u64 + bytes - skipped;
            side.bytes.clear();
            side.old = 0;
            side.lost = true;
            self.note(direction, &[]);
        }
    }

    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8]) {
        self.frame += 1;
        let now = self.now();
        let side = &mut self.sides[direction.index()];
        if side.bytes.is_empty() {
            side.first = now;
        }
        side.bytes.extend_from_slice(bytes);
        while !self.opaque && self.turn(direction) {}
        let side = &mut self.sides[direction.index()];
        side.old = side.bytes.len();
        assert!(side.old <= crate::limits::TAIL_BYTES);
    }

    /// One call; whether another should follow.
    fn turn(&mut self, direction: Direction) -> bool {
        let now = self.now();
        let side = &mut self.sides[direction.index()];
        let skip = side.skip.min(side.bytes.len() as u64) as usize;
        side.bytes.drain(..skip);
        side.old = side.old.saturating_sub(skip);
        side.offset += skip as u64;
        side.skip -= skip as u64;
        if side.bytes.is_empty() {
            return false;
        }
        let bytes = side.bytes.clone();
        if side.old == 0 {
            side.first = now;
        }
        let input = Input {
            bytes: &bytes,
            offset: side.offset,
            old: side.old,
            first: side.first,
            last: now,
            datagram: false,
            lost: 0,
            received: 0,
        };
        self.out.clear();
        if side.lost {
            return self.resync(direction, &input);
        }
        let parsed = self.dissector.parse(direction, &input, &mut self.out);
        assert!(parsed.consumed <= bytes.len());
        self.note(direction, &bytes);
        let side = &mut self.sides[direction.index()];
        side.drop(parsed.consumed);
        side.skip = parsed.skip;
        match parsed.verdict {
            Verdict::Continue => parsed.consumed > 0 || parsed.skip > 0,
            Verdict::Opaque(_) => {
                self.opaque = true;
                false
            }
            Verdict::Malformed(_) => {
                side.lost = true;
                self.malformed += 1;
                // What is left was shown.
                side.old = side.bytes.len();
                true
            }
        }
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> bool {
        let resync = self.dissector.resync(direction, input);
        let side = &mut self.sides[direction.index()];
        match resync {
            Resync::Found(index) => {
                assert!(index < input.bytes.len());
                side.drop(index);
                side.lost = false;
                true
            }
            Resync::Nowhere { keep } => {
                assert!(keep <= input.bytes.len());
                side.drop(input.bytes.len() - keep);
                false
            }
        }
    }

    fn note(&mut self, direction: Direction, bytes: &[u8]) {
        for message in self.out.messages.drain(..) {
            let text = match message.text {
                Text::None => Vec::new(),
                Text::Input { start, len } => {
                    bytes[start as usize..(start + len) as usize].to_vec()
                }
                Text::Arena { start, len } => {
                    self.out.arena[start as usize..(start + len) as usize].to_vec()
                }
            };
            self.told.push(Told {
                direction,
                message,
                text,
            });
        }
    }
}

impl Side {
    fn drop(&mut self, bytes: usize) {
        self.bytes.drain(..bytes);
        self.old = self.old.saturating_sub(bytes);
        self.offset += bytes as u64;
    }
}

/// A request as clients send it.
pub(super) fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A request of plain words.
pub(super) fn words(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    command(&words)
}
