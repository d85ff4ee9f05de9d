//! Where the next message begins after a loss.
//!
//! Reads bytes from anywhere in a direction. A message is found where a segment begins with a start line,
//! and inside a segment where one follows what can end a message: an empty line before a request, a
//! status line followed by a field. A body may hold such text too, so inside a segment only the forms
//! that servers and clients really send count.

use memchr::memmem;

use super::request::{command, is_known, is_token, method};
use super::{probe_request, probe_response};
use crate::flow::Direction;
use crate::limits::HTTP_PROBE_BYTES;
use crate::protocol::{Input, Probe, Resync};

/// What ends a head.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

/// Whether a message begins at some place; `None` where more bytes must tell.
type Sure = Option<bool>;

/// Where the next message of `direction` begins.
pub(super) fn resync(direction: Direction, input: &Input<'_>) -> Resync {
    // Bytes that are shown again were kept because a message may begin with them.
    let at_segment = [0, input.old].map(|start| (start, begins(direction, input.bytes, start)));
    let found = at_segment.into_iter().chain(inside(direction, input.bytes));
    let mut keep = input.bytes.len();
    for (start, sure) in found {
        match sure {
            Some(true) => return Resync::Found(start),
            Some(false) => {}
            None => keep = keep.min(start),
        }
    }
    Resync::Nowhere {
        keep: input.bytes.len() - keep,
    }
}

/// Whether a segment that begins at `start` begins a message.
fn begins(direction: Direction, bytes: &[u8], start: usize) -> Sure {
    let bytes = bytes.get(start..).unwrap_or_default();
    let found = match direction {
        Direction::ToServer => probe_request(bytes),
        Direction::ToClient => probe_response(bytes),
    };
    match found {
        // The rest of a method whose first letters were lost is a token too.
        Probe::Request => Some(is_known(bytes)),
        Probe::Response => Some(true),
        Probe::More => None,
        Probe::No => Some(false),
    }
}

/// Places inside a segment where a message may begin.
fn inside(direction: Direction, bytes: &[u8]) -> impl Iterator<Item = (usize, Sure)> {
    let mark: &[u8] = match direction {
        Direction::ToServer => EMPTY_LINE,
        Direction::ToClient => b"HTTP/1.",
    };
    let whole = memmem::find_iter(bytes, mark).map(move |at| {
        let rest = bytes.get(at..).unwrap_or_default();
        match direction {
            Direction::ToServer => known_request(at, rest),
            Direction::ToClient => (at, status_and_field(rest)),
        }
    });
    let half = (1..mark.len())
        .rev()
        .find(|length| bytes.ends_with(mark.get(..*length).unwrap_or_default()));
    whole.chain(half.map(|length| (bytes.len() - length, None)))
}

/// Whether a request line follows the empty line that is at `at`, with a method that is known and a target
/// in a usual form. While more bytes must tell, the empty line is kept as well.
fn known_request(at: usize, bytes: &[u8]) -> (usize, Sure) {
    let bytes = bytes.get(EMPTY_LINE.len()..).unwrap_or_default();
    match begins(Direction::ToServer, bytes, 0) {
        Some(true) => {
            let usual = method(bytes).is_some_and(|(name, rest)| {
                let target = matches!(rest, [b' ', b'/' | b'*' | b'h', ..]);
                command(name) > 0 && (target || name == b"CONNECT")
            });
            (at + EMPTY_LINE.len(), Some(usual))
        }
        sure => (at, sure),
    }
}

/// A status line, and a line behind it that is a field or empty.
fn status_and_field(bytes: &[u8]) -> Sure {
    match probe_response(bytes) {
        Probe::Response => {}
        Probe::More => return None,
        _ => return Some(false),
    }
    let field = crlf_line(bytes).and_then(|(_, rest)| crlf_line(rest));
    match field {
        Ok((line, _)) => {
            let name = line.iter().take_while(|byte| is_token(**byte)).count();
            Some(line.is_empty() || (name > 0 && line.get(name) == Some(&b':')))
        }
        Err(sure) => sure,
    }
}

/// The first line, which must end in CRLF, and what follows it.
fn crlf_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Sure> {
    let shown = bytes.get(..HTTP_PROBE_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', shown) else {
        return Err(if shown.len() < HTTP_PROBE_BYTES {
            None
        } else {
            Some(false)
        });
    };
    let (line, rest) = bytes.split_at_checked(end + 1).unwrap_or_default();
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok((line, rest)),
        None => Err(Some(false)),
    }
}
