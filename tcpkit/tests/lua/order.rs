//! What is printed, and where it stands in the report.

use crate::support::cases::Case;
use crate::{over, printed};

#[test]
fn without_a_mode_only_the_script_prints() {
    let run = over(
        "n = 0 function on_exchange(x) n = n + 1 end function on_exit() print(n) end",
        "redis-split",
        &[],
    );
    assert_eq!(run.stdout, "80\n");
}

#[test]
fn with_a_mode_lines_stand_behind_the_exchange_they_are_about() {
    let script = "function on_exchange(x) print('script ' .. x.text) end function on_exit() print('the end') end";
    let args = ["-m", "redis"];
    let first = over(script, "redis-benchmark-16", &args);
    let lines: Vec<&str> = first
        .stdout
        .lines()
        .take_while(|line| *line != "the end")
        .collect();
    assert!(lines.len() > 500, "{}", lines.len());
    let of_script = lines.iter().filter(|line| line.starts_with("script "));
    assert_eq!(of_script.count() * 2, lines.len());
    assert!(
        first.stdout.contains("the end\nport "),
        "the summary comes last"
    );
    for _ in 0..3 {
        let again = over(script, "redis-benchmark-16", &args);
        assert!(again.stdout == first.stdout, "the order depends on threads");
    }
}

#[test]
fn raw_mode_leaves_packets_to_the_script() {
    let run = over("function process(p) end", "redis-split", &["-m", "raw"]);
    assert!(run.stdout.starts_with("capture: "), "{}", run.stdout);
}

#[test]
fn an_emitted_object_is_a_line_of_its_own() {
    let script =
        "function on_exit() io.write('abc') tcpkit.emit({ a = 1 }) io.write('d') print('e') end";
    assert_eq!(printed(script, "redis-split"), "abc\n{\"a\":1}\nde\n");
}

#[test]
fn emitted_objects_are_json_lines() {
    let script = r#"function on_exit() tcpkit.emit({ b = { 1, 2.5, "x\0y" }, a = true, c = { d = 1e3 }, n = 0/0 }) end"#;
    let run = over(script, "redis-split", &[]);
    assert_eq!(
        run.stdout,
        "{\"a\":true,\"b\":[1,2.5,\"x\\u0000y\"],\"c\":{\"d\":1000},\"n\":null}\n"
    );
    let wrong = "function on_exit() local t = {} t.t = t print(pcall(tcpkit.emit, t)) print(pcall(tcpkit.emit, { f = print })) end";
    let said = over(wrong, "redis-split", &[]).stdout;
    assert_eq!(said.matches("false\t").count(), 2, "{said}");
}

#[test]
fn counters_and_histograms_are_in_the_summary() {
    let script = "function on_exchange(x) tcpkit.counter('asked', 2, { command = x.command }) tcpkit.histogram('bytes', x.request_bytes) end";
    let text = over(script, "redis-split", &["-m", "redis", "-q"]).stdout;
    assert!(text.contains("  asked{command=\"GET\"} 40\n"), "{text}");
    assert!(text.contains("  bytes 80 values, p50 "), "{text}");
    let json = over(
        script,
        "redis-split",
        &["-m", "redis", "-q", "--format", "json"],
    )
    .stdout;
    let summary: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(summary["scripts"]["counters"][1]["value"], 40.0);
    assert_eq!(summary["scripts"]["histograms"][0]["count"], 80);
    let report = Case::named("redis-split").report();
    assert!(
        report.summary.get("scripts").is_none(),
        "nothing without a script"
    );
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    let scratch = crate::Scratch::new("lua");
    let script = scratch.file(
        "script.lua",
        "function process(p) print(('x'):rep(10000)) end",
    );
    let mut command = crate::support::tcpkit();
    command
        .arg("-S")
        .arg(script)
        .arg("-r")
        .arg(Case::named("redis-benchmark-16").input());
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

/// As Lua's own functions raise them: a string, with the place of the call.
#[test]
fn what_a_function_refuses_is_a_string() {
    let script = r#"
local function tries(name, ...)
  local arguments = table.pack(...)
  local ok, why = pcall(function() tcpkit[name](table.unpack(arguments, 1, arguments.n)) end)
  print(ok, type(why), (why:gsub("^.*script", "script")))
end
function on_exit()
  tries("counter", "x", -1)
  tries("counter", nil)
  tries("counter", "x", 1, 5)
  tries("counter", "x", 1, { [print] = 1 })
  tries("histogram", "x", 0/0)
  tries("histogram", "x", "long")
  tries("emit", 5)
  tries("emit", { f = print })
end"#;
    let said = over(script, "redis-split", &[]).stdout;
    let told = [
        "tcpkit.counter: -1 is not a number from 0 on",
        "bad argument #1 to 'counter' (string expected, got nil)",
        "bad argument #3 to 'counter' (table expected, got number)",
        "tcpkit.counter: a function is no name of a label",
        "tcpkit.histogram: NaN is not a number from 0 on",
        "bad argument #2 to 'histogram' (number expected, got string)",
        "bad argument #1 to 'emit' (table expected, got number)",
        "tcpkit.emit: a function has no JSON",
    ];
    let lines: Vec<String> = told
        .map(|why| format!("false\tstring\tscript.lua:4: {why}"))
        .into();
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
}

/// Labels are made of what was on the wire.
#[test]
fn labels_may_be_of_any_bytes() {
    let script = r#"function on_exit() tcpkit.counter("k\255", 1, { ["a\254"] = "b\0\27\253", n = 2, t = true }) end"#;
    let run = over(
        script,
        "redis-split",
        &["-m", "redis", "--format", "json", "-q"],
    );
    assert_eq!(run.stderr, "");
    let summary: serde_json::Value =
        serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    let counter = &summary["scripts"]["counters"][0];
    assert_eq!(counter["name"], "k\u{fffd}");
    let labels = serde_json::json!({ "a\u{fffd}": "b\0\x1b\u{fffd}", "n": "2", "t": "true" });
    assert_eq!(counter["labels"], labels);
}
