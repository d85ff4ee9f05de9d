//! Protocols that a script teaches. That they pair as client and server know is what the golden cases
//! `taught-…` hold them to (`truth.rs`, `golden.rs`); here is what can go wrong.

use serde_json::Value;

use crate::support::cases::Case;
use crate::{Run, Scratch, over, run_file};

/// A protocol of lines, over a recording of redis: `*1`, `$4`, … are its messages.
const LINES: &str = r#"
tcpkit.protocol { name = "lines", ports = { 6390 }, commands = { "*1" }, parse = function(direction, bytes, kept)
  BODY
  local messages, at = {}, 1
  for line, behind in bytes:gmatch("([^\r\n]*)\r\n()") do
    messages[#messages + 1] = { size = behind - at, role = direction, text = line, status = "FINE" }
    at = behind
  end
  return #messages > 0 and messages or nil
end }
"#;

fn lines(body: &str, args: &[&str]) -> Run {
    let script = LINES.replace("BODY", body);
    over(&script, "redis-inline", &[&["-m", "lines"], args].concat())
}

fn summary(run: &Run) -> Value {
    serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap()
}

#[test]
fn it_is_a_mode_like_any_other() {
    for args in [&["-p", "6390"][..], &["-p", "6390=lines"], &[]] {
        let run = lines("", &[args, &["--format", "json"]].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let first: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
        assert_eq!(first["protocol"], "lines");
        assert_eq!(first["status"], "FINE");
        assert_eq!(first["confidence"], "exact");
    }
    let unknown = over("function process() end", "redis-inline", &["-m", "lines"]);
    assert_eq!(unknown.code, Some(2));
}

#[test]
fn a_conversation_has_a_table_of_its_own() {
    let body = "kept.n = (kept.n or 0) + 1 if kept.n > 1 then print('again') end";
    assert!(lines(body, &["-q"]).stdout.starts_with("again\n"));
}

#[test]
fn a_parser_that_hangs_is_switched_off_and_the_run_goes_on() {
    for (body, why) in [
        ("while true do end", "a call took longer than it may"),
        (
            "('a'):rep(30):find(('.-'):rep(12) .. 'b')",
            "hangs in a call that cannot be stopped",
        ),
    ] {
        let run = lines(body, &["-q", "--format", "json"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
        let opaque = summary(&run)["capture"]["opaque"].as_u64().unwrap();
        assert!(opaque > 0, "{}", run.stdout);
        assert!(
            run.stderr.contains("whose script is switched off"),
            "{}",
            run.stderr
        );
    }
}

/// More than one conversation asks while the script ends.
#[test]
fn a_script_that_ends_amid_conversations_holds_nobody_up() {
    for body in ["while true do end", "os.exit()"] {
        let script = LINES.replace("BODY", body);
        for case in ["redis-benchmark-1", "redis-benchmark-16"] {
            let args = ["-m", "lines", "-p", "6390=lines", "-q"];
            let run = over(&script, case, &args);
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            assert!(run.stdout.contains("frames seen"), "{}", run.stdout);
        }
    }
}

#[test]
fn a_parser_that_fails_is_told_and_its_bytes_are_malformed() {
    for body in [
        "error('no idea')",
        "return { { size = 0, role = 'request' } }",
        "return { { size = 1 } }",
        "return { { size = 99999, role = 'request' } }",
        "return 7",
    ] {
        let run = lines(&format!("do {body} end"), &["-q", "--format", "json"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("parse: "), "{body}: {}", run.stderr);
        assert!(!run.stderr.contains("runtime error"), "{}", run.stderr);
        assert!(summary(&run)["capture"]["malformed"].as_u64().unwrap() > 0);
    }
}

#[test]
fn what_is_wrong_with_a_lesson_is_said() {
    for (lesson, why) in [
        ("{}", "name has to be a word"),
        (
            "{ name = 'redis', parse = print }",
            "there is a protocol `redis` already",
        ),
        ("{ name = 'x' }", "parse has to be a function"),
        (
            "{ name = 'x', parse = print, ports = { 70000 } }",
            "ports has to be a list",
        ),
        (
            "{ name = 'x', parse = print, ports = { 0 } }",
            "ports has to be a list",
        ),
        (
            "{ name = 'x', parse = print, ports = { 1.5 } }",
            "ports has to be a list",
        ),
        (
            "{ name = 'x', parse = print, resync = 5 }",
            "resync has to be a function",
        ),
        (
            "{ name = 'x', parse = print, commands = { {} } }",
            "commands has to be a list of words",
        ),
        (
            "{ name = 'x', parse = print, transports = { 'sctp' } }",
            "no transport is called `sctp`",
        ),
    ] {
        let run = over(&format!("tcpkit.protocol {lesson}"), "redis-inline", &[]);
        assert_eq!(run.code, Some(2), "{lesson}");
        assert!(run.stderr.contains(why), "{lesson}: {}", run.stderr);
    }
}

/// The run does not know of it: it would be no protocol.
#[test]
fn nothing_is_taught_once_the_script_is_loaded() {
    let late = "function process() tcpkit.protocol { name = 'late', parse = print } end";
    let said = over(late, "redis-inline", &[]).stderr;
    let why = "script.lua:1: tcpkit.protocol: only while the script is loaded";
    assert!(said.contains(why), "{said}");
}

#[test]
fn what_is_wrong_with_an_answer_is_said_in_the_scripts_words() {
    for (answer, why) in [
        ("7", "its answer has to be an array of messages, or nil"),
        ("{ 7 }", "message 1 of its answer: it has to be a table"),
        (
            "{ { role = 'request' } }",
            "message 1 of its answer: size has to be a number",
        ),
        (
            "{ { role = 'request', size = 1, skip = -1 } }",
            "message 1 of its answer: skip has to be a number from 0 on",
        ),
        (
            "{ { role = 'request', size = 1, text = {} } }",
            "message 1 of its answer: text has to be a string",
        ),
    ] {
        let run = lines(&format!("do return {answer} end"), &["-q"]);
        assert!(run.stderr.contains(why), "{answer}: {}", run.stderr);
    }
}

/// Of any bytes, and each its own: those that are too long to be kept are `other`.
#[test]
fn statuses_are_told_apart() {
    let status = "({ '\\255', 'back\\\\slash', ('x'):rep(65) })[#bytes % 3 + 1]";
    let body = format!(
        "do return {{ {{ size = #bytes, role = direction, text = #bytes, status = {status} }} }} end"
    );
    let run = lines(&body, &["--format", "json"]);
    assert_eq!(run.stderr, "");
    let mut seen = std::collections::BTreeSet::new();
    for line in run.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(bytes) = line["response_bytes"].as_u64() {
            let status = ["\\xff", "back\\\\slash", "other"][bytes as usize % 3];
            assert_eq!(line["status"], status);
            seen.insert(status);
        }
    }
    assert!(seen.len() > 1, "{seen:?}");
}

/// Leaves frames out of a recording with classic pcap headers.
fn without(file: &[u8], lost: &[usize]) -> Vec<u8> {
    let mut kept = file[..24].to_vec();
    let (mut at, mut number) = (24, 1);
    while at < file.len() {
        let length = u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize;
        if !lost.contains(&number) {
            kept.extend(&file[at..at + 16 + length]);
        }
        (at, number) = (at + 16 + length, number + 1);
    }
    kept
}

#[test]
fn after_a_loss_no_response_is_given_to_another_request() {
    for name in ["taught-beanstalkd", "taught-mqtt"] {
        let case = Case::named(name);
        let whole = case.report();
        let known: Vec<String> = whole.exchanges.iter().map(pair).collect();
        let file = std::fs::read(case.input()).unwrap();
        let scratch = Scratch::new("lua");
        let script = case.path(&case.args()[1]);
        for lost in 4..60 {
            let input = scratch.file("input.pcap", without(&file, &[lost]));
            let args = case.args();
            let args: Vec<&str> = args[2..].iter().map(String::as_str).collect();
            let run = run_file(
                &script,
                &input,
                &[&args[..], &["--format", "json"]].concat(),
            );
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            let objects = run
                .stdout
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            for exchange in
                objects.filter(|one| one["type"] == "exchange" && !one["latency_ns"].is_null())
            {
                assert!(
                    known.contains(&pair(&exchange)),
                    "{name} without frame {lost}: {exchange}"
                );
            }
        }
    }
}

/// What tells a pair, whatever frames are missing.
fn pair(exchange: &Value) -> String {
    format!(
        "{} {} {}",
        exchange["text"], exchange["status"], exchange["response_first_ns"]
    )
}
