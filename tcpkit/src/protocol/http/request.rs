//! Request lines, and the methods that are counted by name.
//!
//! Reads a line, makes a [`RequestLine`] (RFC 9112, section 3). Words may be separated as
//! leniently as that section lets a server do. An invalid request line is answered too (with 400, by
//! the same section), so it counts as a request as long as it is an attempt at HTTP.

use super::line::{is_space, trim};

/// Labels of methods: the IANA registry's, those of UPnP and caches, the common ones first.
/// Methods are case-sensitive (RFC 9110, section 9.1).
pub(super) static METHODS: &[&str] = &[
    "other",
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "QUERY",
    "PURGE",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "LABEL",
    "LINK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "NOTIFY",
    "ORDERPATCH",
    "REBIND",
    "SUBSCRIBE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNSUBSCRIBE",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// Whether the first word of a line is one of [`METHODS`].
pub(super) fn is_known(line: &[u8]) -> bool {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    METHODS
        .iter()
        .skip(1)
        .any(|method| method.as_bytes() == word)
}

/// The longest method that is taken for one: longer words are no HTTP.
const METHOD_BYTES: usize = 64;

/// What a request line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// Index into [`METHODS`].
    pub command: u16,
    /// The major version.
    pub major: u8,
}

/// Reads a whole request line.
pub(super) fn request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    valid_request_line(line).or_else(|| odd_request_line(line))
}

fn valid_request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let (method, rest) = method(line)?;
    let version = trim(rest).rsplit(|byte| is_space(*byte)).next()?;
    let major = version_major(version)?;
    Some(RequestLine {
        method,
        command: command(method),
        major,
    })
}

/// Text that is no request line but begins with a known method or names HTTP.
fn odd_request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let method = line.split(|byte| is_space(*byte)).next()?;
    let command = command(method);
    let names_http = memchr::memmem::find(line, b"HTTP/").is_some_and(|at| at > 0);
    let odd = may_be_request(line) && (command > 0 || names_http);
    odd.then_some(RequestLine {
        method,
        command,
        major: 1,
    })
}

/// Reads as much of a request line as a snap length may have left: its method and the beginning of its
/// target.
pub(super) fn cut_request_line(line: &[u8]) -> Option<RequestLine<'_>> {
    let (method, rest) = method(line)?;
    let target = trim(rest);
    let seen = !target.is_empty() && target.iter().all(|byte| !byte.is_ascii_control());
    seen.then(|| RequestLine {
        method,
        command: command(method),
        major: 1,
    })
}

/// Whether `line` can be the beginning of a request line, or of an attempt at one: it is text.
pub(super) fn may_be_request(line: &[u8]) -> bool {
    line.iter()
        .all(|byte| is_space(*byte) || !byte.is_ascii_control())
}

/// Whether `line` can be the beginning of a valid request line.
pub(super) fn may_be_valid_request(line: &[u8]) -> bool {
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    match line.get(method) {
        None => method <= METHOD_BYTES,
        Some(byte) => (1..=METHOD_BYTES).contains(&method) && *byte == b' ',
    }
}

/// The label of a method.
pub(super) fn command(method: &[u8]) -> u16 {
    let known = METHODS
        .iter()
        .skip(1)
        .position(|name| name.as_bytes() == method);
    known.map_or(0, |index| index as u16 + 1)
}

/// The major version in `HTTP/1.1`. RFC 2616, section 3.1, had numbers of several digits.
pub(super) fn version_major(word: &[u8]) -> Option<u8> {
    if let b"HTTP/1.1" | b"HTTP/1.0" = word {
        return Some(1);
    }
    let (name, numbers) = word.split_at_checked(b"HTTP/".len())?;
    let dot = numbers.iter().position(|byte| *byte == b'.')?;
    let (major, minor) = (numbers.get(..dot)?, numbers.get(dot + 1..)?);
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let is_version = name.eq_ignore_ascii_case(b"HTTP/") && is_number(major) && is_number(minor);
    is_version.then(|| {
        major.iter().fold(0, |sum: u8, digit| {
            sum.saturating_mul(10).saturating_add(digit - b'0')
        })
    })
}

/// The method, and what follows it.
pub(super) fn method(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = line
        .iter()
        .take(METHOD_BYTES + 1)
        .take_while(|byte| is_token(**byte))
        .count();
    let (method, rest) = line.split_at_checked(length)?;
    let separated = rest.first().is_some_and(|byte| is_space(*byte));
    (separated && length > 0).then_some((method, rest))
}

/// RFC 9110, section 5.6.2: tchar.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
