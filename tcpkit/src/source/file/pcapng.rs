//! The block format (draft-ietf-opsawg-pcapng): sections, interfaces, packets, statistics.
//!
//! Sections may follow each other in either byte order and bring their own interfaces, each with
//! its link type, clock resolution and offset. Enhanced, simple and obsolete packet blocks make
//! frames; interface statistics and drop counts make the account of what was lost before; every
//! other block is passed over by its length.

mod clock;

use std::slice;

use super::Listener;
use super::account::{Account, Stop};
use super::cursor::{Cursor, u16_at, u32_at, u64_at};
use super::map::Mapped;
use super::options::Options;
use super::pcap::{MARK, link_type};
use crate::limits;
use crate::source::{Frame, Interface, LinkType, SourceError, SourceReport, Timestamp};
use clock::Clock;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Whether a file that begins so is a pcapng file.
pub(super) fn is_pcapng(magic: [u8; 4]) -> bool {
    magic == SECTION_HEADER.to_be_bytes()
}

/// What one interface of the current section needs for its packets.
#[derive(Clone, Debug)]
struct Local {
    /// Index into the interfaces of the whole file.
    global: u32,
    link: LinkType,
    snaplen: u32,
    clock: Clock,
    /// Drops as the latest statistics block counts them.
    counted: u64,
    /// Drops as the packets themselves told them.
    told: u64,
}

impl Local {
    /// Both accounts are of the same drops, and either may be missing.
    fn dropped(&self) -> u64 {
        self.counted.max(self.told)
    }
}

/// Where a frame lies in the block at the cursor, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Found {
    start: usize,
    captured: u32,
    block: usize,
    wire: u32,
    time: Timestamp,
    interface: u32,
    link: LinkType,
}

/// The fixed fields of a packet block that has an interface and a time.
#[derive(Clone, Copy, Debug)]
struct PacketHead {
    interface: u32,
    ticks: u64,
    captured: u32,
    wire: u32,
}

impl PacketHead {
    #[inline]
    fn read(bytes: &[u8], interface: u32, big: bool) -> Self {
        // The upper half comes first in either byte order.
        let (high, low) = (u32_at(bytes, 12, big), u32_at(bytes, 16, big));
        let ticks = u64::from(high) << 32 | u64::from(low);
        Self {
            interface,
            ticks,
            captured: u32_at(bytes, 20, big),
            wire: u32_at(bytes, 24, big),
        }
    }
}

/// Walks the blocks of one file.
#[derive(Debug)]
pub(super) struct Pcapng<C> {
    cursor: C,
    account: Account,
    /// Numbers of the current section are big-endian.
    big: bool,
    /// The current section's interfaces.
    section: Vec<Local>,
    /// Interfaces that were known when the current section began.
    before: usize,
    /// Interfaces of the whole file.
    interfaces: Vec<Interface>,
    /// Hears of each new interface, before its first frame.
    listener: Listener,
    /// Drops counted in sections before the current one.
    dropped: u64,
    /// Simple packets have no time of their own and take that of the packet before them.
    last: Timestamp,
}

impl<C: Cursor> Pcapng<C> {
    /// Reads the first section header; the cursor stands at the first byte.
    pub fn open(cursor: C) -> Result<Self, SourceError> {
        let mut walk = Self::unopened(cursor);
        let why = match walk.section_header() {
            Ok(()) => return Ok(walk),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::RanOut { need, .. }) => format!(
                "it ends within its first section header, after {} of {need} bytes",
                walk.cursor.ahead().len()
            ),
            Err(Stop::Damaged(why)) => format!("not a readable pcapng file: {why}"),
        };
        Err(SourceError(format!("{}: {why}", walk.cursor.name())))
    }

    /// Hands every frame to `take`, until it answers false or the file ends.
    #[inline]
    pub fn each_batch(
        &mut self,
        take: &mut impl FnMut(&[Frame<'_>]) -> bool,
    ) -> Result<(), SourceError> {
        while !self.account.over {
            let goes_on = if self.is_settled()? {
                match self.step() {
                    Ok(Some(found)) => take(slice::from_ref(&self.frame(found))),
                    Ok(None) => true,
                    Err(stop) => return self.account.stop(&self.cursor, stop),
                }
            } else {
                take(&[])
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next block is at hand, or never will be.
    #[inline]
    fn is_settled(&mut self) -> Result<bool, SourceError> {
        if !self.cursor.is_settled(12)? {
            return Ok(false);
        }
        let head = self.cursor.ahead();
        let big = match (u32_at(head, 0, false), head.get(8..12)) {
            (SECTION_HEADER, order) => order == Some(&[0x1a, 0x2b, 0x3c, 0x4d]),
            _ => self.big,
        };
        let block = u32_at(head, 4, big) as usize;
        if block > limits::BLOCK_BYTES {
            return Ok(true);
        }
        self.cursor.is_settled(block)
    }

    /// The next packet's frame.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let found = match self.find() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(stop) => return self.account.stop(&self.cursor, stop).map(|()| None),
        };
        Ok(Some(self.frame(found)))
    }

    /// Takes the frame out of its block.
    #[inline]
    fn frame(&mut self, found: Found) -> Frame<'_> {
        self.account.frames += 1;
        if self.account.frames.is_multiple_of(MARK) {
            self.cursor.mark();
        }
        self.last = found.time;
        let block = self.cursor.take(0, found.block);
        let end = found.start + found.captured as usize;
        Frame {
            data: block.get(found.start..end).unwrap_or_default(),
            time: found.time,
            number: self.account.frames,
            wire_len: found.wire.max(found.captured),
            interface: found.interface,
            link: found.link,
        }
    }

    /// Tells who listens of each interface from here on.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = listener;
    }

    /// The interfaces of the file so far.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether the file was shortened while it was read.
    pub fn is_lost(&self) -> bool {
        self.cursor.is_lost()
    }

    /// How it ended, and what the file says was lost before it was written.
    pub fn report(&self) -> SourceReport {
        let current = self.section.iter().map(Local::dropped);
        SourceReport {
            dropped: current.fold(self.dropped, u64::saturating_add),
            notices: self.account.notices.clone(),
        }
    }

    fn unopened(cursor: C) -> Self {
        Self {
            cursor,
            account: Account::default(),
            big: false,
            section: Vec::new(),
            before: 0,
            interfaces: Vec::new(),
            listener: Listener::default(),
            dropped: 0,
            last: Timestamp::default(),
        }
    }

    /// Walks blocks until one holds a frame, and leaves the cursor at its start.
    #[inline]
    fn find(&mut self) -> Result<Option<Found>, Stop> {
        while !self.account.over {
            if let Some(found) = self.step()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Walks one block; leaves the cursor at its start where it holds a frame.
    #[inline]
    fn step(&mut self) -> Result<Option<Found>, Stop> {
        let (kind, block) = self.block_header()?;
        match kind {
            ENHANCED_PACKET => return self.enhanced_packet(block).map(Some),
            PACKET => return self.obsolete_packet(block).map(Some),
            SIMPLE_PACKET => return self.simple_packet(block).map(Some),
            SECTION_HEADER => self.section_header()?,
            INTERFACE => self.interface(block)?,
            STATISTICS => self.statistics(block)?,
            _ => self.pass_over(block)?,
        }
        Ok(None)
    }

    /// Type and length of the block at the cursor.
    #[inline]
    fn block_header(&mut self) -> Result<(u32, u32), Stop> {
        self.need(12, "the header of a block")?;
        let head = self.cursor.ahead();
        let kind = u32_at(head, 0, self.big);
        let block = u32_at(head, 4, self.big);
        // A section header says its byte order itself, so its length is looked at there.
        let fits = kind == SECTION_HEADER || (block >= 12 && block.is_multiple_of(4));
        if !fits || self.cursor.is_lost() {
            return Err(Stop::Damaged(format!(
                "a block of {block} bytes, which none can have"
            )));
        }
        Ok((kind, block))
    }

    #[inline]
    fn need(&mut self, need: usize, what: &'static str) -> Result<(), Stop> {
        if self.cursor.ensure(need)? {
            return Ok(());
        }
        Err(Stop::RanOut {
            what,
            from: self.cursor.offset(),
            need: need as u64,
        })
    }

    /// Gets the whole block at hand and checks that it ends with its length again. `fixed` is
    /// the least that a block of its type has before its options.
    #[inline]
    fn whole(&mut self, block: u32, fixed: usize, what: &'static str) -> Result<&[u8], Stop> {
        let len = block as usize;
        if len < fixed + 4 || len > limits::BLOCK_BYTES {
            return Err(Stop::Damaged(format!("{what} of {block} bytes")));
        }
        self.need(len, what)?;
        let trailer = u32_at(self.cursor.ahead(), len - 4, self.big);
        if trailer != block {
            let why = format!("{what} of {block} bytes says {trailer} at its end");
            return Err(Stop::Damaged(why));
        }
        Ok(self.cursor.ahead().get(..len).unwrap_or_default())
    }

    /// Section Header Block: byte order, version; forgets the interfaces of the section before.
    fn section_header(&mut self) -> Result<(), Stop> {
        const WHAT: &str = "a section header";
        self.need(28, WHAT)?;
        self.big = match self.cursor.ahead().get(8..12) {
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            _ => {
                return Err(Stop::Damaged(
                    "a section header without a byte order".to_owned(),
                ));
            }
        };
        let (big, block) = (self.big, u32_at(self.cursor.ahead(), 4, self.big));
        if !block.is_multiple_of(4) {
            return Err(Stop::Damaged(format!("a section header of {block} bytes")));
        }
        let head = self.whole(block, 24, WHAT)?;
        let (major, minor) = (u16_at(head, 12, big), u16_at(head, 14, big));
        // Version 1.2 was written by some programs and is the same (section 4.1).
        if major != 1 || !matches!(minor, 0 | 2) {
            let why = format!("a section of version {major}.{minor}, where only 1.0 is known");
            return Err(Stop::Damaged(why));
        }
        self.begin_section();
        self.cursor.take(0, block as usize);
        Ok(())
    }

    fn begin_section(&mut self) {
        let dropped = self.section.iter().map(Local::dropped);
        self.dropped = dropped.fold(self.dropped, u64::saturating_add);
        self.section.clear();
        self.before = self.interfaces.len();
    }

    /// Interface Description Block.
    fn interface(&mut self, block: u32) -> Result<(), Stop> {
        let big = self.big;
        let (interface, clock) = describe(self.whole(block, 16, "an interface description")?, big);
        let (link, snaplen) = (interface.link, interface.snaplen);
        let global = self.number(interface)?;
        self.section.push(Local {
            global,
            link,
            snaplen,
            clock,
            counted: 0,
            told: 0,
        });
        self.cursor.take(0, block as usize);
        Ok(())
    }

    /// The interface's index in the whole file. The same interface at the same place of a later
    /// section is the same one: recordings put end to end do not multiply their interfaces.
    fn number(&mut self, interface: Interface) -> Result<u32, Stop> {
        let place = self.section.len();
        let known = place < self.before && self.interfaces.get(place) == Some(&interface);
        let global = if known { place } else { self.interfaces.len() };
        if global >= limits::INTERFACES {
            let why = format!("more than {} interfaces", limits::INTERFACES);
            return Err(Stop::Damaged(why));
        }
        if !known {
            self.interfaces.push(interface);
            self.listener.tell(&self.interfaces);
        }
        Ok(u32::try_from(global).unwrap_or(u32::MAX))
    }

    /// Enhanced Packet Block.
    #[inline]
    fn enhanced_packet(&mut self, block: u32) -> Result<Found, Stop> {
        let big = self.big;
        let bytes = self.whole(block, 28, "a packet block")?;
        let head = PacketHead::read(bytes, u32_at(bytes, 8, big), big);
        let after = 28 + padded(head.captured);
        if bytes.len() > after + 4 {
            let drops = drop_count(bytes.get(after..bytes.len() - 4).unwrap_or_default(), big);
            self.tell_drops(head.interface, drops);
        }
        self.found(block, head)
    }

    /// The Packet Block of the first drafts: a 16-bit interface number and a drop count.
    fn obsolete_packet(&mut self, block: u32) -> Result<Found, Stop> {
        let big = self.big;
        let bytes = self.whole(block, 28, "a packet block")?;
        let head = PacketHead::read(bytes, u32::from(u16_at(bytes, 8, big)), big);
        // All ones stand for "not known".
        match u16_at(bytes, 10, big) {
            u16::MAX => {}
            drops => self.tell_drops(head.interface, u64::from(drops)),
        }
        self.found(block, head)
    }

    /// What packet blocks with an interface and a time share.
    #[inline]
    fn found(&mut self, block: u32, head: PacketHead) -> Result<Found, Stop> {
        let PacketHead {
            interface,
            ticks,
            captured,
            wire,
        } = head;
        let room = (block as usize).saturating_sub(28 + 4);
        if captured as usize > room.min(limits::FRAME_BYTES) {
            let why = format!("a frame of {captured} bytes in a block of {block}");
            return Err(Stop::Damaged(why));
        }
        let Some(local) = self.section.get(interface as usize) else {
            return Err(undescribed(interface));
        };
        let (time, interface, link) = (local.clock.time(ticks), local.global, local.link);
        Ok(Found {
            start: 28,
            captured,
            block: block as usize,
            wire,
            time,
            interface,
            link,
        })
    }

    /// Simple Packet Block: the first interface, no time, and no captured length but the snap
    /// length and what fits.
    fn simple_packet(&mut self, block: u32) -> Result<Found, Stop> {
        let big = self.big;
        let wire = u32_at(self.whole(block, 12, "a simple packet block")?, 8, big);
        let Some(local) = self.section.first() else {
            return Err(undescribed(0));
        };
        let limit = if local.snaplen == 0 {
            u32::MAX
        } else {
            local.snaplen
        };
        let captured = wire.min(limit).min(block - 16);
        if captured as usize > limits::FRAME_BYTES {
            return Err(Stop::Damaged(format!("a frame of {captured} bytes")));
        }
        let (interface, link, time) = (local.global, local.link, self.last);
        Ok(Found {
            start: 12,
            captured,
            block: block as usize,
            wire,
            time,
            interface,
            link,
        })
    }

    /// Interface Statistics Block: counts since the capture began, so the latest one holds.
    fn statistics(&mut self, block: u32) -> Result<(), Stop> {
        let big = self.big;
        let bytes = self.whole(block, 20, "interface statistics")?;
        let interface = u32_at(bytes, 8, big);
        let counted = counted_drops(bytes.get(20..bytes.len() - 4).unwrap_or_default(), big);
        if let Some(local) = self.section.get_mut(interface as usize) {
            local.counted = counted;
        }
        self.cursor.take(0, block as usize);
        Ok(())
    }

    fn tell_drops(&mut self, interface: u32, drops: u64) {
        if let Some(local) = self.section.get_mut(interface as usize) {
            local.told = local.told.saturating_add(drops);
        }
    }

    /// A block of a type that says nothing here, however long.
    fn pass_over(&mut self, block: u32) -> Result<(), Stop> {
        let (from, need) = (self.cursor.offset(), u64::from(block));
        if self.cursor.skip(need)? {
            return Ok(());
        }
        Err(Stop::RanOut {
            what: "a block",
            from,
            need,
        })
    }
}

impl Pcapng<Mapped> {
    /// The same file from its first block.
    pub fn again(&self) -> Self {
        let mut walk = Self::unopened(self.cursor.again());
        // It was read once before, and reading a map cannot fail.
        let _ = walk.section_header();
        walk
    }
}

/// Reads an interface description: link type, snap length, name and clock.
fn describe(bytes: &[u8], big: bool) -> (Interface, Clock) {
    let link = link_type(u16_at(bytes, 8, big));
    let snaplen = u32_at(bytes, 12, big);
    let (mut name, mut resolution, mut offset) = (None, 6, 0);
    let options = bytes
        .get(16..bytes.len().saturating_sub(4))
        .unwrap_or_default();
    for (code, value) in Options::new(options, big) {
        match (code, value) {
            (2, text) => name = Some(name_of(text)),
            (9, [exponent, ..]) => resolution = *exponent,
            (14, eight) if eight.len() == 8 => offset = u64_at(eight, 0, big).cast_signed(),
            _ => {}
        }
    }
    (
        Interface {
            link,
            name,
            snaplen,
        },
        Clock::new(resolution, offset),
    )
}

fn name_of(text: &[u8]) -> String {
    let bounded = text.get(..limits::INTERFACE_NAME).unwrap_or(text);
    String::from_utf8_lossy(bounded)
        .trim_end_matches('\0')
        .to_owned()
}

#[cold]
fn undescribed(interface: u32) -> Stop {
    Stop::Damaged(format!(
        "a packet of interface {interface}, which was not described"
    ))
}

/// A captured length with its padding; more than any block where it cannot be.
#[inline]
fn padded(captured: u32) -> usize {
    (captured as usize).saturating_add(3) & !3
}

/// `epb_dropcount`: frames lost since the one before on the same interface.
fn drop_count(options: &[u8], big: bool) -> u64 {
    Options::new(options, big)
        .filter(|(code, value)| *code == 4 && value.len() == 8)
        .fold(0, |sum, (_, value)| {
            u64_at(value, 0, big).saturating_add(sum)
        })
}

/// `isb_ifdrop` and `isb_osdrop`: what the interface and the operating system dropped.
fn counted_drops(options: &[u8], big: bool) -> u64 {
    Options::new(options, big)
        .filter(|(code, value)| matches!(code, 5 | 7) && value.len() == 8)
        .fold(0, |sum, (_, value)| {
            u64_at(value, 0, big).saturating_add(sum)
        })
}
