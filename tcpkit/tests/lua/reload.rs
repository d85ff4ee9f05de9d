//! Reloading on SIGUSR2: no packet is lost, and a script that fails leaves the old one running.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::Scratch;
use crate::support::cases::Case;
use crate::support::tcpkit;

/// Feeds a recording to a run in two halves, with `between` in the middle.
fn in_halves(scratch: &Scratch, script: &str, between: impl FnOnce(&Child)) -> (String, String) {
    let script = scratch.file("script.lua", script);
    let mut command = tcpkit();
    command.arg("-S").arg(&script).args(["-r", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = long();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&input[..input.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    between(&child);
    stdin.write_all(&input[input.len() / 2..]).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// A recording that is long enough to be looked up from: signals are looked at every thousand frames.
fn long() -> Vec<u8> {
    let file = std::fs::read(Case::named("redis-benchmark-16").input()).unwrap();
    let (head, frames) = file.split_at(24);
    [head, &frames.repeat(20)].concat()
}

fn all(scratch: &Scratch, script: &str) -> String {
    crate::run(script, &scratch.file("long.pcap", long()), &[]).stdout
}

fn usr2(child: &Child) {
    let kill = std::process::Command::new("kill")
        .args(["-USR2", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(200) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

const COUNT: &str =
    "n = 0 function process() n = n + 1 end function on_exit() print('NAME', n) end";

fn counted(stdout: &str) -> u64 {
    let counts = stdout
        .lines()
        .map(|line| line.split('\t').nth(1).unwrap().parse::<u64>().unwrap());
    counts.sum()
}

#[test]
fn no_packet_is_lost() {
    let scratch = Scratch::new("lua");
    let all = all(&scratch, COUNT);
    let (said, err) = in_halves(&scratch, &COUNT.replace("NAME", "old"), |child| {
        scratch.file("script.lua", COUNT.replace("NAME", "new"));
        usr2(child);
    });
    assert!(
        said.starts_with("old\t") && said.contains("\nnew\t"),
        "{said}{err}"
    );
    assert_eq!(counted(&said), counted(&all));
    assert!(err.contains("script.lua: reloaded"), "{err}");
}

#[test]
fn a_script_that_fails_to_load_leaves_the_old_one() {
    let scratch = Scratch::new("lua");
    let all = all(&scratch, COUNT);
    let (said, err) = in_halves(&scratch, COUNT, |child| {
        scratch.file("script.lua", "function process( end");
        usr2(child);
    });
    assert_eq!(said, all);
    assert!(
        err.contains("not reloaded, the old script goes on"),
        "{err}"
    );
    assert!(err.contains("script.lua:1:"), "{err}");
}
