//! TLS, HTTP/2 and SSH, known by their first bytes.
//!
//! Reads the first bytes of one direction. What is recognised is told once a port and counted as
//! opaque, never as malformed.

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// This protocol, which is not followed.
    Yes(&'static str),
    /// None of those that are known here.
    No,
    /// Might still become one: more bytes are needed.
    More,
}

/// HTTP/2's connection preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The identification string of SSH (RFC 4253, sections 4.2 and 5.1).
const SSH: [&[u8]; 2] = [b"SSH-2.0-", b"SSH-1.99-"];

/// Tells protocols whose messages cannot be read.
pub fn recognise(bytes: &[u8]) -> Recognised {
    [
        tls(bytes),
        http2_client(bytes),
        http2_server(bytes),
        ssh(bytes),
    ]
    .into_iter()
    .reduce(either)
    .unwrap_or(Recognised::No)
}

fn either(one: Recognised, other: Recognised) -> Recognised {
    match (one, other) {
        (Recognised::Yes(_), _) | (Recognised::More, Recognised::No) => one,
        _ => other,
    }
}

fn http2_client(bytes: &[u8]) -> Recognised {
    begins_with(bytes, PREFACE, "HTTP/2")
}

fn ssh(bytes: &[u8]) -> Recognised {
    SSH.map(|text| begins_with(bytes, text, "SSH"))
        .into_iter()
        .fold(Recognised::No, either)
}

fn begins_with(bytes: &[u8], text: &[u8], name: &'static str) -> Recognised {
    if bytes.starts_with(text) {
        Recognised::Yes(name)
    } else if text.starts_with(bytes) {
        Recognised::More
    } else {
        Recognised::No
    }
}

/// A server's preface is a SETTINGS frame of stream 0: whole settings of 6 bytes, no flags (RFC 9113,
/// sections 3.4, 4.1 and 6.5).
fn http2_server(bytes: &[u8]) -> Recognised {
    let fits = |(index, byte): (usize, &u8)| match index {
        2 => byte % 6 == 0,
        3 => *byte == 4,
        _ => *byte == 0,
    };
    match bytes.iter().take(9).enumerate().all(fits) {
        true if bytes.len() >= 9 => Recognised::Yes("HTTP/2"),
        true => Recognised::More,
        false => Recognised::No,
    }
}

/// A TLS record (RFC 8446, section 5.1, and its forerunners to SSL 3.0): type, version, length, and the
/// first byte of what it holds.
fn tls(bytes: &[u8]) -> Recognised {
    /// RFC 5246, section 6.2.3, lets an encrypted record grow by 2,048 bytes.
    const RECORD_BYTES: u16 = (1 << 14) + 2048;
    let fits = |(index, byte): (usize, &u8)| match index {
        0 => (20..=23).contains(byte),
        1 => *byte == 3,
        _ => *byte <= 4,
    };
    if !bytes.iter().take(3).enumerate().all(fits) {
        return Recognised::No;
    }
    let &[kind, _, _, high, low, content, ..] = bytes else {
        return Recognised::More;
    };
    let length = u16::from_be_bytes([high, low]);
    let plausible = match kind {
        20 => length == 1 && content == 1,
        21 => (length == 2 && content <= 2) || (18..=64).contains(&length),
        22 => (4..=RECORD_BYTES).contains(&length) && handshake(bytes),
        _ => (1..=RECORD_BYTES).contains(&length),
    };
    if plausible {
        Recognised::Yes("TLS")
    } else {
        Recognised::No
    }
}

/// The handshake message that a record begins with: a known type, of a length that it can have
/// (RFC 8446, section 4; RFC 5246, section 7.4).
fn handshake(bytes: &[u8]) -> bool {
    let kind = bytes.get(5).copied().unwrap_or_default();
    let high = bytes.get(6).copied().unwrap_or_default();
    matches!(kind, 0..=4 | 8 | 11..=16 | 20..=24) && high <= 1
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests may")]
mod tests {
    use super::*;

    /// Heads of records as openssl s_client and s_server sent them.
    const CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    const SERVER_HELLO: &[u8] = &[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3];

    #[test]
    fn tls_is_told_by_its_records() {
        for bytes in [
            CLIENT_HELLO,
            SERVER_HELLO,
            &[0x17, 3, 3, 0, 0x20, 9, 9],
            &[0x15, 3, 3, 0, 2, 2, 40],
            &[0x14, 3, 3, 0, 1, 1],
        ] {
            assert_eq!(recognise(bytes), Recognised::Yes("TLS"), "{bytes:02x?}");
        }
    }

    #[test]
    fn prefixes_ask_for_more() {
        for (whole, least) in [
            (CLIENT_HELLO, 6),
            (PREFACE, PREFACE.len()),
            (b"SSH-2.0-", 8),
        ] {
            for end in 0..least {
                assert_eq!(
                    recognise(&whole[..end]),
                    Recognised::More,
                    "{:?}",
                    &whole[..end]
                );
            }
            assert!(matches!(recognise(whole), Recognised::Yes(_)));
        }
    }

    #[test]
    fn a_server_settings_frame_is_http2() {
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 128];
        assert_eq!(recognise(&settings), Recognised::Yes("HTTP/2"));
        assert_eq!(recognise(&[0, 0, 18, 4, 1, 0, 0, 0, 0]), Recognised::No);
    }

    #[test]
    fn followed_protocols_are_left_alone() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"HTTP/1.1 200 OK\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"+PONG\r\n",
            b"get a\r\n",
            &[0x80, 1, 0, 3, 0, 0, 0, 0],
            &[0, 29, 0x12, 0x34, 1, 0, 0, 1],
            &[0x16, 3, 1, 0, 1, 1],
            &[0x17, 3, 3, 0xff, 0xff, 0],
        ] {
            assert_eq!(recognise(bytes), Recognised::No, "{bytes:02x?}");
        }
    }
}
