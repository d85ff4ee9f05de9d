//! Bytes to read headers from: the frame where it lies, or a copy of its beginning.

use crate::maps::SCRATCH_BYTES;
use crate::verifier;

/// Farthest that a header may begin from the frame's first byte. Verifiers refuse offsets over 64 KiB.
const FARTHEST: usize = 4096;

/// Something that headers can be read from.
pub trait Bytes {
    /// A header of type `T` at `offset`; `None` where it is not all there.
    fn at<T>(&self, offset: usize) -> Option<&T>;
}

/// The first piece of a frame, in place.
#[derive(Clone, Copy)]
pub struct Linear {
    pub start: usize,
    pub end: usize,
}

impl Linear {
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<&T> {
        let place = self.start + verifier::offset::<FARTHEST>(offset, 0)?;
        if place + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: inside the frame; headers are arrays of bytes and of 16-bit words at even places.
        unsafe { (place as *const T).as_ref() }
    }
}

/// A copy of a frame's beginning, where its headers do not lie in one piece.
pub struct Copied {
    pub start: *const u8,
    pub length: usize,
}

impl Bytes for Copied {
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<&T> {
        let size = size_of::<T>();
        if offset + size > self.length {
            return None;
        }
        let offset = verifier::offset::<SCRATCH_BYTES>(offset, size)?;
        // SAFETY: inside the copy by `offset`, and filled up to `length`.
        unsafe { self.start.add(offset).cast::<T>().as_ref() }
    }
}
