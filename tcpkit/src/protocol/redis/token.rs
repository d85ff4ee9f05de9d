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

/// A line end, as a word has it.
const END: u64 = u16::from_le_bytes(*b"\r\n") as u64;

/// The number of up to three digits at the front of a word (of its low bytes, that is) and its line end, and
/// how many digits it has.
#[inline(always)]
fn short_number(word: u64) -> Option<(u32, usize)> {
    let digit = |at: u32| ((word >> (8 * at)) as u8).wrapping_sub(b'0');
    let ends = |at: u32| (word >> (8 * at)) & 0xffff == END;
    let (first, second) = (digit(0), digit(1));
    if ends(1) && first < 10 {
        return Some((u32::from(first), 1));
    }
    if !(1..10).contains(&first) || second >= 10 {
        return None;
    }
    let two = u32::from(first) * 10 + u32::from(second);
    if ends(2) {
        return Some((two, 2));
    }
    let third = digit(2);
    (ends(3) && third < 10).then(|| (two * 10 + u32::from(third), 3))
}

/// A small number and its line end, and what follows; `None` for all that is not as simple.
#[inline(always)]
pub(super) fn digits(bytes: &[u8]) -> Option<(u32, &[u8])> {
    if let Some(word) = bytes.first_chunk()
        && let Some((value, len)) = short_number(u64::from_le_bytes(*word))
    {
        return Some((value, bytes.get(len + 2..)?));
    }
    many_digits(bytes)
}

#[inline(never)]
fn many_digits(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match number(bytes) {
        Token::Whole(value, len) => Some((u32::try_from(value).ok()?, bytes.get(len..)?)),
        Token::Short | Token::Bad => None,
    }
}

/// `$<length>\r\n` and what follows; `None` for all that is not as simple.
#[inline(always)]
pub(super) fn string_head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    if let Some(word) = bytes.first_chunk() {
        let word = u64::from_le_bytes(*word);
        if word & 0xff == u64::from(b'$')
            && let Some((value, len)) = short_number(word >> 8)
        {
            return Some((value, bytes.get(1 + len + 2..)?));
        }
    }
    long_string_head(bytes)
}

#[inline(never)]
fn long_string_head(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let [b'$', rest @ ..] = bytes else {
        return None;
    };
    many_digits(rest)
}

/// The length of the string behind one of `len` bytes, and what follows its head: the line end of
/// the one and the head of the other are read as a word.
#[inline(always)]
pub(super) fn next_string(bytes: &[u8], len: u32) -> Option<(u32, &[u8])> {
    const HEAD: u64 = END | (b'$' as u64) << 16;
    let rest = bytes.get(len as usize..)?;
    if let Some(word) = rest.first_chunk() {
        let word = u64::from_le_bytes(*word);
        if word & 0xff_ffff == HEAD
            && let Some((value, len)) = short_number(word >> 24)
        {
            return Some((value, rest.get(3 + len + 2..)?));
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

/// How `lost` bytes end, all of a string of which so many bytes are `left`, and then its line end.
pub(super) fn string_lost(left: &mut u32, lost: u64) -> Option<&'static [u8]> {
    let Some(behind) = lost.checked_sub(u64::from(*left)) else {
        *left -= lost as u32;
        return Some(b"");
    };
    let end = b"\r\n".get(..usize::try_from(behind).ok()?)?;
    *left = 0;
    Some(end)
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
