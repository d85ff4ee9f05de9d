//! Hand-made frames, and the decoder beside an independent one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

mod fragments;
mod lengths;
mod links;
mod oracle;
mod robust;
mod tunnels;

use super::{Addresses, Decoded, Decoder, Packet, Transport, fast, flag};
use crate::source::{Frame, LinkType, Timestamp};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 7];

/// 2001:db8::1 and 2001:db8::2.
const CLIENT6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVER6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A segment from port 50000 to port 6379.
fn tcp(payload: &[u8]) -> Vec<u8> {
    tcp_with(&[], payload)
}

fn tcp_with(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = (20 + options.len()) as u8 / 4;
    #[rustfmt::skip]
    let head = [
        0xc3, 0x50, 0x18, 0xeb, // ports
        0x01, 0x02, 0x03, 0x04, // sequence
        0x0a, 0x0b, 0x0c, 0x0d, // acknowledgement
        offset << 4, 0x18, 0x02, 0x00, // PSH and ACK, window 512
        0xbe, 0xef, 0x00, 0x00,
    ];
    join(&[&head, options, payload])
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    udp_claiming(source, destination, 8 + payload.len() as u16, payload)
}

fn udp_claiming(source: u16, destination: u16, length: u16, payload: &[u8]) -> Vec<u8> {
    join(&[
        &source.to_be_bytes(),
        &destination.to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        payload,
    ])
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(20 + payload.len() as u16, 0x4000, protocol, &[], payload)
}

/// With a total length, flags and fragment offset, and options of choice; identification 0x1234.
fn ipv4_with(total: u16, place: u16, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let version = 0x45 + options.len() as u8 / 4;
    join(&[
        &[version, 0],
        &total.to_be_bytes(),
        &[0x12, 0x34],
        &place.to_be_bytes(),
        &[64, protocol, 0, 0],
        &CLIENT,
        &SERVER,
        options,
        payload,
    ])
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_with(payload.len() as u16, next, payload)
}

fn ipv6_with(length: u16, next: u8, payload: &[u8]) -> Vec<u8> {
    join(&[
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        &[next, 64],
        &CLIENT6,
        &SERVER6,
        payload,
    ])
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
        &ether_type.to_be_bytes(),
        payload,
    ])
}

fn frame(link: LinkType, data: &[u8]) -> Frame<'_> {
    Frame {
        data,
        time: Timestamp(1_000_000_000),
        number: 7,
        wire_len: data.len() as u32,
        interface: 3,
        link,
    }
}

/// The packet that [`tcp`] in [`ipv4`] makes.
fn segment(payload: &[u8]) -> Packet<'_> {
    Packet {
        time: Timestamp(1_000_000_000),
        frame: 7,
        interface: 3,
        addresses: Addresses::V4 {
            source: u32::from_be_bytes(CLIENT),
            destination: u32::from_be_bytes(SERVER),
        },
        source_port: 50000,
        destination_port: 6379,
        transport: Transport::Tcp,
        flags: flag::PSH | flag::ACK,
        ip_id: Some(0x1234),
        seq: 0x0102_0304,
        ack: 0x0a0b_0c0d,
        window: 512,
        payload,
        payload_len: payload.len() as u32,
    }
}

/// The packet that [`tcp`] in [`ipv6`] makes.
fn segment6(payload: &[u8]) -> Packet<'_> {
    Packet {
        addresses: Addresses::V6 {
            source: u128::from_be_bytes(CLIENT6),
            destination: u128::from_be_bytes(SERVER6),
        },
        ip_id: None,
        ..segment(payload)
    }
}

/// The packet that [`udp`] in [`ipv4`] makes.
fn datagram(source_port: u16, destination_port: u16, payload: &[u8]) -> Packet<'_> {
    Packet {
        source_port,
        destination_port,
        transport: Transport::Udp,
        flags: 0,
        seq: 0,
        ack: 0,
        window: 0,
        ..segment(payload)
    }
}

#[track_caller]
fn decodes_to(link: LinkType, data: &[u8], expected: Packet<'_>) {
    let mut decoder = Decoder::new();
    assert_eq!(
        decoder.decode(&frame(link, data)),
        Decoded::Packet(expected)
    );
}

#[track_caller]
fn ends_as(link: LinkType, data: &[u8], expected: Decoded<'_>) {
    assert_eq!(Decoder::new().decode(&frame(link, data)), expected);
}
