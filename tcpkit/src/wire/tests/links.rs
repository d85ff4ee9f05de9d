//! Every link layer, byte by byte as its specification draws it.

use super::*;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn packet4() -> Vec<u8> {
    ipv4(6, &tcp(b"PING\r\n"))
}

fn packet6() -> Vec<u8> {
    ipv6(6, &tcp(b"PING\r\n"))
}

#[test]
fn ethernet_carries_both_versions() {
    decodes_to(
        LinkType::ETHERNET,
        &ethernet(IPV4, &packet4()),
        segment(b"PING\r\n"),
    );
    decodes_to(
        LinkType::ETHERNET,
        &ethernet(IPV6, &packet6()),
        segment6(b"PING\r\n"),
    );
}

#[test]
fn what_is_no_ip_is_other() {
    let arp = ethernet(0x0806, &[0; 28]);
    ends_as(LinkType::ETHERNET, &arp, Decoded::Other);
    let spanning_tree = ethernet(38, &[0x42; 46]);
    ends_as(LinkType::ETHERNET, &spanning_tree, Decoded::Other);
    // Neither a length nor a type.
    ends_as(
        LinkType::ETHERNET,
        &ethernet(1501, &packet4()),
        Decoded::Other,
    );
}

#[test]
fn snap_and_its_bridged_form() {
    for organisation in [0x00, 0xf8] {
        let llc = [0xaa, 0xaa, 3, 0, 0, organisation, 8, 0];
        let inside = join(&[&llc, &packet4()]);
        let padded = join(&[&ethernet(inside.len() as u16, &inside), &[0; 9]]);
        decodes_to(LinkType::ETHERNET, &padded, segment(b"PING\r\n"));
    }
    let apple = join(&[&[0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b], &packet4()]);
    let data = ethernet(apple.len() as u16, &apple);
    ends_as(LinkType::ETHERNET, &data, Decoded::Other);
}

#[test]
fn ip_has_a_service_access_point_of_its_own() {
    let inside = join(&[&[6, 6, 3], &packet4()]);
    let data = ethernet(inside.len() as u16, &inside);
    decodes_to(LinkType::ETHERNET, &data, segment(b"PING\r\n"));
}

#[test]
fn vlan_tags_one_and_two() {
    let tagged = join(&[&[0x20, 5, 8, 0], &packet4()]);
    for outer in [0x8100, 0x88a8, 0x9100] {
        let data = ethernet(outer, &tagged);
        decodes_to(LinkType::ETHERNET, &data, segment(b"PING\r\n"));
        let twice = ethernet(outer, &join(&[&[0, 9, 0x81, 0], &tagged]));
        decodes_to(LinkType::ETHERNET, &twice, segment(b"PING\r\n"));
    }
}

#[test]
fn a_length_inside_a_vlan_tag_is_a_length() {
    let inside = join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &packet4()]);
    let tag = join(&[&[0, 5], &(inside.len() as u16).to_be_bytes(), &inside]);
    let data = ethernet(0x8100, &tag);
    decodes_to(LinkType::ETHERNET, &data, segment(b"PING\r\n"));
}

#[test]
fn cooked_version_1() {
    let head = |hardware: u16, protocol: u16| {
        join(&[
            &[0, 4],
            &hardware.to_be_bytes(),
            &[0, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            &protocol.to_be_bytes(),
        ])
    };
    let data = join(&[&head(1, IPV4), &packet4()]);
    decodes_to(LinkType::LINUX_SLL, &data, segment(b"PING\r\n"));
    let data = join(&[&head(1, 0x8100), &[0, 5, 0x86, 0xdd], &packet6()]);
    decodes_to(LinkType::LINUX_SLL, &data, segment6(b"PING\r\n"));
    let llc = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let data = join(&[&head(1, 4), &llc, &packet4()]);
    decodes_to(LinkType::LINUX_SLL, &data, segment(b"PING\r\n"));
    let netlink = join(&[&head(824, IPV4), &packet4()]);
    ends_as(LinkType::LINUX_SLL, &netlink, Decoded::Other);
}

#[test]
fn cooked_version_2_tells_interfaces_apart() {
    let data = |index: u32| {
        join(&[
            &[8, 0, 0, 0],
            &index.to_be_bytes(),
            &[0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            &packet4(),
        ])
    };
    let mut seen = Vec::new();
    for interface in [0, 1] {
        for index in [1, 2, 3, 300] {
            let data = data(index);
            let frame = Frame {
                interface,
                ..frame(LinkType::LINUX_SLL2, &data)
            };
            let mut decoder = Decoder::new();
            let Decoded::Packet(packet) = decoder.decode(&frame) else {
                panic!("no packet");
            };
            let expected = segment(b"PING\r\n");
            assert_eq!(
                Packet {
                    interface: 3,
                    ..packet
                },
                expected
            );
            assert!(!seen.contains(&packet.interface));
            seen.push(packet.interface);
        }
    }
}

#[test]
fn bsd_loopback_in_either_order() {
    for link in [LinkType::NULL, LinkType::LOOP] {
        for family in [[2, 0, 0, 0], [0, 0, 0, 2]] {
            let data = join(&[&family, &packet4()]);
            decodes_to(link, &data, segment(b"PING\r\n"));
        }
        for family in [10, 24, 28, 30] {
            let data = join(&[&[0, 0, 0, family], &packet6()]);
            decodes_to(link, &data, segment6(b"PING\r\n"));
            let data = join(&[&[family, 0, 0, 0], &packet6()]);
            decodes_to(link, &data, segment6(b"PING\r\n"));
        }
        let osi = join(&[&[7, 0, 0, 0], &packet4()]);
        ends_as(link, &osi, Decoded::Other);
    }
}

#[test]
fn raw_ip_under_all_its_numbers() {
    for link in [12, 14, 101].map(LinkType) {
        decodes_to(link, &packet4(), segment(b"PING\r\n"));
        decodes_to(link, &packet6(), segment6(b"PING\r\n"));
        ends_as(link, &[0x50; 40], Decoded::Malformed);
    }
    decodes_to(LinkType::IPV4, &packet4(), segment(b"PING\r\n"));
    decodes_to(LinkType::IPV6, &packet6(), segment6(b"PING\r\n"));
    ends_as(LinkType::IPV4, &packet6(), Decoded::Malformed);
    ends_as(LinkType::IPV6, &packet4(), Decoded::Malformed);
}

#[test]
fn ppp_with_and_without_framing_and_compression() {
    for link in [LinkType::PPP, LinkType(50)] {
        for head in [
            &[0xff, 3, 0, 0x21][..],
            &[0, 0x21],
            &[0xff, 3, 0x21],
            &[0x21],
        ] {
            let data = join(&[head, &packet4()]);
            decodes_to(link, &data, segment(b"PING\r\n"));
        }
        let data = join(&[&[0xff, 3, 0, 0x57], &packet6()]);
        decodes_to(link, &data, segment6(b"PING\r\n"));
        let control = [0xff, 3, 0xc0, 0x21, 1, 1, 0, 4];
        ends_as(link, &control, Decoded::Other);
    }
}

#[test]
fn cisco_hdlc() {
    for link in [LinkType(50), LinkType(104)] {
        let data = join(&[&[0x0f, 0, 8, 0], &packet4()]);
        decodes_to(link, &data, segment(b"PING\r\n"));
    }
}

#[test]
fn pppoe_in_ethernet_and_alone() {
    let length = packet4().len() as u16 + 2;
    let session = join(&[
        &[0x11, 0, 0x12, 0x34],
        &length.to_be_bytes(),
        &[0, 0x21],
        &packet4(),
    ]);
    let padded = join(&[&ethernet(0x8864, &session), &[0; 5]]);
    decodes_to(LinkType::ETHERNET, &padded, segment(b"PING\r\n"));
    decodes_to(LinkType(51), &session, segment(b"PING\r\n"));
    let discovery = [0x11, 0x09, 0, 0, 0, 0];
    ends_as(LinkType(51), &discovery, Decoded::Other);
    let version_2 = [0x21, 0, 0, 0, 0, 0];
    ends_as(LinkType(51), &version_2, Decoded::Malformed);
}

#[test]
fn mpls_guesses_what_is_inside() {
    let stack = [0, 1, 0, 64, 0, 2, 1, 64];
    for number in [0x8847, 0x8848] {
        let data = ethernet(number, &join(&[&stack, &packet4()]));
        decodes_to(LinkType::ETHERNET, &data, segment(b"PING\r\n"));
        let data = ethernet(number, &join(&[&stack, &packet6()]));
        decodes_to(LinkType::ETHERNET, &data, segment6(b"PING\r\n"));
    }
    let inner = ethernet(IPV4, &packet4());
    let word = [0, 0, 0, 9];
    let worded = ethernet(0x8847, &join(&[&stack, &word, &inner]));
    decodes_to(LinkType::ETHERNET, &worded, segment(b"PING\r\n"));
    let wordless = ethernet(0x8847, &join(&[&stack, &inner]));
    decodes_to(LinkType::ETHERNET, &wordless, segment(b"PING\r\n"));
    let channel = ethernet(0x8847, &join(&[&stack, &[0x10, 0, 0, 7], &[0; 30]]));
    ends_as(LinkType::ETHERNET, &channel, Decoded::Other);
}

#[test]
fn nflog_in_either_order() {
    let size = packet4().len() as u16 + 4;
    let little = join(&[
        &[2, 0, 0, 5],
        &[8, 0, 1, 0, 8, 0, 3, 0],
        // A prefix of 5 bytes and its padding.
        &[9, 0, 10, 0, b'l', b'o', b'g', b':', 0, 0, 0, 0],
        &size.to_le_bytes(),
        &[9, 0],
        &packet4(),
        &[0; 2],
    ]);
    decodes_to(LinkType::NFLOG, &little, segment(b"PING\r\n"));
    let big = join(&[
        &[10, 0, 0, 5],
        &[0, 8, 0, 1, 8, 0, 3, 0],
        &(packet6().len() as u16 + 4).to_be_bytes(),
        &[0, 9],
        &packet6(),
    ]);
    decodes_to(LinkType::NFLOG, &big, segment6(b"PING\r\n"));
    let impossible = [2, 0, 0, 5, 3, 0, 1, 0];
    ends_as(LinkType::NFLOG, &impossible, Decoded::Malformed);
}

#[test]
fn link_types_that_are_not_supported_are_named_so() {
    // IEEE 802.11 plain and with radiotap, USB, IEEE 802.15.4.
    for link in [105, 127, 189, 195].map(LinkType) {
        ends_as(link, &packet4(), Decoded::UnknownLink);
    }
}
