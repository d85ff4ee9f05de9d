//! Survives a mapped file that is shortened while it is read.
//!
//! Reading a page of a map that its file no longer reaches raises SIGBUS, which ends the
//! process. A `Watch` registers a map; the handler puts empty pages in the place of those that
//! are gone, for registered maps only, and remembers it, so that the walk ends with a notice.
//! Any other SIGBUS goes to whoever handled it before.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Maps that can be watched at the same time; files beyond it are streamed.
const SLOTS: usize = 64;

/// One watched map: its first byte's address, the address behind it, and whether it lost pages.
#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

impl Slot {
    const fn free() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }
}

static WATCHED: [Slot; SLOTS] = [const { Slot::free() }; SLOTS];

/// What handled the signal before; null when nothing is known.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// A registered map.
#[derive(Debug)]
pub(super) struct Watch {
    slot: &'static Slot,
}

impl Watch {
    /// Registers `len` bytes of a map from `start` on. `None` where the signal cannot be
    /// handled or too many maps are registered.
    pub fn new(start: usize, len: usize) -> Option<Self> {
        if !installed() {
            return None;
        }
        let slot = WATCHED
            .iter()
            .find(|slot| !slot.taken.swap(true, Ordering::AcqRel))?;
        slot.lost.store(false, Ordering::Relaxed);
        slot.end.store(start + len, Ordering::Relaxed);
        slot.start.store(start, Ordering::Release);
        Some(Self { slot })
    }

    /// Whether pages of the map were gone when they were read.
    #[inline]
    pub fn is_lost(&self) -> bool {
        self.slot.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.slot.start.store(0, Ordering::Release);
        self.slot.end.store(0, Ordering::Release);
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once in a process.
fn installed() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(install)
}

fn install() -> bool {
    // SAFETY: sysconf only reads, and sigaction is given structures of its own type that live
    // through the call; zero bytes are a valid sigaction (no flags, the default action). The
    // handler does what a signal handler may: atomics, mmap, sigaction and raise. The old
    // action is leaked on purpose: the handler may need it for as long as the process lives.
    unsafe {
        if let Ok(page) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) {
            PAGE.store(page, Ordering::Relaxed);
        }
        let before: &'static mut libc::sigaction = Box::leak(Box::new(std::mem::zeroed()));
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), before) != 0 {
            return false;
        }
        BEFORE.store(before, Ordering::Release);
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) == 0
    }
}

extern "C" fn on_bus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo. A SIGBUS that someone sent has
    // no address: its code is not positive, and the address is not used.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code > 0 && WATCHED.iter().any(|slot| replace(slot, address)) {
        return;
    }
    // SAFETY: the old action was filled in by sigaction and never changes. A fault repeats when
    // the handler returns and meets the old action; a signal that was sent is sent again.
    unsafe {
        let before = BEFORE.load(Ordering::Acquire);
        libc::sigaction(signal, before, std::ptr::null_mut());
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

/// Puts empty pages from the faulting one to the map's end, where it is this slot's map: the
/// file ends before the fault, so all that follows is gone as well, and one fault is enough.
fn replace(slot: &Slot, address: usize) -> bool {
    let (start, end) = (
        slot.start.load(Ordering::Acquire),
        slot.end.load(Ordering::Acquire),
    );
    if start == 0 || address < start || address >= end {
        return false;
    }
    slot.lost.store(true, Ordering::Relaxed);
    let page = address & !(PAGE.load(Ordering::Relaxed) - 1);
    // SAFETY: the range from `page` to `end` lies in a live map of ours: the slot is cleared
    // before its map goes. The pages replaced could not be read any more; whoever holds a
    // slice of them reads zeros from now on.
    let placed = unsafe {
        libc::mmap(
            page as *mut libc::c_void,
            end - page,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    placed != libc::MAP_FAILED
}
