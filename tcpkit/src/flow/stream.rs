//! Both directions of a TCP conversation, in an order in which they can have happened.
//!
//! Reads TCP segments in the order of capture, makes [`Piece`]s: bytes in order with a note of
//! what their sender had received, gaps where bytes were never seen, ends (RFC 9293).
//!
//! Two rules decide:
//!
//! * Bytes come out by sequence number; what was seen before is dropped.
//! * Bytes come out only after everything that their sender had acknowledged by then. So a
//!   response never overtakes its request, however the capture shuffled frames, and a
//!   response to a request that was never seen shows the loss before it is paired with another.
//!
//! A segment that fits both rules passes through without being copied. Others are held until the
//! reordering window has passed ([`crate::limits::REORDER_FRAMES`], [`crate::limits::REORDER_TIME`]); then
//! what is missing is told as a gap.

use std::collections::VecDeque;

use super::Direction;
use crate::limits;
use crate::source::Timestamp;
use crate::wire::{Packet, flag};

/// Offset of the first byte of every stream: room below it for bytes older than the start.
pub const ORIGIN: u64 = 1 << 40;

/// A sequence number so far behind the next one is no retransmission but a new beginning:
/// twice the largest window that a receiver can offer is 2 GiB, real ones stay under this.
const OLD: u32 = 64 << 20;

/// A larger window than receivers offer: Linux gives a socket 6 MiB unless told otherwise.
const WINDOW: u32 = 8 << 20;

/// Bytes of one direction in order, or what stands in their place.
#[derive(Debug)]
pub enum Piece<'a> {
    /// The next bytes.
    Bytes(Chunk<'a>),
    /// Bytes that were never seen.
    Gap(Gap),
    /// The direction has ended at this offset: its FIN was reached, or the conversation was reset.
    End(Direction, u64),
}

/// The next bytes of one direction.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// Which way.
    pub direction: Direction,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Offset of the first of them.
    pub offset: u64,
    /// When they were seen, and in which frame.
    pub time: Timestamp,
    /// Number of the frame.
    pub frame: u64,
    /// Offset in the other direction up to which their sender had received.
    pub received: u64,
}

/// Bytes that were never seen, or cut off by a snap length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which way.
    pub direction: Direction,
    /// Offset of the first missing byte.
    pub offset: u64,
    /// How many; 0 where the sequence numbers began anew and nobody can say.
    pub bytes: u64,
    /// When it was found out.
    pub time: Timestamp,
    /// The frame that showed it.
    pub frame: u64,
}

impl<'a> Chunk<'a> {
    /// The captured bytes of a segment that fitted.
    #[inline(always)]
    pub fn of(direction: Direction, packet: &Packet<'a>, place: InOrder) -> Self {
        Self {
            direction,
            bytes: packet.payload,
            offset: place.offset,
            time: packet.time,
            frame: packet.frame,
            received: place.received,
        }
    }
}

impl Gap {
    /// What a snap length cut off a segment that fitted.
    #[inline(always)]
    pub fn after(direction: Direction, packet: &Packet<'_>, place: InOrder) -> Option<Self> {
        let captured = packet.payload.len() as u64;
        let bytes = u64::from(packet.payload_len) - captured;
        (bytes > 0).then(|| Self {
            direction,
            offset: place.offset + captured,
            bytes,
            time: packet.time,
            frame: packet.frame,
        })
    }
}

/// What a segment turned out to be, for the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// New bytes, or none at all.
    New,
    /// New bytes that came after later ones of their direction.
    OutOfOrder,
    /// Bytes that were seen before, from the same interface.
    Retransmission,
    /// A probe that a connection is alive (RFC 9293, section 3.8.4), or its like.
    KeepAlive,
    /// The same frame seen on another interface.
    Copy,
}

/// One direction's state.
#[derive(Debug, Default)]
struct Way {
    /// Stream offset of `next`.
    offset: u64,
    /// When bytes were last seen that were no copy; of a direction that ends unbegun, when its FIN was.
    newest: Timestamp,
    /// Sequence number of the next byte.
    next: u32,
    /// Highest sequence number of this direction that the other side acknowledged.
    acked: u32,
    /// Sequence number after the last byte, once a FIN told it.
    fin: u32,
    /// The interface on which those were.
    interface: u32,
    /// Initial sequence number, once a SYN told it.
    initial: u32,
    flags: u8,
}

const STARTED: u8 = 1;
const SEEN: u8 = 2;
const ACKED: u8 = 4;
const FIN: u8 = 8;
const ENDED: u8 = 16;
const SYN: u8 = 32;
/// The other side's reset ended it.
const CUT_OFF: u8 = 64;
/// It was resumed where it was at rest.
const RESUMED: u8 = 128;

impl Way {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn start(&mut self, next: u32) {
        self.next = next;
        self.offset = ORIGIN;
        self.flags |= STARTED;
    }

    fn advance(&mut self, bytes: u32) {
        self.next = self.next.wrapping_add(bytes);
        self.offset += u64::from(bytes);
    }

    fn note_ack(&mut self, ack: u32) {
        if !self.has(ACKED) || ahead(ack, self.acked) {
            self.acked = ack;
            self.flags |= ACKED;
        }
    }
}

/// A segment that waits.
#[derive(Debug)]
struct Held {
    seq: u32,
    /// Length on the wire; `data` is shorter where a snap length cut it.
    len: u32,
    ack: Option<u32>,
    time: Timestamp,
    frame: u64,
    /// The conversation's frame count when it came.
    arrival: u32,
    data: Box<[u8]>,
}

impl Held {
    fn cost(&self) -> usize {
        self.data.len() + limits::HELD_OVERHEAD
    }

    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }

    fn since(&self) -> Since {
        Since {
            time: self.time,
            frame: self.frame,
            arrival: self.arrival,
        }
    }
}

/// Since when a segment waits.
#[derive(Clone, Copy, Debug)]
struct Since {
    time: Timestamp,
    frame: u64,
    arrival: u32,
}

#[derive(Debug, Default)]
struct Waiting {
    held: [VecDeque<Held>; 2],
    /// What they cost, each with its overhead.
    bytes: [usize; 2],
    /// The one that has waited longest; looked for anew when it has come out.
    oldest: Option<Since>,
    /// The piece that was handed out last, kept alive for the borrower.
    current: Option<Held>,
    reset: Option<Reset>,
    aside: Aside,
}

/// An RST that ends the conversation.
#[derive(Clone, Copy, Debug)]
struct Reset {
    /// Its sender's.
    direction: Direction,
    seq: u32,
}

/// Segments from outside the windows, oldest first: of another connection between the same ports, whose SYN they may have
/// overtaken.
#[derive(Debug, Default)]
struct Aside {
    strangers: Vec<Stranger>,
    /// A segment of this one has come since.
    refuted: bool,
}

/// A segment of another connection.
#[derive(Debug)]
pub struct Stranger {
    /// Which way it went.
    pub direction: Direction,
    /// All of it but its bytes.
    head: Packet<'static>,
    data: Box<[u8]>,
    /// The conversation's frame count when it came.
    arrival: u32,
}

impl Stranger {
    /// The segment.
    pub fn packet(&self) -> Packet<'_> {
        Packet {
            payload: &self.data,
            ..self.head
        }
    }

    fn cost(&self) -> usize {
        self.data.len() + limits::HELD_OVERHEAD
    }
}

impl Waiting {
    /// Whether no segment of this connection waits.
    fn is_empty(&self) -> bool {
        self.held.iter().all(VecDeque::is_empty)
    }

    fn is_full(&self) -> bool {
        self.bytes
            .iter()
            .any(|&bytes| bytes > limits::HELD_BYTES_PER_STREAM)
            || self
                .held
                .iter()
                .any(|held| held.len() > limits::HELD_SEGMENTS)
    }

    /// Puts a segment at its place among those of its direction.
    fn insert(&mut self, d: usize, place: usize, held: Held) {
        self.bytes[d] += held.cost();
        self.held[d].insert(place, held);
    }

    /// Takes the first segment of a direction out.
    fn pop(&mut self, d: usize) -> Option<Held> {
        let held = self.held[d].pop_front()?;
        self.bytes[d] -= held.cost();
        if self.oldest.is_some_and(|oldest| oldest.frame == held.frame) {
            self.oldest = None;
        }
        Some(held)
    }

    /// Since when the one waits that has waited longest.
    fn since(&mut self) -> Option<Since> {
        if self.oldest.is_none() {
            let oldest = self.held.iter().flatten().min_by_key(|held| held.frame);
            self.oldest = oldest.map(Held::since);
        }
        self.oldest
    }
}

/// Both directions of one TCP conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    ways: [Way; 2],
    waiting: Option<Box<Waiting>>,
    /// Segments seen so far.
    frames: u32,
    /// Both ends were seen to begin.
    whole: bool,
    /// One end was not seen at all for as long as the reordering window.
    one_sided: bool,
}

/// Whether `a` comes after `b` in sequence space (RFC 9293, section 3.4).
#[inline]
fn ahead(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// Where the bytes of a segment that fits belong.
#[derive(Clone, Copy, Debug)]
pub struct InOrder {
    /// Offset of the first of them.
    pub offset: u64,
    /// Offset in the other direction up to which their sender had received.
    pub received: u64,
}

/// What of a segment decides whether it fits.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// As [`Packet::seq`].
    pub seq: u32,
    /// As [`Packet::ack`].
    pub ack: u32,
    /// As [`Packet::flags`].
    pub flags: u8,
    /// As [`Packet::payload_len`].
    pub payload_len: u32,
    /// As [`Packet::time`].
    pub time: Timestamp,
    /// As [`Packet::interface`].
    pub interface: u32,
}

impl From<&Packet<'_>> for Fields {
    #[inline(always)]
    fn from(packet: &Packet<'_>) -> Self {
        Self {
            seq: packet.seq,
            ack: packet.ack,
            flags: packet.flags,
            payload_len: packet.payload_len,
            time: packet.time,
            interface: packet.interface,
        }
    }
}

impl Conversation {
    /// A conversation that goes on from these sequence numbers of [`Direction::ToServer`] and [`Direction::ToClient`]:
    /// all bytes before them were seen, and those to the server acknowledged. What comes next acknowledges the others.
    pub fn resumed(next: [u32; 2]) -> Self {
        let way = |next| {
            let mut way = Way::default();
            way.start(next);
            way.flags |= SEEN | RESUMED;
            way.note_ack(next);
            way
        };
        Self {
            ways: next.map(way),
            ..Self::default()
        }
    }

    /// Whether whatever comes from here on is followed as by one that is [`Conversation::resumed`] here, but for SYNs
    /// and for what other interfaces show.
    pub fn rests_at(&self, next: [u32; 2]) -> bool {
        let [to_server, to_client] = &self.ways;
        let open = |way: &Way| way.flags & (STARTED | SEEN | FIN | ENDED) == STARTED | SEEN;
        self.waiting.is_none()
            && open(to_server)
            && open(to_client)
            && [to_server.next, to_client.next] == next
            && to_server.has(ACKED)
            && to_server.acked == to_server.next
            && !(to_client.has(ACKED) && ahead(to_client.acked, to_client.next))
    }

    /// It goes on where `before` was, which may have seen its SYNs.
    pub fn follows(&mut self, before: &Self) {
        for (way, begun) in self.ways.iter_mut().zip(&before.ways) {
            way.initial = begun.initial;
            way.flags |= begun.flags & SYN;
        }
        self.whole = before.whole;
    }

    /// The sequence number of a direction's SYN, if it was seen.
    pub fn initial(&self, direction: Direction) -> Option<u32> {
        let way = &self.ways[direction.index()];
        way.has(SYN).then_some(way.initial)
    }

    /// Whether it was resumed, and how it began is not known yet.
    pub fn is_resumed(&self) -> bool {
        self.ways
            .iter()
            .all(|way| way.has(RESUMED) && !way.has(SYN))
    }

    /// Whether the segment is a SYN that begins a new conversation on the same addresses: its
    /// initial sequence number is not the one that began this one.
    pub fn is_replaced_by(&self, direction: Direction, packet: &Packet<'_>) -> bool {
        let way = &self.ways[direction.index()];
        packet.flags & flag::SYN != 0
            && way.has(SEEN)
            && if way.has(SYN) {
                way.initial != packet.seq
            } else {
                way.has(STARTED) && packet.seq.wrapping_add(1) != way.next
            }
    }

    /// Whether the segment brings bytes of another conversation on the same addresses, whose beginning was not seen: this one
    /// has ended, and its sender sends nothing new after its end. After the other side's reset some may be on its way.
    pub fn is_outlived_by(&self, direction: Direction, packet: &Packet<'_>) -> bool {
        if !self.is_closed()
            || packet.payload_len == 0
            || packet.flags & (flag::SYN | flag::RST) != 0
        {
            return false;
        }
        let way = &self.ways[direction.index()];
        let end = packet.seq.wrapping_add(packet.payload_len);
        let new = end.wrapping_sub(way.fin) as i32;
        new > 0 && !way.has(CUT_OFF) || new.unsigned_abs() > WINDOW
    }

    /// Whether the segment is outside the window of its direction, or acknowledges what is outside the other one's: no receiver
    /// takes it (RFC 9293, section 3.10.7.4). Another connection's may be: its SYN replaces this one.
    fn is_strange(&self, direction: Direction, packet: &Packet<'_>) -> bool {
        packet.flags & (flag::SYN | flag::RST) == 0 && self.far(direction, packet).contains(&true)
    }

    /// Whether a segment is outside the window of its direction, and whether it acknowledges what is outside the other one's.
    fn far(&self, direction: Direction, packet: &Packet<'_>) -> [bool; 2] {
        let far = |way: Direction, seq: u32| {
            let way = &self.ways[way.index()];
            way.has(STARTED) && (seq.wrapping_sub(way.next) as i32).unsigned_abs() > WINDOW
        };
        let acknowledges = packet.flags & flag::ACK != 0;
        [
            far(direction, packet.seq),
            acknowledges && far(direction.reverse(), packet.ack),
        ]
    }

    /// Takes a segment for another connection's: keeps it for as long as its SYN may come.
    #[cold]
    fn set_aside(&mut self, direction: Direction, packet: &Packet<'_>) {
        self.frames = self.frames.wrapping_add(1);
        let waiting = self.waiting.get_or_insert_default();
        if waiting.aside.strangers.is_empty() {
            waiting.aside.refuted = false;
        }
        waiting.aside.strangers.push(Stranger {
            direction,
            head: Packet {
                payload: &[],
                ..*packet
            },
            data: packet.payload.into(),
            arrival: self.frames,
        });
    }

    /// Gives back what was set aside: a SYN came.
    pub fn strangers(&mut self) -> Vec<Stranger> {
        self.waiting
            .as_deref_mut()
            .map(|waiting| std::mem::take(&mut waiting.aside).strangers)
            .unwrap_or_default()
    }

    /// Takes in a segment as [`Conversation::push`] does, or sets it aside where it is another connection's.
    pub fn push_or_set_aside(&mut self, direction: Direction, packet: &Packet<'_>) -> Seen {
        if self.is_strange(direction, packet) {
            self.set_aside(direction, packet);
            return Seen::New;
        }
        self.push(direction, packet)
    }

    /// Whether something was set aside.
    pub fn has_strangers(&self) -> bool {
        let waiting = self.waiting.as_deref();
        waiting.is_some_and(|waiting| !waiting.aside.strangers.is_empty())
    }

    /// What was set aside, where no SYN has come for it in time and it is another connection's all the same: both of its ends
    /// speak, outside of both windows, and nobody in them.
    #[inline]
    pub fn successor(&mut self, now: Timestamp, flush: bool) -> Option<Vec<Stranger>> {
        if !self.has_strangers() {
            return None;
        }
        self.settle_strangers(now, flush)
    }

    /// As [`Conversation::successor`]. What is outside of one window alone is this connection's, of which much was not seen, unless
    /// that went on meanwhile. The rest is left, as by its receiver.
    #[cold]
    fn settle_strangers(&mut self, now: Timestamp, flush: bool) -> Option<Vec<Stranger>> {
        let waiting = self.waiting.as_deref_mut()?;
        let oldest = waiting.aside.strangers.first()?;
        let over = flush
            || self.frames.wrapping_sub(oldest.arrival) >= limits::REORDER_FRAMES
            || now.is_past(oldest.head.time, limits::REORDER_TIME);
        if !over {
            return None;
        }
        let aside = std::mem::take(&mut waiting.aside);
        if aside.refuted {
            return None;
        }
        let foreign = |one: &Stranger| self.far(one.direction, &one.head) == [true; 2];
        let (others, own): (Vec<_>, Vec<_>) = aside.strangers.into_iter().partition(foreign);
        let speaks = |way: Direction| others.iter().any(|one| one.direction == way);
        if speaks(Direction::ToServer) && speaks(Direction::ToClient) {
            return Some(others);
        }
        let frames = self.frames;
        for stranger in own {
            self.frames = stranger.arrival.wrapping_sub(1);
            self.push(stranger.direction, &stranger.packet());
        }
        self.frames = frames;
        None
    }

    /// Whether both directions were seen from their SYN on.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether both directions have ended.
    pub fn is_closed(&self) -> bool {
        self.ways.iter().all(|way| way.has(ENDED))
    }

    /// Whether something is held back: segments, or an end.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some() || self.ways.iter().any(Way::ends_unbegun)
    }

    /// Bytes held back, with what holding them costs.
    pub fn held_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| {
            let aside: usize = waiting.aside.strangers.iter().map(Stranger::cost).sum();
            waiting.bytes[0] + waiting.bytes[1] + aside
        })
    }

    /// Where a direction stands: the offset of its next byte.
    pub fn offset(&self, direction: Direction) -> u64 {
        self.ways[direction.index()].offset
    }

    /// Takes in a segment that fits: it comes next in its direction, acknowledges only what was seen, and
    /// changes nothing else. Its bytes can be used where they are, and no piece waits behind it. `None`
    /// for every other segment, of which nothing is taken.
    #[inline(always)]
    pub fn pass(&mut self, direction: Direction, packet: impl Into<Fields>) -> Option<InOrder> {
        let packet = packet.into();
        let (there, back) = there_and_back(&mut self.ways, direction);
        let plain = packet.flags & (flag::SYN | flag::FIN | flag::RST | flag::ACK) == flag::ACK;
        let behind = back.next.wrapping_sub(packet.ack);
        if !plain
            || packet.seq != there.next
            || (behind as i32) < 0
            || there.flags & (STARTED | FIN) != STARTED
            || back.flags & STARTED == 0
            || back.flags & (FIN | ENDED) == FIN
            || self.waiting.is_some()
        {
            return None;
        }
        self.frames = self.frames.wrapping_add(1);
        if ahead(packet.ack, back.acked) || !back.has(ACKED) {
            back.acked = packet.ack;
            back.flags |= ACKED;
        }
        there.flags |= SEEN;
        let offset = there.offset;
        if packet.payload_len > 0 {
            there.interface = packet.interface;
            there.newest = packet.time;
            there.advance(packet.payload_len);
        }
        Some(InOrder {
            offset,
            received: back.offset - u64::from(behind),
        })
    }

    /// Takes in a segment that [`Conversation::pass`] did not take. After it, [`Conversation::next`] is
    /// asked until it has nothing more.
    #[cold]
    #[inline(never)]
    pub fn push(&mut self, direction: Direction, packet: &Packet<'_>) -> Seen {
        self.frames = self.frames.wrapping_add(1);
        if let Some(waiting) = self.waiting.as_deref_mut() {
            waiting.aside.refuted = true;
        }
        let d = direction.index();
        let ack = (packet.flags & flag::ACK != 0).then_some(packet.ack);
        let mut seq = packet.seq;
        if packet.flags & flag::SYN != 0 {
            let copied = self.begin(direction, packet);
            seq = seq.wrapping_add(1);
            if packet.payload_len == 0 && packet.flags & flag::FIN == 0 {
                return copied;
            }
        }
        self.ways[d].flags |= SEEN;
        if packet.flags & flag::RST != 0 {
            if self.ways[d].may_reset(packet.seq) {
                let reset = Reset {
                    direction,
                    seq: packet.seq,
                };
                self.waiting
                    .get_or_insert_default()
                    .reset
                    .get_or_insert(reset);
            }
            return Seen::New;
        }
        if let Some(ack) = ack {
            self.ways[1 - d].note_ack(ack);
        }
        let len = packet.payload_len;
        let end = seq.wrapping_add(len);
        if packet.flags & flag::FIN != 0 && !self.ways[d].has(FIN) {
            self.ways[d].fin = end;
            self.ways[d].flags |= FIN;
            if self.ways[d].ends_unbegun() {
                self.ways[d].newest = packet.time;
            }
        }
        let way = &mut self.ways[d];
        if len == 0 || way.has(ENDED) {
            return Seen::New;
        }
        let skip = if way.has(STARTED) && ahead(way.next, seq) {
            way.next.wrapping_sub(seq)
        } else {
            0
        };
        if skip >= len {
            if skip - len > OLD {
                return self.hold(direction, packet, seq, ack);
            }
            return way.seen_before(packet, skip, len);
        }
        self.hold(direction, packet, seq, ack)
    }

    /// A SYN: where this direction begins, and with an acknowledgement where the other one does.
    fn begin(&mut self, direction: Direction, packet: &Packet<'_>) -> Seen {
        let d = direction.index();
        let again = self.ways[d].has(SYN);
        let way = &mut self.ways[d];
        if !way.has(STARTED) {
            way.start(packet.seq.wrapping_add(1));
        }
        let copied = again
            && packet.interface != way.interface
            && !packet.time.is_past(way.newest, limits::COPY_TIME);
        if !again {
            way.initial = packet.seq;
        }
        if !copied {
            way.interface = packet.interface;
            way.newest = packet.time;
        }
        way.flags |= SYN | SEEN;
        if packet.flags & flag::ACK != 0 && !self.ways[1 - d].has(STARTED) {
            self.ways[1 - d].start(packet.ack);
            self.ways[1 - d].flags |= SYN;
            self.ways[1 - d].initial = packet.ack.wrapping_sub(1);
        }
        self.whole = self.ways.iter().all(|way| way.has(SYN));
        match (again, copied) {
            (false, _) => Seen::New,
            (true, true) => Seen::Copy,
            (true, false) => Seen::Retransmission,
        }
    }

    /// Keeps a copy of what is new in the segment, in pieces that do not overlap what is held.
    fn hold(
        &mut self,
        direction: Direction,
        packet: &Packet<'_>,
        seq: u32,
        ack: Option<u32>,
    ) -> Seen {
        let d = direction.index();
        let way = &mut self.ways[d];
        let waiting = self.waiting.get_or_insert_default();
        let mut fresh = 0;
        let mut from = if way.has(STARTED)
            && ahead(way.next, seq)
            && way.next.wrapping_sub(seq) < packet.payload_len
        {
            way.next
        } else {
            seq
        };
        let end = seq.wrapping_add(packet.payload_len);
        while ahead(end, from) {
            let queue = &waiting.held[d];
            // The first held piece that ends after `from`.
            let place = queue.partition_point(|held| !ahead(held.end(), from));
            let (until, after) = match queue.get(place) {
                Some(held) if !ahead(held.seq, from) => {
                    from = held.end();
                    continue;
                }
                Some(held) if ahead(end, held.seq) => (held.seq, held.end()),
                _ => (end, end),
            };
            let len = until.wrapping_sub(from);
            let begin = from.wrapping_sub(seq) as usize;
            let data = packet.payload.get(begin..).unwrap_or_default();
            let data: Box<[u8]> = data.get(..len as usize).unwrap_or(data).into();
            fresh += len;
            let (time, frame) = (packet.time, packet.frame);
            let held = Held {
                seq: from,
                len,
                ack,
                time,
                frame,
                arrival: self.frames,
                data,
            };
            waiting.insert(d, place, held);
            from = after;
        }
        if fresh == 0 {
            return way.seen_before(packet, packet.payload_len, packet.payload_len);
        }
        way.interface = packet.interface;
        way.newest = packet.time;
        let latest = waiting.held[d].back();
        let overtaken = latest.is_some_and(|latest| ahead(latest.seq, seq.wrapping_add(fresh - 1)));
        if overtaken {
            Seen::OutOfOrder
        } else {
            Seen::New
        }
    }

    /// The next piece that can be told at capture time `now`, if there is one.
    #[inline]
    pub fn next(&mut self, now: Timestamp) -> Option<Piece<'_>> {
        if self.waiting.is_none() && !self.ways.iter().any(|way| way.flags & (FIN | ENDED) == FIN) {
            return None;
        }
        self.next_slow(now, false)
    }

    /// As [`Conversation::next`], without waiting any longer for what is missing.
    pub fn flush(&mut self, now: Timestamp) -> Option<Piece<'_>> {
        self.next_slow(now, true)
    }

    #[cold]
    #[inline(never)]
    fn next_slow(&mut self, now: Timestamp, flush: bool) -> Option<Piece<'_>> {
        if let Some(direction) = self.ready() {
            return self.release(direction);
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let way = &mut self.ways[direction.index()];
            let is_at_end = way.flags & (FIN | ENDED) == FIN && way.next == way.fin;
            // Its beginning may have been overtaken.
            let is_late = flush || now.is_past(way.newest, limits::REORDER_TIME);
            if way.ends_unbegun() && is_late || way.has(STARTED) && is_at_end {
                way.flags |= ENDED;
                return Some(Piece::End(direction, way.offset));
            }
        }
        if flush
            && self
                .waiting
                .as_ref()
                .is_none_or(|waiting| waiting.is_empty())
            && let Some(gap) = self.missing_before_fin(now)
        {
            return Some(Piece::Gap(gap));
        }
        let waiting = self.waiting.as_deref_mut()?;
        if waiting.is_empty() {
            if let Some(reset) = waiting.reset {
                for direction in [Direction::ToServer, Direction::ToClient] {
                    let way = &mut self.ways[direction.index()];
                    if !way.has(ENDED) {
                        way.fin = way.next;
                        if direction != reset.direction {
                            way.flags |= CUT_OFF;
                        } else if ahead(reset.seq, way.next) {
                            // What was sent before it may have been overtaken.
                            way.fin = reset.seq;
                        }
                        way.flags |= ENDED | FIN;
                        return Some(Piece::End(direction, way.offset));
                    }
                }
            }
            if waiting.aside.strangers.is_empty() {
                self.waiting = None;
            }
            return None;
        }
        let flush = flush || waiting.reset.is_some();
        self.resolve(now, flush)
    }

    /// A FIN told of bytes that never came.
    fn missing_before_fin(&mut self, now: Timestamp) -> Option<Gap> {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let way = &mut self.ways[direction.index()];
            if way.flags & (FIN | ENDED) == FIN && ahead(way.fin, way.next) {
                let missing = way.fin.wrapping_sub(way.next);
                let offset = way.offset;
                way.advance(missing);
                let bytes = u64::from(missing);
                return Some(Gap {
                    direction,
                    offset,
                    bytes,
                    time: now,
                    frame: 0,
                });
            }
        }
        None
    }

    /// The direction whose first held segment may come out; of two the one that was seen first.
    fn ready(&self) -> Option<Direction> {
        let both = [Direction::ToServer, Direction::ToClient].into_iter();
        both.filter_map(|direction| {
            let held = self.waiting.as_ref()?.held[direction.index()].front()?;
            self.is_ready(direction, held)
                .then_some((held.frame, direction))
        })
        .min_by_key(|(frame, _)| *frame)
        .map(|(_, direction)| direction)
    }

    /// Whether a held segment, the first of a direction, may come out.
    fn is_ready(&self, direction: Direction, held: &Held) -> bool {
        let d = direction.index();
        let (there, back) = (&self.ways[d], &self.ways[1 - d]);
        there.has(STARTED)
            && there.next.wrapping_sub(held.seq) <= OLD
            && match held.ack {
                Some(ack) if back.has(SEEN) => {
                    back.has(STARTED) && !ahead(back.bytes_of(ack), back.next)
                }
                Some(_) => self.one_sided,
                // What a SYN brings waits for its answer (RFC 7413).
                None => back.has(SEEN) || self.one_sided,
            }
    }

    /// Hands out the first held segment of a direction, which is ready.
    fn release(&mut self, direction: Direction) -> Option<Piece<'_>> {
        let d = direction.index();
        let waiting = self.waiting.as_deref_mut()?;
        let (way, back) = there_and_back(&mut self.ways, direction);
        let front = waiting.held[d].front_mut()?;
        let skip = way.next.wrapping_sub(front.seq) as usize;
        if skip >= front.data.len() {
            // Nothing of it was captured beyond what is known: the rest is a gap of known length.
            let missing = front.len.saturating_sub(skip as u32);
            let gap = Gap {
                direction,
                offset: way.offset,
                bytes: u64::from(missing),
                time: front.time,
                frame: front.frame,
            };
            waiting.pop(d)?;
            way.advance(missing);
            return Some(Piece::Gap(gap));
        }
        let received = match front.ack {
            Some(ack) if back.has(STARTED) => {
                let unseen = back.next.wrapping_sub(back.bytes_of(ack));
                back.offset.wrapping_sub(u64::from(unseen))
            }
            _ => back.offset,
        };
        let offset = way.offset;
        if (front.len as usize) > front.data.len() {
            // Cut by a snap length: hand out what is there, leave the rest for the next turn.
            way.advance((front.data.len() - skip) as u32);
            let data = std::mem::take(&mut front.data);
            let (time, frame) = (front.time, front.frame);
            let rest = Held {
                data,
                ack: None,
                ..*front
            };
            waiting.bytes[d] -= rest.data.len();
            let bytes = &waiting.current.insert(rest).data[skip..];
            return Some(Piece::Bytes(Chunk {
                direction,
                bytes,
                offset,
                time,
                frame,
                received,
            }));
        }
        let held = waiting.pop(d)?;
        way.advance(held.len - skip as u32);
        let (time, frame) = (held.time, held.frame);
        let bytes = &waiting.current.insert(held).data[skip..];
        Some(Piece::Bytes(Chunk {
            direction,
            bytes,
            offset,
            time,
            frame,
            received,
        }))
    }

    /// Nothing can come out: declares what is missing lost, where it was waited for long enough.
    fn resolve(&mut self, now: Timestamp, flush: bool) -> Option<Piece<'_>> {
        let waiting = self.waiting.as_deref_mut()?;
        let full = waiting.is_full();
        let oldest = waiting.since()?;
        let short = flush
            || full
            || self.frames.wrapping_sub(oldest.arrival) >= limits::REORDER_FRAMES
            || now.is_past(oldest.time, limits::REORDER_TIME);
        if !short {
            return None;
        }
        let unseen = !self.one_sided && self.ways.iter().any(|way| !way.has(SEEN));
        self.one_sided |= unseen;
        let joined = self.ways.iter().any(|way| !way.has(STARTED)) && self.join();
        if joined || unseen {
            return self.next_slow(now, flush);
        }
        let long = flush || full || now.is_past(oldest.time, limits::HOLE_TIME);
        let (direction, to) = self.lost(long)?;
        let way = &mut self.ways[direction.index()];
        let distance = to.wrapping_sub(way.next);
        let offset = way.offset;
        let bytes = if (distance as i32) < 0 {
            // Far behind: the sequence numbers began anew.
            way.next = to;
            way.offset += 1;
            0
        } else {
            way.advance(distance);
            u64::from(distance)
        };
        Some(Piece::Gap(Gap {
            direction,
            offset,
            bytes,
            time: now,
            frame: oldest.frame,
        }))
    }

    /// A conversation joined in the middle begins where its first held bytes do; a direction that
    /// showed none yet begins where the other one had received up to.
    fn join(&mut self) -> bool {
        let Some(waiting) = self.waiting.as_deref() else {
            return false;
        };
        let first = [0, 1].map(|d| waiting.held[d].front().map(|held| (held.seq, held.ack)));
        let mut changed = false;
        for d in 0..2 {
            if self.ways[d].has(STARTED) {
                continue;
            }
            let begin = match (first[d], first[1 - d]) {
                (Some((seq, _)), _) => Some(seq),
                (None, Some((_, ack))) => ack,
                (None, None) => None,
            };
            if let Some(begin) = begin {
                self.ways[d].start(begin);
                changed = true;
            }
        }
        changed
    }

    /// Which direction misses bytes that will not come, and up to where.
    fn lost(&self, long: bool) -> Option<(Direction, u32)> {
        let waiting = self.waiting.as_deref()?;
        let front = |d: usize| waiting.held[d].front();
        let both = [Direction::ToServer, Direction::ToClient];
        // The receiver has what the capture has not.
        for direction in both {
            let d = direction.index();
            let way = &self.ways[d];
            if let Some(held) = front(d).filter(|held| ahead(held.seq, way.next))
                && way.has(ACKED)
                && !ahead(held.seq, way.acked)
            {
                return Some((direction, held.seq));
            }
        }
        // A held segment acknowledges what the capture has not.
        for direction in both {
            let d = direction.index();
            let back = &self.ways[1 - d];
            let blocked = front(d)
                .filter(|held| !ahead(held.seq, self.ways[d].next))
                .and_then(|held| held.ack)
                .map(|ack| back.bytes_of(ack))
                .filter(|&ack| ahead(ack, back.next));
            if let Some(ack) = blocked {
                let to = match front(1 - d) {
                    Some(other) if ahead(other.seq, back.next) && ahead(ack, other.seq) => {
                        other.seq
                    }
                    _ => ack,
                };
                return Some((direction.reverse(), to));
            }
        }
        if !long {
            return None;
        }
        both.into_iter().find_map(|direction| {
            let held = front(direction.index())?;
            (held.seq != self.ways[direction.index()].next).then_some((direction, held.seq))
        })
    }
}

/// The way of this direction, and the other one.
#[inline(always)]
fn there_and_back(ways: &mut [Way; 2], direction: Direction) -> (&mut Way, &mut Way) {
    let [a, b] = ways;
    match direction {
        Direction::ToServer => (a, b),
        Direction::ToClient => (b, a),
    }
}

impl Way {
    /// Whether its sender's RST with this sequence number can be one that its receiver takes: it takes none from outside its
    /// window (RFC 9293, section 3.10.7.4), which begins where it has acknowledged up to, or later.
    fn may_reset(&self, seq: u32) -> bool {
        if !self.has(STARTED) {
            return true;
        }
        let from = if self.has(ACKED) && !ahead(self.acked, self.next) {
            self.acked
        } else {
            self.next.wrapping_sub(WINDOW)
        };
        seq.wrapping_sub(from) <= self.next.wrapping_sub(from).wrapping_add(WINDOW)
    }

    /// Whether a FIN is all that was seen of it.
    fn ends_unbegun(&self) -> bool {
        self.flags & (STARTED | FIN | ENDED) == FIN
    }

    /// What an acknowledgement says of bytes: a FIN takes a sequence number and is none (RFC 9293, section 3.4).
    fn bytes_of(&self, ack: u32) -> u32 {
        let of_fin = self.has(FIN) && ack == self.fin.wrapping_add(1);
        if of_fin { self.fin } else { ack }
    }

    /// What a segment is that brings nothing new; it began `behind` bytes before the next one.
    fn seen_before(&mut self, packet: &Packet<'_>, behind: u32, len: u32) -> Seen {
        if packet.interface != self.interface
            && !packet.time.is_past(self.newest, limits::COPY_TIME)
        {
            return Seen::Copy;
        }
        // Copies of it follow from other interfaces.
        self.interface = packet.interface;
        self.newest = packet.time;
        if behind == 1 && len == 1 {
            Seen::KeepAlive
        } else {
            Seen::Retransmission
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
