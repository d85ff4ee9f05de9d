//! The capture's own account: what was seen, what was not, and where it went.

use serde::Serialize;

/// Counts of frames and conversations. A number of exchanges without it says little.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
        self.frames += frames;
        self.captured_bytes += captured_bytes;
        self.wire_bytes += wire_bytes;
        self.dropped += dropped;
        self.matched += matched;
        self.other += not_ip;
        self.unknown_link += unknown_link;
        self.truncated += truncated;
        self.malformed_frames += malformed_frames;
        self.fragments += fragments;
        self.fragments_lost += fragments_lost;
        self.duplicates += duplicates;
        self.translated += translated;
        self.retransmissions += retransmissions;
        self.keepalives += keepalives;
        self.gaps += gaps;
        self.gap_bytes += gap_bytes;
        self.conversations += conversations;
        self.joined += joined;
        self.evicted += evicted;
        self.opaque += opaque;
        self.unrecognised += unrecognised;
        self.malformed += malformed;
        self.in_flight += in_flight;
        self.overflowed += overflowed;
    }
}
