//! Scripts as a live capture has them: never waited for.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use super::dissector::Taught;
use super::print::{Printer, Target};
use super::{Loading, LuaSink, Policy, Settings, Teacher};
use crate::event::Event;
use crate::flow::Direction;
use crate::protocol::{Input, Mark, Output, Verdict};
use crate::sink::Sink;
use crate::sink::stats::Metrics;
use crate::source::Timestamp;
use crate::wire::Transport;

/// A script that is fed by a test, what it printed, and what was told of it.
struct Fed {
    teacher: Teacher,
    sink: LuaSink,
    path: PathBuf,
    printed: Arc<Mutex<Vec<u8>>>,
    told: Arc<Mutex<Vec<String>>>,
    now: u64,
}

impl Fed {
    fn new(script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpkit-live-{}-{number}.lua", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, script).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&told);
        let settings = Settings {
            path: path.clone(),
            policy: Policy::Drop,
            allow_all: false,
            metrics: Metrics::default(),
            tell: Arc::new(move |note| notes.lock().unwrap().push(note.to_owned())),
            dropped: Arc::default(),
        };
        let loading = Loading::start(settings, Arc::new(Printer::default()));
        let host = loading.and_then(Loading::wait).unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let target = Target::Direct(Box::new(Shared(Arc::clone(&printed))));
        host.printer.open(target, false);
        let teacher: Teacher = Arc::new(RwLock::new(Arc::new(host)));
        Self {
            sink: LuaSink::new(Arc::clone(&teacher)),
            teacher,
            path,
            printed,
            told,
            now: 0,
        }
    }

    /// Ticks as fast as they go; the longest that one took.
    fn ticks(&mut self, number: u64) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..number {
            self.now += 1;
            let tick = Event::Tick(Timestamp::new(self.now, 0));
            let took = timed(|| self.sink.event(&tick).unwrap());
            longest = longest.max(took);
        }
        longest
    }

    fn lines(&self) -> usize {
        let printed = self.printed.lock().unwrap();
        printed.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    /// Waits until something was told.
    fn hear(&mut self, what: &str) {
        let begin = Instant::now();
        while !self.told().contains(what) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{}", self.told());
            std::thread::sleep(Duration::from_millis(20));
            self.ticks(1);
        }
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How long something takes, less what this thread waits for a processor.
fn timed(act: impl FnOnce()) -> Duration {
    let (begin, before) = (Instant::now(), put_aside());
    act();
    begin.elapsed().saturating_sub(put_aside() - before)
}

/// How long this thread was ready to run and did not (Linux' Documentation/scheduler/sched-stats.rst).
fn put_aside() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// Far less than a call of a script may take, and more than a busy machine takes to come back.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn what_a_slow_script_cannot_take_is_dropped_and_counted() {
    let slow = "function on_tick() local till = os.clock() + 0.01 while os.clock() < till do end print('x') end";
    let mut fed = Fed::new(slow);
    assert!(fed.ticks(200) < AT_ONCE);
    assert!(fed.told().contains("slower than the capture"));
    fed.sink.finish().unwrap();
    let (took, dropped) = (fed.lines() as u64, fed.sink.dropped());
    assert_eq!(took + dropped, 200, "each is taken or counted");
    assert!(dropped > 100, "{dropped}");
    let told = fed.told();
    assert!(
        told.contains(&format!("{dropped} events were dropped")),
        "{told}"
    );
}

#[test]
fn bytes_that_a_slow_parser_cannot_take_are_counted() {
    let mut fed = Fed::new(
        "tcpkit.protocol { name = 'slow', ports = { 7 }, parse = function(direction, bytes) \
         local till = os.clock() + 0.1 while os.clock() < till do end return #bytes end }",
    );
    let plan = fed.teacher.read().unwrap().loaded.plans[0].clone();
    let protocol = Taught::teach(plan, 0, Arc::clone(&fed.teacher));
    let mut dissector = protocol.dissector(Transport::Tcp);
    let input = Input {
        bytes: b"x",
        offset: 0,
        old: 0,
        first: Mark::default(),
        last: Mark::default(),
        datagram: false,
        lost: 0,
        received: 0,
    };
    let mut missed = 0;
    for _ in 0..4 {
        let parsed = dissector.parse(Direction::ToServer, &input, &mut Output::default());
        missed += u64::from(matches!(parsed.verdict, Verdict::Malformed(_)));
    }
    assert!(missed > 0);
    assert!(fed.told().contains("slower than the capture"));
    drop(dissector);
    fed.sink.finish().unwrap();
    let told = fed.told();
    assert!(
        told.contains(&format!("{missed} events were dropped")),
        "{told}"
    );
}

#[test]
fn a_script_that_keeps_up_loses_nothing() {
    let mut fed =
        Fed::new("function on_tick(now) print(now) end function on_exit() print('end') end");
    for _ in 0..50 {
        fed.ticks(1);
        std::thread::sleep(Duration::from_millis(2));
    }
    fed.sink.finish().unwrap();
    assert_eq!(fed.lines() as u64 + fed.sink.dropped(), 51);
    assert!(String::from_utf8_lossy(&fed.printed.lock().unwrap()).ends_with("end\n"));
}

#[test]
fn no_script_stalls_the_capture() {
    for (script, why) in [
        (
            "function on_tick() while true do end end",
            "took longer than it may",
        ),
        (
            "function on_tick() ('a'):rep(30):find(('.-'):rep(12) .. 'b') end",
            "cannot be stopped",
        ),
        (
            // At once: a busy machine may take longer than a call's time to fill memory bit by bit.
            "function on_tick() return ('x'):rep(2^30) end",
            "more memory",
        ),
        ("function on_tick() os.exit() end", "os.exit"),
        ("function on_tick() error('always') end", "always"),
    ] {
        let mut fed = Fed::new(script);
        let longest = fed.ticks(50);
        fed.hear(why);
        assert!(
            longest.max(fed.ticks(50)) < AT_ONCE,
            "{script}: {longest:?}"
        );
        fed.sink.finish().unwrap();
    }
}

#[test]
fn a_reload_waits_for_the_new_script_and_not_the_capture() {
    let mut fed = Fed::new("function on_tick() print('old') end");
    std::fs::write(&fed.path, "function on_tick() print('new') end").unwrap();
    assert!(timed(|| fed.sink.event(&Event::Reload).unwrap()) < AT_ONCE);
    fed.hear("reloaded");
    fed.ticks(1);
    fed.sink.finish().unwrap();
    assert!(String::from_utf8_lossy(&fed.printed.lock().unwrap()).contains("new\n"));
    let mut fed = Fed::new("function on_tick() print('old') end");
    std::fs::write(&fed.path, "function on_tick( end").unwrap();
    fed.sink.event(&Event::Reload).unwrap();
    fed.hear("not reloaded, the old script goes on");
    fed.sink.finish().unwrap();
    assert_eq!(
        fed.lines() as u64 + fed.sink.dropped(),
        fed.now,
        "the old one goes on"
    );
}

#[test]
fn the_driver_and_rust_mean_the_same_structures() {
    // SAFETY: the FFI is for this check alone.
    let lua = unsafe { mlua::Lua::unsafe_new() };
    let sizes: Vec<usize> = lua
        .load(
            "local ffi, cdef = require('ffi'), ... ffi.cdef(cdef) local all = {} \
            for i, name in ipairs { 'packet', 'exchange', 'connection', 'run', 'place', 'batch' } do \
            all[i] = tonumber(ffi.sizeof('tk_' .. name)) end return all",
        )
        .call(super::record::CDEF)
        .unwrap();
    assert_eq!(sizes, super::record::sizes());
}
