//! The interfaces of this network namespace, and what frames on them look like at TC.

use std::io;

use super::netlink::{attributes, dump, text, u16_at, u32_at};
use crate::source::LinkType;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) mtu: u32,
    /// What it is, as the kernel calls it: `veth`, `bond`, `vlan`; empty for a network card.
    pub(super) kind: String,
    hardware: u16,
    flags: u32,
    /// The kind of what it is a part of: `bond`, `bridge`; and that one's index.
    part_of: String,
    master: u32,
    /// The index of the interface below, for VLANs and the like; 0 for none.
    below: u32,
}

impl Device {
    /// Whether it can carry frames.
    pub(super) fn is_up(&self) -> bool {
        self.flags & libc::IFF_UP as u32 != 0
    }

    /// Whether each frame passes it twice, out and in.
    pub(super) fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Whether its frames are seen at the bond that it is a part of.
    pub(super) fn is_bond_slave(&self) -> bool {
        self.part_of == "bond"
    }

    /// The index of the bond that it is a part of.
    pub(super) fn bond(&self) -> Option<u32> {
        self.is_bond_slave().then_some(self.master)
    }

    /// Whether others join it while it is there, as ports join a bridge.
    pub(super) fn gathers(&self) -> bool {
        GATHERING.iter().any(|kind| self.kind == *kind)
    }

    /// What its frames begin with; `None` for hardware that is not known.
    pub(super) fn link(&self) -> Option<LinkType> {
        match self.hardware {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::ETHERNET),
            // Tunnels: at TC nothing stands before the IP header.
            libc::ARPHRD_NONE
            | RAWIP
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT => Some(LinkType::RAW),
            _ => None,
        }
    }
}

/// `ARPHRD_RAWIP`: modems.
const RAWIP: u16 = 519;

/// Bytes of `struct ifinfomsg`.
const HEADER: usize = 16;

/// In `IFLA_LINKINFO`: the interface's kind, and the kind of what it is a part of.
const INFO_KIND: u16 = 1;
const INFO_SLAVE_KIND: u16 = 4;

/// Kinds whose link is the interface below; of others, such as veth, it is the far end.
const STACKED: [&str; 4] = ["vlan", "macvlan", "macvtap", "ipvlan"];

/// Kinds that others join. Of a bond the parts are not captured.
const GATHERING: [&str; 4] = ["bridge", "openvswitch", "team", "vrf"];

/// The deepest stack that is looked at, a bridge over a VLAN over a bond over cards and some more: the kernel's own limit.
const DEPTH: u32 = 8;

/// All interfaces, by index.
///
/// # Errors
/// When the kernel does not list them.
pub(super) fn devices() -> io::Result<Vec<Device>> {
    let messages = dump(libc::RTM_GETLINK, &[0; HEADER])?;
    let mut devices: Vec<Device> = messages
        .iter()
        .filter_map(|message| device(&message.body))
        .collect();
    devices.sort_by_key(|device| device.index);
    Ok(devices)
}

fn device(body: &[u8]) -> Option<Device> {
    let mut device = Device {
        name: String::new(),
        index: u32_at(body, 4)?,
        mtu: 0,
        kind: String::new(),
        hardware: u16_at(body, 2)?,
        flags: u32_at(body, 8)?,
        part_of: String::new(),
        master: 0,
        below: 0,
    };
    for (kind, value) in attributes(body, HEADER) {
        match kind {
            libc::IFLA_IFNAME => device.name = text(value),
            libc::IFLA_MTU => device.mtu = u32_at(value, 0)?,
            libc::IFLA_LINK => device.below = u32_at(value, 0)?,
            libc::IFLA_MASTER => device.master = u32_at(value, 0)?,
            libc::IFLA_LINKINFO => info(value, &mut device),
            _ => {}
        }
    }
    if STACKED.iter().all(|kind| device.kind != *kind) {
        device.below = 0;
    }
    Some(device)
}

/// Orders interfaces so that each comes before those above it: the kernel refuses XDP on an interface once there is a program above
/// it, and not the other way round.
pub(super) fn lower_first(devices: &mut [&Device], found: &[Device]) {
    devices.sort_by_cached_key(|device| std::cmp::Reverse(height_above(device, found, DEPTH)));
}

/// How many interfaces lie above one another there.
fn height_above(device: &Device, found: &[Device], depth: u32) -> u32 {
    let above = found
        .iter()
        .filter(|other| other.index == device.master || other.below == device.index);
    let heights = above.map(|other| match depth {
        0 => 0,
        _ => 1 + height_above(other, found, depth - 1),
    });
    heights.max().unwrap_or(0)
}

fn info(bytes: &[u8], device: &mut Device) {
    for (kind, value) in attributes(bytes, 0) {
        match kind {
            INFO_KIND => device.kind = text(value),
            INFO_SLAVE_KIND => device.part_of = text(value),
            _ => {}
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn device(name: &str, index: u32, master: u32, below: u32) -> Device {
        Device {
            name: name.to_owned(),
            index,
            mtu: 1500,
            kind: String::new(),
            hardware: libc::ARPHRD_ETHER,
            flags: 0,
            part_of: String::new(),
            master,
            below,
        }
    }

    #[test]
    fn what_lies_below_comes_first() {
        let found = [
            device("lo", 1, 0, 0),
            device("br0", 2, 0, 0),
            device("eth0.5", 3, 2, 6),
            device("veth1", 4, 2, 0),
            device("veth2", 5, 0, 0),
            device("eth0", 6, 0, 0),
        ];
        let mut devices: Vec<_> = found.iter().collect();
        lower_first(&mut devices, &found);
        let names: Vec<_> = devices.iter().map(|device| &device.name).collect();
        assert_eq!(names, ["eth0", "eth0.5", "veth1", "lo", "br0", "veth2"]);
        // A table that says of two that each is above the other ends all the same.
        let circle = [device("a", 1, 2, 0), device("b", 2, 1, 0)];
        lower_first(&mut circle.iter().collect::<Vec<_>>(), &circle);
    }

    #[test]
    fn loopback_is_known_for_what_it_is() {
        let devices = devices().unwrap();
        let lo = devices.iter().find(|device| device.name == "lo").unwrap();
        assert!(lo.is_loopback() && !lo.is_bond_slave());
        assert_eq!(lo.link(), Some(LinkType::ETHERNET));
    }
}
