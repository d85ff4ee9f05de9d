//! How long a body is.
//!
//! Reads a [`Head`], and for a response what its request was; makes a [`Framing`] (RFC 9112,
//! section 6.3, in its order). Reads chunk sizes (section 7.1).

use super::head::{Coding, Head, Kind, Length};
use super::line::is_space;
use super::way::Body;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes, or none.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// All bytes until the connection closes.
    Close,
    /// Nobody can tell: a defect that the text names.
    Faulty(&'static str),
    /// The message has no body, and what follows is no HTTP.
    Switch(&'static str),
    /// This body, or none: what follows tells.
    Doubt(Body),
}

impl Framing {
    /// The same of a response that may answer a HEAD.
    pub(super) fn or_none(self) -> Self {
        match self {
            Self::Length(length @ 1..) => Self::Doubt(Body::Length(length)),
            Self::Chunked => Self::Doubt(Body::Chunked),
            Self::Close => Self::Doubt(Body::Close),
            sure => sure,
        }
    }
}

const BAD_LENGTH: &str = "invalid content-length";

/// The body of a request (rules 3 to 5 and 7).
pub(super) fn of_request(head: &Head) -> Framing {
    match (head.coding, head.length) {
        (Coding::Chunked, _) => Framing::Chunked,
        (Coding::Other, _) => Framing::Faulty("transfer-encoding of a request without chunked"),
        (_, Length::Invalid) => Framing::Faulty(BAD_LENGTH),
        (_, Length::Bytes(length)) => Framing::Length(length),
        (_, Length::Absent) => Framing::Length(0),
    }
}

/// The body of a response to a request of this kind (rules 1 to 6 and 8).
///
/// Section 6.1 has an HTTP/1.0 message with Transfer-Encoding processed and the connection closed after
/// it: it is framed as any other.
pub(super) fn of_response(head: &Head, kind: Kind) -> Framing {
    match (head.status, kind) {
        (101, _) => return Framing::Switch("upgrade"),
        (100..=199 | 204 | 304, _) | (_, Kind::Head) => return Framing::Length(0),
        (200..=299, Kind::Connect) => return Framing::Switch("tunnel"),
        _ => {}
    }
    match (head.coding, head.length) {
        (Coding::Chunked, _) => Framing::Chunked,
        (Coding::Other, _) => Framing::Close,
        (_, Length::Invalid) => Framing::Faulty(BAD_LENGTH),
        (_, Length::Bytes(length)) => Framing::Length(length),
        (_, Length::Absent) => Framing::Close,
    }
}

/// The size in a line before a chunk: hexadecimal digits, then nothing, white space or an extension.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let ends = line
        .get(digits)
        .is_none_or(|byte| *byte == b';' || is_space(*byte));
    let size = line.iter().take(digits).try_fold(0_u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(sum.checked_mul(16)? + u64::from(digit))
    })?;
    (ends && digits > 0).then_some(size)
}
