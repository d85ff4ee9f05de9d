//! TCP and UDP.

use super::bytes::Bytes;
use super::walk::{End, Step, Walk};
use super::{Addresses, Packet, Transport, tunnel};

/// TCP (RFC 9293, section 3.1).
pub(super) fn tcp<'a>(walk: &Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Packet<'a>, End> {
    let head: &[u8; 20] = bytes.peek()?;
    let header = usize::from(head[12] >> 4) * 4;
    if header < head.len() {
        return Err(End::Malformed);
    }
    bytes.skip(header)?;
    Ok(Packet {
        transport: Transport::Tcp,
        flags: head[13],
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        window: u16::from_be_bytes([head[14], head[15]]),
        ..packet(walk, [head[0], head[1], head[2], head[3]], bytes)
    })
}

/// UDP (RFC 768). A datagram to a tunnel's port is looked into, and kept in case it is none.
pub(super) fn udp<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
    let head: &[u8; 8] = bytes.peek()?;
    match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        // A jumbogram's length does not fit (RFC 2675, section 4).
        0 if matches!(walk.addresses, Addresses::V6 { .. }) => {}
        length if length < head.len() || length > bytes.claimed() => return Err(End::Malformed),
        length => bytes.limit(length),
    }
    bytes.skip(head.len())?;
    let packet = packet(walk, [head[0], head[1], head[2], head[3]], bytes);
    Ok(match tunnel::by_port(packet.destination_port) {
        Some(inside) => {
            walk.outer = Some(packet);
            Step::Next(inside)
        }
        None => Step::Packet(packet),
    })
}

/// A UDP packet of these two ports, of which a TCP one differs in five fields.
fn packet<'a>(walk: &Walk<'a>, ports: [u8; 4], payload: &Bytes<'a>) -> Packet<'a> {
    Packet {
        time: walk.time,
        frame: walk.frame,
        interface: walk.interface,
        addresses: walk.addresses,
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        transport: Transport::Udp,
        flags: 0,
        ip_id: walk.ip_id,
        seq: 0,
        ack: 0,
        window: 0,
        payload: payload.captured(),
        payload_len: u32::try_from(payload.on_wire()).unwrap_or(u32::MAX),
    }
}
