//! Cuts responses: every type of RESP2 and RESP3.
//!
//! [`quick`] is the hot path: a scalar that lies whole in the input. What it does not take, a
//! [`Walk`] does: one value with everything nested in it, without recursion, stopped and gone on
//! with at any byte. Streamed strings and aggregates are as the RESP3 specification has them.

use super::session::{Reply, Word};
use super::status;
use super::token::{self, Token};
use crate::limits;

/// Bytes of a simple string, an error or a number. What redis sends is far shorter.
pub(super) const LINE_BYTES: usize = 64 << 10;

/// Elements of one aggregate, and bytes of one string: what a 32-bit length can say.
const LENGTH: i64 = i32::MAX as i64;

/// A count of elements that is told by their end.
const STREAMED: u32 = u32::MAX;

/// Not a count: a streamed string, which is made of chunks.
const CHUNKS: u32 = u32::MAX - 1;

/// A scalar that is neither an error nor out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quick {
    /// Bytes on the wire.
    pub(super) len: usize,
    /// Its type byte.
    pub(super) kind: u8,
    /// Whether it is a null.
    pub(super) null: bool,
}

/// The scalar at the front, if it lies whole in `bytes` and is neither an error nor out of the
/// ordinary.
#[inline(always)]
pub(super) fn quick(bytes: &[u8]) -> Option<Quick> {
    const OK: u32 = u32::from_le_bytes(*b"+OK\r");
    const NULL: u32 = u32::from_le_bytes(*b"$-1\r");
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let scalar = |kind, len, null| Quick { len, kind, null };
    match u32::from_le_bytes(*head) {
        OK if rest.first() == Some(&b'\n') => return Some(scalar(b'+', 5, false)),
        NULL if rest.first() == Some(&b'\n') => return Some(scalar(b'$', 5, true)),
        _ => {}
    }
    let rest = match bytes {
        [b'$', ..] => {
            let (len, data) = token::string_head(bytes)?;
            token::string_tail(data, len)?
        }
        [b':', rest @ ..] => token::digits(rest)?.1,
        _ => return None,
    };
    Some(scalar(head[0], bytes.len() - rest.len(), false))
}

/// How far a [`Walk`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the end of the value.
    Done,
    /// To the end of the input; so many bytes after the consumed ones need not be seen.
    More(u64),
    /// Into something that is no RESP.
    Bad(&'static str),
}

/// The text of an error: where it is in the input of this call, and how long it is altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorText {
    pub(super) start: usize,
    pub(super) shown: usize,
    pub(super) len: u32,
}

/// One value, as far as it was seen.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// What is known of it; `kind` is 0 before its own first byte.
    pub(super) reply: Reply,
    /// Status code of an error.
    pub(super) status: u16,
    /// Its text, if it came in this call.
    pub(super) error: Option<ErrorText>,
    /// How many elements the value said it has.
    declared: u32,
    /// Within a string's bytes or before its line end.
    inside: bool,
    /// Bytes of that string still to come.
    bytes: u32,
    depth: u8,
    /// A bit a level: whether it is an attribute, which is no value.
    attributes: u32,
    /// Elements still to come, a level.
    left: [u32; limits::NESTING],
}

type Progress = Result<(usize, Step), &'static str>;

impl Walk {
    pub(super) fn new() -> Self {
        Self {
            reply: Reply::default(),
            status: 0,
            error: None,
            declared: 0,
            inside: false,
            bytes: 0,
            depth: 0,
            attributes: 0,
            left: [0; limits::NESTING],
        }
    }

    /// Goes on from `at`, and moves it behind what is done with. The first `seen` bytes of `bytes`
    /// hold no line feed.
    pub(super) fn advance(&mut self, bytes: &[u8], at: &mut usize, seen: usize) -> Step {
        loop {
            let mut rest = bytes.get(*at..).unwrap_or_default();
            if !self.inside && self.depth > 0 {
                let len = self.strings(rest);
                *at += len;
                rest = rest.get(len..).unwrap_or_default();
            }
            let step = if self.inside {
                self.body(rest)
            } else {
                self.value(rest, *at, seen.saturating_sub(*at))
            };
            match step {
                // Values are done one by one; the whole is when no level is open.
                Ok((len, Step::Done)) => {
                    *at += len;
                    if self.ended() {
                        return Step::Done;
                    }
                }
                Ok((len, Step::More(0))) if len > 0 => *at += len,
                Ok((len, step)) => {
                    *at += len;
                    return step;
                }
                Err(reason) => return Step::Bad(reason),
            }
        }
    }

    /// Strings that lie whole at the front, which is what most aggregates are made of; not the last
    /// of its level, nor one whose text may tell something. Returns how many bytes they are.
    #[inline]
    fn strings(&mut self, bytes: &[u8]) -> usize {
        let element = self.is_element();
        let Some(level) = self.left.get_mut(usize::from(self.depth.saturating_sub(1))) else {
            return 0;
        };
        if *level >= CHUNKS || (element && self.reply.elements == 0) {
            return 0;
        }
        let (mut rest, mut count, mut nulls) = (bytes, 0, 0);
        while count + 1 < *level {
            rest = match token::string_head(rest)
                .and_then(|(len, data)| token::string_tail(data, len))
            {
                Some(rest) => rest,
                None => match rest {
                    [b'$', b'-', b'1', b'\r', b'\n', rest @ ..] => {
                        nulls += 1;
                        rest
                    }
                    _ => break,
                },
            };
            count += 1;
        }
        *level -= count;
        if element {
            self.reply.elements = self.reply.elements.saturating_add(count);
            self.reply.nulls = self.reply.nulls.saturating_add(nulls);
        }
        bytes.len() - rest.len()
    }

    /// One value has ended, and with it perhaps those that it was the last element of. Whether it
    /// was all.
    #[inline]
    fn ended(&mut self) -> bool {
        loop {
            let Some(level) = self.depth.checked_sub(1) else {
                return true;
            };
            let Some(left) = self.left.get_mut(usize::from(level)) else {
                return true;
            };
            if *left == STREAMED {
                return false;
            }
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
            if self.leave() {
                return false;
            }
        }
    }

    /// Leaves a level; whether it was an attribute's, so that the value is still to come.
    fn leave(&mut self) -> bool {
        self.depth = self.depth.saturating_sub(1);
        let bit = 1 << (self.depth & 31);
        let attribute = self.attributes & bit != 0;
        self.attributes &= !bit;
        attribute
    }

    fn level(&self) -> Option<u32> {
        self.left
            .get(usize::from(self.depth.checked_sub(1)?))
            .copied()
    }

    /// Whether the next value is an element of the value itself.
    #[inline]
    fn is_element(&self) -> bool {
        self.depth == 1 && self.attributes & 1 == 0
    }

    /// How `lost` bytes end that all belong to the string that was begun.
    pub(super) fn implied(&mut self, lost: u64) -> Option<&'static [u8]> {
        let left = self.inside.then_some(&mut self.bytes);
        token::string_lost(left?, lost)
    }

    /// A string's bytes and its line end.
    #[inline]
    fn body(&mut self, rest: &[u8]) -> Progress {
        let len = self.bytes as usize;
        match rest.get(len..) {
            None => {
                self.bytes = 0;
                Ok((0, Step::More(len as u64)))
            }
            Some([b'\r', b'\n', ..]) => {
                self.inside = false;
                self.bytes = 0;
                // More: a chunk of a streamed string is not yet the string.
                Ok((
                    len + 2,
                    if self.level() == Some(CHUNKS) {
                        Step::More(0)
                    } else {
                        Step::Done
                    },
                ))
            }
            Some([] | [b'\r']) => {
                self.bytes = 0;
                Ok((0, Step::More(len as u64)))
            }
            Some(_) => Err("a string longer than its length"),
        }
    }

    /// The head of a value; all of it where it is a line.
    fn value(&mut self, rest: &[u8], at: usize, seen: usize) -> Progress {
        let Some((kind, body)) = rest.split_first() else {
            return Ok((0, Step::More(0)));
        };
        if self.level() == Some(CHUNKS) {
            return self.chunk(*kind, body);
        }
        match kind {
            b'$' | b'=' | b'!' => self.string(*kind, body, at),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(*kind, body),
            b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_' => self.line(*kind, rest, at, seen),
            b'.' => self.end_of_stream(body),
            _ => Err("no type of RESP"),
        }
    }

    fn string(&mut self, kind: u8, body: &[u8], at: usize) -> Progress {
        if let [b'?', rest @ ..] = body {
            return self.streamed(kind == b'$', kind, rest, CHUNKS);
        }
        let (len, head) = match token::number(body) {
            Token::Whole(len, head) => (len, head),
            Token::Short => return Ok((0, Step::More(0))),
            Token::Bad => return Err("a string without its length"),
        };
        if len == -1 && kind == b'$' {
            self.note(kind, true);
            return Ok((1 + head, Step::Done));
        }
        if !(0..=LENGTH).contains(&len) {
            return Err("a string's length out of bounds");
        }
        let data = body.get(head..).unwrap_or_default();
        if kind == b'!' && self.depth == 0 && !self.note_error(data, len as usize, at + 1 + head) {
            return Ok((0, Step::More(0)));
        }
        if self.is_element() && self.reply.elements == 0 && self.declared <= 4 {
            match self.first_word(data, len as usize) {
                Some(word) => self.reply.word = word,
                None => return Ok((0, Step::More(0))),
            }
        }
        self.note(kind, false);
        self.inside = true;
        self.bytes = len as u32;
        Ok((1 + head, Step::More(0)))
    }

    /// What the first element says; `None` where it is a candidate that is not whole yet.
    fn first_word(&self, data: &[u8], len: usize) -> Option<Word> {
        match len {
            7..=12 => data.get(..len).map(|word| word_of(word, self.declared)),
            _ => Some(Word::None),
        }
    }

    /// Whether so much of an error's text is there as will be shown.
    fn note_error(&mut self, data: &[u8], len: usize, start: usize) -> bool {
        let shown = len.min(limits::KEPT_BYTES);
        let Some(text) = data.get(..shown) else {
            return false;
        };
        self.status = status::of(text);
        if status::may_refuse_reply(text) {
            self.reply.word = Word::Refused;
        }
        self.error = Some(ErrorText {
            start,
            shown,
            len: len as u32,
        });
        true
    }

    fn streamed(&mut self, allowed: bool, kind: u8, rest: &[u8], level: u32) -> Progress {
        match rest {
            _ if !allowed => Err("a type that cannot be streamed"),
            [b'\r', b'\n', ..] => {
                self.note(kind, false);
                self.enter(level, false)?;
                Ok((4, Step::More(0)))
            }
            [] | [b'\r'] => Ok((0, Step::More(0))),
            _ => Err("a length that is no number"),
        }
    }

    fn chunk(&mut self, kind: u8, body: &[u8]) -> Progress {
        if kind != b';' {
            return Err("no part of a streamed string");
        }
        match token::number(body) {
            Token::Whole(0, head) => {
                self.leave();
                Ok((1 + head, Step::Done))
            }
            Token::Whole(len @ 1..=LENGTH, head) => {
                self.inside = true;
                self.bytes = len as u32;
                Ok((1 + head, Step::More(0)))
            }
            Token::Short => Ok((0, Step::More(0))),
            _ => Err("a string's length out of bounds"),
        }
    }

    fn end_of_stream(&mut self, body: &[u8]) -> Progress {
        if self.level() != Some(STREAMED) {
            return Err("an end of nothing");
        }
        match body {
            [b'\r', b'\n', ..] => {
                self.leave();
                Ok((3, Step::Done))
            }
            [] | [b'\r'] => Ok((0, Step::More(0))),
            _ => Err("an end of nothing"),
        }
    }

    fn aggregate(&mut self, kind: u8, body: &[u8]) -> Progress {
        if let [b'?', rest @ ..] = body {
            return self.streamed(kind != b'|', kind, rest, STREAMED);
        }
        let (count, head) = match token::number(body) {
            Token::Whole(count, head) => (count, head),
            Token::Short => return Ok((0, Step::More(0))),
            Token::Bad => return Err("an aggregate without its count"),
        };
        let count = if matches!(kind, b'%' | b'|') {
            count.saturating_mul(2)
        } else {
            count
        };
        let null = count == -1 && kind == b'*';
        if !null && !(0..=LENGTH).contains(&count) {
            return Err("an aggregate's count out of bounds");
        }
        let attribute = kind == b'|';
        if !attribute {
            self.note(kind, null);
        }
        if count > 0 {
            self.enter(count as u32, attribute)?;
        }
        let more = attribute || count > 0;
        Ok((1 + head, if more { Step::More(0) } else { Step::Done }))
    }

    fn enter(&mut self, count: u32, attribute: bool) -> Result<(), &'static str> {
        let level = self
            .left
            .get_mut(usize::from(self.depth))
            .ok_or("nested too deep")?;
        *level = count;
        self.attributes |= u32::from(attribute) << (self.depth & 31);
        if self.depth == 0 && !attribute {
            self.declared = count;
        }
        self.depth += 1;
        Ok(())
    }

    fn line(&mut self, kind: u8, rest: &[u8], at: usize, seen: usize) -> Progress {
        let line = match token::line(rest, seen) {
            Some(line) => line,
            None if rest.len() > LINE_BYTES => return Err("a line too long"),
            None if !begins_well(kind, rest.get(1..).unwrap_or_default()) => {
                return Err("a malformed scalar");
            }
            None => return Ok((0, Step::More(0))),
        };
        let Some((text, len)) = line
            .strip_suffix(b"\r")
            .and_then(|line| Some((line.get(1..)?, line.len() + 2)))
        else {
            return Err("a line feed alone");
        };
        if len > LINE_BYTES || !is_well_formed(kind, text) {
            return Err("a malformed scalar");
        }
        match kind {
            b'-' if self.depth == 0 => {
                self.note_error(text, text.len(), at + 1);
            }
            b'+' if self.depth == 0 => self.reply.word = word_of_status(text),
            b':' if self.is_element() => self.reply.number = small(text),
            _ => {}
        }
        self.note(kind, kind == b'_');
        Ok((len, Step::Done))
    }

    /// A value begins that is no attribute.
    #[inline]
    fn note(&mut self, kind: u8, null: bool) {
        if self.depth == 0 {
            self.reply.kind = kind;
            self.reply.null = null;
            self.reply.error = matches!(kind, b'-' | b'!');
        } else if self.is_element() {
            self.reply.elements = self.reply.elements.saturating_add(1);
            self.reply.nulls = self.reply.nulls.saturating_add(u32::from(null));
        }
    }

    /// Bytes from here to the end of the value, if that is known: those of a string and its line end.
    pub(super) fn end(&self) -> Option<u64> {
        (self.inside && self.depth == 0).then_some(u64::from(self.bytes) + 2)
    }
}

fn small(digits: &[u8]) -> u32 {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn word_of(word: &[u8], elements: u32) -> Word {
    match (word, elements) {
        (b"message" | b"smessage", 3) | (b"pmessage", 4) => Word::Message,
        (b"subscribe", 3) => Word::Subscribe,
        (b"psubscribe", 3) => Word::Psubscribe,
        (b"ssubscribe", 3) => Word::Ssubscribe,
        (b"unsubscribe", 3) => Word::Unsubscribe,
        (b"punsubscribe", 3) => Word::Punsubscribe,
        (b"sunsubscribe", 3) => Word::Sunsubscribe,
        _ => Word::None,
    }
}

/// `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`, or the beginning of replication.
fn word_of_status(text: &[u8]) -> Word {
    match text {
        [b'0'..=b'9', ..] => {
            let seconds = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let stamp = text
                .iter()
                .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
                .count();
            let line = stamp == seconds + 7
                && text
                    .get(stamp..)
                    .is_some_and(|rest| rest.starts_with(b" ["));
            if line { Word::Monitor } else { Word::None }
        }
        [b'F' | b'C' | b'R', ..] => {
            let known = [&b"FULLRESYNC "[..], b"CONTINUE", b"RDBCHANNELSYNC "];
            if known.iter().any(|word| text.starts_with(word)) {
                Word::Replication
            } else {
                Word::None
            }
        }
        _ => Word::None,
    }
}

/// The grammar of a scalar's line.
fn is_well_formed(kind: u8, text: &[u8]) -> bool {
    match kind {
        b':' | b'(' => {
            matches!(text, [b'+' | b'-', digits @ ..] | digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        }
        b',' => is_double(text),
        b'#' => matches!(text, b"t" | b"f"),
        b'_' => text.is_empty(),
        _ => !text.contains(&b'\r'),
    }
}

fn is_double(text: &[u8]) -> bool {
    let number =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let word = text.strip_prefix(b"-").unwrap_or(text);
    matches!(word, b"inf" | b"nan")
        || (text.iter().any(u8::is_ascii_digit) && text.iter().all(number))
}

/// Whether a line may still become well formed; so that binary data is not waited for.
fn begins_well(kind: u8, text: &[u8]) -> bool {
    match kind {
        b'#' | b'_' => text.len() <= 2,
        b':' | b'(' => text
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'\r')),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> (Step, usize, Walk) {
        let (mut walk, mut at) = (Walk::new(), 0);
        let step = walk.advance(bytes, &mut at, 0);
        (step, at, walk)
    }

    /// The examples of the RESP3 specification and of redis' protocol page.
    #[test]
    fn every_type() {
        let values: [&[u8]; 36] = [
            b"+OK\r\n",
            b"+\r\n",
            b"-ERR unknown command 'helloworld'\r\n",
            b":0\r\n",
            b":-1000\r\n",
            b":+12\r\n",
            b"$11\r\nhello world\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n",
            b"*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$5\r\nhello\r\n",
            b"*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n",
            b"*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n",
            b"_\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",1.23\r\n",
            b",10\r\n",
            b",inf\r\n",
            b",-inf\r\n",
            b",nan\r\n",
            b",1e-7\r\n",
            b"(3492890328409238509324850943850943825024385\r\n",
            b"!21\r\nSYNTAX invalid syntax\r\n",
            b"=15\r\ntxt:Some string\r\n",
            b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
            b"~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n",
            b">4\r\n+pubsub\r\n+message\r\n+somechannel\r\n+this is the message\r\n",
            b"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
            b"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
            b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n",
            b"*?\r\n:1\r\n:2\r\n:3\r\n.\r\n",
            b"%?\r\n+a\r\n:1\r\n+b\r\n*?\r\n.\r\n.\r\n",
            b"*2\r\n$?\r\n;1\r\nx\r\n;0\r\n%0\r\n",
        ];
        for value in values {
            let text = String::from_utf8_lossy(value);
            let mut more = value.to_vec();
            more.extend_from_slice(b"+next\r\n");
            let (step, at, _) = walk(&more);
            assert_eq!((step, at), (Step::Done, value.len()), "{text:?}");
            if let Some(Quick { len, .. }) = quick(&more) {
                assert_eq!(len, value.len(), "{text:?}");
            }
            for len in 0..value.len() {
                let (step, _, _) = walk(value.get(..len).unwrap_or_default());
                assert!(matches!(step, Step::More(_)), "{text:?} at {len}: {step:?}");
            }
        }
    }

    #[test]
    fn no_resp() {
        let values: [&[u8]; 20] = [
            b"hello\r\n",
            b"\x16\x03\x01",
            b"HTTP/1.1 200 OK\r\n",
            b"$5\r\nhello!\r\n",
            b"$-2\r\n",
            b"$05\r\nhello\r\n",
            b"*-2\r\n",
            b"%-1\r\n",
            b":12x\r\n",
            b":\r\n",
            b"#x\r\n",
            b"_x\r\n",
            b",x\r\n",
            b"+OK\n",
            b".\r\n",
            b";4\r\n",
            b"=?\r\n",
            b"|?\r\n",
            b"$?\r\n$4\r\n",
            b"*2\r\n:1\r\n.\r\n",
        ];
        for value in values {
            assert!(
                matches!(walk(value).0, Step::Bad(_)),
                "{:?}",
                String::from_utf8_lossy(value)
            );
            assert!(quick(value).is_none());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let mut deep = b"*1\r\n".repeat(limits::NESTING);
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(walk(&deep).0, Step::Done);
        let mut deeper = b"*1\r\n".to_vec();
        deeper.extend_from_slice(&deep);
        assert_eq!(walk(&deeper).0, Step::Bad("nested too deep"));
        assert!(matches!(walk(&b"|1\r\n".repeat(1000)).0, Step::Bad(_)));
    }

    #[test]
    fn what_is_noted() {
        let (_, _, found) = walk(b"*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n");
        assert_eq!((found.reply.elements, found.reply.nulls), (3, 1));
        let (_, _, found) = walk(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:17\r\n");
        assert_eq!(
            (found.reply.word, found.reply.number),
            (Word::Subscribe, 17)
        );
        let (_, _, found) = walk(b"|1\r\n+a\r\n+b\r\n-MOVED 3999 127.0.0.1:6381\r\n");
        assert_eq!(
            found.error,
            Some(ErrorText {
                start: 13,
                shown: 25,
                len: 25
            })
        );
        let (_, _, found) = walk(b"+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n");
        assert_eq!(found.reply.word, Word::Monitor);
        let (_, _, found) = walk(b"+FULLRESYNC abc 1\r\n");
        assert_eq!(found.reply.word, Word::Replication);
    }

    #[test]
    fn a_long_string_is_not_seen() {
        let (step, at, walk) = walk(b"$1000000\r\nabc");
        assert_eq!((step, at, walk.end()), (Step::More(1_000_000), 10, Some(2)));
    }
}
