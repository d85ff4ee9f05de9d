//! Live capture with libpcap, on any system that has it.
//!
//! Reads frames from the `any` device, or from each interface by a handle of its own, makes [`Frame`]s in
//! the order of their times. The kernel hands frames over in blocks, when one is full or [`BLOCK_TIME`] old:
//! a wake-up for each frame would cost more than all the rest. What the filter leaves out is never copied.
//!
//! On Linux `any` is one device with one buffer for all interfaces, ones that appear later included;
//! elsewhere every interface that is up is opened, and the list looked at again each second.

mod expression;
mod handle;
mod open;

use std::time::{Duration, Instant};

use super::clock::SteadyClock;
use super::live::{Counters, Engine, Interest, Privilege};
use super::{Frame, Interface, LinkType, SourceError, Timestamp};
use crate::limits;
use handle::Handle;

/// A block that is not full is handed over after this time.
pub(super) const BLOCK_TIME: Duration = Duration::from_millis(10);

/// A frame that is older than this and was not there is not under way: a block's time, and some for the
/// kernel's timer to fire late on a busy machine.
const UNDER_WAY: Duration = Duration::from_millis(30);

/// How often interfaces that appeared, or came back, are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Captures with libpcap.
pub struct Libpcap {
    interest: Interest,
    clock: SteadyClock,
    handles: Vec<Handle>,
    interfaces: Vec<Interface>,
    /// Interfaces that are asked for by name and are not open.
    missing: Vec<String>,
    /// The one that was open last, once none is.
    last: Option<String>,
    looked: Instant,
    /// Frames handed on.
    delivered: u64,
    /// What handles that were closed had counted.
    closed: handle::Kernel,
    /// Handed on up to here.
    settled: Timestamp,
    notices: Vec<String>,
}

impl Libpcap {
    /// Opens the interfaces of the interest.
    ///
    /// # Errors
    /// When the right is missing (the sentence says how to grant it), an interface is missing (it lists those
    /// there are), the filter cannot be used, or libpcap refuses for another reason.
    pub fn open(interest: &Interest) -> Result<Self, SourceError> {
        let mut engine = Self {
            interest: interest.clone(),
            clock: SteadyClock::start(),
            handles: Vec::new(),
            interfaces: Vec::new(),
            missing: Vec::new(),
            last: None,
            looked: Instant::now(),
            delivered: 0,
            closed: handle::Kernel::default(),
            settled: Timestamp::default(),
            notices: Vec::new(),
        };
        let names = open::devices(interest)?;
        let share = open::buffer(interest) / names.len().max(1) as u64;
        for name in &names {
            engine.add(name, share)?;
        }
        if engine
            .interfaces
            .iter()
            .any(|one| one.link == LinkType::LINUX_SLL)
        {
            engine.notices.push(
                "this libpcap does not tell which interface of `any` a frame passed: a frame that passes several \
                 counts as retransmitted"
                    .to_owned(),
            );
        }
        engine.settled = engine.quiet_before();
        Ok(engine)
    }

    fn add(&mut self, name: &str, buffer: u64) -> Result<(), SourceError> {
        let index = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let (handle, interface) = Handle::open(name, index, buffer, &self.interest)?;
        self.handles.push(handle);
        self.interfaces.push(interface);
        Ok(())
    }

    /// Whether every interface is asked for, and there is no device that stands for all.
    fn follows_all(&self) -> bool {
        self.interest.interfaces.is_empty() && !cfg!(target_os = "linux")
    }

    /// The time before which nothing is under way.
    fn quiet_before(&mut self) -> Timestamp {
        let now = self.clock.now();
        let under_way = u64::try_from(UNDER_WAY.as_nanos()).unwrap_or_default();
        Timestamp(now.0.saturating_sub(under_way))
    }

    /// Hands on what one handle has, where it lies; false where there was nothing.
    fn deliver_alone(
        &mut self,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<bool, SourceError> {
        let Some(handle) = self.handles.first_mut() else {
            return Ok(false);
        };
        let begun = self.delivered;
        let result = handle.drain(&mut self.clock, &mut self.delivered, each);
        let any = self.delivered > begun;
        match result {
            Ok(()) => Ok(any),
            Err(why) => self.close(0, &why).map(|()| any),
        }
    }

    /// Hands on what several handles have, the earliest first. Where one has nothing, the frames of others
    /// wait until it cannot come with an earlier one.
    fn deliver_merged(
        &mut self,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<bool, SourceError> {
        let quiet = self.quiet_before();
        let mut any = false;
        loop {
            self.fill_heads()?;
            let earliest = handle::earliest(&self.handles);
            let all = self.handles.iter().all(Handle::has_head);
            let Some((index, time)) = earliest.filter(|(_, time)| all || *time < quiet) else {
                return Ok(any);
            };
            any = true;
            self.delivered += 1;
            self.settled = self.settled.max(time);
            let more = self.handles[index].hand_on(self.delivered, each);
            if !more {
                return Ok(any);
            }
        }
    }

    fn fill_heads(&mut self) -> Result<(), SourceError> {
        let mut index = 0;
        while index < self.handles.len() {
            match self.handles[index].fill_head(&mut self.clock) {
                Ok(()) => index += 1,
                Err(why) => self.close(index, &why)?,
            }
        }
        Ok(())
    }

    /// Closes a handle that cannot be read any longer.
    fn close(&mut self, index: usize, why: &str) -> Result<(), SourceError> {
        let mut handle = self.handles.remove(index);
        self.closed.add(handle.counters());
        let name = handle.name().to_owned();
        if self.handles.is_empty() {
            let ended = format!("capturing on {name} has ended: {why}");
            self.last = Some(name);
            return Err(SourceError(ended));
        }
        self.notices
            .push(format!("{name} is not captured any longer: {why}"));
        if !self.follows_all() {
            self.missing.push(name);
        }
        Ok(())
    }

    /// Opens interfaces that appeared, or came back. One that cannot be opened yet is tried again.
    fn look_for_interfaces(&mut self) {
        if self.looked.elapsed() < LOOK_AGAIN || self.interfaces.len() >= limits::INTERFACES {
            return;
        }
        self.looked = Instant::now();
        let names = match self.follows_all() {
            true => open::up_now(),
            false => std::mem::take(&mut self.missing),
        };
        for name in names {
            if self.handles.iter().any(|handle| handle.name() == name) {
                continue;
            }
            let share = open::buffer(&self.interest) / (self.handles.len() as u64 + 1);
            match self.add(&name, share) {
                Ok(()) => self
                    .notices
                    .push(format!("{name} has appeared and is captured")),
                Err(_) if self.follows_all() => {}
                Err(_) => self.missing.push(name),
            }
        }
    }
}

impl Engine for Libpcap {
    fn describe(&self) -> String {
        if let Some(last) = &self.last {
            return format!("libpcap on {last} (gone)");
        }
        let names: Vec<_> = self.handles.iter().map(Handle::name).collect();
        format!("libpcap on {}", names.join(", "))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn deliver(
        &mut self,
        wait: Duration,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), SourceError> {
        if self.follows_all() || !self.missing.is_empty() {
            self.look_for_interfaces();
        }
        let quiet = self.quiet_before();
        let alone = self.handles.len() == 1 && !self.handles[0].has_head();
        let any = match alone {
            true => self.deliver_alone(each)?,
            false => self.deliver_merged(each)?,
        };
        if any {
            return Ok(());
        }
        // Nothing was there: whatever comes from now on was stamped after what was settled then.
        self.settled = self.settled.max(quiet);
        let held = self.handles.iter().any(Handle::has_head);
        handle::wait(
            &self.handles,
            if held { wait.min(BLOCK_TIME) } else { wait },
        )
    }

    fn clock(&mut self) -> Timestamp {
        self.clock.now()
    }

    fn settled(&self) -> Timestamp {
        self.settled
    }

    /// Elsewhere than on Linux there are no capabilities; there, `any` is open already.
    fn privileges(&self) -> &'static [Privilege] {
        match self.interest.interfaces.len() {
            // One of several that went away is opened anew when it comes back.
            0 | 1 => &[],
            _ => &[Privilege::NetRaw],
        }
    }

    fn filters(&self) -> bool {
        true
    }

    fn drift(&mut self) -> i64 {
        self.clock.drift()
    }

    fn counters(&mut self) -> Counters {
        let mut kernel = self.closed.clone();
        for handle in &mut self.handles {
            kernel.add(handle.counters());
        }
        Counters {
            seen: 0,
            matched: kernel.received,
            delivered: self.delivered,
            lost: vec![
                ("buffer full", kernel.dropped),
                ("interface", kernel.interface_dropped),
            ],
            cut: 0,
            unparsed: 0,
            rings: Vec::new(),
        }
    }

    fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}
