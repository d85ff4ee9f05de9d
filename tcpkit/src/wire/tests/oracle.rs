//! etherparse as an independent decoder: random packets that it builds, whole and damaged, and
//! what it reads from them.
//!
//! Where the two differ by design, the comparison steps aside: tunnels and label stacks, which
//! etherparse does not enter; an IPv4 datagram whose UDP length is 0, which it takes as long as
//! the packet (only IPv6 has jumbograms); the jumbo payload option, which it does not read.

use etherparse::{
    Ethernet2Header, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv4Options,
    Ipv6ExtensionSlice, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    LinkExtSlice, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, VlanId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What to build.
#[derive(Clone, Debug)]
struct Recipe {
    vlans: usize,
    six: bool,
    /// IPv4 options, or the contents of IPv6 options headers, in units of four bytes.
    options: usize,
    /// An IPv6 fragment header that does not fragment.
    fragment_header: bool,
    udp: bool,
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    window: u16,
    flags: u8,
    tcp_options: usize,
    payload: Vec<u8>,
    padding: usize,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let shape = (
        0..3usize,
        any::<bool>(),
        0..10usize,
        any::<bool>(),
        any::<bool>(),
    );
    let numbers = (
        any::<(u16, u16)>(),
        any::<u32>(),
        any::<u32>(),
        any::<u16>(),
    );
    let rest = (any::<u8>(), 0..10usize, vec(any::<u8>(), 0..100), 0..8usize);
    (shape, numbers, rest).prop_map(|(shape, numbers, rest)| Recipe {
        vlans: shape.0,
        six: shape.1,
        options: shape.2,
        fragment_header: shape.3,
        udp: shape.4,
        ports: numbers.0,
        seq: numbers.1,
        ack: numbers.2,
        window: numbers.3,
        flags: rest.0,
        tcp_options: rest.1,
        payload: rest.2,
        padding: rest.3,
    })
}

fn ip_headers(recipe: &Recipe) -> IpHeaders {
    if recipe.six {
        let options = (recipe.options > 0).then(|| {
            // One padding option over all of it: PadN, and its length.
            let mut contents = vec![0; 6 + 8 * (recipe.options - 1)];
            contents[0] = 1;
            contents[1] = (contents.len() - 2) as u8;
            Ipv6RawExtHeader::new_raw(IpNumber::TCP, &contents).unwrap()
        });
        let place = IpFragOffset::ZERO;
        let fragment = Ipv6FragmentHeader::new(IpNumber::TCP, place, false, recipe.seq);
        let extensions = Ipv6Extensions {
            hop_by_hop_options: options.clone(),
            destination_options: options,
            fragment: recipe.fragment_header.then_some(fragment),
            ..Default::default()
        };
        let header = Ipv6Header {
            source: CLIENT6,
            destination: SERVER6,
            hop_limit: 64,
            ..Default::default()
        };
        return IpHeaders::Ipv6(header, extensions);
    }
    let header = Ipv4Header {
        source: CLIENT,
        destination: SERVER,
        time_to_live: 64,
        identification: recipe.window,
        options: Ipv4Options::try_from(&vec![1; 4 * recipe.options][..]).unwrap(),
        ..Default::default()
    };
    IpHeaders::Ipv4(header, Default::default())
}

fn build(recipe: &Recipe) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let id = |number| VlanId::try_new(number).unwrap();
    let link = match recipe.vlans {
        0 => link.ip(ip_headers(recipe)),
        1 => link.single_vlan(id(5)).ip(ip_headers(recipe)),
        _ => link.double_vlan(id(5), id(6)).ip(ip_headers(recipe)),
    };
    let mut data = Vec::new();
    if recipe.udp {
        let builder = link.udp(recipe.ports.0, recipe.ports.1);
        builder.write(&mut data, &recipe.payload).unwrap();
    } else {
        let builder = link.tcp(recipe.ports.0, recipe.ports.1, recipe.seq, recipe.window);
        let flagged = |mask| recipe.flags & mask != 0;
        let builder = if flagged(flag::ACK) {
            builder.ack(recipe.ack)
        } else {
            builder
        };
        let builder = if flagged(flag::SYN) {
            builder.syn()
        } else {
            builder
        };
        let builder = if flagged(flag::FIN) {
            builder.fin()
        } else {
            builder
        };
        let builder = if flagged(flag::RST) {
            builder.rst()
        } else {
            builder
        };
        let builder = if flagged(flag::PSH) {
            builder.psh()
        } else {
            builder
        };
        let builder = builder
            .options_raw(&vec![1; 4 * recipe.tcp_options])
            .unwrap();
        builder.write(&mut data, &recipe.payload).unwrap();
    }
    data.extend(vec![0; recipe.padding]);
    data
}

/// What etherparse makes of it, if it is one of the packets that both decode.
fn oracle(data: &[u8]) -> Option<Packet<'_>> {
    let sliced = SlicedPacket::from_ethernet(data).ok()?;
    let vlan = |extension: &LinkExtSlice<'_>| matches!(extension, LinkExtSlice::Vlan(_));
    if !sliced.link_exts.iter().all(vlan) {
        return None;
    }
    let (addresses, ip_id, four) = network(sliced.net.as_ref()?)?;
    let base = segment(b"");
    let packet = match sliced.transport? {
        TransportSlice::Tcp(tcp) => Packet {
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            flags: tcp_flags(&tcp),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            window: tcp.window_size(),
            payload: tcp.payload(),
            ..base
        },
        TransportSlice::Udp(udp) if four && udp.length() == 0 => return None,
        TransportSlice::Udp(udp) if [4789, 8472, 6081].contains(&udp.destination_port()) => {
            return None;
        }
        TransportSlice::Udp(udp) => {
            let empty = datagram(udp.source_port(), udp.destination_port(), b"");
            let payload = udp.payload();
            Packet { payload, ..empty }
        }
        _ => return None,
    };
    let payload_len = packet.payload.len() as u32;
    Some(Packet {
        addresses,
        ip_id,
        payload_len,
        ..packet
    })
}

/// Addresses and identification, and whether it is IPv4.
fn network(net: &NetSlice<'_>) -> Option<(Addresses, Option<u16>, bool)> {
    match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let addresses = Addresses::V4 {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
            };
            Some((addresses, Some(header.identification()), true))
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let addresses = Addresses::V6 {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
            };
            let mut ip_id = None;
            for extension in ip.extensions().clone() {
                match extension {
                    Ipv6ExtensionSlice::Fragment(head) => {
                        ip_id = Some(head.identification() as u16);
                    }
                    Ipv6ExtensionSlice::HopByHop(head)
                        if header.payload_length() == 0 && head.payload().contains(&0xc2) =>
                    {
                        return None;
                    }
                    _ => {}
                }
            }
            Some((addresses, ip_id, false))
        }
        NetSlice::Arp(_) => None,
    }
}

fn tcp_flags(tcp: &etherparse::TcpSlice<'_>) -> u8 {
    let flags = [
        (tcp.fin(), flag::FIN),
        (tcp.syn(), flag::SYN),
        (tcp.rst(), flag::RST),
        (tcp.psh(), flag::PSH),
        (tcp.ack(), flag::ACK),
        (tcp.urg(), flag::URG),
        (tcp.ece(), flag::ECE),
        (tcp.cwr(), flag::CWR),
    ];
    flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum()
}

#[track_caller]
fn agree(data: &[u8]) -> bool {
    let Some(expected) = oracle(data) else {
        return false;
    };
    let frame = frame(LinkType::ETHERNET, data);
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&frame), Decoded::Packet(expected));
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_etherparse_builds(recipe in recipe()) {
        prop_assume!(!recipe.udp || ![4789, 8472, 6081].contains(&recipe.ports.1));
        let data = build(&recipe);
        prop_assert!(agree(&data));
        let mut decoder = Decoder::new();
        let decoded = decoder.decode(&frame(LinkType::ETHERNET, &data));
        let Decoded::Packet(packet) = decoded else {
            return Err(TestCaseError::fail("no packet"));
        };
        prop_assert_eq!(packet.payload, &recipe.payload[..]);
        prop_assert_eq!((packet.source_port, packet.destination_port), recipe.ports);
    }

    /// Damage to the headers: whatever etherparse still reads, both read the same.
    #[test]
    fn what_is_left_of_damaged_packets(
        recipe in recipe(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut data = build(&recipe);
        for (at, value) in damage {
            let at = Ethernet2Header::LEN - 2 + at.index(data.len() - Ethernet2Header::LEN);
            data[at] = value;
        }
        if let Some(cut) = cut {
            data.truncate(cut.index(data.len()));
        }
        agree(&data);
    }

    /// The short way and the long way lead to the same packet.
    #[test]
    fn the_fast_path_takes_no_short_cuts(
        recipe in recipe(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        captured in any::<prop::sample::Index>(),
        wire_len in 0u32..300,
    ) {
        let plain = Recipe { vlans: 0, six: false, options: 0, udp: false, ..recipe };
        let mut data = build(&plain);
        for (at, value) in damage {
            let at = at.index(54);
            data[at] = value;
        }
        let captured = data.len() - captured.index(data.len()) / 2;
        let frame = Frame { wire_len, ..frame(LinkType::ETHERNET, &data[..captured]) };
        if let Some(segment) = fast::segment(&frame) {
            let packet = segment.packet(&frame);
            let mut decoder = Decoder::new();
            prop_assert_eq!(decoder.decode_any(&frame), Decoded::Packet(packet));
        }
    }
}

/// Every value of every header byte, one at a time.
#[test]
fn the_fast_path_agrees_whatever_one_byte_says() {
    let original = ethernet(0x0800, &ipv4(6, &tcp_with(&[1; 12], &[7; 44])));
    let mut taken = 0;
    for at in 0..54 {
        let mut data = original.clone();
        for value in 0..=255 {
            data[at] = value;
            let frame = frame(LinkType::ETHERNET, &data);
            let Some(segment) = fast::segment(&frame) else {
                continue;
            };
            let packet = segment.packet(&frame);
            taken += 1;
            let mut decoder = Decoder::new();
            assert_eq!(decoder.decode_any(&frame), Decoded::Packet(packet));
        }
    }
    assert!(taken > 10_000);
}

#[test]
fn the_fast_path_is_taken() {
    let data = ethernet(0x0800, &ipv4(6, &tcp_with(&[1; 12], b"PING\r\n")));
    let frame = frame(LinkType::ETHERNET, &data);
    let taken = fast::segment(&frame).map(|segment| segment.packet(&frame));
    assert_eq!(taken, Some(segment(b"PING\r\n")));
}
