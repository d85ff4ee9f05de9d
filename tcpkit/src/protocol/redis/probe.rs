//! Tells redis by its first bytes.
//!
//! An array of bulk strings that begins with a known command is a request, whatever the port. Of
//! responses only what no other protocol says counts: `+OK` and `-ERR` are POP3's as well, and an
//! array of bulk strings may be either side's.

use super::commands;
use super::token::{self, Token};
use crate::protocol::Probe;

/// What nobody but a redis server says first.
const REPLIES: [&[u8]; 18] = [
    b"+PONG\r\n",
    b"+QUEUED\r\n",
    b"-NOAUTH ",
    b"-WRONGTYPE ",
    b"-WRONGPASS ",
    b"-MOVED ",
    b"-LOADING ",
    b"-READONLY ",
    b"-CLUSTERDOWN ",
    b"-CROSSSLOT ",
    b"-NOSCRIPT ",
    b"-EXECABORT ",
    b"-DENIED Redis",
    b"-ERR max number of clients reached\r\n",
    b"-ERR wrong number of arguments for '",
    b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
    b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
    b"*3\r\n$7\r\nmessage\r\n",
];

/// Whether the first bytes of one direction are redis.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let mut probe = match bytes.first() {
        None => return Probe::More,
        Some(b'*') => request(bytes),
        Some(_) => Probe::No,
    };
    for reply in REPLIES {
        match probe {
            Probe::Request | Probe::Response => break,
            _ if bytes.starts_with(reply) => probe = Probe::Response,
            _ if reply.starts_with(bytes) => probe = Probe::More,
            _ => {}
        }
    }
    probe
}

fn request(bytes: &[u8]) -> Probe {
    let (count, name) = match command(bytes) {
        Ok(found) => found,
        Err(probe) => return probe,
    };
    let (index, kind) = commands::by_name(name);
    if index == commands::OTHER {
        return Probe::No;
    }
    let begin = memchr::memmem::find(bytes, name).unwrap_or(0);
    let rest = bytes.get(begin + name.len() + 2..).unwrap_or_default();
    if kind.subscribes() && count == 3 {
        confirmation(rest)
    } else {
        Probe::Request
    }
}

/// The number of arguments and the first of them.
fn command(bytes: &[u8]) -> Result<(i64, &[u8]), Probe> {
    let (count, rest) = counted(bytes, b'*')?;
    if count < 1 {
        return Err(Probe::No);
    }
    let (len, rest) = counted(rest, b'$')?;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| (1..=64).contains(len))
        .ok_or(Probe::No)?;
    match (rest.get(..len), rest.get(len..)) {
        (Some(name), Some([b'\r', b'\n', ..])) => Ok((count, name)),
        (None, _) | (_, None | Some([] | [b'\r'])) => Err(Probe::More),
        _ => Err(Probe::No),
    }
}

/// A type byte with its number, and what follows.
fn counted(bytes: &[u8], kind: u8) -> Result<(i64, &[u8]), Probe> {
    match bytes.split_first() {
        None => Err(Probe::More),
        Some((first, rest)) if *first == kind => match token::number(rest) {
            Token::Whole(value, len) => Ok((value, rest.get(len..).unwrap_or_default())),
            Token::Short => Err(Probe::More),
            Token::Bad => Err(Probe::No),
        },
        Some(_) => Err(Probe::No),
    }
}

/// `SUBSCRIBE a b` and the confirmation `subscribe a 1` begin alike; the third element tells.
fn confirmation(bytes: &[u8]) -> Probe {
    if bytes.starts_with(b"$-1\r\n:") {
        return Probe::Response;
    }
    let (len, rest) = match counted(bytes, b'$') {
        Ok(found) => found,
        Err(probe) => return probe,
    };
    let len = usize::try_from(len).unwrap_or(0);
    match rest.get(len..) {
        Some([b'\r', b'\n', b':', ..]) => Probe::Response,
        Some([b'\r', b'\n', b'$', ..]) => Probe::Request,
        None | Some([] | [b'\r'] | [b'\r', b'\n']) => Probe::More,
        Some(_) => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_responses() {
        let cases: [(&[u8], Probe); 22] = [
            (b"", Probe::More),
            (b"*", Probe::More),
            (b"*3\r\n$3\r\nSE", Probe::More),
            (b"*3\r\n$3\r\nSET\r\n", Probe::Request),
            (b"*1\r\n$4\r\nping\r\n", Probe::Request),
            (b"*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n", Probe::No),
            (b"*2\r\n:1\r\n", Probe::No),
            (b"*-1\r\n", Probe::No),
            (b"+OK\r\n", Probe::No),
            (b"+PO", Probe::More),
            (b"+PONG\r\n", Probe::Response),
            (b"+OK POP3 ready\r\n", Probe::No),
            (b"-ERR no such mailbox\r\n", Probe::No),
            (b"-NOAUTH Authentication required.\r\n", Probe::Response),
            (
                b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
                Probe::Response,
            ),
            (
                b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\nb\r\n",
                Probe::Request,
            ),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na", Probe::More),
            (
                b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
                Probe::Response,
            ),
            (b"GET / HTTP/1.1\r\n", Probe::No),
            (b"GET key\r\n", Probe::No),
            (b"\x16\x03\x01\x02\x00", Probe::No),
            (b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n", Probe::Response),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                probe(bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
