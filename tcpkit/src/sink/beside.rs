//! A sink in a thread of its own, which is waited for.
//!
//! Finding out what a capture says and making lines of it each take about half of the time, and go on side by side here.
//! Takes copies of events, and hands them on by the hundred, in their order.

use std::io;
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::{Needs, Sink};
use crate::event::{Event, Gap, Malformed};
use crate::exchange::{Exchange, OneWay, Unanswered};
use crate::flow::Endpoints;
use crate::flow::connection::Connection;
use crate::source::Timestamp;

/// Events that are handed on at a time: a wake-up costs as much as some of them.
const EVENTS: usize = 512;

/// With so many bytes of text a batch is handed on though it has fewer events.
const BYTES: usize = 128 << 10;

/// The most batches that there are: one is filled, one is told, one waits.
const BATCHES: usize = 3;

/// Tells events to a sink in a thread of its own. Packets it does not take: they would have to be copied.
#[derive(Debug)]
pub struct Beside {
    needs: Needs,
    filling: Batch,
    /// Until nothing more comes.
    full: Option<Sender<Batch>>,
    told: Receiver<Batch>,
    /// Batches that are not back yet.
    away: usize,
    /// Until it has failed.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Beside {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, sink: Box<dyn Sink + Send>) -> io::Result<Self> {
        let ((full, to_tell), (back, told)) = (channel(), channel());
        let needs = sink.needs();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || tell_all(sink, &to_tell, &back))?;
        Ok(Self {
            needs,
            filling: Batch::default(),
            full: Some(full),
            told,
            away: 0,
            thread: Some(thread),
        })
    }

    /// Hands on what has been filled, and waits until there is another batch to fill.
    #[cold]
    fn hand_on(&mut self) -> io::Result<()> {
        let next = match self.told.try_recv() {
            Ok(batch) => Some(batch),
            Err(_) if self.away + 1 < BATCHES => {
                self.away += 1;
                Some(Batch::default())
            }
            Err(_) => self.told.recv().ok(),
        };
        let Some(next) = next else {
            return self.end();
        };
        let filled = mem::replace(&mut self.filling, next);
        if self.send(filled) {
            Ok(())
        } else {
            self.end()
        }
    }

    /// False where nobody takes it: the thread has ended, and says why.
    fn send(&self, batch: Batch) -> bool {
        let full = self.full.as_ref();
        full.is_some_and(|full| full.send(batch).is_ok())
    }

    /// Waits until all events were told.
    fn wait(&mut self) -> io::Result<()> {
        self.hand_on()?;
        while self.away > 0 {
            if self.told.recv().is_err() {
                return self.end();
            }
            self.away -= 1;
        }
        Ok(())
    }

    /// The thread has ended, or is about to.
    fn end(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that makes lines has failed")),
            None => Ok(()),
        }
    }
}

impl Sink for Beside {
    fn needs(&self) -> Needs {
        self.needs
    }

    /// Takes one event. An error may be that of an earlier one; it is told once.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.thread.is_none() {
            return Ok(());
        }
        self.filling.push(event);
        match event {
            // What is told of a second shall not wait for the next one.
            Event::Tick(_) => self.hand_on(),
            // Where output goes changes when this returns.
            Event::Reopen => self.wait(),
            _ if self.filling.is_full() => self.hand_on(),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.filling.is_last = true;
        let last = mem::take(&mut self.filling);
        self.send(last);
        self.end()
    }
}

impl Drop for Beside {
    /// A run that was given up leaves what its sinks were told so far.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let last = mem::take(&mut self.filling);
            self.send(last);
            self.full = None;
            // What went wrong in the run has been told.
            let _ = self.end();
        }
    }
}

/// The thread.
fn tell_all(
    mut sink: Box<dyn Sink + Send>,
    full: &Receiver<Batch>,
    told: &Sender<Batch>,
) -> io::Result<()> {
    while let Ok(mut batch) = full.recv() {
        batch.tell(&mut *sink)?;
        if batch.is_last {
            return sink.finish();
        }
        batch.clear();
        // Nobody fills it again where the run has been given up.
        let _ = told.send(batch);
    }
    Ok(())
}

/// Events, and the texts of all of them one after the other.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Held>,
    texts: Vec<u8>,
    is_last: bool,
}

/// An event; its texts are the next so many bytes.
#[derive(Debug)]
enum Held {
    Exchange {
        endpoints: Endpoints,
        exchange: Exchange<'static>,
        text: usize,
        status_text: usize,
    },
    Unanswered {
        unanswered: Unanswered<'static>,
        text: usize,
    },
    OneWay(OneWay),
    Connection(Connection),
    Malformed(Malformed),
    Gap(Gap),
    Tick(Timestamp),
    Reopen,
    Reload,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.events.len() >= EVENTS || self.texts.len() >= BYTES
    }

    fn clear(&mut self) {
        self.events.clear();
        self.texts.clear();
    }

    fn push(&mut self, event: &Event<'_>) {
        let held = match *event {
            Event::Packet(_) => return,
            Event::Exchange(exchange) => {
                self.texts.extend_from_slice(exchange.text);
                self.texts.extend_from_slice(exchange.status_text);
                Held::Exchange {
                    endpoints: *exchange.endpoints,
                    exchange: exchange.detached(),
                    text: exchange.text.len(),
                    status_text: exchange.status_text.len(),
                }
            }
            Event::Unanswered(unanswered) => {
                self.texts.extend_from_slice(unanswered.text);
                Held::Unanswered {
                    unanswered: unanswered.detached(),
                    text: unanswered.text.len(),
                }
            }
            Event::OneWay(message) => Held::OneWay(message.clone()),
            Event::Connection(connection) => Held::Connection(connection.clone()),
            Event::Malformed(malformed) => Held::Malformed(malformed.clone()),
            Event::Gap(gap) => Held::Gap(gap.clone()),
            Event::Tick(now) => Held::Tick(now),
            Event::Reopen => Held::Reopen,
            Event::Reload => Held::Reload,
        };
        self.events.push(held);
    }

    fn tell(&self, sink: &mut dyn Sink) -> io::Result<()> {
        let mut texts = &self.texts[..];
        let mut next = |len: usize| {
            let (text, rest) = texts.split_at_checked(len).unwrap_or_default();
            texts = rest;
            text
        };
        for held in &self.events {
            match held {
                Held::Exchange {
                    endpoints,
                    exchange,
                    text,
                    status_text,
                } => sink.event(&Event::Exchange(&Exchange {
                    endpoints,
                    text: next(*text),
                    status_text: next(*status_text),
                    ..*exchange
                })),
                Held::Unanswered { unanswered, text } => {
                    let text = next(*text);
                    sink.event(&Event::Unanswered(&Unanswered {
                        text,
                        ..*unanswered
                    }))
                }
                Held::OneWay(message) => sink.event(&Event::OneWay(message)),
                Held::Connection(connection) => sink.event(&Event::Connection(connection)),
                Held::Malformed(malformed) => sink.event(&Event::Malformed(malformed)),
                Held::Gap(gap) => sink.event(&Event::Gap(gap)),
                Held::Tick(now) => sink.event(&Event::Tick(*now)),
                Held::Reopen => sink.event(&Event::Reopen),
                Held::Reload => sink.event(&Event::Reload),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::flow::Direction;
    use crate::flow::connection::Change;
    use crate::protocol::Mark;
    use crate::sink::sample::{self, STAMP, Sample};

    /// What a sink was told, each event with all that it says.
    type Told = Arc<Mutex<Vec<String>>>;

    #[derive(Default)]
    struct Listener {
        told: Told,
        /// After so many events it fails.
        fails: Option<(usize, io::ErrorKind)>,
    }

    impl Sink for Listener {
        fn needs(&self) -> Needs {
            Needs {
                packets: false,
                text: true,
            }
        }

        fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
            let mut told = self.told.lock().unwrap();
            match self.fails {
                Some((after, kind)) if told.len() >= after => return Err(kind.into()),
                _ => told.push(format!("{event:?}")),
            }
            Ok(())
        }

        fn finish(&mut self) -> io::Result<()> {
            self.told.lock().unwrap().push("the end".to_owned());
            Ok(())
        }
    }

    /// Tells one event of each kind, which differ with `number`.
    fn tell(sink: &mut dyn Sink, number: u64) -> io::Result<()> {
        let text = "x".repeat(number as usize % 7);
        let exchange = Exchange {
            text: text.as_bytes(),
            status_text: &b"ERR of some kind"[..number as usize % 5],
            wait: number,
            ..sample::exchange()
        };
        let mut unanswered = sample::unanswered();
        unanswered.text = text.as_bytes();
        let (endpoints, direction) = (sample::endpoints(), Direction::ToClient);
        let one_way = OneWay {
            endpoints,
            direction,
            protocol: &Sample,
            command: 1,
            span: exchange.request,
        };
        let connection = Connection {
            endpoints,
            change: Change::Opened,
            time: STAMP,
            frame: number,
            handshake: None,
            syn_retries: 1,
            age: Some(number),
        };
        let malformed = Malformed {
            endpoints,
            direction,
            time: Mark::default().time,
            frame: number,
            protocol: "sample",
            reason: "a reason",
        };
        let gap = Gap {
            endpoints,
            direction,
            time: STAMP,
            bytes: number,
        };
        sink.event(&Event::Exchange(&exchange))?;
        sink.event(&Event::Unanswered(&unanswered))?;
        sink.event(&Event::OneWay(&one_way))?;
        sink.event(&Event::Connection(&connection))?;
        sink.event(&Event::Malformed(&malformed))?;
        sink.event(&Event::Gap(&gap))?;
        if number.is_multiple_of(97) {
            sink.event(&Event::Tick(Timestamp(number)))?;
            sink.event(&Event::Reload)?;
            sink.event(&Event::Reopen)?;
        }
        Ok(())
    }

    fn beside(fails: Option<(usize, io::ErrorKind)>) -> (Beside, Told) {
        let told = Told::default();
        let listener = Listener {
            told: Arc::clone(&told),
            fails,
        };
        (Beside::start("test", Box::new(listener)).unwrap(), told)
    }

    #[test]
    fn it_is_told_all_and_in_order() {
        let (mut beside, told) = beside(None);
        let mut direct = Listener::default();
        assert_eq!(beside.needs(), direct.needs());
        for number in 0..(EVENTS * BATCHES) as u64 {
            tell(&mut beside, number).unwrap();
            tell(&mut direct, number).unwrap();
        }
        beside.finish().unwrap();
        direct.finish().unwrap();
        assert!(*told.lock().unwrap() == *direct.told.lock().unwrap());
    }

    #[test]
    fn before_output_goes_elsewhere_all_was_told() {
        let (mut beside, told) = beside(None);
        for round in 1..4 {
            for _ in 0..EVENTS * 2 {
                beside.event(&Event::Exchange(&sample::exchange())).unwrap();
            }
            beside.event(&Event::Reopen).unwrap();
            assert_eq!(told.lock().unwrap().len(), round * (EVENTS * 2 + 1));
        }
    }

    #[test]
    fn a_run_that_is_given_up_leaves_what_was_told() {
        let (mut beside, told) = beside(None);
        for number in 0..7 {
            tell(&mut beside, number).unwrap();
        }
        drop(beside);
        let told = told.lock().unwrap();
        assert!(told.len() > 6 * 7 && *told.last().unwrap() != "the end");
    }

    #[test]
    fn a_second_is_told_when_it_is_over() {
        let (mut beside, told) = beside(None);
        beside
            .event(&Event::Gap(&Gap {
                endpoints: sample::endpoints(),
                direction: Direction::ToServer,
                time: STAMP,
                bytes: 1,
            }))
            .unwrap();
        beside.event(&Event::Tick(STAMP)).unwrap();
        beside.told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(told.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_goes_wrong_is_told_once_and_as_it_was() {
        for after in [0, 1, EVENTS * 5] {
            let (mut beside, told) = beside(Some((after, io::ErrorKind::BrokenPipe)));
            let mut errors = Vec::new();
            for number in 0..EVENTS as u64 * 2 {
                errors.extend(tell(&mut beside, number).err());
            }
            errors.extend(beside.finish().err());
            let kinds: Vec<_> = errors.iter().map(io::Error::kind).collect();
            assert_eq!(kinds, [io::ErrorKind::BrokenPipe], "after {after}");
            assert_eq!(
                told.lock().unwrap().len(),
                after,
                "and nothing is told behind it"
            );
        }
    }

    #[test]
    fn a_sink_that_panics_is_an_error() {
        struct Panics;
        impl Sink for Panics {
            fn needs(&self) -> Needs {
                Needs::default()
            }
            fn event(&mut self, _: &Event<'_>) -> io::Result<()> {
                panic!("as a test wants it")
            }
            fn finish(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut beside = Beside::start("test", Box::new(Panics)).unwrap();
        beside.event(&Event::Reload).unwrap();
        let error = beside.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }
}
