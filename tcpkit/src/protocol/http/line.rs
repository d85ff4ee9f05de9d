//! Lines that may come in pieces.
//!
//! Reads the bytes of one direction, makes lines without their ends. A line ends with LF; CRs
//! before it belong to the end (RFC 9112, section 2.2). A line that lies whole in the input is
//! borrowed from it; only one that began in an earlier input is put together, within a bound.

use std::borrow::Cow;

use crate::limits::KEPT_BYTES;

/// Last bytes that are kept of a line too long to be kept whole: where a request line has its
/// version.
const BACK_BYTES: usize = 64;

/// A line without its end.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Its bytes. One that was put together and is longer than the bound has lost its middle.
    pub bytes: Cow<'a, [u8]>,
    /// How many bytes it had.
    pub len: u64,
}

/// The beginning of a line whose end has not come. Takes a pointer while there is none.
#[derive(Debug, Default)]
pub(super) struct Carry(Option<Box<Piece>>);

#[derive(Debug, Default)]
struct Piece {
    /// The first [`KEPT_BYTES`], then at most [`BACK_BYTES`] of the last.
    bytes: Vec<u8>,
    /// Bytes that were left out between them.
    left_out: u64,
}

impl Carry {
    /// Reads the line at `bytes[*at..]` and moves `at` behind it. Where its end is missing, all
    /// is kept for the next call.
    pub(super) fn line<'a>(&mut self, bytes: &'a [u8], at: &mut usize) -> Option<Line<'a>> {
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            *at = bytes.len();
            if !rest.is_empty() {
                self.0.get_or_insert_default().push(rest);
            }
            return None;
        };
        *at += end + 1;
        let last = rest.get(..end).unwrap_or_default();
        let Some(mut piece) = self.0.take() else {
            let bytes = without_cr(last);
            return Some(Line {
                bytes: Cow::Borrowed(bytes),
                len: bytes.len() as u64,
            });
        };
        piece.push(last);
        Some(piece.end())
    }

    /// What has come of the line so far.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |piece| &piece.bytes)
    }

    /// How many bytes have come of the line so far.
    pub(super) fn len(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |piece| piece.bytes.len() as u64 + piece.left_out)
    }

    /// Forgets the line.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl Piece {
    fn push(&mut self, data: &[u8]) {
        let room = KEPT_BYTES.saturating_sub(self.bytes.len()).min(data.len());
        let (front, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
        self.bytes.extend_from_slice(front);
        let skipped = rest.len().saturating_sub(BACK_BYTES);
        self.bytes
            .extend_from_slice(rest.get(skipped..).unwrap_or_default());
        let excess = self.bytes.len().saturating_sub(KEPT_BYTES + BACK_BYTES);
        if excess > 0 {
            self.bytes.drain(KEPT_BYTES..KEPT_BYTES + excess);
        }
        self.left_out += (skipped + excess) as u64;
    }

    fn end(mut self) -> Line<'static> {
        self.bytes.truncate(without_cr(&self.bytes).len());
        let len = self.bytes.len() as u64 + self.left_out;
        Line {
            bytes: Cow::Owned(self.bytes),
            len,
        }
    }
}

/// `line` without the CR at its end. More than one count as one, as clients take them: a bare CR is no
/// content (RFC 9112, section 2.2).
pub(super) fn without_cr(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

/// Whether a byte separates words: RFC 9112, section 3, lets a recipient take SP, HTAB, VT, FF and a
/// bare CR for it.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// `bytes` without white space at either end.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}
