//! The request as it is shown.
//!
//! Reads the first bytes of a request head, makes text. Shown are the request line as sent and the host:
//! no other field ever leaves here, so that Authorization and cookies cannot. A password in the
//! target's user information (RFC 3986, section 3.2.1) is shown as `***`. Query strings are shown as sent.

use std::ops::Range;

use super::line::{trim, without_cr};
use super::request::method;
use crate::protocol::escape;

const STARS: &[u8] = b"***";

/// Appends the request line to `out` and returns how many of its bytes, before escaping, were written.
pub(super) fn render(kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
    let line = first_line(kept);
    let limit = out.len().saturating_add(max);
    let secret = password(line).unwrap_or(line.len()..line.len());
    let before = line.get(..secret.start).unwrap_or(line);
    let after = line.get(secret.end..).unwrap_or_default();
    let stars = if secret.is_empty() { &[] } else { STARS };
    let mut written = 0;
    for byte in before.iter().chain(stars).chain(after) {
        let end = out.len();
        escape(*byte, out);
        if out.len() > limit {
            out.truncate(end);
            break;
        }
        written += 1;
    }
    written
}

/// Length of what [`render`] writes without a limit, of a request line of `len` bytes that begins
/// with `line`.
pub(super) fn rendered_len(line: &[u8], len: u64) -> u64 {
    match password(line) {
        Some(secret) => len - secret.len() as u64 + STARS.len() as u64,
        None => len,
    }
}

/// The host that a request is for: of an absolute target, else of the `Host` field (RFC 9112, section
/// 3.2.2), without user information. `kept` are the first bytes of the request, as in
/// [`Message::text`](crate::protocol::Message::text).
pub fn host(kept: &[u8]) -> Option<&[u8]> {
    let line = first_line(kept);
    if let Some(range) = authority(line) {
        let authority = line.get(range)?;
        return authority.rsplit(|byte| *byte == b'@').next();
    }
    let fields = kept.get(line.len()..)?.split(|byte| *byte == b'\n').skip(1);
    let value = fields
        .map_while(|line| (!without_cr(line).is_empty()).then_some(line))
        .find_map(host_field)?;
    Some(value).filter(|value| !value.is_empty())
}

fn host_field(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    trim(name)
        .eq_ignore_ascii_case(b"host")
        .then(|| value.get(1..).map(trim))?
}

fn first_line(kept: &[u8]) -> &[u8] {
    without_cr(kept.split(|byte| *byte == b'\n').next().unwrap_or_default())
}

/// Where the password of the target's user information is. Where the authority's end was not kept,
/// all behind the first colon may be one.
fn password(line: &[u8]) -> Option<Range<usize>> {
    let range = authority(line)?;
    let authority = line.get(range.clone())?;
    let end = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => at,
        None if range.end == line.len() => authority.len(),
        None => return None,
    };
    let colon = authority.iter().take(end).position(|byte| *byte == b':')?;
    Some(range.start + colon + 1..range.start + end).filter(|range| !range.is_empty())
}

/// Where the target's authority is: behind `scheme://`, or the whole target of CONNECT.
fn authority(line: &[u8]) -> Option<Range<usize>> {
    let (method, rest) = method(line)?;
    let spaces = rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let target = rest.get(spaces..)?;
    if matches!(target.first(), Some(b'/' | b'*')) {
        return None;
    }
    let scheme = match target.windows(3).take(32).position(|bytes| bytes == b"://") {
        Some(length) if target.iter().take(length).all(u8::is_ascii_alphanumeric) => length + 3,
        _ if method == b"CONNECT" => 0,
        _ => return None,
    };
    let start = method.len() + spaces + scheme;
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#') || byte.is_ascii_whitespace();
    let length = target.get(scheme..)?.iter().position(ends);
    Some(start..length.map_or(line.len(), |length| start + length))
}
