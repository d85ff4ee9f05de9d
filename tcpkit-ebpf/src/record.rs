//! A record in the ring of this CPU: the smallest class that the frame fits in.

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ringbuf_query};
use tcpkit_common::{CLASSES, Counters, HEAD, Head, VLAN_TAG, control, count};

use crate::frame::{Frame, OuterTag};
use crate::maps::{CONTROL, RINGS, Ring};
use crate::settings::{RING_BYTES, RING_STEP, SNAPLEN};

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, `BPF_RB_AVAIL_DATA`.
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAIL_DATA: u64 = 0;

/// A head and the room behind it.
#[repr(C)]
struct Record<const ROOM: usize> {
    head: Head,
    data: [u8; ROOM],
}

/// Ethernet addresses, before which a VLAN tag does not stand.
const ADDRESSES: usize = 12;

/// Puts a frame into the ring, and counts what became of it.
#[inline(always)]
pub fn emit<F: Frame>(frame: &F, mut head: Head, counters: &mut Counters) {
    // SAFETY: always allowed.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = RINGS.get(cpu) else {
        counters[count::NOT_COPIED] += 1;
        return;
    };
    let length = frame.len();
    let tag = frame.tag();
    let tag_length = if tag.is_present { VLAN_TAG } else { 0 };
    head.wire_len = length + tag_length;
    let asked = head.wire_len.min(SNAPLEN.load());
    let copied = (asked - tag_length).min(F::MOST);
    head.captured = copied + tag_length;
    head.start = (HEAD as u32 - tag_length) as u8;
    if head.captured < asked {
        counters[count::CUT] += 1;
    }
    let outcome = put_smallest(ring, frame, &head, tag, copied, counters[count::BYTES]);
    counters[outcome] += 1;
    if outcome == count::EMITTED {
        counters[count::BYTES] += u64::from(head.captured);
    }
}

/// `put` with the smallest of these classes that has room for so many bytes.
macro_rules! put_smallest {
    ($arguments:tt, $length:expr, [$($class:literal)*], $last:literal) => {
        $(if $length as usize <= CLASSES[$class] {
            put::<F, { CLASSES[$class] }> $arguments
        } else)* {
            put::<F, { CLASSES[$last] }> $arguments
        }
    };
}

/// The counter that the outcome belongs to.
#[inline(always)]
fn put_smallest<F: Frame>(
    ring: &Ring,
    frame: &F,
    head: &Head,
    tag: OuterTag,
    length: u32,
    before: u64,
) -> usize {
    if F::SCATTERED {
        put_smallest!(
            (ring, frame, head, tag, length, before),
            length,
            [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17],
            18
        )
    } else {
        put_smallest!((ring, frame, head, tag, length, before), length, [0 1 2 3 4 5 6 7 8 9], 10)
    }
}

#[inline(always)]
fn put<F: Frame, const ROOM: usize>(
    ring: &Ring,
    frame: &F,
    head: &Head,
    tag: OuterTag,
    length: u32,
    before: u64,
) -> usize {
    let Some(mut entry) = ring.reserve_untyped::<Record<ROOM>>(0) else {
        return count::RING_FULL;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the record was reserved; `copy` has room for ROOM bytes.
    let copied = unsafe {
        (*record).head = *head;
        frame.copy::<ROOM>((&raw mut (*record).data).cast(), length)
    };
    if copied.is_none() {
        entry.discard(NO_WAKEUP);
        return count::NOT_COPIED;
    }
    if tag.is_present {
        // SAFETY: as above.
        unsafe { put_tag(record.cast(), tag) };
    }
    entry.submit(wake(ring, before, before + u64::from(head.captured)));
    count::EMITTED
}

/// Puts a tag back behind the Ethernet addresses, which move four bytes to the front for it.
///
/// # Safety
/// `record` must be a head and, behind it, at least the addresses.
#[inline(always)]
unsafe fn put_tag(record: *mut u8, tag: OuterTag) {
    // SAFETY: the caller's; both places are inside head and addresses. In words, since a byte of the source is
    // a byte of the target elsewhere.
    unsafe {
        let addresses = record.add(HEAD).cast::<u32>();
        let moved = addresses.sub(1);
        for word in 0..ADDRESSES / 4 {
            *moved.add(word) = *addresses.add(word);
        }
        let place = moved.add(ADDRESSES / 4).cast::<u16>();
        *place = tag.kind;
        *place.add(1) = tag.value.to_be();
    }
}

/// How a record is submitted. Waking the reader costs more than all the rest, so it is woken by the first record
/// after it went to sleep, and now and then while the ring is more than half full. Asking for the fill costs something
/// too: that is done where this CPU's bytes, those `before` this record and `after` it, pass a multiple of [`RING_STEP`].
///
/// Between storing the record's place and reading the flag nothing orders the two for sure; a reader that
/// misses a record for that reason finds it when its sleep ends by itself.
#[inline(always)]
fn wake(ring: &Ring, before: u64, after: u64) -> u64 {
    let Some(words) = CONTROL.get_ptr_mut(0) else {
        return NO_WAKEUP;
    };
    // SAFETY: the map's value lives as long as the program; the reader writes it at the same time.
    unsafe {
        let need = words.cast::<u64>().add(control::NEED);
        if need.read_volatile() != 0 {
            need.write_volatile(0);
            return FORCE_WAKEUP;
        }
    }
    // A power of two: the two numbers differ in its bit or in one above.
    if before ^ after < u64::from(RING_STEP.load()) {
        return NO_WAKEUP;
    }
    // SAFETY: the ring lives as long as the program.
    let fill =
        unsafe { bpf_ringbuf_query(core::ptr::from_ref(ring).cast_mut().cast(), AVAIL_DATA) };
    if fill >= u64::from(RING_BYTES.load()) / 2 {
        return FORCE_WAKEUP;
    }
    NO_WAKEUP
}
