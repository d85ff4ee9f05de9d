//! The capture's own account: what was seen, what was not, and where it went.

use serde::{Deserialize, Serialize};

/// Counts of frames and conversations. A number of exchanges without it says little.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Frames read from the source.
    pub frames: u64,
    /// Bytes of them that were captured.
    pub captured_bytes: u64,
    /// Bytes of them on the wire.
    pub wire_bytes: u64,
    /// Frames that the capture itself says it dropped.
    pub dropped: u64,
    /// Frames of monitored conversations.
    pub matched: u64,
    /// Frames that hold neither TCP nor UDP over IP.
    pub other: u64,
    /// Frames of a link type that is not supported.
    pub unknown_link: u64,
    /// Frames cut by a snap length before their transport header ended.
    pub truncated: u64,
    /// Frames whose headers contradict each other.
    pub malformed_frames: u64,
    /// IP fragments that waited for others.
    pub fragments: u64,
    /// IP datagrams that never became whole.
    pub fragments_lost: u64,
    /// Copies of a frame from another interface.
    pub duplicates: u64,
    /// SYNs and datagrams that were seen with other addresses before: copies that were translated (NAT).
    pub translated: u64,
    /// TCP segments that brought nothing new.
    pub retransmissions: u64,
    /// Probes that a connection is alive.
    pub keepalives: u64,
    /// Places where bytes were never seen.
    pub gaps: u64,
    /// Bytes that were never seen.
    pub gap_bytes: u64,
    /// Conversations that were followed.
    pub conversations: u64,
    /// Conversations that were joined in the middle.
    pub joined: u64,
    /// Conversations that were forgotten to make room.
    pub evicted: u64,
    /// Conversations that carry no messages that can be read: TLS, HTTP/2, tunnels.
    pub opaque: u64,
    /// Conversations whose protocol was not recognised.
    pub unrecognised: u64,
    /// Places where bytes broke the protocol's grammar.
    pub malformed: u64,
    /// Requests that were waiting when the capture ended, not slow enough to report.
    pub in_flight: u64,
    /// Requests that were forgotten since too many waited.
    pub overflowed: u64,
}

impl Account {
    /// Adds what another worker counted. Frames are counted by one worker only.
    pub fn merge(&mut self, other: &Self) {
        self.each(other, |count, more| *count += more);
    }

    /// What was counted since `before`, which is an earlier state of the same account.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.each(before, |count, before| {
            *count = count.saturating_sub(before)
        });
        since
    }

    fn each(&mut self, other: &Self, with: impl Fn(&mut u64, u64)) {
        let Self {
            frames,
            captured_bytes,
            wire_bytes,
            dropped,
            matched,
            other: not_ip,
            unknown_link,
            truncated,
            malformed_frames,
            fragments,
            fragments_lost,
            duplicates,
            translated,
            retransmissions,
            keepalives,
            gaps,
            gap_bytes,
            conversations,
            joined,
            evicted,
            opaque,
            unrecognised,
            malformed,
            in_flight,
            overflowed,
        } = other;
        with(&mut self.frames, *frames);
        with(&mut self.captured_bytes, *captured_bytes);
        with(&mut self.wire_bytes, *wire_bytes);
        with(&mut self.dropped, *dropped);
        with(&mut self.matched, *matched);
        with(&mut self.other, *not_ip);
        with(&mut self.unknown_link, *unknown_link);
        with(&mut self.truncated, *truncated);
        with(&mut self.malformed_frames, *malformed_frames);
        with(&mut self.fragments, *fragments);
        with(&mut self.fragments_lost, *fragments_lost);
        with(&mut self.duplicates, *duplicates);
        with(&mut self.translated, *translated);
        with(&mut self.retransmissions, *retransmissions);
        with(&mut self.keepalives, *keepalives);
        with(&mut self.gaps, *gaps);
        with(&mut self.gap_bytes, *gap_bytes);
        with(&mut self.conversations, *conversations);
        with(&mut self.joined, *joined);
        with(&mut self.evicted, *evicted);
        with(&mut self.opaque, *opaque);
        with(&mut self.unrecognised, *unrecognised);
        with(&mut self.malformed, *malformed);
        with(&mut self.in_flight, *in_flight);
        with(&mut self.overflowed, *overflowed);
    }
}
