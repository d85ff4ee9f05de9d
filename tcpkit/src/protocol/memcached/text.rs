//! Text requests: one line, for storage commands followed by a data block.
//!
//! Follows memcached's doc/protocol.txt, meta commands included. Where a line breaks its command's
//! grammar the server answers an error and reads on with the next line, data block or not; this
//! does the same, checked against memcached 1.6. So a line with an unknown word is a request too:
//! its answer is `ERROR`.

use super::command::{self, Command, Kind, Shape};
use super::pending::{Entry, hash};
use super::{Head, Step};
use crate::limits::{MEMCACHED_KEY, MEMCACHED_LINE};

/// Longest line of anything but a `get` of many keys (memcached closes the connection).
const LINE: usize = 2048;

/// A line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// What stands before `\r\n`, or a bare `\n`.
    pub content: &'a [u8],
    /// Length with its end.
    pub len: usize,
}

/// The first line of `bytes`, of which the first `seen` bytes hold no line end.
pub(super) fn line(bytes: &[u8], seen: usize) -> Option<Line<'_>> {
    let end = seen + memchr::memchr(b'\n', bytes.get(seen..)?)?;
    let content = bytes.get(..end)?;
    Some(Line {
        content: content.strip_suffix(b"\r").unwrap_or(content),
        len: end + 1,
    })
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
}

/// The request that `bytes` begin with; the first `seen` of them hold no line end.
pub(super) fn request(bytes: &[u8], seen: usize) -> Step<Head> {
    if !bytes
        .first()
        .is_none_or(|byte| matches!(byte, b'\r' | b'\n' | 0x20..=0x7e))
    {
        return Step::Bad("a request line of unprintable bytes");
    }
    let Some(line) = line(bytes, seen) else {
        return if bytes.len() < limit(bytes) {
            Step::More
        } else {
            TOO_LONG
        };
    };
    if line.len > LINE && line.len > limit(bytes) {
        return TOO_LONG;
    }
    let mut params = words(line.content);
    let word = params.next().unwrap_or_default();
    match command::text(word) {
        Some(command) => Step::Done(
            Params {
                line,
                command,
                params,
            }
            .head(),
        ),
        // Answered by `ERROR`.
        None if word.iter().all(u8::is_ascii_graphic) => {
            Step::Done(Head::line(line, 0, Some(Entry::new(Kind::Admin))))
        }
        None => Step::Bad("a request line of unprintable bytes"),
    }
}

const TOO_LONG: Step<Head> = Step::Bad("a request line without an end");

/// How long the line that `bytes` begin with may be.
fn limit(bytes: &[u8]) -> usize {
    let spaces = bytes
        .iter()
        .take(LINE)
        .take_while(|byte| **byte == b' ')
        .count();
    let start = bytes.get(spaces..).unwrap_or_default();
    let many = [&b"get "[..], b"gets ", b"gat ", b"gats "];
    if many.iter().any(|word| start.starts_with(word)) {
        MEMCACHED_LINE
    } else {
        LINE
    }
}

struct Params<'a, I> {
    line: Line<'a>,
    command: &'static Command,
    params: I,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Params<'a, I> {
    fn head(mut self) -> Head {
        let mut entry = Entry::new(self.command.kind);
        let mut body = None;
        let mut silent = false;
        match self.command.shape {
            Shape::Keys(before) => entry.count = self.keys(before),
            Shape::Data(more) => (body, silent) = self.data(more),
            Shape::Noreply(least, most) => silent = self.is_silent(least, most),
            Shape::Plain => self.plain(&mut entry),
            Shape::Meta => self.meta(&mut entry),
            Shape::MetaData => body = self.meta_data(&mut entry),
            Shape::Silent => silent = true,
        }
        let mut head = Head::line(self.line, self.command.label, (!silent).then_some(entry));
        if let Some(length) = body {
            head.body = length;
            head.trailer = 2;
        }
        head
    }

    fn is_silent(&mut self, least: u8, most: u8) -> bool {
        let (mut count, mut last) = (0_usize, None);
        for param in self.params.by_ref() {
            (count, last) = (count + 1, Some(param));
        }
        last == Some(b"noreply") && (usize::from(least)..=usize::from(most)).contains(&count)
    }

    /// What the parameters of an administrator's command say of its answer.
    fn plain(&mut self, entry: &mut Entry) {
        match entry.kind {
            Kind::Stats => {
                let what = self.params.next();
                if matches!(what, Some(b"sizes_enable" | b"sizes_disable")) {
                    entry.kind = Kind::Sizes;
                }
            }
            Kind::Admin | Kind::Watch => self.administers(entry),
            _ => {}
        }
    }

    /// Some of what these do knows `noreply`, and some answers an error: which, is not worth a list.
    fn administers(&mut self, entry: &mut Entry) {
        let may = matches!(self.command.name, "lru" | "slabs" | "extstore" | "watch");
        if may && self.params.by_ref().last() == Some(b"noreply") {
            entry.flags |= Entry::QUIET;
        }
    }

    fn keys(&mut self, before: u8) -> u16 {
        let count = self.params.by_ref().skip(usize::from(before)).count();
        count.min(usize::from(u16::MAX)) as u16
    }

    /// `key flags exptime bytes [cas] [noreply]`: the length of the data block that follows, if
    /// the server will take what follows for one, and whether it will be silent.
    fn data(&mut self, more: u8) -> (Option<u64>, bool) {
        let mut next = || self.params.next();
        let fixed = [next(), next(), next(), next()];
        let unique = if more > 0 { next() } else { None };
        let last = next();
        let extra = next().is_some();
        let enough = more == 0 || unique.is_some();
        // The server looks for it before it looks whether what stands there is the length that it wants.
        let silent = enough && !extra && last.or(unique).or(fixed[3]) == Some(b"noreply");
        let [Some(key), Some(flags), Some(expiry), Some(length)] = fixed else {
            return (None, false);
        };
        let good = !extra
            && key.len() <= MEMCACHED_KEY
            && number(flags).is_some()
            && number(expiry.strip_prefix(b"-").unwrap_or(expiry)).is_some()
            && (more == 0 || unique.and_then(number).is_some());
        (data_length(length).filter(|_| good), silent)
    }

    /// `key datalen flags…`.
    fn meta_data(&mut self, entry: &mut Entry) -> Option<u64> {
        let key = self.params.next()?;
        let length = data_length(self.params.next()?);
        self.flags(hash(key), entry);
        length.filter(|_| key.len() <= MEMCACHED_KEY)
    }

    /// `key flags…`.
    fn meta(&mut self, entry: &mut Entry) {
        let key = self.params.next().unwrap_or_default();
        self.flags(hash(key), entry);
        if entry.kind == Kind::MetaGet {
            entry.flags |= Entry::READS;
        }
    }

    /// The flags that decide whether and how the server answers.
    fn flags(&mut self, key: u32, entry: &mut Entry) {
        let (mut vivify, mut recache) = (false, false);
        for flag in self.params.by_ref() {
            match flag.split_first() {
                Some((b'q', _)) => entry.flags |= Entry::QUIET,
                Some((b'O', token)) => entry.tag = hash(token),
                Some((b'k', _)) if entry.tag == 0 => entry.tag = key,
                Some((b'N', _)) => vivify = true,
                Some((b'R', _)) => recache = true,
                _ => {}
            }
        }
        let makes = match entry.kind {
            Kind::MetaGet => vivify && !recache,
            kind => vivify && kind == Kind::MetaCount,
        };
        if makes {
            entry.flags |= Entry::VIVIFIES;
        }
    }
}

/// A decimal number as the server reads it.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"+").unwrap_or(word);
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The length of a data block: the server takes no more than an `int`, less the line end.
fn data_length(word: &[u8]) -> Option<u64> {
    number(word).filter(|length| *length <= i32::MAX as u64 - 2)
}

/// Whether this line is a request whose parameters are all as they must be, so that hardly
/// anything else can look like it.
pub(super) fn unmistakable(content: &[u8]) -> bool {
    let mut params = words(content);
    let Some(command) = params.next().and_then(command::text) else {
        return false;
    };
    if content.first() == Some(&b' ') || !content.iter().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return false;
    }
    let count = words(content).count() - 1;
    match command.shape {
        Shape::Keys(before) => count > usize::from(before) && keys_fit(content, before),
        Shape::Data(_) | Shape::MetaData => {
            let line = Line {
                content,
                len: content.len(),
            };
            Params {
                line,
                command,
                params,
            }
            .head()
            .trailer
                > 0
        }
        Shape::Meta => count >= 1 && words(content).skip(2).all(is_flag),
        Shape::Noreply(..) => match command.kind {
            Kind::Count | Kind::Touch => {
                (2..=3).contains(&count) && params.nth(1).and_then(number).is_some()
            }
            Kind::Delete => count == 1 || content.ends_with(b" noreply"),
            _ => count <= 2,
        },
        Shape::Plain | Shape::Silent => match command.kind {
            Kind::MetaDebug => count == 1,
            Kind::Admin | Kind::Watch => count >= 1,
            _ => count <= 2,
        },
    }
}

/// As [`unmistakable`], and in a form that no other line protocol uses: `get key` is also how
/// redis takes commands by hand, and `stats` is said to many servers.
pub(super) fn distinct(content: &[u8]) -> bool {
    let Some(command) = words(content).next().and_then(command::text) else {
        return false;
    };
    let formed = match command.shape {
        Shape::Data(_) | Shape::MetaData => true,
        Shape::Keys(_) => command.name != "get",
        Shape::Meta => words(content).count() > 2,
        _ => false,
    };
    formed && unmistakable(content)
}

/// Whether these bytes, which hold no line end, can be the beginning of a request.
pub(super) fn might_begin(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == b' ');
    match (parts.next(), parts.next()) {
        (Some(word), Some(_)) => command::text(word).is_some(),
        (Some(start), None) => command::might_begin(start),
        _ => false,
    }
}

fn keys_fit(content: &[u8], before: u8) -> bool {
    let mut params = words(content).skip(1);
    (0..before).all(|_| params.next().and_then(number).is_some())
        && params.all(|key| key.len() <= MEMCACHED_KEY)
}

/// One letter, then a token or nothing.
fn is_flag(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphabetic) && word.len() <= 40
}
