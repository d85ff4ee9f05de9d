//! The rules by which responses find their requests.
//!
//! Reads the messages of one conversation, reports [`Exchange`]s.
//!
//! While nothing was missed, the oldest waiting request is answered first and the pair is
//! [`Confidence::Exact`]. A message that carries an identifier of its protocol is paired by it,
//! whatever was missed. A quiet request ([`Message::QUIET`]) that is passed over has succeeded in
//! silence.
//!
//! After a gap nobody knows how many messages were in it. What is known is what each side had
//! received when it sent: a client that waits for its answers before it asks again (most do, also
//! those that pipeline in batches) sends the first request of a batch when all earlier ones are
//! answered. So its answer begins at exactly the offset that the request acknowledged. Such a
//! request is an *anchor*: requests before it that were still open are [`Confidence::Ambiguous`],
//! pairs from it on are [`Confidence::Resynced`]. Nothing of its batch may stand before it: the bytes right before it are
//! the end of a request that was seen, in another segment, or else the server had received them when it sent what the
//! request acknowledges.
//!
//! How far a client is trusted to wait is learnt from its batches (`batches`). One that was seen asking while answers were
//! outstanding is not: the server sends them before it has received the last request, or they come when another batch has
//! begun. For it only a quiet moment is an anchor. While the order is unknown, a client shows that it waits by batches that get
//! just as many answers as they hold requests before the next one comes.
//!
//! A client of which too little is known, after a loss or where its conversation was joined, is on trial (`trial`): its pairs
//! are told once it has waited for some batches, or has nothing more to ask.
//!
//! An identifier pairs no longer where a request waited while bytes of both directions were lost: its response may be among
//! them, and another request of the same identifier.
//!
//! A response that its protocol cannot give to one request ([`Message::UNSURE`]) is a loss of order like
//! a gap.

mod batches;
mod plain;
mod trial;

use self::batches::{DISTRUST, TOLD, TRUST, UNKNOWN, UNTOLD};
use self::trial::Trial;
use super::queue::Queue;
use super::{Confidence, Exchange, OneWay, Report, Service, Silence, Span, Tally, Unanswered};
use crate::flow::{Direction, Parties};
use crate::limits;
use crate::protocol::{Input, Mark, Message, Output, Past, Phase, Protocol, Role, Text};
use crate::source::Timestamp;
use crate::wire::Transport;

/// What every call needs to know of the conversation.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Client and server.
    pub parties: Parties<'a>,
    /// The protocol that they speak.
    pub protocol: &'static dyn Protocol,
    /// Where they are counted.
    pub service: Service,
    /// What carries it.
    pub transport: Transport,
    /// Whether a sink prints requests.
    pub wants_text: bool,
}

/// What is known of the segment in which messages ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    /// Offset of the other direction up to which its sender had received.
    pub received: u64,
    /// The same, when it sent the segment before.
    pub before: u64,
    /// Offset of its first byte.
    pub start: u64,
}

/// A request that waits for its response.
#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Mark,
    last: Mark,
    size: u64,
    /// Offset of the response stream up to which the client had received when it sent this.
    received: u64,
    id: u64,
    /// Where its text is kept, counted from the first byte ever kept.
    text: u32,
    text_len: u32,
    kept: u16,
    command: u16,
    replies: u16,
    flags: u8,
}

/// Flags of [`Pending`], above those of [`Message`] that it keeps.
const OPEN: u8 = 2;
const BARRIER: u8 = 32;
const REPORTED: u8 = 64;
const HAS_ID: u8 = 128;

/// A response that has begun, while it or its request goes on.
#[derive(Debug)]
struct OpenResponse {
    pending: Pending,
    /// All of the response has come.
    ended: bool,
    text: Vec<u8>,
    status_text: Vec<u8>,
    head: Message,
    times: Times,
}

/// What was found out when a response met its request; fields as [`Exchange`] has them.
#[derive(Clone, Copy, Debug)]
struct Times {
    latency: u64,
    wait: u64,
    early: bool,
    confidence: Confidence,
}

impl Times {
    /// Of a response that begins while the server's last one ended at `last_response`.
    #[inline]
    fn between(
        pending: &Pending,
        response: &Message,
        last_response: Timestamp,
        confidence: Confidence,
    ) -> Self {
        let (asked, answered) = (pending.last.time, response.first.time);
        let early = pending.flags & OPEN != 0 || answered < asked;
        let latency = if early { 0 } else { answered.since(asked) };
        let wait = last_response.min(answered).since(asked).min(latency);
        Self {
            latency,
            wait,
            early,
            confidence,
        }
    }

    #[inline]
    fn tally(&self, pending: &Pending, response: &Message) -> Tally {
        Tally {
            latency: self.latency,
            request_bytes: pending.size,
            response_bytes: response.end.saturating_sub(response.start),
            hits: response.hits,
            misses: response.misses,
            command: pending.command,
            error: response.has(Message::ERROR),
            blocking: pending.flags & Message::BLOCKING != 0,
            resynced: self.confidence != Confidence::Exact,
        }
    }

    #[inline(never)]
    fn tell(
        &self,
        context: &Context<'_>,
        pending: &Pending,
        response: &Message,
        text: &[u8],
        status_text: &[u8],
        report: &mut impl Report,
    ) {
        report.exchange(
            context.service,
            &Exchange {
                endpoints: &context.parties.endpoints(),
                protocol: context.protocol,
                command: pending.command,
                text,
                text_len: pending.text_len,
                request: pending.span(),
                response: Some(span(response)),
                latency: Some(self.latency),
                wait: self.wait,
                status: response.status,
                status_text,
                hits: response.hits,
                misses: response.misses,
                error: response.has(Message::ERROR),
                blocking: pending.flags & Message::BLOCKING != 0,
                early: self.early,
                cut: (response.flags | pending.flags) & Message::CUT != 0
                    || pending.flags & OPEN != 0,
                confidence: self.confidence,
            },
        );
    }
}

/// A stream offset that may be unset, in eight bytes: conversations are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offset(u64);

impl Offset {
    const NONE: Self = Self(u64::MAX);

    fn get(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }

    fn set(&mut self, offset: u64) {
        self.0 = offset;
    }
}

/// The requests of one conversation that wait for their responses.
#[derive(Debug)]
pub struct Pairing {
    pending: Queue<Pending>,
    /// First bytes of waiting requests, oldest first.
    texts: Vec<u8>,
    /// How many bytes were dropped from the front of `texts`.
    texts_base: u32,
    open: Option<Box<OpenResponse>>,
    /// Where the response stream became unclear, if it is.
    unclear: Offset,
    /// Offset after the last response that was attributed.
    answered: u64,
    /// When the last response ended.
    last_response: Timestamp,
    /// When anything was last heard.
    heard: Timestamp,
    confidence: Confidence,
    /// Requests were lost since the last one.
    barrier: bool,
    /// What ends at `answered` is no response.
    pushed: bool,
    /// How far the client is trusted to wait for answers before it asks again.
    trust: i8,
    /// What is only looked at after a loss, or of long queues.
    doubt: Option<Box<Doubt>>,
}

/// Quiet requests and those with identifiers are counted where more than so many wait. To look at fewer costs little.
const COUNTED: usize = 64;

/// What tells how a client asks, and what is answered first, after a loss; and what is known of a long queue, so that
/// not all of it has to be looked at.
#[derive(Debug, Default)]
struct Doubt {
    /// The offset at which the next response has to begin, after an anchor.
    expected: Option<u64>,
    /// While the order is unclear: how many responses came since the last batch began, if none was lost.
    answers: Option<u16>,
    /// Requests of that batch may be unknown.
    open: bool,
    /// The order was found by a request that was believed to be sent when all before it were answered.
    believed: bool,
    /// Where the last request ended.
    asked: u64,
    /// Where the last request ends that waits or waited for a response, at least.
    awaited: u64,
    /// Where a segment last began just after a request.
    aligned: u64,
    /// What its sender had received when it sent that.
    aligned_received: u64,
    /// Where the oldest request that waits begins, at least.
    due: u64,
    /// Where the last bytes of the response stream ended, and up to where of the other one the server had received when it
    /// sent them; 0 where that is not known.
    heard: (u64, u64),
    /// When anything had last been heard before bytes of either direction were missing.
    lost: [Timestamp; 2],
    /// Which requests wait, where that was counted.
    counts: Option<Counts>,
    /// Requests, from the oldest on, that were looked at for having waited too long.
    passed: u32,
    /// Responses in a row whose identifier no request has.
    strays: u8,
    /// When the request was asked that was answered last, before one that had been asked before it.
    overtook: Option<Timestamp>,
    /// The first batch of a conversation that was joined.
    trial: Option<Box<Trial>>,
}

/// When something was last heard, where that is not known but long ago.
const LONG_AGO: Timestamp = Timestamp(1);

/// Where requests ended while that was not kept: all was in order.
const ANY: u64 = u64::MAX;

/// Requests that wait.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Those that have an identifier.
    named: u32,
    /// Those that are quiet.
    quiet: u32,
}

impl Counts {
    fn of(pending: &Pending) -> Self {
        Self {
            named: u32::from(pending.flags & HAS_ID != 0),
            quiet: u32::from(pending.flags & Message::QUIET != 0),
        }
    }
}

impl Default for Pairing {
    fn default() -> Self {
        Self {
            pending: Queue::default(),
            texts: Vec::new(),
            texts_base: 0,
            open: None,
            unclear: Offset::NONE,
            answered: crate::flow::stream::ORIGIN,
            last_response: Timestamp::default(),
            heard: Timestamp::default(),
            confidence: Confidence::Exact,
            barrier: false,
            pushed: false,
            trust: UNKNOWN,
            doubt: None,
        }
    }
}

impl Pairing {
    /// The conversation was joined in the middle: requests may be open that were never seen.
    pub fn joined(&mut self) {
        if self.confidence == Confidence::Exact && self.pending.is_empty() {
            self.unclear.set(crate::flow::stream::ORIGIN - 1);
        }
        self.confidence = Confidence::Resynced;
    }

    /// One whose conversation has rested at the beginning of its streams: all requests were answered. How far the client
    /// is trusted is told later, by [`Pairing::follows`]; where it has mattered until then, [`Report::hinges`] was
    /// called.
    pub fn resumed(past: Past) -> Self {
        let (confidence, doubt) = match past {
            Past::Whole => (Confidence::Exact, None),
            Past::Lossy => {
                let asked = crate::flow::stream::ORIGIN;
                let doubt = Doubt {
                    asked,
                    heard: (asked, asked),
                    ..Doubt::default()
                };
                (Confidence::Resynced, Some(Box::new(doubt)))
            }
        };
        Self {
            trust: UNTOLD,
            confidence,
            doubt,
            ..Self::default()
        }
    }

    /// This is how far the client was trusted when it was resumed.
    pub fn follows(&mut self, before: &Self) {
        if self.trust < TOLD {
            self.trust = (before.trust + (self.trust - UNTOLD)).min(TRUST);
        }
    }

    /// From here on it matters how far the client is trusted.
    fn lose_order(&mut self, report: &mut impl Report) {
        if self.confidence == Confidence::Exact {
            self.doubt.get_or_insert_default().asked = ANY;
        }
        self.confidence = Confidence::Resynced;
        if self.trust < TOLD {
            report.hinges();
        }
    }

    /// The past, where whatever comes at `now` and later is paired as by one that is [`Pairing::resumed`] with it, both
    /// streams being at these offsets.
    pub fn rest(&self, to_server: u64, to_client: u64, now: Timestamp) -> Option<Past> {
        let doubt = self.doubt.as_deref();
        let settled = doubt.is_none_or(|doubt| {
            (doubt.expected, doubt.answers) == (None, None)
                && doubt.counts.is_none()
                && (doubt.passed, doubt.strays) == (0, 0)
                && doubt.overtook.is_none()
                && doubt.trial.is_none()
                && doubt.lost.iter().all(|lost| *lost < now)
        });
        let rests = self.is_idle()
            && self.unclear == Offset::NONE
            && self.answered == to_client
            && self.last_response <= now
            && !self.barrier
            && self.trust >= DISTRUST
            && settled;
        let (asked, heard) = doubt.map_or((0, (0, 0)), |doubt| (doubt.asked, doubt.heard));
        let in_step = asked == to_server && heard == (to_client, to_server);
        match self.confidence {
            Confidence::Exact if rests => Some(Past::Whole),
            Confidence::Resynced if rests && in_step => Some(Past::Lossy),
            _ => None,
        }
    }

    /// Whether no request waits and no response is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.open.is_none() && !self.keeps_pairs()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether it takes more memory than when [`Pairing::bytes`] was last asked.
    #[inline]
    pub fn grew(&self) -> bool {
        self.pending.grew() || self.trial_grew()
    }

    /// The memory that waiting requests take; little where there is only one.
    pub fn bytes(&mut self) -> usize {
        let kept = self.trial_bytes();
        match self.pending.bytes() {
            0 => kept,
            pending => pending + self.texts.capacity() + kept,
        }
    }

    /// Takes the messages that a dissector made of `input`, the plain ones first; the last of its bytes came in
    /// `segment`.
    #[inline(always)]
    pub fn messages(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        segment: Segment,
        input: &Input<'_>,
        output: &Output,
        report: &mut impl Report,
    ) {
        if self.confidence != Confidence::Exact {
            self.note_segment(direction, segment, input, output);
        }
        for plain in &output.plain {
            self.plain(context, direction, plain, segment, input, output, report);
        }
        let input = input.bytes;
        for message in &output.messages {
            match message.role {
                Role::Request
                    if message.is_ordinary()
                        && message.replies == 1
                        && message.first.frame == message.last.frame
                        && !self.barrier
                        && self.pending.len() < limits::PENDING_REQUESTS =>
                {
                    self.ordinary_request(context, message, segment, input, output, report);
                }
                Role::Request => self.request(context, message, segment, input, output, report),
                Role::Response
                    if message.is_ordinary() && self.is_clear() && self.is_acknowledged() =>
                {
                    self.ordinary_response(context, message, input, output, report);
                }
                Role::Response => self.response(context, message, input, output, report),
                Role::OneWay => self.one_way(context, direction, message, report),
            }
        }
    }

    /// As [`Pairing::messages`], where speed does not matter.
    #[inline(never)]
    pub fn messages_apart(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        segment: Segment,
        input: &Input<'_>,
        output: &Output,
        report: &mut impl Report,
    ) {
        self.messages(context, direction, segment, input, output, report);
    }

    fn one_way(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        message: &Message,
        report: &mut impl Report,
    ) {
        if direction == Direction::ToClient && self.answered <= message.start {
            self.answered = message.end;
            self.pushed = true;
            if self.expected() == Some(message.start) {
                self.expect(message.end);
            }
        }
        if message.phase != Phase::End {
            let message = OneWay {
                endpoints: context.parties.endpoints(),
                direction,
                protocol: context.protocol,
                command: message.command,
                span: span(message),
            };
            report.one_way(context.service, &message);
        }
    }

    #[inline(never)]
    fn request(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        segment: Segment,
        input: &[u8],
        output: &Output,
        report: &mut impl Report,
    ) {
        if message.phase == Phase::End {
            self.request_ends(context, message, report);
            return;
        }
        if segment.before < segment.received && message.first.frame != message.last.frame {
            // A request that goes on after an answer has come: its client does not wait.
            self.trust = DISTRUST;
        }
        // The identifier of a quiet request is its place in the order.
        match message.id {
            Some(_) if !message.has(Message::QUIET) => self.heard = message.last.time,
            _ => self.note_batch(context, message, segment, report),
        }
        if self.pending.len() >= limits::PENDING_REQUESTS {
            self.drop_oldest(context, report);
        }
        let (text, kept) = self.keep(context, message.text, input, output);
        let mut flags = message.flags & (Message::BLOCKING | Message::QUIET | Message::CUT);
        if message.phase == Phase::Head {
            flags |= OPEN;
        }
        if self.barrier && message.id.is_none() {
            self.barrier = false;
            if self.unclear.get().is_none() {
                flags |= BARRIER;
            }
        }
        if message.id.is_some() {
            flags |= HAS_ID;
        }
        let pending = Pending {
            flags,
            ..Pending::new(message, segment.received, text, kept)
        };
        self.note_request(message.start);
        if flags & Message::QUIET == 0 {
            self.note_awaited(message.end);
        }
        self.pending.push(pending);
        if let Some(counts) = self.counts() {
            let one = Counts::of(&pending);
            counts.named += one.named;
            counts.quiet += one.quiet;
        } else if flags & (HAS_ID | Message::QUIET) != 0 && self.pending.len() > COUNTED {
            self.count();
        }
    }

    fn counts(&mut self) -> Option<&mut Counts> {
        self.doubt.as_mut()?.counts.as_mut()
    }

    #[cold]
    fn count(&mut self) {
        let mut counts = Counts::default();
        for one in self.pending.as_slice().iter().map(Counts::of) {
            counts.named += one.named;
            counts.quiet += one.quiet;
        }
        self.doubt.get_or_insert_default().counts = Some(counts);
    }

    /// Whether a request waits that has not this flag, which is [`HAS_ID`] or [`Message::QUIET`]. Where they were not
    /// counted, no more than [`COUNTED`] of those in front have it.
    fn has_without(&self, flag: u8) -> bool {
        let without = |pending: &Pending| pending.flags & flag == 0;
        match self.doubt.as_ref().and_then(|doubt| doubt.counts) {
            Some(Counts { named, .. }) if flag == HAS_ID => self.pending.len() > named as usize,
            Some(Counts { quiet, .. }) if flag == Message::QUIET => {
                self.pending.len() > quiet as usize
            }
            _ => self.pending.as_slice().iter().any(without),
        }
    }

    /// A request that came whole, in one frame, with nothing special about it.
    #[inline(always)]
    fn ordinary_request(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        segment: Segment,
        input: &[u8],
        output: &Output,
        report: &mut impl Report,
    ) {
        let received = segment.received;
        match self.pending.as_slice().last() {
            Some(last) if received <= last.received => self.heard = message.last.time,
            None if self.is_clear() && received >= self.answered => {
                self.trust_more();
                self.heard = message.last.time;
            }
            _ => self.note_batch(context, message, segment, report),
        }
        self.note_request(message.start);
        self.note_awaited(message.end);
        let (text, kept) = self.keep(context, message.text, input, output);
        self.pending
            .push(Pending::new(message, received, text, kept));
    }

    /// Whether a response of which nothing special is known belongs to the oldest request.
    #[inline]
    fn is_clear(&self) -> bool {
        let doubt = self.doubt.as_ref();
        let straight = doubt.is_none_or(|doubt| doubt.expected.is_none() && doubt.trial.is_none());
        self.unclear == Offset::NONE && straight && !self.barrier
    }

    /// The body of the last request has ended.
    fn request_ends(&mut self, context: &Context<'_>, message: &Message, report: &mut impl Report) {
        let ended = |pending: &mut Pending, start: u64| {
            pending.flags &= !OPEN;
            pending.last = message.last;
            pending.size = message.end.saturating_sub(start);
        };
        if let Some(pending) = self
            .pending
            .as_mut_slice()
            .last_mut()
            .filter(|pending| pending.flags & OPEN != 0)
        {
            ended(pending, message.start);
            self.note_awaited(message.end);
        } else if let Some(open) = &mut self.open
            && open.pending.flags & OPEN != 0
        {
            ended(&mut open.pending, message.start);
            if open.ended {
                self.end_open_response(context, report);
            }
        }
    }

    /// All waiting requests are ambiguous.
    fn give_up_waiting(&mut self, context: &Context<'_>, report: &mut impl Report) {
        while let Some(pending) = self.pending.pop() {
            self.ambiguous(context, &pending, report);
        }
        self.none_wait();
        self.texts_base = self.texts_base.wrapping_add(self.texts.len() as u32);
        self.texts.clear();
    }

    /// Nothing waits any more.
    fn none_wait(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            (doubt.counts, doubt.passed) = (None, 0);
        }
    }

    fn ambiguous(&self, context: &Context<'_>, pending: &Pending, report: &mut impl Report) {
        self.tell_ambiguous(context, pending, self.text(pending), report);
    }

    fn tell_ambiguous(
        &self,
        context: &Context<'_>,
        pending: &Pending,
        text: &[u8],
        report: &mut impl Report,
    ) {
        if pending.flags & (REPORTED | Message::QUIET) != 0 {
            return;
        }
        report.ambiguous(context.service);
        if !report.wants_exchanges() {
            return;
        }
        report.exchange(
            context.service,
            &Exchange {
                endpoints: &context.parties.endpoints(),
                protocol: context.protocol,
                command: pending.command,
                text,
                text_len: pending.text_len,
                request: pending.span(),
                response: None,
                latency: None,
                wait: 0,
                status: 0,
                status_text: &[],
                hits: 0,
                misses: 0,
                error: false,
                blocking: pending.flags & Message::BLOCKING != 0,
                early: false,
                cut: pending.flags & Message::CUT != 0,
                confidence: Confidence::Ambiguous,
            },
        );
    }

    /// A response that came whole, with nothing special about it, to whichever request is the oldest.
    #[inline(always)]
    fn ordinary_response(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        input: &[u8],
        output: &Output,
        report: &mut impl Report,
    ) {
        let Some(front) = self.pending.as_slice().first() else {
            return self.response(context, message, input, output, report);
        };
        if front.flags != 0 || front.replies != 1 {
            return self.response(context, message, input, output, report);
        }
        self.heard = message.last.time;
        let times = Times::between(front, message, self.last_response, self.confidence);
        report.answered(context.service, &times.tally(front, message));
        if report.wants_exchanges() {
            let status_text = bytes_of(message.text, input, output);
            times.tell(
                context,
                front,
                message,
                self.text(front),
                status_text,
                report,
            );
        }
        self.remove(0);
        self.finish_response(message);
    }

    #[inline(never)]
    fn response(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        input: &[u8],
        output: &Output,
        report: &mut impl Report,
    ) {
        self.heard = message.last.time;
        if message.has(Message::UNSURE) || self.may_be_of_another(message) {
            self.unsure_response(context, message, report);
            return;
        }
        if message.phase == Phase::End {
            self.response_ends(context, message, report);
            return;
        }
        let Some((place, confidence)) = self.request_of(context, message, report) else {
            self.spoil_trial();
            report.orphan(context.service);
            return;
        };
        let Some(front) = self.pending.as_mut_slice().get_mut(place) else {
            return;
        };
        let more = message.has(Message::MORE) || front.replies > 1;
        if more {
            front.replies = front.replies.saturating_sub(1).max(1);
        }
        if front.flags & Message::MORE != 0 {
            let pending = *front;
            if !more {
                self.take_out(place);
            }
            self.go_on(context, &pending, more, message, report);
            return;
        }
        if more {
            front.flags |= Message::MORE;
        }
        self.pair(
            context, place, more, confidence, message, input, output, report,
        );
    }

    /// Whether a response may be of a request that was lost and had the identifier of one that waits: its own response may
    /// have been lost before.
    fn may_be_of_another(&self, message: &Message) -> bool {
        let (Some(id), Some(doubt)) = (message.id, &self.doubt) else {
            return false;
        };
        let [asked, answered] = doubt.lost;
        let lost = asked.min(answered);
        let waited =
            |pending: &Pending| pending.first.time <= lost && pending.flags & Message::MORE == 0;
        lost > Timestamp::default() && self.named(id).is_some_and(|(_, pending)| waited(&pending))
    }

    /// The request with this identifier, and its place. Of a question that was asked again after its asker gave up, the
    /// latest.
    #[inline]
    fn named(&self, id: u64) -> Option<(usize, Pending)> {
        let pending = self.pending.as_slice();
        let named = |pending: &Pending| pending.flags & HAS_ID != 0 && pending.id == id;
        let place = pending.iter().rposition(named)?;
        Some((place, *pending.get(place)?))
    }

    /// A response of which the protocol cannot tell whose it is, or when it began.
    #[cold]
    fn unsure_response(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        report: &mut impl Report,
    ) {
        let Some(id) = message.id else {
            self.gap(context, Direction::ToClient, message.start, report);
            report.orphan(context.service);
            return;
        };
        let Some((place, pending)) = self.named(id) else {
            report.orphan(context.service);
            return;
        };
        self.ambiguous(context, &pending, report);
        if !message.has(Message::MORE) {
            self.take_out(place);
        } else if let Some(pending) = self.pending.as_mut_slice().get_mut(place) {
            pending.flags |= REPORTED;
        }
    }

    /// Not the first of several responses to a request: its time was taken already.
    fn go_on(
        &mut self,
        context: &Context<'_>,
        pending: &Pending,
        more: bool,
        message: &Message,
        report: &mut impl Report,
    ) {
        self.finish_response(message);
        let same = |open: &OpenResponse| {
            open.pending.first == pending.first && open.pending.id == pending.id
        };
        if let Some(open) = self.open.as_mut().filter(|open| same(open)) {
            // Others may have come between.
            let end = open.head.end + message.end.saturating_sub(message.start);
            open.continue_with(message, end);
            open.ended = !more;
            if !more {
                self.end_open_response(context, report);
            }
        }
    }

    /// Reports the pair, or keeps it until request and response have ended.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, inlined into its only caller"
    )]
    fn pair(
        &mut self,
        context: &Context<'_>,
        place: usize,
        more: bool,
        confidence: Confidence,
        message: &Message,
        input: &[u8],
        output: &Output,
        report: &mut impl Report,
    ) {
        let Some(pending) = self.pending.as_slice().get(place) else {
            return;
        };
        let asked = pending.last.time;
        let asked_all = pending.flags & OPEN == 0;
        let overtook = self.doubt.as_ref().and_then(|doubt| doubt.overtook);
        // The last response is none that it waited behind.
        let before = match overtook.is_some_and(|overtook| asked <= overtook) {
            true => Timestamp::default(),
            false => self.last_response,
        };
        let times = Times::between(pending, message, before, confidence);
        if pending.flags & REPORTED != 0 {
            report.late(context.service);
        } else if message.phase == Phase::Head
            || more
            || pending.flags & OPEN != 0
            || self.is_on_trial(confidence)
        {
            let open = OpenResponse {
                pending: *pending,
                ended: message.phase == Phase::Whole && !more,
                text: self.text(pending).to_vec(),
                status_text: bytes_of(message.text, input, output).to_vec(),
                head: message.clone(),
                times,
            };
            self.end_open_response(context, report);
            self.open = Some(Box::new(open));
            if message.phase == Phase::Whole && !more && asked_all {
                self.end_open_response(context, report);
            }
        } else {
            report.answered(context.service, &times.tally(pending, message));
            if report.wants_exchanges() {
                let text = self.text(pending);
                let status_text = bytes_of(message.text, input, output);
                times.tell(context, pending, message, text, status_text, report);
            }
        }
        if !more {
            self.take_out(place);
        }
        if place > 0 {
            self.doubt.get_or_insert_default().overtook = Some(asked);
        } else if let Some(doubt) = &mut self.doubt {
            doubt.overtook = None;
        }
        self.finish_response(message);
    }

    #[inline]
    fn finish_response(&mut self, message: &Message) {
        self.last_response = self.last_response.max(message.last.time);
        self.note_answered(message.end);
    }

    /// Which waiting request a response answers, and how sure that is.
    #[inline]
    fn request_of(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        report: &mut impl Report,
    ) -> Option<(usize, Confidence)> {
        match message.id {
            Some(id) => self.request_by_id(context, id, message, report),
            None => self.request_in_order(context, message, report),
        }
    }

    fn request_by_id(
        &mut self,
        context: &Context<'_>,
        id: u64,
        message: &Message,
        report: &mut impl Report,
    ) -> Option<(usize, Confidence)> {
        let Some((place, pending)) = self.named(id) else {
            self.stray(context, report);
            return None;
        };
        if let Some(doubt) = &mut self.doubt {
            doubt.strays = 0;
        }
        // Datagrams have no order.
        if pending.flags & Message::QUIET == 0 || context.transport == Transport::Udp {
            let confidence = match message.has(Message::LIKELY) {
                true => Confidence::Resynced,
                false => Confidence::Exact,
            };
            return Some((place, confidence));
        }
        // The identifier of a quiet request is its place in the order, and as sure as the order is.
        let place = self.settle_quiet(context, place, report);
        let sure = self.unclear.get().is_none() && !self.barrier && !self.is_barred();
        (sure && self.is_due(message)).then_some((place, self.confidence))
    }

    /// Nobody asked for a response. Each of these costs a look at all that waits, so where much waits, and nothing
    /// else comes, the oldest requests make room.
    #[cold]
    fn stray(&mut self, context: &Context<'_>, report: &mut impl Report) {
        if self.pending.len() <= limits::STRAYS_MAKE_ROOM {
            return;
        }
        let doubt = self.doubt.get_or_insert_default();
        doubt.strays += 1;
        if doubt.strays < limits::STRAYS {
            return;
        }
        doubt.strays = 0;
        for _ in 0..limits::STRAYS_MAKE_ROOM {
            self.drop_oldest(context, report);
        }
    }

    #[inline]
    fn request_in_order(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        report: &mut impl Report,
    ) -> Option<(usize, Confidence)> {
        let mut place = 0;
        if self.pending.as_slice().first()?.flags & HAS_ID != 0 {
            let plain = |pending: &Pending| pending.flags & HAS_ID == 0;
            place = self.pending.as_slice().iter().position(plain)?;
            place = self.settle_quiet(context, place, report);
        }
        let front = self.pending.as_mut_slice().get_mut(place)?;
        if front.flags & BARRIER != 0 {
            front.flags &= !BARRIER;
            if self.unclear.get().is_none() {
                self.unclear.set(self.answered);
            }
        }
        if self.unclear.get().is_some() {
            if let Some(answers) = self.doubt.as_mut().and_then(|doubt| doubt.answers.as_mut()) {
                *answers = answers.saturating_add(1);
            }
            return None;
        }
        if place == 0 && !self.is_acknowledged() {
            self.trust = DISTRUST;
            self.unclear.set(self.answered);
            return None;
        }
        self.is_due(message).then_some((place, self.confidence))
    }

    /// Quiet requests before `place`, which is answered now, have succeeded in silence. Returns
    /// where `place` is without them.
    fn settle_quiet(
        &mut self,
        context: &Context<'_>,
        place: usize,
        report: &mut impl Report,
    ) -> usize {
        let (mut at, mut place) = (0, place);
        while at < place {
            match self.pending.as_slice().get(at) {
                Some(pending) if pending.flags & Message::QUIET != 0 => {
                    report.one_way(context.service, &pending.silent(context));
                    self.take_out(at);
                    place -= 1;
                }
                _ => at += 1,
            }
        }
        place
    }

    fn response_ends(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        report: &mut impl Report,
    ) {
        self.finish_response(message);
        let Some(open) = &mut self.open else { return };
        open.continue_with(message, message.end);
        open.ended = true;
        if open.pending.flags & OPEN == 0 {
            self.end_open_response(context, report);
        }
    }

    /// Reports the response that is under way as far as it was seen.
    fn end_open_response(&mut self, context: &Context<'_>, report: &mut impl Report) {
        let Some(open) = self.open.take() else { return };
        match self.is_on_trial(open.times.confidence) {
            true => self.keep_pair(context, *open, report),
            false => open.tell(context, report),
        }
    }

    /// Bytes of one direction were never seen, outside of what the dissector steps over. `offset` is
    /// where they began.
    pub fn gap(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        offset: u64,
        report: &mut impl Report,
    ) {
        if self.is_on_trial(Confidence::Resynced) {
            self.cut_open_response(context, report);
            self.end_trial(context, false, report);
        }
        self.lose_order(report);
        self.lose_count();
        if let Some(lost) = self
            .doubt
            .get_or_insert_default()
            .lost
            .get_mut(direction.index())
        {
            *lost = self.heard;
        }
        match direction {
            Direction::ToServer => {
                self.barrier = true;
                if let Some(last) = self
                    .pending
                    .as_mut_slice()
                    .last_mut()
                    .filter(|last| last.flags & OPEN != 0)
                {
                    last.flags &= !OPEN;
                }
            }
            Direction::ToClient => {
                self.cut_open_response(context, report);
                self.expect_any();
                self.unclear
                    .set(self.unclear.get().map_or(offset, |since| since.max(offset)));
            }
        }
    }

    fn cut_open_response(&mut self, context: &Context<'_>, report: &mut impl Report) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.ended) {
            open.head.flags |= Message::CUT;
        }
        self.end_open_response(context, report);
    }

    /// No response will come any more.
    pub fn close(
        &mut self,
        context: &Context<'_>,
        now: Timestamp,
        why: Silence,
        report: &mut impl Report,
    ) {
        self.cut_open_response(context, report);
        self.rest_trial(context, None, report);
        let unclear = self.unclear.get().is_some();
        while let Some(pending) = self.pending.pop() {
            if pending.flags & Message::MORE != 0 {
                continue;
            }
            if pending.flags & Message::QUIET != 0 {
                report.one_way(context.service, &pending.silent(context));
            } else if unclear || pending.flags & BARRIER != 0 {
                self.ambiguous(context, &pending, report);
            } else {
                self.unanswered(context, &pending, now, why, report);
            }
        }
        self.texts = Vec::new();
        self.none_wait();
    }

    /// The capture has ended: requests that waited for at least `threshold` are reported, others
    /// are still under way. Returns how many those are.
    pub fn stop(
        &mut self,
        context: &Context<'_>,
        now: Timestamp,
        threshold: std::time::Duration,
        report: &mut impl Report,
    ) -> u64 {
        let limit = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        let before = self.pending.len();
        self.pending.retain(|pending| {
            now.since(pending.last.time) >= limit || pending.flags & (REPORTED | Message::MORE) != 0
        });
        let young = before - self.pending.len();
        self.close(context, now, Silence::End, report);
        young as u64
    }

    /// Whether a request has waited for longer than `timeout` that was not looked at for it.
    pub fn times_out(&self, now: Timestamp, timeout: std::time::Duration) -> bool {
        let next = self.pending.as_slice().get(self.passed());
        next.is_some_and(|pending| now.is_past(pending.last.time, timeout))
    }

    /// How many of the oldest requests were looked at for having waited too long.
    fn passed(&self) -> usize {
        self.doubt.as_ref().map_or(0, |doubt| doubt.passed as usize)
    }

    /// Reports requests that waited for longer than `timeout`. They keep their places, so that a
    /// late response still finds its own.
    pub fn time_out(
        &mut self,
        context: &Context<'_>,
        now: Timestamp,
        timeout: std::time::Duration,
        report: &mut impl Report,
    ) {
        self.rest_trial(context, Some(now), report);
        let unclear = self.unclear.get().is_some();
        let mut place = self.passed();
        while let Some(pending) = self.pending.as_mut_slice().get_mut(place) {
            if !now.is_past(pending.last.time, timeout) {
                break;
            }
            let before = *pending;
            let settled = REPORTED | Message::MORE | OPEN;
            if before.flags & settled == 0 && !unclear {
                pending.flags |= REPORTED;
                self.unanswered(context, &before, now, Silence::Timeout, report);
            }
            if before.flags & Message::QUIET != 0 {
                report.one_way(context.service, &before.silent(context));
            }
            if context.transport == Transport::Udp || before.flags & HAS_ID != 0 {
                self.take_out(place);
            } else {
                place += 1;
            }
            if place > 0 && !unclear && before.flags & OPEN == 0 {
                self.doubt.get_or_insert_default().passed = place as u32;
            }
        }
    }

    /// The conversation cannot be read from here on: nobody will know who was answered.
    pub fn abandon(&mut self, context: &Context<'_>, now: Timestamp, report: &mut impl Report) {
        self.unclear.set(self.answered);
        self.close(context, now, Silence::Closed, report);
    }

    /// Forgets the waiting requests: too much memory is taken.
    pub fn forget(&mut self, context: &Context<'_>, report: &mut impl Report) {
        self.gap(context, Direction::ToClient, self.answered, report);
        while self.pending.pop().is_some() {
            report.overflow(context.service);
        }
        self.none_wait();
        self.pending = Queue::default();
        self.texts_base = self.texts_base.wrapping_add(self.texts.len() as u32);
        self.texts = Vec::new();
    }

    fn unanswered(
        &self,
        context: &Context<'_>,
        pending: &Pending,
        now: Timestamp,
        why: Silence,
        report: &mut impl Report,
    ) {
        if pending.flags & (REPORTED | Message::QUIET) != 0 {
            return;
        }
        let unanswered = Unanswered {
            endpoints: context.parties.endpoints(),
            protocol: context.protocol,
            command: pending.command,
            text: self.text(pending),
            text_len: pending.text_len,
            request: pending.span(),
            time: now,
            blocking: pending.flags & Message::BLOCKING != 0,
            why,
        };
        report.unanswered(context.service, &unanswered);
    }

    fn drop_oldest(&mut self, context: &Context<'_>, report: &mut impl Report) {
        self.take_out(0);
        report.overflow(context.service);
        if self.has_without(HAS_ID) {
            self.lose_order(report);
            if self.unclear.get().is_none() {
                self.unclear.set(self.answered);
            }
        }
    }

    /// As [`Pairing::remove`], of a request of any kind.
    #[inline]
    fn take_out(&mut self, place: usize) {
        if let Some(one) = self.pending.as_slice().get(place).map(Counts::of)
            && let Some(counts) = self.counts()
        {
            counts.named -= one.named;
            counts.quiet -= one.quiet;
        }
        self.remove(place);
    }

    /// Takes a request that has no identifier and is not quiet out of the queue, and its text where it was the oldest.
    #[inline(always)]
    fn remove(&mut self, place: usize) {
        if let Some(doubt) = &mut self.doubt {
            doubt.passed -= u32::from(place < doubt.passed as usize);
            if place == 0 && doubt.due > 0 {
                doubt.due += self
                    .pending
                    .as_slice()
                    .first()
                    .map_or(0, |front| front.size);
            }
        }
        if place == 0 {
            self.pending.pop();
            if self.texts.is_empty() {
                return;
            }
            match self.pending.as_slice().first() {
                None => {
                    self.texts_base = self.texts_base.wrapping_add(self.texts.len() as u32);
                    self.texts.clear();
                }
                Some(front) => {
                    let done = front.text.wrapping_sub(self.texts_base) as usize;
                    if done > 4096 && done > self.texts.len() / 2 {
                        self.texts.drain(..done.min(self.texts.len()));
                        self.texts_base = front.text;
                    }
                }
            }
        } else {
            self.pending.remove(place);
        }
    }

    /// Keeps the first bytes of a request for printing.
    #[inline(always)]
    fn keep(
        &mut self,
        context: &Context<'_>,
        text: Text,
        input: &[u8],
        output: &Output,
    ) -> (u32, u16) {
        let place = self.texts_base.wrapping_add(self.texts.len() as u32);
        if !context.wants_text || self.texts.len() >= limits::KEPT_PER_CONVERSATION {
            return (place, 0);
        }
        let bytes = bytes_of(text, input, output);
        let bytes = bytes.get(..limits::KEPT_BYTES).unwrap_or(bytes);
        if self.texts.capacity() == 0 {
            self.texts.reserve_exact(bytes.len());
        }
        self.texts.extend_from_slice(bytes);
        (place, bytes.len() as u16)
    }

    fn text(&self, pending: &Pending) -> &[u8] {
        let start = pending.text.wrapping_sub(self.texts_base) as usize;
        self.texts
            .get(start..start + usize::from(pending.kept))
            .unwrap_or_default()
    }
}

impl OpenResponse {
    /// More of the response has come; with it, it ends at this offset, counted from its own beginning.
    fn continue_with(&mut self, message: &Message, end: u64) {
        self.head.end = end;
        self.head.last = message.last;
        self.head.flags |= message.flags & (Message::CUT | Message::ERROR);
        self.head.hits += message.hits;
        self.head.misses += message.misses;
        if message.status != 0 {
            self.head.status = message.status;
        }
    }
}

impl Pending {
    /// A request whose text is kept at `text`, sent when so much of the other direction was received.
    #[inline]
    fn new(message: &Message, received: u64, text: u32, kept: u16) -> Self {
        Self {
            first: message.first,
            last: message.last,
            size: message.end - message.start,
            received,
            id: message.id.unwrap_or_default(),
            text,
            text_len: message.text_len,
            kept,
            command: message.command,
            replies: message.replies,
            flags: 0,
        }
    }

    /// The one-way message that a quiet request turned out to be.
    fn silent(&self, context: &Context<'_>) -> OneWay {
        OneWay {
            endpoints: context.parties.endpoints(),
            direction: Direction::ToServer,
            protocol: context.protocol,
            command: self.command,
            span: self.span(),
        }
    }

    fn span(&self) -> Span {
        Span {
            first: self.first,
            last: self.last,
            size: self.size,
        }
    }
}

fn span(message: &Message) -> Span {
    Span {
        first: message.first,
        last: message.last,
        size: message.end.saturating_sub(message.start),
    }
}

fn bytes_of<'a>(text: Text, input: &'a [u8], output: &'a Output) -> &'a [u8] {
    let range = |start: u32, len: u32| start as usize..start as usize + len as usize;
    match text {
        Text::None => &[],
        Text::Input { start, len } => input.get(range(start, len)).unwrap_or_default(),
        Text::Arena { start, len } => output.arena.get(range(start, len)).unwrap_or_default(),
    }
}
