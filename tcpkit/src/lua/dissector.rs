//! A taught protocol as any other: what the pipeline registers.
//!
//! Reads bytes on the capture's thread, has the script's thread parse them, makes messages. Over a
//! file the script is waited for; live for [`limits::LUA_PARSE_TIME`], and what it could not take is
//! lost to pairing as a gap is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::host::{Host, Policy, Sent};
use super::taught::{Answer, Ask, Heard, Plan, Query, Role as TaughtRole};
use crate::flow::Direction;
use crate::limits;
use crate::protocol::{
    Dissector, Input, Mark, Message, Output, Pairing, Parsed, Phase, Probe, Protocol, Resync, Role,
    StatusName, Verdict, escape,
};
use crate::wire::Transport;

/// Status codes from here on are words that the script chose, below are numbers.
const WORDS: u16 = 0x8000;
/// Of a word that is not kept.
const OTHER: u16 = u16::MAX;

/// The script that a protocol is taught by, at the moment: a reload puts another one here.
pub type Teacher = Arc<RwLock<Arc<Host>>>;

/// A protocol that a script teaches.
pub struct Taught {
    name: &'static str,
    ports: &'static [u16],
    transports: &'static [Transport],
    commands: &'static [&'static str],
    /// Its place among the script's protocols.
    place: usize,
    teacher: Teacher,
    words: Mutex<Vec<&'static str>>,
}

impl std::fmt::Debug for Taught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taught").field("name", &self.name).finish()
    }
}

impl Taught {
    /// A protocol for the rest of the process's life: what describes it is never given back. Scripts
    /// teach when the run begins, at most [`limits::LUA_PROTOCOLS`] each.
    pub fn teach(plan: Plan, place: usize, teacher: Teacher) -> &'static dyn Protocol {
        let mut commands = vec!["other"];
        for label in plan.commands {
            if !commands.contains(&label.as_str()) {
                commands.push(label.leak());
            }
        }
        let mut transports = Vec::new();
        transports.extend(plan.tcp.then_some(Transport::Tcp));
        transports.extend(plan.udp.then_some(Transport::Udp));
        let taught: &'static Self = Box::leak(Box::new(Self {
            name: plan.name.leak(),
            ports: plan.ports.leak(),
            transports: transports.leak(),
            commands: commands.leak(),
            place,
            teacher,
            words: Mutex::default(),
        }));
        Box::leak(Box::new(taught))
    }

    fn teacher(&self) -> Arc<Host> {
        let teacher = self.teacher.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&teacher)
    }

    /// The code of a status that the script named. Words that no more fit are [`OTHER`].
    fn code(&self, status: &[u8]) -> u16 {
        let word = shown(status);
        if let Ok(number) = word.parse::<u16>()
            && number < WORDS
        {
            return number;
        }
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = words.iter().position(|known| *known == word) {
            return WORDS + place as u16;
        }
        if words.len() >= limits::LUA_LABELS || status.len() > 64 {
            return OTHER;
        }
        words.push(word.leak());
        WORDS + words.len() as u16 - 1
    }

    /// The label of a request: its first word, if the script declared it.
    fn command(&self, text: &[u8]) -> u16 {
        let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
        let known = |label: &&str| label.as_bytes().eq_ignore_ascii_case(word);
        let place = self.commands.iter().skip(1).position(known);
        place.map_or(0, |place| place as u16 + 1)
    }
}

fn shown(text: &[u8]) -> String {
    let mut out = Vec::new();
    text.iter().for_each(|&byte| escape(byte, &mut out));
    String::from_utf8(out).unwrap_or_default()
}

impl Protocol for &'static Taught {
    fn name(&self) -> &'static str {
        self.name
    }

    fn transports(&self) -> &'static [Transport] {
        self.transports
    }

    fn ports(&self) -> &'static [u16] {
        self.ports
    }

    fn pairing(&self) -> Pairing {
        Pairing::ById
    }

    fn commands(&self) -> &'static [&'static str] {
        self.commands
    }

    /// A script says nothing about other ports' bytes.
    fn probe(&self, _: Transport, _: &[u8]) -> Probe {
        Probe::No
    }

    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Box::new(Conversation {
            taught: self,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            open: [None, None],
        })
    }

    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        let shown = kept.get(..max).unwrap_or(kept);
        shown.iter().for_each(|&byte| escape(byte, out));
        shown.len()
    }

    fn status(&self, code: u16) -> StatusName {
        let Some(place) = code.checked_sub(WORDS) else {
            return match code {
                0 => StatusName::Name("OK"),
                code => StatusName::Code(code),
            };
        };
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        StatusName::Name(words.get(usize::from(place)).copied().unwrap_or("other"))
    }
}

/// One conversation in a taught protocol.
struct Conversation {
    taught: &'static Taught,
    number: u64,
    /// The message of each direction whose body is being skipped.
    open: [Option<Open>; 2],
}

#[derive(Clone, Copy)]
struct Open {
    role: Role,
    start: u64,
    end: u64,
    first: Mark,
}

impl Open {
    fn ended(&self, end: u64, last: Mark, flags: u8) -> Message {
        let mut message = Message::new(self.role, self.start, end, self.first, last);
        message.phase = Phase::End;
        message.flags = flags;
        message
    }
}

/// Why there is no answer.
enum Silent {
    /// The script is gone.
    Gone,
    /// It could not keep up.
    Slow,
}

impl Conversation {
    fn ask(&self, ask: Ask, direction: Direction, bytes: &[u8]) -> Result<Answer, Silent> {
        let host = self.taught.teacher();
        let (reply, answer) = bounded(1);
        let query = Query {
            protocol: self.taught.place,
            conversation: self.number,
            ask,
            direction,
            bytes: bytes.to_vec(),
            reply,
        };
        let answer = match host.parse(query) {
            Sent::Taken if ask == Ask::Forget => Ok(Answer::Failed),
            Sent::Taken => wait(&host, &answer),
            Sent::Full => Err(Silent::Slow),
            Sent::Gone => Err(Silent::Gone),
        };
        // A conversation that is over is not missed.
        if matches!(answer, Err(Silent::Slow)) && ask != Ask::Forget {
            host.settings.drop_items(1);
        }
        answer
    }

    /// Makes messages of what the script heard; returns the bytes that are done with, and those to skip.
    fn take(
        &mut self,
        direction: Direction,
        heard: &[Heard],
        input: &Input<'_>,
        out: &mut Output,
    ) -> (usize, u64) {
        let mut at = 0;
        for one in heard {
            let body = at + one.size;
            let rest = (input.bytes.len() - body) as u64;
            let end = input.offset + body as u64 + one.skip;
            let here = body + one.skip.min(rest) as usize;
            let start = input.offset + at as u64;
            let last = input.mark(here.saturating_sub(1));
            let mut message = self.message(one, out, start, end, input.mark(at), last);
            at = here;
            if one.skip > rest {
                message.phase = Phase::Head;
                self.open[direction.index()] = Some(Open {
                    role: message.role,
                    start,
                    end,
                    first: message.first,
                });
                out.messages.push(message);
                return (at, one.skip - rest);
            }
            out.messages.push(message);
        }
        (at, 0)
    }

    fn message(
        &self,
        heard: &Heard,
        out: &mut Output,
        start: u64,
        end: u64,
        first: Mark,
        last: Mark,
    ) -> Message {
        let role = match heard.role {
            TaughtRole::Request => Role::Request,
            TaughtRole::Response => Role::Response,
            TaughtRole::OneWay => Role::OneWay,
        };
        let mut message = Message::new(role, start, end, first, last);
        message.id = heard.id;
        if role != Role::Response {
            message.command = self.taught.command(&heard.text);
        }
        if let Some(status) = &heard.status {
            message.status = self.taught.code(status);
        }
        if heard.error {
            message.flags |= Message::ERROR;
        }
        if out.wants_text {
            message.text = out.keep(&heard.text);
            message.text_len = heard.text.len() as u32;
        }
        message
    }
}

/// Waits for an answer: over a file as long as the script is there, live for a moment.
fn wait(host: &Host, answer: &Receiver<Answer>) -> Result<Answer, Silent> {
    let policy = host.settings.policy;
    let time = match policy {
        Policy::Wait => limits::LUA_LOOK,
        Policy::Drop => limits::LUA_PARSE_TIME,
    };
    loop {
        match answer.recv_timeout(time) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Disconnected) => return Err(Silent::Gone),
            // It may have answered, and then ended.
            Err(RecvTimeoutError::Timeout) if !host.is_there() => {
                return answer.try_recv().map_err(|_| Silent::Gone);
            }
            Err(RecvTimeoutError::Timeout) if policy == Policy::Drop => return Err(Silent::Slow),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Dissector for Conversation {
    fn parse(&mut self, direction: Direction, input: &Input<'_>, out: &mut Output) -> Parsed {
        if let Some(open) = self.open[direction.index()].take() {
            out.messages.push(open.ended(open.end, input.first, 0));
        }
        if input.bytes.is_empty() {
            return Parsed::default();
        }
        let malformed = |reason| Parsed {
            verdict: Verdict::Malformed(reason),
            ..Parsed::default()
        };
        match self.ask(Ask::Parse, direction, input.bytes) {
            Ok(Answer::Heard(heard)) => {
                let (consumed, skip) = self.take(direction, &heard, input, out);
                Parsed {
                    consumed,
                    skip,
                    verdict: Verdict::Continue,
                }
            }
            Ok(_) => malformed("bytes that the script's parser can read"),
            Err(Silent::Slow) => malformed("no more bytes than the script can keep up with"),
            Err(Silent::Gone) => Parsed {
                verdict: Verdict::Opaque("a taught protocol whose script is switched off"),
                ..Parsed::default()
            },
        }
    }

    fn resync(&mut self, direction: Direction, input: &Input<'_>) -> Resync {
        self.open[direction.index()] = None;
        match self.ask(Ask::Resync, direction, input.bytes) {
            Ok(Answer::Found(Some(at))) => Resync::Found(at),
            _ => Resync::Nowhere { keep: 0 },
        }
    }

    fn gap(&mut self, direction: Direction, out: &mut Output) {
        if let Some(open) = self.open[direction.index()].take() {
            out.messages
                .push(open.ended(open.end, open.first, Message::CUT));
        }
    }

    fn close(&mut self, direction: Direction, offset: u64, last: Mark, out: &mut Output) {
        if let Some(open) = self.open[direction.index()].take() {
            let flags = if offset < open.end { Message::CUT } else { 0 };
            out.messages
                .push(open.ended(offset.min(open.end), last, flags));
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // A script that is gone, or too slow to be told, keeps nothing that matters.
        let _ = self.ask(Ask::Forget, Direction::ToServer, &[]);
    }
}
