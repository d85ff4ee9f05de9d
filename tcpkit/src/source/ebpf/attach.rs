//! Attaching a program so that it goes when this process does: by a link, which the kernel closes with its
//! descriptor.
//!
//! aya's own way falls back to netlink for XDP, which outlives a kill, and takes TCX by the kernel's version.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::system::{Command, bpf_made};

/// A place on an interface where a program can be linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    TcxIngress,
    TcxEgress,
    XdpNative,
    XdpGeneric,
}

/// `BPF_F_BEFORE`: without another program named, before all of them. A program before ours that says that a
/// frame is done with would keep it from us.
const FIRST: u32 = 1 << 3;

impl Place {
    /// `enum bpf_attach_type`.
    fn kind(self) -> u32 {
        match self {
            Self::XdpNative | Self::XdpGeneric => 37,
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
        }
    }

    fn flags(self) -> u32 {
        match self {
            Self::TcxIngress | Self::TcxEgress => FIRST,
            // `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE`.
            Self::XdpNative => 1 << 2,
            Self::XdpGeneric => 1 << 1,
        }
    }
}

/// Links a program to an interface until the descriptor is closed.
///
/// # Errors
/// `EINVAL` where the kernel has no such links, `EBUSY` or `EEXIST` where another program holds XDP, `EOPNOTSUPP`
/// where the driver runs none.
pub(super) fn link(program: BorrowedFd<'_>, ifindex: u32, place: Place) -> io::Result<OwnedFd> {
    // The start of `union bpf_attr` for this command; what follows means something for other places only.
    let mut attributes = [0_u32; 16];
    attributes[0] = program.as_raw_fd() as u32;
    attributes[1] = ifindex;
    attributes[2] = place.kind();
    attributes[3] = place.flags();
    // SAFETY: attributes of this command, which point to nothing.
    unsafe { bpf_made(Command::LinkCreate, &mut attributes) }
}
