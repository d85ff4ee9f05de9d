//! Tells memcached by its first bytes, and finds the next message after a loss.

use super::{binary, reply, text};
use crate::flow::Direction;
use crate::protocol::{Input, Probe, Resync};

/// What the first bytes of a TCP direction, or of a datagram behind its frame header, look like.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    match bytes.first() {
        None => Probe::More,
        Some(&(binary::REQUEST | binary::RESPONSE)) => probe_binary(bytes),
        Some(byte) if !byte.is_ascii_alphabetic() => Probe::No,
        Some(_) => probe_text(bytes),
    }
}

fn probe_binary(bytes: &[u8]) -> Probe {
    match binary::Header::read(bytes) {
        None => Probe::More,
        Some(header) if !header.unmistakable() => Probe::No,
        Some(header) if header.magic == binary::REQUEST => Probe::Request,
        Some(_) => Probe::Response,
    }
}

fn probe_text(bytes: &[u8]) -> Probe {
    const LONGEST: usize = 1024;
    let Some(line) = text::line(bytes, 0) else {
        let printable = bytes.iter().all(|byte| matches!(byte, b'\r' | 0x20..=0x7e));
        return if printable && bytes.len() < LONGEST {
            Probe::More
        } else {
            Probe::No
        };
    };
    if !bytes.get(..line.len).unwrap_or_default().ends_with(b"\r\n") {
        return Probe::No;
    }
    if text::distinct(line.content) {
        Probe::Request
    } else if reply::distinct(line.content) {
        Probe::Response
    } else {
        Probe::No
    }
}

/// Finds the next message: at the start of the input, or behind a line end.
pub(super) fn resync(direction: Direction, input: &Input<'_>) -> Resync {
    let mut at = 0;
    while let Some(rest) = input.bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match begins(direction, rest) {
            Some(true) => return Resync::Found(at),
            Some(false) => {}
            None => return Resync::Nowhere { keep: rest.len() },
        }
        match memchr::memchr(b'\n', rest) {
            Some(end) => at += end + 1,
            None => break,
        }
    }
    Resync::Nowhere { keep: 0 }
}

/// Whether a message begins here; `None` where more bytes are needed to tell.
fn begins(direction: Direction, bytes: &[u8]) -> Option<bool> {
    const PATIENCE: usize = 2048;
    let magic = match direction {
        Direction::ToServer => binary::REQUEST,
        Direction::ToClient => binary::RESPONSE,
    };
    if bytes.first() == Some(&magic) {
        return binary::Header::read(bytes).map(|header| header.unmistakable());
    }
    let Some(line) = text::line(bytes, 0) else {
        let might = bytes.len() < PATIENCE
            && match direction {
                Direction::ToServer => text::might_begin(bytes),
                Direction::ToClient => reply::might_begin(bytes),
            };
        return if might { None } else { Some(false) };
    };
    Some(match direction {
        Direction::ToServer => text::unmistakable(line.content),
        Direction::ToClient => reply::unmistakable(line.content),
    })
}
