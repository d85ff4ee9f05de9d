//! One ring, read where it lies.
//!
//! The kernel maps a page with the reader's position, a page with its own, and the data twice in a row, so that
//! a record which goes over the end is in one piece (kernel/bpf/ringbuf.c).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};
use tcpkit_common::{HEAD, Head, RING_HEADER};

use super::system;
use crate::limits::RING_PUBLISH;
use crate::source::live::RingFill;

/// In a record's length: it is not finished.
const BUSY: u32 = 1 << 31;
/// In a record's length: it was given up.
const DISCARDED: u32 = 1 << 30;

/// A ring and the place that was read to.
pub(super) struct Ring {
    fd: OwnedFd,
    consumer: MmapRaw,
    producer: MmapRaw,
    page: usize,
    bytes: usize,
    /// Up to where records were taken.
    position: usize,
    /// What the kernel was told of it.
    published: usize,
    /// The most bytes that were in use when room was given back.
    highest: usize,
}

/// A record: its head and its frame.
pub(super) struct Record<'a> {
    pub(super) head: Head,
    pub(super) frame: &'a [u8],
}

impl Ring {
    /// Maps a ring of so many bytes of data.
    ///
    /// # Errors
    /// When the kernel does not map it.
    pub(super) fn new(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let page = system::page_size();
        let consumer = MmapOptions::new().len(page).map_raw(fd.as_raw_fd())?;
        let producer = MmapOptions::new()
            .offset(page as u64)
            .len(page + 2 * bytes)
            .map_raw_read_only(fd.as_raw_fd())?;
        let mut ring = Self {
            fd: fd.try_clone_to_owned()?,
            consumer,
            producer,
            page,
            bytes,
            position: 0,
            published: 0,
            highest: 0,
        };
        ring.position = ring.told().load(Ordering::Acquire);
        ring.published = ring.position;
        Ok(ring)
    }

    /// Its descriptor, to wait for.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Bytes that wait to be read.
    pub(super) fn waiting(&self) -> usize {
        self.written()
            .load(Ordering::Acquire)
            .wrapping_sub(self.position)
    }

    /// How much of the ring waits to be read, in 256ths.
    pub(super) fn fill(&self) -> usize {
        self.waiting().saturating_mul(256) / self.bytes
    }

    /// The most that was in use at once, up to now.
    pub(super) fn highest_fill(&self) -> RingFill {
        RingFill {
            size: self.bytes as u64,
            highest: self.highest.max(self.used()) as u64,
        }
    }

    /// The time of the next record that is finished, `None` where there is none. Steps over discarded ones.
    pub(super) fn next_time(&mut self) -> Option<u64> {
        loop {
            let (start, length) = self.finished()?;
            let taken = (length & !DISCARDED) as usize;
            if length & DISCARDED == 0 && taken >= HEAD {
                // SAFETY: a finished record of at least a head, of which the time is the first field; records
                // begin at multiples of eight.
                return Some(unsafe { start.add(RING_HEADER).cast::<u64>().read() });
            }
            self.step(taken);
        }
    }

    /// The next record, which [`Ring::next_time`] has seen; `None` for one that contradicts itself.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        let (start, length) = self.finished()?;
        // SAFETY: the kernel has finished the record, and does not touch it before the reader's position passes it;
        // all of it is mapped, since the data are mapped twice.
        let record = unsafe { std::slice::from_raw_parts(start.add(RING_HEADER), length as usize) };
        if record.len() < HEAD {
            return None;
        }
        // SAFETY: long enough, and aligned as above; any bytes are a head.
        let head = unsafe { record.as_ptr().cast::<Head>().read() };
        let from = usize::from(head.start);
        let frame = record.get(from..from + head.captured as usize)?;
        Some(Record { head, frame })
    }

    /// Leaves the next record behind.
    pub(super) fn advance(&mut self) {
        if let Some((_, length)) = self.finished() {
            self.step((length & !DISCARDED) as usize);
        }
    }

    /// Gives the room of what was read back to the kernel.
    pub(super) fn publish(&mut self) {
        if self.published != self.position {
            // Between two of these a ring only fills, so what is in use now is the most since the last one.
            self.highest = self.highest.max(self.used());
            self.told().store(self.position, Ordering::Release);
            self.published = self.position;
        }
    }

    /// Bytes that the kernel cannot write to: it goes by the position that it was told, whatever was read since.
    fn used(&self) -> usize {
        self.written()
            .load(Ordering::Acquire)
            .wrapping_sub(self.published)
    }

    fn step(&mut self, length: usize) {
        let whole = (length + RING_HEADER).next_multiple_of(RING_HEADER);
        self.position = self.position.wrapping_add(whole);
        let unpublished = self.position.wrapping_sub(self.published);
        if unpublished >= RING_PUBLISH.min(self.bytes / 8) {
            self.publish();
        }
    }

    /// Where the next record's header stands, and its length with the flags; `None` while it is not finished.
    fn finished(&self) -> Option<(*const u8, u32)> {
        if self.waiting() == 0 {
            return None;
        }
        let offset = self.page + (self.position & (self.bytes - 1));
        // SAFETY: inside the map: the offset into the data is less than their size, which is mapped twice.
        let start = unsafe { self.producer.as_ptr().add(offset) };
        // SAFETY: the first word of a record's header, aligned to eight bytes.
        let length = unsafe { &*start.cast::<AtomicU32>() }.load(Ordering::Acquire);
        (length & BUSY == 0).then_some((start, length))
    }

    /// The reader's position as the kernel knows it.
    fn told(&self) -> &AtomicUsize {
        // SAFETY: the first word of a page that both sides share.
        unsafe { &*self.consumer.as_ptr().cast::<AtomicUsize>() }
    }

    /// The kernel's position.
    fn written(&self) -> &AtomicUsize {
        // SAFETY: the first word of a page that the kernel writes to.
        unsafe { &*self.producer.as_ptr().cast::<AtomicUsize>() }
    }
}

/// Orders what this thread wrote before what it reads next, for the flag that asks to be woken.
pub(super) fn settle() {
    fence(Ordering::SeqCst);
}
