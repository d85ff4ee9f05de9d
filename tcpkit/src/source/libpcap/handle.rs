//! One open capture handle: frames, and what the kernel counted.

use std::time::Duration;

use pcap::{Active, Capture, Error};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::super::clock::SteadyClock;
use super::super::live::Interest;
use super::super::{Frame, Interface, LinkType, SourceError, Timestamp};
use super::open;

/// What the kernel counted of a handle. Its own numbers have 32 bits and begin anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Frames that passed the filter, lost ones included.
    pub(super) received: u64,
    /// Frames that found the buffer full.
    pub(super) dropped: u64,
    /// Frames that the interface or its driver dropped, for whatever port.
    pub(super) interface_dropped: u64,
}

impl Kernel {
    pub(super) fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.dropped += other.dropped;
        self.interface_dropped += other.interface_dropped;
    }
}

/// A frame that waits for those of other handles, copied: libpcap's own is gone with the next one.
#[derive(Debug, Default)]
struct Head {
    data: Vec<u8>,
    time: Timestamp,
    wire_len: u32,
    filled: bool,
}

/// An open interface.
pub(super) struct Handle {
    name: String,
    capture: Capture<Active>,
    link: LinkType,
    interface: u32,
    head: Head,
    kernel: Kernel,
    /// The kernel's numbers as they were read last.
    last: [u32; 3],
}

impl Handle {
    /// Opens an interface as the `index`th.
    pub(super) fn open(
        name: &str,
        index: u32,
        buffer: u64,
        interest: &Interest,
    ) -> Result<(Self, Interface), SourceError> {
        let (capture, link) = open::capture(name, buffer, interest)?;
        let mut handle = Self {
            name: name.to_owned(),
            capture,
            link,
            interface: index,
            head: Head::default(),
            kernel: Kernel::default(),
            last: [0; 3],
        };
        // What came before the filter was set is not of the interest.
        handle.counters();
        handle.kernel = Kernel::default();
        let interface = Interface {
            link,
            name: Some(name.to_owned()),
            snaplen: interest.snaplen.unwrap_or(0),
        };
        Ok((handle, interface))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_head(&self) -> bool {
        self.head.filled
    }

    /// Hands on all that is there, or until `each` has enough. The error is what libpcap says.
    pub(super) fn drain(
        &mut self,
        clock: &mut SteadyClock,
        delivered: &mut u64,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> Result<(), String> {
        loop {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(Error::TimeoutExpired) => return Ok(()),
                Err(error) => return Err(words(error)),
            };
            *delivered += 1;
            let frame = Frame {
                data: packet.data,
                time: clock.steady(stamp(packet.header)),
                number: *delivered,
                wire_len: packet.header.len,
                interface: self.interface,
                link: self.link,
            };
            if !each(&frame) {
                return Ok(());
            }
        }
    }

    /// Takes the next frame, if there is none yet and one is there.
    pub(super) fn fill_head(&mut self, clock: &mut SteadyClock) -> Result<(), String> {
        if self.head.filled {
            return Ok(());
        }
        match self.capture.next_packet() {
            Ok(packet) => {
                self.head.data.clear();
                self.head.data.extend_from_slice(packet.data);
                self.head.time = clock.steady(stamp(packet.header));
                self.head.wire_len = packet.header.len;
                self.head.filled = true;
                Ok(())
            }
            Err(Error::TimeoutExpired) => Ok(()),
            Err(error) => Err(words(error)),
        }
    }

    /// Hands on the frame that waits.
    pub(super) fn hand_on(
        &mut self,
        number: u64,
        each: &mut dyn FnMut(&Frame<'_>) -> bool,
    ) -> bool {
        self.head.filled = false;
        each(&Frame {
            data: &self.head.data,
            time: self.head.time,
            number,
            wire_len: self.head.wire_len,
            interface: self.interface,
            link: self.link,
        })
    }

    /// What the kernel counted since the start.
    pub(super) fn counters(&mut self) -> &Kernel {
        if let Ok(stats) = self.capture.stats() {
            let now = [stats.received, stats.dropped, stats.if_dropped];
            let [received, dropped, interface] =
                std::array::from_fn(|index| u64::from(now[index].wrapping_sub(self.last[index])));
            self.last = now;
            self.kernel.add(&Kernel {
                received,
                dropped,
                interface_dropped: interface,
            });
        }
        &self.kernel
    }
}

/// The handle whose frame is the earliest, and its time.
pub(super) fn earliest(handles: &[Handle]) -> Option<(usize, Timestamp)> {
    let heads = handles.iter().enumerate();
    heads
        .filter(|(_, handle)| handle.head.filled)
        .map(|(index, handle)| (index, handle.head.time))
        .min_by_key(|(_, time)| *time)
}

/// Waits until one of them has something, or for at most `limit`. A signal ends it early.
pub(super) fn wait(handles: &[Handle], limit: Duration) -> Result<(), SourceError> {
    let mut fds: Vec<_> = handles
        .iter()
        .filter(|handle| !handle.head.filled)
        .map(|handle| PollFd::new(&handle.capture, PollFlags::IN))
        .collect();
    let limit = Timespec::try_from(limit).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    });
    match poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(SourceError(format!("cannot wait for frames: {error}"))),
    }
}

/// libpcap was asked for nanoseconds, which then stand where a `timeval` has microseconds.
fn stamp(header: &pcap::PacketHeader) -> Timestamp {
    let seconds = u64::try_from(header.ts.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(header.ts.tv_usec).unwrap_or_default();
    Timestamp::new(seconds, nanoseconds)
}

/// What libpcap says, without the crate's frame around it.
pub(super) fn words(error: Error) -> String {
    match error {
        Error::PcapError(words) => words,
        other => other.to_string(),
    }
}
