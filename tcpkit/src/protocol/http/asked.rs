//! What the outstanding requests mean for the framing of their responses.
//!
//! Reads the [`Kind`] of every request in order and gives it back for the response that answers
//! it. Held as runs, so that a pipeline of equal requests takes no memory.

use std::collections::VecDeque;

use super::head::Kind;
use crate::flow::Direction;
use crate::limits::PENDING_REQUESTS;
use crate::protocol::{Past, Role};

/// The kinds of outstanding requests.
#[derive(Debug, Default)]
pub(super) struct Asked {
    runs: VecDeque<(Kind, u32)>,
    /// Something was lost: what is noted may be of requests that were answered long ago.
    stale: bool,
    /// The next request was answered before its head was complete (a 408, a 414).
    early: bool,
    /// A response may be of another request than the one it takes from here: something was lost, and no request came
    /// at rest since.
    unsure: bool,
    /// How many of the outstanding requests came before anything was lost: their responses are still in order.
    known: u32,
    /// Something was lost at some time, or never seen.
    lossy: bool,
}

impl Asked {
    /// Notes a request, and tells what it is for: one that was answered before its head was complete asks for nothing
    /// more. (After a loss nobody knows that it was its answer.)
    ///
    /// After responses were lost, the first new request is taken for the only one: a client that does not pipeline
    /// sends it when it has all answers.
    pub(super) fn push(&mut self, kind: Kind) -> Role {
        if self.runs.len() >= PENDING_REQUESTS {
            self.lose(Direction::ToClient);
        }
        if self.stale {
            self.clear();
        }
        if std::mem::take(&mut self.early) {
            return match self.unsure {
                false => Role::OneWay,
                true => Role::Request,
            };
        }
        match self.runs.back_mut() {
            Some((last, count)) if *last == kind => *count = count.saturating_add(1),
            _ => self.runs.push_back((kind, 1)),
        }
        Role::Request
    }

    /// The request that the next response answers. `asking` says whether the head of a request is just
    /// being read.
    pub(super) fn pop(&mut self, asking: bool) -> Kind {
        let Some((kind, count)) = self.runs.front_mut() else {
            self.early = asking;
            return Kind::Other;
        };
        let kind = *kind;
        *count -= 1;
        if *count == 0 {
            self.runs.pop_front();
        }
        self.known = self.known.saturating_sub(1);
        kind
    }

    /// The request that the next response answers, which goes on waiting.
    pub(super) fn peek(&self) -> Kind {
        self.runs.front().map(|run| run.0).unwrap_or_default()
    }

    /// Whether a request is outstanding.
    pub(super) fn waits(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether the response to the last request decides what the bytes behind that request are.
    pub(super) fn decides(&self) -> bool {
        self.runs
            .back()
            .is_some_and(|run| matches!(run.0, Kind::Connect | Kind::Upgrade))
    }

    /// Bytes of a direction were lost. Where they were requests, those before them are still answered first.
    pub(super) fn lose(&mut self, direction: Direction) {
        const SHORT: usize = (64 << 10) / size_of::<(Kind, u32)>();
        match direction {
            Direction::ToServer if !self.unsure => {
                let counts = self.runs.iter().map(|(_, count)| *count);
                self.known = counts.fold(0, u32::saturating_add);
            }
            Direction::ToServer => {}
            Direction::ToClient => {
                if self.runs.len() > SHORT {
                    self.runs = VecDeque::new();
                }
                self.stale = true;
                self.known = 0;
            }
        }
        self.join();
    }

    /// A request begins while no response is under way: where none is outstanding, order is found again, as a client
    /// that does not pipeline sends it when it has all answers. (The first one after a loss is no such one: answers
    /// of lost requests may still be to come.)
    pub(super) fn settle(&mut self) {
        self.unsure &= !self.is_at_rest();
    }

    fn is_at_rest(&self) -> bool {
        self.runs.is_empty() && !self.stale && !self.early
    }

    /// What is behind it, where no request is outstanding.
    pub(super) fn rest(&self) -> Option<Past> {
        self.is_at_rest().then_some(match self.lossy {
            false => Past::Whole,
            true => Past::Lossy,
        })
    }

    /// The memory that outstanding requests take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<(Kind, u32)>()
    }

    /// Nobody knows which requests came before those that are noted.
    pub(super) fn join(&mut self) {
        self.unsure = true;
        self.lossy = true;
    }

    /// Whether the next response may be of another request than the one that [`Asked::pop`] tells.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure && self.known == 0
    }

    /// Forgets all requests.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.known = 0;
        self.stale = false;
        self.early = false;
    }
}
