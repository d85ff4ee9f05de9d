//! Names of the maps.

/// An array of rings, indexed by CPU.
pub const RINGS: &str = "RINGS";
/// An array of one [`Ports`](crate::Ports).
pub const PORTS: &str = "PORTS";
/// A trie of the [`Address`](crate::Address)es of servers; empty unless [`SERVERS`](crate::setting::SERVERS) is set.
pub const SERVERS: &str = "SERVERS";
/// [`Counters`](crate::Counters) of each CPU, indexed by direction.
pub const COUNTERS: &str = "COUNTERS";
/// An array of one [`Control`](crate::Control), mapped by the reader.
pub const CONTROL: &str = "CONTROL";
/// First bytes of a frame whose headers do not lie in one piece, for each CPU.
pub const SCRATCH: &str = "SCRATCH";

/// All of them, for a test that looks them up in the built object.
pub const ALL: [&str; 6] = [RINGS, PORTS, SERVERS, COUNTERS, CONTROL, SCRATCH];

/// Prefixes that [`SERVERS`] has room for.
pub const SERVERS_ENTRIES: usize = 1024;
