//! The classic format (draft-ietf-opsawg-pcap): a file header, then a record a frame.
//!
//! Microseconds or nanoseconds, either byte order, and the "modified" records of Alexey
//! Kuznetzov's libpcap, which are eight bytes longer. Walking a mapped file is the hot path of
//! an offline run: the record header is read once, checked once, and the frame borrowed.

use std::slice;

use arrayvec::ArrayVec;

use super::account::{Account, Stop};
use super::cursor::{Cursor, u16_at, u32_at};
use super::map::Mapped;
use crate::limits;
use crate::source::{BATCH, Frame, Interface, LinkType, SourceError, SourceReport, Timestamp};

/// Bytes of the file header.
pub(super) const FILE_HEADER: usize = 24;

/// The progress handle hears of every so many frames.
pub(super) const MARK: u64 = 4096;

/// A batch of frames ends with the one that makes it so many bytes long: they shall still be near when they are
/// followed.
const BATCH_BYTES: usize = 4 << 10;

/// So many records that follow each other, each one like the first of the file, are none by chance.
const CHAIN: usize = 16;

/// The first record of a part is looked for in so many bytes: the longest frame, and the chain behind it.
const SEARCH: usize = 2 * limits::FRAME_BYTES;

/// A part's frames are numbered from its place times two to this on: more than any part has.
const NUMBERS: u32 = 48;

/// Records of one file lie at most so many seconds apart: ten years.
const SPAN: u32 = 10 * 365 * 24 * 3600;

/// What the magic number says about the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Numbers are big-endian.
    big: bool,
    /// Nanoseconds in a unit of the record's fraction field.
    unit: u32,
    /// Bytes of a record header.
    header: usize,
    /// Written before version 2.4, when some programs wrote the two lengths in the other order.
    old: bool,
}

impl Shape {
    fn new(magic: [u8; 4]) -> Option<Self> {
        let shape = |big, unit, header| {
            Some(Self {
                big,
                unit,
                header,
                old: false,
            })
        };
        match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => shape(false, 1000, 16),
            [0xa1, 0xb2, 0xc3, 0xd4] => shape(true, 1000, 16),
            [0x4d, 0x3c, 0xb2, 0xa1] => shape(false, 1, 16),
            [0xa1, 0xb2, 0x3c, 0x4d] => shape(true, 1, 16),
            [0x34, 0xcd, 0xb2, 0xa1] => shape(false, 1000, 24),
            [0xa1, 0xb2, 0xcd, 0x34] => shape(true, 1000, 24),
            _ => None,
        }
    }
}

/// Whether a file that begins so is a classic capture file.
pub(super) fn is_pcap(magic: [u8; 4]) -> bool {
    Shape::new(magic).is_some()
}

/// A record header.
#[derive(Clone, Copy)]
struct Record {
    seconds: u32,
    fraction: u32,
    captured: u32,
    wire: u32,
}

impl Record {
    #[inline(always)]
    fn read(head: &[u8; 16], shape: Shape) -> Self {
        let record = Self {
            seconds: u32_at(head, 0, false),
            fraction: u32_at(head, 4, false),
            captured: u32_at(head, 8, false),
            wire: u32_at(head, 12, false),
        };
        if shape.big {
            return Self {
                seconds: record.seconds.swap_bytes(),
                fraction: record.fraction.swap_bytes(),
                captured: record.captured.swap_bytes(),
                wire: record.wire.swap_bytes(),
            };
        }
        record
    }

    /// Whether its lengths are as they should be.
    #[inline(always)]
    fn is_straight(&self) -> bool {
        self.captured > 0
            && self.captured <= self.wire
            && self.captured as usize <= limits::FRAME_BYTES
    }

    /// Whether it may stand in one file with `other`, whose fractions are of so many nanoseconds.
    fn is_like(&self, other: &Self, unit: u32) -> bool {
        let second = 1_000_000_000 / unit;
        self.fraction < second && self.seconds.abs_diff(other.seconds) <= SPAN
    }

    /// Puts right what cannot be: more captured than there was.
    #[cold]
    fn straightened(self, shape: Shape) -> Self {
        if shape.old {
            return Self {
                captured: self.wire,
                wire: self.captured,
                ..self
            };
        }
        Self {
            wire: self.captured,
            ..self
        }
    }

    #[inline]
    fn time(&self, unit: u32) -> Timestamp {
        let fraction = u64::from(self.fraction) * u64::from(unit);
        Timestamp(u64::from(self.seconds) * 1_000_000_000 + fraction)
    }
}

/// Walks the records of one file.
#[derive(Debug)]
pub(super) struct Pcap<C> {
    cursor: C,
    shape: Shape,
    link: LinkType,
    account: Account,
    interface: Interface,
    /// Empty records before this byte are believed.
    look_again: u64,
    /// The number of the frame before those that are counted here.
    base: u64,
    /// It stops before the first record about which anything is special.
    plain_only: bool,
    /// The byte where its first record begins.
    from: u64,
}

impl<C: Cursor> Pcap<C> {
    /// Reads the file header; the cursor stands at the first byte, a known magic number.
    pub fn open(mut cursor: C) -> Result<Self, SourceError> {
        if !cursor.ensure(FILE_HEADER)? {
            return Err(SourceError(format!(
                "{}: it ends within its file header, after {} of {FILE_HEADER} bytes",
                cursor.name(),
                cursor.ahead().len()
            )));
        }
        let (shape, interface) = file_header(cursor.take(0, FILE_HEADER))
            .map_err(|why| SourceError(format!("{}: {why}", cursor.name())))?;
        let link = interface.link;
        Ok(Self {
            cursor,
            shape,
            link,
            account: Account::default(),
            interface,
            look_again: 0,
            base: 0,
            plain_only: false,
            from: FILE_HEADER as u64,
        })
    }

    /// Hands all frames to `take`, at most so many at a time, until it answers false or the file ends.
    #[inline(always)]
    pub fn each_batch(
        &mut self,
        most: usize,
        take: &mut impl FnMut(&[Frame<'_>]) -> bool,
    ) -> Result<(), SourceError> {
        loop {
            while let Some(goes_on) = self.plain_batch(most, take) {
                if !goes_on {
                    return Ok(());
                }
            }
            if self.plain_only || self.cursor.is_at_end_of_part() {
                return Ok(());
            }
            if !self.is_settled()? {
                if !take(&[]) {
                    return Ok(());
                }
                continue;
            }
            match self.next_frame()? {
                Some(frame) if take(slice::from_ref(&frame)) => {}
                _ => return Ok(()),
            }
        }
    }

    /// Whether the next record is at hand, or never will be.
    fn is_settled(&mut self) -> Result<bool, SourceError> {
        let header = self.shape.header;
        if !self.cursor.is_settled(header)? {
            return Ok(false);
        }
        let Some(head) = self.cursor.ahead().first_chunk() else {
            return Ok(true);
        };
        let mut record = Record::read(head, self.shape);
        if record.captured > record.wire {
            record = record.straightened(self.shape);
        }
        let captured = record.captured as usize;
        if captured > limits::FRAME_BYTES {
            return Ok(true);
        }
        self.cursor.is_settled(header + captured)
    }

    /// Hands on the next frames about whose records nothing is special, and what `take` answered; [`Pcap::next_frame`]
    /// is asked where there is none.
    #[inline(always)]
    fn plain_batch(
        &mut self,
        most: usize,
        take: &mut impl FnMut(&[Frame<'_>]) -> bool,
    ) -> Option<bool> {
        let mut batch = ArrayVec::new();
        let before = self.account.frames;
        let bytes = self.plain_frames(self.cursor.ahead(), most, &mut batch);
        if batch.is_empty() || self.account.over || self.cursor.is_lost() {
            return None;
        }
        self.account.frames += batch.len() as u64;
        let goes_on = take(&batch);
        drop(batch);
        self.cursor.pass(bytes);
        if before / MARK != self.account.frames / MARK {
            self.cursor.mark();
        }
        Some(goes_on)
    }

    /// Fills `batch` from the bytes ahead, until it holds `most` frames; returns how many bytes those are.
    #[inline(always)]
    fn plain_frames<'a>(
        &self,
        ahead: &'a [u8],
        most: usize,
        batch: &mut ArrayVec<Frame<'a>, BATCH>,
    ) -> usize {
        let (mut at, mut number) = (0, self.base + self.account.frames);
        let header = self.shape.header;
        while let Some(rest) = ahead.get(at..).filter(|_| at < BATCH_BYTES)
            && let Some(head) = rest.first_chunk()
        {
            let record = Record::read(head, self.shape);
            let end = header + record.captured as usize;
            let Some(data) = rest.get(header..end).filter(|_| record.is_straight()) else {
                break;
            };
            number += 1;
            let frame = Frame {
                data,
                time: record.time(self.shape.unit),
                number,
                wire_len: record.wire,
                interface: 0,
                link: self.link,
            };
            at += end;
            if batch.try_push(frame).is_err() || batch.len() >= most {
                break;
            }
        }
        at
    }

    /// The next record's frame.
    #[inline(never)]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let header = self.shape.header;
        if self.account.over || !self.cursor.ensure(header)? {
            return self.ran_out(header, "the header of a record");
        }
        let Some(head) = self.cursor.ahead().first_chunk() else {
            return self.ran_out(header, "the header of a record");
        };
        let mut record = Record::read(head, self.shape);
        if record.captured > record.wire {
            record = record.straightened(self.shape);
        }
        let captured = record.captured as usize;
        if captured > limits::FRAME_BYTES || self.cursor.is_lost() || self.is_gone(record) {
            return self.damaged(record);
        }
        if !self.cursor.ensure(header + captured)? {
            return self.ran_out(header + captured, "a record");
        }
        self.account.frames += 1;
        if self.account.frames.is_multiple_of(MARK) {
            self.cursor.mark();
        }
        Ok(Some(Frame {
            data: self.cursor.take(header, captured),
            time: record.time(self.shape.unit),
            number: self.base + self.account.frames,
            wire_len: record.wire,
            interface: 0,
            link: self.link,
        }))
    }

    /// The file's only interface.
    pub fn interfaces(&self) -> &[Interface] {
        slice::from_ref(&self.interface)
    }

    /// Whether the file was shortened while it was read.
    pub fn is_lost(&self) -> bool {
        self.cursor.is_lost()
    }

    /// How it ended.
    pub fn report(&self) -> SourceReport {
        SourceReport {
            dropped: 0,
            notices: self.account.notices.clone(),
        }
    }

    /// Whether this record is what a file that was shortened shows behind its end: zeros, up to
    /// the end of a page. Looked at once a page, for a file may hold empty records.
    #[inline]
    fn is_gone(&mut self, record: Record) -> bool {
        if record.wire > 0 || record.seconds > 0 || self.cursor.offset() < self.look_again {
            return false;
        }
        self.look_again = self.cursor.offset() + 4096;
        self.cursor.shortened().is_some()
    }

    #[cold]
    fn ran_out<'a>(
        &mut self,
        need: usize,
        what: &'static str,
    ) -> Result<Option<Frame<'a>>, SourceError> {
        if !self.account.over {
            let from = self.cursor.offset();
            self.account.stop(
                &self.cursor,
                Stop::RanOut {
                    what,
                    from,
                    need: need as u64,
                },
            )?;
        }
        Ok(None)
    }

    #[cold]
    fn damaged<'a>(&mut self, record: Record) -> Result<Option<Frame<'a>>, SourceError> {
        let (len, limit) = (record.captured, limits::FRAME_BYTES);
        let why = format!("a frame of {len} bytes, where {limit} is the most");
        self.account.stop(&self.cursor, Stop::Damaged(why))?;
        Ok(None)
    }
}

impl Pcap<Mapped> {
    /// The same file from its first record.
    pub fn again(&self) -> Self {
        let mut cursor = self.cursor.again();
        cursor.take(0, FILE_HEADER);
        self.over(cursor, FILE_HEADER)
    }

    /// The same file over another cursor, which stands at this byte.
    fn over(&self, cursor: Mapped, from: usize) -> Self {
        Self {
            cursor,
            shape: self.shape,
            link: self.link,
            account: Account::default(),
            interface: self.interface.clone(),
            look_again: 0,
            base: 0,
            plain_only: false,
            from: from as u64,
        }
    }

    /// The same file in parts, in their order, the first from its beginning, others from records near these `places`;
    /// `None` where nothing that looks like a record is found there.
    ///
    /// That the first record of each part is one is a guess, which holds where the part before it ends there:
    /// [`Pcap::is_followed_by`]. All parts but the first stop before a record about which anything is special, and
    /// number their frames from a place of their own: [`Pcap::follow`].
    pub fn parts(&self, places: &[usize]) -> Option<Vec<Self>> {
        let first = std::iter::once(Some(FILE_HEADER));
        let begins = first.chain(places.iter().map(|&place| self.record_after(place)));
        let begins = begins.collect::<Option<Vec<_>>>()?;
        let part = |(place, &from): (usize, &usize)| {
            let until = begins.get(place + 1).copied();
            Self {
                base: (place as u64) << NUMBERS,
                plain_only: place > 0,
                ..self.over(self.cursor.part(from, until), from)
            }
        };
        Some(begins.iter().enumerate().map(part).collect())
    }

    /// The first place from `from` on where [`CHAIN`] records follow each other, as far as can be told.
    fn record_after(&self, from: usize) -> Option<usize> {
        let whole = self.cursor.whole();
        let first = self.record_at(whole, FILE_HEADER)?;
        let is_chain = |&at: &usize| {
            let mut at = at;
            (0..CHAIN).all(|_| {
                let record = self.record_at(whole, at);
                let next = record.filter(|record| record.is_like(&first, self.shape.unit));
                at += next.map_or(0, |record| self.shape.header + record.captured as usize);
                next.is_some()
            })
        };
        (from..from.saturating_add(SEARCH)).find(is_chain)
    }

    fn record_at(&self, bytes: &[u8], at: usize) -> Option<Record> {
        let head = bytes.get(at..)?.first_chunk()?;
        let record = Record::read(head, self.shape);
        record.is_straight().then_some(record)
    }

    /// Whether it has come to where `next` begins.
    pub fn is_followed_by(&self, next: &Self) -> bool {
        !self.account.over && self.cursor.offset() == next.from
    }

    /// What was read so far follows so many frames: the rest is read as that of the whole file is, and told so.
    pub fn follow(&mut self, frames: u64) {
        self.plain_only = false;
        self.account.frames += frames;
        self.base = self.base.saturating_sub(frames);
    }

    /// Frames delivered so far.
    pub fn frames(&self) -> u64 {
        self.account.frames
    }
}

/// Reads the file header: magic, version, snap length and link type.
fn file_header(bytes: &[u8]) -> Result<(Shape, Interface), String> {
    let Some(mut shape) = bytes.first_chunk().and_then(|magic| Shape::new(*magic)) else {
        return Err("not a capture file".to_owned());
    };
    let (major, minor) = (u16_at(bytes, 4, shape.big), u16_at(bytes, 6, shape.big));
    if major != 2 {
        return Err(format!(
            "a pcap file of version {major}.{minor}; only 2.x is read"
        ));
    }
    shape.old = minor <= 3;
    let snaplen = u32_at(bytes, 16, shape.big);
    // The upper half says how long frame check sequences are, not what the link is.
    let link = (u32_at(bytes, 20, shape.big) & 0xffff) as u16;
    Ok((
        shape,
        Interface {
            link: link_type(link),
            name: None,
            snaplen,
        },
    ))
}

/// The registry's number for what some systems wrote instead: OpenBSD and others put their own
/// DLT_RAW, 12 or 14, where LINKTYPE_RAW belongs.
pub(super) fn link_type(written: u16) -> LinkType {
    match written {
        12 | 14 => LinkType::RAW,
        other => LinkType(other),
    }
}
