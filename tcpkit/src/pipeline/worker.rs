//! One worker: frames in, finds out, for the shards that it owns.
//!
//! Every worker walks all frames and leaves those of other workers' shards aside, so nothing is
//! handed between threads and what comes out does not depend on their number.

use std::sync::Arc;
use std::time::Duration;

use super::outlet::Outlet;
use super::select::{Selector, Server};
use super::talk::{Lent, Talk};
use crate::event::PacketEvent;
use crate::exchange::Silence;
use crate::flow::connection::Tracker;
use crate::flow::stream::{self, Chunk, Piece, Seen};
use crate::flow::table::Table;
use crate::flow::{Direction, FlowKey, Side};
use crate::limits;
use crate::protocol::Output;
use crate::sink::Needs;
use crate::sink::stats::Stats;
use crate::source::{Frame, Timestamp};
use crate::wire::{Decoded, Decoder, Packet, Transport, flag};

/// How often capture time looks after conversations that hold segments back.
const STALLED_EVERY: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;
/// Flags of segments that begin or end a connection.
const CONTROL: u8 = flag::SYN | flag::FIN | flag::RST;

/// What a worker is told at its beginning.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is monitored.
    pub selector: Arc<Selector>,
    /// Requests that wait for longer are reported.
    pub timeout: Duration,
    /// At the end, requests that waited for less are not reported.
    pub threshold: Option<Duration>,
    /// This worker's place among all.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
}

/// One conversation.
struct Flow {
    link: Link,
    talk: Talk,
    /// Which endpoint serves.
    server: Side,
    /// Whether that is certain.
    certain: bool,
    /// Which endpoint is the first direction of the stream.
    first: Side,
    started: bool,
    stalled: bool,
    connection: Tracker,
}

enum Link {
    Tcp(stream::Conversation),
    Udp(Box<Datagrams>),
}

#[derive(Default)]
struct Datagrams {
    offsets: [u64; 2],
    recent: [Copyable; 4],
    next: u8,
}

/// What tells a copy of a datagram.
#[derive(Clone, Copy, Default)]
struct Copyable {
    print: u64,
    interface: u32,
    time: Timestamp,
}

/// Follows the conversations of its shards.
pub struct Worker {
    decoder: Decoder,
    core: Core,
}

struct Core {
    settings: Settings,
    shards: Vec<Option<Table<Flow>>>,
    output: Output,
    outlet: Outlet,
    needs: Needs,
    now: Timestamp,
    begun: Option<Timestamp>,
    next_second: u64,
    next_stalled: u64,
    stalled: Vec<(u16, u32)>,
    interface: Option<u32>,
    many_interfaces: bool,
    counts: bool,
}

impl Worker {
    /// A worker that tells `outlet` what it finds.
    pub fn new(settings: Settings, outlet: Outlet) -> Self {
        let owns = |shard: usize| shard % settings.workers.max(1) == settings.worker;
        let shards = (0..limits::SHARDS)
            .map(|shard| owns(shard).then(|| Table::new(limits::FLOWS_PER_SHARD)))
            .collect();
        let needs = outlet.needs();
        let output = Output {
            wants_text: needs.text,
            ..Output::default()
        };
        let core = Core {
            counts: settings.worker == 0,
            settings,
            shards,
            output,
            outlet,
            needs,
            now: Timestamp::default(),
            begun: None,
            next_second: 0,
            next_stalled: 0,
            stalled: Vec::new(),
            interface: None,
            many_interfaces: false,
        };
        Self {
            decoder: Decoder::new(),
            core,
        }
    }

    /// Follows one frame.
    #[inline]
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.core.time(frame);
        match self.decoder.decode(frame) {
            Decoded::Packet(packet) => self.core.packet(frame, &packet),
            other => self.core.not_a_packet(other),
        }
    }

    /// Lets a frame pass that a filter keeps out: it is counted, and time goes on.
    pub fn pass(&mut self, frame: &Frame<'_>) {
        self.core.time(frame);
    }

    /// Where finds go.
    pub fn outlet(&mut self) -> &mut Outlet {
        &mut self.core.outlet
    }

    /// The latest capture time, and the first.
    pub fn elapsed(&self) -> Duration {
        let begun = self.core.begun.unwrap_or(self.core.now);
        Duration::from_nanos(self.core.now.since(begun))
    }

    /// The capture has ended: nothing is waited for any longer.
    pub fn finish(mut self) -> Outlet {
        self.core.end();
        if self.core.counts {
            self.core.outlet.stats.account.fragments_lost += self.decoder.fragments_lost();
        }
        self.core.outlet
    }
}

impl Core {
    fn stats(&mut self) -> &mut Stats {
        &mut self.outlet.stats
    }

    /// Counts a frame and moves capture time.
    #[inline]
    fn time(&mut self, frame: &Frame<'_>) {
        if self.counts {
            let account = &mut self.outlet.stats.account;
            account.frames += 1;
            account.captured_bytes += frame.data.len() as u64;
            account.wire_bytes += u64::from(frame.wire_len);
        }
        if frame.time > self.now {
            self.now = frame.time;
            if self.now.0 >= self.next_stalled {
                self.wake();
            }
        }
    }

    #[cold]
    fn wake(&mut self) {
        let now = self.now;
        if self.begun.is_none() {
            self.begun = Some(now);
            self.next_second = (now.0 / SECOND + 1).saturating_mul(SECOND);
        }
        self.next_stalled = now.0.saturating_add(STALLED_EVERY);
        self.visit_stalled();
        if now.0 >= self.next_second {
            self.next_second = (now.0 / SECOND + 1).saturating_mul(SECOND);
            self.sweep();
            self.outlet.tick(now);
        }
    }

    fn not_a_packet(&mut self, decoded: Decoded<'_>) {
        if !self.counts {
            return;
        }
        let account = &mut self.outlet.stats.account;
        match decoded {
            Decoded::Packet(_) => {}
            Decoded::Fragment => account.fragments += 1,
            Decoded::Other => account.other += 1,
            Decoded::UnknownLink => account.unknown_link += 1,
            Decoded::Truncated => account.truncated += 1,
            Decoded::Malformed => account.malformed_frames += 1,
        }
    }

    #[inline]
    fn packet(&mut self, frame: &Frame<'_>, packet: &Packet<'_>) {
        if self.interface != Some(packet.interface) {
            self.many_interfaces |= self.interface.is_some();
            self.interface = Some(packet.interface);
        }
        if !self.settings.selector.admits(packet) {
            return;
        }
        let (key, from) = FlowKey::of(packet);
        let shard = key.shard();
        let Some(table) = &mut self.shards[shard] else {
            return;
        };
        let place = match table.find(&key, packet.time) {
            Some(place) => place,
            None => match self.open(shard, key, from, packet) {
                Some(place) => place,
                None => return,
            },
        };
        self.outlet.stats.account.matched += 1;
        let Some(table) = &mut self.shards[shard] else {
            return;
        };
        let Some((_, flow)) = table.get_mut(place) else {
            return;
        };
        if self.needs.packets {
            let direction = flow.direction(from);
            self.outlet.packet(&PacketEvent {
                frame: *frame,
                packet: *packet,
                direction,
            });
        }
        // Made in its place: copied, it would wait for its own parts to be written.
        let mut lent = Lent {
            outlet: &mut self.outlet,
            output: &mut self.output,
            endpoints: key.endpoints(flow.server),
            transport: packet.transport,
        };
        match packet.transport {
            Transport::Tcp => {
                flow.segment(&key, from, packet, self.now, &mut lent);
                if flow.is_waiting() && !flow.stalled {
                    flow.stalled = true;
                    self.stalled.push((shard as u16, place));
                }
            }
            Transport::Udp => {
                flow.datagram(&key, from, packet, self.many_interfaces, &mut lent);
            }
        }
    }

    /// Begins to follow a conversation, if it is selected.
    #[cold]
    #[inline(never)]
    fn open(&mut self, shard: usize, key: FlowKey, from: Side, packet: &Packet<'_>) -> Option<u32> {
        let begins = packet.flags & (flag::SYN | flag::RST) == flag::SYN;
        if packet.transport == Transport::Tcp
            && packet.payload_len == 0
            && !begins
            && !self.needs.packets
        {
            return None;
        }
        let selected = self.settings.selector.select(packet)?;
        let server = match selected.server {
            Server::Source => from,
            Server::Destination => from.other(),
        };
        let link = match packet.transport {
            Transport::Tcp => Link::Tcp(stream::Conversation::default()),
            Transport::Udp => Link::Udp(Box::default()),
        };
        let flow = Flow {
            link,
            talk: Talk::new(selected.kind),
            server,
            certain: selected.certain,
            first: server.other(),
            started: false,
            stalled: false,
            connection: Tracker::default(),
        };
        self.stats().account.conversations += 1;
        let (place, evicted) = self.shards[shard].as_mut()?.insert(key, packet.time, flow);
        if let Some((key, mut flow)) = evicted {
            self.stats().account.evicted += 1;
            let now = self.now;
            self.with(&key, &mut flow, |flow, lent| {
                flow.conclude(now, Silence::Closed, lent)
            });
        }
        Some(place)
    }

    fn with(&mut self, key: &FlowKey, flow: &mut Flow, act: impl FnOnce(&mut Flow, &mut Lent<'_>)) {
        let mut lent = Lent {
            outlet: &mut self.outlet,
            output: &mut self.output,
            endpoints: key.endpoints(flow.server),
            transport: key.transport(),
        };
        act(flow, &mut lent);
    }

    /// Conversations that hold segments back: the reordering window may have passed.
    fn visit_stalled(&mut self) {
        let mut stalled = std::mem::take(&mut self.stalled);
        stalled.retain(|&(shard, place)| {
            let Some(table) = &mut self.shards[usize::from(shard)] else {
                return false;
            };
            let Some((key, flow)) = table.get_mut(place) else {
                return false;
            };
            let mut lent = Lent {
                outlet: &mut self.outlet,
                output: &mut self.output,
                endpoints: key.endpoints(flow.server),
                transport: key.transport(),
            };
            let key = *key;
            flow.drain(&key, self.now, false, &mut lent);
            flow.stalled = flow.is_waiting();
            flow.stalled
        });
        self.stalled = stalled;
    }

    /// Once a second: what waited for too long, and who is gone.
    fn sweep(&mut self) {
        let now = self.now;
        for table in self.shards.iter_mut().flatten() {
            let mut gone = Vec::new();
            for (place, key, seen, flow) in table.iter_mut() {
                let key = *key;
                let mut lent = Lent {
                    outlet: &mut self.outlet,
                    output: &mut self.output,
                    endpoints: key.endpoints(flow.server),
                    transport: key.transport(),
                };
                if now.is_past(seen, limits::HOLE_TIME) {
                    flow.drain(&key, now, true, &mut lent);
                }
                if flow.talk.waiting() > 0 {
                    flow.talk.time_out(now, self.settings.timeout, &mut lent);
                }
                if flow.is_over(seen, now, self.settings.timeout) {
                    flow.conclude(now, Silence::Closed, &mut lent);
                    gone.push(place);
                }
            }
            for place in &gone {
                table.remove(*place);
            }
            if !gone.is_empty() {
                table.reclaim();
            }
        }
    }

    fn end(&mut self) {
        let now = self.now;
        let threshold = self.settings.threshold.unwrap_or_default();
        for table in self.shards.iter_mut().flatten() {
            for (_, key, _, flow) in table.iter_mut() {
                let key = *key;
                let mut lent = Lent {
                    outlet: &mut self.outlet,
                    output: &mut self.output,
                    endpoints: key.endpoints(flow.server),
                    transport: key.transport(),
                };
                flow.drain(&key, now, true, &mut lent);
                flow.talk.stop(now, threshold, &mut lent);
            }
        }
    }
}

impl Flow {
    fn direction(&self, from: Side) -> Direction {
        if from == self.server {
            Direction::ToClient
        } else {
            Direction::ToServer
        }
    }

    /// The stream's own name for a direction: it never turns round, whoever serves.
    fn way(&self, from: Side) -> Direction {
        if from == self.first {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    fn from(&self, way: Direction) -> Side {
        match way {
            Direction::ToServer => self.first,
            Direction::ToClient => self.first.other(),
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(&self.link, Link::Tcp(stream) if stream.is_waiting())
    }

    /// Whether it can be forgotten.
    fn is_over(&self, seen: Timestamp, now: Timestamp, timeout: Duration) -> bool {
        match &self.link {
            Link::Tcp(stream) => stream.is_closed() && now.is_past(seen, limits::CLOSED_LINGER),
            Link::Udp(_) => now.is_past(seen, limits::UDP_IDLE.max(timeout)),
        }
    }

    /// Follows a TCP segment.
    #[inline]
    fn segment(
        &mut self,
        key: &FlowKey,
        from: Side,
        packet: &Packet<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        let way = self.way(from);
        if packet.flags & CONTROL != 0 || self.connection.is_opening() {
            self.control(from, packet, lent);
        }
        if packet.flags & flag::SYN != 0
            && matches!(&self.link, Link::Tcp(stream) if stream.is_replaced_by(way, packet))
        {
            self.replace(key, from, packet, now, lent);
            return;
        }
        let Link::Tcp(stream) = &mut self.link else {
            return;
        };
        let pushed = stream.push(way, packet);
        if pushed.seen != Seen::New {
            lent.count(pushed.seen);
        }
        if let Some(chunk) = pushed.chunk {
            let whole = stream.is_whole();
            self.chunk(key, whole, &chunk, lent);
            if let Some(gap) = pushed.cut {
                self.talk.gap(self.direction(from), &gap, lent);
            }
        }
        self.drain(key, now, false, lent);
    }

    /// Follows how the connection begins and ends.
    #[cold]
    #[inline(never)]
    fn control(&mut self, from: Side, packet: &Packet<'_>, lent: &mut Lent<'_>) {
        let way = self.way(from);
        if matches!(&self.link, Link::Tcp(stream) if stream.is_replaced_by(way, packet)) {
            self.connection = Tracker::default();
        }
        if let Some(change) = self.connection.note(from, packet) {
            let told = self.connection.tell(change, lent.endpoints, packet);
            lent.outlet.connection(&told);
        }
    }

    /// The same addresses begin a new conversation.
    #[cold]
    fn replace(
        &mut self,
        key: &FlowKey,
        from: Side,
        packet: &Packet<'_>,
        now: Timestamp,
        lent: &mut Lent<'_>,
    ) {
        self.drain(key, now, true, lent);
        self.conclude(now, Silence::Closed, lent);
        lent.outlet.stats.account.conversations += 1;
        let mut stream = stream::Conversation::default();
        stream.push(self.way(from), packet);
        self.link = Link::Tcp(stream);
        self.talk = self.talk.anew();
        self.started = false;
        self.drain(key, now, false, lent);
    }

    /// Hands on what can come out of the streams.
    #[inline]
    fn drain(&mut self, key: &FlowKey, now: Timestamp, flush: bool, lent: &mut Lent<'_>) {
        loop {
            let Link::Tcp(stream) = &mut self.link else {
                return;
            };
            let whole = stream.is_whole();
            let piece = if flush {
                stream.flush(now)
            } else {
                stream.next(now)
            };
            // The piece borrows from the stream, which what follows leaves alone.
            let Some(piece) = piece else { return };
            match piece {
                Piece::Bytes(chunk) => {
                    let from = if chunk.direction == Direction::ToServer {
                        self.first
                    } else {
                        self.first.other()
                    };
                    let context = (&mut self.started, &mut self.server, self.certain);
                    hand_on(key, context, &mut self.talk, from, whole, &chunk, lent);
                }
                Piece::Gap(gap) => {
                    let direction = self.direction(self.from(gap.direction));
                    self.talk.gap(direction, &gap, lent);
                }
                Piece::End(way) => {
                    let offset = stream.offset(way);
                    let direction = self.direction(self.from(way));
                    self.talk.end(direction, offset, now, lent);
                }
            }
        }
    }

    #[inline]
    fn chunk(&mut self, key: &FlowKey, whole: bool, chunk: &Chunk<'_>, lent: &mut Lent<'_>) {
        let from = self.from(chunk.direction);
        let context = (&mut self.started, &mut self.server, self.certain);
        hand_on(key, context, &mut self.talk, from, whole, chunk, lent);
    }

    /// Follows a UDP datagram.
    fn datagram(
        &mut self,
        key: &FlowKey,
        from: Side,
        packet: &Packet<'_>,
        many_interfaces: bool,
        lent: &mut Lent<'_>,
    ) {
        let Link::Udp(datagrams) = &mut self.link else {
            return;
        };
        if many_interfaces && datagrams.is_copy(from, packet) {
            lent.count(Seen::Copy);
            return;
        }
        let offset = &mut datagrams.offsets[from as usize];
        let chunk = Chunk {
            direction: Direction::ToServer,
            bytes: packet.payload,
            offset: *offset,
            time: packet.time,
            frame: packet.frame,
            received: 0,
        };
        *offset += u64::from(packet.payload_len);
        for _ in 0..2 {
            let direction = self.direction(from);
            if !self.talk.datagram(direction, &chunk, lent) || self.certain {
                return;
            }
            self.server = self.server.other();
            lent.endpoints = key.endpoints(self.server);
        }
    }

    /// Nothing more will come: what waits is reported.
    fn conclude(&mut self, now: Timestamp, why: Silence, lent: &mut Lent<'_>) {
        if let Link::Tcp(stream) = &mut self.link {
            let ways = [Direction::ToServer, Direction::ToClient];
            let offsets = ways.map(|way| stream.offset(way));
            for (way, offset) in ways.into_iter().zip(offsets) {
                let direction = self.direction(self.from(way));
                self.talk.end(direction, offset, now, lent);
            }
        }
        self.talk.close_pairing(now, why, lent);
    }
}

/// Hands bytes to the talk; where the sides prove to be the other way round, turns them first.
#[inline]
fn hand_on(
    key: &FlowKey,
    (started, server, certain): (&mut bool, &mut Side, bool),
    talk: &mut Talk,
    from: Side,
    whole: bool,
    chunk: &Chunk<'_>,
    lent: &mut Lent<'_>,
) {
    if !*started {
        *started = true;
        if !whole {
            lent.outlet.stats.account.joined += 1;
            talk.join();
        }
    }
    for _ in 0..2 {
        let direction = if from == *server {
            Direction::ToClient
        } else {
            Direction::ToServer
        };
        if !talk.bytes(direction, chunk, lent) || certain {
            return;
        }
        *server = server.other();
        lent.endpoints = key.endpoints(*server);
        talk.turn();
    }
}

impl Lent<'_> {
    fn count(&mut self, seen: Seen) {
        let account = &mut self.outlet.stats.account;
        match seen {
            Seen::New => {}
            Seen::Retransmission => account.retransmissions += 1,
            Seen::KeepAlive => account.keepalives += 1,
            Seen::Copy => account.duplicates += 1,
        }
    }
}

impl Datagrams {
    /// Whether this datagram was seen a moment ago on another interface.
    fn is_copy(&mut self, from: Side, packet: &Packet<'_>) -> bool {
        let print = fingerprint(from, packet);
        let copied = self.recent.iter().any(|recent| {
            recent.print == print
                && recent.interface != packet.interface
                && recent.time != Timestamp::default()
                && !packet.time.is_past(recent.time, limits::COPY_TIME)
        });
        if !copied {
            let (interface, time) = (packet.interface, packet.time);
            self.recent[usize::from(self.next) % 4] = Copyable {
                print,
                interface,
                time,
            };
            self.next = self.next.wrapping_add(1);
        }
        copied
    }
}

/// IP identification, length, direction and first bytes in one number (FNV-1a).
fn fingerprint(from: Side, packet: &Packet<'_>) -> u64 {
    let head = packet.payload.get(..64).unwrap_or(packet.payload);
    let id = packet.ip_id.map_or(u32::MAX, u32::from);
    let numbers = [id, packet.payload_len, from as u32].map(u32::to_le_bytes);
    numbers
        .as_flattened()
        .iter()
        .chain(head)
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
