//! What the fuzz targets of `fuzz/` do with bytes that nobody vouches for.
//!
//! Each body reads its input as a recipe, runs a part of the program on it, and panics where an invariant
//! is broken: no panic anywhere else, progress, the same messages for any split, offsets in order, output
//! that no terminal acts on. What was found, and one input a kind, is in `fuzz/inputs/TARGET`, and replayed by the tests
//! below.
#![expect(
    clippy::expect_used,
    reason = "a broken invariant is what the fuzzer looks for"
)]

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::outlet::Outlet;
use super::owners::Owners;
use super::select::{Kind, Selector};
use super::worker::{Settings, Worker};
use crate::flow::stream::{Conversation, Piece};
use crate::flow::{Direction, FlowKey};
use crate::limits;
use crate::protocol::driven::Wire;
use crate::protocol::{PROTOCOLS, Protocol};
use crate::sink::Sink;
use crate::sink::json::JsonSink;
use crate::sink::select::Select;
use crate::sink::stats::{Rules, Stats};
use crate::sink::text::TextSink;
use crate::source::file::FileSource;
use crate::source::{Frame, LinkType, Source, Timestamp};
use crate::wire::{Addresses, Decoded, Decoder, Packet, Transport};

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target, by the name of its file in `fuzz/fuzz_targets` and its folder of inputs.
pub static TARGETS: &[(&str, Body)] = &[
    ("file", file),
    ("wire", wire),
    ("stream", stream),
    ("protocols", protocols),
    ("middle", middle),
];

/// A capture file, as it comes from a pipe.
pub fn file(bytes: &[u8]) {
    let reader = Cursor::new(bytes.to_vec());
    let Ok(mut source) = FileSource::from_reader("input", reader) else {
        return;
    };
    let mut number = 0;
    while let Ok(Some(frame)) = source.next_frame() {
        assert!(frame.number > number, "frames are numbered in order");
        assert!(frame.wire_len as usize >= frame.data.len());
        assert!(frame.data.len() <= limits::FRAME_BYTES);
        number = frame.number;
    }
    assert!(source.interfaces().len() <= limits::INTERFACES);
}

/// Frames: two bytes for the link type, then for each frame two for its length, and its bytes.
pub fn wire(bytes: &[u8]) {
    let mut recipe = Recipe(bytes);
    let link = LinkType(recipe.number());
    let mut decoder = Decoder::keeping_frames();
    let mut number = 0;
    while !recipe.0.is_empty() {
        number += 1;
        let length = recipe.number();
        let data = recipe.take(usize::from(length));
        let frame = frame(data, link, number);
        if let Decoded::Packet(packet) = decoder.decode(&frame) {
            assert!(packet.payload.len() <= packet.payload_len as usize);
            let (key, _) = FlowKey::of(&packet);
            assert!(key.spread().shard() < limits::SHARDS);
        }
        assert!(decoder.fragments_waiting() <= limits::FRAGMENTED_DATAGRAMS);
    }
}

/// Segments of one conversation, in seven bytes each: flags, where it begins, what it acknowledges, its length.
pub fn stream(bytes: &[u8]) {
    let mut conversation = Conversation::default();
    let mut ends = [0; 2];
    for (number, step) in bytes.chunks_exact(7).enumerate() {
        let &[flags, s0, s1, a0, a1, l0, l1] = step else {
            return;
        };
        let direction = match flags & 0x80 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        let length = u16::from_be_bytes([l0, l1]) % 2048;
        let payload = vec![flags; usize::from(length)];
        // Near the turn of the numbers.
        let near =
            |hi, lo| (u32::MAX - 0x4000).wrapping_add(u32::from(u16::from_be_bytes([hi, lo])));
        let packet = segment(
            number as u64,
            near(s0, s1),
            near(a0, a1),
            flags & 0x1f,
            &payload,
        );
        if conversation.pass(direction, &packet).is_some() {
            // What passes is handed on where it is.
            ends[direction.index()] = conversation.offset(direction);
            continue;
        }
        conversation.push(direction, &packet);
        while let Some(piece) = conversation.next(packet.time) {
            follow(&piece, &mut ends);
        }
        assert!(conversation.held_bytes() <= 2 * (limits::HELD_BYTES_PER_STREAM + 4096));
    }
}

/// Pieces of a direction follow each other.
fn follow(piece: &Piece<'_>, ends: &mut [u64; 2]) {
    let (direction, start, length) = match piece {
        Piece::Bytes(chunk) => (chunk.direction, chunk.offset, chunk.bytes.len() as u64),
        Piece::Gap(gap) => (gap.direction, gap.offset, gap.bytes),
        Piece::End(direction, offset) => (*direction, *offset, 0),
    };
    let [to_server, to_client] = ends;
    let end = match direction {
        Direction::ToServer => to_server,
        Direction::ToClient => to_client,
    };
    assert!(start >= *end, "{piece:?} goes back behind {end}");
    *end = start + length;
}

/// A conversation in one of the protocols, which the first byte names, with its transport: two bytes a piece,
/// for its direction, whether it is lost, and its length. The same conversation with other cuts must give the
/// same messages.
pub fn protocols(bytes: &[u8]) {
    let mut recipe = Recipe(bytes);
    let which = usize::from(recipe.byte());
    let Some(protocol) = PROTOCOLS.get(which % PROTOCOLS.len()) else {
        return;
    };
    let transports = protocol.transports();
    let Some(transport) = transports.get(which / PROTOCOLS.len() % transports.len()) else {
        return;
    };
    let mut pieces = Vec::new();
    while !recipe.0.is_empty() {
        let (way, length) = (recipe.byte(), recipe.byte());
        pieces.push((way, recipe.take(usize::from(length))));
    }
    let cut = talk(*protocol, *transport, &pieces, 1);
    let whole = talk(*protocol, *transport, &pieces, usize::MAX);
    // Where bytes are searched for the next message, the beginnings of segments are places to look at.
    let searched = |wire: &Wire| !wire.malformed.is_empty();
    let lossless = pieces.iter().all(|(way, _)| way & 0xfe != 0xfe);
    if *transport == Transport::Tcp && lossless && !searched(&cut) && !searched(&whole) {
        assert_eq!(cut.told, whole.told, "another split");
    }
    for told in cut.told.iter().chain(&whole.told) {
        let mut out = Vec::new();
        protocol.render(&told.text, limits::TEXT_BYTES, &mut out);
        assert!(
            out.iter().all(|byte| matches!(byte, 0x20..=0x7e)),
            "{out:?}"
        );
    }
}

/// What is told of a conversation whose pieces are cut after so many bytes.
fn talk(
    protocol: &dyn Protocol,
    transport: Transport,
    pieces: &[(u8, &[u8])],
    length: usize,
) -> Wire {
    let mut wire = Wire::new(protocol, transport);
    for &(way, bytes) in pieces {
        let direction = match way & 1 {
            0 => Direction::ToServer,
            _ => Direction::ToClient,
        };
        match way & 0xfe {
            0xfe => wire.lose(direction, bytes.len() as u64),
            _ => wire.send_cut(direction, bytes, &mut || length),
        }
    }
    wire.close();
    wire
}

/// The whole middle: Ethernet frames, two bytes for the length of each, to text and JSON.
pub fn middle(bytes: &[u8]) {
    let (text, json) = (Written::default(), Written::default());
    let sinks: Vec<Box<dyn Sink + Send>> = vec![
        Box::new(TextSink::new(text.clone(), Select::default(), TimeZone::UTC).with_packets(true)),
        Box::new(JsonSink::new(json.clone(), Select::default()).with_packets(true)),
    ];
    let settings = Settings {
        selector: Arc::new(Selector::new(Kind::Auto, Vec::new())),
        timeout: Duration::from_millis(1),
        threshold: None,
        worker: 0,
        owners: Owners::alone(),
    };
    let mut worker = Worker::new(
        settings,
        Outlet::new(Stats::new(Rules::default(), &[]), sinks),
    );
    let mut recipe = Recipe(bytes);
    let mut number = 0;
    while !recipe.0.is_empty() {
        number += 1;
        let length = recipe.number();
        let data = recipe.take(usize::from(length));
        worker.frame(&frame(data, LinkType::ETHERNET, number));
    }
    worker.finish().finish().expect("memory takes all");
    let text = text.all();
    let plain = |byte: &u8| matches!(byte, b'\n' | 0x20..=0x7e | 0x80..);
    assert!(text.iter().all(plain), "{}", String::from_utf8_lossy(&text));
    for line in json.all().split(|byte| *byte == b'\n') {
        let whole = line.is_empty() || serde_json::from_slice::<serde_json::Value>(line).is_ok();
        assert!(whole, "{}", String::from_utf8_lossy(line));
    }
}

/// What a sink wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn all(&self) -> Vec<u8> {
        self.0.lock().expect("nobody failed").clone()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody failed").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The rest of an input; what it does not have is 0.
struct Recipe<'a>(&'a [u8]);

impl<'a> Recipe<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most so many bytes.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn frame(data: &[u8], link: LinkType, number: u64) -> Frame<'_> {
    Frame {
        data,
        time: Timestamp(number * 1_000_000),
        number,
        wire_len: data.len() as u32,
        interface: 0,
        link,
    }
}

fn segment(number: u64, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Packet<'_> {
    Packet {
        time: Timestamp(number * 20_000_000),
        frame: number,
        interface: 0,
        addresses: Addresses::V4 {
            source: 0x0a00_0001,
            destination: 0x0a00_0002,
        },
        transport: Transport::Tcp,
        source_port: 40_000,
        destination_port: 6379,
        seq,
        ack,
        flags,
        window: 1000,
        payload,
        payload_len: payload.len() as u32,
        ip_id: None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What was found by fuzzing, and an input of each kind.
    #[test]
    fn kept_inputs_break_nothing() {
        for (name, body) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../fuzz/inputs")
                .join(name);
            let entries = std::fs::read_dir(&folder).expect("each target has inputs");
            let mut inputs = 0;
            for entry in entries {
                let path = entry.expect("it can be listed").path();
                body(&std::fs::read(path).expect("it can be read"));
                inputs += 1;
            }
            assert!(inputs > 0, "{name}");
        }
    }
}
