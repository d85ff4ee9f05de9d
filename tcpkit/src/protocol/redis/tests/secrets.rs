//! Passwords are never shown, however the request is written or cut.

use super::drive::{Driver, Told, words};
use crate::flow::Direction;
use crate::protocol::Protocol;
use crate::protocol::redis::Redis;

fn rendered(kept: &[u8]) -> String {
    let mut out = Vec::new();
    Redis.render(kept, 255, &mut out);
    String::from_utf8(out).unwrap()
}

/// Requests with the password `hush`, and what is shown.
const CASES: &[(&str, &str)] = &[
    ("AUTH hush", "AUTH ***"),
    ("auth hush", "auth ***"),
    ("AUTH user hush", "AUTH user ***"),
    (
        "HELLO 3 AUTH user hush SETNAME me",
        "HELLO 3 AUTH user *** SETNAME me",
    ),
    (
        "HELLO 3 SETNAME AUTH auth AUTH hush",
        "HELLO 3 SETNAME AUTH auth AUTH ***",
    ),
    (
        "ACL SETUSER bob on >hush ~* +@all",
        "ACL SETUSER bob on >*** ~* +@all",
    ),
    (
        "acl setuser bob <hush #hush !hush nopass",
        "acl setuser bob <*** #*** !*** nopass",
    ),
    (
        "MIGRATE host 6379 key 0 5000 AUTH hush",
        "MIGRATE host 6379 key 0 5000 AUTH ***",
    ),
    (
        "MIGRATE h 1 AUTH 0 5 COPY AUTH2 user hush KEYS a AUTH b",
        "MIGRATE h 1 AUTH 0 5 COPY AUTH2 *** *** KEYS a AUTH b",
    ),
    ("CONFIG SET requirepass hush", "CONFIG SET requirepass ***"),
    (
        "config set maxmemory 5 masterauth hush tls-key-file-pass hush port 1",
        "config set maxmemory 5 masterauth *** tls-key-file-pass *** port 1",
    ),
    ("CONFIG SET masteruser bob", "CONFIG SET masteruser bob"),
    ("CONFIG GET requirepass", "CONFIG GET requirepass"),
    (
        "SENTINEL SET mymaster auth-pass hush",
        "SENTINEL SET mymaster auth-pass ***",
    ),
    (
        "SENTINEL CONFIG SET sentinel-pass hush",
        "SENTINEL CONFIG SET sentinel-pass ***",
    ),
    ("SET auth hash", "SET auth hash"),
    // A user, a timeout or quotes were forgotten.
    ("HELLO 3 AUTH hush", "HELLO 3 AUTH ***"),
    ("HELLO AUTH hush", "HELLO AUTH ***"),
    (
        "MIGRATE host 6379 key 0 AUTH hush",
        "MIGRATE host 6379 key 0 AUTH ***",
    ),
    (
        "MIGRATE host 6379 key AUTH2 user hush",
        "MIGRATE host 6379 key AUTH2 *** ***",
    ),
    (
        "MIGRATE host 6379 key 0 1 AUTH2 hush",
        "MIGRATE host 6379 key 0 1 AUTH2 ***",
    ),
    (
        "CONFIG SET requirepass my hush",
        "CONFIG SET requirepass *** ***",
    ),
    (
        "CONFIG SET port 1 requirepass my hush hush",
        "CONFIG SET port 1 requirepass *** *** ***",
    ),
    (
        "CONFIG SET requirepass hush maxmemory-policy noeviction masterauth hush",
        "CONFIG SET requirepass *** maxmemory-policy noeviction masterauth ***",
    ),
    (
        "SENTINEL SET mymaster auth-pass my hush",
        "SENTINEL SET mymaster auth-pass *** ***",
    ),
    // Requests within requests.
    (
        "ACL DRYRUN default AUTH hush",
        "ACL DRYRUN default AUTH ***",
    ),
    (
        "ACL DRYRUN auth CONFIG SET requirepass hush",
        "ACL DRYRUN auth CONFIG SET requirepass ***",
    ),
    ("ACL DRYRUN default GET k", "ACL DRYRUN default GET k"),
    ("COMMAND GETKEYS AUTH hush", "COMMAND GETKEYS AUTH ***"),
    (
        "command getkeysandflags hello 3 auth hush",
        "command getkeysandflags hello 3 auth ***",
    ),
    ("COMMAND DOCS AUTH get", "COMMAND DOCS AUTH get"),
];

#[test]
fn hidden_in_arrays_and_lines() {
    for (line, shown) in CASES {
        assert_eq!(rendered(&words(line)), *shown);
        assert_eq!(rendered(line.as_bytes()), *shown);
        assert_eq!(rendered(format!("  {line}\r\n").as_bytes()), *shown);
    }
    assert_eq!(rendered(b"AUTH \"hush hush"), "AUTH ***");
    // A name without a value: so this is a password and SETNAME, or a user and no password.
    let odd = "HELLO 3 AUTH hush SETNAME me";
    assert_eq!(rendered(&words(odd)), "HELLO 3 AUTH *** *** ***");
    assert_eq!(rendered(b"\"AUTH\" 'hush'\r\n"), "AUTH ***");
}

#[test]
fn hidden_however_cut() {
    for (line, _) in CASES {
        for request in [words(line), line.as_bytes().to_vec()] {
            for len in 0..request.len() {
                let shown = rendered(request.get(..len).unwrap());
                for part in ["hush", "hus", "hu"] {
                    assert!(!shown.contains(part), "{line} at {len}: {shown}");
                }
            }
        }
    }
    for (line, _) in CASES {
        for max in 0..60 {
            let mut out = Vec::new();
            Redis.render(&words(line), max, &mut out);
            assert!(out.len() <= max);
            assert!(
                !String::from_utf8(out).unwrap().contains("hu"),
                "{line} at {max}"
            );
        }
    }
}

#[test]
fn quotes_as_redis_cli_has_them() {
    let render = |arguments: &[&[u8]]| rendered(&super::drive::command(arguments));
    assert_eq!(render(&[b"SET", b"", b"a b"]), r#"SET "" "a b""#);
    assert_eq!(
        render(&[b"SET", b"it's", b"\"x\""]),
        r#"SET "it's" "\"x\"""#
    );
    assert_eq!(
        render(&[b"SET", b"\x1b[31m\r\n\t", b"\xc3\xa9\\"]),
        r#"SET "\x1b[31m\r\n\t" "\xc3\xa9\\""#
    );
    assert_eq!(render(&[b"SET", b"a\\b"]), r"SET a\b");
}

#[test]
fn no_longer_than_asked() {
    let request = super::drive::command(&[b"SET", b"k", &[b'v'; 900]]);
    let mut out = b"before ".to_vec();
    assert_eq!(Redis.render(&request, 20, &mut out), 20);
    assert_eq!(out, b"before SET k vvvvvvvvvvvvvv");
    let request = super::drive::command(&[b"SET", b"k", &[1; 900]]);
    let mut out = Vec::new();
    assert_eq!(Redis.render(&request, 20, &mut out), 9);
    assert_eq!(out, br#"SET k "\x01\x01\x01"#);
}

/// An error that repeats a password, in one piece and in two.
#[test]
fn errors_do_not_repeat_passwords_however_they_come() {
    let mut error = b"!2000\r\nERR Error in ACL SETUSER modifier '<S3CRET': ".to_vec();
    error.resize(7 + 2000, b'.');
    error.extend_from_slice(b"\r\n");
    for split in [1, 50, 1000, 2005, error.len()] {
        let mut driver = Driver::new();
        driver.request(b"*3\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$1\r\nu\r\n");
        let (first, rest) = error.split_at(split);
        driver.response(first).response(rest);
        let is_answer = |told: &&Told| told.direction == Direction::ToClient;
        let told = driver.told.iter().find(is_answer).unwrap();
        let text = String::from_utf8_lossy(&told.text);
        assert!(text.contains("modifier '***': ."), "{split}: {text}");
    }
}
