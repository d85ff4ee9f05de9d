//! What a head says about its message.
//!
//! Reads one start line and then header fields line by line, makes a [`Head`]: only what frames the
//! message (RFC 9112, section 6) and what is shown of it. All other fields are stepped over, so
//! an odd one costs nothing.

use super::line::trim;
use super::request::RequestLine;
use super::response::StatusLine;
use crate::limits::KEPT_BYTES;

/// What `Content-Length` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Length {
    /// No such field.
    #[default]
    Absent,
    /// So many bytes; a list of one and the same number counts as one (RFC 9112, section 6.3).
    Bytes(u64),
    /// Not a number, too large a number, or several different ones.
    Invalid,
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// No such field, or nothing in it but RFC 2616's `identity`.
    #[default]
    Absent,
    /// The last coding is `chunked`.
    Chunked,
    /// The last coding is another one.
    Other,
}

/// The field that a folded line continues (RFC 9112, section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    Host,
    Length,
    Coding,
    Upgrade,
}

/// What a request means for the framing of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    #[default]
    Other,
    /// HEAD: its response has no body.
    Head,
    /// CONNECT: success opens a tunnel.
    Connect,
    /// One with an `Upgrade` field: 101 ends HTTP on this connection.
    Upgrade,
}

/// What a head says about its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Index into the methods; of a response 0.
    pub command: u16,
    /// Status code; of a request 0.
    pub status: u16,
    /// Where the text worth keeping begins, from the message's first byte.
    pub text_start: u32,
    /// Where it ends: after the request line or the `Host` field; after the reason phrase.
    pub text_end: u32,
    /// Length of what is rendered of it.
    pub text_len: u32,
    /// What a request means for its response.
    pub kind: Kind,
    /// `Content-Length`.
    pub length: Length,
    /// `Transfer-Encoding`.
    pub coding: Coding,
    has_host: bool,
    last: Field,
}

impl Head {
    /// Begins with a request line of `len` bytes, of which `text_len` would be shown.
    pub(super) fn request(line: &RequestLine<'_>, len: u64, text_len: u64) -> Self {
        let kind = match line.method {
            b"HEAD" => Kind::Head,
            b"CONNECT" => Kind::Connect,
            _ => Kind::Other,
        };
        let text_end = len.min(KEPT_BYTES as u64) as u32;
        let text_len = u32::try_from(text_len).unwrap_or(u32::MAX);
        Self {
            command: line.command,
            kind,
            text_end,
            text_len,
            ..Self::default()
        }
    }

    /// Begins with a status line of `len` bytes.
    pub(super) fn response(line: &StatusLine, len: u64) -> Self {
        let text_end = len.min(KEPT_BYTES as u64) as u32;
        let text_start = (line.reason as u32).min(text_end);
        let text_len = text_end - text_start;
        Self {
            status: line.status,
            text_start,
            text_end,
            text_len,
            ..Self::default()
        }
    }

    /// Takes one more line; `end` is where it ends, from the message's first byte.
    pub(super) fn field(&mut self, line: &[u8], end: u64) {
        let named = match line.first() {
            Some(b' ' | b'\t') => return self.value(line),
            Some(b'h' | b'H') => value_of(b"host", line).map(|value| (Field::Host, value)),
            Some(b'c' | b'C') => {
                value_of(b"content-length", line).map(|value| (Field::Length, value))
            }
            Some(b't' | b'T') => {
                value_of(b"transfer-encoding", line).map(|value| (Field::Coding, value))
            }
            Some(b'u' | b'U') => value_of(b"upgrade", line).map(|value| (Field::Upgrade, value)),
            _ => None,
        };
        let (field, value) = named.unwrap_or_default();
        self.last = field;
        match field {
            Field::Other => {}
            Field::Host => self.host(end),
            _ => self.value(value),
        }
    }

    /// The text of a request reaches to its `Host` field where that stands near enough.
    fn host(&mut self, end: u64) {
        if self.status == 0 && !self.has_host && end <= KEPT_BYTES as u64 {
            self.text_end = end as u32;
        }
        self.has_host = true;
    }

    fn value(&mut self, value: &[u8]) {
        match self.last {
            Field::Other | Field::Host => {}
            Field::Length => elements(value).for_each(|element| self.add_length(element)),
            Field::Coding => elements(value).for_each(|element| self.add_coding(element)),
            Field::Upgrade => {
                if self.kind == Kind::Other && !trim(value).is_empty() {
                    self.kind = Kind::Upgrade;
                }
            }
        }
    }

    fn add_length(&mut self, element: &[u8]) {
        let bytes = number(element).map_or(Length::Invalid, Length::Bytes);
        let same = self.length == Length::Absent || self.length == bytes;
        self.length = if same { bytes } else { Length::Invalid };
    }

    fn add_coding(&mut self, element: &[u8]) {
        let name = element
            .split(|byte| *byte == b';')
            .next()
            .map(trim)
            .unwrap_or_default();
        if name.eq_ignore_ascii_case(b"chunked") {
            self.coding = Coding::Chunked;
        } else if !name.eq_ignore_ascii_case(b"identity") {
            self.coding = Coding::Other;
        }
    }
}

/// The value of a field line, if this is the field's name. White space between name and colon is against the
/// grammar and yet taken by many (RFC 9112, section 5.1).
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = match rest {
        [b':', value @ ..] => value,
        [b' ' | b'\t', ..] => trim(rest).strip_prefix(b":")?,
        _ => return None,
    };
    start.eq_ignore_ascii_case(name).then_some(value)
}

/// The elements of a list that are not empty (RFC 9110, section 5.6.1.2).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// A decimal number of any number of digits that fits.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
