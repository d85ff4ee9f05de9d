//! Frames that are kept: the earlier fragments of a datagram, which is known to be wanted when it is whole, and what one part
//! of a file leaves to the part before.

use crate::source::{Frame, LinkType, Timestamp};

/// A frame with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    data: Box<[u8]>,
    time: Timestamp,
    number: u64,
    wire_len: u32,
    interface: u32,
    link: LinkType,
}

impl Kept {
    /// The frame as it was captured.
    pub fn frame(&self) -> Frame<'_> {
        Frame {
            data: &self.data,
            time: self.time,
            number: self.number,
            wire_len: self.wire_len,
            interface: self.interface,
            link: self.link,
        }
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.data.len()
    }
}

impl From<&Frame<'_>> for Kept {
    fn from(frame: &Frame<'_>) -> Self {
        Self {
            data: frame.data.into(),
            time: frame.time,
            number: frame.number,
            wire_len: frame.wire_len,
            interface: frame.interface,
            link: frame.link,
        }
    }
}
