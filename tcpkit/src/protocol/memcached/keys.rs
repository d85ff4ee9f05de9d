//! Which words of a request are keys.
//!
//! Reads the first bytes of a request, a command line or a binary packet, hands out its keys.

use super::binary::{Header, REQUEST, extras_and_key};

/// Opcodes of SASL authentication: their key names a mechanism.
const SASL: std::ops::RangeInclusive<u8> = 0x20..=0x22;

/// Hands the keys of the request that begins with `kept` to `each`.
pub(super) fn keys(kept: &[u8], each: &mut dyn FnMut(&[u8])) {
    if kept.first() == Some(&REQUEST) {
        if let Some(header) = Header::read(kept).filter(|header| !SASL.contains(&header.opcode)) {
            let (_, key) = extras_and_key(&header, kept);
            if !key.is_empty() {
                each(key);
            }
        }
        return;
    }
    let mut words = words(kept);
    let (before, most) = match words.next().unwrap_or_default() {
        b"get" | b"gets" => (0, usize::MAX),
        b"gat" | b"gats" => (1, usize::MAX),
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" | b"incr" | b"decr"
        | b"touch" | b"delete" | b"mg" | b"ms" | b"md" | b"ma" | b"me" => (0, 1),
        _ => return,
    };
    words.skip(before).take(most).for_each(each);
}

/// Appends the lengths of a command line's words, or those of a packet's key and value.
pub(super) fn sizes(kept: &[u8], max: usize, out: &mut Vec<u32>) {
    if kept.first() != Some(&REQUEST) {
        out.extend(words(kept).skip(1).take(max).map(|word| word.len() as u32));
    } else if let Some(header) = Header::read(kept) {
        let before = u32::from(header.key) + u32::from(header.extras);
        let value = header.body.saturating_sub(before);
        out.extend([u32::from(header.key), value].into_iter().take(max));
    }
}

fn words(kept: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = memchr::memchr2(b'\r', b'\n', kept).unwrap_or(kept.len());
    kept.get(..end)
        .unwrap_or(kept)
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        keys(line, &mut |key| {
            told.push(String::from_utf8_lossy(key).into_owned());
        });
        told
    }

    #[test]
    fn keys_of_command_lines() {
        for (line, expected) in [
            ("get a b", &["a", "b"][..]),
            ("gat 10 a b", &["a", "b"]),
            ("set a 0 0 5", &["a"]),
            ("mg a v", &["a"]),
            ("stats items", &[]),
            ("version", &[]),
        ] {
            assert_eq!(told(line.as_bytes()), expected, "{line}");
            assert_eq!(told(format!("{line}\r\n").as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn keys_of_packets() {
        let packet = |opcode: u8| {
            let mut packet = vec![REQUEST, opcode, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
            packet.extend([0; 12]);
            packet.push(b'k');
            packet
        };
        assert_eq!(told(&packet(0)), ["k"]);
        assert_eq!(told(&packet(0x21)), [""; 0], "a SASL mechanism is no key");
    }
}
