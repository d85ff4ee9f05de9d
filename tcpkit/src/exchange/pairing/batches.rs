//! How a client asks, and what that tells of the order after a loss.
//!
//! Reads what each side had received when it sent; decides which request is an anchor, and how far a client is trusted to wait for
//! its answers. See [`super`] for the rules.

use super::{
    ANY, BARRIER, Confidence, Context, HAS_ID, Message, OPEN, Offset, Pairing, Pending, Report,
    Segment,
};
use crate::flow::Direction;
use crate::limits;
use crate::protocol::{Input, Output};
use crate::source::Timestamp;

/// Trust in a client grows to this, a batch at a time; above 0 it is trusted.
pub(super) const TRUST: i8 = 3;

/// Trust in a client of whom nothing is known: eight batches in order make it trusted. Of one that keeps several requests under way
/// whatever it has received, so many rarely look as if it waited.
pub(super) const UNKNOWN: i8 = -7;

/// Trust in a client that was seen asking while answers were outstanding: so many batches in order
/// make up for it.
pub(super) const DISTRUST: i8 = -60;

/// Trust in a client of whom others know: counted from here, what was learnt since. Nothing may depend on it.
pub(super) const UNTOLD: i8 = i8::MIN;

/// More than so many batches in order since [`UNTOLD`] make any client trusted.
pub(super) const TOLD: i8 = UNTOLD + TRUST - DISTRUST;

impl Pairing {
    /// A batch came in order.
    #[inline(always)]
    pub(super) fn trust_more(&mut self) {
        if self.trust < TRUST {
            self.trust += 1;
            if self.trust == TOLD {
                self.trust = TRUST;
            }
        }
    }

    /// Keeps where requests begin with their segment, and what a server had received when it sent what.
    #[cold]
    pub(super) fn note_segment(
        &mut self,
        direction: Direction,
        segment: Segment,
        input: &Input<'_>,
        output: &Output,
    ) {
        let doubt = self.doubt.get_or_insert_default();
        if direction == Direction::ToClient {
            // Of bytes that were stepped over only the end is shown.
            let end = input.offset + input.bytes.len() as u64;
            if end > doubt.heard.0 {
                doubt.heard = (end, segment.received);
            }
            return;
        }
        if doubt.asked == ANY && !self.barrier || segment.start == doubt.asked {
            doubt.aligned = segment.start;
            doubt.aligned_received = segment.received;
        }
        if let Some(last) = output.messages.last() {
            doubt.asked = last.end;
        } else if let Some(last) = output.plain.last() {
            doubt.asked = last.end(input);
        }
    }

    /// Looks at where a request stands in its client's batches, and anchors on it where needed.
    #[inline(never)]
    pub(super) fn note_batch(
        &mut self,
        context: &Context<'_>,
        message: &Message,
        segment: Segment,
        report: &mut impl Report,
    ) {
        let received = segment.received;
        let new_batch = self
            .pending
            .as_slice()
            .last()
            .is_none_or(|last| received > last.received);
        let heard = std::mem::replace(&mut self.heard, message.last.time);
        if !new_batch {
            return;
        }
        let had_received = self.had_received(message.start, received);
        let overtakes = self.overtakes(received);
        self.try_batch(context, had_received, report);
        // Before the first message nobody knows how quiet it was.
        let known = heard > Timestamp::default();
        let quiet = known && message.first.time.is_past(heard, limits::QUIET_TIME);
        let unread = received < self.answered && !self.pushed;
        let overlaps = unread || self.has_without(Message::QUIET);
        let clear = self.unclear.get().is_none() && !self.barrier && self.expected().is_none();
        if clear && self.refutes(received, overlaps, report) {
            self.unclear.set(received);
            return;
        }
        if overtakes {
            self.trust = DISTRUST;
        }
        // What stands before it in its segment was sent with it, and is as open as itself.
        // One that goes on after an answer has come says nothing of what was answered before it.
        let at = (message.start, received);
        let aligned = self.doubt.as_ref();
        let aligned = aligned.map(|doubt| (doubt.aligned, doubt.aligned_received));
        let begins = aligned == Some(at) || message.start == segment.start && had_received;
        if self.unclear.get().is_some() {
            self.judge_batch(begins, had_received);
        }
        if self.barrier && self.unclear.get().is_none() && !overlaps {
            self.barrier = false;
            self.unclear.set(self.answered);
        }
        let since = self.unclear.get().unwrap_or(0);
        let waited = self.trust > 0 || quiet;
        let tries = self.is_untried() || !waited && self.may_try();
        let fits = begins && received > since && (waited || tries) && !overtakes;
        let anchors = fits && (self.unclear.get().is_some() || self.is_barred());
        if anchors {
            self.anchor(context, received, report);
            self.doubt.get_or_insert_default().believed = !quiet;
        }
        if tries {
            self.begin_trial(anchors);
        }
    }

    /// What a request that begins a batch, sent when so much was received, says of its client while the order is clear; `overlaps`
    /// says that others wait, or their answers are on their way to it. Whether it refutes that order: the client was believed to
    /// wait, and did not. So either it does not, or the pairs since the last gap are shifted.
    fn refutes(&mut self, received: u64, overlaps: bool, report: &mut impl Report) -> bool {
        if !overlaps {
            if received >= self.answered {
                self.trust_more();
            }
            return false;
        }
        let resynced = self.confidence == Confidence::Resynced;
        if resynced && self.trust < TOLD {
            report.hinges();
        }
        if self.is_barred() {
            return false;
        }
        let refuted = resynced && self.is_believed();
        self.trust = DISTRUST;
        refuted
    }

    /// Whether the server had received all requests before this offset when it sent what ends at `received`. If it had not, those
    /// of which nothing is known right before it may be of the same batch, and are answered first.
    fn had_received(&self, start: u64, received: u64) -> bool {
        let heard = self.doubt.as_ref().map(|doubt| doubt.heard);
        heard.is_some_and(|(end, had)| end == received && had >= start)
    }

    /// Whether the request before one whose client had received so much was not answered by then: the server had not received it
    /// when it sent that.
    fn overtakes(&self, received: u64) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| {
            let (end, had) = doubt.heard;
            end >= received && had > 0 && had < doubt.awaited
        })
    }

    /// Whether pairs are right only if the client waits for its answers.
    fn is_believed(&self) -> bool {
        self.trust > 0 || self.doubt.as_ref().is_some_and(|doubt| doubt.believed)
    }

    /// Whether requests were lost before one that waits. Only after a loss they can have been.
    pub(super) fn is_barred(&self) -> bool {
        let barred = |pending: &Pending| pending.flags & BARRIER != 0;
        self.confidence != Confidence::Exact && self.pending.as_slice().iter().any(barred)
    }

    /// While the order is unclear, looks at the batch that is over now that another begins: whether as many responses came
    /// as it had requests. `begins` says that no request of the other one is unknown, `settled` that the server had
    /// received all requests when it sent the last response. One whose beginning is not known speaks for its client where it
    /// is settled, but not against it.
    fn judge_batch(&mut self, begins: bool, settled: bool) {
        let doubt = self.doubt.get_or_insert_default();
        let answers = doubt.answers.replace(0);
        let open = std::mem::replace(&mut doubt.open, !begins);
        let Some(last) = self.pending.as_slice().last().copied() else {
            return;
        };
        let batch = self.pending.as_slice().iter().rev();
        let batch = batch.take_while(|pending| pending.received == last.received);
        let (mut asked, mut plain) = (0_u16, true);
        for pending in batch {
            asked = asked.saturating_add(1);
            plain &= pending.replies == 1 && pending.flags & (Message::QUIET | HAS_ID | OPEN) == 0;
        }
        match answers {
            Some(answers) if plain && answers == asked && (!open || settled) => self.trust_more(),
            Some(_) if plain && !open => self.trust = DISTRUST,
            _ => {}
        }
    }

    /// The offset at which the next response has to begin, after an anchor.
    #[inline]
    pub(super) fn expected(&self) -> Option<u64> {
        self.doubt.as_ref()?.expected
    }

    pub(super) fn expect(&mut self, offset: u64) {
        self.doubt.get_or_insert_default().expected = Some(offset);
    }

    pub(super) fn expect_any(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.expected = None;
        }
    }

    /// Nobody knows any longer how many responses came since the last batch began.
    pub(super) fn lose_count(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.answers = None;
        }
    }

    /// Everything before the request that comes now is answered, or will never be known.
    fn anchor(&mut self, context: &Context<'_>, received: u64, report: &mut impl Report) {
        self.give_up_waiting(context, report);
        self.unclear = Offset::NONE;
        self.lose_count();
        self.barrier = false;
        self.expect(received);
        self.lose_order(report);
    }

    /// Whether the server had received the oldest request, as far as that is known, when it sent what came last. Where
    /// order was found again that shows that it was found wrong.
    #[inline]
    pub(super) fn is_acknowledged(&self) -> bool {
        if self.confidence == Confidence::Exact {
            return true;
        }
        let (Some(doubt), Some(front)) = (&self.doubt, self.pending.as_slice().first()) else {
            return true;
        };
        let (_, had) = doubt.heard;
        // Of one that goes on a part has been received.
        let need = match front.flags & OPEN {
            0 => front.size,
            _ => 1,
        };
        had == 0 || doubt.due == 0 || had >= doubt.due + need
    }

    /// A request comes that begins at this offset: where none waits, it is the oldest.
    #[inline]
    pub(super) fn note_request(&mut self, start: u64) {
        if let Some(doubt) = self.doubt.as_mut().filter(|_| self.pending.is_empty()) {
            doubt.due = start;
        }
    }

    /// A response ends at this offset.
    #[inline(always)]
    pub(super) fn note_answered(&mut self, end: u64) {
        if end > self.answered {
            (self.answered, self.pushed) = (end, false);
        }
    }

    /// A request that waits for a response ends at this offset.
    #[inline]
    pub(super) fn note_awaited(&mut self, end: u64) {
        if let Some(doubt) = &mut self.doubt {
            doubt.awaited = end;
        }
    }

    /// Whether a response begins where it has to, if that is known; the next one may begin anywhere.
    #[inline]
    pub(super) fn is_due(&mut self, message: &Message) -> bool {
        let Some(expected) = self.expected() else {
            return true;
        };
        if message.start < expected {
            return false;
        }
        self.expect_any();
        if message.start > expected {
            self.unclear.set(expected);
        }
        message.start == expected
    }
}
