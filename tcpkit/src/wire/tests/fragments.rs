//! Datagrams in fragments: every order, copies, contradictions, loss, and the bounds.

use std::time::Duration;

use super::*;
use crate::limits;
use crate::wire::{Joined, Kept};

const RAW: LinkType = LinkType::RAW;
const MORE: u16 = 0x2000;

fn at(data: &[u8], number: u64, time: Duration) -> Frame<'_> {
    Frame {
        number,
        time: Timestamp(time.as_nanos() as u64),
        ..frame(RAW, data)
    }
}

/// Cuts an IPv4 payload into fragments of `size` bytes.
fn fragments4(protocol: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let make = |(index, part): (usize, &[u8])| {
        let more = if index + 1 < count { MORE } else { 0 };
        let place = more | (index * size / 8) as u16;
        ipv4_with(20 + part.len() as u16, place, protocol, &[], part)
    };
    payload.chunks(size).enumerate().map(make).collect()
}

/// The same for IPv6, with the identification 0xaabb1234.
fn fragments6(next: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let make = |(index, part): (usize, &[u8])| {
        let place = (index * size) as u16 | u16::from(index + 1 < count);
        ipv6(44, &fragment6(next, place, part))
    };
    payload.chunks(size).enumerate().map(make).collect()
}

fn fragment6(next: u8, place: u16, part: &[u8]) -> Vec<u8> {
    let id = [0xaa, 0xbb, 0x12, 0x34];
    join(&[&[next, 0], &place.to_be_bytes(), &id, part])
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| index as u8).collect()
}

/// Decodes all; the last must complete the datagram, the others must not.
#[track_caller]
fn completes(frames: &[Vec<u8>], expected: Packet<'_>) {
    let mut decoder = Decoder::new();
    let last = frames.len() - 1;
    for data in &frames[..last] {
        assert_eq!(decoder.decode(&frame(RAW, data)), Decoded::Fragment);
    }
    let decoded = decoder.decode(&frame(RAW, &frames[last]));
    assert_eq!(decoded, Decoded::Packet(expected));
    assert_eq!(decoder.fragments_waiting(), 0);
    assert_eq!(decoder.fragments_lost(), 0);
}

#[test]
fn ipv4_in_any_order() {
    let payload = text(100);
    let parts = fragments4(17, &udp(5, 53, &payload), 48);
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let frames = order.map(|index| parts[index].clone());
        completes(&frames, datagram(5, 53, &payload));
    }
}

#[test]
fn ipv6_in_any_order() {
    let payload = text(100);
    let parts = fragments6(6, &tcp(&payload), 40);
    let expected = Packet {
        ip_id: Some(0x1234),
        ..segment6(&payload)
    };
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let frames = order.map(|index| parts[index].clone());
        completes(&frames, expected);
    }
}

#[test]
fn frame_number_and_time_are_those_of_the_completing_fragment() {
    let parts = fragments4(17, &udp(5, 53, &text(50)), 32);
    let mut decoder = Decoder::new();
    let second = Duration::from_secs(1);
    decoder.decode(&at(&parts[0], 10, second));
    let frame = at(&parts[1], 12, 2 * second);
    let Decoded::Packet(packet) = decoder.decode(&frame) else {
        panic!("no packet");
    };
    assert_eq!((packet.frame, packet.time), (12, frame.time));
}

#[test]
fn an_ipv6_fragment_that_is_all_is_no_fragment() {
    let data = ipv6(44, &fragment6(6, 0, &tcp(b"whole")));
    let expected = Packet {
        ip_id: Some(0x1234),
        ..segment6(b"whole")
    };
    decodes_to(RAW, &data, expected);
}

#[test]
fn extension_headers_may_stand_in_the_fragmented_part() {
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    let payload = text(64);
    let parts = fragments6(60, &join(&[&options, &tcp(&payload)]), 48);
    let expected = Packet {
        ip_id: Some(0x1234),
        ..segment6(&payload)
    };
    completes(&parts, expected);
}

#[test]
fn copies_are_dropped_also_late_ones() {
    let payload = text(50);
    let parts = fragments4(17, &udp(5, 53, &payload), 32);
    let mut decoder = Decoder::new();
    for index in [0, 0] {
        let decoded = decoder.decode(&frame(RAW, &parts[index]));
        assert_eq!(decoded, Decoded::Fragment);
    }
    let decoded = decoder.decode(&frame(RAW, &parts[1]));
    assert_eq!(decoded, Decoded::Packet(datagram(5, 53, &payload)));
    for index in [0, 1] {
        let decoded = decoder.decode(&frame(RAW, &parts[index]));
        assert_eq!(decoded, Decoded::Fragment);
    }
    assert_eq!(
        (decoder.fragments_lost(), decoder.fragments_waiting()),
        (0, 0)
    );
}

#[test]
fn an_identification_may_be_used_again_soon() {
    let mut decoder = Decoder::new();
    for round in 0..3u8 {
        let payload = [round; 50];
        let parts = fragments4(17, &udp(5, 53, &payload), 32);
        let now = Duration::from_millis(20 * u64::from(round));
        decoder.decode(&at(&parts[0], 1, now));
        let frame = at(&parts[1], 2, now);
        let Decoded::Packet(packet) = decoder.decode(&frame) else {
            panic!("round {round} made no packet");
        };
        assert_eq!(packet.payload, payload);
    }
}

#[test]
fn other_interfaces_and_protocols_are_other_datagrams() {
    let parts = fragments4(17, &udp(5, 53, &text(50)), 32);
    let foreign = fragments4(6, &tcp(&text(50)), 32);
    let mut decoder = Decoder::new();
    let elsewhere = Frame {
        interface: 4,
        ..frame(RAW, &parts[1])
    };
    assert_eq!(decoder.decode(&frame(RAW, &parts[0])), Decoded::Fragment);
    assert_eq!(decoder.decode(&elsewhere), Decoded::Fragment);
    assert_eq!(decoder.decode(&frame(RAW, &foreign[1])), Decoded::Fragment);
    assert_eq!(decoder.fragments_waiting(), 3);
}

/// RFC 5722: the whole datagram is dropped, fragments not yet seen included.
#[test]
fn overlaps_make_an_ipv6_datagram_worthless() {
    let datagram = udp(5, 53, &text(72));
    let make = |start: usize, end: usize, more: u16| {
        ipv6(
            44,
            &fragment6(17, start as u16 | more, &datagram[start..end]),
        )
    };
    for overlapping in [make(24, 48, 1), make(8, 24, 1), make(0, 40, 1)] {
        let last = make(32, 80, 0);
        let mut decoder = Decoder::new();
        for data in [&make(0, 32, 1), &overlapping, &last, &last] {
            assert_eq!(decoder.decode(&frame(RAW, data)), Decoded::Fragment);
        }
        assert_eq!(decoder.fragments_lost(), 1);
        assert_eq!(decoder.fragments_waiting(), 0);
    }
}

/// As RFC 791 leaves it open; what was seen first stays.
#[test]
fn overlaps_fill_the_holes_of_an_ipv4_datagram() {
    let original = udp(5, 53, &text(88));
    let changed: Vec<u8> = original.iter().map(|byte| !byte).collect();
    let make = |bytes: &[u8], start: usize, end: usize| {
        let more = if end == bytes.len() { 0 } else { MORE };
        let place = more | (start / 8) as u16;
        ipv4_with(
            20 + (end - start) as u16,
            place,
            17,
            &[],
            &bytes[start..end],
        )
    };
    let frames = [
        make(&original, 0, 24),
        make(&original, 32, 48),
        // Inside what is there; over all of it and the hole.
        make(&changed, 8, 16),
        make(&changed, 16, 64),
        make(&changed, 56, 96),
    ];
    let mut expected = changed.clone();
    expected[..24].copy_from_slice(&original[..24]);
    expected[32..48].copy_from_slice(&original[32..48]);
    completes(&frames, datagram(5, 53, &expected[8..]));
}

#[test]
fn ends_that_disagree_make_a_datagram_worthless() {
    let make = |start: u16, length: usize, more: u16| {
        ipv4_with(
            20 + length as u16,
            more | (start / 8),
            17,
            &[],
            &text(length),
        )
    };
    for frames in [
        [make(64, 16, 0), make(80, 16, 0)],
        [make(64, 16, 0), make(80, 16, MORE)],
        [make(80, 16, MORE), make(64, 16, 0)],
    ] {
        let mut decoder = Decoder::new();
        for data in &frames {
            assert_eq!(decoder.decode(&frame(RAW, data)), Decoded::Fragment);
        }
        assert_eq!(decoder.fragments_lost(), 1);
    }
}

#[test]
fn impossible_fragments_are_malformed() {
    let length = |total: u16, place: u16| ipv4_with(total, place, 17, &[], &text(40));
    // Not a multiple of eight; beyond the largest datagram; nothing in it.
    for data in [length(20 + 39, MORE), length(60, 0x1fff), length(20, 3)] {
        ends_as(RAW, &data, Decoded::Malformed);
    }
}

#[test]
fn the_largest_datagram_fits_and_no_larger() {
    let payload = text(65_535 - 8 - 20);
    let parts = fragments4(17, &udp(5, 53, &payload), 1480);
    completes(&parts, datagram(5, 53, &payload));
}

#[test]
fn a_fragment_that_was_cut_ends_the_payload() {
    let payload = text(100);
    let parts = fragments4(17, &udp(5, 53, &payload), 48);
    for cut in [0, 1, 2] {
        let mut decoder = Decoder::new();
        for (index, data) in parts.iter().enumerate() {
            let captured = if index == cut { 20 + 10 } else { data.len() };
            let frame = Frame {
                data: &data[..captured],
                ..frame(RAW, data)
            };
            let decoded = decoder.decode(&frame);
            if index < 2 {
                assert_eq!(decoded, Decoded::Fragment);
                continue;
            }
            let expected = Packet {
                payload_len: 100,
                ..datagram(5, 53, &payload[..48 * cut + 10 - 8])
            };
            assert_eq!(decoded, Decoded::Packet(expected));
        }
    }
}

#[test]
fn the_first_of_several_cuts_counts() {
    let payload = text(100);
    let parts = fragments4(17, &udp(5, 53, &payload), 48);
    let mut decoder = Decoder::new();
    let cut = |index: usize, captured: usize| Frame {
        data: &parts[index][..captured],
        ..frame(RAW, &parts[index])
    };
    decoder.decode(&cut(2, 20 + 4));
    decoder.decode(&cut(1, 20 + 8));
    let expected = Packet {
        payload_len: 100,
        ..datagram(5, 53, &payload[..48])
    };
    let decoded = decoder.decode(&cut(0, 20 + 48));
    assert_eq!(decoded, Decoded::Packet(expected));
}

#[test]
fn a_header_that_was_cut_is_truncated() {
    let parts = fragments4(6, &tcp(&text(30)), 32);
    let first = Frame {
        data: &parts[0][..20 + 12],
        ..frame(RAW, &parts[0])
    };
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&first), Decoded::Fragment);
    let decoded = decoder.decode(&frame(RAW, &parts[1]));
    assert_eq!(decoded, Decoded::Truncated);
}

#[test]
fn what_is_never_completed_is_given_up_in_time() {
    let parts = fragments4(17, &udp(5, 53, &text(50)), 32);
    let start = Duration::from_secs(100);
    let mut decoder = Decoder::new();
    decoder.decode(&at(&parts[0], 1, start));
    let late = start + limits::FRAGMENT_TIME + Duration::from_nanos(1);
    assert_eq!(decoder.decode(&at(&parts[1], 2, late)), Decoded::Fragment);
    assert_eq!(decoder.fragments_lost(), 1);
    assert_eq!(decoder.fragments_waiting(), 1);
}

#[test]
fn the_table_is_bounded_and_its_losses_counted() {
    let mut decoder = Decoder::new();
    let mut data = ipv4_with(20 + 8, MORE, 17, &[], &text(8));
    for id in 0..1000u16 {
        data[4..6].copy_from_slice(&id.to_be_bytes());
        assert_eq!(decoder.decode(&frame(RAW, &data)), Decoded::Fragment);
    }
    let bound = limits::FRAGMENTED_DATAGRAMS;
    assert_eq!(decoder.fragments_waiting(), bound);
    assert_eq!(decoder.fragments_lost(), 1000 - bound as u64);
}

#[test]
fn settled_datagrams_make_room_before_waiting_ones() {
    let mut parts = fragments4(17, &udp(5, 53, &text(50)), 32);
    let mut decoder = Decoder::new();
    let waiting = ipv4_with(20 + 8, MORE, 6, &[], &text(8));
    decoder.decode(&frame(RAW, &waiting));
    for id in 0..1000u16 {
        for data in &mut parts {
            data[4..6].copy_from_slice(&id.to_be_bytes());
        }
        decoder.decode(&frame(RAW, &parts[0]));
        let decoded = decoder.decode(&frame(RAW, &parts[1]));
        assert!(matches!(decoded, Decoded::Packet(_)));
    }
    assert_eq!(
        (decoder.fragments_lost(), decoder.fragments_waiting()),
        (0, 1)
    );
}

#[test]
fn a_datagram_in_too_many_fragments_is_given_up() {
    let mut decoder = Decoder::new();
    for data in fragments4(17, &udp(5, 53, &text(4000)), 8) {
        assert_eq!(decoder.decode(&frame(RAW, &data)), Decoded::Fragment);
    }
    assert_eq!(decoder.fragments_lost(), 1);
}

#[test]
fn fragments_in_a_tunnel_and_a_tunnel_in_fragments() {
    let payload = text(400);
    let vxlan = |inside: &[u8]| {
        let head = [8, 0, 0, 0, 0, 0, 42, 0];
        udp(40000, 4789, &join(&[&head, &ethernet(0x0800, inside)]))
    };
    let inner = fragments4(17, &udp(5, 53, &payload), 200);
    let inside: Vec<_> = inner.iter().map(|part| ipv4(17, &vxlan(part))).collect();
    completes(&inside, datagram(5, 53, &payload));

    let outside = fragments4(17, &vxlan(&ipv4(6, &tcp(&payload))), 200);
    completes(&outside, segment(&payload));

    // Both, the outer ones told apart by their identification.
    let mut both = Vec::new();
    for (id, part) in (1u16..).zip(&inner) {
        for mut data in fragments4(17, &vxlan(part), 104) {
            data[4..6].copy_from_slice(&id.to_be_bytes());
            both.push(data);
        }
    }
    completes(&both, datagram(5, 53, &payload));
}

#[test]
fn frames_of_fragments_are_kept_where_they_are_asked_for() {
    let payload = text(100);
    let parts = fragments4(17, &udp(5, 53, &payload), 48);
    let mut decoder = Decoder::keeping_frames();
    // A copy brings nothing, so it is not kept.
    for (number, part) in [(1, 2), (2, 0), (3, 0)] {
        let decoded = decoder.decode_joined(&at(&parts[part], number, Duration::ZERO));
        assert_eq!(decoded, (Decoded::Fragment, Joined::default()));
    }
    let last = at(&parts[1], 4, Duration::ZERO);
    let (decoded, joined) = decoder.decode_joined(&last);
    assert!(matches!(decoded, Decoded::Packet(_)));
    assert_eq!(joined.begun.map(|(_, frame)| frame), Some(2));
    let kept: Vec<_> = joined.frames.iter().map(Kept::frame).collect();
    assert_eq!(
        kept.iter().map(|kept| kept.number).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!((kept[0].data, kept[1].data), (&parts[2][..], &parts[0][..]));
    // The next datagram has none of them.
    let other = frame(RAW, &parts[1]);
    assert_eq!(decoder.decode_joined(&other).1, Joined::default());
}

#[test]
fn frames_of_fragments_are_kept_within_a_bound() {
    let mut decoder = Decoder::keeping_frames();
    let part = vec![7; 60_000];
    for id in 0..2000u16 {
        let mut data = ipv4_with(60_020, MORE, 17, &[], &part);
        data[4..6].copy_from_slice(&id.to_be_bytes());
        let _ = decoder.decode(&at(&data, u64::from(id), Duration::ZERO));
        assert!(decoder.fragments.frame_bytes() <= limits::FRAGMENT_FRAMES_BYTES + 61_000);
    }
}
