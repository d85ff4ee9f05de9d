//! Read-only settings, given before the programs are loaded ([`tcpkit_common::setting`]).

use aya_ebpf::Global;

#[unsafe(no_mangle)]
pub static SNAPLEN: Global<u32> = Global::new(tcpkit_common::FRAME);
#[unsafe(no_mangle)]
pub static RING_BYTES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static RING_STEP: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
pub static TCP: Global<u8> = Global::new(1);
#[unsafe(no_mangle)]
pub static UDP: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
pub static EMPTY_SEGMENTS: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
pub static SERVERS_ONLY: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
pub static HEARTBEAT: Global<u8> = Global::new(0);

/// Whether a setting of this kind is on.
#[inline(always)]
pub fn is_on(setting: &Global<u8>) -> bool {
    setting.load() != 0
}
