//! What is printed, and where it stands in the report.

use crate::over;
use crate::support::cases::Case;

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
