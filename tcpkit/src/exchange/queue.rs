//! A queue that lies in one piece: requests that wait for their responses.
//!
//! What was taken from the front leaves room there until the queue is empty or has to grow, so that
//! an entry is found by its place without a turn round the end.

/// Entries, oldest first.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The entries, and in front of them those that were taken.
    entries: Vec<T>,
    taken: u32,
    /// Room was made since the last look.
    grew: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            taken: 0,
            grew: false,
        }
    }
}

impl<T: Copy> Queue<T> {
    /// The entries.
    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        self.entries.get(self.taken as usize..).unwrap_or_default()
    }

    /// The entries, to be changed.
    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        self.entries
            .get_mut(self.taken as usize..)
            .unwrap_or_default()
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.taken as usize
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the youngest.
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        if self.entries.len() == self.entries.capacity() {
            self.make_room();
        }
        self.entries.push(entry);
    }

    #[cold]
    fn make_room(&mut self) {
        if self.taken as usize > self.entries.len() / 2 {
            self.entries.drain(..self.taken as usize);
            self.taken = 0;
        } else if self.entries.capacity() == 0 {
            // Most conversations never have more than one request open.
            self.entries.reserve_exact(1);
        } else {
            self.grew = true;
        }
    }

    /// Whether room was made since [`Queue::bytes`] was last asked.
    #[inline]
    pub(super) fn grew(&self) -> bool {
        self.grew
    }

    /// The memory that it takes beside its first entry.
    pub(super) fn bytes(&mut self) -> usize {
        self.grew = false;
        self.entries.capacity().saturating_sub(1) * size_of::<T>()
    }

    /// Takes the oldest.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let entry = *self.entries.get(self.taken as usize)?;
        self.taken += 1;
        if self.taken as usize == self.entries.len() {
            self.entries.clear();
            self.taken = 0;
        }
        Some(entry)
    }

    /// Takes the one at this place, if there is one.
    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        if place == 0 {
            return self.pop();
        }
        (place < self.len()).then(|| self.entries.remove(self.taken as usize + place))
    }

    /// Keeps those of which `keep` says so.
    pub(super) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.entries.drain(..self.taken as usize);
        self.taken = 0;
        self.entries.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0_u8..8, 0_usize..6), 0..400)) {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            for (number, (what, place)) in steps.into_iter().enumerate() {
                match what {
                    0..=3 => {
                        queue.push(number);
                        model.push_back(number);
                    }
                    4 | 5 => prop_assert_eq!(queue.pop(), model.pop_front()),
                    6 => prop_assert_eq!(queue.remove(place), model.remove(place)),
                    _ => {
                        queue.retain(|entry| entry % 5 != place);
                        model.retain(|entry| entry % 5 != place);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.as_slice(), model.make_contiguous());
            }
        }
    }

    #[test]
    fn what_was_taken_does_not_stay() {
        let mut queue = Queue::default();
        for number in 0..100_000 {
            queue.push(number);
            if number >= 10 {
                queue.pop();
            }
        }
        assert!(
            queue.entries.capacity() <= 64,
            "{}",
            queue.entries.capacity()
        );
    }
}
