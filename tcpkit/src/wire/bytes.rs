//! What is left of a frame while its headers are taken off.
//!
//! Three lengths are told apart: what was captured, what was on the wire, and what the innermost
//! length field says. Only with all three can a frame that was cut be told from one that lies.

use super::walk::End;

/// The rest of a frame, from the next header on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    captured: &'a [u8],
    /// Bytes that were on the wire, at least those captured.
    on_wire: usize,
    /// Bytes that there should be, as the innermost length field says; at least `on_wire`.
    claimed: usize,
}

impl<'a> Bytes<'a> {
    /// `captured` is the beginning of `on_wire` bytes; a smaller `on_wire` is a mistake of the
    /// source, and is raised to what is there.
    pub(super) fn new(captured: &'a [u8], on_wire: usize) -> Self {
        let on_wire = on_wire.max(captured.len());
        Self {
            captured,
            on_wire,
            claimed: on_wire,
        }
    }

    pub(super) fn captured(&self) -> &'a [u8] {
        self.captured
    }

    pub(super) fn on_wire(&self) -> usize {
        self.on_wire
    }

    pub(super) fn claimed(&self) -> usize {
        self.claimed
    }

    /// The next `N` bytes, left in place.
    #[inline]
    pub(super) fn peek<const N: usize>(&self) -> Result<&'a [u8; N], End> {
        self.captured.first_chunk().ok_or_else(|| self.short(N))
    }

    /// The next `length` bytes, left in place.
    pub(super) fn peek_slice(&self, length: usize) -> Result<&'a [u8], End> {
        self.captured
            .get(..length)
            .ok_or_else(|| self.short(length))
    }

    /// Takes the next `N` bytes off.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], End> {
        let head = self.peek()?;
        self.skip(N)?;
        Ok(head)
    }

    /// Takes the next `length` bytes off unseen.
    #[inline]
    pub(super) fn skip(&mut self, length: usize) -> Result<(), End> {
        self.captured = self
            .captured
            .get(length..)
            .ok_or_else(|| self.short(length))?;
        self.on_wire = self.on_wire.saturating_sub(length);
        self.claimed = self.claimed.saturating_sub(length);
        Ok(())
    }

    /// Heeds a length field: what lies behind `length` bytes is padding. A field that says more
    /// than was on the wire limits nothing, and is remembered.
    #[inline]
    pub(super) fn limit(&mut self, length: usize) {
        self.captured = self.captured.get(..length).unwrap_or(self.captured);
        self.on_wire = self.on_wire.min(length);
        self.claimed = length;
    }

    /// Why `length` bytes cannot be had: they were cut off, or were never there.
    #[cold]
    fn short(&self, length: usize) -> End {
        if length <= self.claimed {
            End::Truncated
        } else {
            End::Malformed
        }
    }
}
