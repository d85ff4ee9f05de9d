//! The same bytes give the same messages, however they are cut.

use proptest::prelude::*;

use super::drive::{Driver, Told, command, words};
use crate::flow::Direction;
use crate::protocol::redis::Redis;
use crate::protocol::{Input, Mark, Output, Protocol};
use crate::wire::Transport;

/// A conversation in which everything occurs, in an order in which it can have happened.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let long = vec![b'x'; 5000];
    let nested = [&b"*1\r\n".repeat(20)[..], b"$-1\r\n"].concat();
    let client = |bytes: Vec<u8>| (Direction::ToServer, bytes);
    let server = |bytes: &[u8]| (Direction::ToClient, bytes.to_vec());
    vec![
        client(words("SET key:000000000001 xxx")),
        client(b"\r\nping\r\n".to_vec()),
        client(b"SET k \"a \\x41 b\"\r\n".to_vec()),
        server(b"+OK\r\n+PONG\r\n+OK\r\n"),
        client(command(&[b"MSET", b"a", &long, &[b'k'; 100], &long])),
        client(command(&[b"GET", &[b'\n'; 64]])),
        client(command(&[b"GET", &[b'\n'; 65]])),
        client(b"*0\r\n".to_vec()),
        server(b"+OK\r\n$5000\r\n"),
        server(&long),
        server(b"\r\n$-1\r\n"),
        client(words("MGET a b c")),
        client(words("HGETALL h")),
        client(words("EVAL x 0")),
        server(b"*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbb\r\n%2\r\n+a\r\n:1\r\n$1\r\nb\r\n,1.5\r\n"),
        server(&nested),
        client(words("NOSUCH")),
        client(words("FCALL f 0")),
        server(b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n!2000\r\nOOPS "),
        server(&vec![b'e'; 1995]),
        server(b"\r\n"),
        client(words("HELLO 3")),
        client(words("SUBSCRIBE a b")),
        server(b"%1\r\n$5\r\nproto\r\n:3\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
        server(b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
        client(words("UNSUBSCRIBE")),
        server(b">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n"),
        client(words("XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS s >")),
        server(b"|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n*-1\r\n"),
        client(words("CLIENT REPLY SKIP")),
        client(words("SET a b")),
        client(words("DEBUG PROTOCOL streams")),
        server(b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n"),
        client(words("DEBUG PROTOCOL streams")),
        server(b"*?\r\n:1\r\n%?\r\n+a\r\n_\r\n.\r\n#t\r\n.\r\n"),
        client(words("DEBUG PROTOCOL bignum")),
        server(b"(1234567999999999999999999999999999999\r\n"),
        client(words("DEBUG PROTOCOL verbatim")),
        server(b"=29\r\ntxt:This is a verbatim\nstring\r\n"),
        client(words("MONITOR")),
        server(b"+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"),
        client(words("RESET")),
        server(b"+RESET\r\n"),
        client(words("PSYNC ? -1")),
        server(b"+FULLRESYNC abc 1\r\n"),
    ]
}

/// Joins what goes the same way, so that pieces may span messages.
fn joined() -> Vec<(Direction, Vec<u8>)> {
    let mut joined: Vec<(Direction, Vec<u8>)> = Vec::new();
    for (direction, bytes) in conversation() {
        match joined.last_mut() {
            Some((last, all)) if *last == direction => all.extend_from_slice(&bytes),
            _ => joined.push((direction, bytes)),
        }
    }
    joined
}

fn timeless(driver: &Driver) -> Vec<Told> {
    assert_eq!(driver.malformed, 0);
    driver.told.iter().map(Told::timeless).collect()
}

fn whole() -> Vec<Told> {
    let mut driver = Driver::new();
    for (direction, bytes) in joined() {
        driver.feed(direction, &bytes);
    }
    assert!(driver.opaque);
    timeless(&driver)
}

#[test]
fn pieces_of_every_size() {
    let whole = whole();
    assert_eq!(whole.len(), 50);
    for size in (1..40).chain([64, 100, 511, 1024, 1460, 4096]) {
        let mut driver = Driver::new();
        for (direction, bytes) in joined() {
            for piece in bytes.chunks(size) {
                driver.feed(direction, piece);
            }
        }
        let pieces = timeless(&driver);
        for (one, other) in whole.iter().zip(&pieces) {
            assert_eq!(one, other, "in pieces of {size}");
        }
        assert_eq!(whole.len(), pieces.len(), "in pieces of {size}");
    }
}

#[test]
fn messages_one_by_one() {
    let mut driver = Driver::new();
    for (direction, bytes) in conversation() {
        driver.feed(direction, &bytes);
    }
    assert_eq!(timeless(&driver), whole());
}

fn any_argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::sample::select(vec![
            &b"GET"[..],
            b"subscribe",
            b"CLIENT",
            b"REPLY",
            b"OFF",
            b"XREAD",
            b"BLOCK",
            b"AUTH",
            b""
        ])
        .prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(any::<u8>(), 900..1300),
    ]
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any_argument(), 1..6)
            .prop_map(|arguments| command(&arguments.iter().map(Vec::as_slice).collect::<Vec<_>>())),
        1 => "[ a-zA-Z0-9\"'\\\\.]{0,60}\r?\n".prop_map(String::into_bytes),
    ]
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let line = |kind: &'static str, text: &'static str| {
        text.prop_map(move |text| format!("{kind}{text}\r\n").into_bytes())
    };
    let string = |kind: char| {
        proptest::collection::vec(any::<u8>(), 0..1200).prop_map(move |bytes| {
            [
                format!("{kind}{}\r\n", bytes.len()).as_bytes(),
                &bytes,
                b"\r\n",
            ]
            .concat()
        })
    };
    let leaf = prop_oneof![
        line("+", "[ -~]{0,40}"),
        line("-", "[A-Z]{2,8} [ -~]{0,40}"),
        line(":", "-?[0-9]{1,18}"),
        line(",", "-?[0-9]{1,5}\\.[0-9]{1,5}"),
        line("(", "[0-9]{1,40}"),
        Just(b"_\r\n".to_vec()),
        Just(b"#t\r\n".to_vec()),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"$9\r\nsubscribe\r\n".to_vec()),
        Just(b"$7\r\nmessage\r\n".to_vec()),
        Just(b"$?\r\n;3\r\nabc\r\n;1\r\nd\r\n;0\r\n".to_vec()),
        string('$'),
        string('!'),
        string('='),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        (
            proptest::sample::select(b"*~>%|?".to_vec()),
            proptest::collection::vec(inner.clone(), 0..6),
            inner,
        )
            .prop_map(|(kind, mut values, last)| {
                if matches!(kind, b'%' | b'|') && values.len() % 2 == 1 {
                    values.pop();
                }
                let count = if matches!(kind, b'%' | b'|') {
                    values.len() / 2
                } else {
                    values.len()
                };
                let all = values.concat();
                match kind {
                    b'?' => [b"*?\r\n", &all[..], b".\r\n"].concat(),
                    b'|' => [format!("|{count}\r\n").as_bytes(), &all, &last].concat(),
                    _ => [format!("{}{count}\r\n", char::from(kind)).as_bytes(), &all].concat(),
                }
            })
    })
}

/// Cuts bytes at these places.
fn cut(driver: &mut Driver, direction: Direction, bytes: &[u8], cuts: &[prop::sample::Index]) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    for pair in at.windows(2) {
        driver.feed(direction, &bytes[pair[0]..pair[1]]);
    }
}

proptest! {
    #[test]
    fn any_requests_anyhow_cut(
        requests in proptest::collection::vec(any_request(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = requests.concat();
        let (mut whole, mut pieces) = (Driver::new(), Driver::new());
        whole.request(&bytes);
        cut(&mut pieces, Direction::ToServer, &bytes, &cuts);
        prop_assert_eq!(timeless(&whole), timeless(&pieces));
        for told in &whole.told {
            told.rendered();
        }
    }

    #[test]
    fn any_values_anyhow_cut(
        values in proptest::collection::vec(any_value(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = values.concat();
        let (mut whole, mut pieces) = (Driver::new(), Driver::new());
        whole.request(words("GET a").repeat(2));
        pieces.request(words("GET a").repeat(2));
        whole.response(&bytes);
        cut(&mut pieces, Direction::ToClient, &bytes, &cuts);
        prop_assert_eq!(timeless(&whole), timeless(&pieces));
        let ends: Vec<u64> = whole.told.iter().filter(|told| told.direction == Direction::ToClient).map(|told| told.message.end).collect();
        let expected: Vec<u64> = values.iter().scan(0, |end, value| { *end += value.len() as u64; Some(*end) }).collect();
        prop_assert_eq!(ends, expected);
    }

    /// Whatever comes, nothing panics, and every call goes on or asks for more.
    #[test]
    fn any_bytes(
        pieces in proptest::collection::vec((any::<bool>(), any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "[-+:$*%|>~!=;.?0-9\r\n]{0,40}".prop_map(String::into_bytes),
            any_value(),
            any_request(),
        ]), 0..12),
    ) {
        let mut driver = Driver::new();
        for (client, lose, bytes) in pieces {
            let direction = if client { Direction::ToServer } else { Direction::ToClient };
            if lose {
                driver.lose(direction, bytes.len() as u64 + 1);
            } else {
                driver.feed(direction, &bytes);
            }
        }
        for told in &driver.told {
            let mut out = Vec::new();
            Redis.render(&told.text, 255, &mut out);
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}

/// A message that never ends costs its bytes, not their square.
#[test]
fn linear_in_single_bytes() {
    let mut dissector = Redis.dissector(Transport::Tcp);
    let mut out = Output {
        wants_text: true,
        ..Output::default()
    };
    let line = vec![b'x'; 60_000];
    for len in 1..line.len() {
        let input = Input {
            bytes: &line[..len],
            offset: 0,
            old: len - 1,
            first: Mark::default(),
            last: Mark::default(),
            datagram: false,
            lost: 0,
            received: 0,
        };
        assert_eq!(
            dissector
                .parse(Direction::ToServer, &input, &mut out)
                .consumed,
            0
        );
    }
    let mut driver = Driver::new();
    for piece in words("MSET a b").repeat(2000).chunks(1) {
        driver.request(piece);
    }
    assert_eq!(driver.told.len(), 2000);
}
