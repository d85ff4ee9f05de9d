//! TCP and UDP.

use super::bytes::Bytes;
use super::walk::{End, Step, Walk};
use super::{Addresses, Packet, Transport, tunnel};

/// TCP (RFC 9293, section 3.1).
pub(super) fn tcp<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
    let head: &[u8; 20] = bytes.peek()?;
    let header = usize::from(head[12] >> 4) * 4;
    if header < head.len() {
        return Err(End::Malformed);
    }
    bytes.skip(header)?;
    let packet = &mut walk.packet;
    packet.transport = Transport::Tcp;
    packet.flags = head[13];
    packet.seq = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    packet.ack = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    packet.window = u16::from_be_bytes([head[14], head[15]]);
    fill(packet, [head[0], head[1], head[2], head[3]], bytes);
    Ok(Step::Packet)
}

/// UDP (RFC 768). A datagram to a tunnel's port is looked into, and kept in case it is none.
pub(super) fn udp<'a>(walk: &mut Walk<'a>, bytes: &mut Bytes<'a>) -> Result<Step<'a>, End> {
    let head: &[u8; 8] = bytes.peek()?;
    match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        0 if may_be_jumbo(walk, bytes) => {}
        length if length < head.len() || length > bytes.claimed() => return Err(End::Malformed),
        length => bytes.limit(length),
    }
    bytes.skip(head.len())?;
    fill(
        &mut walk.packet,
        [head[0], head[1], head[2], head[3]],
        bytes,
    );
    Ok(match tunnel::by_port(walk.packet.destination_port) {
        Some(inside) => {
            walk.outer = Some(walk.packet);
            Step::Next(inside)
        }
        None => Step::Packet,
    })
}

/// Whether a datagram's length may be 0: a jumbogram's does not fit (RFC 2675, section 4), nor
/// does that of a tunnel around a segment that an offload is yet to cut, over IPv4 either.
fn may_be_jumbo(walk: &Walk<'_>, bytes: &Bytes<'_>) -> bool {
    let six = matches!(walk.packet.addresses, Addresses::V6 { .. });
    six || bytes.claimed() > usize::from(u16::MAX)
}

/// What TCP and UDP have in common.
fn fill<'a>(packet: &mut Packet<'a>, ports: [u8; 4], payload: &Bytes<'a>) {
    packet.source_port = u16::from_be_bytes([ports[0], ports[1]]);
    packet.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
    packet.payload = payload.captured();
    packet.payload_len = u32::try_from(payload.on_wire()).unwrap_or(u32::MAX);
}
