//! A request as a user reads it: the command line as sent, a binary request in its words.
//!
//! Data blocks and values are never shown, so neither are the credentials that ASCII
//! authentication sends as the data of a `set`, and SASL as the value of a packet.

use super::binary::{Header, REQUEST, extras_and_key};
use super::command::{self, Extras};
use crate::protocol::escape;

/// Appends the request that `kept` begins with; see [`crate::protocol::Protocol::render`].
pub(super) fn request(kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
    let end = out.len() + max;
    let mut writer = Writer {
        out,
        end,
        written: 0,
    };
    if kept.first() == Some(&REQUEST) {
        binary(kept, &mut |bytes| writer.put(bytes));
    } else {
        writer.put(kept);
    }
    writer.written
}

/// Length of the text of a binary request, of which `kept` are header, extras and key.
pub(super) fn binary_len(kept: &[u8]) -> usize {
    let mut len = 0;
    binary(kept, &mut |bytes| len += bytes.len());
    len
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Length of `out` that ends the text.
    end: usize,
    written: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.out.len() >= self.end {
                return;
            }
            escape(*byte, self.out);
            self.written += 1;
        }
    }
}

/// Hands the pieces of a binary request's text to `put`, in the order of the text command's
/// parameters.
fn binary(kept: &[u8], put: &mut dyn FnMut(&[u8])) {
    let Some(header) = Header::read(kept) else {
        return;
    };
    let opcode = command::opcode(header.opcode);
    let (extras, key) = extras_and_key(&header, kept);
    let value = u64::from(header.body)
        - u64::from(header.body).min(u64::from(header.extras) + u64::from(header.key));
    put(opcode.name.as_bytes());
    let numbers = match opcode.extras {
        Extras::Any => [Some(u64::from(header.opcode)), None, None],
        Extras::None if value > 0 && opcode.label != 0 && !is_sasl(header.opcode) => {
            [None, None, Some(value)]
        }
        Extras::None => [None; 3],
        Extras::Store => [field(extras, 0, 4), field(extras, 4, 4), Some(value)],
        Extras::Count => [field(extras, 0, 8), None, None],
        Extras::Expiry | Extras::MaybeExpiry | Extras::Level => [field(extras, 0, 4), None, None],
    };
    // An expiration stands before the key, and so does the number of a nameless opcode.
    let before =
        matches!(opcode.name, "gat" | "gatq" | "gatk" | "gatkq") || opcode.extras == Extras::Any;
    if before {
        put_numbers(&numbers, put);
    }
    if !key.is_empty() {
        put(b" ");
        put(key);
    }
    if !before {
        put_numbers(&numbers, put);
    }
    if is_sasl(header.opcode) && value > 0 {
        put(b" ***");
    }
}

fn is_sasl(opcode: u8) -> bool {
    (0x20..=0x22).contains(&opcode)
}

fn field(extras: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = extras.get(at..at + len)?;
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

fn put_numbers(numbers: &[Option<u64>; 3], put: &mut dyn FnMut(&[u8])) {
    for number in numbers.iter().flatten() {
        put(b" ");
        put_number(*number, put);
    }
}

/// Decimal digits without an allocation: this runs for every binary request.
fn put_number(mut number: u64, put: &mut dyn FnMut(&[u8])) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    put(digits.get(digits.len() - used..).unwrap_or_default());
}
