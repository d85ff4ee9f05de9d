//! Which arguments of a request are keys.
//!
//! Reads the first bytes of a request, hands out its keys and the lengths of its arguments. What is no key for
//! certain is none: a value must not pass for one.

use std::sync::LazyLock;

use super::commands;
use super::request::{Argument, Arguments, Words};

/// Where a command's keys are, among the arguments behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// It has none, or nobody knows.
    Nowhere,
    /// The first argument.
    First,
    /// The second argument.
    Second,
    /// The first two.
    FirstTwo,
    /// All of them.
    All,
    /// Every second one, from the first on.
    Pairs,
    /// As many as the second argument says, from the third on.
    Counted,
    /// The first half of those behind STREAMS.
    Streams,
}

/// Commands whose first argument is no key, or that have other keys besides.
#[rustfmt::skip]
const OTHERS: &[(Where, &[&str])] = &[
    (Where::Nowhere, &[
        "ACL", "ASKING", "AUTH", "BGREWRITEAOF", "BGSAVE", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE",
        "DEBUG", "DISCARD", "ECHO", "EXEC", "FAILOVER", "FLUSHALL", "FLUSHDB", "FUNCTION", "HELLO", "HOTKEYS",
        "INFO", "KEYS", "LASTSAVE", "LATENCY", "LOLWUT", "MIGRATE", "MODULE", "MONITOR", "MULTI", "PFDEBUG",
        "PFSELFTEST", "PING", "PSUBSCRIBE", "PSYNC", "PUBLISH", "PUBSUB", "PUNSUBSCRIBE", "QUIT", "RANDOMKEY",
        "READONLY", "READWRITE", "REPLCONF", "REPLICAOF", "RESET", "ROLE", "SAVE", "SCAN", "SCRIPT", "SELECT",
        "SENTINEL", "SHUTDOWN", "SLAVEOF", "SLOWLOG", "SPUBLISH", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE",
        "SWAPDB", "SYNC", "TFCALL", "TFCALLASYNC", "TFUNCTION", "TIME", "TS.MGET", "TS.MRANGE", "TS.MREVRANGE",
        "TS.QUERYINDEX", "UNSUBSCRIBE", "UNWATCH", "WAIT", "WAITAOF", "BLMPOP", "BZMPOP", "LMPOP", "ZMPOP",
        "ZDIFF", "ZINTER", "ZUNION", "ZINTERCARD", "SINTERCARD", "MSETEX", "GRAPH.CONFIG", "GRAPH.LIST", "other",
    ]),
    (Where::Second, &["BITOP", "MEMORY", "OBJECT", "XGROUP", "XINFO"]),
    (Where::FirstTwo, &[
        "BLMOVE", "BRPOPLPUSH", "COPY", "GEOSEARCHSTORE", "LCS", "LMOVE", "RENAME", "RENAMENX", "RPOPLPUSH",
        "SMOVE", "ZRANGESTORE",
    ]),
    (Where::All, &[
        "DEL", "EXISTS", "MGET", "PFCOUNT", "PFMERGE", "SDIFF", "SDIFFSTORE", "SINTER", "SINTERSTORE", "SUNION",
        "SUNIONSTORE", "TOUCH", "UNLINK", "WATCH",
    ]),
    (Where::Pairs, &["MSET", "MSETNX"]),
    (Where::Counted, &["EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"]),
    (Where::Streams, &["XREAD", "XREADGROUP"]),
];

/// By index of the command.
static PLACES: LazyLock<Vec<Where>> =
    LazyLock::new(|| commands::names().iter().map(|name| place(name)).collect());

fn place(name: &str) -> Where {
    let listed = OTHERS.iter().find(|(_, names)| names.contains(&name));
    match listed {
        Some((place, _)) => *place,
        // An index is no key.
        None if name.starts_with("FT.") || name == "CMS.MERGE" => Where::Nowhere,
        None => Where::First,
    }
}

/// Hands the keys of the request that begins with `kept` to `each`.
pub(super) fn keys(command: u16, kept: &[u8], each: &mut dyn FnMut(&[u8])) {
    let Some(&place) = PLACES.get(usize::from(command)) else {
        return;
    };
    if place == Where::Nowhere {
        return;
    }
    if kept.first() == Some(&b'*') {
        let total = Arguments::of(kept).left().saturating_sub(1);
        pick(place, total, Arguments::of(kept).skip(1), each);
    } else {
        let words = words(kept);
        let total = words.clone().count().saturating_sub(1) as u32;
        pick(place, total, words.skip(1), each);
    }
}

fn words(kept: &[u8]) -> Words<'_> {
    let end = memchr::memchr(b'\n', kept).unwrap_or(kept.len());
    let line = kept.get(..end).unwrap_or(kept);
    Words::of(line.strip_suffix(b"\r").unwrap_or(line))
}

fn pick<'a>(
    place: Where,
    total: u32,
    mut arguments: impl Iterator<Item = Argument<'a>>,
    each: &mut dyn FnMut(&[u8]),
) {
    let mut tell = |argument: Argument<'_>| each(&argument.bytes);
    match place {
        Where::Nowhere => {}
        Where::First => arguments.take(1).for_each(tell),
        Where::Second => arguments.skip(1).take(1).for_each(tell),
        Where::FirstTwo => arguments.take(2).for_each(tell),
        Where::All => arguments.for_each(tell),
        Where::Pairs => arguments.step_by(2).for_each(tell),
        Where::Counted => {
            let count = arguments.nth(1).map_or(0, |count| number(&count.bytes));
            arguments.take(count).for_each(tell);
        }
        Where::Streams => {
            let before = arguments.position(|word| word.bytes.eq_ignore_ascii_case(b"STREAMS"));
            let behind = before.map_or(0, |before| (total as usize).saturating_sub(before + 1));
            for key in arguments.take(behind / 2) {
                tell(key);
            }
        }
    }
}

fn number(digits: &[u8]) -> usize {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// Appends the lengths of the arguments behind the command's name, at most `max`.
pub(super) fn sizes(kept: &[u8], max: usize, out: &mut Vec<u32>) {
    if kept.first() == Some(&b'*') {
        out.extend(
            Arguments::of(kept)
                .skip(1)
                .take(max)
                .map(|argument| argument.len),
        );
    } else {
        out.extend(words(kept).skip(1).take(max).map(|word| word.len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let (command, _) = commands::by_name(words.first().map_or(&[][..], |word| word.as_bytes()));
        let resp: String = std::iter::once(format!("*{}\r\n", words.len()))
            .chain(
                words
                    .iter()
                    .map(|word| format!("${}\r\n{word}\r\n", word.len())),
            )
            .collect();
        let inline = format!("{line}\r\n");
        let [a, b] = [resp, inline].map(|kept| {
            let mut told = Vec::new();
            keys(command, kept.as_bytes(), &mut |key| {
                told.push(String::from_utf8_lossy(key).into_owned());
            });
            told
        });
        assert_eq!(a, b, "{line}");
        a
    }

    #[test]
    fn keys_are_told_and_values_are_not() {
        for (line, expected) in [
            ("GET a", &["a"][..]),
            ("SET a value", &["a"]),
            ("HSET h field value", &["h"]),
            ("MSET a 1 b 2", &["a", "b"]),
            ("MGET a b c", &["a", "b", "c"]),
            ("RENAME a b", &["a", "b"]),
            ("EVAL script 2 a b value", &["a", "b"]),
            ("EVAL script 0 value", &[]),
            ("XREAD COUNT 2 STREAMS s t 0 0", &["s", "t"]),
            ("OBJECT ENCODING a", &["a"]),
            ("AUTH secret", &[]),
            ("CONFIG SET requirepass secret", &[]),
            ("PING hello", &[]),
            ("FT.SEARCH index query", &[]),
            ("NOSUCHCOMMAND value", &[]),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn every_name_that_is_listed_is_a_command() {
        for name in OTHERS.iter().flat_map(|(_, names)| names.iter()) {
            assert!(commands::names().contains(name), "{name}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_arguments() {
        let mut out = Vec::new();
        sizes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500\r\nxx", 8, &mut out);
        assert_eq!(out, [1, 500]);
    }
}
