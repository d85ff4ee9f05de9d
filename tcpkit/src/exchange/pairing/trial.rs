//! The first batches of a conversation that was joined in the middle, or after a loss, of a client of which too little is known.
//!
//! A request is taken for the first of a batch, so that a conversation of which little was seen is paired too. It may be none:
//! others of its batch may have been sent before, or its client may not wait. So pairs are kept, and told once
//! [`TRIAL_BATCHES`] of its batches got just as many responses as they have requests, or nothing more comes; otherwise they are
//! ambiguous, and another request is tried.

use super::{
    ANY, Confidence, Context, DISTRUST, LONG_AGO, Offset, OpenResponse, Pairing, Report, UNKNOWN,
};
use crate::limits::{QUIET_TIME, TRIAL_BATCHES, TRIAL_PAIRS};
use crate::source::Timestamp;

/// A batch that is under way.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pairs: Vec<OpenResponse>,
    /// A request of it came.
    begun: bool,
    /// It got a response that none of its requests can have.
    spoilt: bool,
    /// Pairs were kept since somebody last asked what they take.
    grew: bool,
    /// Batches that got just as many responses as they have requests.
    passed: u8,
}

impl Trial {
    fn bytes(&self) -> usize {
        let texts = |open: &OpenResponse| open.text.capacity() + open.status_text.capacity();
        self.pairs
            .iter()
            .map(|open| size_of::<OpenResponse>() + texts(open))
            .sum()
    }
}

impl Pairing {
    /// The conversation was joined: what comes now is its first batch.
    pub fn try_first(&mut self) {
        self.heard = LONG_AGO;
        let doubt = self.doubt.get_or_insert_default();
        doubt.asked = ANY;
        doubt.trial = Some(Box::default());
    }

    fn trial(&self) -> Option<&Trial> {
        self.doubt.as_ref()?.trial.as_deref()
    }

    fn trial_mut(&mut self) -> Option<&mut Trial> {
        self.doubt.as_mut()?.trial.as_deref_mut()
    }

    /// Whether the first request has not come.
    pub(super) fn is_untried(&self) -> bool {
        self.trial().is_some_and(|trial| !trial.begun)
    }

    /// Whether a pair of this confidence is kept: of the first batch, and not paired by its identifier.
    pub(super) fn is_on_trial(&self, confidence: Confidence) -> bool {
        confidence != Confidence::Exact && self.trial().is_some_and(|trial| trial.begun)
    }

    /// Whether the first batch has pairs that nobody was told of.
    pub fn keeps_pairs(&self) -> bool {
        self.trial().is_some_and(|trial| !trial.pairs.is_empty())
    }

    /// Whether those take more memory than when it was last asked how much.
    pub(super) fn trial_grew(&self) -> bool {
        self.trial().is_some_and(|trial| trial.grew)
    }

    /// The memory that they take.
    pub(super) fn trial_bytes(&mut self) -> usize {
        self.trial_mut().map_or(0, |trial| {
            trial.grew = false;
            trial.bytes()
        })
    }

    /// A request begins a batch, so that the one before is over, if there was one. `had_received` says whether the server had
    /// received all before it when it sent what it acknowledges.
    #[cold]
    pub(super) fn try_batch(
        &mut self,
        context: &Context<'_>,
        had_received: bool,
        report: &mut impl Report,
    ) {
        let over = self.pending.is_empty();
        let Some(trial) = self.trial_mut().filter(|trial| trial.begun) else {
            return;
        };
        let right = !trial.spoilt && over && had_received;
        trial.passed += u8::from(right);
        if !right || trial.passed >= TRIAL_BATCHES || trial.pairs.len() > TRIAL_PAIRS / 2 {
            self.end_trial(context, right, report);
        }
        if !over {
            self.trust = DISTRUST;
        }
    }

    /// A request that is tried was anchored, or it will not be.
    #[inline]
    pub(super) fn begin_trial(&mut self, anchored: bool) {
        let Some(doubt) = &mut self.doubt else {
            return;
        };
        match anchored {
            true => doubt.trial.get_or_insert_default().begun = true,
            false => doubt.trial = None,
        }
    }

    /// Whether a request that begins a segment may be tried as the first of a batch: nothing speaks for its client but too
    /// little, and nothing against it.
    pub(super) fn may_try(&self) -> bool {
        self.trial().is_none() && (UNKNOWN..=0).contains(&self.trust)
    }

    /// A response came that is nobody's.
    #[cold]
    pub(super) fn spoil_trial(&mut self) {
        if let Some(trial) = self.trial_mut().filter(|trial| trial.begun) {
            trial.spoilt = true;
        }
    }

    /// Keeps a pair of the first batch.
    #[cold]
    pub(super) fn keep_pair(
        &mut self,
        context: &Context<'_>,
        open: OpenResponse,
        report: &mut impl Report,
    ) {
        let Some(trial) = self.trial_mut() else {
            return;
        };
        trial.pairs.push(open);
        trial.grew = true;
        if trial.pairs.len() > TRIAL_PAIRS {
            self.end_trial(context, false, report);
        }
    }

    /// Nothing came for a while, or nothing will: the first batch is over.
    #[cold]
    pub(super) fn rest_trial(
        &mut self,
        context: &Context<'_>,
        now: Option<Timestamp>,
        report: &mut impl Report,
    ) {
        let Some(trial) = self.trial() else {
            return;
        };
        let right = !trial.spoilt;
        let quiet = now.is_none_or(|now| {
            self.pending.is_empty() && now.is_past(self.last_response, QUIET_TIME)
        });
        if quiet {
            self.end_trial(context, right, report);
        }
    }

    /// Tells the pairs of the first batch, or that nobody knows whether they are right.
    #[cold]
    pub(super) fn end_trial(
        &mut self,
        context: &Context<'_>,
        right: bool,
        report: &mut impl Report,
    ) {
        let trial = self.doubt.as_mut().and_then(|doubt| doubt.trial.take());
        let Some(trial) = trial else {
            return;
        };
        for open in &trial.pairs {
            match right {
                true => open.tell(context, report),
                false => self.tell_ambiguous(context, &open.pending, &open.text, report),
            }
        }
        let begun = |open: &mut Box<OpenResponse>| open.times.confidence != Confidence::Exact;
        if !right && let Some(open) = self.open.take_if(begun) {
            self.tell_ambiguous(context, &open.pending, &open.text, report);
        }
        if !right && self.unclear == Offset::NONE {
            self.expect_any();
            self.unclear.set(self.answered);
        }
    }
}

impl OpenResponse {
    /// Reports it as far as it was seen.
    pub(super) fn tell(&self, context: &Context<'_>, report: &mut impl Report) {
        let (times, pending, head) = (self.times, &self.pending, &self.head);
        report.answered(context.service, &times.tally(pending, head));
        if report.wants_exchanges() {
            let (text, status_text) = (&self.text, &self.status_text);
            times.tell(context, pending, head, text, status_text, report);
        }
    }
}
