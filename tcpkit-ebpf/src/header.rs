//! Headers as they lie in a frame: bytes and 16-bit words in network byte order, so that two bytes'
//! alignment is enough.

/// Ethernet's destination and source address, before its type.
#[repr(C)]
pub struct Ethernet {
    pub addresses: [u8; 12],
    pub kind: u16,
}

/// A VLAN tag behind its type (IEEE 802.1Q).
#[repr(C)]
pub struct Tag {
    pub control: u16,
    pub kind: u16,
}

/// IPv4 without its options (RFC 791, section 3.1).
#[repr(C)]
pub struct Ipv4 {
    pub version_length: u8,
    pub service: u8,
    pub total: u16,
    pub identification: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

/// IPv6 (RFC 8200, section 3).
#[repr(C)]
pub struct Ipv6 {
    pub version_class_flow: [u16; 2],
    pub payload: u16,
    pub next: u8,
    pub hops: u8,
    pub source: [u8; 16],
    pub destination: [u8; 16],
}

/// Head of an IPv6 extension (RFC 8200, section 4).
#[repr(C)]
pub struct Extension {
    pub next: u8,
    pub length: u8,
    /// Offset and flags in a fragment header.
    pub fragment: u16,
}

/// Ports, of TCP and of UDP.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PortPair {
    pub source: u16,
    pub destination: u16,
}

/// TCP without its options (RFC 9293, section 3.1), up to the window.
#[repr(C)]
pub struct Tcp {
    pub ports: [u16; 2],
    pub sequence: [u16; 2],
    pub acknowledgement: [u16; 2],
    pub length: u8,
    pub flags: u8,
    pub window: u16,
}
