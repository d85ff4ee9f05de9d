//! Saved frames of a live run: copied into a bounded queue, written by a thread of their own.
//!
//! Reads [`Event::Packet`]s like the [`Writer`] that it has in its thread. A frame that does not fit is left out
//! whole and counted.

use std::io;

use super::Writer;
use crate::event::Event;
use crate::limits::SAVE_QUEUE;
use crate::sink::queue::{Drain, PIECE_BYTES, Progress, Queue};
use crate::sink::{Needs, Sink};
use crate::source::live::Drift;
use crate::source::{Frame, LinkType, Timestamp};

const FRAME: u8 = 0;
const TICK: u8 = 1;
const REOPEN: u8 = 2;

/// What stands before a frame's bytes: tag, time, number, wire length, interface, link type, length.
const HEAD: usize = 1 + 8 + 8 + 4 + 4 + 2 + 4;

/// The sink behind `-w` of a live run.
#[derive(Debug)]
pub struct Queued {
    queue: Queue,
    drift: Drift,
}

impl Queued {
    /// Takes a writer into a thread of its own. Saved times are the wall clock's.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(writer: Writer, drift: Drift) -> io::Result<Self> {
        let queue = Queue::start("save", SAVE_QUEUE, FrameDrain(writer))?;
        Ok(Self { queue, drift })
    }

    /// Where frames that were left out are counted.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }
}

impl Sink for Queued {
    fn needs(&self) -> Needs {
        Needs {
            packets: true,
            text: false,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Packet(packet) => {
                for fragment in packet.fragments {
                    self.offer(fragment.frame())?;
                }
                self.offer(packet.frame)
            }
            Event::Tick(_) => self.tell(TICK),
            Event::Reopen => self.tell(REOPEN),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.queue.finish().map(drop)
    }
}

impl Queued {
    fn offer(&self, frame: Frame<'_>) -> io::Result<()> {
        let time = self.drift.wall(frame.time);
        let frame = Frame { time, ..frame };
        let size = HEAD + frame.data.len();
        self.queue.offer(size, |out| encode(&frame, out)).map(drop)
    }

    fn tell(&self, tag: u8) -> io::Result<()> {
        self.queue.mark(|out| out.push(tag))?;
        self.queue.wake()
    }
}

fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    out.push(FRAME);
    out.extend(frame.time.0.to_ne_bytes());
    out.extend(frame.number.to_ne_bytes());
    out.extend(frame.wire_len.to_ne_bytes());
    out.extend(frame.interface.to_ne_bytes());
    out.extend(frame.link.0.to_ne_bytes());
    out.extend((frame.data.len() as u32).to_ne_bytes());
    out.extend_from_slice(frame.data);
}

/// The frame at the beginning of a batch, and the length of its record.
fn decode(record: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (_, rest) = record.split_first()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (wire_len, rest) = rest.split_first_chunk()?;
    let (interface, rest) = rest.split_first_chunk()?;
    let (link, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let data = rest.get(..u32::from_ne_bytes(*len) as usize)?;
    let frame = Frame {
        data,
        time: Timestamp(u64::from_ne_bytes(*time)),
        number: u64::from_ne_bytes(*number),
        wire_len: u32::from_ne_bytes(*wire_len),
        interface: u32::from_ne_bytes(*interface),
        link: LinkType(u16::from_ne_bytes(*link)),
    };
    Some((frame, HEAD + data.len()))
}

struct FrameDrain(Writer);

impl FrameDrain {
    /// Writes one record; its length, and how many frames it is.
    fn one(&mut self, batch: &[u8]) -> io::Result<(usize, u64)> {
        match batch.first() {
            Some(&TICK) => {
                let tick = Event::Tick(Timestamp::default());
                self.0.event(&tick).map(|()| (1, 0))
            }
            Some(&REOPEN) => self.0.reopen().map(|()| (1, 0)),
            _ => {
                let cut = || io::Error::other("a saved frame was cut in its queue");
                let (frame, size) = decode(batch).ok_or_else(cut)?;
                self.0.save(&frame).map(|()| (size, 1))
            }
        }
    }
}

impl Drain for FrameDrain {
    fn write(&mut self, batch: &[u8]) -> io::Result<Progress> {
        let mut progress = Progress {
            bytes: 0,
            records: 0,
        };
        while progress.bytes < batch.len().min(PIECE_BYTES) {
            let (bytes, records) = self.one(batch.get(progress.bytes..).unwrap_or_default())?;
            progress.bytes += bytes;
            progress.records += records;
        }
        Ok(progress)
    }

    fn finish(&mut self) -> io::Result<()> {
        Sink::finish(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let frame = Frame {
            data: b"some bytes",
            time: Timestamp(u64::MAX - 1),
            number: 7,
            wire_len: 70_000,
            interface: 3,
            link: LinkType::LINUX_SLL2,
        };
        let mut out = Vec::new();
        encode(&frame, &mut out);
        let size = out.len();
        encode(&frame, &mut out);
        let decoded = decode(&out);
        assert_eq!(decoded.map(|(_, size)| size), Some(size));
        let same = decoded.is_some_and(|(got, _)| {
            got.data == frame.data
                && (got.time, got.number) == (frame.time, frame.number)
                && (got.wire_len, got.interface, got.link)
                    == (frame.wire_len, frame.interface, frame.link)
        });
        assert!(same);
        for end in 0..size {
            assert!(decode(&out[..end]).is_none());
        }
    }
}
