//! Hostile bytes: whatever comes in, no panic, no payload that was not there.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LINKS: [u16; 19] = [
    0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 147, 228, 229, 239, 276, 65_535,
];

/// Frames that reach every layer, to be cut and damaged.
fn corpus() -> Vec<(LinkType, Vec<u8>)> {
    let segment = tcp_with(&[1; 12], b"*1\r\n$4\r\nPING\r\n");
    let four = ipv4(6, &segment);
    let six = ipv6(
        0,
        &join(&[
            &[60, 0, 1, 4, 0, 0, 0, 0],
            &[6, 0, 1, 4, 0, 0, 0, 0],
            &segment,
        ]),
    );
    let fragment = ipv6(
        44,
        &join(&[&[17, 0, 0, 1, 0, 0, 0, 9], &udp(5, 53, &[7; 16])]),
    );
    let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0800, &four)]);
    let geneve = join(&[
        &[1, 0, 0x65, 0x58, 0, 0, 1, 0, 9, 9, 9, 0],
        &ethernet(0x86dd, &six),
    ]);
    let gre = join(&[&[0xb0, 0, 0x08, 0], &[9; 12], &four]);
    let tagged = join(&[&[0, 9, 0x81, 0, 0, 5, 8, 0], &four]);
    let pppoe = join(&[&[0x11, 0, 0, 1, 0, 88, 0, 0x21], &four]);
    let mpls = join(&[
        &[0, 1, 0, 9, 0, 1, 1, 9, 0, 0, 0, 0],
        &ethernet(0x0800, &four),
    ]);
    let snap = join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &four]);
    let nflog = join(&[&[2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 90, 0, 9, 0], &four]);
    let cooked2 = join(&[&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6], &[0; 8], &four]);
    let ether = LinkType::ETHERNET;
    vec![
        (ether, ethernet(0x0800, &four)),
        (ether, ethernet(0x86dd, &six)),
        (ether, ethernet(0x86dd, &fragment)),
        (ether, ethernet(0x0800, &ipv4(17, &udp(5, 4789, &vxlan)))),
        (ether, ethernet(0x86dd, &ipv6(17, &udp(5, 6081, &geneve)))),
        (ether, ethernet(0x0800, &ipv4(47, &gre))),
        (ether, ethernet(0x0800, &ipv4(41, &six))),
        (ether, ethernet(0x88a8, &tagged)),
        (ether, ethernet(0x8864, &pppoe)),
        (ether, ethernet(0x8847, &mpls)),
        (ether, ethernet(snap.len() as u16, &snap)),
        (LinkType::NFLOG, nflog),
        (LinkType::LINUX_SLL2, cooked2),
        (LinkType::RAW, ipv4_with(0, 0, 6, &[1; 8], &segment)),
        (
            LinkType::RAW,
            ipv4_with(44, 0x2000, 17, &[], &udp(5, 53, &[7; 16])),
        ),
    ]
}

/// The payload lies in the frame, and its length on the wire in the wire's.
#[track_caller]
fn is_honest(frame: &Frame<'_>) {
    let mut decoder = Decoder::new();
    let Decoded::Packet(packet) = decoder.decode(frame) else {
        return;
    };
    let on_wire = frame.wire_len.max(frame.data.len() as u32);
    assert!(packet.payload_len >= packet.payload.len() as u32);
    assert!(packet.payload_len <= on_wire);
    let frame = frame.data.as_ptr_range();
    let payload = packet.payload.as_ptr_range();
    assert!(frame.start <= payload.start && payload.end <= frame.end);
}

#[test]
fn every_frame_cut_at_every_byte() {
    for (link, data) in corpus() {
        let mut decoder = Decoder::new();
        let whole = match decoder.decode(&frame(link, &data)) {
            Decoded::Packet(packet) => Some(packet),
            _ => None,
        };
        for captured in 0..data.len() {
            let cut = Frame {
                data: &data[..captured],
                ..frame(link, &data)
            };
            is_honest(&cut);
            is_honest(&frame(link, &data[..captured]));
            if let Decoded::Packet(packet) = Decoder::new().decode(&cut) {
                same_but_cut(&packet, whole.as_ref());
            }
        }
    }
}

/// What a cut frame yields is what the whole one yields, less of the payload; or the datagram
/// around a tunnel whose inside was cut.
#[track_caller]
fn same_but_cut(cut: &Packet<'_>, whole: Option<&Packet<'_>>) {
    let whole = whole.unwrap();
    if cut.transport != whole.transport {
        assert!([4789, 6081].contains(&cut.destination_port));
        return;
    }
    let payload = &whole.payload[..cut.payload.len()];
    assert_eq!(*cut, Packet { payload, ..*whole });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_of_any_link(
        data in vec(any::<u8>(), 0..200),
        more in 0u32..2000,
        link in 0..LINKS.len(),
    ) {
        is_honest(&Frame {
            wire_len: more,
            ..frame(LinkType(LINKS[link]), &data)
        });
    }

    #[test]
    fn damaged_frames(
        which in 0..15usize,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        captured in any::<prop::sample::Index>(),
        wire_len in 0u32..400,
    ) {
        let (link, mut data) = corpus().swap_remove(which);
        for (at, value) in damage {
            let at = at.index(data.len());
            data[at] = value;
        }
        let captured = captured.index(data.len() + 1);
        is_honest(&Frame { wire_len, ..frame(link, &data[..captured]) });
    }

    /// One decoder through a stream of damaged fragments: the table stays within its bound, and
    /// no packet is longer than a datagram can be.
    #[test]
    fn damaged_fragments(
        parts in vec((0u16..3, 0u16..12, any::<bool>(), 0usize..40, 0u32..80, any::<bool>()), 1..400),
    ) {
        let mut decoder = Decoder::new();
        for (id, offset, more, length, wire_len, six) in parts {
            let part = vec![id as u8; length];
            let data = if six {
                let place = offset << 3 | u16::from(more);
                let head = join(&[&[17, 0], &place.to_be_bytes(), &[0, 0], &id.to_be_bytes()]);
                ipv6(44, &join(&[&head, &part]))
            } else {
                let place = offset | if more { 0x2000 } else { 0 };
                let mut data = ipv4_with(20 + length as u16, place, 17, &[], &part);
                data[4..6].copy_from_slice(&id.to_be_bytes());
                data
            };
            let frame = Frame { wire_len, ..frame(LinkType::RAW, &data) };
            if let Decoded::Packet(packet) = decoder.decode(&frame) {
                prop_assert!(packet.payload_len <= 65_535);
                prop_assert!(packet.payload.len() as u32 <= packet.payload_len);
            }
            prop_assert!(decoder.fragments_waiting() <= crate::limits::FRAGMENTED_DATAGRAMS);
        }
    }
}
