//! The request as it is shown.
//!
//! Reads the first bytes of a request head, makes text. Shown are the request line as sent and the host:
//! no other field ever leaves here, so that Authorization and cookies cannot. A password in the
//! target's user information (RFC 3986, section 3.2.1) is shown as `***`, also where a reason phrase repeats it.
//! Query strings are shown as sent. A line ends at a bare CR as well: what follows may be a field.

use std::ops::Range;

use super::line::{is_space, trim, without_cr};
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
    let shown = first_line(line);
    let len = if shown.len() < line.len() {
        shown.len() as u64
    } else {
        len
    };
    match password(shown) {
        Some(secret) => len - secret.len() as u64 + STARS.len() as u64,
        None => len,
    }
}

/// A reason phrase with `***` for passwords, where it has any: servers repeat the target. `whole` says whether its
/// end was seen.
pub(super) fn masked(phrase: &[u8], whole: bool) -> Option<Vec<u8>> {
    if whole && memchr::memchr(b'@', phrase).is_none() {
        return None;
    }
    let mut out = Vec::new();
    let mut done = 0;
    for start in (0..phrase.len()).filter(|start| may_begin_authority(phrase, *start)) {
        let range = start..authority_end(phrase, start);
        let secret = userinfo_password(phrase, range, whole);
        if let Some(secret) = secret.filter(|secret| secret.start >= done) {
            out.extend_from_slice(phrase.get(done..secret.start).unwrap_or_default());
            out.extend_from_slice(STARS);
            done = secret.end;
        }
    }
    out.extend_from_slice(phrase.get(done..).unwrap_or_default());
    (done > 0).then_some(out)
}

/// Whether a word begins at `start`, or what follows `//`.
fn may_begin_authority(phrase: &[u8], start: usize) -> bool {
    match phrase.get(..start) {
        Some([.., last]) if is_space(*last) => true,
        Some(before) => before.is_empty() || before.ends_with(b"//"),
        None => false,
    }
}

/// The host that a request is for: of an absolute target, else of the `Host` field (RFC 9112, section
/// 3.2.2), without user information. `kept` are the first bytes of the request, as in
/// [`Message::text`](crate::protocol::Message::text).
pub fn host(kept: &[u8]) -> Option<&[u8]> {
    let line = first_line(kept);
    if let Some(range) = authority(line) {
        // Where its end was not kept, it may be user information still.
        let ended = range.end < kept.len();
        let host = without_userinfo(line.get(range)?);
        return Some(host).filter(|host| ended && has_port_or_none(host));
    }
    let fields = kept.get(line.len()..)?.split(|byte| *byte == b'\n').skip(1);
    let value = fields
        .map_while(|line| (!without_cr(line).is_empty()).then_some(line))
        .find_map(host_field)?;
    Some(without_userinfo(value)).filter(|value| !value.is_empty())
}

fn without_userinfo(authority: &[u8]) -> &[u8] {
    let mut parts = authority.rsplit(|byte| *byte == b'@');
    parts.next().unwrap_or_default()
}

/// Whether what follows the host, if anything does, is a port: what is no number may be the beginning of a
/// password with a slash in it.
fn has_port_or_none(host: &[u8]) -> bool {
    let mut parts = host.rsplit(|byte| *byte == b':');
    let last = parts.next().unwrap_or_default();
    parts.next().is_none() || last.ends_with(b"]") || last.iter().all(u8::is_ascii_digit)
}

fn host_field(line: &[u8]) -> Option<&[u8]> {
    let line = first_line(line);
    let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    trim(name)
        .eq_ignore_ascii_case(b"host")
        .then(|| value.get(1..).map(trim))?
}

fn first_line(kept: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'\r', b'\n', kept);
    end.and_then(|end| kept.get(..end)).unwrap_or(kept)
}

/// Where the password of the target's user information is. Where the authority's end was not kept,
/// all behind the first colon may be one.
fn password(line: &[u8]) -> Option<Range<usize>> {
    userinfo_password(line, authority(line)?, false)
}

/// Where the password is of the authority in `range` of `text`. `whole` says whether the text's end is an end.
fn userinfo_password(text: &[u8], range: Range<usize>, whole: bool) -> Option<Range<usize>> {
    let ended = whole || range.end < text.len();
    let authority = text.get(range.clone())?;
    let end = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) if ended => at,
        None if ended => return None,
        _ => authority.len(),
    };
    let colon = authority.iter().take(end).position(|byte| *byte == b':')?;
    Some(range.start + colon + 1..range.start + end).filter(|range| !range.is_empty())
}

/// Where the target's authority is: behind `scheme://`, or the whole target of CONNECT. The line need not be valid: a
/// server may take one that is not, or repeat it.
fn authority(line: &[u8]) -> Option<Range<usize>> {
    let begin = skip(line, 0, is_space);
    let method_end = skip(line, begin, |byte| !is_space(byte));
    let start = skip(line, method_end, is_space);
    let target = line.get(start..)?;
    if matches!(target.first(), Some(b'/' | b'*')) {
        return None;
    }
    let scheme = match target.windows(3).take(32).position(|bytes| bytes == b"://") {
        Some(length) if target.iter().take(length).all(is_of_scheme) => length + 3,
        _ if line.get(begin..method_end) == Some(b"CONNECT") => 0,
        _ => return None,
    };
    let start = start + scheme;
    Some(start..authority_end(line, start))
}

/// RFC 3986, section 3.1.
fn is_of_scheme(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(byte)
}

/// Where an authority that begins at `start` ends.
fn authority_end(text: &[u8], start: usize) -> usize {
    skip(text, start, |byte| {
        !matches!(byte, b'/' | b'?' | b'#') && !is_space(byte)
    })
}

/// The first place from `from` on where this does not hold.
fn skip(text: &[u8], from: usize, holds: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| holds(**byte)).count()
}
