//! A script cannot harm the run: whatever it does, every request is still paired, and the user is told.

use crate::support::cases::Case;
use crate::{Run, Scratch, over, printed, run_file};

/// Runs a script beside the report; the report has to be what it is without a script.
fn harmless(script: &str) -> Run {
    let case = Case::named("redis-split");
    let args = ["-p", "6390=redis", "-m", "redis", "-q"];
    let run = over(script, &case.name, &args);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let mut command = crate::support::tcpkit();
    command.arg("-r").arg(case.input()).args(args);
    let without = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(run.stdout.ends_with(&without), "{}", run.stdout);
    run
}

fn switched_off(script: &str, why: &str) {
    let run = harmless(script);
    assert!(run.stderr.contains("script.lua: "), "{}", run.stderr);
    assert!(run.stderr.contains(why), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
}

const TIME: &str = "a call took longer than it may";
const HANGS: &str = "hangs in a call that cannot be stopped";
const MEMORY: &str = "wants more memory than it may have";

#[test]
fn a_loop_that_is_compiled_is_stopped() {
    switched_off("function process() while true do end end", TIME);
    switched_off(
        "function process() local n = 0 repeat n = n + 1 until n < 0 end",
        TIME,
    );
}

#[test]
fn a_loop_that_is_not_compiled_is_stopped() {
    switched_off("jit.off() function process() while true do end end", TIME);
}

#[test]
fn a_loop_that_catches_errors_is_stopped() {
    switched_off(
        "local function f() while true do end end\nfunction process() while true do pcall(f) end end",
        TIME,
    );
    switched_off(
        "function process() coroutine.wrap(function() while true do end end)() end",
        TIME,
    );
}

#[test]
fn a_loop_in_any_hook_is_stopped() {
    for hook in ["on_exchange", "on_connection"] {
        switched_off(&format!("function {hook}() while true do end end"), TIME);
    }
}

#[test]
fn a_long_pattern_match_is_abandoned() {
    let script = "function process() string.rep('a', 30):find(('.-'):rep(12) .. 'b') end";
    switched_off(script, HANGS);
}

#[test]
fn memory_is_bounded() {
    switched_off("function process() string.rep('x', 2^31 - 200) end", MEMORY);
}

#[test]
fn errors_are_told_with_tracebacks_and_not_for_ever() {
    let script =
        "local function inner(p) error('bad luck') end\nfunction process(p)\n  inner(p)\nend";
    let said = harmless(script).stderr;
    assert!(said.contains("script.lua:1: bad luck"), "{said}");
    assert!(said.contains("script.lua:3: in function"), "{said}");
    assert!(said.contains("(100 errors so far)"), "{said}");
    assert!(said.contains("401 errors in all"), "{said}");
    assert!(said.lines().count() < 50, "{said}");
    assert!(
        !said.contains("tcpkit:1"),
        "the driver is nobody's business: {said}"
    );
}

#[test]
fn os_exit_ends_the_script_alone() {
    let script = "local n = 0\nfunction process()\n n = n + 1 print(n)\n if n == 2 then pcall(os.exit) while true do end end\nend\nfunction on_exit() print('no') end";
    let run = harmless(script);
    assert!(run.stdout.starts_with("1\n2\nport"), "{}", run.stdout);
    assert!(run.stderr.contains("ended with os.exit"), "{}", run.stderr);
}

#[test]
fn what_could_harm_the_host_is_refused_by_name() {
    for (call, name) in [
        ("io.open('/etc/passwd')", "io.open"),
        ("io.popen('true')", "io.popen"),
        ("io.lines('/etc/passwd')", "io.lines"),
        ("os.execute('true')", "os.execute"),
        ("os.remove('x')", "os.remove"),
        ("os.getenv('HOME')", "os.getenv"),
        ("package.loadlib('x', 'y')", "package.loadlib"),
        ("require('ffi')", "ffi"),
        ("debug.getregistry()", "debug.getregistry"),
    ] {
        let said = printed(
            &format!("function on_exit() print(pcall(function() return {call} end)) end"),
            "redis-split",
        );
        assert!(said.starts_with("false"), "{call}: {said}");
        assert!(
            said.contains(&format!("{name} is not allowed")),
            "{call}: {said}"
        );
        assert!(said.contains("--lua-unsafe"), "{call}: {said}");
    }
}

/// Also where the script does not catch it: with the place, in a hook and at start.
#[test]
fn what_is_refused_is_told() {
    let why = "is not allowed: run with --lua-unsafe if the script is trusted";
    let said = harmless("function process()\n io.open('x')\nend").stderr;
    assert!(
        said.contains(&format!("script.lua:2: io.open {why}")),
        "{said}"
    );
    let said = over("require('ffi')\nfunction process() end", "redis-split", &[]).stderr;
    assert!(said.contains(&format!("script.lua:1: ffi {why}")), "{said}");
}

#[test]
fn the_ffi_cannot_be_reached() {
    let script = r#"
function on_exit()
  print(ffi, package.loaded.ffi, package.loaded["jit.util"], getfenv, setfenv, newproxy, rawget(debug, "getupvalue"))
  print(select(2, pcall(load, string.dump(function() end))))
  print(load(string.dump(function() end), "x", "b"))
  print(loadstring(string.dump(function() end)))
end"#;
    let said = printed(script, "redis-split");
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("nil\tnil\tnil\tnil\tnil\tnil\tnil"));
    assert!(said.matches("wrong mode").count() >= 2, "{said}");
    assert!(!said.contains("function:"), "{said}");
}

#[test]
fn everything_is_there_with_lua_unsafe() {
    let script = "function on_exit() print(type(io.open), type(os.execute), type(require('ffi').cast), type(debug.getinfo), type(package.loadlib)) end";
    let run = over(script, "redis-split", &["--lua-unsafe"]);
    assert_eq!(
        run.stdout, "function\tfunction\tfunction\tfunction\tfunction\n",
        "{}",
        run.stderr
    );
}

#[test]
fn what_is_usual_is_there() {
    let script = r#"
local greet = require("greet")
local inner = require("more.inner")
function on_exit()
  print(greet("you"), inner.value, require("greet") == greet)
  print(os.date("!%Y-%m-%d", 86400), os.time({ year = 2000, month = 1, day = 1, hour = 12 }) > 9e8, os.clock() >= 0)
  print(string.rep("ab", 2, "-"), #table.pack(1, 2, 3), table.unpack({ 7 }), math.max(1, 2), ("x"):byte())
  io.write("whole ", 1, " line") io.write("\n")
  io.write("no end")
end"#;
    let scratch = Scratch::new("lua");
    scratch.file(
        "greet.lua",
        "return function(who) return 'hello ' .. who end",
    );
    std::fs::create_dir(scratch.0.join("more")).unwrap();
    scratch.file("more/inner.lua", "return { value = 42 }");
    let script = scratch.file("script.lua", script);
    let run = run_file(&script, &Case::named("redis-split").input(), &[]);
    assert_eq!(
        run.stdout,
        "hello you\t42\ttrue\n1970-01-02\ttrue\ttrue\nab-ab\t3\t7\t2\t120\nwhole 1 line\nno end\n",
        "{}",
        run.stderr
    );
}

#[test]
fn scripts_do_not_disturb_each_other() {
    let scratch = Scratch::new("lua");
    let bad = scratch.file("bad.lua", "function process() while true do end end");
    let good = scratch.file(
        "good.lua",
        "n = 0 function process() n = n + 1 end function on_exit() print(n) end",
    );
    let mut command = crate::support::tcpkit();
    command
        .arg("-S")
        .arg(&bad)
        .arg("-S")
        .arg(&good)
        .arg("-r")
        .arg(Case::named("redis-split").input());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "401\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("bad.lua: a call took longer"), "{said}");
}
