//! How a worker hands counts to the thread that adds them up, without waiting for it.
//!
//! Once a second of capture time, and at the next look after a reader asks, the worker hands over a [`Parcel`] of all
//! that was counted since the last one: work in proportion to the commands that were in use. Where the channel is full
//! a live worker keeps the parcel and adds to it; nothing is lost, only windows get coarser.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use super::book::Parcel;
use super::detail::Detail;
use super::live::Live;
use super::snapshot::{Ring, Snapshot, Stage};
use super::{Rules, Stats};
use crate::source::Timestamp;

/// What the thread that adds up is sent.
#[derive(Debug)]
pub enum Letter {
    /// From a worker.
    Parcel(Box<Parcel>),
    /// From a reader.
    Ask(Ask),
}

/// A reader's question.
#[derive(Debug)]
pub struct Ask {
    /// Whether windows are wanted, or the figures since the start alone.
    pub whole: bool,
    /// Where to send the snapshot.
    pub answer: SyncSender<Arc<Snapshot>>,
}

/// What readers and one worker share.
#[derive(Debug, Default)]
pub struct Bell {
    asked: AtomicBool,
    turns: AtomicU64,
    ended: AtomicBool,
}

impl Bell {
    /// Asks the worker for a parcel at its next look.
    pub fn ring(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// How often the worker has looked: goes on as long as its loop turns.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A worker's end.
#[derive(Debug)]
pub struct Desk {
    /// What the worker counts for readers.
    pub detail: Detail,
    worker: usize,
    letters: SyncSender<Letter>,
    bell: Arc<Bell>,
    /// Waits for room: nothing is lost by waiting where frames come from a file.
    patient: bool,
    kept: Option<Box<Parcel>>,
    open: BTreeMap<u16, u64>,
    stages: Vec<Stage>,
    rings: Vec<Ring>,
    begun: Timestamp,
    now: Timestamp,
}

impl Desk {
    /// The desk of a worker that counts by `rules`, and keys where they are wanted; a `patient` one waits for room.
    pub fn new(
        worker: usize,
        letters: SyncSender<Letter>,
        bell: Arc<Bell>,
        rules: Rules,
        wants_keys: bool,
        patient: bool,
    ) -> Self {
        Self {
            detail: Detail::new(rules, wants_keys),
            worker,
            letters,
            bell,
            patient,
            kept: None,
            open: BTreeMap::new(),
            stages: Vec::new(),
            rings: Vec::new(),
            begun: Timestamp::default(),
            now: Timestamp::default(),
        }
    }

    /// The worker's loop has turned.
    pub fn look(&mut self, now: Timestamp, stats: &Stats) {
        self.bell.turns.fetch_add(1, Ordering::Relaxed);
        if self.bell.asked.swap(false, Ordering::Relaxed) {
            self.send(now, stats, true);
        }
    }

    /// Connections that are open at this moment, by server port.
    pub fn set_open(&mut self, open: BTreeMap<u16, u64>) {
        self.open = open;
    }

    /// What the source says of itself: the places where its frames pass, and its rings.
    pub fn set_source(&mut self, live: &Live) {
        self.stages = live.stages();
        self.rings.clone_from(&live.rings);
    }

    /// Hands over all that was counted.
    pub fn hand_over(&mut self, now: Timestamp, stats: &Stats) {
        self.send(now, stats, false);
    }

    fn send(&mut self, now: Timestamp, stats: &Stats, asked: bool) {
        let mut parcel = self.parcel(now, stats);
        parcel.asked = asked;
        if self.patient {
            let _ = self.letters.send(Letter::Parcel(parcel));
            return;
        }
        let sent = self.letters.try_send(Letter::Parcel(parcel));
        // Without a reader there is nobody to tell.
        if let Err(TrySendError::Full(Letter::Parcel(parcel))) = sent {
            self.kept = Some(parcel);
        }
    }

    fn parcel(&mut self, now: Timestamp, stats: &Stats) -> Box<Parcel> {
        if self.begun == Timestamp::default() {
            self.begun = now;
        }
        self.now = self.now.max(now);
        let fresh = self.detail.take(stats);
        let figures = match self.kept.take() {
            Some(kept) => {
                let mut figures = kept.figures;
                figures.merge(&fresh);
                figures
            }
            None => fresh,
        };
        Box::new(Parcel {
            worker: self.worker,
            begun: self.begun,
            now: self.now,
            figures,
            open: self.open.clone(),
            stages: self.stages.clone(),
            rings: self.rings.clone(),
            asked: false,
            last: false,
        })
    }

    /// Hands over what is left: the worker has ended.
    pub fn close(mut self, stats: &Stats) {
        let mut parcel = self.parcel(self.now, stats);
        parcel.last = true;
        // The end is waited for: whoever reads is to see all of it.
        let _ = self.letters.send(Letter::Parcel(parcel));
        self.bell.ended.store(true, Ordering::Relaxed);
    }

    /// Capture time has gone on.
    pub fn pass(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Capture time of the first frame.
    pub fn begin(&mut self, time: Timestamp) {
        self.begun = time;
    }
}
