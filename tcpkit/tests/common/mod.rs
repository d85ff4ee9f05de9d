//! Conversations made frame by frame, and a sink that remembers what came out.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tcpkit::event::Event;
use tcpkit::exchange::Confidence;
use tcpkit::pipeline::outlet::Outlet;
use tcpkit::pipeline::owners::Owners;
use tcpkit::pipeline::select::{Kind, Selector};
use tcpkit::pipeline::worker::{Settings, Worker};
use tcpkit::sink::stats::{Rules, Stats};
use tcpkit::sink::{Needs, Sink};
use tcpkit::source::{Frame, LinkType, Timestamp};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// A frame with the time that it was sent at.
#[derive(Clone, Debug)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub time: u64,
}

/// An Ethernet frame with IPv4, by RFC 791, with ports and `rest` of them behind; checksums are left 0, as offloading
/// leaves them in captures.
fn ports(protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16), rest: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let rest = rest.concat();
    frame.extend([0x45, 0]);
    frame.extend((24 + rest.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(from.0);
    frame.extend(to.0);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    frame.extend(rest);
    frame
}

/// A frame with TCP, by RFC 9293.
pub fn tcp(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    seq: u32,
    ack: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let [seq, ack] = [seq, ack].map(u32::to_be_bytes);
    let window = 1000_u16.to_be_bytes();
    let rest = [&seq[..], &ack, &[0x50, flags], &window, &[0; 4], payload];
    ports(6, from, to, &rest)
}

/// A frame with UDP, by RFC 768.
pub fn udp(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    ports(17, from, to, &[&length, &[0; 2], payload])
}

/// One TCP conversation that is written turn by turn.
pub struct Script {
    pub frames: Vec<Sent>,
    client: ([u8; 4], u16),
    server: ([u8; 4], u16),
    next: [u32; 2],
    time: u64,
}

impl Script {
    /// A conversation with its handshake done.
    pub fn new(client_port: u16, server_port: u16) -> Self {
        let mut script = Self {
            frames: Vec::new(),
            client: ([10, 0, 0, 1], client_port),
            server: ([10, 0, 0, 2], server_port),
            next: [u32::MAX - 20, 77],
            time: 1_700_000_000_000_000_000,
        };
        script.send(false, SYN, &[]);
        script.send(true, SYN | ACK, &[]);
        script.send(false, ACK, &[]);
        script
    }

    /// Sends one segment a microsecond later; `server` says who.
    pub fn send(&mut self, server: bool, flags: u8, payload: &[u8]) {
        let (d, e) = (usize::from(server), usize::from(!server));
        let ends = [self.client, self.server];
        let ack = if flags & ACK != 0 { self.next[e] } else { 0 };
        let bytes = tcp(ends[d], ends[e], self.next[d], ack, flags, payload);
        let virtual_bytes = u32::from(flags & (SYN | FIN) != 0);
        self.next[d] = self.next[d].wrapping_add(payload.len() as u32 + virtual_bytes);
        self.time += 1000;
        self.frames.push(Sent {
            bytes,
            time: self.time,
        });
    }

    /// Sends one segment, so many bytes of the other side being on their way to its sender.
    pub fn send_before(&mut self, server: bool, payload: &[u8], on_their_way: usize) {
        let e = usize::from(!server);
        let next = self.next[e];
        self.next[e] = next.wrapping_sub(on_their_way as u32);
        self.send(server, PSH | ACK, payload);
        self.next[e] = next;
    }

    /// Sends one segment whose sequence number is so far from the one that is due, which stays due.
    pub fn send_off(&mut self, server: bool, flags: u8, payload: &[u8], off: u32) {
        let next = self.next;
        let d = usize::from(server);
        self.next[d] = next[d].wrapping_add(off);
        self.send(server, flags, payload);
        self.next = next;
    }

    /// From here on another conversation of the same addresses, of which this is not the beginning.
    pub fn begin_anew(&mut self, next: [u32; 2]) {
        self.next = next;
    }

    /// A conversation of which nothing was sent yet.
    pub fn unbegun(client_port: u16, server_port: u16) -> Self {
        let begun = Self::new(client_port, server_port);
        Self {
            frames: Vec::new(),
            next: [u32::MAX - 20, 77],
            ..begun
        }
    }

    /// Sends bytes in segments of at most `mss`.
    pub fn say(&mut self, server: bool, bytes: &[u8], mss: usize) {
        for segment in bytes.chunks(mss.max(1)) {
            self.send(server, PSH | ACK, segment);
        }
    }

    /// Lets so many nanoseconds pass.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.time += nanoseconds;
    }

    /// Ends the conversation from both sides.
    pub fn close(&mut self) {
        self.send(false, FIN | ACK, &[]);
        self.send(true, FIN | ACK, &[]);
        self.send(false, ACK, &[]);
    }
}

/// Saves frames as a capture file with times in nanoseconds
/// (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>) in the folder for temporary files.
pub fn save(frames: &[Sent], name: &str) -> PathBuf {
    let mut bytes = Vec::new();
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for sent in frames {
        let length = sent.bytes.len() as u32;
        let (seconds, rest) = (sent.time / 1_000_000_000, sent.time % 1_000_000_000);
        for word in [seconds as u32, rest as u32, length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&sent.bytes);
    }
    let name = format!("tcpkit-{name}-{}.pcap", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What a test compares of an exchange or an unanswered request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub request: String,
    pub request_bytes: u64,
    pub response_bytes: Option<u64>,
    pub confidence: Option<Confidence>,
    pub status: u16,
    pub hits_and_misses: (u32, u32),
    pub cut: bool,
    pub frames: [u64; 4],
    pub wait: u64,
}

/// Remembers.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<Vec<Found>>>);

impl Sink for Memory {
    fn needs(&self) -> Needs {
        Needs {
            text: true,
            packets: false,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let found = match event {
            Event::Exchange(x) => {
                let mut text = Vec::new();
                x.protocol.render(x.text, 255, &mut text);
                Found {
                    request: String::from_utf8_lossy(&text).into_owned(),
                    request_bytes: x.request.size,
                    response_bytes: x.response.map(|response| response.size),
                    confidence: Some(x.confidence),
                    status: x.status,
                    hits_and_misses: (x.hits, x.misses),
                    cut: x.cut,
                    frames: [
                        x.request.first.frame,
                        x.request.last.frame,
                        x.response.map_or(0, |response| response.first.frame),
                        x.response.map_or(0, |response| response.last.frame),
                    ],
                    wait: x.wait,
                }
            }
            Event::Unanswered(x) => {
                let mut text = Vec::new();
                x.protocol.render(x.text, 255, &mut text);
                Found {
                    request: String::from_utf8_lossy(&text).into_owned(),
                    request_bytes: x.request.size,
                    response_bytes: None,
                    confidence: None,
                    status: 0,
                    hits_and_misses: (0, 0),
                    cut: false,
                    frames: [x.request.first.frame, x.request.last.frame, 0, 0],
                    wait: 0,
                }
            }
            _ => return Ok(()),
        };
        if let Ok(mut all) = self.0.lock() {
            all.push(found);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs frames through the whole middle, taken for `kind` on `port`.
pub fn run(frames: &[Sent], port: u16, kind: Kind) -> (Vec<Found>, Stats) {
    let numbered: Vec<(u64, &Sent)> = frames
        .iter()
        .enumerate()
        .map(|(index, frame)| (index as u64 + 1, frame))
        .collect();
    run_numbered(&numbered, port, kind)
}

/// As [`run`], with frame numbers that stay with their frames.
pub fn run_numbered(frames: &[(u64, &Sent)], port: u16, kind: Kind) -> (Vec<Found>, Stats) {
    let frames: Vec<_> = frames
        .iter()
        .map(|&(number, sent)| (number, 0, sent))
        .collect();
    run_on_interfaces(&frames, port, kind)
}

/// As [`run`]; requests are reported as unanswered after `timeout`.
pub fn run_with_timeout(
    frames: &[Sent],
    port: u16,
    kind: Kind,
    timeout: Duration,
) -> (Vec<Found>, Stats) {
    let frames: Vec<_> = (1..).zip(frames).map(|(n, sent)| (n, 0, sent)).collect();
    run_all(&frames, port, kind, timeout)
}

/// As [`run_numbered`], each frame on the interface behind its number.
pub fn run_on_interfaces(
    frames: &[(u64, u32, &Sent)],
    port: u16,
    kind: Kind,
) -> (Vec<Found>, Stats) {
    run_all(frames, port, kind, Duration::from_secs(60))
}

fn run_all(
    frames: &[(u64, u32, &Sent)],
    port: u16,
    kind: Kind,
    timeout: Duration,
) -> (Vec<Found>, Stats) {
    let mut selector = Selector::new(Kind::Auto, Vec::new());
    selector.add_ports(port..=port, kind);
    let settings = Settings {
        selector: Arc::new(selector),
        timeout,
        threshold: None,
        worker: 0,
        owners: Owners::alone(),
    };
    let memory = Memory::default();
    let outlet = Outlet::new(
        Stats::new(Rules::default(), &[]),
        vec![Box::new(memory.clone())],
    );
    let mut worker = Worker::new(settings, outlet);
    for (number, interface, sent) in frames {
        worker.frame(&Frame {
            data: &sent.bytes,
            time: Timestamp(sent.time),
            number: *number,
            wire_len: sent.bytes.len() as u32,
            interface: *interface,
            link: LinkType::ETHERNET,
        });
    }
    let outlet = worker.finish();
    let found = memory.0.lock().map(|all| all.clone()).unwrap_or_default();
    (found, outlet.stats)
}
