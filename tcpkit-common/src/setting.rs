//! Names of the read-only settings, given before the programs are loaded. The verifier sees their values and
//! drops the code that they switch off.

/// `u32`: most bytes that are kept of a frame.
pub const SNAPLEN: &str = "SNAPLEN";
/// `u32`: bytes of a ring; a ring that is found fuller than half of it wakes the reader.
pub const RING_BYTES: &str = "RING_BYTES";
/// `u32`: a power of two; the fill of a ring is looked at when the bytes that a CPU wrote pass a multiple of it.
pub const RING_STEP: &str = "RING_STEP";
/// `u8`: TCP is wanted.
pub const TCP: &str = "TCP";
/// `u8`: UDP is wanted.
pub const UDP: &str = "UDP";
/// `u8`: segments that carry nothing are wanted.
pub const EMPTY_SEGMENTS: &str = "EMPTY_SEGMENTS";
/// `u8`: only the servers in the map of this name are wanted.
pub const SERVERS: &str = "SERVERS_ONLY";
/// `u8`: do nothing while the reader's heartbeat is stale.
pub const HEARTBEAT: &str = "HEARTBEAT";

/// All of them, for a test that looks them up in the built object.
pub const ALL: [&str; 8] = [
    SNAPLEN,
    RING_BYTES,
    RING_STEP,
    TCP,
    UDP,
    EMPTY_SEGMENTS,
    SERVERS,
    HEARTBEAT,
];
