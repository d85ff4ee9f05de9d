//! Adds up what workers hand over, for the whole run and for windows that move with capture time.
//!
//! Reads [`Parcel`]s, makes [`Period`]s. Windows are made of slots, each a part of capture time; their bound is that of
//! the slots together.

use std::collections::{BTreeMap, VecDeque};

use super::figures::Figures;
use super::keys::Shown;
use super::shape;
use super::snapshot::{Period, Ring, Span, Stage};
use crate::limits;
use crate::source::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// What a worker hands over.
#[derive(Debug)]
pub struct Parcel {
    /// Which worker.
    pub worker: usize,
    /// Capture time of the worker's first frame.
    pub begun: Timestamp,
    /// Capture time now.
    pub now: Timestamp,
    /// What was counted since the parcel before.
    pub figures: Figures,
    /// Connections that are open, by server port.
    pub open: BTreeMap<u16, u64>,
    /// What the source says of itself, where it is this worker that asks it.
    pub stages: Vec<Stage>,
    /// Its rings, as [`Parcel::stages`].
    pub rings: Vec<Ring>,
    /// It answers a reader.
    pub asked: bool,
    /// The worker has ended.
    pub last: bool,
}

/// All that was counted, and when.
#[derive(Debug)]
pub struct Book {
    asked: Vec<u16>,
    total: Figures,
    windows: [Window; 3],
    open: BTreeMap<usize, BTreeMap<u16, u64>>,
    stages: Vec<Stage>,
    rings: Vec<Ring>,
    begun: Option<Timestamp>,
    now: Timestamp,
}

/// The figures of a moving span of capture time.
#[derive(Debug)]
struct Window {
    span: Span,
    /// Capture time of a slot in nanoseconds.
    slot: u64,
    /// How many slots it holds.
    slots: u64,
    /// Oldest first, each with its number since the epoch.
    held: VecDeque<(u64, Figures)>,
    /// The number of the first slot after those that went to keep the bound.
    dropped: u64,
}

impl Book {
    /// An empty one; ports `asked` for are always told, in their order.
    pub fn new(asked: Vec<u16>) -> Self {
        Self {
            asked,
            total: Figures::default(),
            windows: [
                Window::new(Span::TenSeconds, 1, 10),
                Window::new(Span::Minute, 5, 12),
                Window::new(Span::FiveMinutes, 25, 12),
            ],
            open: BTreeMap::new(),
            stages: Vec::new(),
            rings: Vec::new(),
            begun: None,
            now: Timestamp::default(),
        }
    }

    /// Adds what a worker hands over.
    pub fn add(&mut self, parcel: Parcel) {
        if parcel.begun != Timestamp::default() {
            let begun = self.begun.get_or_insert(parcel.begun);
            *begun = (*begun).min(parcel.begun);
        }
        self.total.merge(&parcel.figures);
        for window in &mut self.windows {
            window.add(parcel.now, &parcel.figures);
        }
        self.open.insert(parcel.worker, parcel.open);
        if !parcel.stages.is_empty() {
            self.stages = parcel.stages;
            self.rings = parcel.rings;
        }
        self.pass(parcel.now);
    }

    /// Capture time has gone on.
    pub fn pass(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for window in &mut self.windows {
            window.pass(self.now);
        }
        while self.windows.iter().map(Window::places).sum::<usize>() > limits::WINDOW_PLACES {
            let largest = self.windows.iter_mut().max_by_key(|window| window.places());
            if largest.is_none_or(|window| !window.drop_oldest()) {
                return;
            }
        }
    }

    /// Capture time of the first frame, and the latest.
    pub fn time(&self) -> (Timestamp, Timestamp) {
        (self.begun.unwrap_or(self.now), self.now)
    }

    /// Places where frames pass before they are walked, and what they lost.
    pub fn stages(&self) -> Vec<Stage> {
        shape::stages(&self.stages, &self.total.account)
    }

    /// The rings between kernel and reader.
    pub fn rings(&self) -> Vec<Ring> {
        self.rings.clone()
    }

    /// The figures since the start, and in `whole` those of the windows too.
    pub fn periods(&self, shown: &Shown, whole: bool) -> Vec<Period> {
        let (begun, now) = self.time();
        let mut open = BTreeMap::new();
        for (port, count) in self.open.values().flatten() {
            *open.entry(*port).or_default() += count;
        }
        let make = |span, since: Timestamp, figures: &Figures| {
            let length = now.since(since.max(begun));
            shape::period(span, length, figures, &self.asked, &open, shown)
        };
        let mut periods = vec![make(Span::Start, begun, &self.total)];
        for window in self.windows.iter().filter(|_| whole) {
            let (since, figures) = window.sum(now);
            periods.push(make(window.span, since, &figures));
        }
        periods
    }
}

impl Window {
    fn new(span: Span, seconds: u64, slots: u64) -> Self {
        Self {
            span,
            slot: seconds * SECOND,
            slots,
            held: VecDeque::new(),
            dropped: 0,
        }
    }

    fn add(&mut self, now: Timestamp, figures: &Figures) {
        // What is handed over at the end of a slot belongs to it, not to the next one.
        let number = now.0.saturating_sub(1) / self.slot;
        if number < self.dropped {
            return;
        }
        let place = self.held.partition_point(|(held, _)| *held < number);
        match self.held.get_mut(place) {
            Some((held, sum)) if *held == number => sum.merge(figures),
            _ => self.held.insert(place, (number, figures.clone())),
        }
    }

    /// The number of the oldest slot that counts.
    fn oldest(&self, now: Timestamp) -> u64 {
        (now.0.saturating_sub(1) / self.slot + 1).saturating_sub(self.slots)
    }

    fn pass(&mut self, now: Timestamp) {
        let oldest = self.oldest(now);
        while self
            .held
            .front()
            .is_some_and(|(number, _)| *number < oldest)
        {
            self.held.pop_front();
        }
    }

    /// Makes room; false if there is nothing.
    fn drop_oldest(&mut self) -> bool {
        let dropped = self.held.pop_front();
        self.dropped = dropped
            .as_ref()
            .map_or(self.dropped, |(number, _)| number + 1);
        dropped.is_some()
    }

    fn places(&self) -> usize {
        self.held.iter().map(|(_, figures)| figures.places()).sum()
    }

    /// Since when it counts, and what was counted.
    fn sum(&self, now: Timestamp) -> (Timestamp, Figures) {
        let mut sum = Figures::default();
        for (_, figures) in &self.held {
            sum.merge(figures);
        }
        let oldest = self.oldest(now).max(self.dropped);
        (Timestamp(oldest * self.slot), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::stats::figures::{CommandFigures, PortFigures};
    use crate::sink::stats::sparse::Dense;

    /// So many exchanges, of latencies in so many places.
    fn figures(exchanges: u64, places: u64) -> Figures {
        let mut figures = Figures::default();
        let port = figures.ports.entry(6379).or_default();
        port.counts.latencies[0] = exchanges;
        let mut command = CommandFigures::new(crate::protocol::PROTOCOLS[0]);
        let mut dense = Dense::default();
        for place in 0..places {
            dense.record_at(place as usize, place);
        }
        command.latency = dense.take();
        port.commands.insert(("redis", 1), command);
        figures
    }

    fn parcel(second: u64, figures: Figures) -> Parcel {
        Parcel {
            worker: 0,
            begun: Timestamp(1_000 * SECOND),
            now: Timestamp((1_000 + second) * SECOND),
            figures,
            open: BTreeMap::new(),
            stages: Vec::new(),
            rings: Vec::new(),
            asked: false,
            last: false,
        }
    }

    fn told(book: &Book) -> Vec<(u64, u64)> {
        let periods = book.periods(&Shown::Not, true);
        let told = periods.iter().map(|period| {
            let ports = period.ports.iter().map(|port| port.requests);
            (ports.sum(), period.length_ns / SECOND)
        });
        told.collect()
    }

    #[test]
    fn windows_hold_what_their_names_say() {
        let mut book = Book::new(vec![6379]);
        // One exchange a second, handed over at its end.
        for second in 1..=1000 {
            book.add(parcel(second, figures(1, 1)));
        }
        assert_eq!(told(&book), [(1000, 1000), (10, 10), (60, 60), (300, 300)]);
        book.pass(Timestamp(2_030 * SECOND));
        assert_eq!(
            told(&book)[..2],
            [(1000, 1030), (0, 10)],
            "nothing for half a minute"
        );
        assert_eq!(told(&book)[2].0, 30);
        book.pass(Timestamp(3_000 * SECOND));
        assert_eq!(told(&book)[3].0, 0);
    }

    #[test]
    fn a_young_run_tells_how_long_it_is() {
        let mut book = Book::new(vec![6379]);
        book.add(parcel(3, figures(5, 1)));
        assert_eq!(told(&book), [(5, 3); 4]);
    }

    #[test]
    fn what_a_slow_worker_hands_over_late_goes_where_it_belongs() {
        let mut book = Book::new(Vec::new());
        book.add(parcel(100, figures(1, 1)));
        book.add(parcel(95, figures(1, 1)));
        book.add(parcel(20, figures(1, 1)));
        let counts: Vec<u64> = told(&book).iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [3, 2, 2, 3]);
    }

    #[test]
    fn windows_are_bounded() {
        let mut book = Book::new(Vec::new());
        for second in 1..=300 {
            let mut wide = figures(1, 2000);
            let port = wide.ports.remove(&6379).unwrap_or_default();
            for number in 0..200 {
                wide.ports.insert(number, port.clone());
            }
            book.add(parcel(second, wide));
        }
        let places: usize = book.windows.iter().map(Window::places).sum();
        assert!(places <= limits::WINDOW_PLACES, "{places}");
        assert_eq!(
            told(&book)[0].0,
            300 * 200,
            "nothing is lost from the whole"
        );
    }

    #[test]
    fn ports_without_exchanges_are_bounded_too() {
        let mut book = Book::new(Vec::new());
        for second in 1..=60 {
            let mut scanned = Figures::default();
            for number in 1..=20_000 {
                let port = scanned.ports.entry(number).or_default();
                port.traffic.in_packets = 1;
            }
            book.add(parcel(second, scanned));
        }
        let slots = book.windows.iter().flat_map(|window| &window.held);
        let ports: usize = slots.map(|(_, figures)| figures.ports.len()).sum();
        let bytes = ports * size_of::<PortFigures>();
        assert!(bytes <= limits::WINDOW_PLACES * 17, "{bytes}");
    }
}
