//! Which worker follows which shards.

use super::select::Selector;
use crate::flow::FlowKey;
use crate::limits::SHARDS;
use crate::source::file::FileSource;
use crate::source::{BATCH, Frame};
use crate::wire::{Decoded, Decoder};

/// The worker of each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners([usize; SHARDS]);

/// So many frames at a file's beginning say how busy its shards are: a hundredth of a second's reading at most.
const SAMPLE: usize = 1 << 15;

/// What following a frame costs, in what following a byte of its payload does.
const FRAME: u64 = 512;

impl Owners {
    /// One worker for all.
    pub fn alone() -> Self {
        Self([0; SHARDS])
    }

    /// Deals shards out so that workers have about as much to do, as the beginning of a file tells it. Fifty conversations lie
    /// unevenly in sixteen shards: dealt in turn, one of two workers had 58 % of the frames.
    pub(super) fn of_sample(mut file: FileSource, selector: &Selector, workers: usize) -> Self {
        // A shard that shows nothing yet is dealt out all the same.
        let mut loads = [1; SHARDS];
        let (mut decoder, mut left) = (Decoder::new(), SAMPLE);
        // Who reads the file says what is wrong with it.
        let _ = file.each_batch(BATCH, |frames| {
            for frame in frames {
                weigh(frame, &mut decoder, selector, &mut loads);
            }
            left = left.saturating_sub(frames.len());
            left > 0
        });
        Self::of_loads(loads, workers)
    }

    /// The busiest first, each to who has least.
    fn of_loads(loads: [u64; SHARDS], workers: usize) -> Self {
        let mut order: [usize; SHARDS] = std::array::from_fn(|shard| shard);
        order.sort_by_key(|&shard| std::cmp::Reverse(loads[shard]));
        let mut dealt = vec![0; workers.max(1)];
        let mut owners = [0; SHARDS];
        for shard in order {
            let least = (0..dealt.len()).min_by_key(|&worker| dealt[worker]);
            owners[shard] = least.unwrap_or(0);
            dealt[owners[shard]] += loads[shard];
        }
        Self(owners)
    }

    /// Whether `worker` follows the conversations of `shard`.
    pub fn owns(&self, worker: usize, shard: usize) -> bool {
        self.0[shard] == worker
    }
}

/// Adds what a frame costs to its shard's load.
fn weigh(frame: &Frame<'_>, decoder: &mut Decoder, selector: &Selector, loads: &mut [u64; SHARDS]) {
    let Decoded::Packet(packet) = decoder.decode(frame) else {
        return;
    };
    let ports = [packet.source_port, packet.destination_port];
    if selector.admits(packet.transport, ports) {
        let shard = FlowKey::of(&packet).0.spread().shard();
        loads[shard] += FRAME + packet.payload.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_one_owner_and_workers_have_as_much_to_do() {
        assert_eq!(Owners::of_loads([1; SHARDS], 1), Owners::alone());
        // Frames of the fifty connections of a redis-benchmark, by shard.
        let loads = [
            11_494, 7_665, 11_522, 10, 22_987, 11_516, 11_516, 3_833, 3_846, 1, 19_170, 15_379,
            15_370, 19_163, 15_328, 23_025,
        ];
        for workers in 1..=SHARDS {
            let owners = Owners::of_loads(loads, workers);
            let load = |worker| -> u64 {
                let its = (0..SHARDS).filter(|&shard| owners.owns(worker, shard));
                its.map(|shard| loads[shard]).sum()
            };
            let all: Vec<u64> = (0..workers).map(load).collect();
            let sum: u64 = loads.iter().sum();
            assert_eq!(all.iter().sum::<u64>(), sum);
            let most = all.iter().max().copied().unwrap_or(0);
            // A shard is not divided.
            let best = (sum / workers as u64).max(23_025);
            assert!(most <= best * 9 / 8, "{workers} workers: {all:?}");
        }
    }
}
