//! The thread that adds up what workers hand over, and makes snapshots of it.
//!
//! Reads [`Letter`]s: parcels of workers, and questions. A question rings the workers' bells and is answered when all
//! have answered, or after [`limits::PARCEL_TIME`]; questions that come meanwhile share the answer.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Settings;
use crate::limits;
use crate::sink::stats::BOUNDS;
use crate::sink::stats::book::{Book, Parcel};
use crate::sink::stats::desk::{Ask, Bell, Desk, Letter};
use crate::sink::stats::keys::Shown;
use crate::sink::stats::snapshot::{Build, KeyForm, Snapshot, VERSION};
use crate::source::Timestamp;

/// An answer is waited for so long: making the largest snapshot takes a tenth of it.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The thread and what leads to it.
#[derive(Debug)]
pub struct Keeper {
    reader: Reader,
    settings: Settings,
}

/// Asks for snapshots; clones ask the same.
#[derive(Clone, Debug)]
pub struct Reader {
    letters: SyncSender<Letter>,
    bells: Bells,
}

/// Those of the workers that there are.
#[derive(Clone, Debug, Default)]
struct Bells(Arc<Mutex<Vec<Arc<Bell>>>>);

impl Bells {
    fn all(&self) -> Vec<Arc<Bell>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.push(Arc::clone(&bell));
        bell
    }
}

impl Keeper {
    /// Starts the thread. It ends when everybody who could write to it is gone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (letters, mail) = sync_channel(limits::PARCELS);
        let bells = Bells::default();
        let mut desk = Clerk::new(&settings, bells.clone());
        std::thread::Builder::new()
            .name("tcpkit-stats".to_owned())
            .spawn(move || desk.work(&mail))?;
        let reader = Reader { letters, bells };
        Ok(Self { reader, settings })
    }

    /// The desk of a worker.
    pub fn desk(&self, worker: usize) -> Desk {
        Desk::new(
            worker,
            self.reader.letters.clone(),
            self.reader.bells.add(),
            self.settings.rules,
            self.settings.keys != KeyForm::None,
            !self.settings.live,
        )
    }

    /// Asks for snapshots.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }
}

impl Reader {
    /// What is counted up to now; waits for it. `None` if nobody answers.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.ask(true)
    }

    /// As [`Reader::snapshot`], without windows: for those who make their own of what is counted since the start.
    pub fn since_start(&self) -> Option<Arc<Snapshot>> {
        self.ask(false)
    }

    fn ask(&self, whole: bool) -> Option<Arc<Snapshot>> {
        let (answer, answered) = sync_channel(1);
        self.letters.send(Letter::Ask(Ask { whole, answer })).ok()?;
        answered.recv_timeout(ANSWER_TIME).ok()
    }

    /// Whether all workers that there were have ended.
    pub fn has_ended(&self) -> bool {
        let bells = self.bells.all();
        !bells.is_empty() && bells.iter().all(|bell| bell.has_ended())
    }

    /// How often the workers' loops have turned, all together.
    pub fn turns(&self) -> u64 {
        self.bells.all().iter().map(|bell| bell.turns()).sum()
    }
}

/// What the thread knows.
struct Clerk {
    book: Book,
    shown: Shown,
    settings: Settings,
    bells: Bells,
    started: Instant,
    /// Workers that have ended, by number.
    ended: Vec<bool>,
    /// Who waits for an answer.
    waiting: Vec<Ask>,
    /// Workers that are waited for, and how long.
    missing: Vec<usize>,
    until: Instant,
}

impl Clerk {
    fn new(settings: &Settings, bells: Bells) -> Self {
        let started = Instant::now();
        Self {
            book: Book::new(settings.asked.clone()),
            shown: Shown::new(settings.keys),
            settings: settings.clone(),
            bells,
            started,
            ended: Vec::new(),
            waiting: Vec::new(),
            missing: Vec::new(),
            until: started,
        }
    }

    fn work(&mut self, mail: &Receiver<Letter>) {
        loop {
            let letter = match self.waiting.is_empty() {
                true => mail.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => mail.recv_timeout(self.until.saturating_duration_since(Instant::now())),
            };
            match letter {
                Ok(Letter::Parcel(parcel)) => self.add(*parcel),
                Ok(Letter::Ask(ask)) => self.ask(ask),
                Err(RecvTimeoutError::Timeout) => self.missing.clear(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.missing.is_empty() {
                self.answer();
            }
        }
    }

    fn add(&mut self, parcel: Parcel) {
        let (worker, last) = (parcel.worker, parcel.last);
        if parcel.asked || last {
            self.missing.retain(|missing| *missing != worker);
        }
        if last {
            let workers = self.ended.len().max(worker + 1);
            self.ended.resize(workers, false);
            self.ended[worker] = true;
        }
        self.book.add(parcel);
    }

    fn ask(&mut self, ask: Ask) {
        self.waiting.push(ask);
        if self.waiting.len() > 1 {
            return;
        }
        self.until = Instant::now() + limits::PARCEL_TIME;
        for (worker, bell) in self.bells.all().iter().enumerate() {
            if !self.has_ended(worker) {
                bell.ring();
                self.missing.push(worker);
            }
        }
    }

    fn has_ended(&self, worker: usize) -> bool {
        self.ended.get(worker).copied().unwrap_or(false)
    }

    fn answer(&mut self) {
        for whole in [false, true] {
            let asks: Vec<Ask> = self
                .waiting
                .extract_if(.., |ask| ask.whole == whole)
                .collect();
            if asks.is_empty() {
                continue;
            }
            let snapshot = Arc::new(self.snapshot(whole));
            for ask in asks {
                // Who does not wait any longer needs no answer.
                let _ = ask.answer.try_send(Arc::clone(&snapshot));
            }
        }
    }

    fn snapshot(&mut self, whole: bool) -> Snapshot {
        let made = SystemTime::now().duration_since(UNIX_EPOCH);
        let made_ns = made.map_or(0, nanoseconds);
        let workers = self.bells.all().len();
        let ended = workers > 0 && (0..workers).all(|worker| self.has_ended(worker));
        let (begun, now) = self.book.time();
        if self.settings.live && !ended && now != Timestamp::default() {
            self.book.pass(Timestamp(made_ns));
        }
        Snapshot {
            v: VERSION,
            build: Build {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            made_ns,
            uptime_ns: nanoseconds(self.started.elapsed()),
            begun_ns: begun.0,
            now_ns: self.book.time().1.0,
            ended,
            threshold_ns: self.settings.rules.threshold.map(nanoseconds),
            bounds_ns: BOUNDS.to_vec(),
            keys: self.shown.form(),
            stages: self.book.stages(),
            rings: self.book.rings(),
            pushes: self.settings.pushes.as_ref().map(super::otlp::Counts::now),
            scripts: self.settings.scripts.snapshot(),
            periods: self.book.periods(&self.shown, whole),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
