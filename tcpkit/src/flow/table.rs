//! A bounded table of conversations.
//!
//! Reads [`FlowKey`]s, keeps one value a conversation. The hash is keyed anew in every run, so
//! that nobody can choose addresses that collide; what is evicted depends on time alone.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{FlowKey, Spread};
use crate::source::Timestamp;

/// Conversations by key, at most as many as the table was made for.
#[derive(Debug)]
pub struct Table<T> {
    index: HashTable<u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Second chance: slots in the order in which they were last looked at for eviction.
    clock: VecDeque<u32>,
    hasher: RandomState,
    /// Where conversations were found last: saves the search for those that are busy.
    recent: [u32; RECENT],
    capacity: usize,
}

/// Busy conversations that are found without a search, nearly always.
const RECENT: usize = 64;

#[derive(Debug)]
struct Slot<T> {
    key: FlowKey,
    seen: Timestamp,
    /// `seen` when the clock last passed.
    noted: Timestamp,
    value: Option<T>,
}

/// A conversation on its way from one table to another.
#[derive(Debug)]
pub struct Moved<T> {
    key: FlowKey,
    seen: Timestamp,
    noted: Timestamp,
    /// What is kept of it.
    pub value: T,
}

impl<T> Moved<T> {
    /// Whose it is.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }
}

impl<T> Table<T> {
    /// An empty table for at most `capacity` conversations.
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            clock: VecDeque::new(),
            hasher: RandomState::default(),
            recent: [u32::MAX; RECENT],
            capacity,
        }
    }

    /// How many conversations there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The place of a conversation, noting that it was seen at `now`; `spread` is its key's.
    #[inline]
    pub fn find(&mut self, key: &FlowKey, spread: Spread, now: Timestamp) -> Option<u32> {
        let recent = spread.place::<RECENT>();
        let place = self.recent[recent];
        if let Some(slot) = self.slots.get_mut(place as usize)
            && slot.key == *key
            && slot.value.is_some()
        {
            slot.seen = now;
            return Some(place);
        }
        let place = self.search(key)?;
        self.slots[place as usize].seen = now;
        self.recent[recent] = place;
        Some(place)
    }

    /// As [`Table::find`], the conversation itself, where it is a busy one.
    #[inline(always)]
    pub fn find_busy(&mut self, key: &FlowKey, spread: Spread, now: Timestamp) -> Option<&mut T> {
        let place = self.recent[spread.place::<RECENT>()];
        let slot = self.slots.get_mut(place as usize)?;
        if slot.key != *key {
            return None;
        }
        slot.seen = now;
        slot.value.as_mut()
    }

    #[inline(never)]
    fn search(&self, key: &FlowKey) -> Option<u32> {
        let hash = hash(&self.hasher, key);
        let is_it = |&place: &u32| self.slots[place as usize].key == *key;
        self.index.find(hash, is_it).copied()
    }

    /// Adds a conversation that is not there yet. Where the table is full, the one that was silent
    /// longest is taken out first and handed back.
    pub fn insert(
        &mut self,
        key: FlowKey,
        now: Timestamp,
        value: T,
    ) -> (u32, Option<(FlowKey, T)>) {
        let evicted = if self.index.len() >= self.capacity {
            self.evict()
        } else {
            None
        };
        let slot = Slot {
            key,
            seen: now,
            noted: now,
            value: Some(value),
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.clock.push_back(place);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |&place: &u32| hash(hasher, &slots[place as usize].key);
        self.index.insert_unique(hash(hasher, &key), place, rehash);
        (place, evicted)
    }

    /// Adds a conversation of another table, which is not here yet, as it was there. For where there is room: nothing makes
    /// room for it.
    pub fn adopt(&mut self, moved: Moved<T>) -> u32 {
        let (place, _) = self.insert(moved.key, moved.noted, moved.value);
        self.slots[place as usize].seen = moved.seen;
        place
    }

    /// All of its conversations, in the order of their places.
    pub fn into_moved(self) -> impl Iterator<Item = Moved<T>> {
        self.slots.into_iter().filter_map(|slot| {
            let Slot {
                key,
                seen,
                noted,
                value,
            } = slot;
            let value = value?;
            Some(Moved {
                key,
                seen,
                noted,
                value,
            })
        })
    }

    /// The conversation at `place`.
    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<(&FlowKey, &mut T)> {
        let slot = self.slots.get_mut(place as usize)?;
        Some((&slot.key, slot.value.as_mut()?))
    }

    /// All conversations with their places and when they were last seen, in the order of their places.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &FlowKey, Timestamp, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(place, slot)| {
                Some((place as u32, &slot.key, slot.seen, slot.value.as_mut()?))
            })
    }

    /// Takes the conversation at `place` out.
    pub fn remove(&mut self, place: u32) -> Option<(FlowKey, T)> {
        let slot = self.slots.get_mut(place as usize)?;
        let value = slot.value.take()?;
        let key = slot.key;
        if let Ok(entry) = self
            .index
            .find_entry(hash(&self.hasher, &key), |&candidate| candidate == place)
        {
            entry.remove();
        }
        // The clock still names the place; it is handed out again only when the clock has passed.
        Some((key, value))
    }

    fn evict(&mut self) -> Option<(FlowKey, T)> {
        while let Some(place) = self.clock.pop_front() {
            let slot = &mut self.slots[place as usize];
            if slot.value.is_none() {
                self.free.push(place);
            } else if slot.seen > slot.noted {
                slot.noted = slot.seen;
                self.clock.push_back(place);
            } else {
                let removed = self.remove(place);
                self.free.push(place);
                return removed;
            }
        }
        None
    }

    /// Makes the places of removed conversations available again.
    pub fn reclaim(&mut self) {
        let (slots, free) = (&self.slots, &mut self.free);
        self.clock.retain(|&place| {
            let alive = slots[place as usize].value.is_some();
            if !alive {
                free.push(place);
            }
            alive
        });
    }
}

#[inline]
fn hash(state: &RandomState, key: &FlowKey) -> u64 {
    let [a, b] = key.words();
    let mut hasher = state.build_hasher();
    hasher.write_u64(a);
    hasher.write_u64(b);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Transport;

    fn key(n: u32) -> FlowKey {
        FlowKey::V4 {
            ends: [1, u64::from(n)],
            transport: Transport::Tcp,
        }
    }

    #[test]
    fn the_longest_silent_conversation_makes_room() {
        let mut table = Table::new(3);
        for n in 0..3 {
            assert!(table.insert(key(n), Timestamp(u64::from(n)), n).1.is_none());
        }
        let find = |table: &mut Table<u32>, n, now| {
            table
                .find(&key(n), key(n).spread(), Timestamp(now))
                .is_some()
        };
        assert!(find(&mut table, 0, 10));
        let (_, evicted) = table.insert(key(3), Timestamp(11), 3);
        assert_eq!(evicted.map(|(_, value)| value), Some(1));
        assert_eq!(table.len(), 3);
        assert!(find(&mut table, 0, 12));
        assert!(!find(&mut table, 1, 12));
    }

    #[test]
    fn removed_places_are_used_again() {
        let mut table = Table::new(100);
        for round in 0..50u32 {
            let places: Vec<u32> = (0..10)
                .map(|n| table.insert(key(round * 10 + n), Timestamp(0), n).0)
                .collect();
            for place in places {
                assert!(table.remove(place).is_some());
                assert!(table.remove(place).is_none());
            }
            table.reclaim();
        }
        assert!(table.is_empty());
        assert!(table.slots.len() <= 10);
    }

    #[test]
    fn what_was_found_last_is_found_again_until_it_is_removed() {
        let mut table = Table::new(1000);
        let find = |table: &mut Table<u32>, n: u32| {
            let place = table.find(&key(n), key(n).spread(), Timestamp(1))?;
            table.get_mut(place).map(|(_, value)| *value)
        };
        for n in 0..1000 {
            table.insert(key(n), Timestamp(0), n);
        }
        for n in (0..1000).chain(0..1000) {
            assert_eq!(
                (find(&mut table, n), find(&mut table, n)),
                (Some(n), Some(n))
            );
        }
        for n in (0..1000).step_by(2) {
            let place = table.find(&key(n), key(n).spread(), Timestamp(2));
            place.and_then(|place| table.remove(place));
            assert_eq!(find(&mut table, n), None);
        }
        table.reclaim();
        for n in 1000..1500 {
            table.insert(key(n), Timestamp(3), n);
        }
        for n in 0..1500 {
            let there = n >= 1000 || n % 2 == 1;
            assert_eq!(find(&mut table, n), there.then_some(n));
        }
    }

    #[test]
    fn a_full_table_never_grows() {
        let mut table = Table::new(16);
        for n in 0..1000 {
            table.insert(key(n), Timestamp(u64::from(n)), n);
            assert!(table.len() <= 16);
        }
        assert!(table.slots.len() <= 17);
    }
}
