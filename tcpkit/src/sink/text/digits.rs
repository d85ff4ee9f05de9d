//! Decimal numbers and addresses, written by hand: a line has some ten of them, and the standard
//! formatter would be most of its cost.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

/// What [`eight`] can hold.
const EIGHT: u64 = 100_000_000;

/// Appends `number`.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    if number >= EIGHT {
        push_number(out, number / EIGHT);
        return push_fixed(out, number % EIGHT, 8);
    }
    let word = eight(number);
    let zeros = ((word ^ eight(0)).trailing_zeros() / 8).min(7) as usize;
    push_word(out, word >> (8 * zeros), 8 - zeros);
}

/// Appends the last `width` digits of `number`, with zeros in front; at most 16.
pub fn push_fixed(out: &mut Vec<u8>, number: u64, width: usize) {
    if width > 8 {
        push_fixed(out, number / EIGHT, (width - 8).min(8));
        return push_fixed(out, number, 8);
    }
    let word = eight(number % EIGHT);
    push_word(out, word >> (8 * (7 - width.saturating_sub(1))), width);
}

/// The last six digits of a number below [`EIGHT`], and two bytes that are none.
pub fn six(number: u64) -> [u8; 8] {
    (eight(number) >> 16).to_le_bytes()
}

/// Appends nanoseconds as milliseconds with three decimals, cut: `11.234`.
pub fn push_millis(out: &mut Vec<u8>, nanoseconds: u64) {
    let micros = nanoseconds / 1_000;
    if micros < EIGHT {
        // Five digits of milliseconds, of which one stays, and three behind the point.
        let word = eight(micros);
        let zeros = ((word ^ eight(0)).trailing_zeros() / 8).min(4) as usize;
        let (mut text, point) = ([0; 16], 5 - zeros);
        text[..8].copy_from_slice(&(word >> (8 * zeros)).to_le_bytes());
        text[point] = b'.';
        text[point + 1..point + 5].copy_from_slice(&((word >> 40) as u32).to_le_bytes());
        let start = out.len();
        out.extend_from_slice(&text);
        return out.truncate(start + point + 4);
    }
    push_number(out, micros / 1_000);
    out.push(b'.');
    push_fixed(out, micros % 1_000, 3);
}

/// Appends `192.0.2.1:80` or `[::1]:80`.
pub fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => push_ipv4(out, *address.ip()),
        SocketAddr::V6(address) => {
            // Writing to memory does not fail.
            let _ = write!(out, "[{}]", address.ip());
        }
    }
    out.push(b':');
    push_number(out, u64::from(address.port()));
}

fn push_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for octet in address.octets() {
        let (word, len) = OCTETS[usize::from(octet)];
        push_word(out, u64::from(word), usize::from(len));
    }
    // The dot after the last octet.
    out.pop();
}

/// Appends the `len` lowest bytes of `word`, the lowest first. Copying all eight and taking back is
/// faster than a copy whose length is not known.
fn push_word(out: &mut Vec<u8>, word: u64, len: usize) {
    let start = out.len();
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(start + len);
}

/// The eight digits of a number below [`EIGHT`], the first in the lowest byte.
fn eight(number: u64) -> u64 {
    let pair = |value: u64| u64::from(PAIRS[(value % 100) as usize]);
    pair(number / 1_000_000)
        | pair(number / 10_000) << 16
        | pair(number / 100) << 32
        | pair(number) << 48
}

/// The two digits of every number below 100, the first in the lower byte.
const PAIRS: [u16; 100] = {
    let mut pairs = [0; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = (b'0' as u16 + number / 10) | (b'0' as u16 + number % 10) << 8;
        number += 1;
    }
    pairs
};

/// Every octet as text, the first byte lowest, a dot behind it; and how long that is.
const OCTETS: [(u32, u8); 256] = {
    let mut octets = [(0, 0); 256];
    let mut number = 0;
    while number < 256 {
        let mut word = b'.' as u32;
        let mut len = 1;
        let mut rest = number;
        while len == 1 || rest > 0 {
            word = word << 8 | (b'0' as u32 + rest % 10);
            rest /= 10;
            len += 1;
        }
        octets[number as usize] = (word, len);
        number += 1;
    }
    octets
};

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    proptest! {
        #[test]
        fn numbers_are_as_the_standard_formatter_writes_them(number: u64) {
            prop_assert_eq!(text(|out| push_number(out, number)), number.to_string());
            let small = number >> (number % 64);
            prop_assert_eq!(text(|out| push_number(out, small)), small.to_string());
        }

        #[test]
        fn digits_are_the_last_of_the_number(number: u64, width in 1..=16_usize) {
            let all = format!("{number:020}");
            prop_assert_eq!(text(|out| push_fixed(out, number, width)), &all[20 - width..]);
        }

        #[test]
        fn addresses_are_as_the_standard_formatter_writes_them(four: u32, six: u128, port: u16) {
            let four = SocketAddr::new(Ipv4Addr::from(four).into(), port);
            prop_assert_eq!(text(|out| push_address(out, four)), four.to_string());
            let six = SocketAddr::new(Ipv6Addr::from(six).into(), port);
            prop_assert_eq!(text(|out| push_address(out, six)), six.to_string());
        }
    }

    #[test]
    fn numbers_at_the_edges() {
        for number in [0, 9, 10, 99_999_999, 100_000_000, 100_000_001, u64::MAX] {
            assert_eq!(text(|out| push_number(out, number)), number.to_string());
        }
        for octet in 0..=255 {
            let address = SocketAddr::from(([octet; 4], 0));
            assert_eq!(text(|out| push_address(out, address)), address.to_string());
        }
    }

    #[test]
    fn milliseconds_are_cut() {
        for (nanoseconds, shown) in [
            (0, "0.000"),
            (999, "0.000"),
            (1_000, "0.001"),
            (11_234_567, "11.234"),
            (9_999_999, "9.999"),
            (5_003_120_000, "5003.120"),
            (99_999_999_999, "99999.999"),
            (100_000_000_000, "100000.000"),
        ] {
            assert_eq!(text(|out| push_millis(out, nanoseconds)), shown);
        }
    }
}
