//! One direction of a conversation, between messages and in bodies.
//!
//! Reads bodies by length, chunk or until the connection closes (RFC 9112, sections 6 and 7), makes the
//! ends of messages.

use super::cursor::Cursor;
use super::line::Carry;
use super::open::{Open, role};
use super::{body, probe_response};
use crate::flow::Direction;
use crate::limits::HTTP_HEAD_BYTES;
use crate::protocol::{Mark, Message, Output, Parsed, Phase, Probe, Verdict};

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// What the next bytes are.
    pub state: State,
    /// The beginning of a line whose end has not come.
    pub carry: Carry,
    /// Stream offset of the message whose body is being read.
    pub start: u64,
    /// Stream offset up to which bytes were seen.
    pub seen: u64,
    /// When the last of them were.
    pub last: Mark,
}

/// What the next bytes of a direction are.
#[derive(Debug, Default)]
pub(super) enum State {
    /// The next message.
    #[default]
    Idle,
    /// More of a head that began in an earlier input.
    Head(Box<Open>),
    /// A body that ends at this offset.
    Length(u64),
    /// A chunk's size line.
    ChunkSize,
    /// A chunk that ends at this offset.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailer lines, until an empty one.
    Trailer,
    /// A body that ends with the connection.
    Close,
    /// This body, unless a status line stands there instead: then the head that was told was the answer to a HEAD
    /// (RFC 9112, section 6.3, rule 1), of which the loss of other messages hid the request.
    Doubt(Body),
}

/// The body that a response's head announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All bytes until the connection closes.
    Close,
}

impl Body {
    /// The state in which a body is read that begins at `offset`.
    pub(super) fn begin(self, offset: u64) -> State {
        match self {
            Self::Length(length) => State::Length(offset.saturating_add(length)),
            Self::Chunked => State::ChunkSize,
            Self::Close => State::Close,
        }
    }
}

/// What came of reading in one state: `Some` ends the call.
pub(super) type Turn = Option<Parsed>;

impl Way {
    /// Whether it stands between two messages.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && self.carry.len() == 0
    }

    /// Reads on in a body of known length.
    pub(super) fn length(&mut self, end: u64, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        let stop = cursor.step_over(end);
        if stop.is_some() {
            self.state = State::Length(end);
        } else {
            self.finish_here(end, 0, cursor, out);
        }
        stop
    }

    /// Reads on in a chunk.
    pub(super) fn chunk(&mut self, end: u64, cursor: &mut Cursor<'_>) -> Turn {
        let stop = cursor.step_over(end);
        self.state = if stop.is_some() {
            State::Chunk(end)
        } else {
            State::ChunkEnd
        };
        stop
    }

    /// Reads on in a body that ends with the connection.
    pub(super) fn until_close(&mut self, cursor: &mut Cursor<'_>) -> Turn {
        self.state = State::Close;
        let stop = cursor.step_over(u64::MAX);
        stop.or_else(|| Some(cursor.stop(Verdict::Continue)))
    }

    /// Decides whether the bytes behind a head are its body or the next head. While they are too few to tell, they
    /// are not consumed, unless they are as many as the body has.
    pub(super) fn doubt(&mut self, body: Body, cursor: &mut Cursor<'_>, out: &mut Output) -> Turn {
        let rest = cursor.rest();
        let whole = matches!(body, Body::Length(length) if length <= rest.len() as u64);
        match probe_response(rest) {
            Probe::Response if cursor.told.is_some() => {
                self.finish_here(cursor.offset(), 0, cursor, out);
            }
            Probe::Response => {
                self.finish(cursor.direction, cursor.offset(), self.last, 0, out);
            }
            Probe::More if !whole => {
                self.state = State::Doubt(body);
                return Some(cursor.stop(Verdict::Continue));
            }
            _ => self.state = body.begin(cursor.offset()),
        }
        None
    }

    /// Reads one line between chunks.
    ///
    /// # Errors
    /// What breaks the framing.
    pub(super) fn chunk_line(
        &mut self,
        state: State,
        cursor: &mut Cursor<'_>,
        out: &mut Output,
    ) -> Result<Turn, &'static str> {
        let Some(line) = self.carry.line(cursor.input.bytes, &mut cursor.at) else {
            self.state = state;
            let endless = self.carry.len() > HTTP_HEAD_BYTES;
            return if endless {
                Err("endless line")
            } else {
                Ok(Some(cursor.stop(Verdict::Continue)))
            };
        };
        match state {
            State::ChunkSize => self.state = sized(&line.bytes, cursor.offset())?,
            State::ChunkEnd if line.len == 0 => self.state = State::ChunkSize,
            State::Trailer if line.len == 0 => self.finish_here(cursor.offset(), 0, cursor, out),
            State::Trailer => self.state = State::Trailer,
            _ => return Err("no line end behind a chunk"),
        }
        Ok(None)
    }

    /// Ends the message whose head was told, in this call or an earlier one.
    pub(super) fn finish_here(
        &mut self,
        end: u64,
        flags: u8,
        cursor: &mut Cursor<'_>,
        out: &mut Output,
    ) {
        let last = cursor.last();
        let Some(message) = cursor
            .told
            .take()
            .and_then(|told| out.messages.get_mut(told))
        else {
            return self.finish(cursor.direction, end, last, flags, out);
        };
        self.state = State::Idle;
        message.phase = Phase::Whole;
        message.flags |= flags;
        message.end = end;
        message.last = last;
    }

    /// Ends the message whose head was told in an earlier call.
    pub(super) fn finish(
        &mut self,
        direction: Direction,
        end: u64,
        last: Mark,
        flags: u8,
        out: &mut Output,
    ) {
        self.state = State::Idle;
        let message = Message::new(role(direction, 0), self.start, end, last, last);
        out.messages.push(Message {
            phase: Phase::End,
            flags,
            ..message
        });
    }
}

/// What follows a chunk's size line that ends at `offset`.
fn sized(line: &[u8], offset: u64) -> Result<State, &'static str> {
    match body::chunk_size(line).map(|size| (size, offset.checked_add(size))) {
        Some((0, _)) => Ok(State::Trailer),
        Some((_, Some(end))) => Ok(State::Chunk(end)),
        _ => Err("invalid chunk size"),
    }
}
