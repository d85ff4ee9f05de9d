//! The frame that a program was called for: its lengths, and how to copy from it.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};

use tcpkit_common::{ETHERNET, FRAME, IP, PAGE_FRAME, XDP_PIECE};

use crate::bytes::{Bytes, Linear};
use crate::verifier::{self, hide, offset};

/// An outer VLAN tag that the driver or the stack took off. All of it is always read: a verifier before 5.11
/// does not see that a value which is only there with another one is only used with it.
#[derive(Clone, Copy)]
pub struct OuterTag {
    pub is_present: bool,
    /// Its type, in network byte order.
    pub kind: u16,
    pub value: u16,
}

impl OuterTag {
    const NONE: Self = Self {
        is_present: false,
        kind: 0,
        value: 0,
    };
}

/// What XDP and TC have in common.
pub trait Frame {
    /// Whether bytes beyond [`Frame::linear`] can be copied.
    const SCATTERED: bool;

    /// Most bytes that [`Frame::copy`] copies.
    const MOST: u32;

    /// Bytes of the frame, as it lies in memory.
    fn len(&self) -> u32;

    /// Index of the interface.
    fn ifindex(&self) -> u32;

    /// The bytes that can be read in place: the first piece.
    fn linear(&self) -> Linear;

    /// The tag that belongs in front of the frame's type.
    fn tag(&self) -> OuterTag;

    /// Copies the first `length` bytes, from 1 to `MAX`; `None` where that cannot be.
    ///
    /// # Safety
    /// `target` must have room for `MAX` bytes.
    unsafe fn copy<const MAX: usize>(&self, target: *mut u8, length: u32) -> Option<()>;
}

/// A frame at TC.
pub struct Skb(*mut __sk_buff);

impl Skb {
    pub fn new(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    /// What the frame of an Ethernet interface begins with. Generic XDP, anybody's, may copy a frame, and Linux then
    /// forgets how long the link header is: TC programs behind it see the frame from its IP header on.
    #[inline(always)]
    pub fn link(&self) -> u8 {
        // SAFETY: the context outlives the program.
        let kind = unsafe { (*self.0).protocol as u16 };
        let version = match u16::from_be(kind) {
            0x0800 => 4,
            0x86dd => 6,
            _ => return ETHERNET,
        };
        let linear = self.linear();
        let Some(head) = linear.at::<[u8; 14]>(0) else {
            return ETHERNET;
        };
        let is_ethernet = u16::from_ne_bytes([head[12], head[13]]) == kind;
        if !is_ethernet && head[0] >> 4 == version {
            IP
        } else {
            ETHERNET
        }
    }
}

impl Frame for Skb {
    const SCATTERED: bool = true;
    const MOST: u32 = FRAME;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context outlives the program.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: as above; the verifier rewrites both fields to pointers.
        unsafe { Linear::new((*self.0).data as usize, (*self.0).data_end as usize) }
    }

    #[inline(always)]
    fn tag(&self) -> OuterTag {
        // SAFETY: as above.
        unsafe {
            OuterTag {
                is_present: (*self.0).vlan_present != 0,
                kind: (*self.0).vlan_proto as u16,
                value: (*self.0).vlan_tci as u16,
            }
        }
    }

    #[inline(always)]
    unsafe fn copy<const MAX: usize>(&self, target: *mut u8, length: u32) -> Option<()> {
        let length = verifier::length::<MAX>(length)?;
        // SAFETY: at most MAX bytes, for which the caller has room.
        let done = unsafe { bpf_skb_load_bytes(self.0.cast(), 0, target.cast(), length) };
        (done == 0).then_some(())
    }
}

/// A frame at XDP, perhaps of several fragments.
pub struct Fragments(*mut xdp_md);

/// Bytes beyond the first piece of the largest frame.
const XDP_REST: usize = (FRAME - XDP_PIECE) as usize;

impl Fragments {
    pub fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }

    /// Copies bytes that the caller has room for.
    #[inline(always)]
    fn load(&self, offset: u32, target: *mut u8, length: u32) -> Option<()> {
        // SAFETY: the context outlives the program; the verifier checks the room.
        let done = unsafe { bpf_xdp_load_bytes(self.0, offset, target.cast(), length) };
        (done == 0).then_some(())
    }
}

impl Frame for Fragments {
    const SCATTERED: bool = true;
    const MOST: u32 = FRAME;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context outlives the program.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: as above; the verifier rewrites both fields to pointers.
        unsafe { Linear::new((*self.0).data as usize, (*self.0).data_end as usize) }
    }

    #[inline(always)]
    fn tag(&self) -> OuterTag {
        OuterTag::NONE
    }

    #[inline(always)]
    unsafe fn copy<const MAX: usize>(&self, target: *mut u8, length: u32) -> Option<()> {
        if MAX == FRAME as usize && length > XDP_PIECE {
            // SAFETY: the caller has room for all of a frame.
            let rest = unsafe { target.add(XDP_PIECE as usize) };
            let rest_length = verifier::length::<XDP_REST>(length - XDP_PIECE)?;
            self.load(0, target, XDP_PIECE)?;
            return self.load(XDP_PIECE, rest, rest_length);
        }
        self.load(0, target, verifier::length::<MAX>(length)?)
    }
}

/// A frame at XDP that lies in one piece, on kernels that have no helper to copy from it.
pub struct Page(*mut xdp_md);

impl Page {
    pub fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }
}

/// Bytes that are copied at once.
const WORD: usize = size_of::<u64>();

impl Frame for Page {
    const SCATTERED: bool = false;
    const MOST: u32 = PAGE_FRAME;

    #[inline(always)]
    fn len(&self) -> u32 {
        let linear = self.linear();
        (linear.end - linear.start) as u32
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context outlives the program.
        unsafe { (*self.0).ingress_ifindex }
    }

    #[inline(always)]
    fn linear(&self) -> Linear {
        // SAFETY: as above; the verifier rewrites both fields to pointers.
        unsafe { Linear::new((*self.0).data as usize, (*self.0).data_end as usize) }
    }

    #[inline(always)]
    fn tag(&self) -> OuterTag {
        OuterTag::NONE
    }

    /// Word by word from the front as far as the frame and the record go, then the last word, over what is there
    /// already. The loop does not look at `length`: older verifiers then keep bounds for it that contradict
    /// each other, and take the last word's place for anything.
    #[inline(always)]
    unsafe fn copy<const MAX: usize>(&self, target: *mut u8, length: u32) -> Option<()> {
        let Linear { start, end } = self.linear();
        let length = hide(u64::from(length)) as usize;
        let mut at = 0;
        while at + WORD <= MAX && start + at + WORD <= end {
            // SAFETY: inside the frame by the last condition, inside the target by the first.
            unsafe { copy_word(start + at, target.add(at)) };
            at += WORD;
        }
        let last = offset::<MAX>(length.wrapping_sub(WORD), WORD)?;
        if start + last + WORD > end {
            return None;
        }
        // SAFETY: inside the frame by the line above, inside the target by `offset`.
        unsafe { copy_word(start + last, target.add(last)) };
        Some(())
    }
}

/// # Safety
/// Both must be the places of a whole word; neither has to be aligned.
#[inline(always)]
unsafe fn copy_word(source: usize, target: *mut u8) {
    // SAFETY: the caller's; the kernel takes unaligned access to both, or the verifier refuses it.
    unsafe { *target.cast::<u64>() = *(source as *const u64) };
}
