//! The straight way of plain messages: what the rules come to where nothing is special and nothing was missed.
//!
//! Whatever does not hold here is left to the rules themselves, with the whole message.

use super::{Context, Pairing, Pending, Segment};
use crate::exchange::{Confidence, Exchange, Report, Span, Tally};
use crate::flow::Direction;
use crate::limits;
use crate::protocol::{Input, Output, Plain};

impl Pairing {
    /// Takes a plain message of `input`.
    #[inline(always)]
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, inlined into its only caller"
    )]
    pub(super) fn plain(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        plain: &Plain,
        segment: Segment,
        input: &Input<'_>,
        output: &Output,
        report: &mut impl Report,
    ) {
        let done = match direction {
            Direction::ToServer => self.plain_request(context, plain, segment, input, output),
            Direction::ToClient => self.plain_response(context, plain, input, report),
        };
        if !done {
            self.not_so_plain(context, direction, plain, segment, input, output, report);
        }
    }

    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn not_so_plain(
        &mut self,
        context: &Context<'_>,
        direction: Direction,
        plain: &Plain,
        segment: Segment,
        input: &Input<'_>,
        output: &Output,
        report: &mut impl Report,
    ) {
        let message = plain.message(direction, input);
        match direction {
            Direction::ToServer => {
                self.request(context, &message, segment, input.bytes, output, report);
            }
            Direction::ToClient => self.response(context, &message, input.bytes, output, report),
        }
    }

    /// A request that goes on with its client's batch, or begins one when all others are answered.
    #[inline(always)]
    fn plain_request(
        &mut self,
        context: &Context<'_>,
        plain: &Plain,
        Segment { received, .. }: Segment,
        input: &Input<'_>,
        output: &Output,
    ) -> bool {
        if self.barrier || self.pending.len() >= limits::PENDING_REQUESTS {
            return false;
        }
        match self.pending.as_slice().last() {
            Some(last) if received <= last.received => {}
            None if self.is_clear() && received >= self.answered => {
                self.trust_more();
                self.note_request(input.offset + u64::from(plain.start));
            }
            _ => return false,
        }
        self.note_awaited(plain.end(input));
        self.heard = input.last.time;
        let (text, kept) = self.keep(context, plain.text(), input.bytes, output);
        self.pending.push(Pending {
            first: input.last,
            last: input.last,
            size: u64::from(plain.len),
            received,
            id: 0,
            text,
            text_len: plain.text_len,
            kept,
            command: plain.command,
            replies: 1,
            flags: 0,
        });
        true
    }

    /// A response to a request that awaits just one.
    #[inline(always)]
    fn plain_response(
        &mut self,
        context: &Context<'_>,
        plain: &Plain,
        input: &Input<'_>,
        report: &mut impl Report,
    ) -> bool {
        let Some(front) = self.pending.as_slice().first() else {
            return false;
        };
        let (asked, answered) = (front.last.time, input.last.time);
        let straight = self.is_clear() && self.is_acknowledged();
        if !straight || front.flags != 0 || front.replies != 1 || answered < asked {
            return false;
        }
        let tally = Tally {
            latency: answered.since(asked),
            request_bytes: front.size,
            response_bytes: u64::from(plain.len),
            hits: u32::from(plain.hits),
            misses: u32::from(plain.misses),
            command: front.command,
            error: false,
            blocking: false,
            resynced: self.confidence != Confidence::Exact,
        };
        report.answered(context.service, &tally);
        if report.wants_exchanges() {
            self.tell_plain(context, &tally, input, report);
        }
        self.heard = answered;
        self.last_response = self.last_response.max(answered);
        self.note_answered(plain.end(input));
        self.remove(0);
        true
    }

    /// Tells whoever wants whole exchanges of a plain response to the oldest request.
    #[inline(never)]
    fn tell_plain(
        &self,
        context: &Context<'_>,
        tally: &Tally,
        input: &Input<'_>,
        report: &mut impl Report,
    ) {
        let Some(front) = self.pending.as_slice().first() else {
            return;
        };
        let answered = input.last.time;
        let wait = self.last_response.min(answered).since(front.last.time);
        report.exchange(
            context.service,
            &Exchange {
                endpoints: &context.parties.endpoints(),
                protocol: context.protocol,
                command: tally.command,
                text: self.text(front),
                text_len: front.text_len,
                request: front.span(),
                response: Some(Span {
                    first: input.last,
                    last: input.last,
                    size: tally.response_bytes,
                }),
                latency: Some(tally.latency),
                wait: wait.min(tally.latency),
                status: 0,
                status_text: &[],
                hits: tally.hits,
                misses: tally.misses,
                error: false,
                blocking: false,
                early: false,
                cut: false,
                confidence: self.confidence,
            },
        );
    }
}
