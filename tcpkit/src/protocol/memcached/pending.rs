//! Which request a response answers.
//!
//! memcached answers in order, so most messages carry no [`Message::id`] and pair in order. Quiet
//! requests break that: they stay unanswered when there is nothing to tell, and a response then
//! belongs to a later request. So the requests of a conversation stand in a queue here, and each
//! response is looked up in it by what it can answer: the class of its first word, the `O` or `k`
//! flag that it repeats, the opcode and opaque of a binary header.
//!
//! * A text request that is always answered has no id, and neither has its response.
//! * A binary request whose opaque tells it apart has an id made of opcode and opaque; many clients
//!   leave the opaque 0, or the same for all, and then it has none.
//! * A quiet request has [`Message::QUIET`] and an id of its own, which its response, if one comes,
//!   gets too.
//! * A response that fits several quiet requests alike, or none, is one-way: not even its client can
//!   tell. That one of their keys was found is told with the response that shows the misses of the others. One that fits a quiet request and the always answered one behind it may be of either, and
//!   another of the latter's may follow or not: it is [`Message::UNSURE`], and so is the order from there on.
//!
//! A quiet read that stays silent found nothing: that miss is told with the response that shows it.
//!
//! After a loss a quiet request may have stayed silent, while what would fit it is a lost one's: so the response is
//! [`Message::UNSURE`], unless it repeats what tells the request apart. That ends once a later request that is always answered
//! has its response, and nobody waits.
//!
//! The queue may then be out of step with the server; it finds back by itself whenever it
//! runs empty. A response that cannot be of the request whose turn it is shows that, and is
//! [`Message::UNSURE`] too.

use std::collections::VecDeque;

use super::command::{Kind, word};
use crate::limits::{MEMCACHED_SCAN, PENDING_REQUESTS};
use crate::protocol::{Message, Past, Role};

/// A request that may be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// What it expects.
    pub kind: Kind,
    /// Bits: [`Entry::QUIET`] and so on.
    pub flags: u8,
    /// Keys asked for, of a text request; the opcode of a binary one.
    pub count: u16,
    /// Hash of the flag that its response repeats, 0 for none; the opaque of a binary request.
    pub tag: u32,
    /// Hash of the key of a request whose response names it, of text only over UDP; 0 for none.
    pub key: u32,
    /// Its id where it needs one of its own.
    pub own: u32,
    /// Offset of its first byte, modulo 2^32.
    start: u32,
}

impl Entry {
    /// May stay without a response.
    pub(super) const QUIET: u8 = 1;
    /// Reads keys: silence means that it was not there.
    pub(super) const READS: u8 = 2;
    /// Makes the key that is not there. A read that does (`N` without `R`) and won is a miss; a count that does says
    /// so, also where it is quiet.
    pub(super) const VIVIFIES: u8 = 4;
    /// Told apart by its opaque.
    pub(super) const OPAQUE: u8 = 8;
    /// Asked before the last loss.
    const BEFORE: u8 = 16;

    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            flags: 0,
            count: 0,
            tag: 0,
            key: 0,
            own: 0,
            start: 0,
        }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether it can get this response: by opcode, opaque and key of a packet, by the first word of a text and the flag that it
    /// repeats.
    pub(super) fn accepts(&self, reply: &Reply) -> bool {
        if let Some(opcode) = reply.opcode {
            return self.kind == Kind::Binary
                && self.count == u16::from(opcode)
                && self.tag == reply.tag
                && (self.key == 0 || reply.key == 0 || self.key == reply.key);
        }
        let tag_fits = match reply.tag {
            0 => self.tag == 0 || reply.word & word::ECHO == 0,
            tag => self.tag == tag,
        };
        let key_fits = self.key == 0 || reply.key == 0 || self.key == reply.key;
        tag_fits && key_fits && self.kind.accepts(self.is_hushed()) & reply.word != 0
    }

    /// Whether the server keeps silent of what went as it was asked.
    fn is_hushed(&self) -> bool {
        self.has(Self::QUIET) && !(self.kind == Kind::MetaCount && self.has(Self::VIVIFIES))
    }

    /// Whether a response that it accepts is its own for certain: it repeats what tells the request apart.
    fn is_named_by(&self, reply: &Reply) -> bool {
        match reply.opcode {
            Some(_) => self.has(Self::OPAQUE) || self.key != 0 && self.key == reply.key,
            None => reply.tag != 0,
        }
    }

    /// Corrects what the response alone says about keys by what was asked.
    pub(super) fn count_keys(&self, reply: &Reply, message: &mut Message) {
        match self.kind {
            // An error, or half a response, says nothing about the keys that it leaves out.
            Kind::Get if message.status != 0 || message.has(Message::CUT) => message.misses = 0,
            Kind::Get => message.misses = u32::from(self.count).saturating_sub(reply.items),
            Kind::MetaGet if self.has(Self::VIVIFIES) && reply.made => {
                (message.hits, message.misses) = (0, 1);
            }
            Kind::MetaGet | Kind::Binary => {}
            _ => (message.hits, message.misses) = (0, 0),
        }
    }

    fn id(&self) -> Option<u64> {
        if self.has(Self::OPAQUE) {
            Some(opaque_id(self.count as u8, self.tag))
        } else if self.has(Self::QUIET) {
            Some(OWN | u64::from(self.own))
        } else {
            None
        }
    }
}

/// Ids made of opcode and opaque.
const OPAQUE: u64 = 1 << 60;
/// Ids that count on.
const OWN: u64 = 2 << 60;
/// The id of a response whose request was not seen.
const NOBODY: u64 = 3 << 60;

fn opaque_id(opcode: u8, opaque: u32) -> u64 {
    OPAQUE | u64::from(opcode) << 32 | u64::from(opaque)
}

/// A response as far as finding its request needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reply {
    /// The class of a text response: one bit of [`super::command::word`].
    pub word: u32,
    /// Hash of the flag that it repeats, 0 for none; the opaque of a binary response.
    pub tag: u32,
    /// Hash of the key that it names, 0 for none; of text only over UDP.
    pub key: u32,
    /// Binary: opcode.
    pub opcode: Option<u8>,
    /// Binary: the opcode is a quiet one.
    pub quiet: bool,
    /// Items in a text response.
    pub items: u32,
    /// A key that the response says it made.
    pub made: bool,
}

/// So many responses in a row that nobody could have asked for show that the queue is out of step.
const STRAYS: u8 = 3;

/// The requests that may still be answered, oldest first.
#[derive(Debug)]
pub(super) struct Pending {
    queue: VecDeque<Entry>,
    /// The last id given out.
    next: u32,
    /// The opaque of the last request.
    last: u32,
    /// The highest opaque so far: what is above it is new.
    highest: u32,
    /// An opaque that several requests had; 0 is what clients send that do not use it.
    constant: u32,
    /// Every request and response since the beginning is known.
    sure: bool,
    /// Answers may come to requests that are not in the queue.
    lost: bool,
    /// Keys that were found for quiet requests in the queue, of which nobody can tell for which.
    shared: u32,
    /// Responses in a row that nobody in the queue could have asked for.
    strays: u8,
    /// Up to where the server had received when it sent what comes now, modulo 2^32, where that is known.
    received: Option<u32>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            next: 0,
            last: 0,
            highest: 0,
            constant: 0,
            sure: true,
            lost: false,
            shared: 0,
            strays: 0,
            received: None,
        }
    }

    /// The server had received up to this offset when it sent what comes now; 0 where that is not known.
    pub(super) fn had_received(&mut self, offset: u64) {
        self.received = (offset > 0).then_some(offset as u32);
    }

    /// Whether the server had received none of a request, so that no response answers it yet.
    fn is_ahead(&self, entry: &Entry) -> bool {
        let ahead = |received: u32| (received.wrapping_sub(entry.start) as i32) <= 0;
        self.received.is_some_and(ahead)
    }

    /// What is behind it, where nobody waits, and nothing was learnt of how the client numbers its requests.
    pub(super) fn rest(&self) -> Option<Past> {
        let rests = self.queue.is_empty()
            && !self.lost
            && (self.last, self.highest, self.constant) == (0, 0, 0)
            && (self.shared, self.strays) == (0, 0);
        rests.then_some(match self.sure {
            true => Past::Whole,
            false => Past::Lossy,
        })
    }

    /// Takes a request, and gives its message what it needs to be paired.
    pub(super) fn push(&mut self, mut entry: Entry, message: &mut Message) {
        if entry.kind == Kind::Binary && self.tells_apart(entry.tag) {
            entry.flags |= Entry::OPAQUE;
        }
        if entry.has(Entry::QUIET) {
            message.flags |= Message::QUIET;
            self.next = self.next.wrapping_add(1);
            entry.own = self.next;
        }
        if entry.kind == Kind::Shutdown {
            // Says nothing unless it refuses; and if it does not, nobody is answered any more.
            message.flags |= Message::QUIET;
        }
        message.id = entry.id();
        entry.start = message.start as u32;
        if self.queue.len() >= PENDING_REQUESTS {
            self.forget();
        }
        self.queue.push_back(entry);
    }

    /// Finds the request of a response, and gives the response's message its id, hits and misses.
    /// Returns what the request expected.
    pub(super) fn answer(&mut self, reply: &Reply, message: &mut Message) -> Option<Kind> {
        match self.find(reply) {
            Found::At(index) => return self.settle(index, reply, message),
            Found::Several => {
                message.role = Role::OneWay;
                self.shared = self.shared.saturating_add(message.hits);
                self.give_up();
            }
            Found::Unsure => self.lose_order(message),
            Found::Nobody => self.orphan(reply, message),
        }
        None
    }

    /// Something was lost: forgets the requests.
    pub(super) fn forget(&mut self) {
        self.queue = VecDeque::new();
        (self.sure, self.lost) = (false, true);
        self.shared = 0;
    }

    /// Goes on from nothing, behind losses whose answers are past.
    pub(super) fn resume(&mut self) {
        self.sure = false;
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Entry>()
    }

    /// A request was lost: the known ones still wait.
    pub(super) fn doubt(&mut self) {
        (self.sure, self.lost) = (false, true);
        let before = |entry: &&mut Entry| !entry.has(Entry::BEFORE);
        for entry in self.queue.iter_mut().rev().take_while(before) {
            entry.flags |= Entry::BEFORE;
        }
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next response that nobody could have asked for shows that the queue is out of step.
    pub(super) fn be_strict(&mut self) {
        self.strays = self.strays.max(STRAYS - 1);
    }

    /// Whether the oldest request that is always answered can get this class of response.
    pub(super) fn front_accepts(&self, word: u32) -> bool {
        self.queue
            .iter()
            .take(MEMCACHED_SCAN)
            .find(|entry| !entry.has(Entry::QUIET))
            .is_some_and(|entry| entry.kind.accepts(false) & word != 0)
    }

    /// Whether the oldest request that can get statistics switches those of sizes, which no `END` follows.
    #[cold]
    pub(super) fn switches_sizes(&self) -> bool {
        let mut queue = self.queue.iter().take(MEMCACHED_SCAN);
        queue
            .find(|entry| entry.kind.accepts(false) & word::LINES != 0)
            .is_some_and(|entry| entry.kind == Kind::Sizes)
    }

    /// The most items that the oldest request can be answered with, where it reads keys as text.
    pub(super) fn items(&self) -> Option<u32> {
        let oldest = self.queue.front()?;
        (oldest.kind == Kind::Get).then_some(oldest.count.into())
    }

    /// Whether the opaque is the request's own: not 0, not that of the request before, not one
    /// that is still waiting.
    fn tells_apart(&mut self, opaque: u32) -> bool {
        let last = std::mem::replace(&mut self.last, opaque);
        if opaque == 0 || opaque == self.constant {
            return false;
        }
        if !self.sure && self.highest == 0 {
            // Requests before it were not seen, and may all have had the same.
            self.highest = opaque;
            return false;
        }
        if opaque > self.highest {
            self.highest = opaque;
        } else if opaque == last || self.waits(opaque) {
            self.constant = opaque;
            return false;
        }
        true
    }

    fn waits(&self, opaque: u32) -> bool {
        let same = |entry: &Entry| entry.kind == Kind::Binary && entry.tag == opaque;
        self.queue.iter().rev().take(64).any(same)
    }

    /// A stray response or two are a quiet request's, or a malformed one's; more show that the
    /// queue is out of step.
    fn find(&mut self, reply: &Reply) -> Found {
        let search = |queue: &Self| match reply.opcode {
            Some(_) => queue.find_binary(reply),
            None => queue.find_text(reply),
        };
        let found = search(self);
        if self.lost && self.is_guess(&found, reply) {
            return Found::Unsure;
        }
        if !matches!(found, Found::Nobody) || self.queue.is_empty() {
            self.strays = 0;
            return found;
        }
        self.strays = self.strays.saturating_add(1);
        if self.sure && self.strays >= STRAYS {
            self.doubt();
            return self.find(reply);
        }
        found
    }

    /// Whether it would be a quiet request that may have stayed silent, while the response is a lost one's.
    #[cold]
    fn is_guess(&self, found: &Found, reply: &Reply) -> bool {
        let Found::At(index) = found else {
            return false;
        };
        let quiet = |entry: &Entry| entry.has(Entry::QUIET) && !entry.is_named_by(reply);
        self.queue.get(*index).is_some_and(quiet)
    }

    /// A request was answered. Once that is one that was asked since the last loss, all that was lost has its answers: where
    /// they are not told apart by what they repeat, once nobody waits.
    #[cold]
    fn recover(&mut self, answered: &Entry, reply: &Reply) {
        let ends = self.queue.is_empty() && !answered.has(Entry::QUIET);
        if !answered.has(Entry::BEFORE) && (ends || answered.is_named_by(reply)) {
            self.lost = false;
        }
    }

    fn find_text(&self, reply: &Reply) -> Found {
        let (mut quiet, mut several) = (None, false);
        let received = self.queue.iter().take_while(|entry| !self.is_ahead(entry));
        for (index, entry) in received.enumerate() {
            let is_quiet = entry.has(Entry::QUIET);
            let fits = entry.accepts(reply);
            match (fits, is_quiet) {
                (true, true) => {
                    several = quiet.is_some();
                    quiet = quiet.or(Some(index));
                }
                (true, false) if quiet.is_some() => return Found::Unsure,
                (true, false) => return Found::At(index),
                (false, false) if self.sure || quiet.is_some() => break,
                (false, _) => {}
            }
        }
        match quiet {
            _ if several => Found::Several,
            Some(index) => Found::At(index),
            None => Found::Nobody,
        }
    }

    fn find_binary(&self, reply: &Reply) -> Found {
        let mut found = None;
        let received = self.queue.iter().take_while(|entry| !self.is_ahead(entry));
        for (index, entry) in received.enumerate() {
            if !entry.accepts(reply) {
                // It is answered before anything that comes after it.
                if !entry.has(Entry::QUIET) && (self.sure || found.is_some()) {
                    break;
                }
                continue;
            }
            if !entry.has(Entry::QUIET) || self.is_alone(entry) {
                return Found::At(found.unwrap_or(index));
            }
            if found.is_some() {
                return Found::Several;
            }
            found = Some(index);
        }
        found.map_or(Found::Nobody, Found::At)
    }

    /// Whether its opaque tells a request apart: no later one had the same.
    fn is_alone(&self, entry: &Entry) -> bool {
        entry.has(Entry::OPAQUE) && entry.tag != self.constant
    }

    /// The request at `index` is answered, and those before it stay silent.
    fn settle(&mut self, index: usize, reply: &Reply, message: &mut Message) -> Option<Kind> {
        let unheard = Entry::READS | Entry::QUIET;
        let missed = |entry: &Entry| entry.id().is_none();
        if self.queue.iter().take(index).any(missed) {
            // The response of one before it was not seen.
            self.lose_order(message);
            return None;
        }
        let silent = self
            .queue
            .drain(..index)
            .filter(|entry| entry.flags & unheard == unheard);
        let silent = silent.count() as u32;
        let found = std::mem::take(&mut self.shared).min(silent);
        let entry = self.queue.pop_front()?;
        message.id = entry.id();
        entry.count_keys(reply, message);
        if self.lost {
            self.recover(&entry, reply);
        }
        if self.sure {
            message.hits = message.hits.saturating_add(found);
            message.misses = message.misses.saturating_add(silent - found);
        }
        self.shrink();
        Some(entry.kind)
    }

    fn orphan(&mut self, reply: &Reply, message: &mut Message) {
        self.give_up();
        if reply.opcode.is_none() && reply.word != word::ITEMS {
            (message.hits, message.misses) = (0, 0);
        }
        if self.sure {
            message.role = Role::OneWay;
            return;
        }
        self.lost = true;
        if reply.opcode.is_none() && self.queue.iter().any(|entry| entry.id().is_none()) {
            self.lose_order(message);
            return;
        }
        message.id = match reply.opcode {
            Some(opcode) if reply.tag != 0 && reply.tag != self.constant => {
                Some(opaque_id(opcode, reply.tag))
            }
            Some(_) if reply.quiet => Some(NOBODY),
            Some(_) => None,
            None if reply.tag != 0 => Some(NOBODY),
            None => None,
        };
    }

    /// A response that may be of more than one request: nobody knows whose turn it is.
    pub(super) fn lose_order(&mut self, message: &mut Message) {
        message.flags |= Message::UNSURE;
        message.id = None;
        (message.hits, message.misses) = (0, 0);
        self.forget();
    }

    /// A long queue in which nothing fits costs too much to search again.
    fn give_up(&mut self) {
        if self.queue.len() > MEMCACHED_SCAN {
            self.forget();
        }
    }

    /// Gives back what a burst took.
    fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 256 {
            self.queue = VecDeque::new();
        }
    }
}

enum Found {
    At(usize),
    /// Of one of several quiet ones.
    Several,
    /// Of a quiet one, or of the one behind it that is always answered.
    Unsure,
    Nobody,
}

/// A short hash that is never 0 (FNV-1a).
pub(super) fn hash(bytes: &[u8]) -> u32 {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, fold).max(1)
}
