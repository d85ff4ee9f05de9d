//! A head that is being read.
//!
//! Reads the lines of one direction until a head is whole; keeps its first bytes only where it comes in
//! several inputs.

use super::cursor::Cursor;
use super::head::Head;
use super::line::{Carry, Line};
use super::render::{masked, rendered_len};
use super::request::{self, RequestLine};
use super::response;
use crate::flow::Direction;
use crate::limits::{HTTP_HEAD_BYTES, KEPT_BYTES};
use crate::protocol::{Mark, Message, Output, Role, Text, Verdict};

/// A head that is being read.
#[derive(Debug)]
pub(super) struct Open {
    /// Stream offset of its first byte.
    pub start: u64,
    /// What its lines said so far; `None` before the end of its start line.
    pub head: Option<Head>,
    first: Mark,
    /// Bytes of its whole lines so far.
    size: u64,
    /// Its first bytes; filled only when it outlives its first input.
    kept: Vec<u8>,
}

impl Open {
    /// A head that begins at the cursor.
    pub(super) fn new(cursor: &Cursor<'_>) -> Self {
        let first = cursor.input.mark(cursor.at);
        Self {
            start: cursor.offset(),
            head: None,
            first,
            size: 0,
            kept: Vec::new(),
        }
    }

    /// Reads lines until the head is whole; `false` where more must come.
    ///
    /// # Errors
    /// The verdict on a start line that is none, and on a head without an end.
    pub(super) fn read(
        &mut self,
        carry: &mut Carry,
        cursor: &mut Cursor<'_>,
    ) -> Result<bool, Verdict> {
        while let Some(line) = carry.line(cursor.input.bytes, &mut cursor.at) {
            let line_end = self.size + line.len;
            self.size = cursor.offset().saturating_sub(self.start);
            match &mut self.head {
                None if line.len == 0 => *self = Self::new(cursor),
                None => self.head = Some(start_line(cursor.direction, &line)?),
                Some(_) if line.len == 0 => return Ok(true),
                Some(head) => head.field(&line.bytes, line_end),
            }
        }
        if self.head.is_none() && !may_begin(cursor.direction, carry.bytes()) {
            return Err(Verdict::Malformed(no_start(cursor.direction)));
        }
        match self.size.saturating_add(carry.len()) {
            ..=HTTP_HEAD_BYTES => Ok(false),
            _ => Err(Verdict::Malformed("head too long")),
        }
    }

    /// Keeps the bytes of this input that belong to the head's first.
    pub(super) fn keep(&mut self, cursor: &Cursor<'_>) {
        let from = self.start.saturating_sub(cursor.input.offset) as usize;
        let bytes = cursor.input.bytes.get(from..cursor.at).unwrap_or_default();
        let room = KEPT_BYTES.saturating_sub(self.kept.len());
        self.kept
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The message as its head tells it, without text.
    pub(super) fn message(&self, role: Role, head: &Head, end: u64, last: Mark) -> Message {
        Message {
            flags: if head.status >= 400 {
                Message::ERROR
            } else {
                0
            },
            command: head.command,
            status: head.status,
            text_len: head.text_len,
            ..Message::new(role, self.start, end, self.first, last)
        }
    }

    /// The text of a head that ends in this input.
    pub(super) fn text(&self, head: &Head, cursor: &Cursor<'_>, out: &mut Output) -> Text {
        if !shows_text(head) {
            return Text::None;
        }
        let Some(from) = self.start.checked_sub(cursor.input.offset) else {
            return self.kept_text(head, out);
        };
        let start = (from as u32).saturating_add(head.text_start);
        let len = head.text_end - head.text_start;
        let bytes = cursor.input.bytes.get(start as usize..);
        let text = bytes.and_then(|bytes| bytes.get(..len as usize));
        match self.masked(head, text.unwrap_or_default()) {
            Some(masked) => out.keep(&masked),
            None => Text::Input { start, len },
        }
    }

    /// A reason phrase without passwords, where it has any; a request is masked when it is rendered.
    fn masked(&self, head: &Head, phrase: &[u8]) -> Option<Vec<u8>> {
        if head.status == 0 {
            return None;
        }
        let whole = self.head.is_some() && (head.text_end as usize) < KEPT_BYTES;
        masked(phrase, whole)
    }

    /// The text as far as it was kept.
    pub(super) fn kept_text(&self, head: &Head, out: &mut Output) -> Text {
        if !shows_text(head) || !out.wants_text {
            return Text::None;
        }
        let end = self.kept.len().min(head.text_end as usize);
        let kept = self
            .kept
            .get(head.text_start as usize..end)
            .unwrap_or_default();
        match self.masked(head, kept) {
            Some(masked) => out.keep(&masked),
            None => out.keep(kept),
        }
    }
}

/// What a start line says of which only the beginning was seen.
pub(super) fn cut_start_line(direction: Direction, carry: &Carry) -> Option<Head> {
    let bytes = carry.bytes();
    match direction {
        Direction::ToServer => {
            request::cut_request_line(bytes).map(|line| request_head(&line, bytes, carry.len()))
        }
        Direction::ToClient => {
            response::status_line(bytes).map(|line| Head::response(&line, carry.len()))
        }
    }
}

/// A message's role by its direction and status.
pub(super) fn role(direction: Direction, status: u16) -> Role {
    match direction {
        Direction::ToServer => Role::Request,
        Direction::ToClient if is_interim(status) => Role::OneWay,
        Direction::ToClient => Role::Response,
    }
}

/// Whether a response of this status is followed by another one to the same request (RFC 9110,
/// section 15.2). 101 is the last one.
pub(super) fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

/// Whether there is text worth showing: of requests, and of responses that report an error.
fn shows_text(head: &Head) -> bool {
    head.status == 0 || (head.status >= 400 && head.text_end > head.text_start)
}

fn start_line(direction: Direction, line: &Line<'_>) -> Result<Head, Verdict> {
    let bytes = line.bytes.as_ref();
    let head = match direction {
        Direction::ToServer => match request::request_line(bytes) {
            // RFC 9113, section 3.4.
            Some(line) if line.major == 2 && line.method == b"PRI" => {
                return Err(Verdict::Opaque("HTTP/2"));
            }
            found => found.map(|found| request_head(&found, bytes, line.len)),
        },
        Direction::ToClient => {
            response::status_line(bytes).map(|found| Head::response(&found, line.len))
        }
    };
    head.ok_or(Verdict::Malformed(no_start(direction)))
}

fn request_head(line: &RequestLine<'_>, bytes: &[u8], len: u64) -> Head {
    Head::request(line, len, rendered_len(bytes, len))
}

fn may_begin(direction: Direction, bytes: &[u8]) -> bool {
    match direction {
        Direction::ToServer => request::may_be_request(bytes),
        Direction::ToClient => response::may_be_response(bytes),
    }
}

fn no_start(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "no request line",
        Direction::ToClient => "no status line",
    }
}
