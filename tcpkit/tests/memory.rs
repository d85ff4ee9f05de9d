//! Memory stays flat: 100,000 IPv6 conversations that are all open, each with a request of 100 bytes
//! that waits for its answer, cost at most 64 MiB of anonymous memory. What waits for lost segments is bounded too, and
//! so are requests of those who ask without end: 128 MiB in all shards, and what allocation adds.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use support::tcpkit;

const CONVERSATIONS: u32 = 100_000;

const LIMIT: u64 = 64 << 20;

/// A mapped file: the peak while it runs.
#[test]
fn open_conversations_of_a_file_fit_into_the_bound() {
    let file = recording("memory-file.pcap");
    let mut child = tcpkit()
        .arg("-r")
        .arg(&file)
        .args(["-q", "-p", "6379=redis"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(anonymous(&child));
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::remove_file(file).unwrap();
    verdict("file", peak);
}

/// A pipe that stays open: what is held when all was read and nothing has ended.
#[test]
fn open_conversations_of_a_pipe_fit_into_the_bound() {
    let file = recording("memory-pipe.pcap");
    let mut child = tcpkit()
        .args(["-r", "-", "-q", "-p", "6379=redis"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::io::copy(&mut File::open(&file).unwrap(), &mut pipe).unwrap();
    // Until it has caught up: no more processor time is used, which may take a few looks to see.
    let (mut before, mut peak) = (u64::MAX, 0);
    while before != processor_time(&child) {
        before = processor_time(&child);
        peak = peak.max(anonymous(&child));
        std::thread::sleep(Duration::from_millis(300));
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(file).unwrap();
    verdict("pipe", peak);
}

/// A pipe of conversations that each lost a segment and send on, far more than may be held back.
#[test]
fn holes_that_nobody_repairs_cost_no_more_than_the_bound() {
    const HELD: u64 = 256 << 20;
    let payload = vec![b'x'; 60_000];
    let Peak { peak, sent, .. } = peak_of_pipe("6379=redis", |frame| {
        for turn in 0..100u32 {
            for number in 0..100 {
                if turn == 0 {
                    open(frame, number);
                }
                let sequence = 2000 + turn * payload.len() as u32;
                frame(
                    2 + turn,
                    &segment(number, false, sequence, 5001, 0x10, &payload),
                );
            }
        }
    });
    told("behind holes", peak, sent);
    assert!(sent > 2 * HELD && peak > HELD / 4, "nothing was held");
    assert!(peak <= HELD + LIMIT, "{} MiB", peak >> 20);
}

/// What all shards together may keep (`limits::HELD_BYTES_PER_SHARD` times `limits::SHARDS`).
const KEPT: u64 = 128 << 20;

/// Conversations that send segments backwards, each with a hole before it, so that none fits: what is small
/// costs more than its bytes, and that is counted too.
#[test]
fn small_segments_out_of_order_cost_no_more_than_the_bound() {
    const SEGMENTS: u32 = 8000;
    let payload = [b'x'; 300];
    let Peak { peak, sent, .. } = peak_of_pipe("6379=redis", |frame| {
        for number in 0..100 {
            open(frame, number);
            for back in (1..=SEGMENTS).rev() {
                let sequence = 1001 + back * 400;
                let segment = segment(number, false, sequence, 5001, 0x10, &payload);
                frame(2 + number, &segment);
            }
        }
    });
    told("out of order", peak, sent);
    assert!(sent > KEPT + LIMIT && peak > KEPT / 4, "nothing was held");
    assert!(peak <= KEPT + LIMIT / 2, "{} MiB", peak >> 20);
}

/// Conversations of tiny requests that nobody answers: each takes some twelve times its bytes while it waits.
#[test]
fn pipelines_that_nobody_answers_cost_no_more_than_the_bound() {
    let requests: [(&str, &[u8]); 4] = [
        ("redis", b"PING\r\n"),
        ("redis", b"GET a\r\nEVAL\r\n"),
        ("http", b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n"),
        ("memcached", b"mn\r\n"),
    ];
    for (protocol, request) in requests {
        let payload = request.repeat(54_000 / request.len());
        let Peak { peak, sent, .. } = peak_of_pipe(&format!("6379={protocol}"), |frame| {
            for number in 0..500 {
                open(frame, number);
                frame(
                    2 + number,
                    &segment(number, false, 1001, 5001, 0x18, &payload),
                );
            }
        });
        told(&format!("of {protocol} without answers"), peak, sent);
        assert!(peak > KEPT / 8, "nothing was held");
        assert!(peak <= KEPT + LIMIT / 2, "{} MiB", peak >> 20);
    }
}

/// Queues that are as long as they may be, in which every further message could cost a look at all that waits: responses
/// with identifiers that nobody has, quiet requests beyond the bound, and time that passes.
#[test]
fn long_queues_cost_little_time() {
    const REQUESTS: u32 = 65_536;
    let binary = |magic: u8, opcode: u8, opaque: u32| {
        let mut header = [0; 24];
        header[..2].copy_from_slice(&[magic, opcode]);
        header[12..16].copy_from_slice(&opaque.to_be_bytes());
        header
    };
    let noops: Vec<u8> = (1..=REQUESTS)
        .flat_map(|number| binary(0x80, 0x0a, number))
        .collect();
    let strays: Vec<u8> = (1..=2000)
        .flat_map(|number| binary(0x81, 0x0a, REQUESTS + number))
        .collect();
    let quiet = b"mg a q\r\n".repeat(8000);
    let Peak { sent, ticks, .. } = peak_of_pipe("6379=memcached", |frame| {
        for number in 0..2 {
            open(frame, number);
        }
        let mut next = 1001;
        for part in noops.chunks(60_000) {
            frame(2, &segment(0, false, next, 5001, 0x18, part));
            next += part.len() as u32;
        }
        for turn in 0..200 {
            let answer = 5001 + turn * strays.len() as u32;
            frame(3, &segment(0, true, answer, next, 0x18, &strays));
        }
        for turn in 0..100 {
            let request = 1001 + turn * quiet.len() as u32;
            frame(4, &segment(1, false, request, 5001, 0x18, &quiet));
        }
        for second in 0..2000 {
            let request = segment(2, false, 1001 + second, 5001, 0x18, b"\n");
            frame(1_000_000 * second, &request);
        }
    });
    // Of a processor: who else is given one is not the subject.
    let seconds = ticks as f64 / TICKS;
    support::say(&format!(
        "{} MiB for long queues: {seconds:.1} s",
        sent >> 20
    ));
    assert!(seconds > 0.0 && seconds < 30.0, "{seconds:.1} s");
}

/// Clock ticks a second as Linux tells them (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What a pipe has cost.
struct Peak {
    /// The highest anonymous memory while it was written, in bytes.
    peak: u64,
    /// Bytes of its frames.
    sent: u64,
    /// Processor time, in clock ticks.
    ticks: u64,
}

/// Runs a pipe of the frames, with their times in microseconds, that `feed` makes.
fn peak_of_pipe(ports: &str, feed: impl FnOnce(&mut dyn FnMut(u32, &[u8]))) -> Peak {
    let mut child = tcpkit()
        .args(["-r", "-", "-q", "-p", ports])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufWriter::new(child.stdin.take().unwrap());
    write_header(&mut out);
    let (mut peak, mut sent, mut looked) = (0, 0, 0);
    feed(&mut |micros, frame| {
        write_frame(&mut out, micros, frame);
        sent += frame.len() as u64;
        if sent - looked > 1 << 20 {
            looked = sent;
            peak = peak.max(anonymous(&child));
        }
    });
    drop(out);
    let mut ticks = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(anonymous(&child));
        ticks = ticks.max(processor_time(&child));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    Peak { peak, sent, ticks }
}

/// The handshake of a conversation.
fn open(frame: &mut dyn FnMut(u32, &[u8]), number: u32) {
    frame(1, &segment(number, false, 1000, 0, 0x02, b""));
    frame(1, &segment(number, true, 5000, 1001, 0x12, b""));
}

fn told(what: &str, peak: u64, sent: u64) {
    let [peak, sent] = [peak, sent].map(|bytes| bytes >> 20);
    support::say(&format!("{sent} MiB {what}: {peak} MiB anonymous"));
}

fn verdict(what: &str, peak: u64) {
    let mib = peak as f64 / f64::from(1 << 20);
    support::say(&format!(
        "{CONVERSATIONS} open conversations from a {what}: {mib:.1} MiB anonymous"
    ));
    assert!(peak > 1 << 20, "nothing was measured");
    assert!(peak <= LIMIT, "{mib:.1} MiB");
}

/// Anonymous resident memory of a process, in bytes; 0 when it has ended.
fn anonymous(child: &Child) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Clock ticks that a process has used, in user and system mode.
fn processor_time(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

/// Writes the conversations: all handshakes, then all requests.
fn recording(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut out = BufWriter::new(File::create(&path).unwrap());
    write_header(&mut out);
    let mut micros = 0;
    let mut write = |frame: Vec<u8>| {
        micros += 5;
        write_frame(&mut out, micros, &frame);
    };
    for number in 0..CONVERSATIONS {
        write(segment(number, false, 1000, 0, 0x02, b""));
        write(segment(number, true, 5000, 1001, 0x12, b""));
        write(segment(number, false, 1001, 5001, 0x10, b""));
    }
    for number in 0..CONVERSATIONS {
        let key = format!("key:{number:0>9}");
        let head = format!("*3\r\n$3\r\nSET\r\n$13\r\n{key}\r\n$60\r\n");
        let request = format!("{head}{:v<60}\r\n", "").into_bytes();
        assert_eq!(request.len(), 100);
        write(segment(number, false, 1001, 5001, 0x18, &request));
    }
    path
}

fn write_header(out: &mut impl Write) {
    let head = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.write_all(&head).unwrap();
    out.write_all(&[0, 0, 4, 0, 1, 0, 0, 0]).unwrap();
}

fn write_frame(out: &mut impl Write, micros: u32, frame: &[u8]) {
    let length = (frame.len() as u32).to_le_bytes();
    let (seconds, micros) = (1_700_000_000 + micros / 1_000_000, micros % 1_000_000);
    for word in [seconds.to_le_bytes(), micros.to_le_bytes(), length, length] {
        out.write_all(&word).unwrap();
    }
    out.write_all(frame).unwrap();
}

/// An Ethernet frame with an IPv6 packet with a TCP segment between a client of its own and the server.
fn segment(
    number: u32,
    answer: bool,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let client = Ipv6Addr::from(0x2001_0db8_0000_0001_0000_0000_0000_0000 + u128::from(number));
    let server = Ipv6Addr::from(0x2001_0db8_0000_0002_0000_0000_0000_0001);
    let client_port = 20_000 + (number % 40_000) as u16;
    let (from, to) = if answer {
        (server, client)
    } else {
        (client, server)
    };
    let ports = if answer {
        [6379, client_port]
    } else {
        [client_port, 6379]
    };
    let mut frame = vec![
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend((20 + data.len() as u16).to_be_bytes());
    frame.extend([6, 64]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(ports.iter().flat_map(|port: &u16| port.to_be_bytes()));
    frame.extend(sequence.to_be_bytes());
    frame.extend(acknowledged.to_be_bytes());
    // Data offset, flags, window; no checksum, as where hardware fills it in.
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(data);
    frame
}
