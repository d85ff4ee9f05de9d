//! The two file formats, encoded into a buffer that the writer then puts where it belongs.
//!
//! Little-endian, nanoseconds: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.

use std::path::Path;

use hashbrown::HashMap;

use crate::source::{Frame, Interface, LinkType};

/// The snap length that classic files state, libpcap's own largest.
const SNAPLEN: u32 = 262_144;

/// One file's format, and what the file holds so far.
#[derive(Debug)]
pub(super) enum Format {
    /// Classic pcap, with its link type once it has a header.
    Pcap(Option<LinkType>),
    /// pcapng, with the numbers of the interfaces that it describes.
    Pcapng(Described),
}

/// The interfaces of a pcapng file: (interface, link type) of frames to the file's own numbers.
#[derive(Debug, Default)]
pub(super) struct Described {
    begun: bool,
    /// How many there are.
    count: u32,
    numbers: HashMap<(u32, u16), u32, foldhash::fast::RandomState>,
}

impl Format {
    /// The format for a file of this name.
    pub fn named(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("pcapng") {
            return Self::Pcapng(Described::default());
        }
        Self::Pcap(None)
    }

    /// Encodes a frame, with all that must stand before it in the file. `interface` tells what
    /// is known of the one that it came from.
    ///
    /// # Errors
    /// When the format cannot hold the frame, with the reason.
    pub fn frame(
        &mut self,
        out: &mut Vec<u8>,
        frame: &Frame<'_>,
        interface: impl FnOnce() -> Interface,
    ) -> Result<(), String> {
        match self {
            Self::Pcap(link) => record(link, out, frame),
            Self::Pcapng(described) => {
                described.packet(out, frame, interface);
                Ok(())
            }
        }
    }

    /// The interface of this number is another one from now on.
    pub fn forget(&mut self, interface: u32) {
        if let Self::Pcapng(described) = self {
            described.numbers.retain(|&(of, _), _| of != interface);
        }
    }

    /// Encodes what a file without any frame holds.
    pub fn empty(&mut self, out: &mut Vec<u8>, interface: Option<Interface>) {
        match self {
            Self::Pcap(_) => {
                file_header(
                    out,
                    interface.map_or(LinkType::ETHERNET, |known| known.link),
                );
            }
            Self::Pcapng(_) => section_header(out),
        }
    }
}

fn record(link: &mut Option<LinkType>, out: &mut Vec<u8>, frame: &Frame<'_>) -> Result<(), String> {
    let of_file = *link.get_or_insert_with(|| {
        file_header(out, frame.link);
        frame.link
    });
    if of_file != frame.link {
        return Err(format!(
            "a pcap file holds one link type, and frame {} is {} after {of_file}; name the file .pcapng to save both",
            frame.number, frame.link
        ));
    }
    // Classic files end in the year 2106.
    let seconds = u32::try_from(frame.time.0 / 1_000_000_000).unwrap_or(u32::MAX);
    put(out, seconds);
    put(out, (frame.time.0 % 1_000_000_000) as u32);
    put(out, frame.data.len() as u32);
    put(out, frame.wire_len);
    out.extend_from_slice(frame.data);
    Ok(())
}

fn file_header(out: &mut Vec<u8>, link: LinkType) {
    put(out, 0xa1b2_3c4d);
    out.extend_from_slice(&[2, 0, 4, 0]);
    put(out, 0);
    put(out, 0);
    put(out, SNAPLEN);
    put(out, u32::from(link.0));
}

impl Described {
    /// An Enhanced Packet Block, after the blocks that it needs.
    fn packet(
        &mut self,
        out: &mut Vec<u8>,
        frame: &Frame<'_>,
        interface: impl FnOnce() -> Interface,
    ) {
        if !self.begun {
            section_header(out);
            self.begun = true;
        }
        let next = &mut self.count;
        let number = *self
            .numbers
            .entry((frame.interface, frame.link.0))
            .or_insert_with(|| {
                describe(out, &interface());
                *next += 1;
                *next - 1
            });
        block(out, 6, |out| {
            put(out, number);
            put(out, (frame.time.0 >> 32) as u32);
            put(out, frame.time.0 as u32);
            put(out, frame.data.len() as u32);
            put(out, frame.wire_len);
            padded(out, frame.data);
        });
    }
}

fn section_header(out: &mut Vec<u8>) {
    block(out, 0x0a0d_0d0a, |out| {
        put(out, 0x1a2b_3c4d);
        out.extend_from_slice(&[1, 0, 0, 0]);
        // The section's length is not known while it is written.
        out.extend_from_slice(&[0xff; 8]);
        // shb_userappl
        option(
            out,
            4,
            concat!("tcpkit ", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        put(out, 0);
    });
}

fn describe(out: &mut Vec<u8>, interface: &Interface) {
    block(out, 1, |out| {
        put(out, u32::from(interface.link.0));
        put(out, interface.snaplen);
        if let Some(name) = &interface.name {
            option(out, 2, name.as_bytes());
        }
        // if_tsresol: nanoseconds.
        option(out, 9, &[9]);
        put(out, 0);
    });
}

/// A block of a type, its length before and after its body.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out, kind);
    put(out, 0);
    body(out);
    let len = ((out.len() - start + 4) as u32).to_le_bytes();
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&len);
    }
    out.extend_from_slice(&len);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(out, value);
}

/// Bytes, and zeros up to a multiple of four.
fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    let padding = bytes.len().next_multiple_of(4) - bytes.len();
    out.extend(std::iter::repeat_n(0, padding));
}

fn put(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}
