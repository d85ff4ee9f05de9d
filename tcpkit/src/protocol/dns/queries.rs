//! The latest queries of one conversation: what their identifiers stand for.
//!
//! The pair is made by identifier and question; this memory serves where the message alone does
//! not hold both, or the same query was sent again:
//!
//! * A response without a question, or with one that cannot be read, gets the question of the query
//!   of its identifier; so does a response to a query whose question could not be read.
//! * A datagram that repeats a query which waits for its answer is one-way: the first one is the
//!   request, as it is for who waits. After [`DNS_REPEAT_TIME`] it is another attempt with an id of its own,
//!   and the first stays unanswered. (tshark draws the same line.) A response that repeats an
//!   answer is one-way too.
//! * A response without a question may be of each of several queries of its identifier: none of them is sure from then on, and
//!   neither are two queries over TCP that are the same, while both wait. Once a client has asked two questions at a time with one
//!   identifier, another query of it may always have been lost.
//! * A zone transfer's response is many messages; which is the last, its SOA records tell.

use std::collections::VecDeque;

use super::message::{Header, Records, SOA};
use crate::limits::{DNS_QUERIES, DNS_QUERY_TIME, DNS_REPEAT_TIME};
use crate::source::Timestamp;

/// Identifier and question in one number.
pub(super) fn id(identifier: u16, question: u64) -> u64 {
    question << 16 | u64::from(identifier)
}

/// Whether an id was made without a question.
fn is_bare(id: u64) -> bool {
    id >> 16 == 0
}

/// What a query asks for, as far as its response may be several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// No transfer: one message answers.
    None,
    /// AXFR.
    Full,
    /// IXFR.
    Incremental,
}

/// A query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Identifier and question.
    pub id: u64,
    /// What it asks for.
    pub transfer: Transfer,
    /// It came over UDP.
    pub datagram: bool,
    /// The serial number of the zone's copy that the client has, which an incremental transfer names.
    pub serial: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Query {
    /// Identifier and question.
    key: u64,
    /// How many attempts of the same identifier and question came before.
    attempt: u8,
    time: Timestamp,
    answered: bool,
    /// A response may have been its own, or not.
    vague: bool,
    transfer: Transfer,
    /// The serial number that the transfer began with; before it begins, that of the client's copy.
    serial: Option<u32>,
    /// The client's copy is as new as the zone.
    current: bool,
    /// SOA records of that serial number so far.
    seen: u8,
    /// SOA records of that serial number that end the transfer.
    wanted: u8,
    /// Records so far, counted up to 2.
    records: u8,
}

/// What a response turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The id of its request.
    pub id: u64,
    /// The request had its answer before.
    pub again: bool,
    /// More messages of the same response follow.
    pub more: bool,
    /// It may be another query's, or not begin here.
    pub unsure: bool,
}

/// The latest queries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queries {
    queue: VecDeque<Query>,
    /// Different queries of one identifier waited at a time.
    shared: bool,
}

impl Queries {
    /// Takes a query; returns the id of its request, or `None` where it repeats a datagram that waits.
    pub(super) fn ask(&mut self, new: Ask, time: Timestamp) -> Option<u64> {
        self.expire(time);
        let mut attempt = 0;
        let waits = |query: &Query| query.key == new.id && !query.answered;
        let mut vague = false;
        let index = self.queue.iter().position(waits);
        if let Some(before) = index.and_then(|index| self.queue.get(index).copied()) {
            let given_up = time.is_past(before.time, DNS_REPEAT_TIME);
            if new.datagram && !given_up {
                return None;
            }
            attempt = before.attempt.wrapping_add(1);
            if given_up {
                index.and_then(|index| self.queue.remove(index));
            }
            for query in self.queue.iter_mut().filter(|query| waits(query)) {
                (query.vague, vague) = (true, true);
                attempt = query.attempt.wrapping_add(1);
            }
        }
        let beside = |query: &Query| {
            !query.answered && query.key != new.id && query.has_identifier_of(new.id)
        };
        self.shared = self.shared || self.queue.iter().any(beside);
        if self.queue.len() >= DNS_QUERIES {
            self.queue.pop_front();
        }
        if self.queue.capacity() == 0 {
            // Most conversations have one query, and there are many conversations.
            self.queue.reserve_exact(1);
        }
        let query = Query {
            vague,
            ..Query::new(&new, time, attempt)
        };
        self.queue.push_back(query);
        Some(query.id())
    }

    /// Finds the query of a response.
    pub(super) fn answer(&mut self, id: u64, message: &[u8], header: &Header) -> Answer {
        let shared = self.shared && is_bare(id);
        let Some(query) = self.find(id) else {
            return Answer {
                id,
                again: false,
                more: false,
                unsure: false,
            };
        };
        let again = query.answered;
        let more = !again && query.goes_on(message, header);
        query.answered = !more;
        Answer {
            id: query.id(),
            again,
            more,
            unsure: query.vague || shared,
        }
    }

    /// A response of this id may be of each of several queries, which are handed to `each`.
    pub(super) fn doubt(&mut self, id: u64, each: &mut dyn FnMut(u64)) {
        let alike = |query: &&mut Query| !query.answered && query.is_alike(id);
        let waiting = self.queue.iter().filter(|query| !query.answered);
        let sure = !is_bare(id) && waiting.clone().any(|query| query.key == id);
        let mut waiting = waiting.filter(|query| query.is_alike(id));
        let Some(oldest) = waiting.next().map(|query| query.key).filter(|_| !sure) else {
            return;
        };
        // Also of one that was answered: where identifiers are used again, another query may have been lost.
        let other = |query: &Query| query.is_alike(id) && query.key != oldest;
        if waiting.next().is_some() || self.queue.iter().any(other) {
            for query in self.queue.iter_mut().filter(alike) {
                query.vague = true;
                each(query.id());
            }
        }
    }

    /// Whether a response of this id has its query here.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.place(id).is_some()
    }

    fn find(&mut self, id: u64) -> Option<&mut Query> {
        let index = self.place(id)?;
        self.queue.get_mut(index)
    }

    /// The oldest query of this id that waits; else the latest that was answered.
    fn place(&self, id: u64) -> Option<usize> {
        let same = |query: &Query| query.key == id;
        let alike = |query: &Query| query.is_alike(id);
        let queue = &self.queue;
        queue
            .iter()
            .position(|query| same(query) && !query.answered)
            .or_else(|| {
                queue
                    .iter()
                    .position(|query| alike(query) && !query.answered)
            })
            .or_else(|| queue.iter().rposition(|query| same(query) || alike(query)))
    }

    fn expire(&mut self, now: Timestamp) {
        while self
            .queue
            .front()
            .is_some_and(|query| now.is_past(query.time, DNS_QUERY_TIME))
        {
            self.queue.pop_front();
        }
    }
}

impl Query {
    fn new(ask: &Ask, time: Timestamp, attempt: u8) -> Self {
        Self {
            key: ask.id,
            attempt,
            time,
            answered: false,
            vague: false,
            transfer: if ask.datagram {
                Transfer::None
            } else {
                ask.transfer
            },
            serial: ask.serial,
            current: false,
            seen: 0,
            wanted: 2,
            records: 0,
        }
    }

    /// Whether it has the identifier of this id, whatever it asks.
    fn has_identifier_of(&self, id: u64) -> bool {
        self.key as u16 == id as u16
    }

    /// Whether it has the identifier of this id, and one of the two was made without a question.
    fn is_alike(&self, id: u64) -> bool {
        self.has_identifier_of(id) && (is_bare(id) || is_bare(self.key))
    }

    fn id(&self) -> u64 {
        self.key ^ u64::from(self.attempt) << 56
    }

    /// Whether more messages follow this one (RFC 5936, section 2.2; RFC 1995, section 4). A transfer
    /// begins and ends with the zone's SOA record; an incremental one that tells differences holds
    /// it once more, before the last additions.
    fn goes_on(&mut self, message: &[u8], header: &Header) -> bool {
        if self.transfer == Transfer::None || header.flags & 15 != 0 || header.answers == 0 {
            return false;
        }
        let Some(records) = Records::new(message, header) else {
            return false;
        };
        for record in records.take(usize::from(header.answers)) {
            self.records = self.records.saturating_add(1).min(3);
            let serial = if record.kind == SOA {
                record.serial()
            } else {
                None
            };
            match (self.records, serial) {
                // It begins in the middle: its first message was lost.
                (1, None) => (self.vague, self.serial) = (true, None),
                (1, Some(serial)) => {
                    let copy = self.serial.replace(serial).unwrap_or(serial);
                    self.current = copy.wrapping_sub(serial) as i32 >= 0;
                    self.seen = 1;
                }
                (_, None) => {}
                (_, Some(_)) if self.serial.is_none() => {
                    return self.transfer == Transfer::Incremental;
                }
                (second, Some(serial)) => {
                    if second == 2 && self.transfer == Transfer::Incremental {
                        self.wanted = if self.serial == Some(serial) { 2 } else { 3 };
                    }
                    if self.serial == Some(serial) {
                        self.seen = self.seen.saturating_add(1);
                    }
                }
            }
            if self.seen >= self.wanted {
                return false;
            }
        }
        // One SOA record alone says that the client's copy is current (RFC 1995, section 2).
        !(self.transfer == Transfer::Incremental && self.records == 1 && self.current)
    }
}
