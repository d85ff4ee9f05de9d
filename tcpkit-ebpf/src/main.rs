//! The kernel half of tcpkit.
//!
//! Reads every frame that passes an interface, at XDP or TC; makes a record in a ring for each that is wanted.
//! It matches, stamps, cuts and copies, and counts what it could not do. It changes no frame, and every path
//! lets the frame go on: to the next program at TC, to the network stack at XDP.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bytes;
mod capture;
mod frame;
mod header;
mod maps;
mod monitor;
mod record;
mod settings;
mod verifier;
mod walk;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use tcpkit_common::{EGRESS, ETHERNET, INGRESS, IP};

use crate::capture::capture;
use crate::frame::{Fragments, Page, Skb};

/// `TC_ACT_UNSPEC`, `TCX_NEXT`: no opinion. Any other value starves the programs behind this one.
const NEXT: i32 = -1;

/// XDP on kernels that know frames of several fragments.
#[xdp(frags)]
#[inline(always)]
pub fn tcpkit_xdp_frag(context: XdpContext) -> u32 {
    capture(&Fragments::new(context.ctx), INGRESS, ETHERNET);
    XDP_PASS
}

/// XDP on kernels that do not: the frame is one piece of memory.
#[xdp]
#[inline(always)]
pub fn tcpkit_xdp(context: XdpContext) -> u32 {
    capture(&Page::new(context.ctx), INGRESS, ETHERNET);
    XDP_PASS
}

/// TC, what the host receives.
#[classifier]
#[inline(always)]
pub fn tcpkit_in(context: TcContext) -> i32 {
    let frame = Skb::new(context.skb.skb);
    capture(&frame, INGRESS, frame.link());
    NEXT
}

/// TC, what the host sends.
#[classifier]
#[inline(always)]
pub fn tcpkit_out(context: TcContext) -> i32 {
    capture(&Skb::new(context.skb.skb), EGRESS, ETHERNET);
    NEXT
}

/// TC on an interface without a link layer, what the host receives.
#[classifier]
#[inline(always)]
pub fn tcpkit_in_ip(context: TcContext) -> i32 {
    capture(&Skb::new(context.skb.skb), INGRESS, IP);
    NEXT
}

/// TC on an interface without a link layer, what the host sends.
#[classifier]
#[inline(always)]
pub fn tcpkit_out_ip(context: TcContext) -> i32 {
    capture(&Skb::new(context.skb.skb), EGRESS, IP);
    NEXT
}

/// Names the licence that the kernel asks for before it lends its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier proves that nothing panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
