//! What one direction must know of the other.
//!
//! Reads every request and response in turn, and says of each whether somebody answers it or
//! whom it answers: transactions, subscriptions, `CLIENT REPLY`, `MONITOR` and replication change
//! that. What is open is kept as runs of requests of one [`Kind`], so that a pipeline of a
//! hundred GETs is one number.

use std::collections::VecDeque;

use super::commands::Kind;
use crate::limits;
use crate::protocol::{Message, Past, Role};

/// Open requests of one kind, in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    kind: Kind,
    /// Whether the run behind it belongs to the same EXEC, which is answered in parts.
    more: bool,
    /// What else matters when it is answered.
    marks: u8,
    /// Responses that they still await.
    count: u32,
}

impl Run {
    const fn of(kind: Kind, count: u32) -> Self {
        Self {
            kind,
            more: false,
            marks: 0,
            count,
        }
    }

    /// Of UNSUBSCRIBE without channels: of everything, so that the number of confirmations is not known beforehand.
    fn is_of_all(&self) -> bool {
        self.marks & ALL != 0
    }

    /// What takes the place of a run of which it is not known any more how it is answered.
    const fn untold(self) -> Self {
        Self {
            kind: Kind::Exec,
            ..self
        }
    }
}

/// A run is of an UNSUBSCRIBE from everything.
const ALL: u8 = 1;
/// It is the first that was asked behind a `CLIENT REPLY` which the server may yet refuse.
const DOUBTED: u8 = 2;
/// It is MULTI.
const BEGINS: u8 = 4;
/// It is answered by one value only if it is within a transaction.
const QUEUED: u8 = 8;
/// It is a part of EXEC's response, and not its head.
const PART: u8 = 16;

const NONE: Run = Run::of(Kind::Any, 0);

/// What the arguments of a request say about its effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing more than its name.
    #[default]
    None,
    /// XREAD BLOCK and its kin.
    Blocks,
    /// REPLCONF ACK.
    Ack,
    /// CLIENT REPLY ON.
    ReplyOn,
    /// CLIENT REPLY OFF.
    ReplyOff,
    /// CLIENT REPLY SKIP.
    ReplySkip,
}

/// A response's first word, where it tells what the response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Word {
    /// It does not.
    #[default]
    None,
    /// `message`, `pmessage`, `smessage` with as many elements as belong to it.
    Message,
    /// Confirms SUBSCRIBE.
    Subscribe,
    /// Confirms PSUBSCRIBE.
    Psubscribe,
    /// Confirms SSUBSCRIBE.
    Ssubscribe,
    /// Confirms UNSUBSCRIBE.
    Unsubscribe,
    /// Confirms PUNSUBSCRIBE.
    Punsubscribe,
    /// Confirms SUNSUBSCRIBE.
    Sunsubscribe,
    /// A line that MONITOR shows.
    Monitor,
    /// An error that can be the server's refusal of `CLIENT REPLY`.
    Refused,
    /// `FULLRESYNC`, `CONTINUE`: a replication link begins.
    Replication,
}

/// What the session needs to know of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reply {
    /// Its type byte.
    pub(super) kind: u8,
    /// Whether it is an error.
    pub(super) error: bool,
    /// Whether it is a null.
    pub(super) null: bool,
    /// Its first word.
    pub(super) word: Word,
    /// Elements of the aggregate.
    pub(super) elements: u32,
    /// How many of them are null.
    pub(super) nulls: u32,
    /// The last integer among them.
    pub(super) number: u32,
}

/// What the session knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) role: Role,
    pub(super) flags: u8,
    pub(super) hits: u32,
    pub(super) misses: u32,
    /// A replication link begins behind it.
    pub(super) opaque: bool,
    /// It is one value of an array, whose status is not the array's.
    pub(super) part: bool,
}

impl Told {
    const fn plain(role: Role) -> Self {
        Self {
            role,
            flags: 0,
            hits: 0,
            misses: 0,
            opaque: false,
            part: false,
        }
    }

    const REQUEST: Self = Self::plain(Role::Request);
    const RESPONSE: Self = Self::plain(Role::Response);
    const ONE_WAY: Self = Self::plain(Role::OneWay);
    const UNSURE: Self = Self {
        flags: Message::UNSURE,
        ..Self::RESPONSE
    };
}

/// Between MULTI and EXEC.
const MULTI: u8 = 1;
/// After CLIENT REPLY OFF.
const OFF: u8 = 2;
/// After CLIENT REPLY SKIP, for one request.
const SKIP: u8 = 4;
/// Requests were lost since nothing was open.
const LOST: u8 = 8;
/// Between MULTI and EXEC: the length of EXEC's response cannot be told.
const UNTOLD: u8 = 16;
/// The server may yet refuse a `CLIENT REPLY`, and nothing was asked behind it that has a response even so.
const DOUBT: u8 = 32;
/// Something was asked behind it that has none if the server obeys.
const SILENCED: u8 = 64;

/// After MONITOR.
const MONITOR: u8 = 1;
/// Subscribed, as the server said in RESP2.
const SUBSCRIBED: u8 = 2;
/// Messages were lost, or the conversation was joined in the middle.
const UNSURE: u8 = 4;

/// How many channels the client listens to.
#[derive(Debug, Default)]
struct Channels {
    plain: u32,
    patterns: u32,
    shards: u32,
    /// What EXEC will be answered by, of a transaction that subscribes: up to the last command of it that is
    /// no mere element.
    transaction: Vec<Run>,
}

impl Channels {
    fn are_none(&self) -> bool {
        (self.plain, self.patterns, self.shards) == (0, 0, 0) && self.transaction.is_empty()
    }
}

/// What responses can come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    /// How many at most, if that is known.
    pub(super) most: Option<u32>,
    /// Of which kind all of them are, if they are.
    pub(super) kind: Option<Kind>,
    /// Requests that came after the last bytes of the server: of a client that waits for its
    /// responses before it goes on, all that are open.
    pub(super) turn: u32,
    /// No request came at all.
    pub(super) silent: bool,
}

/// State of one conversation.
#[derive(Debug)]
pub(super) struct Session {
    /// The oldest open requests.
    head: Run,
    /// Those behind them.
    #[expect(clippy::box_collection, reason = "nearly all conversations have none")]
    rest: Option<Box<VecDeque<Run>>>,
    /// Sum of all runs.
    open: u32,
    /// Requests so far, and those of them when responses last came.
    asked: [u32; 2],
    /// Commands of the transaction that is being queued, each one element of EXEC's response, since the last one
    /// that is not. Where they are more than fit, the count does not agree with EXEC's, and nothing is believed.
    queued: u16,
    requests: u8,
    responses: u8,
    channels: Option<Box<Channels>>,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            head: NONE,
            rest: None,
            open: 0,
            asked: [0; 2],
            queued: 0,
            requests: 0,
            responses: 0,
            channels: None,
        }
    }

    /// As [`Dissector::rest`](crate::protocol::Dissector::rest).
    pub(super) fn rest(&self) -> Option<Past> {
        let [asked, heard] = self.asked;
        let rests = self.open == 0
            && self.head.count == 0
            && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
            && asked == heard
            && (self.queued, self.requests) == (0, 0)
            && self.channels.as_deref().is_none_or(Channels::are_none);
        match self.responses {
            0 if rests => Some(Past::Whole),
            UNSURE if rests => Some(Past::Lossy),
            _ => None,
        }
    }

    /// As [`Dissector::resume`](crate::protocol::Dissector::resume).
    pub(super) fn resume(&mut self, past: Past) {
        self.responses = match past {
            Past::Whole => 0,
            Past::Lossy => UNSURE,
        };
    }

    /// A request of this kind with so many arguments was sent.
    #[inline]
    pub(super) fn request(&mut self, kind: Kind, effect: Effect, arguments: u32) -> Told {
        if kind.is_plain() && self.requests & !LOST == 0 {
            self.ask(kind, 1);
            return Told::REQUEST;
        }
        self.special_request(kind, effect, arguments)
    }

    /// As [`Session::request`] of a command with nothing special about it, where nothing special is under way;
    /// else nothing is done, and the answer is no.
    #[inline(always)]
    pub(super) fn ask_plainly(&mut self, kind: Kind) -> bool {
        let plain = kind.is_plain() && self.requests & !LOST == 0;
        if plain {
            self.ask(kind, 1);
        }
        plain
    }

    /// As [`Session::response`] of a scalar that answers a request with nothing special about it: hits and
    /// misses. `None`, and nothing done, where it is not known to be one.
    #[inline(always)]
    pub(super) fn answer_plainly(&mut self, null: bool) -> Option<(u8, u8)> {
        let kind = self.head.kind;
        if self.head.count == 0 || !kind.is_plain() {
            return None;
        }
        self.answer();
        let counts = u8::from(kind == Kind::Hit);
        let missed = counts & u8::from(null);
        Some((counts - missed, missed))
    }

    #[cold]
    fn special_request(&mut self, kind: Kind, effect: Effect, arguments: u32) -> Told {
        let silent = self.requests & (OFF | SKIP) != 0;
        let skipped = self.requests & SKIP != 0;
        self.requests &= !SKIP;
        let (kind, effect) = effective(kind, effect, arguments);
        if self.requests & MULTI != 0 {
            return self.in_transaction(kind, effect, arguments, silent);
        }
        match kind {
            kind if kind.subscribes() => self.confirmed(kind, arguments),
            Kind::Block => self.blocks(silent),
            Kind::Xread | Kind::Xreadgroup if effect == Effect::Blocks => self.blocks(silent),
            Kind::Replconf if effect == Effect::Ack => Told::ONE_WAY,
            Kind::Client => self.client(effect, silent),
            Kind::Multi => {
                self.requests |= MULTI;
                self.asked_run(scalar(BEGINS), silent)
            }
            Kind::Watch => self.asked(Kind::Scalar, 1, silent),
            Kind::Reset => self.reset(skipped),
            Kind::Monitor | Kind::Sync => self.asked(kind, 1, silent),
            kind if kind.is_plain() => self.asked(kind, 1, silent),
            _ => self.asked(Kind::Any, 1, silent),
        }
    }

    /// A command between MULTI and EXEC is answered by `+QUEUED`, whatever it is; its effect comes with EXEC. What would
    /// be answered otherwise if there were no transaction, because the server refused MULTI, is noted.
    fn in_transaction(&mut self, kind: Kind, effect: Effect, arguments: u32, silent: bool) -> Told {
        match kind {
            Kind::Exec => return self.exec(silent),
            Kind::Discard => self.end_transaction(),
            Kind::Reset => {
                self.end_transaction();
                self.requests &= LOST | DOUBT | SILENCED;
                return self.asked(Kind::Reset, 1, silent);
            }
            kind if kind.subscribes() => self.queue(confirmations(kind, arguments)),
            Kind::Monitor => self.queue(Run::of(kind, 1)),
            // Refused, and no part of the transaction.
            Kind::Multi | Kind::Watch => {}
            Kind::Client if effect != Effect::None => {
                // The response ends where the server was told to be silent, if it did what it was told.
                self.requests |= UNTOLD;
                self.queued = self.queued.saturating_add(1);
            }
            _ => self.queued = self.queued.saturating_add(1),
        }
        let depends = match kind {
            Kind::Monitor | Kind::Multi | Kind::Sync => true,
            Kind::Client | Kind::Replconf => effect != Effect::None,
            kind => kind.subscribes(),
        };
        self.asked_run(scalar(if depends { QUEUED } else { 0 }), silent)
    }

    /// A command of which EXEC's response holds something else than one element.
    fn queue(&mut self, run: Run) {
        let queued = std::mem::take(&mut self.queued);
        let elements = Run::of(Kind::Element, u32::from(queued));
        let transaction = &mut self.channels.get_or_insert_default().transaction;
        if transaction.len() >= limits::PENDING_REQUESTS {
            self.requests |= UNTOLD;
            return;
        }
        transaction.extend([elements, run].into_iter().filter(|run| run.count > 0));
    }

    fn end_transaction(&mut self) {
        self.requests &= !(MULTI | UNTOLD);
        self.queued = 0;
        if let Some(channels) = &mut self.channels {
            channels.transaction = Vec::new();
        }
    }

    /// EXEC of a transaction that subscribes is answered by an array that holds every confirmation, but counts
    /// each command once: so it is longer than it says. Its head and what is in it are therefore followed one
    /// by one. A server that was told to be silent sends the confirmations alone.
    fn exec(&mut self, silent: bool) -> Told {
        let channels = self.channels.as_mut();
        let mut parts = channels.map_or_else(Vec::new, |channels| {
            std::mem::take(&mut channels.transaction)
        });
        let untold = self.requests & UNTOLD != 0;
        if untold {
            parts.clear();
        } else if !parts.is_empty() && self.queued > 0 {
            parts.push(Run::of(Kind::Element, u32::from(self.queued)));
        }
        self.end_transaction();
        if silent {
            parts.retain(|run| run.kind.subscribes());
        } else if parts.is_empty() {
            let kind = if untold { Kind::Exec } else { Kind::Any };
            return self.asked(kind, 1, false);
        } else {
            parts.insert(0, Run::of(Kind::Exec, 1));
        }
        let last = parts.len().saturating_sub(1);
        for (index, run) in parts.iter().enumerate() {
            let part = if silent || index == 0 { 0 } else { PART };
            self.ask_run(Run {
                more: index < last,
                marks: run.marks | part,
                ..*run
            });
        }
        if parts.is_empty() {
            self.silenced()
        } else {
            Told::REQUEST
        }
    }

    /// The server confirms every channel, also when told to be silent.
    fn confirmed(&mut self, kind: Kind, arguments: u32) -> Told {
        self.asked_run(confirmations(kind, arguments), false)
    }

    /// Ends `CLIENT REPLY OFF` before it is answered, but not SKIP.
    fn reset(&mut self, skipped: bool) -> Told {
        self.requests &= LOST | DOUBT | SILENCED;
        if skipped {
            self.reset_responses();
        }
        self.asked(Kind::Reset, 1, skipped)
    }

    fn reset_responses(&mut self) {
        self.responses &= UNSURE;
        if let Some(channels) = &mut self.channels {
            (channels.plain, channels.patterns, channels.shards) = (0, 0, 0);
        }
    }

    fn blocks(&mut self, silent: bool) -> Told {
        let told = self.asked(Kind::Any, 1, silent);
        Told {
            flags: Message::BLOCKING,
            ..told
        }
    }

    fn client(&mut self, effect: Effect, silent: bool) -> Told {
        match effect {
            Effect::ReplyOff => {
                self.requests |= OFF | DOUBT;
                Told::ONE_WAY
            }
            Effect::ReplySkip => {
                if self.requests & OFF == 0 {
                    self.requests |= SKIP | DOUBT;
                }
                Told::ONE_WAY
            }
            Effect::ReplyOn => {
                self.requests &= !OFF;
                self.asked(Kind::Scalar, 1, false)
            }
            _ => self.asked(Kind::Any, 1, silent),
        }
    }

    fn asked(&mut self, kind: Kind, count: u32, silent: bool) -> Told {
        self.asked_run(Run::of(kind, count), silent)
    }

    fn asked_run(&mut self, run: Run, silent: bool) -> Told {
        if silent {
            return self.silenced();
        }
        self.ask_run(run);
        Told::REQUEST
    }

    fn silenced(&mut self) -> Told {
        if self.requests & DOUBT != 0 {
            self.requests |= SILENCED;
        }
        Told::ONE_WAY
    }

    /// As [`Session::ask`] of what may have marks, or get one: it is the first that is asked behind a doubtful
    /// `CLIENT REPLY`. A run with marks stays apart from others.
    fn ask_run(&mut self, mut run: Run) {
        if self.requests & DOUBT != 0 {
            self.requests &= !(DOUBT | SILENCED);
            run.marks |= DOUBTED;
        }
        if self.head.count == 0 || (self.head.marks | run.marks) == 0 {
            self.add(run);
        } else {
            self.count_open(run.count);
            self.ask_behind(run);
        }
    }

    #[inline(always)]
    fn ask(&mut self, kind: Kind, count: u32) {
        self.add(Run::of(kind, count));
    }

    #[inline(always)]
    fn count_open(&mut self, count: u32) {
        let [asked, _] = &mut self.asked;
        *asked = asked.wrapping_add(count);
        self.open = self.open.saturating_add(count);
    }

    #[inline(always)]
    fn add(&mut self, run: Run) {
        let Run { kind, count, .. } = run;
        self.count_open(count);
        if self.head.count == 0 {
            self.head = run;
        } else if self.head.kind == kind
            && kind.is_plain()
            && self.rest.as_ref().is_none_or(|rest| rest.is_empty())
        {
            self.head.count = self.head.count.saturating_add(count);
        } else {
            self.ask_behind(run);
        }
    }

    #[inline(never)]
    fn ask_behind(&mut self, run: Run) {
        let rest = self.rest.get_or_insert_default();
        match rest.back_mut() {
            Some(last)
                if last.kind == run.kind
                    && run.kind.is_plain()
                    && (last.marks | run.marks) == 0 =>
            {
                last.count = last.count.saturating_add(run.count);
            }
            _ => rest.push_back(run),
        }
        if rest.len() > limits::PENDING_REQUESTS {
            self.forget();
            self.responses |= UNSURE;
        }
    }

    /// The memory that open requests and a transaction take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let runs = self.rest.as_ref().map_or(0, |rest| rest.capacity());
        let channels = self.channels.as_ref();
        let parts = channels.map_or(0, |channels| channels.transaction.capacity());
        (runs + parts) * size_of::<Run>()
    }

    /// Something was lost: a queue so long that it counts is given up.
    pub(super) fn lose(&mut self) {
        const SHORT: usize = (64 << 10) / size_of::<Run>();
        let runs = self.rest.as_ref().map_or(0, |rest| rest.len());
        let channels = self.channels.as_ref();
        let parts = channels.map_or(0, |channels| channels.transaction.len());
        if runs + parts > SHORT {
            self.forget();
            self.end_transaction();
            self.responses |= UNSURE;
        }
    }

    /// Nothing is known to be open.
    fn forget(&mut self) {
        self.head = NONE;
        self.rest = None;
        self.open = 0;
    }

    /// One response to the oldest open request. Returns [`Message::MORE`] where that is an EXEC which is answered
    /// in parts, and it is not the last of them.
    #[inline]
    fn answer(&mut self) -> u8 {
        self.open = self.open.saturating_sub(1);
        self.head.count = self.head.count.saturating_sub(1);
        let more = self.head.more || self.head.count > 0 && self.head.kind == Kind::Element;
        if self.head.count == 0 {
            self.next_run();
        }
        if more { Message::MORE } else { 0 }
    }

    #[inline]
    fn next_run(&mut self) {
        self.head = self
            .rest
            .as_mut()
            .and_then(|rest| rest.pop_front())
            .unwrap_or(NONE);
        if self.head.count == 0 {
            self.requests &= !LOST;
        }
    }

    /// Whether the next response may begin a replication link.
    #[inline]
    pub(super) fn awaits_replication(&self) -> bool {
        self.head.kind == Kind::Sync
    }

    /// Whether the next response, if it is an array, is to be told element by element.
    #[inline]
    pub(super) fn awaits_parts(&self) -> bool {
        self.head.kind == Kind::Exec && self.head.more
    }

    /// EXEC's response has begun: an array that says it has so many elements.
    #[cold]
    pub(super) fn parts(&mut self, elements: u32) -> Told {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        let behind = rest.scan(true, |more, run| {
            more.then(|| {
                *more = run.more;
                if run.kind == Kind::Element {
                    run.count
                } else {
                    1
                }
            })
        });
        if behind.fold(0, u32::saturating_add) == elements {
            let flags = self.answer();
            return Told {
                flags,
                ..Told::RESPONSE
            };
        }
        // Something in the transaction was not as it is known here.
        self.given_up()
    }

    /// EXEC did nothing: what would have been in its response will not come.
    fn no_parts(&mut self) {
        while self.head.more {
            self.open = self.open.saturating_sub(self.head.count);
            self.next_run();
        }
    }

    /// A response of this form came.
    #[inline]
    pub(super) fn response(&mut self, reply: &Reply) -> Told {
        let kind = self.head.kind;
        let refuses = reply.error && self.head.marks != 0;
        let usual = reply.word == Word::None && reply.kind != b'>' && !refuses;
        if usual && self.head.count != 0 && kind.is_plain() {
            self.answer();
            return counted(kind, reply);
        }
        self.special_response(reply)
    }

    #[cold]
    fn special_response(&mut self, reply: &Reply) -> Told {
        if let Some(told) = self.unasked(reply) {
            return told;
        }
        if self.is_refusal(reply) {
            return self.disobeyed();
        }
        let marks = self.head.marks;
        if reply.error && marks & BEGINS != 0 {
            self.no_transaction();
        }
        Told {
            part: marks & PART != 0,
            ..self.due_response(reply)
        }
    }

    /// Whether the server did not do what `CLIENT REPLY` told it: the error comes where its answer would stand.
    fn is_refusal(&self, reply: &Reply) -> bool {
        let doubted = if self.head.count == 0 {
            self.requests & DOUBT != 0
        } else {
            self.head.marks & DOUBTED != 0
        };
        doubted && reply.word == Word::Refused
    }

    /// The server was not silent where it was told to be. What has no response here may yet get one, if anything was
    /// asked since.
    fn disobeyed(&mut self) -> Told {
        let certain = self.head.count == 0 && self.requests & SILENCED == 0;
        self.end_transaction();
        self.requests &= LOST;
        if certain {
            return Told::RESPONSE;
        }
        self.given_up()
    }

    /// It is not known any more whose the responses are, from this one on.
    fn given_up(&mut self) -> Told {
        self.forget();
        self.responses |= UNSURE;
        Told::UNSURE
    }

    /// MULTI was refused: what was asked behind it is no transaction. Where that matters for the responses of a request,
    /// they cannot be told from that of the next.
    fn no_transaction(&mut self) {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        for run in rest {
            if run.marks & BEGINS != 0 {
                // The transaction that is under way is another.
                return;
            }
            if run.marks & QUEUED != 0 {
                *run = run.untold();
            }
        }
        self.end_transaction();
    }

    /// The oldest open request is answered, if there is one.
    fn due_response(&mut self, reply: &Reply) -> Told {
        if self.head.count == 0 {
            // A server that was told to be silent would not have said it.
            self.requests &= !OFF;
        }
        let kind = self.head.kind;
        match kind {
            kind if kind.subscribes() => return self.unconfirmed(reply),
            Kind::Exec => return self.executed(),
            Kind::Monitor if !reply.error => self.responses |= MONITOR,
            Kind::Reset if !reply.error => self.reset_responses(),
            _ => {}
        }
        let known = kind == Kind::Sync && self.responses & UNSURE == 0 && !reply.error;
        let none = self.head.count == 0;
        // A script may say the same words.
        let may_begin = none || kind == Kind::Sync || self.responses & UNSURE != 0;
        let opaque = known || reply.word == Word::Replication && may_begin;
        let flags = self.answer();
        if none {
            Told {
                opaque,
                ..Told::RESPONSE
            }
        } else {
            Told {
                opaque,
                flags,
                ..counted(kind, reply)
            }
        }
    }

    /// EXEC was answered by one response: it did nothing, or something that is not followed.
    fn executed(&mut self) -> Told {
        if self.head.more {
            self.no_parts();
            self.answer_last();
            return Told::RESPONSE;
        }
        self.given_up()
    }

    /// The head is answered, with all that it awaits.
    fn answer_last(&mut self) {
        self.open = self.open.saturating_sub(self.head.count);
        self.next_run();
    }

    /// Pushes, monitored commands and confirmations: what is told by its form.
    fn unasked(&mut self, reply: &Reply) -> Option<Told> {
        let push = reply.kind == b'>';
        let idle = self.head.count == 0;
        match reply.word {
            Word::Monitor if idle || self.responses & (MONITOR | UNSURE) != 0 => {
                return Some(Told::ONE_WAY);
            }
            Word::Message if !push && (idle || self.responses & SUBSCRIBED != 0) => {
                return Some(Told::ONE_WAY);
            }
            Word::None | Word::Message | Word::Monitor | Word::Refused | Word::Replication => {}
            // There is no transaction: MULTI was refused, in silence perhaps, and more confirmations may follow.
            _ if self.head.marks & QUEUED != 0 => {
                self.subscribed(reply);
                self.end_transaction();
                return Some(self.given_up());
            }
            _ => {
                let lossy = self.responses & UNSURE != 0;
                let waits = self.head.kind.subscribes();
                let confirms = waits && (lossy || confirmation_of(self.head.kind) == reply.word);
                // Nothing else is answered by such an array.
                let unasked = idle || waits || self.responses & SUBSCRIBED != 0;
                if confirms || push || lossy || unasked {
                    let last = self.subscribed(reply);
                    return Some(self.confirmation(confirms, last));
                }
            }
        }
        push.then_some(Told::ONE_WAY)
    }

    /// Notes what a confirmation says; whether it is the last of an UNSUBSCRIBE from everything.
    fn subscribed(&mut self, reply: &Reply) -> bool {
        let channels = self.channels.get_or_insert_default();
        let count = reply.number;
        match reply.word {
            Word::Subscribe | Word::Unsubscribe => {
                channels.plain = count.saturating_sub(channels.patterns)
            }
            Word::Psubscribe | Word::Punsubscribe => {
                channels.patterns = count.saturating_sub(channels.plain)
            }
            _ => channels.shards = count,
        }
        let left = match reply.word {
            Word::Unsubscribe => channels.plain,
            Word::Punsubscribe => channels.patterns,
            _ => channels.shards,
        };
        // In RESP3 messages are pushes, and arrays are what they always are.
        let any = channels.plain > 0 || channels.patterns > 0 || channels.shards > 0;
        if any && reply.kind != b'>' {
            self.responses |= SUBSCRIBED;
        } else {
            self.responses &= !SUBSCRIBED;
        }
        left == 0
    }

    fn confirmation(&mut self, awaited: bool, last: bool) -> Told {
        if !awaited {
            // A server that moves a slot ends its subscriptions unasked.
            return if self.responses & UNSURE == 0 {
                Told::ONE_WAY
            } else {
                Told::RESPONSE
            };
        }
        let all = self.head.is_of_all();
        let more = if all { !last } else { self.head.count > 1 };
        let ends = if all && more { 0 } else { self.answer() };
        Told {
            flags: ends | if more { Message::MORE } else { 0 },
            ..Told::RESPONSE
        }
    }

    /// Something else than the confirmation that is due: an error ends them all.
    fn unconfirmed(&mut self, reply: &Reply) -> Told {
        let more = reply.error && self.head.more;
        if reply.error {
            self.answer_last();
        }
        Told {
            flags: if more { Message::MORE } else { 0 },
            ..Told::RESPONSE
        }
    }

    /// Messages of the client were lost.
    pub(super) fn lost_requests(&mut self) {
        self.end_transaction();
        self.requests = LOST;
        self.responses |= UNSURE;
    }

    /// Messages of the server were lost, and `count` of them were found behind the loss. What was
    /// asked since the server was last heard is open, and what was before it is not.
    pub(super) fn lost_responses(&mut self, count: u32, awaited: Awaited) {
        if awaited.turn > 0 || count > self.open {
            self.forget();
            self.ask(
                awaited.kind.unwrap_or(Kind::Any),
                awaited.turn.max(count).max(1),
            );
        }
        self.responses |= UNSURE;
    }

    /// Bytes of the server were seen.
    #[inline]
    pub(super) fn heard(&mut self) {
        let [asked, heard] = &mut self.asked;
        *heard = *asked;
    }

    /// What is known of the responses to come.
    pub(super) fn awaited(&self) -> Awaited {
        let [asked, heard] = self.asked;
        Awaited {
            most: self.most(),
            kind: self.uniform(),
            turn: asked.wrapping_sub(heard),
            silent: asked == 0,
        }
    }

    /// How many responses can come at most, if that is known.
    fn most(&self) -> Option<u32> {
        (self.open > 0 && self.requests & LOST == 0).then_some(self.open)
    }

    /// The one kind of everything that is open.
    fn uniform(&self) -> Option<Kind> {
        let same = |run: &Run| run.kind == self.head.kind;
        let known = self.open > 0 && self.head.kind.is_plain() && self.head.kind != Kind::Any;
        (known && self.rest.iter().flat_map(|rest| rest.iter()).all(same)).then_some(self.head.kind)
    }
}

/// What confirms SUBSCRIBE or UNSUBSCRIBE with so many arguments.
fn confirmations(kind: Kind, arguments: u32) -> Run {
    let channels = arguments.saturating_sub(1);
    Run {
        marks: if kind.unsubscribes() && channels == 0 {
            ALL
        } else {
            0
        },
        ..Run::of(kind, channels.max(1))
    }
}

/// One request that is answered by one scalar, with these marks.
const fn scalar(marks: u8) -> Run {
    Run {
        marks,
        ..Run::of(Kind::Scalar, 1)
    }
}

/// What a request with so many arguments does: where they are too many, it is answered by an error, and does nothing. (EXEC
/// gives the transaction up.)
fn effective(kind: Kind, effect: Effect, arguments: u32) -> (Kind, Effect) {
    match kind {
        Kind::Client if arguments != 3 => (kind, Effect::None),
        Kind::Multi | Kind::Discard | Kind::Reset if arguments != 1 => (Kind::Any, effect),
        _ => (kind, effect),
    }
}

/// The word with which a command is confirmed.
fn confirmation_of(kind: Kind) -> Word {
    match kind {
        Kind::Subscribe => Word::Subscribe,
        Kind::Psubscribe => Word::Psubscribe,
        Kind::Ssubscribe => Word::Ssubscribe,
        Kind::Unsubscribe => Word::Unsubscribe,
        Kind::Punsubscribe => Word::Punsubscribe,
        Kind::Sunsubscribe => Word::Sunsubscribe,
        _ => Word::None,
    }
}

/// Hits and misses of a read.
#[inline]
fn counted(kind: Kind, reply: &Reply) -> Told {
    let mut told = Told::RESPONSE;
    if kind == Kind::Hit && !reply.error {
        told.hits = u32::from(!reply.null);
        told.misses = u32::from(reply.null);
    } else if kind == Kind::Hits {
        told.misses = reply.nulls;
        told.hits = reply.elements.saturating_sub(reply.nulls);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 40, "{}", size_of::<Session>());
    }

    #[test]
    fn a_pipeline_of_one_kind_is_one_run() {
        let mut session = Session::new();
        for _ in 0..1000 {
            session.request(Kind::Hit, Effect::None, 2);
        }
        assert_eq!(session.head, Run::of(Kind::Hit, 1000));
        assert!(session.rest.is_none());
        let null = Reply {
            kind: b'$',
            null: true,
            ..Reply::default()
        };
        assert_eq!(session.response(&null).misses, 1);
        assert_eq!(session.open, 999);
    }

    #[test]
    fn runs_answer_in_order() {
        let mut session = Session::new();
        for kind in [Kind::Hit, Kind::Scalar, Kind::Hit, Kind::Hit, Kind::Scalar] {
            session.request(kind, Effect::None, 2);
        }
        let found = Reply {
            kind: b'$',
            ..Reply::default()
        };
        let hits: Vec<u32> = (0..6).map(|_| session.response(&found).hits).collect();
        assert_eq!(hits, [1, 0, 1, 1, 0, 0]);
        assert_eq!(session.open, 0);
    }

    /// What a conversation takes is counted with what all take, and a loss gives it back.
    #[test]
    fn long_queues_are_counted_and_given_up() {
        let mut session = Session::new();
        session.request(Kind::Multi, Effect::None, 1);
        for _ in 0..20_000 {
            session.request(Kind::Subscribe, Effect::None, 2);
        }
        assert!(session.bytes() >= 20_000 * size_of::<Run>());
        session.lose();
        assert_eq!(session.bytes(), 0);
        for index in 0..20_000 {
            let kind = if index % 2 == 0 { Kind::Hit } else { Kind::Any };
            session.request(kind, Effect::None, 2);
        }
        assert!(session.bytes() >= 19_000 * size_of::<Run>());
        session.lose();
        assert_eq!((session.bytes(), session.open), (0, 0));
    }

    #[test]
    fn runs_are_bounded() {
        let mut session = Session::new();
        for index in 0..3 * limits::PENDING_REQUESTS {
            session.request(
                if index % 2 == 0 { Kind::Hit } else { Kind::Any },
                Effect::None,
                1,
            );
        }
        assert!(
            session
                .rest
                .as_ref()
                .is_none_or(|rest| rest.len() <= limits::PENDING_REQUESTS)
        );
    }
}
