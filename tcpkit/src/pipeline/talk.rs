//! What is said in one conversation: from bytes in order to exchanges.
//!
//! Reads the pieces of a conversation's streams, or its datagrams; drives the dissector and the
//! pairing. A message that lies whole in a segment is parsed where it is; a partial one is kept.

use std::ops::ControlFlow;

use super::conversation::Conversation;
use super::outlet::Outlet;
use super::select::Kind;
use super::undecided::{Kept, Piece, Undecided};
use crate::event;
use crate::exchange::pairing::{Context, Pairing, Segment};
use crate::exchange::{Service, Silence};
use crate::flow::stream::{Chunk, Gap};
use crate::flow::{Direction, Endpoints, FlowKey, Parties, Side};
use crate::limits;
use crate::protocol::{
    self, Dissector, Input, Mark, Output, Parsed, Past, Probe, Protocol, Resync, Verdict, opaque,
};
use crate::source::Timestamp;
use crate::wire::Transport;

/// Segments that are looked at for a protocol before a conversation counts as unrecognised.
const TRIES: u8 = 8;
/// A larger buffer of an empty tail is given back.
const KEPT_CAPACITY: usize = 16 << 10;
/// Places of broken grammar after which a conversation that never made sense is left alone.
const MALFORMED: u8 = 4;

/// What a worker lends to the conversation at hand.
pub struct Lent<'a> {
    /// Where finds go.
    pub outlet: &'a mut Outlet,
    /// Scratch space for messages.
    pub output: &'a mut Output,
    /// Client and server.
    pub parties: Parties<'a>,
    /// What carries the conversation.
    pub transport: Transport,
}

impl<'a> Lent<'a> {
    /// For this conversation.
    #[inline]
    pub fn new(
        outlet: &'a mut Outlet,
        output: &'a mut Output,
        key: &'a FlowKey,
        conversation: &Conversation,
    ) -> Self {
        Self::of(outlet, output, key, conversation.server())
    }

    /// For the conversation that this endpoint serves.
    #[inline]
    pub fn of(
        outlet: &'a mut Outlet,
        output: &'a mut Output,
        key: &'a FlowKey,
        server: Side,
    ) -> Self {
        Self {
            outlet,
            output,
            parties: Parties { key, server },
            transport: key.transport(),
        }
    }

    /// The scratch space, emptied.
    #[inline]
    fn clean_output(&mut self) -> &mut Output {
        self.output.clear();
        self.output
    }

    /// The server's port.
    pub fn server_port(&self) -> u16 {
        self.parties.endpoints().server.port()
    }

    /// What pairing needs of a conversation in `protocol`: its circumstances, the messages found, and
    /// where its finds go.
    #[inline]
    fn split(&mut self, spoken: Spoken) -> (Context<'_>, &Output, &mut Outlet) {
        let context = Context {
            parties: self.parties,
            protocol: spoken.protocol,
            service: spoken.service,
            transport: self.transport,
            wants_text: self.output.wants_text,
        };
        (context, self.output, self.outlet)
    }

    /// Hands to pairing what a dissector told without being shown bytes: of messages that a loss or the end
    /// of their direction cut.
    #[inline(never)]
    fn hand_on(&mut self, spoken: Spoken, direction: Direction, pairing: &mut Pairing) {
        let (context, output, outlet) = self.split(spoken);
        pairing.messages_apart(
            &context,
            direction,
            Segment::default(),
            &Input::default(),
            output,
            outlet,
        );
    }
}

enum State {
    /// The protocol is not decided, after so many segments that said nothing.
    Undecided {
        tries: u8,
        kept: Option<Box<Undecided>>,
    },
    /// This protocol.
    Speaking {
        spoken: Spoken,
        dissector: Box<dyn Dissector>,
        sense: Sense,
    },
    /// Nothing more to read.
    Silent,
}

/// The protocol of a conversation, and where it is counted.
#[derive(Clone, Copy)]
struct Spoken {
    protocol: &'static dyn Protocol,
    service: Service,
}

/// How much sense a conversation made so far.
#[derive(Clone, Copy, Default)]
struct Sense {
    made: bool,
    malformed: u8,
}

/// Bytes that a dissector left.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Stream offset of the first of them.
    offset: u64,
    first: Mark,
}

/// How one direction is parsed.
#[derive(Default)]
struct Parse {
    skip: u64,
    /// When the latest byte was seen.
    latest: Mark,
    /// What its sender had received when it sent it.
    received: u64,
    tail: Option<Box<Tail>>,
    /// The next message has to be found again.
    lost: bool,
    /// Its tail waits for the other direction.
    blocked: bool,
    /// Its tail became longer than most are.
    grew: bool,
}

impl Parse {
    fn has_tail(&self) -> bool {
        self.tail
            .as_ref()
            .is_some_and(|tail| !tail.bytes.is_empty())
    }

    /// Whether the next bytes are shown to the dissector just as they come.
    #[inline]
    fn is_straight(&self) -> bool {
        self.skip == 0 && !self.lost && !self.has_tail()
    }
}

/// What was taken for granted of a conversation at rest.
#[derive(Clone, Copy, Debug)]
pub struct Resumed {
    kind: Kind,
    protocol: &'static str,
    past: Past,
}

/// What is said in one conversation.
pub struct Talk {
    kind: Kind,
    state: State,
    parse: [Parse; 2],
    pairing: Pairing,
}

/// What the first bytes decided.
enum Decision {
    Speak(&'static dyn Protocol, Option<Direction>),
    Opaque(&'static str),
    Wait,
    No,
}

/// A run of bytes of one direction and when they were seen.
#[derive(Clone, Copy)]
struct Run<'a> {
    bytes: &'a [u8],
    old: usize,
    offset: u64,
    first: Mark,
    last: Mark,
    /// The segment that the last of the bytes came in.
    segment: Segment,
    datagram: bool,
    /// Bytes at the end of a datagram that were not captured.
    lost: u32,
    /// The dissector is called even if there are no bytes: what it asked to skip has ended.
    resumed: bool,
}

impl<'a> Run<'a> {
    /// The bytes of a segment, seen at `mark`.
    #[inline]
    fn of(chunk: &Chunk<'a>, mark: Mark, segment: Segment) -> Self {
        Self {
            bytes: chunk.bytes,
            old: 0,
            offset: chunk.offset,
            first: mark,
            last: mark,
            segment,
            datagram: false,
            lost: 0,
            resumed: false,
        }
    }

    /// What is kept of it while the protocol is not known.
    fn piece(&self, direction: Direction) -> Piece {
        let kept = Kept::new(
            direction,
            &Chunk {
                direction,
                bytes: self.bytes,
                offset: self.offset,
                time: self.last.time,
                frame: self.last.frame,
                received: self.segment.received,
            },
        );
        match self.datagram {
            true => Piece::Datagram(kept, (self.first, self.lost)),
            false => Piece::Bytes(kept),
        }
    }
}

impl Talk {
    /// A conversation taken for `kind`.
    pub fn new(kind: Kind) -> Self {
        let state = match kind {
            Kind::Raw => State::Silent,
            _ => State::Undecided {
                tries: 0,
                kept: None,
            },
        };
        Self {
            kind,
            state,
            parse: Default::default(),
            pairing: Pairing::default(),
        }
    }

    /// A conversation at rest with this past, which goes on with a request that `bytes` begin; `None` where they are not
    /// clearly one. With it what [`Talk::rests_as`] has to know.
    pub fn resumed(
        kind: Kind,
        past: Past,
        bytes: &[u8],
        lent: &mut Lent<'_>,
    ) -> Option<(Self, Resumed)> {
        let server = lent.server_port();
        let Decision::Speak(protocol, _) = decide(kind, lent.transport, server, bytes) else {
            return None;
        };
        let mut dissector = protocol.dissector(lent.transport);
        dissector.resume(past);
        let asks = matches!(protocol.probe(lent.transport, bytes), Probe::Request);
        if !asks || dissector.rest() != Some(past) {
            return None;
        }
        let service = lent.outlet.stats.service(server, protocol);
        let resumed = Resumed {
            kind,
            protocol: protocol.name(),
            past,
        };
        let talk = Self {
            state: State::Speaking {
                spoken: Spoken { protocol, service },
                dissector,
                sense: Sense {
                    made: true,
                    malformed: 0,
                },
            },
            pairing: Pairing::resumed(past),
            ..Self::new(kind)
        };
        Some((talk, resumed))
    }

    /// Whether whatever comes at `now` and later is taken as by `other`, which was [`Talk::resumed`]; what was sent to
    /// server and client ends at these offsets.
    pub fn rests_as(
        &self,
        other: &Resumed,
        [to_server, to_client]: [u64; 2],
        now: Timestamp,
    ) -> bool {
        let State::Speaking {
            spoken,
            dissector,
            sense,
        } = &self.state
        else {
            return false;
        };
        self.kind.is(other.kind)
            && spoken.protocol.name() == other.protocol
            && (sense.made, sense.malformed) == (true, 0)
            && dissector.rest() == Some(other.past)
            && self
                .parse
                .iter()
                .all(|parse| parse.is_straight() && !parse.blocked)
            && self.pairing.rest(to_server, to_client, now) == Some(other.past)
    }

    /// It was resumed where `before` was at rest.
    pub fn follows(&mut self, before: &Self) {
        self.pairing.follows(&before.pairing);
    }

    /// What the conversation is taken for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its finds go to other statistics from here on: `place` gives what was counted at a service its place there.
    pub fn moved(&mut self, mut place: impl FnMut(Service, &'static dyn Protocol) -> Service) {
        if let State::Speaking { spoken, .. } = &mut self.state {
            spoken.service = place(spoken.service, spoken.protocol);
        }
    }

    /// The conversation was not seen from its beginning.
    pub fn join(&mut self) {
        self.pairing.joined();
        self.pairing.try_first();
        for parse in &mut self.parse {
            parse.lost = true;
        }
    }

    /// Whether nothing is waiting for anything.
    pub fn is_idle(&self) -> bool {
        self.pairing.is_idle()
    }

    /// Whether requests wait for their responses, or pairs to be told.
    pub fn waits(&self) -> bool {
        self.pairing.waiting() > 0 || self.pairing.keeps_pairs()
    }

    /// Whether more memory is taken than when [`Talk::bytes_kept`] was last asked.
    #[inline]
    pub fn grew(&self) -> bool {
        self.parse[0].grew | self.parse[1].grew | self.pairing.grew()
    }

    /// The memory that waiting requests and messages in part take.
    pub fn bytes_kept(&mut self) -> usize {
        for parse in &mut self.parse {
            parse.grew = false;
        }
        let tails = self.parse.iter().flat_map(|parse| &parse.tail);
        let tails: usize = tails.map(|tail| tail.bytes.capacity()).sum();
        let dissector = match &self.state {
            State::Speaking { dissector, .. } => dissector.bytes(),
            State::Undecided { kept, .. } => kept.as_ref().map_or(0, |kept| kept.cost()),
            State::Silent => 0,
        };
        tails + dissector + self.pairing.bytes()
    }

    /// Forgets what waits, since too much memory is taken: as if it were lost.
    #[cold]
    pub fn forget(&mut self, lent: &mut Lent<'_>) {
        for parse in &mut self.parse {
            (parse.skip, parse.tail, parse.blocked) = (0, None, false);
            parse.lost = true;
        }
        let State::Speaking {
            spoken, dissector, ..
        } = &mut self.state
        else {
            self.forget_undecided();
            return;
        };
        for direction in [Direction::ToServer, Direction::ToClient] {
            dissector.gap(direction, lent.clean_output());
            lent.hand_on(*spoken, direction, &mut self.pairing);
        }
        let (context, _, outlet) = lent.split(*spoken);
        self.pairing.forget(&context, outlet);
    }

    /// The next bytes of a direction. True if the sides were taken the wrong way round: then
    /// nothing was done, and the caller turns them and comes again.
    #[inline(always)]
    pub fn bytes(&mut self, direction: Direction, chunk: &Chunk<'_>, lent: &mut Lent<'_>) -> bool {
        let mark = Mark {
            time: chunk.time,
            frame: chunk.frame,
        };
        let parse = &mut self.parse[direction.index()];
        parse.latest = mark;
        let before = std::mem::replace(&mut parse.received, chunk.received);
        let segment = Segment {
            received: chunk.received,
            before,
            start: chunk.offset,
        };
        if parse.is_straight()
            && let State::Speaking {
                spoken,
                dissector,
                sense,
            } = &mut self.state
        {
            let input = Input {
                bytes: chunk.bytes,
                offset: chunk.offset,
                old: 0,
                first: mark,
                last: mark,
                datagram: false,
                lost: 0,
                received: chunk.received,
            };
            let parsed = dissector.parse(direction, &input, lent.clean_output());
            sense.made |= !lent.output.is_empty();
            let (context, output, outlet) = lent.split(*spoken);
            self.pairing
                .messages(&context, direction, segment, &input, output, outlet);
            if parsed.is_all_of(&input) && !self.parse[1 - direction.index()].blocked {
                return false;
            }
            self.speak_after(direction, &Run::of(chunk, mark, segment), parsed, lent);
            return false;
        }
        self.odd_bytes(direction, Run::of(chunk, mark, segment), lent)
    }

    /// Bytes of which some are to be skipped, or to be put behind others, or of nobody knows what.
    #[inline(never)]
    fn odd_bytes(&mut self, direction: Direction, mut run: Run<'_>, lent: &mut Lent<'_>) -> bool {
        let parse = &mut self.parse[direction.index()];
        if parse.skip > 0 {
            let skipped = parse.skip.min(run.bytes.len() as u64);
            parse.skip -= skipped;
            if parse.skip > 0 {
                return false;
            }
            run.bytes = &run.bytes[skipped as usize..];
            run.offset += skipped;
            run.resumed = true;
        }
        match self.state {
            State::Speaking { .. } => {
                self.speak(direction, &run, lent);
                false
            }
            State::Undecided { .. } => self.undecided(direction, &run, lent),
            State::Silent => false,
        }
    }

    /// One datagram, whose first byte was seen at `first`, and of which `lost` bytes at its end were not captured. True as for
    /// [`Talk::bytes`].
    pub fn datagram(
        &mut self,
        direction: Direction,
        (first, lost): (Mark, u32),
        chunk: &Chunk<'_>,
        lent: &mut Lent<'_>,
    ) -> bool {
        let mark = Mark {
            time: chunk.time,
            frame: chunk.frame,
        };
        let run = Run {
            datagram: true,
            lost,
            first,
            ..Run::of(chunk, mark, Segment::default())
        };
        match self.state {
            State::Speaking { .. } => {
                self.parse[direction.index()].lost = false;
                self.run(direction, &run, (0, run.resumed), lent);
                self.parse[direction.index()].skip = 0;
                false
            }
            State::Undecided { .. } => self.undecided(direction, &run, lent),
            State::Silent => false,
        }
    }

    /// Whether messages are held back that may have overtaken others.
    pub fn holds(&self) -> bool {
        matches!(&self.state, State::Speaking { dissector, .. } if dissector.holds())
    }

    /// Tells what need not be held back any longer at `now`; all of it where nothing more will come.
    pub fn release(&mut self, now: Option<Timestamp>, lent: &mut Lent<'_>) {
        if let State::Speaking {
            spoken, dissector, ..
        } = &mut self.state
            && dissector.holds()
        {
            dissector.release(now, lent.clean_output());
            lent.hand_on(*spoken, Direction::ToClient, &mut self.pairing);
        }
    }

    /// Bytes with what an earlier segment left in front of them.
    #[inline(never)]
    fn speak(&mut self, direction: Direction, run: &Run<'_>, lent: &mut Lent<'_>) {
        if self.parse[direction.index()].has_tail() {
            self.speak_on(direction, run, lent);
        } else {
            let consumed = self.run(direction, run, (0, run.resumed), lent);
            self.leave(direction, run, consumed, run.last, lent);
        }
        self.unblock(direction.reverse(), run, lent);
    }

    /// Goes on with bytes that the dissector was shown once, and did not take whole.
    #[inline(never)]
    fn speak_after(
        &mut self,
        direction: Direction,
        run: &Run<'_>,
        parsed: Parsed,
        lent: &mut Lent<'_>,
    ) {
        let consumed = match self.settle(direction, run, 0, parsed, lent) {
            ControlFlow::Continue(next) => self.run(direction, run, next, lent),
            ControlFlow::Break(consumed) => consumed,
        };
        self.leave(direction, run, consumed, run.last, lent);
        self.unblock(direction.reverse(), run, lent);
    }

    /// An earlier segment left something.
    #[inline(never)]
    fn speak_on(&mut self, direction: Direction, run: &Run<'_>, lent: &mut Lent<'_>) {
        let Some(mut tail) = self.parse[direction.index()].tail.take() else {
            return;
        };
        let old = tail.bytes.len();
        tail.bytes.extend_from_slice(run.bytes);
        let whole = Run {
            bytes: &tail.bytes,
            old,
            offset: run.offset - old as u64,
            first: tail.first,
            ..*run
        };
        let offset = whole.offset;
        let consumed = self.run(direction, &whole, (0, run.resumed), lent);
        if consumed >= old {
            tail.first = run.last;
        }
        tail.offset = offset + consumed as u64;
        tail.bytes.drain(..consumed.min(tail.bytes.len()));
        self.leave_in(direction, tail, lent);
    }

    /// Shows bytes again that waited for the other direction, if there are such.
    fn unblock(&mut self, direction: Direction, cause: &Run<'_>, lent: &mut Lent<'_>) {
        let d = direction.index();
        if !self.parse[d].blocked {
            return;
        }
        let State::Speaking { dissector, .. } = &self.state else {
            return;
        };
        if dissector.blocked(direction) {
            return;
        }
        self.parse[d].blocked = false;
        let Some(tail) = self.parse[d].tail.take() else {
            return;
        };
        let run = Run {
            bytes: &tail.bytes,
            old: tail.bytes.len(),
            offset: tail.offset,
            first: tail.first,
            last: tail.first,
            segment: Segment {
                received: cause.offset,
                before: cause.offset,
                start: 0,
            },
            datagram: false,
            lost: 0,
            resumed: false,
        };
        let consumed = self.run(direction, &run, (0, run.resumed), lent);
        self.leave(direction, &run, consumed, tail.first, lent);
    }

    /// Keeps what was not consumed of a run.
    #[inline(never)]
    fn leave(
        &mut self,
        direction: Direction,
        run: &Run<'_>,
        consumed: usize,
        first: Mark,
        lent: &mut Lent<'_>,
    ) {
        let left = run.bytes.get(consumed..).unwrap_or_default();
        if left.is_empty() {
            return;
        }
        let mut tail = self.parse[direction.index()]
            .tail
            .take()
            .unwrap_or_default();
        tail.bytes.clear();
        tail.bytes.extend_from_slice(left);
        tail.offset = run.offset + consumed as u64;
        tail.first = first;
        self.leave_in(direction, tail, lent);
    }

    /// Keeps the tail, or its buffer for the next one.
    fn leave_in(&mut self, direction: Direction, mut tail: Box<Tail>, lent: &mut Lent<'_>) {
        let parse = &mut self.parse[direction.index()];
        let State::Speaking { dissector, .. } = &self.state else {
            parse.tail = None;
            return;
        };
        let first = tail.first;
        parse.grew |= tail.bytes.len() > KEPT_CAPACITY;
        if tail.bytes.len() > limits::TAIL_BYTES {
            parse.tail = None;
            parse.blocked = dissector.blocked(direction);
            let reason = "a message part within the size that is followed";
            self.broken(direction, reason, first, lent);
            return;
        }
        if tail.bytes.is_empty() && tail.bytes.capacity() > KEPT_CAPACITY {
            tail.bytes = Vec::new();
        }
        parse.tail = Some(tail);
        parse.blocked = dissector.blocked(direction);
    }

    /// Shows a run of bytes from `at` on to the dissector until it makes no more of it; returns how many
    /// are done with. What waited for a part of it is shown before the rest.
    fn run(
        &mut self,
        direction: Direction,
        run: &Run<'_>,
        (mut at, mut resumed): (usize, bool),
        lent: &mut Lent<'_>,
    ) -> usize {
        while at < run.bytes.len() || resumed {
            self.unblock(direction.reverse(), run, lent);
            let State::Speaking {
                spoken,
                dissector,
                sense,
            } = &mut self.state
            else {
                return run.bytes.len();
            };
            let old = run.old.saturating_sub(at);
            let input = Input {
                bytes: &run.bytes[at..],
                offset: run.offset + at as u64,
                old,
                first: if old > 0 || run.datagram && at == 0 {
                    run.first
                } else {
                    run.last
                },
                last: run.last,
                datagram: run.datagram,
                lost: run.lost,
                received: run.segment.received,
            };
            let parse = &mut self.parse[direction.index()];
            if parse.lost {
                match dissector.resync(direction, &input) {
                    Resync::Found(0) => parse.lost = false,
                    Resync::Found(index) => {
                        parse.lost = false;
                        at += index.min(input.bytes.len());
                        continue;
                    }
                    Resync::Nowhere { keep } => {
                        return run.bytes.len()
                            - keep.min(input.bytes.len()).min(limits::UNDECIDED_PIECE);
                    }
                }
            }
            let parsed = dissector.parse(direction, &input, lent.clean_output());
            sense.made |= !lent.output.is_empty();
            let (context, output, outlet) = lent.split(*spoken);
            self.pairing
                .messages_apart(&context, direction, run.segment, &input, output, outlet);
            match self.settle(direction, run, at, parsed, lent) {
                ControlFlow::Continue(next) => (at, resumed) = next,
                ControlFlow::Break(consumed) => return consumed,
            }
        }
        at
    }

    /// Does what the dissector said of the bytes from `at` on: goes on from another place, where bytes that
    /// it asked to skip may have ended, or breaks off with so many bytes done with.
    fn settle(
        &mut self,
        direction: Direction,
        run: &Run<'_>,
        at: usize,
        parsed: Parsed,
        lent: &mut Lent<'_>,
    ) -> ControlFlow<usize, (usize, bool)> {
        let Parsed {
            consumed,
            skip,
            verdict,
        } = parsed;
        let mut at = at + consumed.min(run.bytes.len() - at);
        let mut resumed = false;
        if skip > 0 {
            let here = skip.min((run.bytes.len() - at) as u64);
            at += here as usize;
            self.parse[direction.index()].skip = skip - here;
            resumed = skip == here;
        }
        match verdict {
            Verdict::Continue if consumed == 0 && skip == 0 => return ControlFlow::Break(at),
            Verdict::Continue => return ControlFlow::Continue((at, resumed)),
            Verdict::Malformed(reason) => self.broken(direction, reason, run.last, lent),
            Verdict::Opaque(what) => self.silence(what, run.last.time, lent),
        }
        ControlFlow::Break(run.bytes.len())
    }

    /// The bytes at hand broke the grammar.
    #[cold]
    fn broken(
        &mut self,
        direction: Direction,
        reason: &'static str,
        mark: Mark,
        lent: &mut Lent<'_>,
    ) {
        let State::Speaking { spoken, sense, .. } = &mut self.state else {
            return;
        };
        sense.malformed = sense.malformed.saturating_add(1);
        let hopeless = !sense.made && sense.malformed >= MALFORMED;
        lent.outlet.malformed(&event::Malformed {
            endpoints: lent.parties.endpoints(),
            direction,
            time: mark.time,
            frame: mark.frame,
            protocol: spoken.protocol.name(),
            reason,
        });
        if lent.transport == Transport::Tcp {
            self.parse[direction.index()].lost = true;
            let (context, _, outlet) = lent.split(*spoken);
            self.pairing.gap(&context, direction, 0, outlet);
        }
        if hopeless {
            lent.outlet.stats.account.unrecognised += 1;
            self.state = State::Silent;
        }
    }

    /// The conversation cannot be read from here on.
    #[cold]
    fn silence(&mut self, what: &'static str, now: Timestamp, lent: &mut Lent<'_>) {
        if let State::Speaking { spoken, .. } = &self.state {
            let (context, _, outlet) = lent.split(*spoken);
            self.pairing.abandon(&context, now, outlet);
        }
        self.state = State::Silent;
        self.parse = Default::default();
        lent.outlet.opaque(lent.server_port(), what);
    }

    /// Bytes of a direction were never seen.
    #[cold]
    pub fn gap(&mut self, direction: Direction, gap: &Gap, lent: &mut Lent<'_>) {
        lent.outlet.gap(&event::Gap {
            endpoints: lent.parties.endpoints(),
            direction,
            time: gap.time,
            bytes: gap.bytes,
        });
        if matches!(self.state, State::Undecided { .. }) {
            self.keep(direction, Piece::Gap(Gap { direction, ..*gap }), true, lent);
        } else {
            self.miss(direction, gap, lent);
        }
    }

    /// Goes on behind bytes that were never seen.
    #[cold]
    fn miss(&mut self, direction: Direction, gap: &Gap, lent: &mut Lent<'_>) {
        if gap.bytes > 0 && self.steps_over(direction, gap, lent) {
            return;
        }
        let parse = &mut self.parse[direction.index()];
        parse.skip = 0;
        parse.lost = true;
        parse.tail = None;
        parse.blocked = false;
        if let State::Speaking {
            spoken, dissector, ..
        } = &mut self.state
        {
            dissector.gap(direction, lent.clean_output());
            lent.hand_on(*spoken, direction, &mut self.pairing);
            let (context, _, outlet) = lent.split(*spoken);
            self.pairing.gap(&context, direction, gap.offset, outlet);
        } else {
            self.pairing.joined();
        }
    }

    /// Steps over a gap of which no byte need be seen, and says whether it is such a one: they were to be skipped, or what
    /// was seen says what they are.
    fn steps_over(&mut self, direction: Direction, gap: &Gap, lent: &mut Lent<'_>) -> bool {
        let mark = Mark {
            time: gap.time,
            frame: gap.frame,
        };
        let mut run = Run {
            bytes: &[],
            old: 0,
            offset: gap.offset,
            first: mark,
            last: mark,
            segment: Segment::default(),
            datagram: false,
            lost: 0,
            resumed: true,
        };
        let parse = &mut self.parse[direction.index()];
        let skipped = parse.skip.min(gap.bytes);
        let missing = gap.bytes - skipped;
        parse.skip -= skipped;
        if skipped > 0 && parse.skip == 0 {
            run.offset += skipped;
            self.run(direction, &run, (0, run.resumed), lent);
        }
        if missing == 0 {
            return true;
        }
        let parse = &self.parse[direction.index()];
        if parse.lost || parse.skip > 0 || parse.has_tail() {
            return false;
        }
        let State::Speaking { dissector, .. } = &mut self.state else {
            return false;
        };
        let Some(implied) = dissector.implied(direction, missing) else {
            return false;
        };
        run.bytes = implied;
        run.offset = gap.offset + gap.bytes - implied.len() as u64;
        let consumed = self.run(direction, &run, (0, run.resumed), lent);
        self.leave(direction, &run, consumed, mark, lent);
        true
    }

    /// A direction has ended at `offset`, as was found out at `now`.
    pub fn end(&mut self, direction: Direction, offset: u64, now: Timestamp, lent: &mut Lent<'_>) {
        let mark = self.parse[direction.index()].latest;
        if let State::Speaking {
            spoken, dissector, ..
        } = &mut self.state
        {
            dissector.close(direction, offset, mark, lent.clean_output());
            lent.hand_on(*spoken, direction, &mut self.pairing);
        }
        if direction == Direction::ToClient {
            self.close_pairing(now, Silence::Closed, lent);
        }
    }

    /// No response will come any more.
    pub fn close_pairing(&mut self, now: Timestamp, why: Silence, lent: &mut Lent<'_>) {
        let State::Speaking { spoken, .. } = &self.state else {
            return;
        };
        let (context, _, outlet) = lent.split(*spoken);
        self.pairing.close(&context, now, why, outlet);
    }

    /// Reports requests that waited for longer than `timeout`.
    pub fn time_out(&mut self, now: Timestamp, timeout: std::time::Duration, lent: &mut Lent<'_>) {
        if self.pairing.times_out(now, timeout) {
            // Its response may be among what is held back.
            self.release(None, lent);
        }
        let State::Speaking { spoken, .. } = &self.state else {
            return;
        };
        let (context, _, outlet) = lent.split(*spoken);
        self.pairing.time_out(&context, now, timeout, outlet);
    }

    /// The capture has ended. Requests that waited for less than `threshold` are only counted.
    pub fn stop(&mut self, now: Timestamp, threshold: std::time::Duration, lent: &mut Lent<'_>) {
        let State::Speaking { spoken, .. } = &self.state else {
            return;
        };
        let (context, _, outlet) = lent.split(*spoken);
        let young = self.pairing.stop(&context, now, threshold, outlet);
        lent.outlet.stats.account.in_flight += young;
    }

    /// Client and server are the other way round.
    pub fn turn(&mut self) {
        self.parse.swap(0, 1);
        if let State::Undecided {
            kept: Some(kept), ..
        } = &mut self.state
        {
            kept.turn();
        }
    }

    /// A new conversation of the same kind.
    pub fn anew(&self) -> Self {
        Self::new(self.kind)
    }

    /// Nothing more will come: if nobody knows what was spoken, that is counted.
    pub fn conclude(&mut self, lent: &mut Lent<'_>) {
        if let State::Undecided { tries, kept } = &self.state
            && (*tries > 0 || kept.is_some())
        {
            self.give_up(lent);
        }
    }

    /// Nobody will know what is spoken.
    #[cold]
    fn give_up(&mut self, lent: &mut Lent<'_>) {
        lent.outlet.stats.account.unrecognised += 1;
        self.state = State::Silent;
        self.parse = Default::default();
    }

    /// Looks at the first bytes for a protocol.
    #[cold]
    #[inline(never)]
    fn undecided(&mut self, direction: Direction, run: &Run<'_>, lent: &mut Lent<'_>) -> bool {
        let State::Undecided { kept, .. } = &self.state else {
            return false;
        };
        if run.bytes.is_empty() {
            return false;
        }
        let joined = match kept {
            Some(kept) if !run.datagram => kept.joined(direction, run.bytes),
            _ => None,
        };
        let bytes = joined.as_deref().unwrap_or(run.bytes);
        match decide(self.kind, lent.transport, lent.server_port(), bytes) {
            Decision::Speak(protocol, Some(right))
                if right != direction && !is_served_at(protocol, &lent.parties.endpoints()) =>
            {
                return true;
            }
            Decision::Speak(protocol, _) => self.speak_up(protocol, direction, run, lent),
            Decision::Opaque(what) => self.silence(what, run.last.time, lent),
            decision => {
                let waits = matches!(decision, Decision::Wait) && !run.datagram;
                let passes = !waits || bytes.len() > limits::UNDECIDED_PIECE;
                self.keep(direction, run.piece(direction), passes, lent);
            }
        }
        false
    }

    /// Keeps a piece until the protocol is known. `passes` says that what its direction held so far is not the beginning of anything.
    fn keep(&mut self, direction: Direction, piece: Piece, passes: bool, lent: &mut Lent<'_>) {
        let State::Undecided { tries, kept } = &mut self.state else {
            return;
        };
        let is_gap = matches!(piece, Piece::Gap(_));
        let kept = kept.get_or_insert_default();
        let fits = kept.keep(piece);
        if passes {
            kept.pass(direction);
            *tries += u8::from(!is_gap);
        }
        let hopeless = *tries >= TRIES;
        self.parse[direction.index()].grew = true;
        if hopeless {
            self.give_up(lent);
        } else if !fits {
            self.forget_undecided();
        }
    }

    /// What was kept takes too much: it is as if it had been lost.
    #[cold]
    fn forget_undecided(&mut self) {
        self.pairing.joined();
        for parse in &mut self.parse {
            parse.lost = true;
        }
        if let State::Undecided { kept, .. } = &mut self.state {
            *kept = None;
        }
    }

    /// The protocol is known: all that was kept is shown first.
    fn speak_up(
        &mut self,
        protocol: &'static dyn Protocol,
        direction: Direction,
        run: &Run<'_>,
        lent: &mut Lent<'_>,
    ) {
        let service = lent.outlet.stats.service(lent.server_port(), protocol);
        let speaking = State::Speaking {
            spoken: Spoken { protocol, service },
            dissector: protocol.dissector(lent.transport),
            sense: Sense::default(),
        };
        if let State::Undecided {
            kept: Some(kept), ..
        } = std::mem::replace(&mut self.state, speaking)
        {
            self.show_again(*kept, lent);
        }
        let parse = &mut self.parse[direction.index()];
        (parse.latest, parse.received) = (run.last, run.segment.received);
        if run.datagram {
            parse.lost = false;
            self.run(direction, run, (0, run.resumed), lent);
            self.parse[direction.index()].skip = 0;
        } else {
            self.odd_bytes(direction, *run, lent);
        }
    }

    #[cold]
    fn show_again(&mut self, kept: Undecided, lent: &mut Lent<'_>) {
        for parse in &mut self.parse {
            parse.received = 0;
        }
        for piece in kept.into_pieces() {
            match piece {
                Piece::Bytes(kept) => {
                    let chunk = kept.chunk();
                    self.bytes(chunk.direction, &chunk, lent);
                }
                Piece::Datagram(kept, seen) => {
                    let chunk = kept.chunk();
                    self.datagram(chunk.direction, seen, &chunk, lent);
                }
                Piece::Gap(gap) => self.miss(gap.direction, &gap, lent),
            }
        }
    }
}

/// Whether the sides cannot be the other way round: the protocol's port is the server's alone. The
/// middle of a response may look like a request.
fn is_served_at(protocol: &dyn Protocol, endpoints: &Endpoints) -> bool {
    let known = |port| protocol.ports().contains(&port);
    known(endpoints.server.port()) && !known(endpoints.client.port())
}

/// What the first bytes of one direction say.
fn decide(kind: Kind, transport: Transport, server: u16, bytes: &[u8]) -> Decision {
    if transport == Transport::Tcp {
        match opaque::recognise(bytes) {
            opaque::Recognised::Yes(what) => return Decision::Opaque(what),
            opaque::Recognised::More if bytes.len() < 6 => return Decision::Wait,
            _ => {}
        }
    }
    let (candidates, preferred): (&[&'static dyn Protocol], _) = match &kind {
        Kind::Raw => return Decision::No,
        Kind::Forced(protocol) => return Decision::Speak(*protocol, None),
        Kind::Speaking(protocol) => (std::slice::from_ref(protocol), None),
        Kind::Auto => (protocol::PROTOCOLS, protocol::by_port(transport, server)),
    };
    let mut more = false;
    for &candidate in candidates
        .iter()
        .filter(|one| one.transports().contains(&transport))
    {
        match candidate.probe(transport, bytes) {
            Probe::Request => return Decision::Speak(candidate, Some(Direction::ToServer)),
            Probe::Response => return Decision::Speak(candidate, Some(Direction::ToClient)),
            Probe::More => more = true,
            Probe::No => {}
        }
    }
    match preferred {
        Some(protocol) => Decision::Speak(protocol, None),
        None if more => Decision::Wait,
        None => Decision::No,
    }
}
