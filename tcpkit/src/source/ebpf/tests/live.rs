//! Live capture: what is sent over a cable is what is delivered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tcpkit_common::program;

use super::frames::*;
use super::host::*;
use super::{PORT, alone, interest, is_privileged};
use crate::limits::DIAGNOSTICS;
use crate::source::ebpf::engine::Rings;
use crate::source::ebpf::object::Kernel;
use crate::source::ebpf::{Hooks, XdpMode, open};
use crate::source::live::Engine as _;

const XDP: Hooks = Hooks::Xdp(XdpMode::Auto);

/// Frames of many sizes, to the port and from it.
fn frames() -> Vec<Vec<u8>> {
    let lengths = [60, 88, 89, 216, 217, 472, 500, 984, 1000, 1500, 1514];
    lengths
        .into_iter()
        .map(|length| segment(PORT, length))
        .collect()
}

/// Sends both ways over a cable, and compares.
fn compare(hooks: Hooks, expected: &'static str) {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(move || {
        cable("near", "far");
        let (mut engine, notices) = capture(&interest(), &["near"], hooks);
        assert_eq!(notices, [""; 0]);
        assert_eq!(engine.describe(), expected);
        for end in ["far", "near"] {
            let wire = Wire::new(end);
            let frames = frames();
            frames.iter().for_each(|frame| wire.send(frame));
            let taken = take(&mut *engine, frames.len());
            assert_eq!(bytes(&taken), frames, "sent at {end}");
            assert!(taken.is_sorted_by_key(|frame| frame.time));
            assert!(taken.iter().all(|frame| frame.interface == "near"));
            let lengths = taken.iter().map(|frame| frame.wire_len as usize);
            assert!(lengths.eq(frames.iter().map(Vec::len)));
        }
        let counters = engine.counters();
        assert_eq!(counters.delivered, 2 * frames().len() as u64);
        assert_eq!((counters.matched, counters.lost()), (counters.delivered, 0));
    });
}

/// What TC is called here: a name of its own where the kernel links programs to it.
fn tc() -> &'static str {
    static NAME: std::sync::OnceLock<&str> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let (engine, _) = open(&interest(), Hooks::Tc).unwrap();
        let is_tcx = engine.describe().contains("TCX");
        if is_tcx { "TC (TCX)" } else { "TC (clsact)" }
    })
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[test]
fn tc_delivers_both_ways() {
    if is_privileged() {
        compare(Hooks::Tc, leak(format!("{} on near", tc())));
    }
}

#[test]
fn native_xdp_delivers_with_tc_for_the_way_out() {
    if is_privileged() {
        compare(XDP, leak(format!("XDP (native) and {} on near", tc())));
    }
}

#[test]
fn generic_xdp_delivers_with_tc_for_the_way_out() {
    if is_privileged() && has_fragments() {
        let hooks = Hooks::Xdp(XdpMode::Generic);
        compare(hooks, leak(format!("XDP (generic) and {} on near", tc())));
    }
}

/// Before Linux 5.18.
#[test]
fn generic_xdp_that_would_cut_merged_frames_is_not_taken() {
    if !is_privileged() || has_fragments() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (engine, notices) = capture(&interest(), &["near"], Hooks::Xdp(XdpMode::Generic));
        assert_eq!(engine.describe(), format!("{} on near", tc()));
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("merged frames"), "{notices:?}");
    });
}

/// Whether the kernel gives XDP frames of several pages.
fn has_fragments() -> bool {
    let mut kernel = Kernel::load(&interest(), false).unwrap();
    kernel.program(program::XDP_FRAGS).is_ok()
}

#[test]
fn a_vlan_tag_that_the_stack_took_off_is_put_back() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut engine, _) = capture(&interest(), &["near"], Hooks::Tc);
        let inner = segment(PORT, 300)[14..].to_vec();
        let tagged = join(&[&ethernet(0x8100), &tag(0x2005, 0x0800), &inner]);
        let twice = join(&[&ethernet(0x88a8), &tag(7, 0x8100), &tag(6, 0x0800), &inner]);
        let wire = Wire::new("far");
        wire.send(&tagged);
        wire.send(&twice);
        let taken = take(&mut *engine, 2);
        assert_eq!(bytes(&taken), [tagged, twice]);
        assert!(
            taken
                .iter()
                .all(|frame| frame.wire_len as usize == frame.data.len())
        );
    });
}

/// Sends a request of so many bytes over loopback, and its like back.
fn talk(length: usize) {
    let listener = TcpListener::bind(("127.0.0.1", PORT)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
    let sent = payload(length);
    stream.write_all(&sent).unwrap();
    let mut received = vec![0; length];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, sent);
    server.join().unwrap();
}

/// Bytes of TCP payload to the port and from it, each once: on a busy machine some are sent again.
fn payloads(taken: &[Taken]) -> (usize, usize) {
    let mut ranges = (Vec::new(), Vec::new());
    for frame in taken {
        assert_eq!(frame.wire_len as usize, frame.data.len(), "captured whole");
        let header = 14 + 20 + usize::from(frame.data[46] >> 4) * 4;
        let to = u16::from_be_bytes([frame.data[36], frame.data[37]]);
        let seq = u32::from_be_bytes(*frame.data[38..].first_chunk().unwrap());
        let range = (seq, frame.data.len() - header);
        let way = if to == PORT {
            &mut ranges.0
        } else {
            &mut ranges.1
        };
        way.push(range);
    }
    (union(ranges.0), union(ranges.1))
}

/// How many bytes some ranges of sequence numbers cover, the first of which comes first.
fn union(ranges: Vec<(u32, usize)>) -> usize {
    let Some(&(first, _)) = ranges.first() else {
        return 0;
    };
    let from_first = |(seq, len): (u32, usize)| (seq.wrapping_sub(first) as usize, len);
    let mut ranges: Vec<_> = ranges.into_iter().map(from_first).collect();
    ranges.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for (start, len) in ranges {
        let until = (start + len).max(end);
        covered += until - start.max(end);
        end = until;
    }
    covered
}

#[test]
fn loopback_is_seen_once_and_super_frames_whole() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    for hooks in [Hooks::Tc, XDP] {
        in_namespace(move || {
            let (mut engine, _) = capture(&interest(), &["lo"], hooks);
            talk(1 << 20);
            let taken = take(&mut *engine, usize::MAX);
            assert_eq!(
                payloads(&taken),
                (1 << 20, 1 << 20),
                "{}",
                engine.describe()
            );
            if hooks == Hooks::Tc {
                assert!(
                    taken.iter().any(|frame| frame.data.len() > 16_000),
                    "no super-frame"
                );
            }
            assert_eq!(engine.counters().lost(), 0);
        });
    }
}

#[test]
fn an_interface_without_a_link_layer_has_frames_that_begin_with_ip() {
    if !is_privileged() || !std::path::Path::new("/dev/net/tun").exists() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        ip("tuntap add tun0 mode tun");
        ip("address add 10.9.0.1/24 dev tun0");
        ip("link set tun0 up");
        let (mut engine, _) = capture(&interest(), &["tun0"], Hooks::Tc);
        let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
        // Nobody reads the tunnel's other end: without a carrier the frame does not even leave.
        let _ = socket.send_to(b"question", ("10.9.0.2", PORT));
        let taken = take(&mut *engine, 1);
        assert_eq!(engine.interfaces()[0].link, crate::source::LinkType::RAW);
        assert!(taken.iter().all(|frame| frame.data[0] == 0x45));
    });
}

#[test]
fn interfaces_that_appear_and_go_are_followed() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        let (mut engine, _) = open(&interest(), Hooks::Tc).unwrap();
        cable("near", "far");
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(take(&mut *engine, 1), []);
        let said = engine.take_notices();
        assert!(
            said.iter().any(|notice| notice.contains("near appeared")),
            "{said:?}"
        );
        let frame = segment(PORT, 99);
        Wire::new("far").send(&frame);
        let mut taken = take(&mut *engine, 2);
        taken.sort_by(|a, b| a.interface.cmp(&b.interface));
        let names: Vec<_> = taken.iter().map(|frame| frame.interface.as_str()).collect();
        assert_eq!(names, ["far", "near"], "out at one end, in at the other");
        ip("link delete near");
        std::thread::sleep(Duration::from_millis(1100));
        take(&mut *engine, 1);
        let said = engine.take_notices();
        assert!(
            said.iter().any(|notice| notice.contains("near is gone")),
            "{said:?}"
        );
    });
}

/// As after days of containers that come and go.
#[test]
fn where_numbers_have_run_out_interfaces_take_those_of_others_that_are_gone() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        let (engine, _) = Rings::open(&interest(), Hooks::Tc).unwrap();
        let mut engine = engine.with_places(3);
        // Not by the clock: until it is said. Frames of their own there are none.
        let mut until = |part: &str| {
            for _ in 0..600 {
                engine
                    .deliver(Duration::from_millis(50), &mut |_| true)
                    .unwrap();
                let said = engine.take_notices();
                if said.iter().any(|notice| notice.contains(part)) {
                    return;
                }
            }
            panic!("nobody said: {part}");
        };
        cable("one", "two");
        until("two appeared");
        cable("three", "four");
        until("appeared beyond 3 others");
        ip("link delete one");
        until("three appeared");
        assert_eq!(engine.take_renumbered(), [1, 2]);
        let frame = segment(PORT, 99);
        Wire::new("four").send(&frame);
        let mut taken = take(&mut engine, 2);
        taken.sort_by(|a, b| a.interface.cmp(&b.interface));
        let names: Vec<_> = taken.iter().map(|frame| frame.interface.as_str()).collect();
        assert_eq!(names, ["four", "three"]);
        assert_eq!(
            (engine.interfaces().len(), engine.counters().lost()),
            (3, 0)
        );
    });
}

#[test]
fn an_interface_that_was_asked_for_and_goes_ends_the_capture() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut engine, _) = capture(&interest(), &["near"], Hooks::Tc);
        ip("link delete near");
        std::thread::sleep(Duration::from_millis(1100));
        let ended = engine.deliver(Duration::ZERO, &mut |_| true);
        assert_eq!(
            ended.unwrap_err().to_string(),
            "capturing on near has ended: the last interface is gone"
        );
    });
}

#[test]
fn an_unknown_interface_is_told_with_those_that_there_are() {
    if !is_privileged() {
        return;
    }
    in_namespace(|| {
        let mut interest = interest();
        interest.interfaces = vec!["nowhere".to_owned()];
        let refusal = open(&interest, Hooks::Tc).err().unwrap().to_string();
        assert!(
            refusal.starts_with("--interface nowhere: there is no such interface; there are lo"),
            "{refusal}"
        );
    });
}

#[test]
fn what_a_tiny_ring_loses_is_counted_to_the_frame() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let mut interest = interest();
        interest.buffer = Some(4096);
        let (mut engine, _) = capture(&interest, &["near"], Hooks::Tc);
        let wire = Wire::new("far");
        let sent = 5000;
        for _ in 0..sent {
            wire.send(&segment(PORT, 200));
        }
        let taken = take(&mut *engine, usize::MAX).len() as u64;
        let counters = engine.counters();
        assert!(taken > 0 && counters.lost() > 0, "{counters:?}");
        assert_eq!(counters.delivered, taken);
        assert_eq!(counters.lost(), sent - taken, "{counters:?}");
        assert_eq!(counters.matched, sent);
        // A record that was lost did not fit into what was left: less than the largest class of this frame takes.
        let fullest = counters.rings.iter().map(|ring| ring.highest).max();
        assert!(counters.rings.iter().all(|ring| ring.size == 4096));
        assert!(
            (4096 - 512..=4096).contains(&fullest.unwrap()),
            "{counters:?}"
        );
    });
}

#[test]
fn a_ring_that_is_read_in_time_is_as_full_as_it_was_at_most() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut engine, _) = capture(&interest(), &["near"], Hooks::Tc);
        let wire = Wire::new("far");
        stay_here();
        let fills = [10, 100, 20].map(|frames| {
            (0..frames).for_each(|_| wire.send(&segment(PORT, 200)));
            assert_eq!(take(&mut *engine, usize::MAX).len(), frames);
            let rings = engine.counters().rings;
            rings.iter().map(|ring| ring.highest).max().unwrap()
        });
        // All come on the CPU that sends; frames are longer than what they carry.
        assert!(
            fills[0] >= 10 * 200 && fills[1] >= 5 * fills[0],
            "{fills:?}"
        );
        assert_eq!(fills[1], fills[2], "it only grows");
        assert!(fills[1] <= 100 * 1024, "{fills:?}");
    });
}

#[test]
fn what_was_not_parsed_is_said_where_that_is_asked_for() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let mut interest = interest();
        for is_asked in [true, false] {
            interest.diagnostics = is_asked;
            let (mut engine, _) = capture(&interest, &["near"], Hooks::Tc);
            let wire = Wire::new("far");
            let sent = 2 * DIAGNOSTICS;
            (0..sent).for_each(|_| wire.send(&join(&[&ethernet(0x0800), &payload(10)])));
            assert_eq!(engine.counters().unparsed, sent as u64);
            let said = engine.take_notices();
            if !is_asked {
                assert_eq!(said, [""; 0]);
                continue;
            }
            let first = said.first().unwrap();
            assert!(
                first.ends_with("headers of a frame of 24 bytes were not parsed"),
                "{first}"
            );
            let last = format!("kernel: {} more such lines", sent - DIAGNOSTICS);
            assert_eq!((said.len(), said.last()), (DIAGNOSTICS + 1, Some(&last)));
        }
    });
}

/// What the kernel keeps of a program behind its verifier, in bytes.
fn translated(diagnostics: bool) -> u32 {
    let mut interest = interest();
    interest.diagnostics = diagnostics;
    let mut kernel = Kernel::load(&interest, false).unwrap();
    kernel.program(program::INGRESS).unwrap();
    let program = kernel.ebpf.program(program::INGRESS).unwrap();
    program.info().unwrap().size_translated().unwrap()
}

#[test]
fn diagnostics_that_are_off_are_not_in_the_program() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let (off, on) = (translated(false), translated(true));
    assert!(off + 500 < on, "{off} and {on} bytes");
}

#[test]
fn what_was_not_taken_comes_with_the_next_call() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut engine, _) = capture(&interest(), &["near"], Hooks::Tc);
        let wire = Wire::new("far");
        let frames = frames();
        frames.iter().for_each(|frame| wire.send(frame));
        std::thread::sleep(Duration::from_millis(20));
        for frame in &frames {
            let mut taken = None;
            let each = &mut |frame: &crate::source::Frame<'_>| {
                taken = Some(frame.data.to_vec());
                false
            };
            engine.deliver(Duration::from_secs(1), each).unwrap();
            assert_eq!(taken.as_ref(), Some(frame));
        }
    });
}

#[test]
fn a_frame_wakes_a_reader_that_sleeps() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    in_namespace(|| {
        cable("near", "far");
        let (mut engine, _) = capture(&interest(), &["near"], Hooks::Tc);
        let wire = Wire::new("far");
        let mut wake = || {
            std::thread::sleep(Duration::from_millis(20));
            let mut frames = 0;
            let each = &mut |_: &crate::source::Frame<'_>| {
                frames += 1;
                true
            };
            let took = std::thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(100));
                    let sent = std::time::Instant::now();
                    wire.send(&segment(PORT, 99));
                    sent
                });
                engine.deliver(Duration::from_secs(10), each).unwrap();
                let woken = std::time::Instant::now();
                woken.saturating_duration_since(sender.join().unwrap())
            });
            assert_eq!(frames, 1);
            took
        };
        // The least of some: on a busy machine who is woken may have to wait for a processor.
        let took = (0..3).map(|_| wake()).min().unwrap();
        assert!(took < Duration::from_millis(400), "{took:?}");
    });
}
