//! One conversation: its streams or datagrams, who serves, and what is said in it.
//!
//! Reads the packets of one [`FlowKey`](crate::flow::FlowKey), hands bytes in order, gaps and ends to its [`Talk`].

use std::time::Duration;

use super::select::{Kind, Selected, Server};
use super::talk::{Lent, Resumed, Talk};
use crate::event;
use crate::exchange::{Service, Silence};
use crate::flow::connection::Tracker;
use crate::flow::stream::{self, Chunk, Fields, Gap, Piece, Seen, Stranger};
use crate::flow::{Direction, Side};
use crate::limits;
use crate::protocol::{Mark, Past, Protocol};
use crate::source::{Frame, Timestamp};
use crate::wire::{Joined, Packet, Segment, Transport, flag};

/// Flags of segments that begin or end a connection.
const CONTROL: u8 = flag::SYN | flag::FIN | flag::RST;

/// One conversation.
pub struct Conversation {
    link: Link,
    dialogue: Dialogue,
    /// How the connection begins and ends.
    connection: Tracker,
    /// It is in the list of conversations that hold segments back.
    pub listed: bool,
    /// What of the bytes that it holds back is counted in its shard.
    pub counted: u32,
}

/// Where a conversation was resumed that was at rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    server: Side,
    /// Sequence numbers of what client and server send next.
    next: [u32; 2],
    talk: Resumed,
    time: Timestamp,
}

enum Link {
    Tcp(stream::Conversation),
    /// The offset of the next datagram of each side.
    Udp([u64; 2]),
}

/// What is said, and by whom.
struct Dialogue {
    talk: Talk,
    /// Which endpoint serves.
    server: Side,
    /// Whether that is certain.
    certain: bool,
    /// Which endpoint is the first direction of the stream.
    first: Side,
    started: bool,
}

impl Conversation {
    /// A conversation of which nothing was seen yet; `certain` says that `server` is no guess.
    pub fn new(transport: Transport, talk: Talk, server: Side, certain: bool) -> Self {
        let link = match transport {
            Transport::Tcp => Link::Tcp(stream::Conversation::default()),
            Transport::Udp => Link::Udp([0; 2]),
        };
        let dialogue = Dialogue {
            talk,
            server,
            certain,
            first: server.other(),
            started: false,
        };
        Self {
            link,
            dialogue,
            connection: Tracker::default(),
            listed: false,
            counted: 0,
        }
    }

    /// A TCP conversation that goes on with `request`, which its client sends; as far as can be told, all before it was
    /// answered, and seen as the past says. `None` where that cannot be told.
    pub fn resumed(
        kind: Kind,
        past: Past,
        server: Side,
        request: &Packet<'_>,
        lent: &mut Lent<'_>,
    ) -> Option<(Self, Rest)> {
        let (talk, resumed) = Talk::resumed(kind, past, request.payload, lent)?;
        let next = [request.seq, request.ack];
        let rest = Rest {
            server,
            next,
            talk: resumed,
            time: request.time,
        };
        let mut conversation = Self::new(Transport::Tcp, talk, server, true);
        conversation.link = Link::Tcp(stream::Conversation::resumed(next));
        conversation.dialogue.started = true;
        Some((conversation, rest))
    }

    /// Whether whatever comes from here on is taken as by the conversation that was resumed so.
    pub fn rests_as(&self, rest: &Rest) -> bool {
        let Link::Tcp(stream) = &self.link else {
            return false;
        };
        let ends = [rest.server.other(), rest.server];
        let offsets = ends.map(|from| stream.offset(self.dialogue.way(from)));
        self.dialogue.is_served_from_the_first(rest.server)
            && self.dialogue.started
            && !self.connection.is_opening()
            && stream.rests_at(rest.next)
            && self.dialogue.talk.rests_as(&rest.talk, offsets, rest.time)
    }

    /// Whether it was resumed, and how it began is not known yet.
    pub fn is_resumed(&self) -> bool {
        matches!(&self.link, Link::Tcp(stream) if stream.is_resumed())
    }

    /// Whether the SYN begins a new conversation on the same addresses.
    pub fn begins_anew(&self, from: Side, syn: &Packet<'_>) -> bool {
        let way = self.dialogue.way(from);
        matches!(&self.link, Link::Tcp(stream) if stream.is_replaced_by(way, syn))
    }

    /// Whether segments were set aside that may be of a connection whose SYN is still to come.
    fn has_strangers(&self) -> bool {
        matches!(&self.link, Link::Tcp(stream) if stream.has_strangers())
    }

    /// Whether a SYN with another sequence number began it, if any was seen; and whether who serves in it is as
    /// certain as in one that is [`Conversation::resumed`].
    pub fn is_not_begun_by(&self, from: Side, seq: u32) -> bool {
        let way = self.dialogue.way(from);
        self.dialogue.certain
            && matches!(&self.link, Link::Tcp(stream) if stream.initial(way) != Some(seq))
    }

    /// Whether the SYN begins a new conversation on the same addresses, which is taken as one is of which nothing
    /// else was seen.
    pub fn is_replaced_by(&self, from: Side, syn: &Packet<'_>, selected: &Selected) -> bool {
        let server = match selected.server {
            Server::Source => from,
            Server::Destination => from.other(),
        };
        self.begins_anew(from, syn)
            && !self.has_strangers()
            && self.dialogue.is_served_from_the_first(server)
            && self.dialogue.certain == selected.certain
            && self.dialogue.talk.kind().is(selected.kind)
    }

    /// It goes on where `before` was at rest, which saw how it began.
    pub fn follows(&mut self, before: &Self) {
        let (Link::Tcp(stream), Link::Tcp(begun)) = (&mut self.link, &before.link) else {
            return;
        };
        if stream.is_resumed() {
            stream.follows(begun);
            self.dialogue.certain = before.dialogue.certain;
            self.dialogue.talk.follows(&before.dialogue.talk);
        }
    }

    /// Its finds go to other statistics from here on.
    pub fn moved(&mut self, place: impl FnMut(Service, &'static dyn Protocol) -> Service) {
        self.dialogue.talk.moved(place);
    }

    /// Which endpoint serves.
    #[inline]
    pub fn server(&self) -> Side {
        self.dialogue.server
    }

    /// Whether its packets are told, and not what is in them.
    #[inline]
    pub fn is_raw(&self) -> bool {
        matches!(self.dialogue.talk.kind(), Kind::Raw)
    }

    /// Which way a packet of this sender goes.
    #[inline]
    pub fn direction(&self, from: Side) -> Direction {
        self.dialogue.direction(from)
    }

    /// Whether segments or datagrams are held back.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        match &self.link {
            Link::Tcp(stream) => stream.is_waiting(),
            Link::Udp(_) => self.dialogue.talk.holds(),
        }
    }

    /// Bytes held back, with what holding them costs, and the memory that waiting requests take.
    pub fn held_bytes(&mut self) -> usize {
        let kept = self.dialogue.talk.bytes_kept();
        match &self.link {
            Link::Tcp(stream) => stream.held_bytes() + kept,
            Link::Udp(_) => kept,
        }
    }

    /// Whether it is a TCP connection that has not ended.
    pub fn is_connected(&self) -> bool {
        matches!(&self.link, Link::Tcp(stream) if !stream.is_closed())
    }

    /// Whether it can be forgotten, last seen at `seen`.
    pub fn is_over(&self, seen: Timestamp, now: Timestamp, timeout: Duration) -> bool {
        match &self.link {
            Link::Tcp(stream) => stream.is_closed() && now.is_past(seen, limits::CLOSED_LINGER),
            Link::Udp(_) => now.is_past(seen, limits::UDP_IDLE.max(timeout)),
        }
    }

    /// Follows a segment that simply comes next, and says so; where it does not, or was not captured whole, nothing is
    /// done.
    #[inline(always)]
    pub fn straight(
        &mut self,
        from: Side,
        segment: &Segment<'_>,
        frame: &Frame<'_>,
        lent: &mut Lent<'_>,
    ) -> bool {
        let Link::Tcp(stream) = &mut self.link else {
            return false;
        };
        if self.connection.is_opening() || !segment.is_whole() {
            return false;
        }
        let direction = self.dialogue.way(from);
        let fields = Fields {
            seq: segment.seq(),
            ack: segment.ack(),
            flags: segment.flags(),
            payload_len: segment.payload_len,
            time: frame.time,
            interface: frame.interface,
        };
        let Some(place) = stream.pass(direction, fields) else {
            return false;
        };
        if !segment.payload.is_empty() {
            let whole = stream.is_whole();
            let chunk = Chunk {
                direction,
                bytes: segment.payload,
                offset: place.offset,
                time: frame.time,
                frame: frame.number,
                received: place.received,
            };
            self.dialogue.bytes(whole, &chunk, lent);
        }
        true
    }

    /// Follows a TCP segment; tells whether it was none that simply comes next, so that segments may now be held
    /// back, or no longer, or whether more memory is taken than before.
    #[must_use]
    pub fn segment(
        &mut self,
        from: Side,
        packet: &Packet<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) -> bool {
        if packet.flags & CONTROL != 0 || self.connection.is_opening() {
            self.control(from, packet, lent);
        }
        let way = self.dialogue.way(from);
        let Link::Tcp(stream) = &mut self.link else {
            return false;
        };
        let Some(place) = stream.pass(way, packet) else {
            self.odd_segment(way, packet, now, lent);
            return true;
        };
        if packet.payload_len == 0 {
            return false;
        }
        let whole = stream.is_whole();
        if !packet.payload.is_empty() {
            let chunk = Chunk::of(way, packet, place);
            self.dialogue.bytes(whole, &chunk, lent);
        }
        if let Some(gap) = Gap::after(way, packet, place) {
            self.dialogue.gap(&gap, lent);
        }
        self.dialogue.talk.grew()
    }

    /// Whether more memory is taken than when [`Conversation::held_bytes`] was last asked.
    #[inline]
    pub fn grew(&self) -> bool {
        self.dialogue.talk.grew()
    }

    /// Forgets what waits, since too much memory is taken.
    #[cold]
    pub fn forget(&mut self, lent: &mut Lent<'_>) {
        self.dialogue.talk.forget(lent);
    }

    /// Follows how the connection begins and ends.
    #[cold]
    #[inline(never)]
    fn control(&mut self, from: Side, packet: &Packet<'_>, lent: &mut Lent<'_>) {
        let way = self.dialogue.way(from);
        if matches!(&self.link, Link::Tcp(stream) if stream.is_replaced_by(way, packet)) {
            self.connection = Tracker::default();
        }
        if let Some(change) = self.connection.note(from, packet) {
            let endpoints = lent.parties.endpoints();
            let told = self.connection.tell(change, endpoints, packet);
            lent.outlet.connection(&told);
        }
    }

    /// Follows a segment that is not simply the next one.
    #[cold]
    #[inline(never)]
    fn odd_segment(
        &mut self,
        way: Direction,
        packet: &Packet<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        let Link::Tcp(stream) = &mut self.link else {
            return;
        };
        if packet.flags & flag::SYN != 0 && stream.is_replaced_by(way, packet)
            || stream.is_outlived_by(way, packet)
        {
            self.replace(way, packet, now, lent);
            return;
        }
        lent.count(stream.push_or_set_aside(way, packet));
        self.drain(now, lent);
    }

    /// The same addresses begin a new conversation.
    fn replace(
        &mut self,
        way: Direction,
        packet: &Packet<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        let strangers = match &mut self.link {
            Link::Tcp(stream) => stream.strangers(),
            Link::Udp(_) => Vec::new(),
        };
        let mut stream = stream::Conversation::default();
        stream.push(way, packet);
        self.go_on_as(stream, &strangers, now, lent);
        self.drain(now, lent);
    }

    /// Ends the conversation, and goes on with another one's stream, and what was set aside for it.
    #[cold]
    fn go_on_as(
        &mut self,
        mut stream: stream::Conversation,
        strangers: &[Stranger],
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        self.flush(now, lent);
        self.conclude(now, Silence::Closed, lent);
        lent.outlet.stats.account.conversations += 1;
        for stranger in strangers {
            stream.push_or_set_aside(stranger.direction, &stranger.packet());
        }
        self.link = Link::Tcp(stream);
        self.dialogue.talk = self.dialogue.talk.anew();
        self.dialogue.started = false;
    }

    /// Goes on as another conversation of the same addresses, if there is one whose beginning was not seen. How this one ended was
    /// not seen either.
    #[inline]
    fn succeed(&mut self, flush: bool, now: Timestamp, lent: &mut Lent<'_>) {
        if let Link::Tcp(stream) = &mut self.link
            && let Some(strangers) = stream.successor(now, flush)
        {
            let frame = strangers.first().map_or(0, |first| first.packet().frame);
            for direction in [Direction::ToServer, Direction::ToClient] {
                let gap = Gap {
                    direction,
                    offset: stream.offset(direction),
                    bytes: 0,
                    time: now,
                    frame,
                };
                self.dialogue.gap(&gap, lent);
            }
            self.connection = Tracker::default();
            self.go_on_as(stream::Conversation::default(), &strangers, now, lent);
        }
    }

    /// Hands on what can come out of the streams, and what of datagrams need not be held back any longer.
    pub fn drain(&mut self, now: Timestamp, lent: &mut Lent<'_>) {
        if let Link::Udp(_) = &self.link {
            self.dialogue.talk.release(Some(now), lent);
        }
        self.succeed(false, now, lent);
        while let Link::Tcp(stream) = &mut self.link {
            let whole = stream.is_whole();
            let Some(piece) = stream.next(now) else {
                return;
            };
            self.dialogue.piece(whole, piece, now, lent);
        }
    }

    /// Hands on all that was seen, without waiting any longer for what is missing.
    pub fn flush(&mut self, now: Timestamp, lent: &mut Lent<'_>) {
        if let Link::Udp(_) = &self.link {
            self.dialogue.talk.release(None, lent);
        }
        self.succeed(true, now, lent);
        while let Link::Tcp(stream) = &mut self.link {
            let whole = stream.is_whole();
            let Some(piece) = stream.flush(now) else {
                return;
            };
            self.dialogue.piece(whole, piece, now, lent);
        }
    }

    /// Follows a UDP datagram.
    pub fn datagram(
        &mut self,
        from: Side,
        packet: &Packet<'_>,
        joined: Joined<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        let Link::Udp(offsets) = &mut self.link else {
            return;
        };
        let offset = &mut offsets[from as usize];
        let chunk = Chunk {
            direction: self.dialogue.way(from),
            bytes: packet.payload,
            offset: *offset,
            time: packet.time,
            frame: packet.frame,
            received: 0,
        };
        *offset += u64::from(packet.payload_len);
        let (time, frame) = joined.begun.unwrap_or((packet.time, packet.frame));
        let lost = packet.payload_len - packet.payload.len() as u32;
        let first = Mark { time, frame };
        self.dialogue.datagram((first, lost), &chunk, lent);
        if lost > 0 {
            self.dialogue.tell_cut(&chunk, lost, lent);
        }
        self.drain(now, lent);
    }

    /// Reports requests that waited for longer than `timeout`.
    pub fn time_out(&mut self, now: Timestamp, timeout: Duration, lent: &mut Lent<'_>) {
        if self.dialogue.talk.waits() {
            self.dialogue.talk.time_out(now, timeout, lent);
        }
    }

    /// Nothing more will come: what waits is reported.
    pub fn conclude(&mut self, now: Timestamp, why: Silence, lent: &mut Lent<'_>) {
        self.dialogue.talk.release(None, lent);
        if let Link::Tcp(stream) = &self.link {
            for way in [Direction::ToServer, Direction::ToClient] {
                self.dialogue.end(way, stream.offset(way), now, lent);
            }
        }
        self.dialogue.talk.close_pairing(now, why, lent);
        self.dialogue.talk.conclude(lent);
    }

    /// The capture has ended: what waits for at least `threshold` is reported.
    pub fn stop(&mut self, now: Timestamp, threshold: Duration, lent: &mut Lent<'_>) {
        self.flush(now, lent);
        self.dialogue.talk.stop(now, threshold, lent);
        self.dialogue.talk.conclude(lent);
    }
}

impl Dialogue {
    /// Whether this endpoint serves, and was never taken for the client: of two directions that can go on, the first one does
    /// in a stream.
    fn is_served_from_the_first(&self, server: Side) -> bool {
        self.server == server && self.first == server.other()
    }

    #[inline]
    fn direction(&self, from: Side) -> Direction {
        if from == self.server {
            Direction::ToClient
        } else {
            Direction::ToServer
        }
    }

    /// The stream's own name for a direction: it never turns round, whoever serves.
    #[inline]
    fn way(&self, from: Side) -> Direction {
        if from == self.first {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    /// What the stream's direction is called as long as this endpoint serves.
    #[inline]
    fn told(&self, way: Direction) -> Direction {
        if self.first == self.server {
            way.reverse()
        } else {
            way
        }
    }

    fn piece(&mut self, whole: bool, piece: Piece<'_>, now: Timestamp, lent: &mut Lent<'_>) {
        match piece {
            Piece::Bytes(chunk) => self.bytes(whole, &chunk, lent),
            Piece::Gap(gap) => self.gap(&gap, lent),
            Piece::End(way, offset) => self.end(way, offset, now, lent),
        }
    }

    /// Hands bytes to the talk; where the sides prove to be the other way round, turns them first.
    #[inline(always)]
    fn bytes(&mut self, whole: bool, chunk: &Chunk<'_>, lent: &mut Lent<'_>) {
        if !self.started {
            self.start(whole, lent);
        }
        let direction = self.told(chunk.direction);
        if self.talk.bytes(direction, chunk, lent) && !self.certain {
            self.turn_for(direction.reverse(), chunk, lent);
        }
    }

    #[cold]
    #[inline(never)]
    fn turn_for(&mut self, direction: Direction, chunk: &Chunk<'_>, lent: &mut Lent<'_>) {
        self.turn(lent);
        if self.talk.bytes(direction, chunk, lent) {
            self.turn(lent);
        }
    }

    fn datagram(&mut self, seen: (Mark, u32), chunk: &Chunk<'_>, lent: &mut Lent<'_>) {
        let direction = self.told(chunk.direction);
        if self.talk.datagram(direction, seen, chunk, lent) && !self.certain {
            self.turn(lent);
            if self.talk.datagram(direction.reverse(), seen, chunk, lent) {
                self.turn(lent);
            }
        }
    }

    /// Bytes at the end of a datagram were not captured.
    #[cold]
    fn tell_cut(&mut self, chunk: &Chunk<'_>, lost: u32, lent: &mut Lent<'_>) {
        lent.outlet.gap(&event::Gap {
            endpoints: lent.parties.endpoints(),
            direction: self.told(chunk.direction),
            time: chunk.time,
            bytes: u64::from(lost),
        });
    }

    #[cold]
    fn start(&mut self, whole: bool, lent: &mut Lent<'_>) {
        self.started = true;
        if !whole {
            lent.outlet.stats.account.joined += 1;
            self.talk.join();
        }
    }

    /// The sides are the other way round.
    #[cold]
    fn turn(&mut self, lent: &mut Lent<'_>) {
        self.server = self.server.other();
        lent.parties.server = self.server;
        self.talk.turn();
    }

    #[cold]
    fn gap(&mut self, gap: &Gap, lent: &mut Lent<'_>) {
        self.talk.gap(self.told(gap.direction), gap, lent);
    }

    fn end(&mut self, way: Direction, offset: u64, now: Timestamp, lent: &mut Lent<'_>) {
        self.talk.end(self.told(way), offset, now, lent);
    }
}

impl Lent<'_> {
    /// Counts what a packet turned out to be.
    pub fn count(&mut self, seen: Seen) {
        let port = self.server_port();
        self.outlet.segment(port, seen);
    }
}
