//! Segments and datagrams that several interfaces show, told by what they say.
//!
//! A stream knows the copies of bytes by their place in it; this knows those of segments without any, and of datagrams, and is
//! asked where packets are told one by one. Each shard has places of its own, so that what is found does not depend on the
//! number of workers.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::flow::{FlowKey, Side, Spread};
use crate::limits::{COPIES_PER_SHARD, COPY_TIME, SHARDS};
use crate::source::Timestamp;
use crate::wire::{Packet, Transport};

/// Places that one content may have.
const WAYS: usize = 4;

/// Bytes of a datagram that are compared.
const HEAD: usize = 64;

/// What was seen lately, each in one of the places that its content says: a new one takes the oldest one's. Without any
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
    /// Whether another interface has shown this packet just now. Copies of it may follow from more of them.
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
        let set = seen.print as usize % (COPIES_PER_SHARD / WAYS);
        let first = spread.shard() * COPIES_PER_SHARD + set * WAYS;
        let places = &mut self.0[first..first + WAYS];
        let copied = places.iter().any(|before| {
            before.print == seen.print
                && before.interface != seen.interface
                && u128::from(before.time.0.abs_diff(seen.time.0)) <= COPY_TIME.as_nanos()
        });
        if !copied && let Some(oldest) = places.iter_mut().min_by_key(|before| before.time) {
            *oldest = seen;
        }
        copied
    }
}

/// Conversation, direction and all that a bridge leaves of the headers; the first bytes of a datagram.
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
    if packet.transport == Transport::Udp {
        hasher.write(packet.payload.get(..HEAD).unwrap_or(packet.payload));
    }
    hasher.finish()
}
