//! What a worker does that begins amid a file, and how it is joined to the one that read what stands before.
//!
//! A file is followed in parts at the same time, each by a worker of its own. The worker of a later part knows nothing of
//! the conversations that are open where it begins. Of each it waits for a moment at which, as far as it can see,
//! nothing is on its way: the server has answered, and the client, having received all of it, asks anew. From there on it
//! follows the conversation as one at rest. What comes before that moment it does not follow but keeps.
//!
//! When the part before has been followed, its worker follows what was kept, in order, and with it how time went on. At each
//! of those moments its own state of the conversation has to be the one that was taken for granted
//! ([`Conversation::rests_as`]); else nothing of the later part counts, and the file is followed in another way. So what
//! comes out does not depend on parts, and a wrong guess costs time alone.

use super::{Core, Worker};
use crate::exchange::Silence;
use crate::flow::table::Table;
use crate::flow::{FlowKey, Side, Spread};
use crate::limits;
use crate::pipeline::conversation::{Conversation, Rest};
use crate::pipeline::doubt::Doubt;
use crate::pipeline::select::{Selected, Server};
use crate::pipeline::talk::Lent;
use crate::protocol::Past;
use crate::source::{Frame, Timestamp};
use crate::wire::{Decoded, Joined, Kept, Packet, Transport, flag};

/// Why a part cannot be joined to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct NoSeam(pub(in crate::pipeline) &'static str);

/// What a worker keeps that begins amid a file.
pub(super) struct Seam {
    /// What conversations at rest are taken to have behind them.
    past: Past,
    /// Of which conversations nothing is taken for granted yet.
    glimpses: Table<Option<Answer>>,
    steps: Vec<Step>,
    /// What frames among the steps take, in bytes.
    bytes: usize,
    /// Most conversations of each shard at a time.
    most_open: [usize; limits::SHARDS],
    /// Most bytes that those of each shard held back at a time.
    most_held: [usize; limits::SHARDS],
    hopeless: Option<NoSeam>,
}

/// How much a worker leaves to that of the part before.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::pipeline) struct LeftOver {
    /// Things to be done, at most [`limits::SEAM_STEPS`].
    pub(in crate::pipeline) steps: usize,
    /// Bytes of frames among them, at most [`limits::SEAM_BYTES`].
    pub(in crate::pipeline) bytes: usize,
}

/// What a server sent last.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// Sequence number after it.
    end: u32,
    /// Up to where it had received.
    received: u32,
}

/// Conversations that went on in the next part, as they were before.
type Rested = Table<Conversation>;

/// What is left to the worker of the part before, in order.
enum Step {
    /// Capture time went on from one to the other.
    Wake([Timestamp; 2]),
    /// A frame of a conversation of which nothing was taken for granted; capture time was `now`.
    Frame { now: Timestamp, frame: Kept },
    /// A SYN, which may be a copy of another one; where it begins a conversation, none was open between its ends but one
    /// that it replaces.
    Syn {
        now: Timestamp,
        frame: Kept,
        begins: bool,
    },
    /// A conversation was at rest.
    Rested(Box<(FlowKey, Rest)>),
    /// A conversation that was at rest begins anew, with this sequence number of this side.
    Anew(Box<(FlowKey, Side, u32)>),
}

impl Seam {
    fn new(past: Past) -> Self {
        Self {
            past,
            glimpses: Table::new(limits::SEAM_STEPS),
            steps: Vec::new(),
            bytes: 0,
            most_open: [0; limits::SHARDS],
            most_held: [0; limits::SHARDS],
            hopeless: None,
        }
    }

    pub(super) fn give_up(&mut self, why: &'static str) {
        self.hopeless.get_or_insert(NoSeam(why));
    }

    pub(super) fn wake(&mut self, before: Timestamp, now: Timestamp) {
        self.step(Step::Wake([before, now]));
    }

    pub(super) fn hold(&mut self, held: &[usize; limits::SHARDS]) {
        for (shard, &bytes) in held.iter().enumerate() {
            self.holds(shard, bytes);
        }
    }

    pub(super) fn holds(&mut self, shard: usize, bytes: usize) {
        self.most_held[shard] = self.most_held[shard].max(bytes);
    }

    /// A conversation more is followed; so many are now, and another one had to make room or had not.
    pub(super) fn opens(&mut self, shard: usize, conversations: usize, made_room: bool) {
        self.most_open[shard] = self.most_open[shard].max(conversations);
        if made_room {
            self.give_up("conversations make room for others");
        }
    }

    /// A SYN or a datagram is seen, of whatever conversation.
    pub(super) fn tells(&mut self, now: Timestamp, frame: &Frame<'_>) {
        let frame = self.keep(frame);
        let begins = false;
        self.step(Step::Syn { now, frame, begins });
    }

    /// The SYN that was just seen begins a conversation.
    fn begins(&mut self) {
        if let Some(Step::Syn { begins, .. }) = self.steps.last_mut() {
            *begins = true;
        }
    }

    /// A frame is left to the part before, with all that there is to be done with it.
    fn leave(&mut self, now: Timestamp, frame: &Frame<'_>) {
        let told = |step: &mut Step| matches!(step, Step::Syn { frame: told, .. } if told.frame().number == frame.number);
        let frame = match self.steps.pop_if(told) {
            Some(Step::Syn { frame, .. }) => frame,
            _ => self.keep(frame),
        };
        self.step(Step::Frame { now, frame });
    }

    fn keep(&mut self, frame: &Frame<'_>) -> Kept {
        self.bytes += frame.data.len();
        Kept::from(frame)
    }

    fn step(&mut self, step: Step) {
        if self.steps.len() >= limits::SEAM_STEPS || self.bytes > limits::SEAM_BYTES {
            return self.give_up("too much is left to the part before");
        }
        if self.hopeless.is_none() {
            self.steps.push(step);
        }
    }

    /// Whether all that was sent up to `packet` seems to be answered, of which nothing is taken for granted yet.
    fn seems_at_rest(
        &mut self,
        key: FlowKey,
        spread: Spread,
        from_server: bool,
        packet: &Packet<'_>,
    ) -> bool {
        let place = match self.glimpses.find(&key, spread, packet.time) {
            Some(place) => place,
            None => self.glimpses.insert(key, packet.time, None).0,
        };
        let Some((_, last)) = self.glimpses.get_mut(place) else {
            return false;
        };
        let control = flag::SYN | flag::FIN | flag::RST | flag::ACK;
        if packet.flags & control != flag::ACK {
            *last = None;
        } else if from_server {
            *last = Answer::after(*last, packet);
        } else if packet.payload_len > 0 {
            return last.take().is_some_and(|last| last.is_taken_by(packet));
        }
        false
    }
}

impl Answer {
    /// With another packet of the server.
    fn after(last: Option<Self>, packet: &Packet<'_>) -> Option<Self> {
        match last {
            Some(last) if last.end != packet.seq => None,
            None if packet.payload_len == 0 => None,
            _ => Some(Self {
                end: packet.seq.wrapping_add(packet.payload_len),
                received: packet.ack,
            }),
        }
    }

    /// Whether the client asks anew when it has received all, and the server had received all from it.
    fn is_taken_by(self, request: &Packet<'_>) -> bool {
        let whole = request.payload.len() == request.payload_len as usize;
        whole && (self.end, self.received) == (request.ack, request.seq)
    }
}

impl Worker {
    /// Lets the worker begin amid a file: it is to be [joined](Worker::join) to that of the part before. `past` is what
    /// it takes conversations at rest to have behind them.
    pub(in crate::pipeline) fn amid(mut self, past: Past) -> Self {
        self.core.seam = Some(Box::new(Seam::new(past)));
        self
    }

    /// How much is left to the worker of the part before.
    pub(in crate::pipeline) fn left_over(&self) -> LeftOver {
        let seam = self.core.seam.as_deref();
        seam.map_or_else(LeftOver::default, |seam| LeftOver {
            steps: seam.steps.len(),
            bytes: seam.bytes,
        })
    }

    /// Whether nothing will come of joining it.
    pub(in crate::pipeline) fn is_hopeless(&self) -> bool {
        let seam = self.core.seam.as_deref();
        seam.is_some_and(|seam| seam.hopeless.is_some()) || self.core.outlet.hinges
    }

    /// Goes on as the one worker that has followed its own part and that of `right`, which comes next.
    ///
    /// # Errors
    /// When something was taken for granted in `right` that is not so.
    pub(in crate::pipeline) fn join(mut self, right: Self) -> Result<Self, NoSeam> {
        let waiting = self.decoder.fragments_waiting() + right.decoder.fragments_waiting();
        if waiting > 0 {
            return Err(NoSeam("fragments of datagrams wait for others"));
        }
        let mut right = right.core;
        let Some(seam) = right.seam.take() else {
            return Err(NoSeam("it did not begin amid the file"));
        };
        if let Some(why) = seam.hopeless {
            return Err(why);
        }
        if right.outlet.hinges {
            return Err(NoSeam("much depends on a conversation's past"));
        }
        self.core.goes_on_as(&right, &seam)?;
        let before = self.core.outlet.stats.account.conversations;
        let mut rested = Table::new(limits::SEAM_STEPS);
        for step in &seam.steps {
            self.step(step, &mut rested)?;
            let opened = self.core.outlet.stats.account.conversations - before;
            self.core.has_room_for(&seam, opened as usize)?;
        }
        self.core.advance(right.now);
        self.core.take_over(right, rested)?;
        Ok(self)
    }

    /// Follows a step of the next part; a conversation that goes on there is put to those that have `rested`.
    fn step(&mut self, step: &Step, rested: &mut Rested) -> Result<(), NoSeam> {
        let core = &mut self.core;
        let kept = match step {
            Step::Wake(times) => {
                // The first time of all has none before it.
                for &time in times.iter().filter(|time| time.0 > 0) {
                    core.advance(time);
                }
                return Ok(());
            }
            Step::Rested(step) => {
                let (key, rest) = &**step;
                let left = core.let_go(key, rest)?;
                if rested.find(key, key.spread(), core.now).is_some() {
                    return Err(NoSeam("a conversation was at rest twice"));
                }
                rested.insert(*key, core.now, left);
                return Ok(());
            }
            Step::Anew(step) => {
                let (key, from, seq) = **step;
                let place = rested.find(&key, key.spread(), core.now);
                let before = place.and_then(|place| rested.get_mut(place));
                let anew = before.is_some_and(|(_, before)| before.is_not_begun_by(from, seq));
                return match anew {
                    true => Ok(()),
                    false => Err(NoSeam("a conversation at rest begins as it has begun")),
                };
            }
            Step::Frame { now, frame } | Step::Syn { now, frame, .. } => {
                core.advance(*now);
                frame
            }
        };
        let frame = kept.frame();
        let Decoded::Packet(packet) = self.decoder.decode(&frame) else {
            return Err(NoSeam("what was a packet is none"));
        };
        let &Step::Syn { begins, .. } = step else {
            core.packet(&frame, &packet, Joined::default());
            return Ok(());
        };
        core.look_for_translation(&packet);
        if begins {
            core.make_room_for(&packet)?;
        }
        Ok(())
    }
}

impl Core {
    /// Follows a packet of no conversation that is known, or leaves it to the part before. Gives the conversation's place.
    #[cold]
    #[inline(never)]
    pub(super) fn meet(
        &mut self,
        frame: &Frame<'_>,
        packet: &Packet<'_>,
        key: FlowKey,
        from: Side,
    ) -> Option<u32> {
        let spread = key.spread();
        let Some(seam) = &mut self.seam else {
            return self.open(spread.shard(), key, from, packet);
        };
        let selected = self.settings.selector.select(packet)?;
        let control = flag::SYN | flag::RST | flag::ACK;
        if packet.transport == Transport::Tcp && packet.flags & control == flag::SYN {
            seam.begins();
            return self.open(spread.shard(), key, from, packet);
        }
        let from_server = selected.server == Server::Source;
        if packet.transport == Transport::Tcp
            && seam.seems_at_rest(key, spread, from_server, packet)
            && let Some(place) = self.resume(key, from, packet, &selected)
        {
            return Some(place);
        }
        let now = self.now;
        if let Some(seam) = &mut self.seam {
            seam.leave(now, frame);
        }
        None
    }

    /// A SYN is seen of a conversation that is known. What it is of one that was at rest is looked at by the worker of
    /// the part before, which knows its own SYNs.
    #[cold]
    #[inline(never)]
    pub(super) fn look_for_anew(
        &mut self,
        place: u32,
        key: &FlowKey,
        from: Side,
        syn: &Packet<'_>,
    ) {
        let table = self.shards[key.spread().shard()].as_mut();
        let known = table.and_then(|table| table.get_mut(place));
        let (Some(seam), Some((_, conversation))) = (&mut self.seam, known) else {
            return;
        };
        if !conversation.is_resumed() {
            return;
        }
        if !conversation.begins_anew(from, syn) {
            seam.give_up("a conversation at rest may begin anew");
        }
        seam.step(Step::Anew(Box::new((*key, from, syn.seq))));
    }

    /// Takes a conversation for one at rest, which goes on with `request`.
    fn resume(
        &mut self,
        key: FlowKey,
        from: Side,
        request: &Packet<'_>,
        selected: &Selected,
    ) -> Option<u32> {
        let shard = key.spread().shard();
        let server = from.other();
        let lent = &mut Lent::of(&mut self.outlet, &mut self.output, &key, server);
        let past = self.seam.as_ref()?.past;
        let (conversation, rest) =
            Conversation::resumed(selected.kind, past, server, request, lent)?;
        let table = self.shards[shard].as_mut()?;
        let (place, evicted) = table.insert(key, request.time, conversation);
        let open = table.len();
        let seam = self.seam.as_mut()?;
        seam.opens(shard, open, evicted.is_some());
        seam.step(Step::Rested(Box::new((key, rest))));
        Some(place)
    }

    /// Whether time, and what is known of all conversations, can go on as `right` began.
    fn goes_on_as(&self, right: &Self, seam: &Seam) -> Result<(), NoSeam> {
        let Some(begun) = right.begun else {
            let empty = right.outlet.stats.account.frames == 0;
            return empty
                .then_some(())
                .ok_or(NoSeam("its frames have no times"));
        };
        let interfaces = [self.interface, right.interface];
        let apart = matches!(interfaces, [Some(one), Some(other)] if one != other);
        if apart || self.many_interfaces || right.many_interfaces {
            return Err(NoSeam("there are several interfaces"));
        }
        let set_back = self.begun.is_some() && self.next_stalled <= self.now.0;
        if begun < self.now || set_back || self.begun.is_some() && Doubt::is_jump(self.now, begun) {
            return Err(NoSeam("time does not go on"));
        }
        if self.doubt.is_open(self.now) || right.doubt.is_open(right.now) {
            return Err(NoSeam("times are in doubt"));
        }
        self.has_room_for(seam, 0)
    }

    /// Whether no conversation had to make room, and none was told to hold back less, in either part, of which this one
    /// has opened so many that the other one left to it.
    fn has_room_for(&self, seam: &Seam, opened: usize) -> Result<(), NoSeam> {
        let shards = self.shards.iter().zip(&self.held);
        let most = seam.most_open.iter().zip(&seam.most_held);
        for (((table, held), (open, also_held)), carried) in shards.zip(most).zip(&self.carried) {
            let conversations = table.as_ref().map_or(0, Table::len) + opened + open;
            let bytes = held + also_held + carried;
            if conversations > limits::FLOWS_PER_SHARD || bytes > limits::HELD_BYTES_PER_SHARD {
                return Err(NoSeam("there is too little room"));
            }
        }
        Ok(())
    }

    /// The conversation goes on in the next part, if it is at rest as was taken for granted. What it holds, empty buffers
    /// among it, it would go on holding.
    fn let_go(&mut self, key: &FlowKey, rest: &Rest) -> Result<Conversation, NoSeam> {
        let (shard, now) = (key.spread().shard(), self.now);
        let (held, carried) = (&mut self.held[shard], &mut self.carried[shard]);
        let known = self.shards[shard].as_mut().and_then(|table| {
            let place = table.find(key, key.spread(), now)?;
            let (_, conversation) = table.get_mut(place)?;
            if !conversation.rests_as(rest) {
                return None;
            }
            *held -= conversation.counted as usize;
            *carried += conversation.held_bytes();
            table.remove(place)
        });
        let (_, left) = known.ok_or(NoSeam("a conversation was not at rest"))?;
        Ok(left)
    }

    /// A conversation begins in the next part: the one that it replaces ends.
    fn make_room_for(&mut self, syn: &Packet<'_>) -> Result<(), NoSeam> {
        let (key, from) = FlowKey::of(syn);
        let shard = key.spread().shard();
        let Some(table) = &mut self.shards[shard] else {
            return Ok(());
        };
        let Some(place) = table.find(&key, key.spread(), syn.time) else {
            return Ok(());
        };
        let selected = self.settings.selector.select(syn);
        let replaced = table.get_mut(place).is_some_and(|(_, conversation)| {
            let is_it = |selected| conversation.is_replaced_by(from, syn, &selected);
            selected.is_some_and(is_it)
        });
        if !replaced {
            return Err(NoSeam("a conversation begins that is under way"));
        }
        if let Some((key, mut over)) = table.remove(place) {
            self.held[shard] -= over.counted as usize;
            let lent = &mut Lent::new(&mut self.outlet, &mut self.output, &key, &over);
            over.flush(self.now, lent);
            over.conclude(self.now, Silence::Closed, lent);
        }
        Ok(())
    }

    /// Takes all that the next part's worker has, whose steps were followed; `rested` are the conversations that
    /// went on there.
    fn take_over(&mut self, right: Self, mut rested: Rested) -> Result<(), NoSeam> {
        let (mut outlet, theirs) = (right.outlet, right.shards);
        self.outlet.take_over(&mut outlet);
        for (shard, table) in theirs.into_iter().enumerate() {
            let (Some(table), Some(ours)) = (table, &mut self.shards[shard]) else {
                continue;
            };
            for mut moved in table.into_moved() {
                let key = *moved.key();
                if ours.find(&key, key.spread(), right.now).is_some() {
                    return Err(NoSeam("a conversation is in both parts"));
                }
                let place = rested.find(&key, key.spread(), right.now);
                if let Some((_, before)) = place.and_then(|place| rested.get_mut(place)) {
                    moved.value.follows(before);
                }
                moved.value.moved(|service, protocol| {
                    let port = outlet.stats.of(service).port;
                    self.outlet.stats.service(port, protocol)
                });
                let listed = moved.value.listed;
                let place = ours.adopt(moved);
                if listed {
                    self.stalled.push((shard as u16, place));
                }
            }
            self.held[shard] += right.held[shard];
        }
        if right.begun.is_some() {
            self.begun = self.begun.or(right.begun);
            self.next_second = right.next_second;
            self.next_stalled = right.next_stalled;
        }
        self.interface = self.interface.or(right.interface);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
#[path = "seam_tests.rs"]
mod tests;
