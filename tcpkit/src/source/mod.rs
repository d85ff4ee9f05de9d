//! Where frames come from: capture files, live engines.
//!
//! Reads bytes from the outside, makes [`Frame`]s: link-layer bytes, a timestamp, the length on
//! the wire. Every source yields the same thing, so there is one decoder behind all of them.

mod clock;
mod datalink;
#[cfg(all(feature = "ebpf", target_os = "linux"))]
pub mod ebpf;
pub mod file;
pub mod filter;
pub mod libpcap;
pub mod live;
pub mod names;
pub mod prefetch;
pub mod shown;

use std::fmt;
use std::time::Duration;

/// A point in capture time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds and nanoseconds; saturates in the year 2554.
    pub fn new(seconds: u64, nanoseconds: u32) -> Self {
        Self(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(u64::from(nanoseconds)),
        )
    }

    /// Time that passed from `earlier` until this, in nanoseconds; 0 where the clock went back.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether more than `limit` passed from `earlier` until this.
    pub fn is_past(self, earlier: Self, limit: Duration) -> bool {
        u128::from(self.since(earlier)) > limit.as_nanos()
    }
}

/// A link-layer header type, numbered as in the tcpdump group's LINKTYPE_ registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

#[expect(missing_docs, reason = "the names are the registry's")]
impl LinkType {
    pub const NULL: Self = Self(0);
    pub const ETHERNET: Self = Self(1);
    pub const PPP: Self = Self(9);
    pub const RAW: Self = Self(101);
    pub const LOOP: Self = Self(108);
    pub const LINUX_SLL: Self = Self(113);
    pub const IPV4: Self = Self(228);
    pub const IPV6: Self = Self(229);
    pub const NFLOG: Self = Self(239);
    pub const NETLINK: Self = Self(253);
    pub const LINUX_SLL2: Self = Self(276);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NULL => f.write_str("BSD loopback"),
            Self::ETHERNET => f.write_str("Ethernet"),
            Self::PPP => f.write_str("PPP"),
            Self::RAW => f.write_str("raw IP"),
            Self::LOOP => f.write_str("OpenBSD loopback"),
            Self::LINUX_SLL => f.write_str("Linux cooked v1"),
            Self::IPV4 => f.write_str("raw IPv4"),
            Self::IPV6 => f.write_str("raw IPv6"),
            Self::NFLOG => f.write_str("NFLOG"),
            Self::NETLINK => f.write_str("netlink"),
            Self::LINUX_SLL2 => f.write_str("Linux cooked v2"),
            Self(other) => write!(f, "link type {other}"),
        }
    }
}

/// The most frames that are handed on at a time: enough to share what a turn costs, few enough to stay near.
pub const BATCH: usize = 32;

/// One captured frame, borrowed from its source until the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The captured bytes, from the link-layer header on.
    pub data: &'a [u8],
    /// When it was captured.
    pub time: Timestamp,
    /// Its place in the source, counted from 1 as Wireshark counts.
    pub number: u64,
    /// Length on the wire in bytes; at least `data.len()`.
    pub wire_len: u32,
    /// The interface that it was seen on: an index into [`Source::interfaces`].
    pub interface: u32,
    /// What the first byte of `data` belongs to.
    pub link: LinkType,
}

impl Frame<'_> {
    /// The frame as a capture with this snap length has it.
    #[must_use]
    pub fn cut(&self, snaplen: usize) -> Self {
        Self {
            data: self.data.get(..snaplen).unwrap_or(self.data),
            ..*self
        }
    }
}

/// An interface that frames were captured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its link-layer header type.
    pub link: LinkType,
    /// Its name where the source knows it.
    pub name: Option<String>,
    /// The snap length it was captured with, in bytes; 0 where unlimited or unknown.
    pub snaplen: u32,
}

/// How a source ended, and what it could not deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// Frames that the capture's own account says were dropped before this source saw them
    /// (pcapng interface statistics, kernel counters).
    pub dropped: u64,
    /// What went wrong on the way, each a sentence for the user: a file cut off in the middle,
    /// a damaged block. Not an error: what came before it was delivered.
    pub notices: Vec<String>,
}

/// An error that leaves nothing to deliver: no such file, not a capture file, a failed read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Yields frames in the order in which they were captured.
pub trait Source {
    /// The next frame, or `None` at the end.
    ///
    /// # Errors
    /// When nothing more can be read for a reason outside the captured bytes. Damage inside
    /// them ends the source early and is told by [`Source::report`].
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, SourceError>;

    /// The interfaces known so far; grows while a pcapng file is read.
    fn interfaces(&self) -> &[Interface];

    /// What could not be delivered, so far.
    fn report(&self) -> SourceReport;
}

/// Where this program lies, for commands that a user is told to run.
fn own_path() -> String {
    let path = std::env::current_exe();
    path.map_or_else(|_| "tcpkit".to_owned(), |path| path.display().to_string())
}
