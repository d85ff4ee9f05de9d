//! TCP segments that several interfaces show, told by what they say.
//!
//! The stream knows the copies of bytes by their place in it; this knows those of segments without any, and is asked
//! where packets are told one by one. Each shard has places of its own, so that what is found does not depend on the
//! number of workers.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::flow::{FlowKey, Side, Spread};
use crate::limits::{COPIES_PER_SHARD, COPY_TIME, SHARDS};
use crate::source::Timestamp;
use crate::wire::Packet;

/// What was seen lately, each in the place that its content says: one that falls on another's takes it. Without any
/// places until the first is asked for.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    print: u64,
    time: Timestamp,
    interface: u32,
}

impl Copies {
    /// Whether another interface has shown this segment just now. Copies of it may follow from more of them.
    pub(super) fn is_copy(
        &mut self,
        key: &FlowKey,
        spread: Spread,
        from: Side,
        packet: &Packet<'_>,
    ) -> bool {
        if self.0.is_empty() {
            self.0 = vec![Seen::default(); SHARDS * COPIES_PER_SHARD];
        }
        let seen = Seen {
            print: print(key, from, packet),
            time: packet.time,
            interface: packet.interface,
        };
        let place = spread.shard() * COPIES_PER_SHARD + seen.print as usize % COPIES_PER_SHARD;
        let before = &mut self.0[place];
        let copied = before.print == seen.print
            && before.interface != seen.interface
            && u128::from(before.time.0.abs_diff(seen.time.0)) <= COPY_TIME.as_nanos();
        if !copied {
            *before = seen;
        }
        copied
    }
}

/// Conversation, direction and all that a bridge leaves of the headers.
fn print(key: &FlowKey, from: Side, packet: &Packet<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for word in key.words() {
        hasher.write_u64(word);
    }
    let id = packet.ip_id.map_or(u32::MAX, u32::from);
    for numbers in [
        [packet.seq, packet.ack],
        [packet.payload_len, id],
        [
            u32::from(packet.window) << 16 | u32::from(packet.flags),
            from as u32,
        ],
    ] {
        hasher.write_u64(u64::from(numbers[0]) << 32 | u64::from(numbers[1]));
    }
    hasher.finish()
}
