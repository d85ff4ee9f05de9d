//! Decimal numbers and addresses, written by hand: a line has some ten of them, and the standard
//! formatter would be most of its cost.

use std::io::Write;
use std::net::SocketAddr;

/// Decimal digits of the largest `u64`.
const MOST: usize = 20;

/// Appends `number`.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    let (digits, start) = digits(number);
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends the last `width` digits of `number`, with zeros in front.
pub fn push_fixed(out: &mut Vec<u8>, number: u64, width: usize) {
    let (digits, _) = digits(number);
    out.extend_from_slice(digits.get(MOST - width.min(MOST)..).unwrap_or_default());
}

/// Appends nanoseconds as milliseconds with three decimals, cut: `11.234`.
pub fn push_millis(out: &mut Vec<u8>, nanoseconds: u64) {
    let micros = nanoseconds / 1_000;
    push_number(out, micros / 1_000);
    out.push(b'.');
    push_fixed(out, micros % 1_000, 3);
}

/// Appends `192.0.2.1:80` or `[::1]:80`.
pub fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (index, octet) in address.ip().octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
        }
        SocketAddr::V6(address) => {
            // Writing to memory does not fail.
            let _ = write!(out, "[{}]", address.ip());
        }
    }
    out.push(b':');
    push_number(out, u64::from(address.port()));
}

/// All digits of `number`, zeros in front, and where the zeros end.
fn digits(mut number: u64) -> ([u8; MOST], usize) {
    let mut digits = [b'0'; MOST];
    let mut start = MOST;
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = index;
        if number == 0 {
            break;
        }
    }
    (digits, start)
}

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
            prop_assert_eq!(text(|out| push_fixed(out, number, 20)), format!("{number:020}"));
            let micros = number % 1_000_000;
            prop_assert_eq!(text(|out| push_fixed(out, micros, 6)), format!("{micros:06}"));
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
    fn milliseconds_are_cut() {
        for (nanoseconds, shown) in [
            (0, "0.000"),
            (999, "0.000"),
            (1_000, "0.001"),
            (11_234_567, "11.234"),
            (9_999_999, "9.999"),
            (5_003_120_000, "5003.120"),
        ] {
            assert_eq!(text(|out| push_millis(out, nanoseconds)), shown);
        }
    }
}
