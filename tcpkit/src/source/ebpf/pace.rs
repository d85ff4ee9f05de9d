//! When to look at the rings: by the clock while records come, woken by the kernel after none came for a while.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use tcpkit_common::control;

use super::ring::{Ring, settle};
use super::system;
use crate::limits::{RING_IDLE, RING_INTERVAL};
use crate::source::clock::BootClock;

/// Fill in 256ths above which the rings are looked at sooner, and below which later.
const FULL_QUARTER: usize = 64;
const FULL_SIXTEENTH: usize = 16;

/// The reader's side of the wake-ups.
pub(super) struct Pace {
    control: MmapRaw,
    /// Wakes when a ring is more than half full, or has a first record after the reader asked for it.
    waker: OwnedFd,
    interval: Duration,
    last_record: Instant,
}

impl Pace {
    /// For these rings and the map [`tcpkit_common::map::CONTROL`].
    ///
    /// # Errors
    /// When the kernel does not map it, or there are no more descriptors.
    pub(super) fn new(control: &impl AsRawFd, rings: &[Ring]) -> io::Result<Self> {
        let page = system::page_size();
        let control = MmapOptions::new().len(page).map_raw(control)?;
        let pace = Self {
            control,
            waker: waker(rings)?,
            interval: *RING_INTERVAL.end(),
            last_record: Instant::now(),
        };
        pace.beat();
        Ok(pace)
    }

    /// Tells the programs that the reader is alive.
    pub(super) fn beat(&self) {
        self.word(control::HEARTBEAT)
            .store(BootClock::boot(), Ordering::Relaxed);
    }

    /// Sleeps until it is time to look again, for at most `wait`.
    pub(super) fn sleep(&self, rings: &[Ring], wait: Duration) {
        if fullest(rings) > FULL_QUARTER {
            return;
        }
        if self.last_record.elapsed() < RING_IDLE || !self.is_quiet(rings) {
            return self.rest(self.interval.min(wait));
        }
        self.rest(wait);
        self.word(control::NEED).store(0, Ordering::Relaxed);
    }

    /// Learns from what a look at the rings found.
    pub(super) fn learn(&mut self, fill: usize, records: u64) {
        if records > 0 {
            self.last_record = Instant::now();
        }
        if fill > FULL_QUARTER {
            self.interval = (self.interval / 2).max(*RING_INTERVAL.start());
        } else if fill < FULL_SIXTEENTH {
            self.interval = (self.interval * 5 / 4).min(*RING_INTERVAL.end());
        }
    }

    /// Asks to be woken, then looks once more: a record that came before the kernel saw the flag wakes nobody.
    fn is_quiet(&self, rings: &[Ring]) -> bool {
        self.word(control::NEED).store(1, Ordering::SeqCst);
        settle();
        rings.iter().all(|ring| ring.waiting() == 0)
    }

    /// Sleeps, unless woken. What woke it is taken away, so that it wakes once.
    fn rest(&self, time: Duration) {
        let mut poll = libc::pollfd {
            fd: self.waker.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(time.subsec_nanos()),
        };
        // SAFETY: one descriptor and a time, both alive; no signal mask.
        let woken = unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
        if woken > 0 {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
            let room = events.len() as libc::c_int;
            // SAFETY: room for so many events; does not wait.
            unsafe { libc::epoll_wait(self.waker.as_raw_fd(), events.as_mut_ptr(), room, 0) };
        }
    }

    fn word(&self, place: usize) -> &AtomicU64 {
        // SAFETY: the map's value has so many words, and both sides write whole ones.
        unsafe { &*self.control.as_ptr().cast::<AtomicU64>().add(place) }
    }
}

/// The fill of the fullest ring, in 256ths.
pub(super) fn fullest(rings: &[Ring]) -> usize {
    rings.iter().map(Ring::fill).max().unwrap_or(0)
}

/// Edge-triggered: a ring that merely holds records must not keep waking the reader.
fn waker(rings: &[Ring]) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and belongs to nobody else.
    let waker = unsafe { OwnedFd::from_raw_fd(fd) };
    for ring in rings {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET) as u32,
            u64: 0,
        };
        let (fd, ring) = (waker.as_raw_fd(), ring.fd().as_raw_fd());
        // SAFETY: both descriptors are open; the event is copied.
        let done = unsafe { libc::epoll_ctl(fd, libc::EPOLL_CTL_ADD, ring, &raw mut event) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(waker)
}
