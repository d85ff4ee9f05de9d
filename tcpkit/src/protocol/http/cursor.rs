//! How far one call has read its input.

use crate::flow::Direction;
use crate::protocol::{Input, Mark, Parsed, Verdict};

/// One call's input, how far it was read, and the message whose head was told in this call.
pub(super) struct Cursor<'a> {
    /// Whose bytes they are.
    pub direction: Direction,
    /// The call's input.
    pub input: &'a Input<'a>,
    /// Bytes that are done with.
    pub at: usize,
    /// Where the message whose head was told last, and not its end, is in the output.
    pub told: Option<usize>,
    /// The answer to a CONNECT or an upgrade was read in this call: what the client sent behind its request comes
    /// before what is behind the answer.
    pub decided: bool,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `input`.
    pub(super) fn new(direction: Direction, input: &'a Input<'a>) -> Self {
        Self {
            direction,
            input,
            at: 0,
            told: None,
            decided: false,
        }
    }

    /// Stream offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.input.offset.saturating_add(self.at as u64)
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.input.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.input.bytes.len()
    }

    /// When the byte before the next was seen; of one that was skipped, when the skip had ended.
    pub(super) fn last(&self) -> Mark {
        self.input.mark(self.at.saturating_sub(1))
    }

    /// Ends the call.
    pub(super) fn stop(&self, verdict: Verdict) -> Parsed {
        Parsed {
            consumed: self.at,
            skip: 0,
            verdict,
        }
    }

    /// Moves to the offset `end`; ends the call where that is still to come.
    pub(super) fn step_over(&mut self, end: u64) -> Option<Parsed> {
        let left = self.input.bytes.len() - self.at;
        let missing = end.saturating_sub(self.offset());
        if missing <= left as u64 {
            self.at += missing as usize;
            return None;
        }
        self.at += left;
        Some(Parsed {
            skip: missing - left as u64,
            ..self.stop(Verdict::Continue)
        })
    }
}
