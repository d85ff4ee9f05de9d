//! Text responses: a status line, a number, items up to `END`, lines up to `END`, a meta line.
//!
//! [`Reader`] holds one response that is under way. It does not know requests: what a line is, its
//! first word says. (doc/protocol.txt gives every response its own word.)

use super::Step;
use super::command::{is_error, status, word};
use super::pending::{Reply, hash};
use super::text::{Line, line, number, words};
use crate::limits::MEMCACHED_REPLY_LINE;

/// What a line or data block made of the response.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// So many bytes are done with, and the response goes on.
    Goes(usize),
    /// So many bytes are done with, so many data bytes follow, then a line end.
    Data(usize, u64),
    /// So many bytes are done with, and so is the response, or an `END` follows: which, the request says.
    MayEnd(usize),
    /// So many bytes are done with, and so is the response.
    Ends(usize, Done),
}

/// A response that is complete.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// For finding its request.
    pub reply: Reply,
    /// Its status code.
    pub status: u16,
    /// Keys found.
    pub hits: u32,
    /// Keys not found.
    pub misses: u32,
    /// Where in the bytes of this call the text of an error stands.
    pub text: Option<(usize, usize)>,
}

impl Done {
    fn word(word: u32, status: u16) -> Self {
        Self {
            reply: Reply {
                word,
                ..Reply::default()
            },
            status,
            ..Self::default()
        }
    }
}

/// What the response is in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing: the next line begins a response.
    #[default]
    Idle,
    /// Between items.
    Items,
    /// After an item's data block.
    ItemEnd,
    /// Among lines up to `END`.
    Lines,
    /// Among lines up to `EN`.
    MetaLines,
    /// After the data block of a meta response.
    MetaEnd,
}

/// Reads text responses.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    items: u32,
    /// The meta response whose data block is under way.
    tag: u32,
    made: bool,
}

impl Reader {
    /// Whether a response is under way.
    pub(super) fn is_open(&self) -> bool {
        self.state != State::Idle
    }

    /// Items of the response under way.
    pub(super) fn items(&self) -> u32 {
        if self.is_open() { self.items } else { 0 }
    }

    /// Whether no line or data block is under way.
    pub(super) fn is_between(&self) -> bool {
        !matches!(self.state, State::ItemEnd | State::MetaEnd)
    }

    /// How the response under way ends, if `lost` bytes are just that; `most` items can answer its request, if that is known.
    pub(super) fn implied(&self, lost: usize, most: Option<u32>) -> Option<&'static [u8]> {
        let all = most == Some(self.items);
        let end: &[u8] = match self.state {
            State::MetaEnd => b"\r\n",
            State::ItemEnd if lost == 2 => b"\r\n",
            State::ItemEnd if all => b"\r\nEND\r\n",
            State::Items if all => b"END\r\n",
            _ => return None,
        };
        (end.len() == lost).then_some(end)
    }

    /// The response under way as far as it came; the next line begins another.
    pub(super) fn cut(&mut self) -> Done {
        let done = match self.state {
            State::Lines | State::MetaLines => Done::word(word::LINES, 0),
            State::MetaEnd => self.meta_done(),
            _ => self.items_done(),
        };
        *self = Self::default();
        done
    }

    /// One step; the first `seen` bytes hold no line end.
    pub(super) fn step(&mut self, bytes: &[u8], seen: usize) -> Step<Progress> {
        if matches!(self.state, State::ItemEnd | State::MetaEnd) {
            return self.data_end(bytes);
        }
        let line = match line(bytes, seen) {
            Some(line) if line.len <= MEMCACHED_REPLY_LINE => line,
            None if bytes.len() < MEMCACHED_REPLY_LINE => return Step::More,
            _ => return Step::Bad("a response line without an end"),
        };
        match self.state {
            State::Lines => self.listed(line, b"END"),
            State::MetaLines => self.listed(line, b"EN"),
            State::Items => self.item_or_end(line),
            _ => self.begin(line),
        }
    }

    fn data_end(&mut self, bytes: &[u8]) -> Step<Progress> {
        match bytes {
            [b'\r', b'\n', ..] if self.state == State::ItemEnd => {
                self.state = State::Items;
                Step::Done(Progress::Goes(2))
            }
            [b'\r', b'\n', ..] => {
                let done = self.meta_done();
                self.state = State::Idle;
                Step::Done(Progress::Ends(2, done))
            }
            [] | [b'\r'] => Step::More,
            _ => Step::Bad("a data block without its end"),
        }
    }

    fn meta_done(&self) -> Done {
        let mut done = Done::word(word::VA, 0);
        done.hits = 1;
        done.reply.tag = self.tag;
        done.reply.made = self.made;
        done
    }

    fn items_done(&self) -> Done {
        let mut done = Done::word(word::ITEMS, 0);
        done.hits = self.items;
        done.reply.items = self.items;
        done
    }

    fn listed(&mut self, line: Line<'_>, end: &[u8]) -> Step<Progress> {
        let ends = line.content == end || line.content.starts_with(b"STAT sizes_error ");
        if !ends {
            return Step::Done(Progress::Goes(line.len));
        }
        let class = if self.state == State::Lines {
            word::LINES
        } else {
            word::EN
        };
        self.state = State::Idle;
        Step::Done(Progress::Ends(line.len, Done::word(class, 0)))
    }

    fn item_or_end(&mut self, line: Line<'_>) -> Step<Progress> {
        let mut parts = words(line.content);
        match parts.next() {
            Some(b"VALUE") => self.item(line, parts),
            Some(b"END") => {
                let done = self.items_done();
                self.state = State::Idle;
                Step::Done(Progress::Ends(line.len, done))
            }
            // Out of memory in the middle of a response.
            Some(b"SERVER_ERROR") => {
                self.state = State::Idle;
                let mut done = failed(line, status::SERVER_ERROR);
                done.reply.word = word::ITEMS;
                Step::Done(Progress::Ends(line.len, done))
            }
            _ => Step::Bad("an item, or END, expected"),
        }
    }

    /// `VALUE key flags bytes [cas]`.
    fn item<'a>(
        &mut self,
        line: Line<'_>,
        mut parts: impl Iterator<Item = &'a [u8]>,
    ) -> Step<Progress> {
        let _key_and_flags = (parts.next(), parts.next());
        let Some(length) = parts.next().and_then(number) else {
            return Step::Bad("an item without a length");
        };
        self.items = self.items.saturating_add(1);
        self.state = State::ItemEnd;
        Step::Done(Progress::Data(line.len, length))
    }

    /// The first line of a response.
    fn begin(&mut self, line: Line<'_>) -> Step<Progress> {
        self.items = 0;
        let mut parts = words(line.content);
        let first = parts.next().unwrap_or_default();
        match first {
            b"VALUE" => return self.item(line, parts),
            b"VA" => return self.meta_value(line, parts),
            b"STAT" => return self.statistic(line, parts),
            b"ITEM" | b"PREFIX" => return self.list(line, State::Lines),
            b"mg" => return self.list(line, State::MetaLines),
            _ if first.starts_with(b"key=") => return self.list(line, State::Lines),
            _ => {}
        }
        match simple(first) {
            Some((word, status)) => {
                let mut done = Done::word(word, status);
                if is_error(status) {
                    done = failed(line, status);
                    done.reply.word = word;
                } else {
                    meta_flags(word, parts, &mut done);
                }
                Step::Done(Progress::Ends(line.len, done))
            }
            None => other(line, first),
        }
    }

    /// `STAT name value`. That sizes are counted from now on is told by a line of its own, without an `END`, and why they
    /// cannot be by two of them.
    fn statistic<'a>(
        &mut self,
        line: Line<'_>,
        mut parts: impl Iterator<Item = &'a [u8]>,
    ) -> Step<Progress> {
        match (parts.next(), parts.next()) {
            (Some(b"sizes_status"), Some(b"enabled")) => {
                Step::Done(Progress::Ends(line.len, Done::word(word::LINES, 0)))
            }
            (Some(b"sizes_status"), Some(b"disabled")) => {
                self.state = State::Lines;
                Step::Done(Progress::MayEnd(line.len))
            }
            _ => self.list(line, State::Lines),
        }
    }

    fn list(&mut self, line: Line<'_>, state: State) -> Step<Progress> {
        self.state = state;
        Step::Done(Progress::Goes(line.len))
    }

    /// `VA size flags…`.
    fn meta_value<'a>(
        &mut self,
        line: Line<'_>,
        mut parts: impl Iterator<Item = &'a [u8]>,
    ) -> Step<Progress> {
        let Some(length) = parts.next().and_then(number) else {
            return Step::Bad("a value without a length");
        };
        let mut done = Done::default();
        meta_flags(word::VA, parts, &mut done);
        (self.tag, self.made) = (done.reply.tag, done.reply.made);
        self.state = State::MetaEnd;
        Step::Done(Progress::Data(line.len, length))
    }
}

/// Responses of one line, by their first word.
fn simple(first: &[u8]) -> Option<(u32, u16)> {
    Some(match first {
        b"END" => (word::ITEMS, 0),
        b"STORED" => (word::STORED, 0),
        b"HD" => (word::HD, 0),
        b"EN" => (word::EN, status::NOT_FOUND),
        b"MN" => (word::MN, 0),
        b"NOT_FOUND" => (word::NOT_FOUND, status::NOT_FOUND),
        b"NOT_STORED" => (word::STORED, status::NOT_STORED),
        b"EXISTS" => (word::STORED, status::EXISTS),
        b"DELETED" => (word::DELETED, 0),
        b"TOUCHED" => (word::TOUCHED, 0),
        b"OK" => (word::OK, 0),
        b"NF" => (word::NF, status::NOT_FOUND),
        b"NS" => (word::NS, status::NOT_STORED),
        b"EX" => (word::EX, status::EXISTS),
        b"ME" => (word::ME, 0),
        b"VERSION" => (word::VERSION, 0),
        b"RESET" => (word::LINES, 0),
        b"ERROR" => (word::ERROR, status::ERROR),
        b"CLIENT_ERROR" => (word::ERROR, status::CLIENT_ERROR),
        b"SERVER_ERROR" => (word::ERROR, status::SERVER_ERROR),
        b"BUSY" => (word::OTHER, status::BUSY),
        b"BADCLASS" => (word::OTHER, status::BADCLASS),
        b"NOSPARE" => (word::OTHER, status::NOSPARE),
        b"NOTFULL" => (word::OTHER, status::NOTFULL),
        b"UNSAFE" => (word::OTHER, status::UNSAFE),
        b"SAME" => (word::OTHER, status::SAME),
        _ => return None,
    })
}

/// A number, or a line that only the request can explain.
fn other(line: Line<'_>, first: &[u8]) -> Step<Progress> {
    if number(first).is_some() {
        return Step::Done(Progress::Ends(line.len, Done::word(word::NUMBER, 0)));
    }
    let printable = line
        .content
        .iter()
        .all(|byte| matches!(byte, b'\t' | 0x20..=0x7e));
    if first.is_empty() || !printable {
        return Step::Bad("a response line of unprintable bytes");
    }
    Step::Done(Progress::Ends(line.len, Done::word(word::OTHER, 0)))
}

/// An error line; what follows its word is its text.
fn failed(line: Line<'_>, status: u16) -> Done {
    let mut done = Done::word(word::ERROR, status);
    let space = line.content.iter().position(|byte| *byte == b' ');
    done.text = space.map(|space| (space + 1, line.content.len()));
    done
}

/// Hit or miss, and the flags that say whose response it is.
fn meta_flags<'a>(class: u32, parts: impl Iterator<Item = &'a [u8]>, done: &mut Done) {
    match class {
        word::HD => done.hits = 1,
        word::EN => done.misses = 1,
        word::VA | word::NF | word::NS | word::EX => {}
        _ => return,
    }
    let (mut won, mut stale, mut opaque) = (false, false, false);
    for flag in parts {
        match flag.split_first() {
            Some((b'O', token)) => {
                done.reply.tag = hash(token);
                opaque = true;
            }
            Some((b'k', key)) if !opaque => done.reply.tag = hash(key),
            Some((b'W', _)) => won = true,
            Some((b'X', _)) => stale = true,
            _ => {}
        }
    }
    done.reply.made = won && !stale;
}

/// Whether this line can hardly be anything but the first of a memcached response.
pub(super) fn unmistakable(content: &[u8]) -> bool {
    let mut parts = words(content);
    let first = parts.next().unwrap_or_default();
    let more = words(content).count() - usize::from(!first.is_empty());
    if !content.iter().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return false;
    }
    match first {
        b"VALUE" => matches!(more, 3 | 4) && parts.skip(1).all(|part| number(part).is_some()),
        b"VA" => parts.next().and_then(number).is_some(),
        b"STAT" | b"CLIENT_ERROR" | b"SERVER_ERROR" => more >= 1,
        b"ERROR" => true,
        b"ITEM" | b"PREFIX" | b"ME" => more >= 2,
        b"VERSION" => more == 1,
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" => parts.all(|flag| flag.len() <= 251),
        _ => more == 0 && simple(first).is_some_and(|(class, _)| class != word::OTHER),
    }
}

/// As [`unmistakable`], and a word that no other line protocol uses.
pub(super) fn distinct(content: &[u8]) -> bool {
    let words = [
        &b"VALUE "[..],
        b"VA ",
        b"STAT ",
        b"STORED",
        b"NOT_STORED",
        b"CLIENT_ERROR ",
    ];
    words.iter().any(|word| content.starts_with(word)) && unmistakable(content)
}

/// Whether these bytes, which hold no line end, can be the beginning of a response.
pub(super) fn might_begin(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b' ');
    let first = parts.next().unwrap_or_default();
    let start = first.strip_suffix(b"\r").unwrap_or(first);
    if parts.next().is_some() {
        return WORDS.contains(&first);
    }
    WORDS.iter().any(|word| word.starts_with(start))
}

/// First words of responses.
static WORDS: &[&[u8]] = &[
    b"VALUE",
    b"END",
    b"STORED",
    b"NOT_STORED",
    b"EXISTS",
    b"NOT_FOUND",
    b"DELETED",
    b"TOUCHED",
    b"OK",
    b"RESET",
    b"VERSION",
    b"STAT",
    b"ITEM",
    b"PREFIX",
    b"ERROR",
    b"CLIENT_ERROR",
    b"SERVER_ERROR",
    b"HD",
    b"VA",
    b"EN",
    b"NF",
    b"NS",
    b"EX",
    b"MN",
    b"ME",
];
