//! The scripts of `scripts/`: each prints what is kept in `expected/`, over recordings of real servers.
//!
//! `TCPKIT_BLESS=1` rewrites what is kept; read the diff.

use std::path::{Path, PathBuf};

use crate::common::{Script, save};
use crate::frames::{Make, pcap};
use crate::support::cases::Case;
use crate::{Scratch, run_file};

/// A script, the recording that it is run over, and a line that it has to print of it.
const SCRIPTS: &[(&str, &str, &str)] = &[
    (
        "example",
        "redis-split",
        "127.0.0.1:41588 => 127.0.0.1:6390 S 0",
    ),
    ("dns", "dns-udp", "A www.example.test. 0.138 ms NOERROR"),
    (
        "tcp-connect",
        "redis-split",
        "1 opened, 1 established, 0 with SYN retries",
    ),
    ("hot-keys", "memcached-text", "by bytes"),
    (
        "slow-by-client",
        "redis-benchmark-16",
        "127.0.0.1: 4802 requests",
    ),
    (
        "redis-big-values",
        "redis-large",
        "127.0.0.1 SET request 100033 bytes",
    ),
    (
        "http-errors",
        "http-keepalive",
        "404 test.example GET /missing HTTP/1.1",
    ),
    (
        "redis-pubsub",
        "redis-pubsub-resp3",
        "news: 2 published, 2 delivered, 10 bytes",
    ),
];

fn script(name: &str) -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    scripts.join(format!("{name}.lua"))
}

#[test]
fn every_script_prints_what_is_kept() {
    for (name, case, line) in SCRIPTS {
        let case = Case::named(case);
        let args = case.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let run = run_file(&script(name), &case.input(), &args);
        assert_eq!(run.stderr, "", "{name}");
        assert!(run.stdout.contains(line), "{name}: {}", run.stdout);
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lua/expected");
        let kept = kept.join(format!("{name}.txt"));
        if std::env::var_os("TCPKIT_BLESS").is_some() {
            std::fs::write(&kept, &run.stdout).unwrap();
        }
        assert!(
            std::fs::read_to_string(&kept).unwrap() == run.stdout,
            "{name}:\n{}",
            run.stdout
        );
    }
}

#[test]
fn every_script_has_a_test_and_says_how_it_is_called() {
    for entry in std::fs::read_dir(script("example").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_stem().filter(|_| path.is_file()) else {
            continue;
        };
        let name = name.to_str().unwrap();
        assert!(SCRIPTS.iter().any(|(tested, ..)| *tested == name), "{name}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("-- {name}.lua: ")), "{name}");
        assert!(
            text.contains(&format!("tcpkit -S scripts/{name}.lua")),
            "{name}"
        );
    }
}

#[test]
fn connections_whose_syn_was_sent_again_are_told() {
    let make = Make {
        v6: false,
        udp: false,
    };
    let frames = [
        make.frame(false, 0x02, b""),
        make.frame(false, 0x02, b""),
        make.frame(false, 0x02, b""),
        make.frame(true, 0x12, b""),
        make.frame(false, 0x10, b""),
    ];
    let scratch = Scratch::new("lua");
    let input = scratch.file("input.pcap", pcap(&frames, 1000));
    let run = run_file(&script("tcp-connect"), &input, &["-p", "6379"]);
    assert_eq!(
        run.stdout,
        "2023-11-14T22:13:24.250005000Z 10.0.200.1:40001 => 10.0.200.2:6379 2 SYN retries, connected after 4000.004 ms\n\
         10.0.200.2:6379: 1 opened, 1 established, 1 with SYN retries, 0 refused, slowest 4000.004 ms\n"
    );
}

#[test]
fn a_refused_connection_is_told() {
    let make = Make {
        v6: true,
        udp: false,
    };
    let frames = [make.frame(false, 0x02, b""), make.frame(true, 0x14, b"")];
    let scratch = Scratch::new("lua");
    let input = scratch.file("input.pcap", pcap(&frames, 1000));
    let run = run_file(&script("tcp-connect"), &input, &["-p", "6379"]);
    assert!(
        run.stdout.contains("refused after 1000.001 ms"),
        "{}",
        run.stdout
    );
}

/// As many keys as the script remembers, and some more: it comes to its end within the time that a hook may take.
#[test]
fn many_keys_are_told_in_time() {
    let mut talk = Script::new(40001, 6379);
    let names: Vec<String> = (0..100_040).map(|number| format!("key:{number}")).collect();
    for names in names.chunks(40) {
        let asked: String = names
            .iter()
            .map(|name| format!("*2\r\n$3\r\nGET\r\n${}\r\n{name}\r\n", name.len()))
            .collect();
        talk.say(false, asked.as_bytes(), 60_000);
        talk.say(true, "$1\r\n1\r\n".repeat(names.len()).as_bytes(), 60_000);
    }
    talk.pass(20_000_000_000);
    talk.say(false, b"*1\r\n$4\r\nPING\r\n", 60_000);
    let input = save(&talk.frames, "many-keys");
    let run = run_file(&script("hot-keys"), &input, &["-p", "6379"]);
    std::fs::remove_file(&input).unwrap();
    assert_eq!(run.stderr, "");
    let told = "100000 keys, 40 uses of others\n  by uses\n           1 uses  key:0\n";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 1 + 2 * (1 + 10));
}

/// A client that asks for random names fills no memory.
#[test]
fn names_without_end_are_told_as_others() {
    let make = Make {
        v6: false,
        udp: true,
    };
    let mut frames = Vec::new();
    for number in 0..10_100_u16 {
        let [high, low] = number.to_be_bytes();
        // RFC 1035, section 4.1: identifier, flags, one question, its name, A, IN.
        let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5];
        query.extend(format!("{number:05}").bytes());
        query.extend([0, 0, 1, 0, 1]);
        frames.push(make.frame(false, 0, &query));
        query[2] = 0x80;
        frames.push(make.frame(true, 0, &query));
    }
    let scratch = Scratch::new("lua");
    let input = scratch.file("input.pcap", pcap(&frames, 1000));
    let run = run_file(&script("dns"), &input, &["-p", "6379=dns"]);
    assert_eq!(run.stderr, "");
    let first = run.stdout.lines().nth(10_100).unwrap();
    assert!(
        first.starts_with("   100  avg ") && first.ends_with("(others)"),
        "{first}"
    );
}
