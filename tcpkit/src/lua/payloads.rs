//! Payloads that a script's VM has as strings already.
//!
//! Reads the packets of a batch on the script's thread, and says of each whether its payload is a string that the VM
//! still has. LuaJIT has every string once: to make one is to look it up among all, and where a script keeps them, they
//! are at addresses that no cache holds, to be had one behind the other. Here the memory of many is asked for at once, and a
//! payload that comes again costs no lookup. Where a string is, the driver notes (`driver.lua`); it also keeps the strings, so
//! that the collector does not take them.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::record::PacketRecord;
use crate::source::prefetch;

/// Longer payloads are seldom seen again, and take longer to compare.
const LONGEST: usize = 256;

/// Packets whose memory is asked for at once.
const AHEAD: usize = 32;

/// Places that a string may have, for it to be kept beside others of the same hash.
const WAYS: usize = 4;

/// The places of one hash: a cache line.
#[repr(C, align(64))]
#[derive(Clone, Debug, Default)]
struct Set([Place; WAYS]);

const _: () = assert!(size_of::<Set>() == 64);

/// A place for a string; the driver writes `address`.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Where the bytes of the string are; 0 where there is none.
    address: usize,
    hash: u32,
    len: u16,
    /// The batch that used it last. Another payload may have the place only in a later one: where a hook fails,
    /// the rest of a batch is gone through again.
    batch: u16,
}

/// Strings by their content, each in one of the few places that its hash names.
pub struct Payloads {
    /// None until the first packet.
    sets: Vec<Set>,
    /// How many places there will be.
    count: usize,
    hasher: RandomState,
    batch: u16,
}

impl Payloads {
    /// Room for `count` strings, a power of two of at least [`WAYS`].
    pub fn new(count: usize) -> Self {
        Self {
            sets: Vec::new(),
            count,
            hasher: RandomState::default(),
            batch: 0,
        }
    }

    /// Where the driver notes addresses, and how many there is room for.
    pub(super) fn places(&mut self) -> (*mut Place, usize) {
        (self.sets.as_mut_ptr().cast(), self.count)
    }

    /// Says of each packet where the string of its payload is, or is to be put.
    ///
    /// # Safety
    /// The driver has gone through all batches before, or failed for good: an address that it noted is that of a string that
    /// it keeps.
    pub(super) unsafe fn find(&mut self, packets: &mut [PacketRecord], arena: &[u8]) {
        if packets.is_empty() {
            return;
        }
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); self.count / WAYS];
        }
        self.batch = self.batch.wrapping_add(1);
        for packets in packets.chunks_mut(AHEAD) {
            let mut hashes = [0; AHEAD];
            for (packet, hash) in packets.iter().zip(&mut hashes) {
                *hash = self.hasher.hash_one(packet.payload(arena));
                prefetch::line(self.sets.as_ptr().wrapping_add(self.index(*hash)).addr());
            }
            for (packet, hash) in packets.iter().zip(hashes) {
                self.ask_for_string(packet, hash);
            }
            for (packet, hash) in packets.iter_mut().zip(hashes) {
                let payload = packet.payload(arena);
                // SAFETY: as the caller says.
                packet.place = unsafe { self.place(payload, hash) };
            }
        }
    }

    fn index(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }

    fn ask_for_string(&self, packet: &PacketRecord, hash: u64) {
        let Set(places) = &self.sets[self.index(hash)];
        for place in places {
            if place.is_like(packet.captured as usize, hash) {
                for line in (0..usize::from(place.len)).step_by(64) {
                    prefetch::line(place.address + line);
                }
            }
        }
    }

    /// What a packet's record says: nothing (0), the place of its string, or where to put it (negative).
    ///
    /// # Safety
    /// As for [`Self::find`].
    unsafe fn place(&mut self, payload: &[u8], hash: u64) -> i32 {
        let (index, batch) = (self.index(hash), self.batch);
        let Set(places) = &mut self.sets[index];
        // The driver counts from one.
        let number = |way: usize| (index * WAYS + way) as i32 + 1;
        for (way, place) in places.iter_mut().enumerate() {
            // SAFETY: as the caller says.
            if unsafe { place.holds(payload, hash) } {
                place.batch = batch;
                return number(way);
            }
        }
        let len = payload.len();
        // One of the same content may be put there by this batch; it is made twice then.
        let is_coming = |place: &Place| place.batch == batch && place.is_of(len, hash);
        if payload.is_empty() || len > LONGEST || places.iter().any(is_coming) {
            return 0;
        }
        let unused_for = |place: &Place| batch.wrapping_sub(place.batch);
        let oldest = places
            .iter_mut()
            .enumerate()
            .filter(|(_, place)| unused_for(place) > 0)
            .max_by_key(|(_, place)| (place.address == 0, unused_for(place)));
        let Some((way, place)) = oldest else {
            return 0;
        };
        *place = Place {
            address: 0,
            hash: short(hash),
            len: payload.len() as u16,
            batch,
        };
        -number(way)
    }
}

impl Place {
    fn is_of(&self, len: usize, hash: u64) -> bool {
        self.hash == short(hash) && usize::from(self.len) == len
    }

    /// Whether its string may be the one.
    fn is_like(&self, len: usize, hash: u64) -> bool {
        self.address != 0 && self.is_of(len, hash)
    }

    /// # Safety
    /// `address` is 0 or that of a living string of `len` bytes.
    unsafe fn holds(&self, payload: &[u8], hash: u64) -> bool {
        if !self.is_like(payload.len(), hash) {
            return false;
        }
        let bytes = std::ptr::with_exposed_provenance::<u8>(self.address);
        // SAFETY: as the caller says.
        let string = unsafe { std::slice::from_raw_parts(bytes, usize::from(self.len)) };
        string == payload
    }
}

/// The half of a hash that does not choose the place.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the driver does, with strings of Rust's.
    #[derive(Default)]
    struct Driver {
        kept: Vec<Option<Box<[u8]>>>,
        taken: usize,
    }

    impl Driver {
        fn payload(
            &mut self,
            packet: &PacketRecord,
            arena: &[u8],
            places: &mut [&mut Place],
        ) -> Vec<u8> {
            let place = packet.place.unsigned_abs() as usize;
            if packet.place > 0 {
                self.taken += 1;
                return self.kept[place].as_deref().unwrap_or_default().to_vec();
            }
            let payload = packet.payload(arena);
            if packet.place < 0 {
                let string: Box<[u8]> = payload.into();
                places[place - 1].address = string.as_ptr().expose_provenance();
                self.kept[place] = Some(string);
            }
            payload.to_vec()
        }
    }

    fn packet(payload: &[u8], arena: &mut Vec<u8>) -> PacketRecord {
        let packet = PacketRecord {
            at: arena.len() as u32,
            captured: payload.len() as u32,
            ..PacketRecord::default()
        };
        arena.extend_from_slice(payload);
        packet
    }

    /// Few places, so that payloads take each other's; batches that are gone through again from where a hook failed.
    #[test]
    fn every_packet_has_its_own_payload() {
        let mut payloads = Payloads::new(8);
        let mut driver = Driver::default();
        driver.kept.resize(9, None);
        let mut random = 1_u64;
        for _ in 0..500 {
            let (mut packets, mut arena) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let number = (random >> 33) % 30;
                let long = "x".repeat(number as usize * 10);
                packets.push(packet(format!("{number}{long}").as_bytes(), &mut arena));
            }
            // SAFETY: the driver of this test has gone through all batches before.
            unsafe { payloads.find(&mut packets, &arena) };
            for again in [0, 37, 38] {
                for packet in &packets[again..] {
                    let places = payloads.sets.iter_mut().flat_map(|Set(places)| places);
                    let mut places: Vec<&mut Place> = places.collect();
                    let payload = driver.payload(packet, &arena, &mut places);
                    assert_eq!(payload, packet.payload(&arena));
                }
            }
        }
        assert!(driver.taken > 1000, "{}", driver.taken);
    }

    #[test]
    fn what_is_empty_or_long_is_not_kept() {
        let mut payloads = Payloads::new(8);
        for _ in 0..2 {
            let mut arena = Vec::new();
            let mut packets = [0, LONGEST + 1].map(|len| packet(&vec![7; len], &mut arena));
            // SAFETY: no driver is there, and no address was noted.
            unsafe { payloads.find(&mut packets, &arena) };
            assert!(packets.iter().all(|packet| packet.place == 0));
        }
    }
}
