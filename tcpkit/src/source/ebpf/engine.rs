//! The engine: attached programs, the rings that they fill, the interfaces that they are on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tcpkit_common::{EGRESS, INGRESS, IP, count, map};

use super::interfaces::{Device, devices, lower_first};
use super::ladder::Ladder;
use super::log::Diagnostics;
use super::merge::{Drained, drain};
use super::pace::{Pace, fullest};
use super::ring::{Record, Ring};
use super::{Hooks, Refusal};
use crate::limits::{INTERFACE_REST, INTERFACES, RING_HOLD};
use crate::source::clock::BootClock;
use crate::source::live::{Counters, Engine, Interest, Privilege, no_such_interface};
use crate::source::{Frame, Interface, LinkType, SourceError, Timestamp};

/// How often interfaces are looked for, and the programs are told that the reader is alive.
const CHORES: Duration = Duration::from_secs(1);

/// The engine.
pub(super) struct Rings {
    ladder: Ladder,
    pace: Pace,
    clock: BootClock,
    diagnostics: Option<Diagnostics>,
    seen: Seen,
    /// Names that were asked for; none for every interface.
    wanted: Vec<String>,
    /// Interfaces that refused, so that this is said once.
    refused: Vec<u32>,
    /// It was said that there are too many interfaces.
    is_full: bool,
    chores_done: Instant,
    notices: Vec<String>,
    /// The last call ended before all was handed on.
    is_stopped: bool,
    /// Everything before this time was handed on.
    settled: Timestamp,
}

/// What was handed on, and from where.
struct Seen {
    interfaces: Vec<Interface>,
    /// The kernel's index of each of [`Seen::interfaces`].
    indexes: Vec<u32>,
    /// Where the interface of an index is in [`Seen::interfaces`]. An index may be given again: the last one counts.
    places: HashMap<u32, usize, foldhash::fast::RandomState>,
    /// Places of interfaces that are gone, and since when; the first is gone for longest.
    gone: VecDeque<(Instant, usize)>,
    /// Places that were given to another interface, since that was asked.
    renumbered: Vec<u32>,
    /// Most places, and how long one rests before it is given again.
    most: usize,
    rest: Duration,
    /// Parts of bonds, and their bonds: native XDP runs in the drivers of the parts, and names those.
    parts: Vec<(u32, u32)>,
    delivered: u64,
    /// Frames of interfaces that are not known: of what became part of a bond since it was looked.
    unknown: u64,
    snaplen: u32,
}

impl Rings {
    /// As [`super::open`].
    pub(super) fn open(interest: &Interest, hooks: Hooks) -> Result<(Self, Vec<String>), Refusal> {
        let found =
            devices().map_err(|error| Refusal(format!("no list of interfaces: {error}")))?;
        let chosen = chosen(&interest.interfaces, &found)?;
        let mut ladder = Ladder::new(interest, hooks, &found)?;
        let control = ladder.kernel.map(map::CONTROL);
        let control = control.ok_or_else(|| Refusal("the object has no control map".to_owned()))?;
        let pace = Pace::new(&control, &ladder.kernel.rings);
        let pace =
            pace.map_err(|error| Refusal(format!("the rings cannot be waited for: {error}")))?;
        let diagnostics = diagnostics(interest, &mut ladder)?;
        let mut engine = Self {
            ladder,
            pace,
            clock: BootClock::start(),
            diagnostics,
            seen: Seen::new(interest.snaplen.unwrap_or(0)),
            wanted: interest.interfaces.clone(),
            refused: Vec::new(),
            is_full: false,
            chores_done: Instant::now(),
            notices: Vec::new(),
            is_stopped: false,
            settled: Timestamp::default(),
        };
        engine.seen.learn(&found);
        for device in chosen {
            engine.attach(device);
        }
        if engine.ladder.is_empty() && (!engine.wanted.is_empty() || !engine.refused.is_empty()) {
            return Err(Refusal(engine.take_notices().join("; ")));
        }
        let notices = engine.take_notices();
        Ok((engine, notices))
    }

    /// As if a run had no more places than this, and none had to rest.
    #[cfg(test)]
    pub(super) fn with_places(mut self, most: usize) -> Self {
        (self.seen.most, self.seen.rest) = (most, Duration::ZERO);
        self
    }

    fn attach(&mut self, device: &Device) {
        let attached = self.ladder.attach(device);
        self.notices.extend(self.ladder.take_notices());
        match attached {
            Ok(()) => self.seen.add(device),
            Err(refusal) => {
                self.refused.push(device.index);
                self.notices.push(refusal.to_string());
            }
        }
    }

    /// What is done once a second; whether there are new interfaces.
    fn chores(&mut self) -> Result<bool, SourceError> {
        if self.chores_done.elapsed() < CHORES {
            return Ok(false);
        }
        self.chores_done = Instant::now();
        self.pace.beat();
        match devices() {
            Ok(found) => self.follow(&found),
            // The list may be asked for again; frames come all the same.
            Err(_) => Ok(false),
        }
    }

    /// Attaches to interfaces that appeared, whether there are any, and forgets those that went.
    fn follow(&mut self, found: &[Device]) -> Result<bool, SourceError> {
        self.seen.learn(found);
        self.refused
            .retain(|&index| found.iter().any(|device| device.index == index));
        for (index, name) in self.ladder.forget_all_but(found) {
            self.seen.leave(index);
            self.notices.push(format!("the interface {name} is gone"));
        }
        let news = found.iter().filter(|device| {
            self.is_wanted(device)
                && !self.ladder.has(device.index)
                && !self.refused.contains(&device.index)
        });
        let mut news: Vec<_> = news.collect();
        lower_first(&mut news, found);
        let mut is_new = false;
        for device in news.into_iter().cloned().collect::<Vec<_>>() {
            if !self.seen.has_place() {
                self.tell_full(&device);
                break;
            }
            self.attach(&device);
            if self.ladder.has(device.index) {
                is_new = true;
                self.notices
                    .push(format!("the interface {} appeared", device.name));
            }
        }
        if self.ladder.is_empty() && !self.wanted.is_empty() {
            let names = self.wanted.join(", ");
            return Err(SourceError(format!(
                "capturing on {names} has ended: the last interface is gone"
            )));
        }
        Ok(is_new)
    }

    /// Said once: it is tried again every second.
    fn tell_full(&mut self, device: &Device) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.notices.push(format!(
                "the interface {} appeared beyond {} others: interfaces are captured as others go",
                device.name, self.seen.most
            ));
        }
    }

    fn is_wanted(&self, device: &Device) -> bool {
        if self.wanted.is_empty() {
            is_eligible(device)
        } else {
            self.wanted.contains(&device.name)
        }
    }

    fn drain(&mut self, each: &mut dyn FnMut(&Frame<'_>) -> bool) -> Drained {
        let (clock, seen) = (&self.clock, &mut self.seen);
        let horizon = BootClock::boot().saturating_sub(RING_HOLD.as_nanos() as u64);
        let drained = drain(&mut self.ladder.kernel.rings, horizon, &mut |record| {
            seen.frame(record, clock).is_none_or(|frame| each(&frame))
        });
        if !drained.is_stopped {
            self.settled = self.clock.time(horizon);
        }
        drained
    }
}

impl Engine for Rings {
    fn describe(&self) -> String {
        self.ladder.describe()
    }

    fn interfaces(&self) -> &[Interface] {
        &self.seen.interfaces
    }

    fn take_renumbered(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.seen.renumbered)
    }

    fn deliver(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), SourceError> {
        let start = Instant::now();
        loop {
            // What an interface is comes to be known before its frames.
            if self.chores()? {
                return Ok(());
            }
            if !self.is_stopped {
                let rest = wait.saturating_sub(start.elapsed()).min(CHORES);
                self.pace.sleep(&self.ladder.kernel.rings, rest);
            }
            let fill = fullest(&self.ladder.kernel.rings);
            let drained = self.drain(each);
            self.is_stopped = drained.is_stopped;
            self.pace.learn(fill, drained.records);
            if drained.records > 0 || start.elapsed() >= wait {
                return Ok(());
            }
        }
    }

    fn clock(&mut self) -> Timestamp {
        self.clock.time(BootClock::boot())
    }

    fn settled(&self) -> Timestamp {
        self.settled
    }

    /// Interfaces that appear are attached to.
    fn privileges(&self) -> &'static [Privilege] {
        &[Privilege::Bpf, Privilege::NetAdmin]
    }

    fn filters(&self) -> bool {
        false
    }

    fn drift(&mut self) -> i64 {
        self.clock.drift()
    }

    fn counters(&mut self) -> Counters {
        let rows = [INGRESS, EGRESS].map(|way| self.ladder.kernel.counters(way));
        let sum = |place: usize| rows.iter().map(|row| row[place]).sum();
        Counters {
            seen: sum(count::SEEN),
            matched: sum(count::MATCHED),
            delivered: self.seen.delivered,
            lost: vec![
                ("ring full", sum(count::RING_FULL)),
                ("not copied", sum(count::NOT_COPIED)),
                ("unknown interface", self.seen.unknown),
            ],
            cut: sum(count::CUT),
            unparsed: sum(count::UNPARSED) + sum(count::FRAGMENTS),
            rings: self
                .ladder
                .kernel
                .rings
                .iter()
                .map(Ring::highest_fill)
                .collect(),
        }
    }

    fn take_notices(&mut self) -> Vec<String> {
        let said = self.diagnostics.iter_mut().flat_map(Diagnostics::take);
        self.notices.extend(said);
        std::mem::take(&mut self.notices)
    }
}

impl Seen {
    fn new(snaplen: u32) -> Self {
        Self {
            interfaces: Vec::new(),
            indexes: Vec::new(),
            places: HashMap::default(),
            gone: VecDeque::new(),
            renumbered: Vec::new(),
            most: INTERFACES,
            rest: INTERFACE_REST,
            parts: Vec::new(),
            delivered: 0,
            unknown: 0,
            snaplen,
        }
    }

    /// Whether there is a place for one more interface.
    fn has_place(&self) -> bool {
        let has_rested = |(since, _): &(Instant, usize)| since.elapsed() >= self.rest;
        self.interfaces.len() < self.most || self.gone.front().is_some_and(has_rested)
    }

    /// Gives it a place: a new one while there are such, then that of the one that is gone for longest.
    fn add(&mut self, device: &Device) {
        let interface = Interface {
            link: device.link().unwrap_or(LinkType::ETHERNET),
            name: Some(device.name.clone()),
            snaplen: self.snaplen,
        };
        let is_full = self.interfaces.len() >= self.most;
        let place = match self.gone.pop_front_if(|_| is_full) {
            Some((_, place)) => {
                if self.places.get(&self.indexes[place]) == Some(&place) {
                    self.places.remove(&self.indexes[place]);
                }
                self.indexes[place] = device.index;
                self.interfaces[place] = interface;
                self.renumbered.push(place as u32);
                place
            }
            None => {
                self.indexes.push(device.index);
                self.interfaces.push(interface);
                self.indexes.len() - 1
            }
        };
        self.places.insert(device.index, place);
    }

    /// The interface of this index is gone; frames of it may be under way.
    fn leave(&mut self, index: u32) {
        let place = self.places.get(&index);
        self.gone
            .extend(place.map(|&place| (Instant::now(), place)));
    }

    /// Takes over which interface is part of which bond.
    fn learn(&mut self, found: &[Device]) {
        let parts = found
            .iter()
            .filter_map(|device| Some((device.index, device.bond()?)));
        self.parts = parts.collect();
    }

    /// Where the interface of this index is in [`Seen::interfaces`], or the bond that it is a part of.
    fn place(&self, index: u32) -> Option<usize> {
        let place = |index| self.places.get(&index).copied();
        let bond = || self.parts.iter().find(|&&(part, _)| part == index);
        place(index).or_else(|| place(bond()?.1))
    }

    /// The frame of a record; `None` for an interface that is not known, which is counted.
    fn frame<'a>(&mut self, record: &Record<'a>, clock: &BootClock) -> Option<Frame<'a>> {
        let Some(interface) = self.place(record.head.ifindex) else {
            self.unknown += 1;
            return None;
        };
        self.delivered += 1;
        Some(Frame {
            data: record.frame,
            time: clock.time(record.head.time),
            number: self.delivered,
            wire_len: record.head.wire_len,
            interface: interface as u32,
            link: match record.head.link {
                IP => LinkType::RAW,
                _ => self.interfaces[interface].link,
            },
        })
    }
}

/// What the programs say, where that is asked for.
fn diagnostics(interest: &Interest, ladder: &mut Ladder) -> Result<Option<Diagnostics>, Refusal> {
    if !interest.diagnostics {
        return Ok(None);
    }
    let diagnostics = Diagnostics::new(&mut ladder.kernel.ebpf);
    diagnostics
        .map(Some)
        .map_err(|error| Refusal(format!("no diagnostics: {error}")))
}

/// The interfaces to begin with.
fn chosen<'a>(names: &[String], found: &'a [Device]) -> Result<Vec<&'a Device>, Refusal> {
    let named = |name: &String| {
        let device = found.iter().find(|device| device.name == *name);
        let device = device.ok_or_else(|| unknown(name, found))?;
        if device.link().is_none() {
            return Err(Refusal(format!(
                "{name}: frames of this kind of interface are not known"
            )));
        }
        Ok(device)
    };
    let mut all: Vec<_> = match names {
        [] => found.iter().filter(|device| is_eligible(device)).collect(),
        names => names.iter().map(named).collect::<Result<_, _>>()?,
    };
    lower_first(&mut all, found);
    Ok(all)
}

/// That there is no such interface, and which there are.
pub(super) fn unknown(name: &str, found: &[Device]) -> Refusal {
    let names: Vec<_> = found.iter().map(|device| device.name.as_str()).collect();
    Refusal(no_such_interface(name, &names.join(", ")))
}

/// Whether every interface means this one too.
fn is_eligible(device: &Device) -> bool {
    device.is_up() && device.link().is_some() && !device.is_bond_slave()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_bond_counts_as_the_bond() {
        let mut seen = Seen::new(0);
        seen.places = [(4, 0), (9, 1)].into_iter().collect();
        seen.parts = vec![(5, 9), (6, 9), (7, 8)];
        assert_eq!(seen.place(4), Some(0));
        assert_eq!(seen.place(9), Some(1));
        assert_eq!(seen.place(6), Some(1));
        // Part of a bond that is not captured.
        assert_eq!(seen.place(7), None);
        assert_eq!(seen.place(3), None);
    }
}
