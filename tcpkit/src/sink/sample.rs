//! A small protocol and exchanges of it, made by hand: what the tests of the sinks print.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::event::PacketEvent;
use crate::exchange::{Confidence, Exchange, Silence, Span, Unanswered};
use crate::flow::{Direction, Endpoints};
use crate::protocol::{
    Dissector, Input, Mark, Output, Pairing, Parsed, Probe, Protocol, Resync, StatusName, escape,
};
use crate::source::{Frame, LinkType, Timestamp};
use crate::wire::{Addresses, Packet, Transport, flag};

/// Its requests are their own text.
#[derive(Debug)]
pub struct Sample;

impl Protocol for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }
    fn transports(&self) -> &'static [Transport] {
        &[Transport::Tcp]
    }
    fn ports(&self) -> &'static [u16] {
        &[]
    }
    fn pairing(&self) -> Pairing {
        Pairing::InOrder
    }
    fn commands(&self) -> &'static [&'static str] {
        &["other", "GET", "SET"]
    }
    fn probe(&self, _: Transport, _: &[u8]) -> Probe {
        Probe::No
    }
    fn dissector(&self, _: Transport) -> Box<dyn Dissector> {
        Box::new(Silent)
    }
    fn render(&self, kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
        let shown = kept.get(..max).unwrap_or(kept);
        shown.iter().for_each(|&byte| escape(byte, out));
        shown.len()
    }
    fn status(&self, code: u16) -> StatusName {
        if code == 0 {
            StatusName::Name("OK")
        } else {
            StatusName::Code(code)
        }
    }
}

struct Silent;

impl Dissector for Silent {
    fn parse(&mut self, _: Direction, input: &Input<'_>, _: &mut Output) -> Parsed {
        Parsed {
            consumed: input.bytes.len(),
            ..Parsed::default()
        }
    }
    fn resync(&mut self, _: Direction, _: &Input<'_>) -> Resync {
        Resync::Nowhere { keep: 0 }
    }
    fn gap(&mut self, _: Direction, _: &mut Output) {}
    fn close(&mut self, _: Direction, _: u64, _: Mark, _: &mut Output) {}
}

/// 2018-11-16 10:38:36.873067 UTC, with some nanoseconds that text does not show.
pub const STAMP: Timestamp = Timestamp(1_542_364_716_873_067_890);

fn mark(before: u64, frame: u64) -> Mark {
    Mark {
        time: Timestamp(STAMP.0 - before),
        frame,
    }
}

pub fn endpoints() -> Endpoints {
    ENDPOINTS
}

static ENDPOINTS: Endpoints = Endpoints {
    client: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(172, 20, 64, 106), 53499)),
    server: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 6379)),
};

/// cli.md's example: the response began at [`STAMP`], 11.234567 ms after the request.
pub fn exchange() -> Exchange<'static> {
    let request = Span {
        first: mark(11_300_000, 4),
        last: mark(11_234_567, 5),
        size: 31,
    };
    let last = Mark {
        time: Timestamp(STAMP.0 + 1_000),
        frame: 7,
    };
    Exchange {
        endpoints: &ENDPOINTS,
        protocol: &Sample,
        command: 2,
        text: b"set foo bar",
        text_len: 11,
        request,
        response: Some(Span {
            first: mark(0, 6),
            last,
            size: 5,
        }),
        latency: Some(11_234_567),
        wait: 1_000,
        status: 0,
        status_text: b"",
        hits: 0,
        misses: 0,
        error: false,
        blocking: false,
        early: false,
        cut: false,
        confidence: Confidence::Exact,
    }
}

/// A request that was given up at [`STAMP`], after 5,003.120 ms.
pub fn unanswered() -> Unanswered<'static> {
    let sent = mark(5_003_120_000, 9);
    Unanswered {
        endpoints: endpoints(),
        protocol: &Sample,
        command: 2,
        text: b"set foo bar",
        text_len: 11,
        request: Span {
            first: sent,
            last: sent,
            size: 31,
        },
        time: STAMP,
        blocking: false,
        why: Silence::Closed,
    }
}

/// A packet of the exchange's client at [`STAMP`].
pub fn packet(transport: Transport, payload: &[u8]) -> PacketEvent<'_> {
    let packet = Packet {
        time: STAMP,
        frame: 1,
        interface: 0,
        addresses: Addresses::V4 {
            source: 0xac14_406a,
            destination: 0xc0a8_0102,
        },
        source_port: 53499,
        destination_port: 6379,
        transport,
        flags: flag::PSH | flag::ACK | flag::ECE,
        ip_id: None,
        seq: 3_405_691_582,
        ack: 12_648_430,
        window: 0,
        payload,
        payload_len: payload.len() as u32,
    };
    let frame = Frame {
        data: &[],
        time: STAMP,
        number: 1,
        wire_len: 0,
        interface: 0,
        link: LinkType::RAW,
    };
    PacketEvent {
        frame,
        fragments: &[],
        packet,
        direction: Direction::ToServer,
        copy: false,
        raw: true,
    }
}
