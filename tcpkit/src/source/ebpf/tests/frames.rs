//! Frames made by hand, header by header.

/// Joins headers and payload.
pub(super) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Ethernet with a type.
pub(super) fn ethernet(kind: u16) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    join(&[&addresses, &kind.to_be_bytes()])
}

/// A VLAN tag's value and the type behind it.
pub(super) fn tag(value: u16, kind: u16) -> Vec<u8> {
    join(&[&value.to_be_bytes(), &kind.to_be_bytes()])
}

/// IPv4 with options (a multiple of four bytes); `total` is what the header says.
pub(super) fn ipv4(protocol: u8, total: u16, fragment: u16, options: &[u8]) -> Vec<u8> {
    let first = 0x40 | (5 + options.len() / 4) as u8;
    join(&[
        &[first, 0],
        &total.to_be_bytes(),
        &[0, 7],
        &fragment.to_be_bytes(),
        &[64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
        options,
    ])
}

/// IPv6 with a payload of so many bytes.
pub(super) fn ipv6(next: u8, payload: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(payload.to_be_bytes());
    header.extend([next, 64]);
    header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    header
}

/// TCP flags.
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const FIN: u8 = 1;
pub(super) const ACK: u8 = 16;

/// TCP without options.
pub(super) fn tcp(from: u16, to: u16, flags: u8, window: u16) -> Vec<u8> {
    let mut header = join(&[&from.to_be_bytes(), &to.to_be_bytes()]);
    header.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags]);
    header.extend(window.to_be_bytes());
    header.extend([0; 4]);
    header
}

/// UDP with a payload of so many bytes.
pub(super) fn udp(from: u16, to: u16, payload: usize) -> Vec<u8> {
    let length = (8 + payload) as u16;
    join(&[
        &from.to_be_bytes(),
        &to.to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
    ])
}

/// Bytes that differ from place to place.
pub(super) fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// A TCP segment over IPv4 to a port, of `length` bytes in all.
pub(super) fn segment(to: u16, length: usize) -> Vec<u8> {
    let data = payload(length - 54);
    let total = u16::try_from(length - 14).unwrap_or(0);
    join(&[
        &ethernet(0x0800),
        &ipv4(6, total, 0, &[]),
        &tcp(40_000, to, ACK, 512),
        &data,
    ])
}
