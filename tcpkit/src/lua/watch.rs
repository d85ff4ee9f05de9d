//! Stops a script that runs for too long.
//!
//! A thread beside the script's looks at how far it has come ([`Pulse`]). A call that is over its time is
//! told to stop by a signal to the script's thread, whose handler arms LuaJIT's hook there: the next
//! instruction of Lua raises an error, compiled or not. What does not stop is in C; then the thread
//! is given up, and nobody waits for it any longer.
//!
//! The hook is armed late since an armed one makes every instruction many times slower.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};

use mlua::ffi;

use super::record::Control;
use crate::limits::{LUA_GRACE_LOOKS, LUA_LOOK};

/// A signal that does nothing by default and that nobody else uses: out-of-band data on sockets.
const SIGNAL: c_int = libc::SIGURG;

/// Whether compiled loops look at the hook, which LuaJIT's makefile was told to build by a variable of the
/// environment. The project's `.cargo/config.toml` sets it; cargo reads that only below the project's folder. Without
/// it a script that loops for ever is abandoned with its thread, which goes on to use a processor.
pub fn stops_compiled_loops() -> bool {
    option_env!("TARGET_FLAGS").is_some_and(|flags| flags.contains("LUAJIT_ENABLE_CHECKHOOK"))
}

/// How a script's thread is doing.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Written by the driver, read by the watch.
    pub control: Control,
    /// Calls into the VM: odd while one runs.
    call: AtomicU32,
    /// Looks that the call may take.
    budget: AtomicU32,
    /// The call that was told to stop.
    overdue: AtomicU32,
    /// The script has asked to end.
    ended: AtomicBool,
    abandoned: AtomicBool,
    told: AtomicBool,
    done: AtomicBool,
    /// The script's thread, as the system names it.
    thread: AtomicU64,
}

impl Pulse {
    /// Whether the thread was given up.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// True for the first who asks: who is to tell what became of the thread.
    pub fn is_first_to_ask(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Whether the script has asked to end (`os.exit`).
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn runs(&self, call: u32) -> bool {
        call & 1 == 1 && self.call.load(Ordering::SeqCst) == call
    }
}

thread_local! {
    /// The VM of this thread and its pulse, for the signal's handler.
    static HERE: Cell<(*mut ffi::lua_State, *const Pulse)> =
        const { Cell::new((ptr::null_mut(), ptr::null())) };
}

/// Watches over the script of this thread until it is dropped.
#[derive(Debug)]
pub struct Watch {
    pulse: Arc<Pulse>,
    state: *mut ffi::lua_State,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches over `state`, which belongs to the thread that calls.
    ///
    /// # Safety
    /// `state` must be a live main state that outlives the watch.
    ///
    /// # Errors
    /// When no thread can be started.
    pub unsafe fn start(state: *mut ffi::lua_State, pulse: Arc<Pulse>) -> std::io::Result<Self> {
        handle_signal();
        // SAFETY: names the calling thread; cannot fail.
        let me = unsafe { libc::pthread_self() };
        pulse.thread.store(me as u64, Ordering::SeqCst);
        HERE.set((state, Arc::as_ptr(&pulse)));
        let watched = Arc::clone(&pulse);
        let thread = thread::Builder::new()
            .name("lua watch".to_owned())
            .spawn(move || look(&watched))?;
        Ok(Self {
            pulse,
            state,
            thread: Some(thread),
        })
    }

    /// Runs `call`, which may take `budget` looks.
    pub fn during<T>(&self, budget: u32, call: impl FnOnce() -> T) -> T {
        self.pulse.budget.store(budget, Ordering::Relaxed);
        self.pulse.call.fetch_add(1, Ordering::SeqCst);
        let result = call();
        let call = self.pulse.call.fetch_add(1, Ordering::SeqCst);
        if self.pulse.overdue.load(Ordering::SeqCst) == call || self.pulse.is_ended() {
            // SAFETY: the state is live, and this is its thread.
            unsafe { ffi::lua_sethook(self.state, None, 0, 0) };
        }
        result
    }

    /// Whether the last call was told to stop.
    pub fn was_stopped(&self) -> bool {
        let last = self.pulse.call.load(Ordering::SeqCst).wrapping_sub(1);
        self.pulse.overdue.load(Ordering::SeqCst) == last && last & 1 == 1
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        HERE.set((ptr::null_mut(), ptr::null()));
        self.pulse.done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The watch names this thread to the system, so it has to end first.
            let _ = thread.join();
        }
    }
}

/// Makes every instruction of the state's Lua raise an error from now on, also inside `pcall`: the
/// script of this thread ends.
///
/// # Safety
/// `state` must be live, and the caller its thread.
pub unsafe fn end(state: *mut ffi::lua_State, pulse: &Pulse) {
    pulse.ended.store(true, Ordering::SeqCst);
    // SAFETY: as promised.
    unsafe { arm(state) };
}

fn look(pulse: &Pulse) {
    let now = || {
        let call = pulse.call.load(Ordering::SeqCst);
        (call, pulse.control.begun())
    };
    let (mut last, mut looks) = (now(), 0);
    while !pulse.done.load(Ordering::SeqCst) {
        thread::park_timeout(LUA_LOOK);
        let at = now();
        if at != last || !pulse.runs(at.0) {
            (last, looks) = (at, 0);
            continue;
        }
        looks += 1;
        let budget = pulse.budget.load(Ordering::Relaxed);
        if looks >= budget + LUA_GRACE_LOOKS {
            pulse.abandoned.store(true, Ordering::Release);
            return;
        }
        if looks >= budget {
            pulse.overdue.store(at.0, Ordering::SeqCst);
            let thread = pulse.thread.load(Ordering::SeqCst);
            // SAFETY: the script's thread joins this one before it ends, so it is live.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, SIGNAL) };
        }
    }
}

fn handle_signal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: an all-zero sigaction is valid; the handler does only what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(SIGNAL, &raw const action, ptr::null_mut());
        }
    });
}

/// Runs on the script's thread, between any two instructions of the machine.
extern "C" fn on_signal(_: c_int) {
    let (state, pulse) = HERE.get();
    if state.is_null() {
        return;
    }
    // SAFETY: both are live while HERE names them. `lua_sethook` may be called from a handler:
    // LuaJIT's own program stops scripts on SIGINT so.
    unsafe {
        let overdue = (*pulse).overdue.load(Ordering::SeqCst);
        if (*pulse).runs(overdue) {
            arm(state);
        }
    }
}

unsafe fn arm(state: *mut ffi::lua_State) {
    // SAFETY: the state is live, as the caller promises.
    unsafe { ffi::lua_sethook(state, Some(stop), ffi::LUA_MASKCOUNT, 1) };
}

unsafe extern "C-unwind" fn stop(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: called by the VM with its own state; the message is a C string, and nothing on this
    // frame has to be dropped.
    unsafe {
        ffi::lua_pushstring(state, c"stopped by tcpkit".as_ptr());
        ffi::lua_error(state);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_build_stops_compiled_loops() {
        assert!(super::stops_compiled_loops());
    }
}
