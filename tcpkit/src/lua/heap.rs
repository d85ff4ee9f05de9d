//! The memory of one script: its limit, and a fast way to the many small objects that a packet makes.
//!
//! Serves LuaJIT's requests for memory. Small ones come from one stretch of addresses, reserved as
//! large as the limit; freed ones are kept by size and used again. Large ones go to the allocator
//! that the VM began with. A script that keeps every packet spends much of its time here, and in the
//! kernel, which is therefore asked for many pages at a time, and for huge ones where a script has shown that it keeps what it
//! makes. Huge pages save a third of such a script's time where they are to be had; where memory is short, or a virtual machine's
//! host has not given it yet, they take longer to get than they save. So that time is looked at: a processor's, not what a
//! thread waits for one.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::time::Duration;

use mlua::ffi::{self, lua_Alloc, lua_State};

/// Requests up to this are small: tables of up to sixteen fields are 384 bytes.
const SMALL: usize = 512;
/// Small sizes are rounded up to this.
const STEP: usize = 16;
const CLASSES: usize = SMALL / STEP + 1;
/// Less than this says nothing about a script's habits.
const KEPT: usize = 4 << 20;
/// Memory that the kernel is asked for at once: a page fault each page takes half as long again.
const AHEAD: usize = 256 << 10;
/// A huge page, as most machines have them.
const HUGE: usize = 2 << 20;
/// A huge page that took longer to get was no gain: as many small ones take about as long. Measured: 0.25 ms, and 2.6 ms where the
/// host of a virtual machine had to find the memory first.
const SLOW: Duration = Duration::from_millis(1);
/// Memory that is had in small pages before a huge one is tried again.
const REST: usize = 16 << 20;

/// The memory of one VM.
pub struct Heap {
    /// Where small objects are, `reserved` bytes; null where no addresses could be had.
    base: *mut u8,
    reserved: usize,
    /// Bytes of it that were handed out at least once.
    begun: Cell<usize>,
    /// Bytes of it that have pages.
    paged: Cell<usize>,
    /// From here on pages may be huge; a multiple of [`HUGE`].
    huge_from: Cell<usize>,
    /// Freed objects by size, each holding the address of the next.
    free: [Cell<*mut c_void>; CLASSES],
    /// Bytes that were given back so far.
    freed: Cell<usize>,
    /// Bytes of large objects.
    large: Cell<usize>,
    limit: Cell<usize>,
    refused: Cell<bool>,
    /// The allocator that the VM began with.
    system: (lua_Alloc, *mut c_void),
}

impl Heap {
    /// Serves the VM from now on, with at most `limit` bytes.
    ///
    /// # Safety
    /// `state` must be live, and be closed before the heap is dropped.
    pub unsafe fn install(state: *mut lua_State, limit: usize) -> Box<Self> {
        let mut data = ptr::null_mut();
        // SAFETY: the state is live.
        let system = unsafe { ffi::lua_getallocf(state, &raw mut data) };
        let base = reserve(limit);
        let heap = Box::new(Self {
            base,
            reserved: if base.is_null() { 0 } else { limit },
            begun: Cell::new(0),
            paged: Cell::new(0),
            huge_from: Cell::new(KEPT),
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            freed: Cell::new(0),
            large: Cell::new(0),
            limit: Cell::new(limit),
            refused: Cell::new(false),
            system: (system, data),
        });
        // SAFETY: the state is live, and the heap outlives it where it is, in its box.
        unsafe { ffi::lua_setallocf(state, serve, (&raw const *heap).cast_mut().cast()) };
        heap
    }

    /// Bytes that the script has taken.
    pub fn used(&self) -> usize {
        self.begun.get() + self.large.get()
    }

    /// Whether the script keeps most of what it makes: then there is little garbage to look for.
    pub fn is_kept(&self) -> bool {
        self.used() > KEPT && self.freed.get() < self.used() / 4
    }

    /// Whether a request was refused since the last time this was asked.
    pub fn was_refused(&self) -> bool {
        self.refused.replace(false)
    }

    /// Lifts the limit, for the last words of a script that has met it.
    pub fn lift(&self) {
        self.limit.set(usize::MAX);
    }

    fn holds(&self, object: *mut c_void) -> bool {
        (object as usize).wrapping_sub(self.base as usize) < self.reserved
    }

    fn allows(&self, more: usize) -> bool {
        let fits = self.used().saturating_add(more) <= self.limit.get();
        if !fits {
            self.refused.set(true);
        }
        fits
    }

    fn small(&self, size: usize) -> Option<NonNull<c_void>> {
        let class = size.div_ceil(STEP);
        let first = self.free[class].get();
        if !first.is_null() {
            // SAFETY: what is in the list is a free object of this heap, which holds the next.
            self.free[class].set(unsafe { first.cast::<*mut c_void>().read() });
            return NonNull::new(first);
        }
        let (begun, size) = (self.begun.get(), class * STEP);
        if begun + size > self.reserved {
            return None;
        }
        if !self.allows(size) {
            return None;
        }
        self.begun.set(begun + size);
        if begun + size > self.paged.get() {
            self.page();
        }
        // SAFETY: within the reserved stretch.
        NonNull::new(unsafe { self.base.add(begun) }.cast())
    }

    /// Gets pages for what is handed out next. Where the kernel cannot (Linux before 5.14), they come with
    /// the first use.
    #[cold]
    fn page(&self) {
        let paged = self.paged.get();
        let is_huge = paged >= self.huge_from.get();
        let size = if is_huge { HUGE } else { AHEAD }.min(self.reserved - paged);
        #[cfg(target_os = "linux")]
        {
            // SAFETY: within the reserved stretch.
            let first: *mut c_void = unsafe { self.base.add(paged) }.cast();
            let begun = processor_time();
            // SAFETY: as above; none of it was handed out, pages are added and no byte changed.
            unsafe {
                if is_huge {
                    libc::madvise(first, size, libc::MADV_HUGEPAGE);
                }
                libc::madvise(first, size, libc::MADV_POPULATE_WRITE);
            }
            if is_huge && processor_time().saturating_sub(begun) > SLOW {
                self.huge_from.set(paged + HUGE + REST);
            }
        }
        self.paged.set(paged + size);
    }

    fn take(&self, size: usize) -> *mut c_void {
        if size <= SMALL {
            if let Some(object) = self.small(size) {
                return object.as_ptr();
            }
            if self.refused.get() {
                return ptr::null_mut();
            }
        }
        if !self.allows(size) {
            return ptr::null_mut();
        }
        self.large.set(self.large.get() + size);
        let (system, data) = self.system;
        // SAFETY: a new object, by the allocator's contract.
        unsafe { system(data, ptr::null_mut(), 0, size) }
    }

    fn give(&self, object: *mut c_void, size: usize) {
        self.freed.set(self.freed.get().wrapping_add(size));
        if self.holds(object) {
            let class = size.div_ceil(STEP);
            // SAFETY: an object of this heap that nobody uses any longer, of 16 bytes or more.
            unsafe { object.cast::<*mut c_void>().write(self.free[class].get()) };
            self.free[class].set(object);
            return;
        }
        // What the VM had before this heap was not counted.
        self.large.set(self.large.get().saturating_sub(size));
        let (system, data) = self.system;
        // SAFETY: not from the stretch, so from the system's allocator.
        unsafe { system(data, object, size, 0) };
    }

    fn resize(&self, object: *mut c_void, old: usize, new: usize) -> *mut c_void {
        let here = self.holds(object);
        if here && old.div_ceil(STEP) == new.div_ceil(STEP) {
            return object;
        }
        if !here && new > SMALL && (new <= old || self.allows(new - old)) {
            self.large.set((self.large.get() + new).saturating_sub(old));
            let (system, data) = self.system;
            // SAFETY: not from the stretch, so from the system's allocator.
            return unsafe { system(data, object, old, new) };
        }
        let moved = self.take(new);
        if !moved.is_null() {
            // SAFETY: two live objects, each at least as long as what is copied.
            unsafe { ptr::copy_nonoverlapping(object.cast::<u8>(), moved.cast(), old.min(new)) };
            self.give(object, old);
        } else if new <= old {
            // LuaJIT counts on shrinking to succeed.
            return object;
        }
        moved
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        if !self.base.is_null() {
            // SAFETY: the mapping is this heap's own, and the VM that used it is closed.
            unsafe { libc::munmap(self.base.cast(), self.reserved) };
        }
    }
}

/// What this thread has had of a processor so far, what its kernel and a virtual machine's host did for it included.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Addresses for `size` bytes, the first at a multiple of [`HUGE`]; memory comes with the first use. Null where there
/// are none.
fn reserve(size: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let more = size + HUGE;
    // SAFETY: a new mapping, at no address in particular.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), more, protection, flags, -1, 0) };
    if mapping == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let mapping: *mut u8 = mapping.cast();
    let before = mapping.align_offset(HUGE);
    // SAFETY: within the mapping, which is longer by as much; what lies before and behind is given back.
    unsafe {
        let base = mapping.add(before);
        if before > 0 {
            libc::munmap(mapping.cast(), before);
        }
        libc::munmap(base.add(size).cast(), HUGE - before);
        base
    }
}

/// LuaJIT's allocator function.
unsafe extern "C" fn serve(
    heap: *mut c_void,
    object: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the heap outlives the VM, as `install` asks, and is used by its thread alone.
    let heap = unsafe { &*heap.cast::<Heap>() };
    match (object.is_null(), new) {
        (true, 0) => ptr::null_mut(),
        (true, _) => heap.take(new),
        (false, 0) => {
            heap.give(object, old);
            ptr::null_mut()
        }
        (false, _) => heap.resize(object, old, new),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use mlua::{Lua, StdLib};

    use super::*;

    /// A VM and its heap, which has to be named first, so that it is dropped last.
    fn vm(limit: usize) -> (Box<Heap>, Lua) {
        let lua = Lua::new();
        lua.load_std_libs(StdLib::ALL_SAFE).unwrap();
        let mut state = ptr::null_mut();
        // SAFETY: the state is only noted.
        unsafe { lua.exec_raw::<()>((), |here| state = here).unwrap() };
        // SAFETY: every test drops the VM first.
        let heap = unsafe { Heap::install(state, limit) };
        (heap, lua)
    }

    #[test]
    fn what_was_freed_is_used_again() {
        let (heap, lua) = vm(64 << 20);
        let script = "for i = 1, 200000 do local t = { a = i, b = 'x' .. i, c = { i } } end";
        for _ in 0..5 {
            lua.load(script).exec().unwrap();
        }
        assert!(heap.used() < 32 << 20, "{}", heap.used());
        assert!(!heap.was_refused());
    }

    #[test]
    fn objects_keep_what_was_written_while_they_grow_and_shrink() {
        let (heap, lua) = vm(256 << 20);
        let script = "local all = {} for i = 1, 3000 do local t = {} for j = 1, i % 90 do t[j] = i * j end all[i] = t end \
            for i = 1, 3000, 3 do all[i] = ('s'):rep(i) end collectgarbage() \
            for i = 2, 3000, 3 do for j = 1, i % 90 do assert(all[i][j] == i * j) end end \
            for i = 1, 3000, 3 do assert(all[i] == ('s'):rep(i)) end";
        lua.load(script).exec().unwrap();
        assert!(heap.used() > 0);
    }

    #[test]
    fn a_script_that_keeps_what_it_makes_is_told_from_one_that_does_not() {
        for (script, kept) in [
            ("all = {} for i = 1, 200000 do all[i] = { a = i } end", true),
            (
                "for i = 1, 2000000 do local t = { a = {}, b = i } end",
                false,
            ),
        ] {
            let (heap, lua) = vm(512 << 20);
            lua.gc_inc(1000, 200, 0);
            lua.load(script).exec().unwrap();
            assert_eq!(heap.is_kept(), kept, "{script}: {}", heap.used());
        }
    }

    #[test]
    fn the_limit_holds_for_small_and_large_objects() {
        for script in [
            "local t = {} while true do t = { t } end",
            "return ('x'):rep(1e9)",
        ] {
            let (heap, lua) = vm(8 << 20);
            assert!(lua.load(script).exec().is_err(), "{script}");
            assert!(heap.was_refused(), "{script}");
            assert!(heap.used() <= 8 << 20, "{}", heap.used());
        }
    }
}
