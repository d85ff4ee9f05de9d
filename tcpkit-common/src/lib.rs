//! The boundary between tcpkit and its programs in the kernel: what a record in a ring looks like, which
//! counters there are, what maps and read-only settings are called.
//!
//! Integers and arrays only, the same on both sides; sizes are asserted when this compiles.

#![no_std]

pub mod map;
pub mod program;
pub mod setting;

/// What stands before a frame in a ring.
///
/// The frame begins [`start`](Self::start) bytes after the record's first byte: at the end of this head, or
/// inside [`lead`](Self::lead) where an outer VLAN tag was put back in front of the bytes that were copied.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Nanoseconds of `CLOCK_BOOTTIME`, taken after the frame was found to be wanted.
    pub time: u64,
    /// Length on the wire in bytes, a VLAN tag that the driver took off included.
    pub wire_len: u32,
    /// Bytes of the frame in this record.
    pub captured: u32,
    /// Index of the interface that the program is attached to.
    pub ifindex: u32,
    /// Offset of the frame's first byte from the record's.
    pub start: u8,
    /// [`INGRESS`] or [`EGRESS`].
    pub direction: u8,
    /// [`ETHERNET`] or [`IP`].
    pub link: u8,
    /// Always 0.
    pub unused: u8,
    /// Room before the frame, of which a VLAN tag takes the last four bytes.
    pub lead: [u8; 8],
}

/// Bytes before a frame without a tag.
pub const HEAD: usize = size_of::<Head>();
const _: () = assert!(HEAD == 32 && align_of::<Head>() == 8);

/// [`Head::direction`] of what the host receives, and its row of the counters.
pub const INGRESS: u8 = 0;
/// [`Head::direction`] of what the host sends, and its row of the counters.
pub const EGRESS: u8 = 1;
/// Directions, each with counters of its own.
pub const DIRECTIONS: u32 = 2;

/// [`Head::link`] of a frame that begins with an Ethernet header.
pub const ETHERNET: u8 = 0;
/// [`Head::link`] of a frame that begins with an IP header: tunnels without a link layer.
pub const IP: u8 = 1;

/// Bytes that the kernel puts before each record of a ring.
pub const RING_HEADER: usize = 8;

/// Bytes of a VLAN tag: its type and its value.
pub const VLAN_TAG: u32 = 4;

/// Frame bytes that a record may have room for; the smallest that fits is reserved. With what stands before
/// them they are powers of two and halfway between, so that little is left empty: a gap is a cache line that the processor
/// fetches for nothing.
pub const CLASSES: [usize; 19] = [
    room(128),
    room(192),
    room(256),
    room(384),
    room(512),
    room(768),
    room(1024),
    room(1536),
    room(2048),
    room(3072),
    room(4096),
    room(6144),
    room(8192),
    room(12_288),
    room(16_384),
    room(24_576),
    room(32_768),
    room(49_152),
    room(66_048),
];

/// Most bytes that are kept of a frame: the largest IP packet, its link header and tags.
pub const FRAME: u32 = CLASSES[CLASSES.len() - 1] as u32;
const _: () = assert!(FRAME >= 65_535 + 14 + 2 * VLAN_TAG);

/// Most bytes that the kernel's helper copies at XDP, and the farthest place that it copies from.
pub const XDP_PIECE: u32 = 65_535;

/// Most bytes that the XDP program for kernels without fragments keeps: such frames lie in one page.
pub const PAGE_FRAME: u32 = CLASSES[10] as u32;
const _: () = assert!(CLASSES[10] == room(4096));

const fn room(record: usize) -> usize {
    record - RING_HEADER - HEAD
}

/// A port is not looked at.
pub const OFF: u8 = 0;
/// Frames of a port are captured whole.
pub const FULL: u8 = 1;

/// What happens to each port, indexed by the port as it stands in a packet (network byte order).
pub type Ports = [u8; 65_536];

/// Places in a row of [`map::COUNTERS`]. Each only grows.
pub mod count {
    /// Frames that passed the hook.
    pub const SEEN: usize = 0;
    /// Frames that are wanted: each is emitted or lost.
    pub const MATCHED: usize = 1;
    /// Frames put into a ring.
    pub const EMITTED: usize = 2;
    /// Bytes of frames put into a ring.
    pub const BYTES: usize = 3;
    /// Lost: the ring was full.
    pub const RING_FULL: usize = 4;
    /// Lost: the frame's bytes could not be copied, or there was no ring.
    pub const NOT_COPIED: usize = 5;
    /// Emitted with less than the snap length asks for.
    pub const CUT: usize = 6;
    /// TCP or UDP that ends before its ports, or IP with a broken or too long header: left out.
    pub const UNPARSED: usize = 7;
    /// Later fragments of datagrams that cannot be assigned to a port: left out.
    pub const FRAGMENTS: usize = 8;
    /// TCP segments that carry nothing and change nothing: left out unless asked for.
    pub const EMPTY: usize = 9;
    /// Number of counters.
    pub const COUNTERS: usize = 10;
    /// Not a counter: room that the programs work in.
    pub const WORK: usize = COUNTERS;
    /// Number of words in a row.
    pub const WORDS: usize = COUNTERS + 1;
}

/// Counters of one CPU and one direction.
pub type Counters = [u64; count::WORDS];

/// Places in [`map::CONTROL`], which both sides write.
pub mod control {
    /// Not 0 while the reader sleeps until it is woken: the next record wakes it and sets this to 0.
    pub const NEED: usize = 0;
    /// When the reader was last alive, in nanoseconds of `CLOCK_BOOTTIME`. On a cache line of its own.
    pub const HEARTBEAT: usize = 8;
    /// Number of words.
    pub const WORDS: usize = 16;
}

/// What both sides write; [`map::CONTROL`] has one.
pub type Control = [u64; control::WORDS];

/// A reader that was silent for so long, in nanoseconds, is gone; the filter that it left behind does nothing.
pub const HEARTBEAT_STALE: u64 = 10_000_000_000;

/// Key of [`map::SERVERS`]: an IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`.
pub type Address = [u8; 16];
