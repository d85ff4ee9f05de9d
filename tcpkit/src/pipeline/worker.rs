//! One worker: frames in, finds out, for the shards that it owns.
//!
//! Every worker walks all frames and leaves those of other workers' shards aside, or all frames of a part of the
//! file (`seam`), so nothing is handed between threads and what comes out does not depend on their number.

mod seam;

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::seam::NoSeam;
use self::seam::Seam;
use super::conversation::Conversation;
use super::copies::Copies;
use super::doubt::Doubt;
use super::outlet::Outlet;
use super::owners::Owners;
use super::select::{Selector, Server};
use super::talk::{Lent, Talk};
use super::translation::Translations;
use crate::event::PacketEvent;
use crate::exchange::Silence;
use crate::flow::stream::Seen;
use crate::flow::table::Table;
use crate::flow::{FlowKey, Side, Spread};
use crate::limits;
use crate::protocol::Output;
use crate::sink::Needs;
use crate::sink::stats::Stats;
use crate::source::{Frame, Timestamp};
use crate::wire::{self, Decoded, Decoder, Joined, Packet, Segment, Transport, flag};

/// How often capture time looks after conversations that hold segments back.
const STALLED_EVERY: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;
/// Below it, timeouts are looked after as often as what is held back: up to a second late would be much of it.
const SHORT_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Which shards are its.
    pub owners: Owners,
}

/// Follows the conversations of its shards.
pub struct Worker {
    decoder: Decoder,
    core: Core,
}

struct Core {
    settings: Settings,
    shards: Vec<Option<Table<Conversation>>>,
    output: Output,
    outlet: Outlet,
    needs: Needs,
    /// Packets are told or counted for somebody.
    attends: bool,
    now: Timestamp,
    doubt: Doubt,
    begun: Option<Timestamp>,
    next_second: u64,
    next_stalled: u64,
    stalled: Vec<(u16, u32)>,
    /// Bytes that the conversations of each shard hold back.
    held: [usize; limits::SHARDS],
    /// Bytes that conversations held which went on in another part of the file.
    carried: [usize; limits::SHARDS],
    interface: Option<u32>,
    many_interfaces: bool,
    counts: bool,
    translations: Translations,
    copies: Copies,
    /// What is left to the worker of the part before, where this one begins amid a file.
    seam: Option<Box<Seam>>,
}

impl Worker {
    /// A worker that tells `outlet` what it finds.
    pub fn new(settings: Settings, outlet: Outlet) -> Self {
        let owns = |shard| settings.owners.owns(settings.worker, shard);
        let shards = (0..limits::SHARDS)
            .map(|shard| owns(shard).then(|| Table::new(limits::FLOWS_PER_SHARD)))
            .collect();
        let needs = outlet.needs();
        let output = Output {
            wants_text: needs.text,
            takes_plain: true,
            ..Output::default()
        };
        let core = Core {
            counts: settings.worker == 0,
            settings,
            shards,
            output,
            attends: needs.packets || outlet.is_read(),
            outlet,
            needs,
            now: Timestamp::default(),
            doubt: Doubt::default(),
            begun: None,
            next_second: 0,
            next_stalled: 0,
            stalled: Vec::new(),
            held: [0; limits::SHARDS],
            carried: [0; limits::SHARDS],
            interface: None,
            many_interfaces: false,
            translations: Translations::default(),
            copies: Copies::default(),
            seam: None,
        };
        Self {
            decoder: match needs.packets {
                true => Decoder::keeping_frames(),
                false => Decoder::new(),
            },
            core,
        }
    }

    /// Follows frames in their order. All of the straight way to the dissector is inlined into this: handing things
    /// over costs as much as what is done with them.
    #[inline(never)]
    pub fn frames(&mut self, frames: &[Frame<'_>]) {
        self.core.count(frames);
        for frame in frames {
            self.core.output.prefetch.frame(frame);
            self.core.advance(frame.time);
            match wire::plain(frame) {
                Some(segment) if self.core.straight(frame, &segment) => {}
                Some(segment) => {
                    let packet = segment.packet(frame);
                    self.core.packet(frame, &packet, Joined::default());
                }
                None => self.other_frame(frame),
            }
        }
    }

    /// Follows one frame.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        self.frames(slice::from_ref(frame));
    }

    #[inline(never)]
    fn other_frame(&mut self, frame: &Frame<'_>) {
        match self.decoder.decode_joined(frame) {
            (Decoded::Packet(packet), joined) => self.core.packet(frame, &packet, joined),
            (other, _) => self.core.not_a_packet(other),
        }
    }

    /// Lets a frame pass that a filter keeps out: it is counted, and time goes on.
    pub fn pass(&mut self, frame: &Frame<'_>) {
        self.core.count(slice::from_ref(frame));
        self.core.advance(frame.time);
    }

    /// Capture time is `now` at least, though no frame says so.
    pub fn advance(&mut self, now: Timestamp) {
        self.core.advance(now);
    }

    /// The latest capture time.
    pub fn now(&self) -> Timestamp {
        self.core.now
    }

    /// The loop has turned: whoever waits for statistics gets them.
    pub fn look(&mut self) {
        let now = self.core.now;
        self.core.outlet.look(now);
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
            let never = self.decoder.fragments_lost() + self.decoder.fragments_waiting() as u64;
            self.core.outlet.stats.account.fragments_lost += never;
        }
        let now = self.core.now;
        if let Some(desk) = self.core.outlet.desk() {
            desk.pass(now);
        }
        self.core.outlet
    }
}

impl Core {
    fn stats(&mut self) -> &mut Stats {
        &mut self.outlet.stats
    }

    /// Counts frames, where this worker does.
    #[inline]
    fn count(&mut self, frames: &[Frame<'_>]) {
        if self.counts {
            let account = &mut self.outlet.stats.account;
            account.frames += frames.len() as u64;
            for frame in frames {
                account.captured_bytes += frame.data.len() as u64;
                account.wire_bytes += u64::from(frame.wire_len);
            }
        }
    }

    #[inline]
    fn advance(&mut self, time: Timestamp) {
        if time > self.now {
            if time.0 < self.next_stalled {
                self.now = time;
            } else {
                self.wake(time);
            }
        } else if Doubt::is_behind(self.now, time) {
            self.step_back(time);
        }
    }

    /// The clock may have been set back.
    #[cold]
    #[inline(never)]
    fn step_back(&mut self, time: Timestamp) {
        if let Some(seam) = &mut self.seam {
            seam.give_up("time goes back");
        }
        if self.doubt.goes_back(self.now) {
            self.now = time;
            self.begun = self.begun.min(Some(time));
            self.next_stalled = time.0;
            self.next_second = next_second(time);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&mut self, now: Timestamp) {
        if self.begun.is_some() && !self.doubt.goes_on(self.now, now) {
            if let Some(seam) = &mut self.seam {
                seam.give_up("time is in doubt");
            }
            return;
        }
        let before = std::mem::replace(&mut self.now, now);
        if let Some(seam) = &mut self.seam {
            seam.wake(before, now);
        }
        if self.begun.is_none() {
            self.begun = Some(now);
            if let Some(desk) = self.outlet.desk() {
                desk.begin(now);
            }
            self.next_second = next_second(now);
        }
        self.next_stalled = next_multiple(now, STALLED_EVERY);
        self.visit_stalled();
        if self.settings.timeout < SHORT_TIMEOUT {
            self.time_out();
        }
        if now.0 >= self.next_second {
            self.next_second = next_second(now);
            self.sweep();
            self.count_open();
            self.outlet.tick(now);
        }
        if let Some(seam) = &mut self.seam {
            seam.hold(&self.held);
        }
    }

    fn not_a_packet(&mut self, decoded: Decoded<'_>) {
        if let (Some(seam), Decoded::Fragment) = (&mut self.seam, &decoded) {
            seam.give_up("there are fragments");
        }
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

    /// Follows a segment that simply comes next in a busy conversation, or is none of this worker's; false, and
    /// nothing done, where there is more to it: what [`Core::packet`] does, without what only others need.
    #[inline(always)]
    fn straight(&mut self, frame: &Frame<'_>, segment: &Segment<'_>) -> bool {
        if self.attends
            || (self.many_interfaces && segment.payload_len == 0)
            || self.interface != Some(frame.interface)
            || segment.flags() & (flag::SYN | flag::ACK) != flag::ACK
        {
            return false;
        }
        let admitted = self
            .settings
            .selector
            .admits(Transport::Tcp, segment.ports());
        if !admitted {
            return true;
        }
        let (key, from) = FlowKey::of_ends(segment.ends(), Transport::Tcp);
        let spread = key.spread();
        let Some(table) = &mut self.shards[spread.shard()] else {
            return true;
        };
        let Some(conversation) = table.find_busy(&key, spread, frame.time) else {
            return false;
        };
        let lent = &mut Lent::new(&mut self.outlet, &mut self.output, &key, conversation);
        let followed = conversation.straight(from, segment, frame, lent);
        self.outlet.stats.account.matched += u64::from(followed);
        if followed && conversation.grew() {
            self.grew(&key, spread);
        }
        followed
    }

    /// A busy conversation takes more memory than before.
    #[cold]
    #[inline(never)]
    fn grew(&mut self, key: &FlowKey, spread: Spread) {
        let shard = spread.shard();
        let now = self.now;
        let table = self.shards[shard].as_mut();
        if let Some(place) = table.and_then(|table| table.find(key, spread, now)) {
            self.held_back(shard, place);
        }
    }

    #[inline(never)]
    fn packet(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, joined: Joined<'_>) {
        if self.interface != Some(packet.interface) {
            self.many_interfaces |= self.interface.is_some();
            self.interface = Some(packet.interface);
        }
        let ports = [packet.source_port, packet.destination_port];
        if !self.settings.selector.admits(packet.transport, ports) {
            return;
        }
        if self.counts && Translations::may_tell(packet) {
            match &mut self.seam {
                Some(seam) => seam.tells(self.now, frame),
                None => self.look_for_translation(packet),
            }
        }
        let (key, from) = FlowKey::of(packet);
        let spread = key.spread();
        let shard = spread.shard();
        let Some(table) = &mut self.shards[shard] else {
            return;
        };
        let place = match table.find(&key, spread, packet.time) {
            Some(place) => {
                if self.seam.is_some() && packet.flags & flag::SYN != 0 {
                    self.look_for_anew(place, &key, from, packet);
                }
                place
            }
            None => match self.meet(frame, packet, key, from) {
                Some(place) => place,
                None => return,
            },
        };
        self.outlet.stats.account.matched += 1;
        let copy = self.is_copy(&key, spread, from, packet);
        let Some(table) = &mut self.shards[shard] else {
            return;
        };
        let Some((_, conversation)) = table.get_mut(place) else {
            return;
        };
        if self.attends {
            let direction = conversation.direction(from);
            let event = PacketEvent {
                frame: *frame,
                fragments: joined.frames,
                packet: *packet,
                direction,
                copy,
                raw: conversation.is_raw(),
            };
            let port = key.endpoint(conversation.server()).port();
            attend(&mut self.outlet, self.needs, &event, port);
        }
        let lent = &mut Lent::new(&mut self.outlet, &mut self.output, &key, conversation);
        match packet.transport {
            Transport::Tcp => {
                if conversation.segment(from, packet, self.now, lent) {
                    self.held_back(shard, place);
                }
            }
            Transport::Udp if copy => lent.count(Seen::Copy),
            Transport::Udp => {
                conversation.datagram(from, packet, joined, self.now, lent);
                if conversation.grew() || conversation.is_waiting() {
                    self.held_back(shard, place);
                }
            }
        }
    }

    /// Whether a packet is one that another interface has shown. A segment is counted here where it has no bytes and begins nothing:
    /// of all others the stream knows what they are. Copies may follow from a second interface that nobody knows yet; where
    /// segments are only counted, they are not looked for until it is known.
    #[inline(never)]
    fn is_copy(&mut self, key: &FlowKey, spread: Spread, from: Side, packet: &Packet<'_>) -> bool {
        let looks = match packet.transport {
            Transport::Tcp => self.attends || self.many_interfaces && packet.payload_len == 0,
            Transport::Udp => true,
        };
        if !looks {
            return false;
        }
        let copy = self.copies.is_copy(key, spread, from, packet);
        if copy
            && packet.transport == Transport::Tcp
            && packet.payload_len == 0
            && packet.flags & flag::SYN == 0
        {
            self.stats().account.duplicates += 1;
        }
        copy
    }

    /// One worker does this for all conversations, so that the count does not depend on threads.
    #[cold]
    #[inline(never)]
    fn look_for_translation(&mut self, packet: &Packet<'_>) {
        if self.settings.selector.select(packet).is_some() && self.translations.is_copy(packet) {
            self.stats().account.translated += 1;
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
        let talk = Talk::new(selected.kind);
        let conversation = Conversation::new(packet.transport, talk, server, selected.certain);
        self.stats().account.conversations += 1;
        let table = self.shards[shard].as_mut()?;
        let (place, evicted) = table.insert(key, packet.time, conversation);
        if let Some(seam) = &mut self.seam {
            seam.opens(shard, table.len(), evicted.is_some());
        }
        if let Some((key, mut evicted)) = evicted {
            self.held[shard] -= evicted.counted as usize;
            self.stats().account.evicted += 1;
            let lent = &mut Lent::new(&mut self.outlet, &mut self.output, &key, &evicted);
            evicted.conclude(self.now, Silence::Closed, lent);
        }
        Some(place)
    }

    /// Segments of a conversation may be held back now, or no longer: lists it, and keeps the shard's bound.
    #[cold]
    #[inline(never)]
    fn held_back(&mut self, shard: usize, place: u32) {
        let Some(table) = &mut self.shards[shard] else {
            return;
        };
        let Some((key, conversation)) = table.get_mut(place) else {
            return;
        };
        let held = &mut self.held[shard];
        count_held(held, conversation);
        if let Some(seam) = &mut self.seam {
            seam.holds(shard, *held);
        }
        if *held > limits::HELD_BYTES_PER_SHARD {
            let lent = &mut Lent::new(&mut self.outlet, &mut self.output, key, conversation);
            conversation.flush(self.now, lent);
            count_held(held, conversation);
            if *held > limits::HELD_BYTES_PER_SHARD {
                conversation.forget(lent);
                count_held(held, conversation);
            }
        }
        if conversation.is_waiting() && !conversation.listed {
            conversation.listed = true;
            self.stalled.push((shard as u16, place));
        }
    }

    /// Conversations that hold segments back: the reordering window may have passed.
    fn visit_stalled(&mut self) {
        let mut stalled = std::mem::take(&mut self.stalled);
        stalled.retain(|&(shard, place)| {
            let Some(table) = &mut self.shards[usize::from(shard)] else {
                return false;
            };
            let Some((key, conversation)) = table.get_mut(place) else {
                return false;
            };
            let lent = &mut Lent::new(&mut self.outlet, &mut self.output, key, conversation);
            conversation.drain(self.now, lent);
            count_held(&mut self.held[usize::from(shard)], conversation);
            conversation.listed = conversation.is_waiting();
            conversation.listed
        });
        self.stalled = stalled;
    }

    /// What waited for too long, where once a second is too seldom.
    fn time_out(&mut self) {
        for table in self.shards.iter_mut().flatten() {
            for (_, key, _, conversation) in table.iter_mut() {
                let lent = &mut Lent::new(&mut self.outlet, &mut self.output, key, conversation);
                conversation.time_out(self.now, self.settings.timeout, lent);
            }
        }
    }

    /// Once a second: what waited for too long, and who is gone.
    fn sweep(&mut self) {
        let now = self.now;
        for (table, held) in self.shards.iter_mut().zip(&mut self.held) {
            let Some(table) = table else {
                continue;
            };
            let mut gone = Vec::new();
            for (place, key, seen, conversation) in table.iter_mut() {
                let lent = &mut Lent::new(&mut self.outlet, &mut self.output, key, conversation);
                if now.is_past(seen, limits::HOLE_TIME) {
                    conversation.flush(now, lent);
                    count_held(held, conversation);
                }
                conversation.time_out(now, self.settings.timeout, lent);
                if conversation.is_over(seen, now, self.settings.timeout) {
                    conversation.conclude(now, Silence::Closed, lent);
                    gone.push(place);
                }
            }
            for place in &gone {
                let removed = table.remove(*place);
                *held -= removed.map_or(0, |(_, conversation)| conversation.counted as usize);
            }
            if !gone.is_empty() {
                table.reclaim();
            }
        }
    }

    /// Tells readers how many connections are open at each port.
    fn count_open(&mut self) {
        let Some(desk) = self.outlet.desk() else {
            return;
        };
        let mut open = BTreeMap::new();
        for table in self.shards.iter_mut().flatten() {
            for (_, key, _, conversation) in table.iter_mut() {
                if conversation.is_connected() {
                    let port = key.endpoint(conversation.server()).port();
                    *open.entry(port).or_default() += 1;
                }
            }
        }
        desk.set_open(open);
    }

    fn end(&mut self) {
        self.now = self.doubt.end(self.now);
        let now = self.now;
        self.count_open();
        let threshold = self.settings.threshold.unwrap_or_default();
        for table in self.shards.iter_mut().flatten() {
            for (_, key, _, conversation) in table.iter_mut() {
                let lent = &mut Lent::new(&mut self.outlet, &mut self.output, key, conversation);
                conversation.stop(now, threshold, lent);
            }
        }
    }
}

/// The first whole second behind `now`, in nanoseconds.
fn next_second(now: Timestamp) -> u64 {
    next_multiple(now, SECOND)
}

/// The first multiple of so many nanoseconds behind `now`: when something is done does not depend on when the capture, or
/// a part of it, began.
fn next_multiple(now: Timestamp, every: u64) -> u64 {
    (now.0 / every + 1).saturating_mul(every)
}

/// Brings what a conversation holds back up to date in its shard's sum.
fn count_held(sum: &mut usize, conversation: &mut Conversation) {
    let held = conversation.held_bytes();
    *sum = *sum - conversation.counted as usize + held;
    conversation.counted = held as u32;
}

/// Tells or counts a packet, where somebody wants that. Windows of segments that begin or end a connection say nothing.
#[inline(never)]
fn attend(outlet: &mut Outlet, needs: Needs, event: &PacketEvent<'_>, port: u16) {
    let packet = &event.packet;
    let quiet = flag::SYN | flag::FIN | flag::RST;
    let zero_window =
        packet.transport == Transport::Tcp && packet.window == 0 && packet.flags & quiet == 0;
    if !event.copy {
        outlet.count_packet(port, event.direction, event.frame.wire_len, zero_window);
    }
    if needs.packets {
        outlet.packet(event);
    }
}
