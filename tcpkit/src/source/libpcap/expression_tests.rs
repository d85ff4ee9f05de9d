//! Which frames the made filters keep: libpcap's own interpreter says.

#![expect(clippy::unwrap_used, reason = "a test may")]

use super::super::super::filter::Filter;
use super::super::super::{Frame, Timestamp};
use super::*;

fn redis() -> Interest {
    Interest {
        ports: vec![6379..=6379, 7000..=7005],
        tcp: true,
        ..Interest::default()
    }
}

/// IPv4 and TCP without options from 10.0.0.1 to 10.0.0.2.
fn tcp4(to_port: u16, flags: u8, window: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend(((40 + payload) as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    tcp(&mut bytes, to_port, flags, window, payload);
    bytes
}

/// IPv6 and TCP from fd00::1 to fd00::2.
fn tcp6(to_port: u16, flags: u8, window: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(((20 + payload) as u16).to_be_bytes());
    bytes.extend([6, 64]);
    for last in [1, 2] {
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    tcp(&mut bytes, to_port, flags, window, payload);
    bytes
}

fn tcp(bytes: &mut Vec<u8>, to_port: u16, flags: u8, window: u16, payload: usize) {
    bytes.extend(40000u16.to_be_bytes());
    bytes.extend(to_port.to_be_bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags]);
    bytes.extend(window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.resize(bytes.len() + payload, b'x');
}

fn udp4(to_port: u16, fragment: u16) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 36, 0, 1];
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(40000u16.to_be_bytes());
    bytes.extend(to_port.to_be_bytes());
    bytes.extend([0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    for tag in tags {
        bytes.extend([0x81, 0]);
        bytes.extend(tag.to_be_bytes());
    }
    bytes.extend(if packet[0] >> 4 == 6 {
        [0x86, 0xdd]
    } else {
        [8, 0]
    });
    bytes.extend(packet);
    bytes
}

fn keeps(interest: &Interest, packet: &[u8], tags: &[u16]) -> bool {
    let data = ethernet(tags, packet);
    let expression = expression(interest, LinkType::ETHERNET);
    let mut filter = Filter::new(&expression, LinkType::ETHERNET).unwrap();
    filter.matches(&Frame {
        data: &data,
        time: Timestamp(0),
        number: 1,
        wire_len: data.len() as u32,
        interface: 0,
        link: LinkType::ETHERNET,
    })
}

const ACK: u8 = 16;

#[test]
fn ports_are_kept_in_both_versions_of_ip_and_behind_tags() {
    for tags in [&[][..], &[5], &[5, 6]] {
        for (port, kept) in [(6379, true), (7003, true), (7006, false), (80, false)] {
            let packets = [tcp4(port, ACK, 9, 1), tcp6(port, ACK, 9, 1)];
            for packet in packets {
                assert_eq!(keeps(&redis(), &packet, tags), kept, "{port} {tags:?}");
            }
        }
    }
}

#[test]
fn segments_that_say_nothing_are_left_out() {
    for make in [tcp4, tcp6] {
        assert!(!keeps(&redis(), &make(6379, ACK, 9, 0), &[]));
        assert!(!keeps(&redis(), &make(6379, ACK | 8, 9, 0), &[5]));
        assert!(keeps(&redis(), &make(6379, ACK, 0, 0), &[]));
        for flag in [1, 2, 4] {
            assert!(keeps(&redis(), &make(6379, ACK | flag, 9, 0), &[]));
        }
        let every = Interest {
            empty_segments: true,
            ..redis()
        };
        assert!(keeps(&every, &make(6379, ACK, 9, 0), &[]));
    }
    let mut super_frame = tcp4(6379, ACK, 9, 100);
    super_frame[2..4].fill(0);
    assert!(keeps(&redis(), &super_frame, &[]));
}

#[test]
fn fragments_are_kept_for_udp() {
    let dns = Interest {
        ports: vec![53..=53],
        udp: true,
        ..Interest::default()
    };
    assert!(keeps(&dns, &udp4(53, 0x2000), &[]));
    assert!(keeps(&dns, &udp4(9, 0x00b9), &[]));
    assert!(!keeps(&dns, &udp4(9, 0), &[]));
    assert!(!keeps(&dns, &tcp4(53, ACK, 9, 1), &[]));
    assert!(!keeps(&redis(), &udp4(6379, 0x00b9), &[]));
}

#[test]
fn what_lies_behind_an_extension_header_is_kept() {
    for header in [0, 43, 60] {
        for transport in [6, 17] {
            let mut packet = tcp6(6379, ACK, 9, 1);
            packet[6] = header;
            packet.splice(40..40, [transport, 0, 1, 4, 0, 0, 0, 0]);
            for tags in [&[][..], &[5]] {
                assert!(keeps(&redis(), &packet, tags), "{header} {transport}");
            }
        }
    }
    let mut report = tcp6(6379, ACK, 9, 1);
    report[6] = 0;
    report.splice(40..40, [58, 0, 5, 2, 0, 0, 1, 0]);
    assert!(!keeps(&redis(), &report, &[]));
}

#[test]
fn servers_narrow() {
    for (network, kept) in [
        ("10.0.0.2/32", true),
        ("10.0.0.77/8", true),
        ("192.0.2.0/24", false),
        ("fd00::/16", false),
    ] {
        let interest = Interest {
            servers: vec![network.parse().unwrap()],
            ..redis()
        };
        assert_eq!(keeps(&interest, &tcp4(6379, ACK, 9, 1), &[]), kept);
        let kept = network.starts_with("fd");
        assert_eq!(keeps(&interest, &tcp6(6379, ACK, 9, 1), &[]), kept);
    }
}

#[test]
fn the_users_filter_narrows_and_may_name_tags() {
    let of = |filter: &str| Interest {
        filter: filter.to_owned(),
        ..redis()
    };
    let packet = tcp4(6379, ACK, 9, 1);
    assert!(keeps(&of("src host 10.0.0.1"), &packet, &[5]));
    assert!(!keeps(&of("src host 10.0.0.2"), &packet, &[5]));
    // An "or" of the user's does not open what the options narrow.
    assert!(!keeps(&of("tcp or udp"), &tcp4(80, ACK, 9, 1), &[]));
    assert!(keeps(&of("vlan 5"), &packet, &[5]));
    assert!(!keeps(&of("vlan 5"), &packet, &[6]));
    assert!(!keeps(&of("vlan 5"), &packet, &[]));
}

#[test]
fn without_ports_everything_of_the_transports_is_kept() {
    let all = Interest {
        tcp: true,
        udp: true,
        empty_segments: true,
        ..Interest::default()
    };
    assert!(keeps(&all, &tcp4(9, ACK, 9, 0), &[]) && keeps(&all, &udp4(9, 0), &[7]));
}

#[test]
fn every_link_type_takes_its_expression() {
    let interest = Interest {
        servers: vec!["fd00::/16".parse().unwrap()],
        udp: true,
        ..redis()
    };
    for link in [LinkType::ETHERNET, LinkType::RAW, LinkType::LINUX_SLL2] {
        Filter::new(&expression(&interest, link), link).unwrap();
    }
}
