//! How often the garbage of a script is looked for.
//!
//! Reads how full its memory is and what it gives back, sets the pace of LuaJIT's collector.

use mlua::Lua;

use super::heap::Heap;
use super::host::Policy;

/// Live, memory may grow to so many per cent of what was in use before garbage is collected again.
const PAUSE_LIVE: i32 = 200;

/// The same over a file, where there is memory to spare. More of it costs more: garbage of some megabytes no longer fits
/// into the processor's caches, and each string that is made is looked up among it. Measured with a script that keeps nothing,
/// a run at 200 takes 1.05 times as long as at 400, at 700 1.2 times, at 1,000 1.5 times.
const PAUSE_OFFLINE: i32 = 400;

/// The same while a script keeps what it makes: nothing would be found.
const PAUSE_KEPT: i32 = 10_000;

/// The same where memory is nearly as much as it may be.
const PAUSE_FULL: i32 = 110;

/// How much faster than it grows memory is searched, in per cent.
const STEP: i32 = 200;

/// Memory in use that counts as nearly all, in eighths of the limit.
const FULL: usize = 5;

/// The pace of one VM's collector.
#[derive(Debug)]
pub struct Garbage {
    policy: Policy,
    /// Bytes that the script may have.
    limit: usize,
    pause: i32,
}

impl Garbage {
    /// The pace that a script begins with.
    pub fn new(lua: &Lua, policy: Policy, limit: usize) -> Self {
        let pause = match policy {
            Policy::Wait => PAUSE_OFFLINE,
            Policy::Drop => PAUSE_LIVE,
        };
        lua.gc_inc(pause, STEP, 0);
        Self {
            policy,
            limit,
            pause,
        }
    }

    /// Sets the pace by what the script does with its memory. True where all garbage has to be collected
    /// now: LuaJIT does not do so before it fails.
    pub fn pace(&mut self, lua: &Lua, heap: &Heap) -> bool {
        let pause = match (self.policy, heap.is_kept()) {
            _ if heap.used() > self.limit / 8 * FULL => PAUSE_FULL,
            // What was used once is used again: there is no way back to leisure.
            _ if self.pause == PAUSE_FULL => PAUSE_FULL,
            (Policy::Drop, _) => PAUSE_LIVE,
            (Policy::Wait, false) => PAUSE_OFFLINE,
            (Policy::Wait, true) => PAUSE_KEPT,
        };
        if pause == self.pause {
            return false;
        }
        self.pause = pause;
        let step = if pause == PAUSE_FULL { 2 * STEP } else { STEP };
        lua.gc_inc(pause, step, 0);
        pause == PAUSE_FULL
    }
}
