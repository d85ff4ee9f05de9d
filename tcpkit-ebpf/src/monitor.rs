//! Which ports and servers are monitored.

use aya_ebpf::btf_maps::lpm_trie::Key;
use tcpkit_common::{Address, OFF, Ports};

use crate::bytes::Bytes;
use crate::header::PortPair;
use crate::maps::{PORTS, SERVERS};
use crate::settings::{SERVERS_ONLY, is_on};
use crate::walk::Addresses;

/// The monitored ports and servers.
pub struct Monitor<'a> {
    ports: &'a Ports,
}

impl Monitor<'_> {
    /// `None` never: the map has one value.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        PORTS.get(0).map(|ports| Self { ports })
    }

    /// Whether one side is a monitored server.
    #[inline(always)]
    pub fn wants<B: Bytes>(&self, bytes: &B, ports: PortPair, addresses: Addresses) -> bool {
        let (from, to) = (
            self.is_monitored(ports.source),
            self.is_monitored(ports.destination),
        );
        if !from && !to {
            return false;
        }
        if !is_on(&SERVERS_ONLY) {
            return true;
        }
        (to && is_server(bytes, addresses, Side::Destination))
            || (from && is_server(bytes, addresses, Side::Source))
    }

    /// Whether either address is a server's, where no port is known.
    #[inline(always)]
    pub fn wants_either<B: Bytes>(&self, bytes: &B, addresses: Addresses) -> bool {
        !is_on(&SERVERS_ONLY)
            || is_server(bytes, addresses, Side::Destination)
            || is_server(bytes, addresses, Side::Source)
    }

    /// The port as it stands in the packet, which is how the map is indexed.
    #[inline(always)]
    fn is_monitored(&self, port: u16) -> bool {
        // SAFETY: any 16-bit number is inside; userspace changes single bytes at most.
        unsafe { core::ptr::read_volatile(self.ports.as_ptr().add(usize::from(port))) != OFF }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

#[inline(always)]
fn is_server<B: Bytes>(bytes: &B, addresses: Addresses, side: Side) -> bool {
    let second = usize::from(side == Side::Destination);
    let address = match addresses {
        Addresses::V4(offset) => bytes.at::<[u8; 4]>(offset + second * 4).map(mapped),
        Addresses::V6(offset) => bytes.at::<Address>(offset + second * 16).copied(),
    };
    let Some(address) = address else { return false };
    SERVERS.get(&Key::new(128, address)).is_some()
}

/// An IPv4 address as an IPv6 address (RFC 4291, section 2.5.5.2).
#[inline(always)]
fn mapped(address: &[u8; 4]) -> Address {
    let [a, b, c, d] = *address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
