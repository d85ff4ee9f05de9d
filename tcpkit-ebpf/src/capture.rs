//! What every hook does with a frame: walk, match, stamp, copy, count.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_log_ebpf::debug;
use tcpkit_common::{Counters, HEARTBEAT_STALE, Head, control, count};

use crate::bytes::Copied;
use crate::frame::Frame;
use crate::maps::{CONTROL, COUNTERS, SCRATCH, SCRATCH_BYTES};
use crate::monitor::Monitor;
use crate::record::emit;
use crate::settings::{HEARTBEAT, is_on};
use crate::verifier::Forget;
use crate::walk::{Verdict, Walk};

/// Looks at a frame, and puts it into the ring where it is wanted.
#[inline(always)]
pub fn capture<F: Frame>(frame: &F, direction: u8, link: u8) {
    let Some(row) = COUNTERS.get_ptr_mut(u32::from(direction)) else {
        return;
    };
    // SAFETY: the row of this CPU, which lives as long as the program. A program that interrupts this one
    // may count in the same row: it ends before this one goes on.
    let counters: &mut Counters = unsafe { &mut *row };
    counters[count::SEEN] += 1;
    let Some(monitor) = Monitor::new() else {
        return;
    };
    let walk = Walk {
        length: frame.len() as usize,
        monitor: &monitor,
        // SAFETY: as above.
        forget: unsafe { Forget::new((*row).as_mut_ptr().add(count::WORK)) },
    };
    match look(frame, link, &walk) {
        Verdict::Wanted => wanted(frame, direction, link, counters),
        Verdict::Empty => counters[count::EMPTY] += 1,
        Verdict::Fragment => counters[count::FRAGMENTS] += 1,
        Verdict::Short | Verdict::Broken => unparsed(frame, counters),
        Verdict::Other | Verdict::Tunnel(_) => {}
    }
}

/// Walks the headers where they lie; where they are scattered, walks a copy of them.
#[inline(always)]
fn look<F: Frame>(frame: &F, link: u8, walk: &Walk<'_>) -> Verdict {
    let linear = frame.linear();
    let verdict = walk.run(&linear, link);
    let is_all = linear.end - linear.start >= walk.length;
    if !F::SCATTERED || is_all || verdict != Verdict::Short {
        return verdict;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return verdict;
    };
    let copied = (walk.length as u32).min(SCRATCH_BYTES as u32);
    // SAFETY: the scratch of this CPU has room for so many bytes.
    if unsafe { frame.copy::<SCRATCH_BYTES>(scratch.cast(), copied) }.is_none() {
        return verdict;
    }
    let copy = Copied {
        start: scratch.cast(),
        length: copied as usize,
    };
    walk.run(&copy, link)
}

#[inline(always)]
fn wanted<F: Frame>(frame: &F, direction: u8, link: u8, counters: &mut Counters) {
    // SAFETY: always allowed.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    if is_on(&HEARTBEAT) && is_left_behind(time) {
        return;
    }
    counters[count::MATCHED] += 1;
    let head = Head {
        time,
        ifindex: frame.ifindex(),
        direction,
        link,
        ..Head::default()
    };
    emit(frame, head, counters);
}

/// Whether the reader is gone, and this program with it but for the filter that a kill leaves behind.
#[inline(always)]
fn is_left_behind(now: u64) -> bool {
    let Some(words) = CONTROL.get_ptr_mut(0) else {
        return true;
    };
    // SAFETY: the map's value lives as long as the program; the reader writes it at the same time.
    let last = unsafe { words.cast::<u64>().add(control::HEARTBEAT).read_volatile() };
    now.saturating_sub(last) > HEARTBEAT_STALE
}

#[inline(always)]
fn unparsed<F: Frame>(frame: &F, counters: &mut Counters) {
    counters[count::UNPARSED] += 1;
    debug!(
        frame,
        "interface {}: headers of a frame of {} bytes were not parsed",
        frame.ifindex(),
        frame.len()
    );
}
