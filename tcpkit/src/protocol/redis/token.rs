//! The smallest parts of RESP: numbers and lines.
//!
//! Numbers are read by hand, as nearly all have one to three digits; a line is searched with
//! `memchr` only where it is long.

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<T> {
    /// It, and how many bytes it takes with its line end.
    Whole(T, usize),
    /// The beginning of one.
    Short,
    /// Something else.
    Bad,
}

/// Digits of the longest number that RESP knows (a 64-bit integer), and one to spare.
const DIGITS: usize = 20;

/// Bytes of a line that are looked at one by one before `memchr` takes over.
const SHORT_LINE: usize = 16;

/// A small number and its line end, and what follows; `None` for all that is not as simple.
#[inline(always)]
pub(super) fn digits(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    match bytes {
        [a @ b'0'..=b'9', b'\r', b'\n', rest @ ..] => Some((digit(*a), rest)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', rest @ ..] => {
            Some((digit(*a) * 10 + digit(*b), rest))
        }
        [
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            b'\r',
            b'\n',
            rest @ ..,
        ] => Some((digit(*a) * 100 + digit(*b) * 10 + digit(*c), rest)),
        _ => many_digits(bytes),
    }
}

fn many_digits(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match number(bytes) {
        Token::Whole(value, len) => Some((u32::try_from(value).ok()?, bytes.get(len..)?)),
        Token::Short | Token::Bad => None,
    }
}

/// `$<length>\r\n` and what follows; `None` for all that is not as simple.
#[inline(always)]
pub(super) fn string_head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    if let [b'$', a @ b'0'..=b'9', b, c, d, ..] = bytes {
        let first = u32::from(a - b'0');
        if (*b, *c) == (b'\r', b'\n') {
            return Some((first, bytes.get(4..)?));
        }
        let second = u32::from(b.wrapping_sub(b'0'));
        if second < 10 && first > 0 && (*c, *d) == (b'\r', b'\n') {
            return Some((first * 10 + second, bytes.get(5..)?));
        }
    }
    long_string_head(bytes)
}

fn long_string_head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let [b'$', rest @ ..] = bytes else {
        return None;
    };
    digits(rest)
}

/// The length of the string behind one of `len` bytes, and what follows its head: the line end of
/// the one and the head of the other are read as a word.
#[inline(always)]
pub(super) fn next_string(bytes: &[u8], len: u32) -> Option<(u32, &[u8])> {
    const END: u16 = u16::from_le_bytes(*b"\r\n");
    let rest = bytes.get(len as usize..)?;
    if let Some([b'\r', b'\n', b'$', first, a, b, c, _]) = rest.first_chunk::<8>() {
        let first = u32::from(first.wrapping_sub(b'0'));
        let second = u32::from(a.wrapping_sub(b'0'));
        if first < 10 && u16::from_le_bytes([*a, *b]) == END {
            return Some((first, rest.get(6..)?));
        }
        if first.wrapping_sub(1) < 9 && second < 10 && u16::from_le_bytes([*b, *c]) == END {
            return Some((first * 10 + second, rest.get(7..)?));
        }
    }
    match rest {
        [b'\r', b'\n', rest @ ..] => long_string_head(rest),
        _ => None,
    }
}

/// What follows a string of so many bytes and its line end.
#[inline(always)]
pub(super) fn string_tail(bytes: &[u8], len: u32) -> Option<&[u8]> {
    match bytes.get(len as usize..) {
        Some([b'\r', b'\n', rest @ ..]) => Some(rest),
        _ => None,
    }
}

/// A decimal number as redis writes it (no leading zeros, no plus sign) with its line end.
pub(super) fn number(bytes: &[u8]) -> Token<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let len = digits
        .iter()
        .take(DIGITS)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (value, rest) = digits.split_at_checked(len).unwrap_or((digits, &[]));
    if len == DIGITS || (len > 1 && value.first() == Some(&b'0')) {
        return Token::Bad;
    }
    match rest {
        [] | [b'\r'] if len > 0 || rest.is_empty() => Token::Short,
        [b'\r', b'\n', ..] if len > 0 => decimal(value, negative, len + 2 + usize::from(negative)),
        _ => Token::Bad,
    }
}

fn decimal(digits: &[u8], negative: bool, len: usize) -> Token<i64> {
    let value = digits.iter().try_fold(0_i64, |value, digit| {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        value
            .checked_mul(10)?
            .checked_add(if negative { -digit } else { digit })
    });
    value.map_or(Token::Bad, |value| Token::Whole(value, len))
}

/// The bytes before the first line feed. The first `seen` bytes are known to have none.
pub(super) fn line(bytes: &[u8], seen: usize) -> Option<&[u8]> {
    let short = bytes
        .get(seen..)?
        .iter()
        .take(SHORT_LINE)
        .position(|byte| *byte == b'\n');
    let at = match short {
        Some(at) => seen + at,
        None => {
            let from = seen + SHORT_LINE;
            from + memchr::memchr(b'\n', bytes.get(from..)?)?
        }
    };
    bytes.get(..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0\r\n"), Token::Whole(0, 3));
        assert_eq!(number(b"-1\r\nx"), Token::Whole(-1, 4));
        assert_eq!(
            number(b"9223372036854775807\r\n"),
            Token::Whole(i64::MAX, 21)
        );
        assert_eq!(
            number(b"-9223372036854775808\r\n"),
            Token::Whole(i64::MIN, 22)
        );
        for short in [&b""[..], b"-", b"1", b"12\r", b"0\r"] {
            assert_eq!(number(short), Token::Short, "{short:?}");
        }
        for bad in [
            &b"\r\n"[..],
            b"\r",
            b"01",
            b"x",
            b"1x",
            b"1\n",
            b"1\rx",
            b"-\r\n",
            b"9223372036854775808\r\n",
            b"11111111111111111111",
        ] {
            assert_eq!(number(bad), Token::Bad, "{bad:?}");
        }
    }

    #[test]
    fn small_numbers_are_the_same_numbers() {
        for value in [0_u32, 7, 10, 99, 100, 999, 1000, 65_536, u32::MAX] {
            let text = format!("{value}\r\nrest");
            assert_eq!(digits(text.as_bytes()), Some((value, &b"rest"[..])));
        }
        for bad in [&b"01\r\n"[..], b"1", b"", b"4294967296\r\n", b"-1\r\n"] {
            assert_eq!(digits(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lines_short_and_long() {
        for len in 0..100 {
            let mut text = vec![b'x'; len];
            assert_eq!(line(&text, 0), None);
            text.extend_from_slice(b"\nrest\n");
            for seen in 0..=len {
                assert_eq!(line(&text, seen).map(<[u8]>::len), Some(len));
            }
        }
    }
}
