//! Tunnels, and what only looks like one.

use super::*;

const RAW: LinkType = LinkType::RAW;
const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 42, 0];

fn inner() -> Vec<u8> {
    ethernet(0x0800, &ipv4(6, &tcp(b"inside")))
}

fn gre(flags: u8, protocol: u16, optional: &[u8], inside: &[u8]) -> Vec<u8> {
    let head = [flags, 0];
    ipv4(
        47,
        &join(&[&head, &protocol.to_be_bytes(), optional, inside]),
    )
}

#[test]
fn vxlan_on_both_its_ports() {
    for port in [4789, 8472] {
        let data = ipv4(17, &udp(40000, port, &join(&[&VXLAN, &inner()])));
        decodes_to(RAW, &data, segment(b"inside"));
        let data = ethernet(0x0800, &data);
        decodes_to(LinkType::ETHERNET, &data, segment(b"inside"));
    }
}

#[test]
fn geneve_with_options() {
    let head = [0x02, 0, 0x65, 0x58, 0, 0, 42, 0];
    let options = [1, 2, 3, 0, 0, 0, 0, 0];
    let inside = join(&[&head, &options, &inner()]);
    decodes_to(
        RAW,
        &ipv4(17, &udp(40000, 6081, &inside)),
        segment(b"inside"),
    );
    let head = [0, 0, 0x08, 0, 0, 0, 42, 0];
    let inside = join(&[&head, &ipv4(6, &tcp(b"inside"))]);
    decodes_to(
        RAW,
        &ipv4(17, &udp(40000, 6081, &inside)),
        segment(b"inside"),
    );
}

#[test]
fn reserved_bits_are_ignored_and_needed_ones_are_not() {
    let vxlan = join(&[&[0x88, 0x40, 0, 5, 0, 0, 42, 7], &inner()]);
    decodes_to(
        RAW,
        &ipv4(17, &udp(40000, 4789, &vxlan)),
        segment(b"inside"),
    );
    let geneve = join(&[&[0, 0x3f, 0x65, 0x58, 0, 0, 42, 7], &inner()]);
    decodes_to(
        RAW,
        &ipv4(17, &udp(40000, 6081, &geneve)),
        segment(b"inside"),
    );

    let no_identifier = join(&[&[0x80, 0, 0, 0, 0, 0, 42, 0], &inner()]);
    let expected = datagram(40000, 4789, &no_identifier);
    decodes_to(RAW, &ipv4(17, &udp(40000, 4789, &no_identifier)), expected);
    let version_1 = join(&[&[0x40, 0, 0x65, 0x58, 0, 0, 42, 0], &inner()]);
    let expected = datagram(40000, 6081, &version_1);
    decodes_to(RAW, &ipv4(17, &udp(40000, 6081, &version_1)), expected);
}

#[test]
fn a_datagram_that_only_uses_the_port_is_a_datagram() {
    let dns = [
        0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 3, b'w', b'w', b'w',
    ];
    let like = join(&[&VXLAN, &dns]);
    let arp = join(&[&VXLAN, &ethernet(0x0806, &[0; 28])]);
    for payload in [&b""[..], b"x", &dns, &like, &arp] {
        for port in [4789, 8472, 6081] {
            let data = ipv4(17, &udp(53, port, payload));
            decodes_to(RAW, &data, datagram(53, port, payload));
        }
    }
}

#[test]
fn a_tunnel_that_held_ip_is_believed() {
    let echo = join(&[&VXLAN, &ethernet(0x0800, &ipv4(1, &[8, 0, 0, 0]))]);
    ends_as(RAW, &ipv4(17, &udp(40000, 4789, &echo)), Decoded::Other);
    let data = ipv4(17, &udp(40000, 4789, &join(&[&VXLAN, &inner()])));
    let cut = Frame {
        data: &data[..28 + 8 + 14 + 20 + 10],
        ..frame(RAW, &data)
    };
    assert_eq!(Decoder::new().decode(&cut), Decoded::Truncated);
}

#[test]
fn gre_with_every_optional_field() {
    let inside = ipv4(6, &tcp(b"inside"));
    decodes_to(RAW, &gre(0, 0x0800, &[], &inside), segment(b"inside"));
    for (flags, length) in [(0x80, 4), (0x20, 4), (0x10, 4), (0xa0, 8), (0xb0, 12)] {
        let data = gre(flags, 0x0800, &[9; 12][..length], &inside);
        decodes_to(RAW, &data, segment(b"inside"));
    }
    let data = gre(0x20, 0x86dd, &[9; 4], &ipv6(6, &tcp(b"inside")));
    decodes_to(RAW, &data, segment6(b"inside"));
    decodes_to(RAW, &gre(0, 0x6558, &[], &inner()), segment(b"inside"));
}

#[test]
fn gre_of_another_kind_is_other() {
    let inside = ipv4(6, &tcp(b"inside"));
    ends_as(RAW, &gre(0x40, 0x0800, &[], &inside), Decoded::Other);
    ends_as(RAW, &gre(0, 0x88be, &[], &inside), Decoded::Other);
    let version_1 = ipv4(47, &join(&[&[0x20, 1, 0x88, 0x0b], &inside]));
    ends_as(RAW, &version_1, Decoded::Other);
}

#[test]
fn ip_in_ip_in_every_mix() {
    let four = ipv4(6, &tcp(b"inside"));
    let six = ipv6(6, &tcp(b"inside"));
    decodes_to(RAW, &ipv4(4, &four), segment(b"inside"));
    decodes_to(RAW, &ipv4(41, &six), segment6(b"inside"));
    decodes_to(RAW, &ipv6(4, &four), segment(b"inside"));
    decodes_to(RAW, &ipv6(41, &six), segment6(b"inside"));
}

#[test]
fn tunnels_nest_up_to_a_bound() {
    let nested = |depth: usize| (0..depth).fold(ipv4(6, &tcp(b"x")), |inside, _| ipv4(4, &inside));
    decodes_to(RAW, &nested(8), segment(b"x"));
    ends_as(RAW, &nested(200), Decoded::Other);
}

#[test]
fn the_innermost_datagram_stands_for_what_is_no_tunnel() {
    let fake = ipv4(17, &udp(9, 4789, b"no tunnel"));
    let inside = join(&[&VXLAN, &ethernet(0x0800, &fake)]);
    let data = ipv4(17, &udp(40000, 4789, &inside));
    decodes_to(RAW, &data, datagram(9, 4789, b"no tunnel"));
}
