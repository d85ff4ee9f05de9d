//! Test runs of the programs: frames go in, records come out, byte for byte.

use aya::programs::Program;
use aya::{TestRun, TestRunOptions};
use tcpkit_common::{CLASSES, EGRESS, FRAME, Head, INGRESS, PAGE_FRAME, count, program};

use super::frames::*;
use super::{PORT, alone, interest, is_privileged};
use crate::source::ebpf::object::Kernel;
use crate::source::live::Interest;

/// What every program must return: no opinion at TC, the frame goes on at XDP.
const NEXT: u32 = u32::MAX;
const XDP_PASS: u32 = 2;

/// Largest frame that the kernel takes for a test run at TC: it must fit into a page with what stands around it.
const LARGEST_SKB: usize = 3400;

/// Shortest one that every kernel takes: an Ethernet and an IPv6 header.
const SHORTEST_SKB: usize = 54;

struct Bench {
    kernel: Kernel,
    has_fragments: bool,
}

impl Bench {
    fn new(interest: &Interest) -> Self {
        let mut kernel = Kernel::load(interest, false).unwrap();
        let has_fragments = kernel.program(program::XDP_FRAGS).is_ok();
        for name in [program::XDP, program::INGRESS, program::EGRESS] {
            kernel.program(name).unwrap();
        }
        Self {
            kernel,
            has_fragments,
        }
    }

    /// The programs that see what a host receives.
    fn ingress(&self) -> Vec<&'static str> {
        let mut names = vec![program::INGRESS, program::XDP];
        names.extend(self.has_fragments.then_some(program::XDP_FRAGS));
        names
    }

    /// Runs a program over a frame; what it put into the rings.
    fn run(&mut self, name: &str, frame: &[u8]) -> Option<(Head, Vec<u8>)> {
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        };
        let program = self.kernel.ebpf.program(name).unwrap();
        let (result, expected) = match program {
            Program::Xdp(xdp) => (xdp.test_run(options), XDP_PASS),
            Program::SchedClassifier(tc) => (tc.test_run(options), NEXT),
            _ => panic!("{name}"),
        };
        let result =
            result.unwrap_or_else(|error| panic!("{name}, {} bytes: {error:?}", frame.len()));
        assert_eq!(result.return_value, expected, "{name}");
        self.take()
    }

    fn take(&mut self) -> Option<(Head, Vec<u8>)> {
        let mut taken = None;
        for ring in &mut self.kernel.rings {
            while ring.next_time().is_some() {
                let record = ring.record().unwrap();
                assert!(taken.is_none(), "two records of one frame");
                taken = Some((record.head, record.frame.to_vec()));
                ring.advance();
            }
            ring.publish();
        }
        taken
    }

    /// Every program puts this frame into a ring, as it is.
    fn takes(&mut self, what: &str, frame: &[u8]) {
        for name in self.ingress().into_iter().chain([program::EGRESS]) {
            let (head, bytes) = self
                .run(name, frame)
                .unwrap_or_else(|| panic!("{name}: no {what}"));
            assert_eq!(bytes, frame, "{name}: {what}");
            assert_eq!(head.wire_len as usize, frame.len(), "{name}: {what}");
            let way = if name == program::EGRESS {
                EGRESS
            } else {
                INGRESS
            };
            assert_eq!(head.direction, way, "{name}");
        }
    }

    /// No program does.
    fn leaves(&mut self, what: &str, frame: &[u8]) {
        for name in self.ingress().into_iter().chain([program::EGRESS]) {
            assert!(self.run(name, frame).is_none(), "{name}: {what}");
        }
    }

    fn count(&self, place: usize) -> u64 {
        self.kernel.counters(INGRESS)[place] + self.kernel.counters(EGRESS)[place]
    }
}

/// A TCP segment with a payload, behind these headers.
fn tcp_behind(headers: &[&[u8]]) -> Vec<u8> {
    let segment = join(&[&tcp(40_000, PORT, ACK, 512), &payload(33)]);
    join(&[&headers.concat(), &segment])
}

/// Bytes of [`tcp_behind`]'s segment.
const SEGMENT: u16 = 20 + 33;

/// Frames that are wanted, by what is special about them.
fn wanted() -> Vec<(&'static str, Vec<u8>)> {
    let plain = ipv4(6, 20 + SEGMENT, 0, &[]);
    let udp_frame = |to: u16| join(&[&udp(40_000, to, 9), &payload(9)]);
    let inner = tcp_behind(&[&ethernet(0x0800), &plain]);
    let vxlan = join(&[
        &udp(50_000, 4789, 8 + inner.len()),
        &[8, 0, 0, 0, 0, 0, 5, 0],
        &inner,
    ]);
    let mut padded = tcp_behind(&[&ethernet(0x0800), &plain]);
    padded.extend([0; 11]);
    vec![
        ("IPv4", tcp_behind(&[&ethernet(0x0800), &plain])),
        (
            "IPv4 options",
            tcp_behind(&[&ethernet(0x0800), &ipv4(6, 60 + SEGMENT, 0, &[1; 40])]),
        ),
        ("IPv6", tcp_behind(&[&ethernet(0x86dd), &ipv6(6, SEGMENT)])),
        (
            "VLAN",
            tcp_behind(&[&ethernet(0x8100), &tag(5, 0x0800), &plain]),
        ),
        (
            "QinQ",
            tcp_behind(&[&ethernet(0x88a8), &tag(5, 0x8100), &tag(6, 0x0800), &plain]),
        ),
        ("padding", padded),
        (
            "no total length",
            tcp_behind(&[&ethernet(0x0800), &ipv4(6, 0, 0, &[])]),
        ),
        (
            "first fragment",
            tcp_behind(&[&ethernet(0x0800), &ipv4(6, 20 + SEGMENT, 0x2000, &[])]),
        ),
        (
            "UDP",
            join(&[&ethernet(0x0800), &ipv4(17, 37, 0, &[]), &udp_frame(PORT)]),
        ),
        (
            "later UDP fragment",
            join(&[&ethernet(0x0800), &ipv4(17, 60, 3, &[]), &payload(40)]),
        ),
        (
            "later IPv6 UDP fragment",
            join(&[
                &ethernet(0x86dd),
                &ipv6(44, 48),
                &[17, 0, 0, 16, 0, 0, 0, 1],
                &payload(40),
            ]),
        ),
        (
            "VXLAN",
            join(&[
                &ethernet(0x0800),
                &ipv4(17, 20 + vxlan.len() as u16, 0, &[]),
                &vxlan,
            ]),
        ),
        (
            "a response",
            join(&[
                &ethernet(0x0800),
                &ipv4(6, 45, 0, &[]),
                &tcp(PORT, 40_000, ACK, 512),
                &payload(5),
            ]),
        ),
    ]
}

#[test]
fn frames_come_out_as_they_went_in() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut bench = Bench::new(&interest());
    for (what, frame) in wanted() {
        bench.takes(what, &frame);
    }
    assert_eq!(
        bench.count(count::RING_FULL) + bench.count(count::NOT_COPIED),
        0
    );
    assert_eq!(bench.count(count::MATCHED), bench.count(count::EMITTED));
    assert_eq!(bench.count(count::UNPARSED), 0);
}

#[test]
fn ipv6_extensions_are_followed_as_far_as_there_are_kinds() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut bench = Bench::new(&interest());
    let option = |next: u8| [next, 0, 0, 0, 0, 0, 0, 0];
    let authentication = |next: u8| join(&[&[next, 4], &[0; 22]]);
    let kinds = [
        (ipv6(0, 8 + SEGMENT), option(6).to_vec()),
        (ipv6(43, 8 + SEGMENT), option(6).to_vec()),
        (ipv6(44, 8 + SEGMENT), option(6).to_vec()),
        (ipv6(60, 16 + SEGMENT), join(&[&option(60), &option(6)])),
        (ipv6(51, 24 + SEGMENT), authentication(6)),
        (
            ipv6(0, 40 + SEGMENT),
            join(&[&option(51), &authentication(60), &option(6)]),
        ),
    ];
    for (header, extensions) in kinds {
        bench.takes(
            "an extension",
            &tcp_behind(&[&ethernet(0x86dd), &header, &extensions]),
        );
    }
    let many = option(60).repeat(6);
    let frame = tcp_behind(&[
        &ethernet(0x86dd),
        &ipv6(60, 56 + SEGMENT),
        &many,
        &option(6),
    ]);
    bench.leaves("seven extensions", &frame);
    assert!(bench.count(count::UNPARSED) > 0);
}

#[test]
fn what_is_not_wanted_is_left_alone_and_counted_by_cause() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut bench = Bench::new(&interest());
    let plain = ipv4(6, 40, 0, &[]);
    let segment = |flags: u8, window: u16| {
        join(&[&ethernet(0x0800), &plain, &tcp(40_000, PORT, flags, window)])
    };
    bench.leaves(
        "another port",
        &join(&[&ethernet(0x0800), &plain, &tcp(1, 2, ACK, 1), &[7]]),
    );
    bench.leaves("ARP", &join(&[&ethernet(0x0806), &payload(46)]));
    bench.leaves(
        "ICMP",
        &join(&[&ethernet(0x0800), &ipv4(1, 60, 0, &[]), &payload(40)]),
    );
    assert_eq!(bench.count(count::EMPTY) + bench.count(count::UNPARSED), 0);
    bench.leaves("an acknowledgement", &segment(ACK, 512));
    bench.leaves("a padded one", &join(&[&segment(ACK, 512), &[0; 6]]));
    let programs = bench.ingress().len() as u64 + 1;
    assert_eq!(bench.count(count::EMPTY), 2 * programs);
    for (what, flags, window) in [
        ("SYN", SYN, 9),
        ("FIN", FIN | ACK, 9),
        ("RST", RST, 9),
        ("a zero window", ACK, 0),
    ] {
        bench.takes(what, &segment(flags, window));
    }
    let later = join(&[&ethernet(0x0800), &ipv4(6, 60, 3, &[]), &payload(40)]);
    bench.leaves("a later TCP fragment", &later);
    assert_eq!(bench.count(count::FRAGMENTS), programs);
    assert_eq!(bench.count(count::MATCHED), 4 * programs);
}

#[test]
fn empty_segments_come_when_they_are_asked_for() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut wish = interest();
    wish.empty_segments = true;
    let mut bench = Bench::new(&wish);
    let frame = join(&[
        &ethernet(0x0800),
        &ipv4(6, 40, 0, &[]),
        &tcp(40_000, PORT, ACK, 512),
    ]);
    bench.takes("an acknowledgement", &frame);
}

#[test]
fn only_the_servers_that_are_asked_for() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let to = tcp_behind(&[&ethernet(0x0800), &ipv4(6, 20 + SEGMENT, 0, &[])]);
    let from = join(&[
        &ethernet(0x0800),
        &ipv4(6, 45, 0, &[]),
        &tcp(PORT, 40_000, ACK, 9),
        &payload(5),
    ]);
    let v6 = tcp_behind(&[&ethernet(0x86dd), &ipv6(6, SEGMENT)]);
    // The segment goes from …1 to …2, and the server is where the port is.
    for (server, takes_to, takes_from, takes_v6) in [
        ("10.0.0.2/32", true, false, false),
        ("10.0.0.1/32", false, true, false),
        ("10.0.0.0/24", true, true, false),
        ("fd00::/16", false, false, true),
        ("fd00::1/128", false, false, false),
    ] {
        let mut wish = interest();
        wish.servers = vec![server.parse().unwrap()];
        let mut bench = Bench::new(&wish);
        for (frame, is_taken) in [(&to, takes_to), (&from, takes_from), (&v6, takes_v6)] {
            if is_taken {
                bench.takes(server, frame);
            } else {
                bench.leaves(server, frame);
            }
        }
    }
}

#[test]
fn protocols_that_are_not_asked_for_are_left_alone() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let tcp_frame = segment(PORT, 100);
    let udp_frame = join(&[
        &ethernet(0x0800),
        &ipv4(17, 37, 0, &[]),
        &udp(1, PORT, 9),
        &payload(9),
    ]);
    for (is_tcp, is_udp) in [(true, false), (false, true)] {
        let mut wish = interest();
        (wish.tcp, wish.udp) = (is_tcp, is_udp);
        let mut bench = Bench::new(&wish);
        let (takes, leaves) = if is_tcp {
            (&tcp_frame, &udp_frame)
        } else {
            (&udp_frame, &tcp_frame)
        };
        bench.takes("its own", takes);
        bench.leaves("the other", leaves);
    }
}

#[test]
fn truncated_at_every_byte_all_hooks_agree() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut bench = Bench::new(&interest());
    for (what, frame) in wanted() {
        for length in 14..frame.len() {
            let frame = &frame[..length];
            let mut names = bench.ingress();
            // New kernels take no frame without a network header for a test run at TC.
            names.retain(|name| length >= SHORTEST_SKB || *name != program::INGRESS);
            let results: Vec<_> = names
                .iter()
                .map(|name| bench.run(name, frame).map(|(_, bytes)| bytes))
                .collect();
            for (name, result) in names.iter().zip(&results) {
                assert_eq!(result, &results[0], "{name}: {what} cut to {length}");
                assert!(
                    result.as_ref().is_none_or(|bytes| bytes == frame),
                    "{name}: {what}"
                );
            }
        }
    }
    let found = bench.count(count::SEEN) - bench.count(count::MATCHED);
    assert!(bench.count(count::UNPARSED) > 0 && bench.count(count::UNPARSED) <= found);
}

#[test]
fn every_class_holds_what_it_says() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut bench = Bench::new(&interest());
    let largest = FRAME as usize;
    let lengths = CLASSES
        .iter()
        .flat_map(|&class| [class - 1, class, class + 1]);
    for length in lengths.filter(|&length| length <= largest) {
        let frame = segment(PORT, length);
        if length <= LARGEST_SKB {
            bench.takes("a class", &frame);
        } else if bench.has_fragments {
            let taken = bench.run(program::XDP_FRAGS, &frame);
            let (head, bytes) =
                taken.unwrap_or_else(|| panic!("{length}: {:?}", bench.kernel.counters(INGRESS)));
            assert_eq!((bytes, head.wire_len as usize), (frame, length));
        }
    }
    assert_eq!(bench.count(count::CUT), 0);
    assert!(PAGE_FRAME as usize > LARGEST_SKB);
}

#[test]
fn a_snap_length_cuts_and_the_wire_length_stays() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let mut wish = interest();
    wish.snaplen = Some(200);
    let mut bench = Bench::new(&wish);
    for length in [199, 200, 201, 1500] {
        let frame = segment(PORT, length);
        for name in bench.ingress() {
            let (head, bytes) = bench.run(name, &frame).unwrap();
            assert_eq!(bytes, frame[..length.min(200)], "{name}");
            assert_eq!(head.wire_len as usize, length, "{name}");
        }
    }
    assert_eq!(bench.count(count::CUT), 0, "what was asked for is no cut");
}
