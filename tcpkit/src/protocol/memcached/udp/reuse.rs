//! How a client uses request ids again.
//!
//! An id pairs as long as no other request has it. A client that numbers all its requests alike, or counts to a few and begins
//! again, leaves it to what was seen: where a response and the request that uses its id next are both lost, that one's response
//! looks like the first one's.

use std::collections::VecDeque;

use crate::limits::{MEMCACHED_CYCLE, MEMCACHED_DOUBT};
use crate::protocol::Message;

/// What an id that is used again counts, beside 1 for one that is not.
const AGAIN: u8 = 8;

/// From here on the client is one that uses ids again: two of a few requests did. By chance an id comes twice in a thousand
/// requests.
const CYCLES: u8 = 2 * AGAIN;

/// What is known of a client's ids.
#[derive(Debug, Default)]
pub(super) struct Reuse {
    /// The latest ids.
    recent: VecDeque<u16>,
    /// How often ids were used again of late: up with each that is, down with each that is not.
    score: u8,
    /// Not all requests have had the same id.
    varied: bool,
    /// Requests so far.
    requests: u32,
    /// How many there had been when it was last in doubt which of them got a response.
    doubted: Option<u32>,
}

impl Reuse {
    /// A request with this id comes that is none seen before.
    pub(super) fn note(&mut self, id: u16) {
        self.varied = self.is_varied(id);
        self.requests = self.requests.saturating_add(1);
        self.score = match self.recent.contains(&id) {
            true => self.score.saturating_add(AGAIN).min(4 * CYCLES),
            false => self.score.saturating_sub(1),
        };
        if self.recent.len() >= MEMCACHED_CYCLE {
            self.recent.pop_front();
        }
        self.recent.push_back(id);
    }

    /// Whether not all requests have the same id, the next one included.
    pub(super) fn is_varied(&self, next: u16) -> bool {
        self.varied || self.recent.back().is_some_and(|last| *last != next)
    }

    /// A request comes while another one of its id waits, or a response while none does: a client that waits for its answers
    /// shows by that that datagrams were lost, or came in another order.
    pub(super) fn doubt(&mut self) {
        self.doubted = Some(self.requests);
    }

    /// What a response says of the request that its id names, as flags of a [`Message`].
    pub(super) fn flags(&self) -> u8 {
        let alike = !self.varied && self.requests > 1;
        if !alike && self.score < CYCLES {
            return 0;
        }
        let lately = |doubted: u32| self.requests - doubted < MEMCACHED_DOUBT;
        match self.doubted.is_some_and(lately) {
            true => Message::UNSURE,
            false => Message::LIKELY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(ids: impl IntoIterator<Item = u16>) -> Vec<u8> {
        let mut reuse = Reuse::default();
        ids.into_iter()
            .map(|id| {
                reuse.note(id);
                reuse.flags()
            })
            .collect()
    }

    #[test]
    fn ids_that_differ_are_sure() {
        assert!(flags(0..1000).iter().all(|flags| *flags == 0));
        // A client that draws them by lot has one twice now and then.
        let lots = (0..1000_u32).map(|at| if at % 50 == 0 { 7 } else { at as u16 });
        assert!(flags(lots).iter().all(|flags| *flags == 0));
    }

    #[test]
    fn an_id_for_all_is_likely_from_the_second_request_on() {
        assert_eq!(flags([5; 3]), [0, Message::LIKELY, Message::LIKELY]);
    }

    #[test]
    fn a_small_cycle_is_likely_once_it_shows() {
        let found = flags((0..100).map(|at| at % 4));
        let first = found.iter().position(|flags| *flags != 0);
        assert_eq!(first, Some(5));
        assert!(found.iter().skip(5).all(|flags| *flags == Message::LIKELY));
    }

    #[test]
    fn nobody_knows_shortly_after_a_doubt() {
        let mut reuse = Reuse::default();
        reuse.note(5);
        reuse.note(5);
        reuse.doubt();
        for _ in 0..MEMCACHED_DOUBT {
            assert_eq!(reuse.flags(), Message::UNSURE);
            reuse.note(5);
        }
        assert_eq!(reuse.flags(), Message::LIKELY);
    }
}
