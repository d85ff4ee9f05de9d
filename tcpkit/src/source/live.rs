//! What live engines have in common: what they are asked to capture, and how they hand it on.
//!
//! An engine reads frames from the network, hands them on as [`Frame`]s in the order of their
//! times. It keeps only what an [`Interest`] names, and counts what it could not deliver.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ipnet::IpNet;

use super::{Frame, Interface, SourceError, Timestamp, shown};

/// What a live run wants to see. An engine may deliver more; it is selected again behind it.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Names of the interfaces; empty for every one that is up, ones that appear later included.
    pub interfaces: Vec<String>,
    /// Server ports, each once; empty for every port.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Only conversations with these servers; empty for all.
    pub servers: Vec<IpNet>,
    /// Whether TCP is wanted.
    pub tcp: bool,
    /// Whether UDP is wanted.
    pub udp: bool,
    /// Whether TCP segments are wanted that carry nothing and change nothing: no payload, none of SYN, FIN
    /// and RST, a window that is open.
    pub empty_segments: bool,
    /// Bytes kept of each frame; `None` for all of them.
    pub snaplen: Option<u32>,
    /// Size of all kernel buffers together in bytes; `None` for the engine's own choice.
    pub buffer: Option<u64>,
    /// A filter in libpcap's language; empty for none.
    pub filter: String,
    /// Whether programs in the kernel say what they could not parse.
    pub diagnostics: bool,
}

/// That there is no interface of a name that was asked for, and which there are.
pub(super) fn no_such_interface(name: &str, there: &str) -> String {
    let name = shown::word(name);
    format!("--interface {name}: there is no such interface; there are {there}")
}

/// What an engine did since its start. Each number only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that passed the hooks, where the engine can tell; 0 where it cannot.
    pub seen: u64,
    /// Frames of the [`Interest`].
    pub matched: u64,
    /// Frames handed on.
    pub delivered: u64,
    /// Frames of the interest that were lost, by cause, in an order that does not change.
    pub lost: Vec<(&'static str, u64)>,
    /// Delivered frames of which less was kept than the snap length asks for.
    pub cut: u64,
    /// Frames that the engine could not parse and left out.
    pub unparsed: u64,
    /// The rings between kernel and reader, where the engine has such and can look into them.
    pub rings: Vec<RingFill>,
}

/// How full a ring was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFill {
    /// Bytes that it has room for, those of heads of records included.
    pub size: u64,
    /// The most bytes of it that were in use at once. A record that does not fit into the rest is lost, so a ring loses
    /// before the two are equal.
    pub highest: u64,
}

impl Counters {
    /// Frames lost for any cause.
    pub fn lost(&self) -> u64 {
        self.lost.iter().map(|(_, count)| count).sum()
    }
}

/// How far the wall clock has moved against the clock of the frames, told to whatever prints times. Cheap to clone; all
/// clones are the same. A capture file has none: it stays zero.
#[derive(Clone, Debug, Default)]
pub struct Drift(Arc<AtomicI64>);

impl Drift {
    /// Takes over what an engine tells, in nanoseconds.
    pub fn set(&self, nanoseconds: i64) {
        self.0.store(nanoseconds, Ordering::Relaxed);
    }

    /// The wall clock's time of a frame's.
    pub fn wall(&self, time: Timestamp) -> Timestamp {
        Timestamp(time.0.saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }
}

/// A right that an engine goes on needing after it was opened, as capabilities(7) names it without `CAP_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Load programs and make maps.
    Bpf,
    /// Attach programs to interfaces.
    NetAdmin,
    /// Load programs that trace, and read what verifiers say.
    Perfmon,
    /// Open packet sockets.
    NetRaw,
}

/// A live capture engine. Dropped, it leaves nothing attached.
pub trait Engine: Send {
    /// What captures, and how, for notices and the summary: `TC (TCX) on eth0, eth1`.
    fn describe(&self) -> String;

    /// The interfaces known so far; [`Frame::interface`] is an index into it. Grows, and where it may not grow any more, new
    /// interfaces take the places of some that are gone for long.
    fn interfaces(&self) -> &[Interface];

    /// Indexes into [`Engine::interfaces`] that have come to mean another interface since the last call. That is known before
    /// the first frame of it is handed on.
    fn take_renumbered(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Hands on the frames that are there, in the order of their times, and returns; where there are none,
    /// waits for at most `wait`. The call ends early when `each` returns false; what was not
    /// handed on then comes with the next call.
    ///
    /// Times are of one clock that never steps; [`Engine::drift`] tells what to add to one before it is printed.
    ///
    /// # Errors
    /// When capture cannot go on: the last interface is gone, the kernel refuses.
    fn deliver(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), SourceError>;

    /// The time now, of the frames' clock.
    fn clock(&mut self) -> Timestamp;

    /// The time up to which everything was handed on: a frame that comes later is of this time or
    /// after it. Goes on when nothing is captured, so that timeouts and intervals end then too; while frames
    /// come, their own times are as good.
    fn settled(&self) -> Timestamp;

    /// What it will need to pick up interfaces that appear later; everything else the process may give up.
    fn privileges(&self) -> &'static [Privilege];

    /// Whether [`Interest::filter`] is applied by the engine; else it has to be behind it.
    fn filters(&self) -> bool;

    /// Nanoseconds by which the wall clock has moved against the clock of the frames since the start, sampled
    /// at most once a second.
    fn drift(&mut self) -> i64;

    /// What was captured and lost since the start.
    fn counters(&mut self) -> Counters;

    /// Sentences for the user that came up since the last call: an interface that appeared or went.
    fn take_notices(&mut self) -> Vec<String>;
}
