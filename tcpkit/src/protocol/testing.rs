//! Drives a dissector in tests as the stream and the exchange room would.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test may")]

use super::{
    Dissector, Input, Mark, Message, Output, Phase, Protocol, Resync, Role, Text, Verdict,
};
use crate::flow::Direction;
use crate::source::Timestamp;
use crate::wire::Transport;

/// One direction's bytes that are not consumed, as the stream keeps them.
#[derive(Default)]
struct Side {
    tail: Vec<u8>,
    offset: u64,
    skip: u64,
    first: Mark,
    searching: bool,
}

/// A dissector with a stream on either side. Time counts on by a microsecond a segment.
pub(super) struct Driver {
    dissector: Box<dyn Dissector>,
    datagram: bool,
    sides: [Side; 2],
    output: Output,
    frame: u64,
    waited: u64,
    /// What was told, each with its text.
    pub told: Vec<(Message, Vec<u8>)>,
    /// Why bytes were malformed, or the conversation opaque.
    pub refused: Vec<&'static str>,
}

impl Driver {
    pub(super) fn new(protocol: &dyn Protocol, transport: Transport) -> Self {
        Self {
            dissector: protocol.dissector(transport),
            datagram: transport == Transport::Udp,
            sides: [Side::default(), Side::default()],
            output: Output {
                wants_text: true,
                ..Output::default()
            },
            frame: 0,
            waited: 0,
            told: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Shows one segment or datagram.
    pub(super) fn feed(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        self.feed_cut(direction, bytes, 0)
    }

    /// Shows one segment, or a datagram of which so many bytes at its end were cut off.
    pub(super) fn feed_cut(&mut self, direction: Direction, bytes: &[u8], lost: u32) -> &mut Self {
        self.frame += 1;
        let mark = self.now();
        let side = &mut self.sides[direction.index()];
        let skipped = side.skip.min(bytes.len() as u64);
        side.skip -= skipped;
        side.offset += skipped;
        let bytes = &bytes[skipped as usize..];
        let mut old = side.tail.len();
        if old == 0 {
            side.first = mark;
        }
        side.tail.extend_from_slice(bytes);
        while !self.sides[direction.index()].tail.is_empty() {
            let side = &mut self.sides[direction.index()];
            let shown = std::mem::take(&mut side.tail);
            let input = Input {
                bytes: &shown,
                offset: side.offset,
                old,
                first: side.first,
                last: mark,
                datagram: self.datagram,
                lost,
                received: 0,
            };
            let used = if side.searching {
                match self.dissector.resync(direction, &input) {
                    Resync::Found(at) => {
                        side.searching = false;
                        Some(at)
                    }
                    Resync::Nowhere { keep } => {
                        let drop = shown.len() - keep.min(shown.len());
                        side.offset += drop as u64;
                        side.tail = shown[drop..].to_vec();
                        if drop >= old {
                            side.first = mark;
                        }
                        break;
                    }
                }
            } else {
                None
            };
            let found = used.is_some();
            let used = match used {
                Some(at) => at,
                None => {
                    self.output.clear();
                    let parsed = self.dissector.parse(direction, &input, &mut self.output);
                    collect(&mut self.told, &self.output, &shown);
                    assert!(parsed.consumed <= shown.len());
                    let side = &mut self.sides[direction.index()];
                    let here = (shown.len() - parsed.consumed) as u64;
                    let over = parsed.skip.min(here);
                    side.skip = parsed.skip - over;
                    match parsed.verdict {
                        Verdict::Continue => {}
                        Verdict::Malformed(why) => {
                            self.refused.push(why);
                            side.searching = !self.datagram;
                        }
                        Verdict::Opaque(why) => {
                            self.refused.push(why);
                            return self;
                        }
                    }
                    parsed.consumed + over as usize
                }
            };
            let side = &mut self.sides[direction.index()];
            side.offset += used as u64 + u64::from(lost);
            side.tail = shown[used..].to_vec();
            if used >= old {
                side.first = mark;
            }
            old = old.saturating_sub(used);
            if used == 0 && !found && !side.searching {
                // Nothing more without more bytes.
                break;
            }
        }
        if self.datagram {
            assert!(
                self.sides[direction.index()].tail.is_empty(),
                "a datagram is consumed whole"
            );
        }
        self.release(Some(mark.time))
    }

    /// Has told what is held back for long enough.
    fn release(&mut self, now: Option<Timestamp>) -> &mut Self {
        if self.dissector.holds() {
            self.output.clear();
            self.dissector.release(now, &mut self.output);
            collect(&mut self.told, &self.output, &[]);
        }
        self
    }

    /// Lets milliseconds pass.
    pub(super) fn wait(&mut self, milliseconds: u64) -> &mut Self {
        self.waited += milliseconds * 1_000_000;
        let now = self.now().time;
        self.release(Some(now))
    }

    fn now(&self) -> Mark {
        Mark {
            time: Timestamp(self.waited + self.frame * 1000),
            frame: self.frame,
        }
    }

    pub(super) fn ask(&mut self, bytes: &[u8]) -> &mut Self {
        self.feed(Direction::ToServer, bytes)
    }

    pub(super) fn reply(&mut self, bytes: &[u8]) -> &mut Self {
        self.feed(Direction::ToClient, bytes)
    }

    /// Loses so many bytes, stepped over ones first.
    pub(super) fn lose(&mut self, direction: Direction, bytes: u64) -> &mut Self {
        let side = &mut self.sides[direction.index()];
        let skipped = side.skip.min(bytes);
        side.skip -= skipped;
        let is_known = bytes > skipped && side.skip == 0 && side.tail.is_empty() && !side.searching;
        if is_known && let Some(implied) = self.dissector.implied(direction, bytes - skipped) {
            side.offset += bytes - implied.len() as u64;
            self.feed(direction, implied);
            return self;
        }
        side.offset += bytes + side.tail.len() as u64;
        if bytes > skipped {
            side.tail.clear();
            side.searching = true;
            self.output.clear();
            self.dissector.gap(direction, &mut self.output);
            collect(&mut self.told, &self.output, &[]);
        }
        self
    }

    /// Ends both directions.
    pub(super) fn close(&mut self) -> &mut Self {
        self.release(None);
        for direction in [Direction::ToServer, Direction::ToClient] {
            let side = &self.sides[direction.index()];
            let offset = side.offset + side.tail.len() as u64;
            let mark = self.now();
            self.output.clear();
            self.dissector
                .close(direction, offset, mark, &mut self.output);
            collect(&mut self.told, &self.output, &[]);
        }
        self
    }

    /// The messages, heads joined with their ends.
    pub(super) fn whole(&self) -> Vec<(Message, Vec<u8>)> {
        let mut whole: Vec<(Message, Vec<u8>)> = Vec::new();
        for (message, text) in &self.told {
            if message.phase == Phase::End {
                let head = whole
                    .iter_mut()
                    .find(|(head, _)| head.phase == Phase::Head && head.start == message.start)
                    .expect("an end has its head");
                head.0.phase = Phase::Whole;
                (head.0.end, head.0.last) = (message.end, message.last);
                head.0.flags |= message.flags;
            } else {
                whole.push((message.clone(), text.clone()));
            }
        }
        whole
    }

    /// Pairs as the contract says: by id, without one in order, quiet ones settled by a later pair.
    pub(super) fn pairs(&self) -> Pairs {
        let mut pairs = Pairs::default();
        let mut pending: Vec<(Message, Vec<u8>)> = Vec::new();
        for (message, text) in self.whole() {
            match message.role {
                Role::OneWay => pairs.one_way += 1,
                Role::Request => pending.push((message, text)),
                Role::Response => {
                    let found = pending
                        .iter()
                        .position(|(request, _)| request.id == message.id);
                    let Some(index) = found else {
                        pairs.orphans += 1;
                        continue;
                    };
                    let (request, asked) = pending[index].clone();
                    if !message.has(Message::MORE) {
                        pending.remove(index);
                        let mut place = 0;
                        pending.retain(|(request, _)| {
                            place += 1;
                            place > index || !request.has(Message::QUIET)
                        });
                    }
                    pairs.made.push(Pair {
                        request,
                        asked,
                        response: message,
                        text,
                    });
                }
            }
        }
        pairs.silent = pending
            .iter()
            .filter(|(request, _)| request.has(Message::QUIET))
            .count();
        pairs.unanswered = pending.len() - pairs.silent;
        pairs
    }
}

fn collect(told: &mut Vec<(Message, Vec<u8>)>, output: &Output, input: &[u8]) {
    for message in &output.messages {
        let text = match message.text {
            Text::None => &[][..],
            Text::Input { start, len } => &input[start as usize..(start + len) as usize],
            Text::Arena { start, len } => &output.arena[start as usize..(start + len) as usize],
        };
        told.push((message.clone(), text.to_vec()));
    }
}

/// A request and its response.
#[derive(Debug)]
pub(super) struct Pair {
    pub request: Message,
    pub asked: Vec<u8>,
    pub response: Message,
    pub text: Vec<u8>,
}

/// What became of the messages.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub made: Vec<Pair>,
    pub one_way: usize,
    pub orphans: usize,
    pub silent: usize,
    pub unanswered: usize,
}

/// What `render` makes of kept bytes.
pub(super) fn rendered(protocol: &dyn Protocol, kept: &[u8], max: usize) -> (String, usize) {
    let mut out = Vec::new();
    let written = protocol.render(kept, max, &mut out);
    (String::from_utf8_lossy(&out).into_owned(), written)
}
