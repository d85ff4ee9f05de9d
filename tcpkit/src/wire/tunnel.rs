//! Tunnels: GRE, VXLAN, Geneve and L2TP.
//!
//! Each function takes one header off and names the layer inside. A UDP port alone makes no
//! tunnel, so those two refuse what their specification does not allow; reserved bits it tells
//! a receiver to ignore.

use super::bytes::Bytes;
use super::walk::{End, Layer};

/// The layer inside a UDP datagram to this port, if it is a tunnel's. 8472 is what Linux used
/// for VXLAN before IANA assigned 4789, and what flannel still does.
pub(super) fn by_port(port: u16) -> Option<Layer> {
    match port {
        4789 | 8472 => Some(Layer::Vxlan),
        6081 => Some(Layer::Geneve),
        1701 => Some(Layer::L2tp),
        _ => None,
    }
}

/// GRE version 0 (RFC 2784, RFC 2890).
pub(super) fn gre(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    const CHECKSUM: u8 = 0x80;
    const ROUTING: u8 = 0x40;
    const KEY: u8 = 0x20;
    const SEQUENCE: u8 = 0x10;
    let [flags, version, high, low] = *bytes.take()?;
    if flags & ROUTING != 0 || version & 7 != 0 {
        return Err(End::Other);
    }
    for field in [CHECKSUM, KEY, SEQUENCE] {
        if flags & field != 0 {
            bytes.skip(4)?;
        }
    }
    Ok(Layer::EtherType(u16::from_be_bytes([high, low])))
}

/// VXLAN (RFC 7348): the bit that says a network identifier is there must be set. Some reserved
/// ones carry the group policy extension.
pub(super) fn vxlan(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let head: &[u8; 8] = bytes.take()?;
    if head[0] & 0x08 == 0 {
        return Err(End::Other);
    }
    Ok(Layer::Ethernet)
}

/// L2TP version 2 (RFC 2661, section 3.1): data messages, which carry PPP.
pub(super) fn l2tp(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    const CONTROL: u8 = 0x80;
    const LENGTH: u8 = 0x40;
    const SEQUENCE: u8 = 0x08;
    const OFFSET: u8 = 0x02;
    let [flags, version] = *bytes.take()?;
    if flags & CONTROL != 0 || version & 0x0f != 2 {
        return Err(End::Other);
    }
    if flags & LENGTH != 0 {
        bytes.skip(2)?;
    }
    // Tunnel and session.
    bytes.skip(4)?;
    if flags & SEQUENCE != 0 {
        bytes.skip(4)?;
    }
    if flags & OFFSET != 0 {
        let size: &[u8; 2] = bytes.take()?;
        bytes.skip(usize::from(u16::from_be_bytes(*size)))?;
    }
    Ok(Layer::Ppp)
}

/// Geneve (RFC 8926), version 0, its options skipped.
pub(super) fn geneve(bytes: &mut Bytes<'_>) -> Result<Layer, End> {
    let [first, _, high, low, _, _, _, _] = *bytes.take()?;
    if first >> 6 != 0 {
        return Err(End::Other);
    }
    bytes.skip(usize::from(first & 0x3f) * 4)?;
    Ok(Layer::EtherType(u16::from_be_bytes([high, low])))
}
