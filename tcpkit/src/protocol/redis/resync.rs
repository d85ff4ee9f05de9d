//! Finds the next message after a gap, malformed bytes or a start in mid-conversation.
//!
//! Bytes of values can look like messages. So a place counts only if it is where a sender begins
//! (the first byte of a segment) or a line ended before it, and if everything from there to the
//! end of the input is well formed. A response must, besides, be one that the open requests can
//! have: no more of them than were asked for, and no element of an array that was lost in part.

use memchr::memmem;

use super::commands::{self, Kind};
use super::request::{self, Line, Partial, Words};
use super::response::{self, Walk};
use super::session::Awaited;
use super::token::{self, Token};
use crate::protocol::{Mark, Resync};

/// Requests that are checked behind the one that was found.
const FOLLOWING: usize = 64;

/// Bytes that may be looked at, for each byte of the input: bounds the work on hostile input.
const EFFORT: usize = 16;

/// Bytes that may be kept for a message at the beginning of a segment that is not whole.
const KEEP: usize = 1024;

/// Bytes of a response in the middle of a segment that are worth believing.
const EVIDENCE: usize = 32;

/// How a place looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// So many messages begin there.
    Yes(u32),
    No,
    /// As if one began, but more has to be seen.
    Short,
}

/// Where a message may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Starts {
    /// The first byte is the first of a segment.
    pub(super) fresh: bool,
    /// How many bytes were shown before: the byte behind them is the first of a segment too.
    pub(super) old: usize,
    /// Where bytes begin that were not yet found malformed.
    pub(super) from: usize,
}

impl Starts {
    /// Places to look at, and whether a segment begins there: elsewhere `line` ends before it.
    fn places<'a>(
        self,
        bytes: &'a [u8],
        line: &'a [u8],
    ) -> impl Iterator<Item = (usize, bool)> + 'a {
        let (old, new) = bytes.split_at_checked(self.old).unwrap_or((bytes, &[]));
        let first = self.fresh.then_some((0, true));
        // What a line that ends at the very end of them stands before is the beginning of the segment.
        let before = memmem::find_iter(old, line).map(|at| (at + 2, false));
        let before = before.filter(move |(at, _)| *at < self.old);
        let segment = (self.old > 0 && !new.is_empty()).then_some((self.old, true));
        let behind = memmem::find_iter(new, line).map(move |at| (self.old + at + 2, false));
        let places = first.into_iter().chain(before).chain(segment).chain(behind);
        places.filter(move |(at, _)| *at >= self.from)
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) resync: Resync,
    /// Messages that begin from there to the end of the input.
    pub(super) count: u32,
    /// The beginning of a segment is kept, and is here.
    pub(super) anchor: Option<usize>,
}

impl Found {
    fn at(index: usize, count: u32) -> Self {
        Self {
            resync: Resync::Found(index),
            count,
            anchor: None,
        }
    }

    fn nowhere(keep: usize, anchor: Option<usize>) -> Self {
        Self {
            resync: Resync::Nowhere { keep },
            count: 0,
            anchor,
        }
    }

    /// What stands at `at` has to be seen whole.
    fn short(bytes: &[u8], at: usize, fresh: bool) -> Self {
        let line = if fresh { 0 } else { 2 };
        Self::nowhere(bytes.len() - at + line, fresh.then_some(at))
    }
}

/// The next request in `bytes`.
pub(super) fn request(bytes: &[u8], starts: Starts) -> Found {
    search(bytes, starts.places(bytes, b"\r\n*"), look_at_request)
}

/// The next response in `bytes`. `cut`: the response that was lost in part is not among those
/// awaited.
pub(super) fn response(bytes: &[u8], starts: Starts, awaited: Awaited, cut: bool) -> Found {
    // A segment of an only response has nothing before it.
    let inside = cut || awaited.most != Some(1);
    search(bytes, starts.places(bytes, b"\r\n"), |rest, strict| {
        let may = if strict {
            inside && may_stand_inside(rest, awaited)
        } else {
            may_begin(rest, awaited)
        };
        if !may {
            return (Look::No, 1);
        }
        match look_at_responses(rest, awaited) {
            // Less than that may be anything.
            (Look::Yes(_), 0) if strict && rest.len() < EVIDENCE => (Look::Short, 0),
            look => look,
        }
    })
}

/// Looks at the places in turn, with so much effort at most. `look` tells besides how many bytes
/// it went through.
fn search(
    bytes: &[u8],
    places: impl Iterator<Item = (usize, bool)>,
    look: impl Fn(&[u8], bool) -> (Look, usize),
) -> Found {
    let mut effort = EFFORT * bytes.len();
    for (at, fresh) in places {
        let rest = bytes.get(at..).unwrap_or_default();
        match look(rest, !fresh) {
            (Look::Yes(count), _) => return Found::at(at, count),
            (Look::Short, _) if rest.len() <= KEEP => return Found::short(bytes, at, fresh),
            (_, cost) => effort = effort.saturating_sub(cost),
        }
        if effort == 0 {
            break;
        }
    }
    Found::nowhere(line_end(bytes), None)
}

/// How much of a line end stands at the end.
fn line_end(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\r'] => 1,
        _ => 0,
    }
}

/// What begins there, and how many bytes were looked at. `strict`: in the middle of a segment,
/// where only a known command counts.
fn look_at_request(bytes: &[u8], strict: bool) -> (Look, usize) {
    if bytes.first() != Some(&b'*') {
        return if strict { (Look::No, 1) } else { follow(bytes) };
    }
    match look_at_head(bytes, strict) {
        Look::Yes(_) => follow(bytes),
        look => (look, 1),
    }
}

/// `*<count>\r\n$<length>\r\n<command>\r\n`.
fn look_at_head(bytes: &[u8], strict: bool) -> Look {
    let name = head(
        bytes.get(1..).unwrap_or_default(),
        i64::from(request::ARGUMENTS),
    )
    .and_then(|rest| match rest {
        [] => Err(Look::Short),
        [b'$', rest @ ..] => name(rest),
        _ => Err(Look::No),
    });
    match name {
        Ok(name) if commands::by_name(name).0 != commands::OTHER => Look::Yes(1),
        Ok(name) if !strict && name.iter().all(|byte| is_name(*byte)) => Look::Yes(1),
        Ok(_) => Look::No,
        Err(look) => look,
    }
}

/// What follows a number from 1 to `most`.
fn head(bytes: &[u8], most: i64) -> Result<&[u8], Look> {
    match token::number(bytes) {
        Token::Whole(value, len) if (1..=most).contains(&value) => {
            Ok(bytes.get(len..).unwrap_or_default())
        }
        Token::Short => Err(Look::Short),
        _ => Err(Look::No),
    }
}

fn name(bytes: &[u8]) -> Result<&[u8], Look> {
    let Token::Whole(len @ 1..=64, head) = token::number(bytes) else {
        return Err(if token::number(bytes) == Token::Short {
            Look::Short
        } else {
            Look::No
        });
    };
    let rest = bytes.get(head..).unwrap_or_default();
    let len = len as usize;
    match (rest.get(..len), rest.get(len..)) {
        (Some(name), Some([b'\r', b'\n', ..])) => Ok(name),
        (Some(name), Some([] | [b'\r'])) if name.iter().all(|byte| is_name(*byte)) => {
            Err(Look::Short)
        }
        (None, _) if rest.iter().all(|byte| is_name(*byte)) => Err(Look::Short),
        _ => Err(Look::No),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':')
}

/// Whether requests stand one behind the other to the end of the input, and how far that was seen.
fn follow(bytes: &[u8]) -> (Look, usize) {
    let mut at = 0;
    for count in 0..FOLLOWING as u32 {
        let rest = bytes.get(at..).unwrap_or_default();
        let len = match rest.first() {
            None => return (Look::Yes(count), at),
            Some(b'*') => array(rest),
            Some(_) => inline(rest),
        };
        match len {
            Ok(len) => at += len,
            Err(look) => return (tail(look, count), bytes.len()),
        }
    }
    (Look::Yes(FOLLOWING as u32), at)
}

/// A message that is not whole counts at the end of others.
fn tail(look: Look, count: u32) -> Look {
    match look {
        Look::Short if count > 0 => Look::Yes(count),
        look => look,
    }
}

/// Whether no request begins there, whatever follows.
pub(super) fn is_no_request(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(b'*') => array(bytes) == Err(Look::No),
        _ => matches!(request::line(bytes, 0), Line::Bad(_)),
    }
}

/// Whether no response begins there, whatever follows.
pub(super) fn is_no_response(bytes: &[u8]) -> bool {
    let step = Walk::new().advance(bytes, &mut 0, 0);
    matches!(step, response::Step::Bad(_))
}

/// The length of the array at the front.
fn array(bytes: &[u8]) -> Result<usize, Look> {
    if let Some(request) = request::whole(bytes) {
        return Ok(request.len);
    }
    let (count, head) = match token::number(bytes.get(1..).unwrap_or_default()) {
        Token::Whole(count, head) => (count, head),
        Token::Short => return Err(Look::Short),
        Token::Bad => return Err(Look::No),
    };
    match u32::try_from(count) {
        Ok(count) if count > 0 && count <= request::ARGUMENTS => begun(bytes, count, 1 + head),
        _ if count <= 0 => Ok(1 + head),
        _ => Err(Look::No),
    }
}

/// An array of which the end is not there: well formed as far as it goes.
fn begun(bytes: &[u8], count: u32, head: usize) -> Result<usize, Look> {
    let mut at = head;
    match Partial::new(0, Mark::default(), count, false).advance(bytes, 0, &mut at) {
        request::Step::Done => Ok(at),
        request::Step::Bad(_) => Err(Look::No),
        // The command's name was seen.
        request::Step::More(_) if at > head => Err(Look::Yes(1)),
        request::Step::More(_) => Err(Look::Short),
    }
}

/// The length of the inline command at the front, a known one.
fn inline(bytes: &[u8]) -> Result<usize, Look> {
    match request::line(bytes, 0) {
        Line::Whole(line, len) => match Words::of(line).next() {
            Some(name) if commands::by_name(&name.bytes).0 != commands::OTHER => Ok(len),
            _ => Err(Look::No),
        },
        Line::Short => Err(Look::Short),
        Line::Bad(_) => Err(Look::No),
    }
}

/// Whether a response may be looked for here, in the middle of a segment: an element of an array
/// looks like a response. Where only scalars or only flat arrays are due there is no such doubt;
/// else a usual status or an error is least likely to be an element.
fn may_stand_inside(rest: &[u8], awaited: Awaited) -> bool {
    match (rest.first(), awaited.kind) {
        (None, _) => false,
        (Some(kind), Some(due)) => is_due(due, *kind),
        (Some(b'-'), None) => true,
        (Some(_), None) => [&b"+OK\r"[..], b"+QUEUED\r"]
            .iter()
            .any(|status| rest.starts_with(status)),
    }
}

/// Whether a segment can begin with a response: one may be the middle of an array, and begin with
/// an element. None does where a request came since the last one, or where no arrays or no
/// scalars are due.
fn may_begin(rest: &[u8], awaited: Awaited) -> bool {
    let known = awaited.kind.is_some_and(|due| due <= Kind::Hits);
    awaited.turn > 0
        || known
        || awaited.silent
        || rest
            .first()
            .is_none_or(|kind| matches!(kind, b'+' | b'-' | b'>'))
}

fn is_due(due: Kind, kind: u8) -> bool {
    let aggregate = matches!(kind, b'*' | b'%' | b'~');
    let either = matches!(kind, b'-' | b'!' | b'_' | b'|' | b'>');
    match due {
        Kind::Scalar => either || !aggregate,
        Kind::Hit => either || matches!(kind, b'$' | b','),
        Kind::Flat | Kind::Hits => either || aggregate,
        _ => true,
    }
}

/// Whether responses stand one behind the other to the end of the input, and how many bytes the
/// whole ones among them take.
fn look_at_responses(bytes: &[u8], awaited: Awaited) -> (Look, usize) {
    let mut at = 0;
    let mut count = 0;
    if !begins_like_redis(bytes) {
        return (Look::No, 1);
    }
    while at < bytes.len() {
        let mut walk = Walk::new();
        let mut end = at;
        let step = walk.advance(bytes, &mut end, 0);
        let kind = walk.reply.kind;
        // Its head was seen, or nothing that could tell.
        let known = kind != 0 && end > at;
        let due = awaited
            .kind
            .is_none_or(|due| !known || walk.reply.null || is_due(due, kind));
        count += u32::from(known && kind != b'>');
        let too_many = awaited.most.is_some_and(|most| count > most);
        if matches!(step, response::Step::Bad(_)) || !due || too_many {
            return (Look::No, end);
        }
        if step != response::Step::Done {
            let look = if known || at > 0 {
                Look::Yes(count)
            } else {
                Look::Short
            };
            return (look, at);
        }
        at = end;
    }
    (
        if at > 0 {
            Look::Yes(count)
        } else {
            Look::Short
        },
        at,
    )
}

/// What redis writes in a line: errors begin with a word in capitals, a status is printable.
fn begins_like_redis(bytes: &[u8]) -> bool {
    let line = || {
        bytes
            .iter()
            .skip(1)
            .take_while(|byte| !matches!(byte, b'\r' | b'\n'))
    };
    match bytes.first() {
        Some(b'-') => line().take(2).all(u8::is_ascii_uppercase),
        Some(b'+') => line().take(64).all(|byte| (b' '..=b'~').contains(byte)),
        _ => true,
    }
}
