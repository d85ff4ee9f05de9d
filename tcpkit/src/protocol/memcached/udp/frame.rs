//! The frame header of a datagram (doc/protocol.txt, "UDP protocol").

/// Length of the frame header in bytes.
pub(super) const FRAME: usize = 8;

/// The frame header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// What its client told the request by.
    pub id: u16,
    /// Place of the datagram in its series.
    pub sequence: u16,
    /// Datagrams in the series.
    pub total: u16,
    /// 0, so far.
    pub reserved: u16,
}

impl Frame {
    /// The header that a datagram begins with, and what is behind it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[i0, i1, s0, s1, t0, t1, r0, r1], payload) = bytes.split_first_chunk::<FRAME>()?;
        let frame = Self {
            id: u16::from_be_bytes([i0, i1]),
            sequence: u16::from_be_bytes([s0, s1]),
            total: u16::from_be_bytes([t0, t1]),
            reserved: u16::from_be_bytes([r0, r1]),
        };
        (frame.sequence < frame.total).then_some((frame, payload))
    }
}
