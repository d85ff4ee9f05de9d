//! Laws that every protocol keeps.
//!
//! `driven` shows bytes to a dissector as the stream does.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod samples;

use std::collections::HashSet;

use proptest::prelude::*;

use self::samples::{SAMPLES, Sample};
use super::driven::{Wire, drive};
use super::{Message, PROTOCOLS, Past, Probe, Protocol, Role, by_name};
use crate::flow::Direction;
use crate::wire::Transport;

/// Protocols whose dissectors are there.
fn ready() -> impl Iterator<Item = &'static dyn Protocol> {
    PROTOCOLS
        .iter()
        .copied()
        .filter(|protocol| !samples::UNWRITTEN.contains(&protocol.name()))
}

fn samples() -> impl Iterator<Item = (&'static dyn Protocol, &'static Sample)> {
    let ready: Vec<_> = ready().map(Protocol::name).collect();
    let samples = SAMPLES
        .iter()
        .filter(move |sample| ready.contains(&sample.protocol));
    samples.map(|sample| (by_name(sample.protocol).unwrap(), sample))
}

/// Each protocol with each of its transports.
fn carried() -> impl Iterator<Item = (&'static dyn Protocol, Transport)> {
    ready().flat_map(|protocol| {
        protocol
            .transports()
            .iter()
            .map(move |transport| (protocol, *transport))
    })
}

fn direction(to_server: bool) -> Direction {
    if to_server {
        Direction::ToServer
    } else {
        Direction::ToClient
    }
}

#[test]
fn names_and_labels_are_unique() {
    let names: HashSet<_> = PROTOCOLS.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(names.len(), PROTOCOLS.len());
    for protocol in PROTOCOLS {
        let labels: HashSet<_> = protocol.commands().iter().collect();
        assert_eq!(
            labels.len(),
            protocol.commands().len(),
            "{}",
            protocol.name()
        );
        assert_eq!(
            protocol.commands().first(),
            Some(&"other"),
            "{}",
            protocol.name()
        );
        assert!(!protocol.transports().is_empty(), "{}", protocol.name());
    }
}

#[test]
fn every_protocol_has_a_sample_for_each_transport() {
    for (protocol, transport) in carried() {
        let name = protocol.name();
        let has = SAMPLES
            .iter()
            .any(|s| s.protocol == name && s.transport == transport);
        assert!(has, "{name} over {transport:?}");
    }
}

#[test]
fn samples_are_told_whole() {
    for (protocol, sample) in samples() {
        let wire = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX);
        let name = protocol.name();
        assert_eq!(wire.malformed, [""; 0], "{name}");
        assert_eq!(
            wire.count(Role::Request),
            sample.requests,
            "{name}: {:#?}",
            wire.told
        );
        assert_eq!(
            wire.count(Role::Response),
            sample.responses,
            "{name}: {:#?}",
            wire.told
        );
        for told in &wire.told {
            assert!(
                usize::from(told.command) < protocol.commands().len(),
                "{name}: {told:?}"
            );
            assert!(!Message::CUT & told.flags == told.flags, "{name}: {told:?}");
        }
    }
}

/// What a protocol says of a sample's first bytes is never another protocol's business.
#[test]
fn samples_are_claimed_by_their_protocol_alone() {
    for (owner, sample) in samples() {
        for (direction, bytes) in sample.parts {
            for other in ready().filter(|other| other.name() != owner.name()) {
                let claim = other.probe(sample.transport, bytes);
                let claimed = matches!(claim, Probe::Request | Probe::Response);
                assert!(!claimed, "{} takes {direction:?} {bytes:?}", other.name());
            }
        }
    }
}

#[test]
fn any_two_pieces_give_the_same_messages() {
    for (protocol, sample) in samples().filter(|(_, sample)| sample.transport == Transport::Tcp) {
        let whole = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX).told;
        let longest = sample
            .parts
            .iter()
            .map(|(_, bytes)| bytes.len())
            .max()
            .unwrap();
        for size in 1..=longest {
            let cut = drive(protocol, sample.transport, sample.parts, &mut || size).told;
            assert_eq!(cut, whole, "{} in pieces of {size}", protocol.name());
        }
    }
}

/// After a loss of any length at any place, the next conversations' messages are found.
#[test]
fn a_gap_is_survived() {
    for (protocol, sample) in samples().filter(|(_, sample)| sample.transport == Transport::Tcp) {
        let parts = sample.parts.len();
        for (part, at, count) in
            (0..parts).flat_map(|part| losses(part, sample.parts[part].1.len()))
        {
            let mut wire = Wire::new(protocol, sample.transport);
            for (index, (direction, bytes)) in sample.parts.iter().enumerate() {
                let (before, rest) = bytes.split_at(if index == part { at } else { bytes.len() });
                wire.send(*direction, before);
                if index == part {
                    wire.lose(*direction, count as u64);
                    wire.send(*direction, &rest[count..]);
                }
            }
            for _ in 0..2 {
                sample
                    .parts
                    .iter()
                    .for_each(|(direction, bytes)| wire.send(*direction, bytes));
            }
            wire.close();
            assert_last_is_found(
                &wire,
                sample,
                &format!("{} lost {count} at {at} of part {part}", protocol.name()),
            );
        }
    }
}

/// Losses inside a part: at each place, of some lengths, none of them the whole rest.
fn losses(part: usize, length: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let ends = move |at: usize| {
        [1, 7, 50, length - at]
            .into_iter()
            .filter(move |n| at + n <= length)
    };
    (0..length).flat_map(move |at| ends(at).map(move |count| (part, at, count)))
}

fn assert_last_is_found(wire: &Wire, sample: &Sample, what: &str) {
    for direction in [Direction::ToServer, Direction::ToClient] {
        let sent = sample.parts.iter().filter(|part| part.0 == direction);
        let end = 3 * sent.map(|part| part.1.len() as u64).sum::<u64>();
        let last = wire.told.iter().rfind(|told| told.direction == direction);
        let last = last.unwrap_or_else(|| panic!("{what}: nothing {direction:?}"));
        assert_eq!(last.end, end, "{what}: {direction:?} {last:?}");
        assert_eq!(last.flags & Message::CUT, 0, "{what}: {last:?}");
    }
}

/// A conversation that was told whole rests; so does one that found its feet again after a loss.
#[test]
fn what_has_ended_is_at_rest() {
    let in_order = ["http", "redis", "memcached"];
    for (protocol, sample) in samples().filter(|(_, sample)| sample.transport == Transport::Tcp) {
        if !in_order.contains(&protocol.name()) {
            continue;
        }
        let mut wire = Wire::new(protocol, sample.transport);
        let send = |wire: &mut Wire| {
            let parts = sample.parts.iter();
            parts.for_each(|(direction, bytes)| wire.send(*direction, bytes));
        };
        send(&mut wire);
        assert_eq!(wire.past(), Some(Past::Whole), "{}", protocol.name());
        wire.lose(Direction::ToServer, 5);
        assert_eq!(wire.past(), None, "{}", protocol.name());
        send(&mut wire);
        send(&mut wire);
        assert_eq!(wire.past(), Some(Past::Lossy), "{}", protocol.name());
    }
}

/// Bytes that look like the protocol's, but are not quite.
fn spoiled() -> impl Strategy<Value = (usize, Vec<(u8, u16, u8)>)> {
    (
        0..SAMPLES.len(),
        prop::collection::vec((0..4_u8, any::<u16>(), any::<u8>()), 1..8),
    )
}

fn spoil(bytes: &[u8], edits: &[(u8, u16, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (edit, at, value) in edits
        .iter()
        .filter(|_| !bytes.is_empty())
        .cloned()
        .collect::<Vec<_>>()
    {
        let at = usize::from(at) % bytes.len().max(1);
        match edit {
            0 if at < bytes.len() => bytes[at] = value,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.insert(at, value),
            _ => bytes.extend_from_within(at.min(bytes.len())..),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_probed_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (protocol, transport) in carried() {
            let _ = protocol.probe(transport, &bytes);
        }
        let _ = super::opaque::recognise(&bytes);
    }

    #[test]
    fn nothing_rendered_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        max in 0..300_usize,
    ) {
        for protocol in ready() {
            let mut out = b"before".to_vec();
            protocol.render(&bytes, max, &mut out);
            prop_assert!(out.starts_with(b"before"));
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)), "{:?}", out);
            prop_assert!(out.len() <= max + 64, "{} wrote {}", protocol.name(), out.len());
        }
    }

    #[test]
    fn nothing_sent_panics(
        parts in prop::collection::vec(
            (any::<bool>(), 0..8_u8, prop::collection::vec(any::<u8>(), 0..80)),
            0..12,
        ),
    ) {
        for (protocol, transport) in carried() {
            let mut wire = Wire::new(protocol, transport);
            for (to_server, act, bytes) in &parts {
                match act {
                    0 if transport == Transport::Tcp => wire.lose(direction(*to_server), bytes.len() as u64),
                    _ => wire.send(direction(*to_server), bytes),
                }
            }
            wire.close();
        }
    }

    #[test]
    fn nothing_spoiled_panics((index, edits) in spoiled(), size in 1..40_usize) {
        let sample = &SAMPLES[index];
        if ready().any(|protocol| protocol.name() == sample.protocol) {
            let spoiled: Vec<_> =
                sample.parts.iter().map(|(way, bytes)| (*way, spoil(bytes, &edits))).collect();
            let parts: Vec<_> = spoiled.iter().map(|(way, bytes)| (*way, bytes.as_slice())).collect();
            drive(by_name(sample.protocol).unwrap(), sample.transport, &parts, &mut || size);
        }
    }

    /// Whatever a conversation was, and whatever becomes of it: where it rests, only its past counts.
    #[test]
    fn what_rests_goes_on_as_what_is_resumed(
        (index, edits) in spoiled(),
        loses in any::<Option<(bool, u8)>>(),
        (next, changes) in spoiled(),
        loses_then in any::<Option<(bool, u8)>>(),
        size in 1..80_usize,
    ) {
        let sample = &SAMPLES[index];
        let next = &SAMPLES[next];
        let protocol = by_name(sample.protocol).unwrap();
        if sample.transport == Transport::Udp {
            return Ok(());
        }
        let go = |wire: &mut Wire, sample: &Sample, edits: &[_], loses: Option<(bool, u8)>| {
            for (way, bytes) in sample.parts {
                wire.send_cut(*way, &spoil(bytes, edits), &mut || size);
                if let Some((to_server, count)) = loses {
                    wire.lose(direction(to_server), u64::from(count));
                }
            }
        };
        let mut wire = Wire::new(protocol, sample.transport);
        go(&mut wire, sample, &edits, loses);
        for _ in 0..2 {
            go(&mut wire, sample, &[], None);
        }
        let Some(past) = wire.past() else {
            return Ok(());
        };
        let (begun, before, broken) = (wire.offsets(), wire.told.len(), wire.malformed.len());
        let mut resumed = Wire::resumed(protocol, sample.transport, past);
        for wire in [&mut wire, &mut resumed] {
            // It goes on with a request; a loss before any would tell that it was resumed.
            go(wire, sample, &[], None);
            go(wire, next, &changes, loses_then);
            go(wire, sample, &[], None);
            wire.close();
        }
        let told = wire.told_since(before, begun);
        prop_assert_eq!(told, resumed.told_since(0, [0; 2]), "{}", protocol.name());
        prop_assert_eq!(&wire.malformed[broken..], &resumed.malformed[..]);
        prop_assert_eq!(wire.opaque, resumed.opaque);
    }

    #[test]
    fn any_split_gives_the_same_messages(sizes in prop::collection::vec(1..60_usize, 1..20)) {
        for (protocol, sample) in samples() {
            let whole = drive(protocol, sample.transport, sample.parts, &mut || usize::MAX).told;
            let mut lengths = sizes.iter().copied().cycle();
            let cut = drive(protocol, sample.transport, sample.parts, &mut || lengths.next().unwrap());
            prop_assert_eq!(cut.told, whole, "{}", protocol.name());
        }
    }
}
