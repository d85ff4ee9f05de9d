//! IP, TCP and UDP headers whose lengths are odd, wrong, zero or cut.

use super::*;

const RAW: LinkType = LinkType::RAW;

/// A frame of which only the first bytes were captured.
fn cut<'a>(link: LinkType, data: &'a [u8], captured: usize) -> Frame<'a> {
    Frame {
        data: &data[..captured],
        ..frame(link, data)
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let data = ethernet(0x0800, &ipv4(6, &tcp(b"")));
    let padded = join(&[&data, &[0; 6]]);
    decodes_to(LinkType::ETHERNET, &padded, segment(b""));
}

#[test]
fn ipv4_options_are_skipped() {
    let total = 20 + 8 + 20 + 2;
    let data = ipv4_with(total, 0, 6, &[1; 8], &tcp(b"hi"));
    decodes_to(RAW, &data, segment(b"hi"));
}

#[test]
fn tcp_options_are_skipped() {
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let data = ethernet(0x0800, &ipv4(6, &tcp_with(&options, b"hi")));
    decodes_to(LinkType::ETHERNET, &data, segment(b"hi"));
}

#[test]
fn ipv4_total_length_zero_means_the_frames() {
    let payload = [b'x'; 3000];
    let data = ethernet(0x0800, &ipv4_with(0, 0, 6, &[], &tcp(&payload)));
    decodes_to(LinkType::ETHERNET, &data, segment(&payload));
}

#[test]
fn ipv6_length_zero_means_the_frames() {
    let payload = vec![b'x'; 70_000];
    let data = ipv6_with(0, 6, &tcp(&payload));
    decodes_to(RAW, &data, segment6(&payload));
}

#[test]
fn jumbo_payload_option() {
    let payload = vec![b'x'; 70_000];
    let segment = tcp(&payload);
    let length = 8 + segment.len() as u32;
    let options = join(&[&[6, 0, 0xc2, 4], &length.to_be_bytes()]);
    let data = join(&[&ipv6_with(0, 0, &options), &segment, b"padding"]);
    decodes_to(RAW, &data, segment6(&payload));
    // RFC 2675, section 3: one that fits into 16 bits is an error.
    let options = join(&[&[6, 0, 0xc2, 4], &60u32.to_be_bytes()]);
    let data = join(&[&ipv6_with(0, 0, &options), &tcp(b"x")]);
    ends_as(RAW, &data, Decoded::Malformed);
}

#[test]
fn udp_jumbogram() {
    let payload = vec![b'x'; 70_000];
    let data = ipv6_with(0, 17, &udp_claiming(5, 53, 0, &payload));
    let expected = Packet {
        addresses: segment6(b"").addresses,
        ip_id: None,
        ..datagram(5, 53, &payload)
    };
    decodes_to(RAW, &data, expected);
}

/// As Linux hands it over with BIG TCP: three lengths that do not fit, all 0.
#[test]
fn a_tunnel_around_an_uncut_segment() {
    let payload = vec![b'x'; 80_000];
    let inside = ethernet(0x86dd, &ipv6_with(0, 6, &tcp(&payload)));
    let vxlan = join(&[&[8, 0, 0, 0, 0, 0, 1, 0], &inside]);
    let data = ipv4_with(0, 0, 17, &[], &udp_claiming(40000, 4789, 0, &vxlan));
    decodes_to(RAW, &data, segment6(&payload));
}

#[test]
fn extension_headers_are_walked() {
    let inside = join(&[
        // Hop by hop: router alert, padding.
        &[43, 0, 5, 2, 0, 0, 1, 0],
        // Routing, type 4, no segment left, 24 bytes.
        &[60, 2, 4, 0, 0, 0, 0, 0],
        &[0; 16],
        // Destination options: padding.
        &[51, 0, 1, 4, 0, 0, 0, 0],
        // Authentication, 24 bytes.
        &[6, 4, 0, 0],
        &[7; 20],
        &tcp(b"hello"),
    ]);
    decodes_to(RAW, &ipv6(0, &inside), segment6(b"hello"));
}

#[test]
fn authentication_stands_in_ipv4_too() {
    let inside = join(&[&[6, 4, 0, 0], &[7; 20], &tcp(b"hello")]);
    decodes_to(RAW, &ipv4(51, &inside), segment(b"hello"));
    let impossible = join(&[&[6, 0, 0, 0], &[7; 20], &tcp(b"hello")]);
    ends_as(RAW, &ipv4(51, &impossible), Decoded::Malformed);
}

#[test]
fn options_for_every_hop_stand_first_or_nowhere() {
    let inside = join(&[
        &[0, 0, 1, 4, 0, 0, 0, 0],
        &[6, 0, 1, 4, 0, 0, 0, 0],
        &tcp(b"x"),
    ]);
    ends_as(RAW, &ipv6(60, &inside), Decoded::Malformed);
}

#[test]
fn other_protocols_are_other() {
    for protocol in [1, 2, 50, 132] {
        ends_as(RAW, &ipv4(protocol, &[0; 40]), Decoded::Other);
    }
    for protocol in [50, 58, 59] {
        ends_as(RAW, &ipv6(protocol, &[0; 40]), Decoded::Other);
    }
    // IPv6's own headers mean nothing in IPv4.
    ends_as(RAW, &ipv4(60, &[6, 0, 1, 4, 0, 0, 0, 0]), Decoded::Other);
}

#[test]
fn a_cut_payload_keeps_its_length() {
    let data = ethernet(0x0800, &ipv4(6, &tcp(b"0123456789")));
    let frame = cut(LinkType::ETHERNET, &data, 54 + 4);
    let expected = Packet {
        payload_len: 10,
        ..segment(b"0123")
    };
    assert_eq!(Decoder::new().decode(&frame), Decoded::Packet(expected));

    let data = ipv6(17, &udp(5, 53, b"0123456789"));
    let frame = cut(RAW, &data, 48 + 4);
    let expected = Packet {
        addresses: segment6(b"").addresses,
        ip_id: None,
        payload_len: 10,
        ..datagram(5, 53, b"0123")
    };
    assert_eq!(Decoder::new().decode(&frame), Decoded::Packet(expected));
}

#[test]
fn a_length_that_the_frame_cannot_hold_is_limited_by_it() {
    for link in [LinkType::ETHERNET, LinkType::RAW] {
        let inside = ipv4_with(1500, 0, 6, &[], &tcp(b"0123"));
        let data = if link == RAW {
            inside
        } else {
            ethernet(0x0800, &inside)
        };
        decodes_to(link, &data, segment(b"0123"));
    }
    // Rewritten by a tool that forgot the original length: no contradiction inside IP.
    let inside = udp_claiming(5, 53, 100, b"0123");
    let data = ipv4_with(120, 0, 17, &[], &inside);
    decodes_to(RAW, &data, datagram(5, 53, b"0123"));
}

#[test]
fn a_wire_length_below_the_captured_one_is_raised() {
    let data = ethernet(0x0800, &ipv4(6, &tcp(b"0123")));
    let frame = Frame {
        wire_len: 5,
        ..frame(LinkType::ETHERNET, &data)
    };
    let expected = Decoded::Packet(segment(b"0123"));
    assert_eq!(Decoder::new().decode(&frame), expected);
}

#[test]
fn headers_that_contradict_themselves_are_malformed() {
    let malformed = [
        // An IPv4 header shorter than it can be, and longer than the packet.
        join(&[&[0x44], &ipv4(6, &tcp(b""))[1..]]),
        ipv4_with(16, 0, 6, &[], &tcp(b"")),
        // A packet too short for TCP's header, and for the length in it.
        ipv4_with(39, 0, 6, &[], &tcp(b"")),
        ipv4(6, &{
            let mut segment = tcp(b"");
            segment[12] = 0x40;
            segment
        }),
        ipv4(6, &{
            let mut segment = tcp(b"");
            segment[12] = 0x60;
            segment
        }),
        // UDP lengths: shorter than the header, none, longer than the packet.
        ipv4(17, &udp_claiming(5, 53, 7, b"hello")),
        ipv4(17, &udp_claiming(5, 53, 0, b"hello")),
        ipv4(17, &udp_claiming(5, 53, 14, b"hello")),
        ipv6(17, &udp_claiming(5, 53, 14, b"hello")),
    ];
    for data in malformed {
        ends_as(RAW, &data, Decoded::Malformed);
        ends_as(
            LinkType::ETHERNET,
            &ethernet(0x0800, &data),
            Decoded::Malformed,
        );
    }
}

#[test]
fn udp_may_be_shorter_than_its_packet() {
    let data = ipv4(17, &udp_claiming(5, 53, 10, b"hello"));
    decodes_to(RAW, &data, datagram(5, 53, b"he"));
}

#[test]
fn cut_and_impossible_are_told_apart() {
    let data = ethernet(0x0800, &ipv4(6, &tcp_with(&[1; 12], b"hello")));
    let header = 14 + 20 + 32;
    for captured in 0..header {
        let frame = cut(LinkType::ETHERNET, &data, captured);
        assert_eq!(Decoder::new().decode(&frame), Decoded::Truncated);
    }
    // The same bytes where nothing says that there were more: only what IP claims is cut.
    for captured in 0..header {
        let end = if captured < 34 {
            Decoded::Malformed
        } else {
            Decoded::Truncated
        };
        ends_as(LinkType::ETHERNET, &data[..captured], end);
    }
}
