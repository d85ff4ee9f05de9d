//! Cuts requests: arrays of bulk strings, and inline commands.
//!
//! [`whole`] is the hot path: a request that lies whole in the input, told in one pass without
//! keeping anything. What it does not take, [`Partial`] does, one argument at a time. Limits are
//! redis' own (`processMultibulkBuffer`, `processInlineBuffer`); beyond them a server closes the
//! connection.

use std::borrow::Cow;

use super::commands::{self, Kind};
use super::session::Effect;
use super::token::{self, Token};
use crate::limits;
use crate::protocol::Mark;

/// Arguments of one request (redis: `1024*1024` before 7.0).
pub(super) const ARGUMENTS: u32 = 1024 * 1024;

/// Bytes of one argument (redis: `proto-max-bulk-len`).
pub(super) const ARGUMENT_BYTES: u32 = 512 << 20;

/// Bytes of an inline command (redis: `PROTO_INLINE_MAX_SIZE`).
pub(super) const INLINE_BYTES: usize = 64 << 10;

/// Arguments up to this length are looked at whole; longer ones are no command, option or word
/// that matters here.
const WORD_BYTES: u32 = 64;

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Bytes on the wire.
    pub(super) len: usize,
    /// Arguments, the command's name among them.
    pub(super) arguments: u32,
    /// Length of the text.
    pub(super) text_len: u32,
    /// Index into the commands.
    pub(super) command: u16,
    /// What the command does.
    pub(super) kind: Kind,
}

/// The request at the front, if it is an array that lies whole in `bytes`.
#[inline(always)]
pub(super) fn whole(bytes: &[u8]) -> Option<Request> {
    let (arguments, mut len, mut data) = begin(bytes)?;
    let (command, kind) = commands::find(data, len as usize);
    let mut text_len = len + (arguments - 1);
    for _ in 1..arguments {
        (len, data) = token::next_string(data, len)?;
        text_len = text_len.saturating_add(len);
    }
    let rest = token::string_tail(data, len)?;
    Some(Request {
        len: bytes.len() - rest.len(),
        arguments,
        text_len,
        command,
        kind,
    })
}

/// The number of arguments, the first one's length, and what follows. Eight bytes at once, as
/// nearly all requests have few arguments and a short name.
#[inline(always)]
pub(super) fn begin(bytes: &[u8]) -> Option<(u32, u32, &[u8])> {
    const FORM: u64 = u64::from_le_bytes(*b"*\0\r\n$\0\r\n");
    const SIGNS: u64 = u64::from_le_bytes([255, 0, 255, 255, 255, 0, 255, 255]);
    if let Some((word, rest)) = bytes.split_first_chunk::<8>() {
        let [_, count, _, _, _, len, ..] = *word;
        let (count, len) = (count.wrapping_sub(b'0'), len.wrapping_sub(b'0'));
        if u64::from_le_bytes(*word) & SIGNS == FORM && count.wrapping_sub(1) < 9 && len < 10 {
            return Some((u32::from(count), u32::from(len), rest));
        }
    }
    begin_slowly(bytes)
}

#[cold]
fn begin_slowly(bytes: &[u8]) -> Option<(u32, u32, &[u8])> {
    let [b'*', rest @ ..] = bytes else {
        return None;
    };
    let (arguments, rest) =
        token::digits(rest).filter(|(count, _)| (1..=ARGUMENTS).contains(count))?;
    let (len, data) = token::string_head(rest)?;
    Some((arguments, len, data))
}

/// The arguments of an array of bulk strings, as far as they are there.
#[derive(Clone, Debug)]
pub(super) struct Arguments<'a> {
    rest: &'a [u8],
    left: u32,
}

/// One argument, perhaps cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument<'a> {
    /// Its bytes, or the first of them.
    pub(super) bytes: Cow<'a, [u8]>,
    /// How long it is.
    pub(super) len: u32,
}

impl<'a> Arguments<'a> {
    /// Of a request that begins with `*`. Empty where its head is not whole.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        match bytes
            .split_first()
            .and_then(|(_, rest)| token::digits(rest))
        {
            Some((left, rest)) => Self { rest, left },
            None => Self { rest: &[], left: 0 },
        }
    }

    /// How many the request has, of those not yet taken.
    pub(super) fn left(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = Argument<'a>;

    fn next(&mut self) -> Option<Argument<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (len, data) = token::string_head(self.rest)?;
        self.rest = token::string_tail(data, len).unwrap_or(&[]);
        let bytes = data.get(..len as usize).unwrap_or(data);
        Some(Argument {
            bytes: Cow::Borrowed(bytes),
            len,
        })
    }
}

/// Finds out, argument by argument, what a request is.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    /// Arguments read.
    pub(super) arguments: u32,
    /// Their length together.
    bytes: u32,
    pub(super) command: u16,
    pub(super) kind: Kind,
    pub(super) effect: Effect,
    /// Arguments that belong to the option before them.
    values: u8,
    /// No option follows.
    done: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            arguments: 0,
            bytes: 0,
            command: commands::OTHER,
            kind: Kind::Any,
            effect: Effect::None,
            values: 0,
            done: false,
        }
    }
}

impl Reader {
    /// The effect of a whole array request whose command has options.
    pub(super) fn effect_of(bytes: &[u8]) -> Effect {
        let mut reader = Self::default();
        for argument in Arguments::of(bytes) {
            reader.read(&argument.bytes, argument.len);
            if reader.done {
                break;
            }
        }
        reader.effect
    }

    /// The next argument, which is `len` bytes long; of a long one `bytes` may be empty.
    pub(super) fn read(&mut self, bytes: &[u8], len: u32) {
        let index = self.arguments;
        self.arguments += 1;
        self.bytes = self.bytes.saturating_add(len);
        if index == 0 {
            (self.command, self.kind) = commands::by_name(bytes);
            self.done = !self.kind.has_options();
        } else if !self.done {
            self.option(index, bytes);
        }
    }

    /// Length of the text, were it to end here or, with more arguments known, there.
    pub(super) fn text_len(&self, arguments: u32) -> u32 {
        self.bytes.saturating_add(arguments.saturating_sub(1))
    }

    fn option(&mut self, index: u32, bytes: &[u8]) {
        match self.kind {
            Kind::Replconf => {
                self.done = true;
                if bytes.eq_ignore_ascii_case(b"ACK") {
                    self.effect = Effect::Ack;
                }
            }
            Kind::Client => self.client(index, bytes),
            Kind::Xread | Kind::Xreadgroup => self.stream(bytes),
            _ => self.done = true,
        }
    }

    fn client(&mut self, index: u32, bytes: &[u8]) {
        if index == 1 {
            self.done = !bytes.eq_ignore_ascii_case(b"REPLY");
            return;
        }
        self.done = true;
        let words = [
            (&b"ON"[..], Effect::ReplyOn),
            (b"OFF", Effect::ReplyOff),
            (b"SKIP", Effect::ReplySkip),
        ];
        for (word, effect) in words {
            if bytes.eq_ignore_ascii_case(word) {
                self.effect = effect;
            }
        }
    }

    /// XREAD [COUNT n] [BLOCK ms] STREAMS …, XREADGROUP GROUP group consumer [CLAIM ms] likewise.
    fn stream(&mut self, bytes: &[u8]) {
        let is = |word: &[u8]| bytes.eq_ignore_ascii_case(word);
        if self.values > 0 {
            self.values -= 1;
        } else if is(b"BLOCK") {
            self.effect = Effect::Blocks;
            self.done = true;
        } else if is(b"GROUP") {
            self.values = 2;
        } else if is(b"COUNT") || is(b"CLAIM") {
            self.values = 1;
        } else if is(b"STREAMS") {
            self.done = true;
        }
    }
}

/// How far a [`Partial`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the end.
    Done,
    /// To the end of the input; so many bytes after the consumed ones need not be seen.
    More(u64),
    /// Into something that is no request.
    Bad(&'static str),
}

/// A request of which the beginning was seen.
#[derive(Debug)]
pub(super) struct Partial {
    /// Stream offset of its first byte.
    pub(super) start: u64,
    /// When that was seen.
    pub(super) first: Mark,
    /// Stream offset of the first byte not yet consumed or skipped.
    pub(super) next: u64,
    /// When the last byte so far was seen.
    pub(super) last: Mark,
    /// Arguments in all.
    pub(super) arguments: u32,
    /// What the arguments so far say.
    pub(super) reader: Reader,
    /// Within an argument's bytes or before its line end.
    inside: bool,
    /// Bytes of that argument still to come.
    bytes: u32,
    /// The first bytes of the request, as far as they were consumed.
    pub(super) kept: Vec<u8>,
    /// Whether they are wanted.
    keep: bool,
}

impl Partial {
    /// A request of so many arguments whose head was consumed.
    pub(super) fn new(start: u64, first: Mark, arguments: u32, keep: bool) -> Self {
        Self {
            start,
            first,
            next: start,
            last: first,
            arguments,
            reader: Reader::default(),
            inside: false,
            bytes: 0,
            kept: Vec::new(),
            keep,
        }
    }

    /// Keeps consumed bytes, as far as they will be printed.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.keep {
            let room = limits::KEPT_BYTES.saturating_sub(self.kept.len());
            self.kept
                .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Goes on from `at`, and moves it behind what is done with. Bytes of the request from `from`
    /// on were not kept yet.
    pub(super) fn advance(&mut self, bytes: &[u8], from: usize, at: &mut usize) -> Step {
        while self.reader.arguments < self.arguments || self.inside {
            let rest = bytes.get(*at..).unwrap_or_default();
            let step = if self.inside {
                self.body(rest, *at - from)
            } else {
                self.head(rest)
            };
            match step {
                Ok((len, Step::Done)) => *at += len,
                Ok((len, step)) => {
                    *at += len;
                    return step;
                }
                Err(reason) => return Step::Bad(reason),
            }
        }
        Step::Done
    }

    /// An argument's length; the argument too, if it is short.
    fn head(&mut self, rest: &[u8]) -> Result<(usize, Step), &'static str> {
        let body = match rest {
            [] => return Ok((0, Step::More(0))),
            [b'$', body @ ..] => body,
            _ => return Err("an argument without its length"),
        };
        let (len, head) = match token::number(body) {
            Token::Whole(len, head) => (len, head + 1),
            Token::Short => return Ok((0, Step::More(0))),
            Token::Bad => return Err("an argument without its length"),
        };
        let len = u32::try_from(len).ok().filter(|len| *len <= ARGUMENT_BYTES);
        let len = len.ok_or("an argument's length out of bounds")?;
        if len > WORD_BYTES {
            self.reader.read(&[], len);
            self.inside = true;
            self.bytes = len;
            return Ok((head, Step::Done));
        }
        let end = head + len as usize;
        match (rest.get(head..end), rest.get(end..)) {
            (Some(word), Some([b'\r', b'\n', ..])) => {
                self.reader.read(word, len);
                Ok((end + 2, Step::Done))
            }
            (None, _) | (_, None | Some([] | [b'\r'])) => Ok((0, Step::More(0))),
            _ => Err("an argument longer than its length"),
        }
    }

    /// A long argument's bytes and its line end. `consumed` bytes before `rest` are not kept yet.
    fn body(&mut self, rest: &[u8], consumed: usize) -> Result<(usize, Step), &'static str> {
        if self.bytes == 0 {
            return match rest {
                [b'\r', b'\n', ..] => {
                    self.inside = false;
                    Ok((2, Step::Done))
                }
                [] | [b'\r'] => Ok((0, Step::More(0))),
                _ => Err("an argument longer than its length"),
            };
        }
        let wanted = if self.keep {
            limits::KEPT_BYTES.saturating_sub(self.kept.len() + consumed)
        } else {
            0
        };
        let left = self.bytes as usize;
        if rest.len() >= left {
            self.bytes = 0;
            return Ok((left, Step::Done));
        }
        if rest.len() < wanted {
            self.bytes -= rest.len() as u32;
            return Ok((rest.len(), Step::More(0)));
        }
        self.bytes = 0;
        Ok((wanted, Step::More((left - wanted) as u64)))
    }

    /// How `lost` bytes end that all belong to the argument that was begun; no more text is kept behind them.
    pub(super) fn implied(&mut self, lost: u64) -> Option<&'static [u8]> {
        let end = self.inside.then_some(&mut self.bytes);
        let end = token::string_lost(end?, lost)?;
        self.keep = false;
        Some(end)
    }

    /// Where the request ends, if only bytes of its last argument are missing.
    pub(super) fn end(&self) -> Option<u64> {
        let last = self.inside && self.reader.arguments == self.arguments;
        last.then_some(self.next + u64::from(self.bytes) + 2)
    }
}

/// What stands at the front where no array does.
pub(super) enum Line<'a> {
    /// A line with its end, and the length of both.
    Whole(&'a [u8], usize),
    /// The beginning of one.
    Short,
    /// What no client sends.
    Bad(&'static str),
}

/// The inline command at the front; the first `seen` bytes hold no line feed.
pub(super) fn line(bytes: &[u8], seen: usize) -> Line<'_> {
    let text = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\r');
    match token::line(bytes, seen) {
        Some(line) if line.len() > INLINE_BYTES => Line::Bad("a line too long for a command"),
        Some(line) if !line.iter().all(text) => Line::Bad("neither an array nor a line of text"),
        Some(line) => Line::Whole(line.strip_suffix(b"\r").unwrap_or(line), line.len() + 1),
        None if bytes.len() > INLINE_BYTES => Line::Bad("a line too long for a command"),
        None if bytes
            .first()
            .is_some_and(|byte| *byte != b'\n' && !text(byte)) =>
        {
            Line::Bad("neither an array nor a line of text")
        }
        None => Line::Short,
    }
}

/// The arguments of an inline command, with quotes as redis reads them (`sdssplitargs`). Quotes
/// that do not close end with the line.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// Of a line without its end.
    pub(super) fn of(line: &'a [u8]) -> Self {
        Self { rest: line }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Argument<'a>;

    fn next(&mut self) -> Option<Argument<'a>> {
        let blanks = self.rest.iter().take_while(|byte| is_blank(**byte)).count();
        let rest = self.rest.get(blanks..).filter(|rest| !rest.is_empty())?;
        let plain = rest
            .iter()
            .take_while(|byte| !is_blank(**byte) && !matches!(byte, b'"' | b'\''))
            .count();
        let (bytes, rest) = match rest.split_at_checked(plain) {
            Some((word, after)) if after.first().is_none_or(|byte| is_blank(*byte)) => {
                (Cow::Borrowed(word), after)
            }
            _ => quoted(rest),
        };
        self.rest = rest;
        let len = bytes.len() as u32;
        Some(Argument { bytes, len })
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A word in which quotes stand, and what follows it.
fn quoted(bytes: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut word = Vec::new();
    let mut rest = bytes;
    let mut quote = None;
    while let [byte, after @ ..] = rest {
        rest = match (quote, byte, after) {
            (None, byte, _) if is_blank(*byte) => break,
            (None, b'"' | b'\'', after) => {
                quote = Some(*byte);
                after
            }
            (Some(open), byte, after) if open == *byte => {
                quote = None;
                after
            }
            (Some(b'"'), b'\\', [b'x', high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(nibble(*high) << 4 | nibble(*low));
                after
            }
            (Some(b'"'), b'\\', [byte, after @ ..]) => {
                word.push(unescape(*byte));
                after
            }
            (Some(b'\''), b'\\', [b'\'', after @ ..]) => {
                word.push(b'\'');
                after
            }
            (_, byte, after) => {
                word.push(*byte);
                after
            }
        };
    }
    (Cow::Owned(word), rest)
}

fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        Words::of(line.as_bytes())
            .map(|word| word.bytes.into_owned())
            .collect()
    }

    #[test]
    fn words_as_redis_splits_them() {
        assert_eq!(words("set  foo\tbar "), [b"set", b"foo", b"bar"]);
        assert_eq!(
            words(r#"set k "a b\n\x41\"" 'it\'s' "#),
            [&b"set"[..], b"k", b"a b\nA\"", b"it's"]
        );
        assert_eq!(words(r#""" ''"#), [b"", b""]);
        assert_eq!(words(r#"a"b c"#), [b"ab c"]);
        assert!(words("  \t ").is_empty());
    }

    #[test]
    fn a_whole_request() {
        let bytes = b"*3\r\n$3\r\nset\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n*1\r\n";
        let request = whole(bytes).map(|request| {
            (
                request.len,
                request.arguments,
                request.text_len,
                request.kind,
            )
        });
        assert_eq!(request, Some((bytes.len() - 4, 3, 24, Kind::Scalar)));
        for len in 0..bytes.len() - 4 {
            assert_eq!(whole(bytes.get(..len).unwrap_or_default()), None);
        }
    }
}
