//! What the walks ask of bytes: the same few verbs over a mapped file and over a stream.

use super::SourceError;

/// A place in the bytes of a capture file, moving forwards only.
pub(super) trait Cursor {
    /// Whether `need` more bytes are there; waits for them where they may still come.
    ///
    /// # Errors
    /// When reading fails.
    fn ensure(&mut self, need: usize) -> Result<bool, SourceError>;

    /// Whether `need` more bytes are there or never will be, so that [`Cursor::ensure`] does not wait; where neither is
    /// so, it takes what comes within a moment.
    ///
    /// # Errors
    /// When reading fails.
    #[inline]
    fn is_settled(&mut self, _need: usize) -> Result<bool, SourceError> {
        Ok(true)
    }

    /// All bytes that are at hand from here on: at least what the last successful
    /// [`Cursor::ensure`] asked for.
    fn ahead(&self) -> &[u8];

    /// Passes over `skip` bytes and then over `len` bytes, which it gives. Only what
    /// [`Cursor::ensure`] has confirmed may be asked for; the slice is empty otherwise.
    fn take(&mut self, skip: usize, len: usize) -> &[u8];

    /// Passes over `len` bytes of those that [`Cursor::ahead`] gave.
    fn pass(&mut self, len: usize);

    /// Passes over `count` bytes without keeping them; false when there were fewer.
    ///
    /// # Errors
    /// When reading fails.
    fn skip(&mut self, count: u64) -> Result<bool, SourceError>;

    /// Whether this reads a part of the file alone, and has come to the part's end.
    #[inline]
    fn is_at_end_of_part(&self) -> bool {
        false
    }

    /// Bytes passed so far.
    fn offset(&self) -> u64;

    /// Whether bytes that were there at first have been taken away. Cheap.
    fn is_lost(&self) -> bool;

    /// That the file was shortened under its reader, where it was; bytes here may be none of it.
    fn shortened(&self) -> Option<String>;

    /// Why there are no more bytes, where that has a reason of its own: the file's compressed
    /// form is damaged.
    fn trouble(&self) -> Option<String>;

    /// Tells the progress handle how far this is.
    fn mark(&self);

    /// What the file is called.
    fn name(&self) -> &str;

    /// Word before "byte N" in notices.
    fn measure(&self) -> &'static str;
}

/// The 16-bit number at `at`, 0 where there is none.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize, big: bool) -> u16 {
    let Some(field) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
        return 0;
    };
    if big {
        u16::from_be_bytes(*field)
    } else {
        u16::from_le_bytes(*field)
    }
}

/// The 32-bit number at `at`, 0 where there is none.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize, big: bool) -> u32 {
    let Some(field) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
        return 0;
    };
    if big {
        u32::from_be_bytes(*field)
    } else {
        u32::from_le_bytes(*field)
    }
}

/// The 64-bit number at `at`, 0 where there is none.
#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize, big: bool) -> u64 {
    let Some(field) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
        return 0;
    };
    if big {
        u64::from_be_bytes(*field)
    } else {
        u64::from_le_bytes(*field)
    }
}
