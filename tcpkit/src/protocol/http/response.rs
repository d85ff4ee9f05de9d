//! Status lines.
//!
//! Reads a line, makes a [`StatusLine`] (RFC 9112, section 4). The reason phrase may be missing together
//! with the space before it, and may hold anything.

use super::line::is_space;
use super::request::version_major;

/// What a status line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLine {
    /// The status code.
    pub status: u16,
    /// Where the reason phrase begins in the line.
    pub reason: usize,
}

/// Reads a status line; its code is enough of it, where a snap length cut the rest.
pub(super) fn status_line(line: &[u8]) -> Option<StatusLine> {
    let version = line.iter().position(|byte| is_space(*byte))?;
    version_major(line.get(..version)?)?;
    let code = skip_spaces(line, version);
    let digits = line
        .iter()
        .skip(code)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits != 3 {
        return None;
    }
    let end = code + digits;
    let status = line
        .get(code..end)?
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some(StatusLine {
        status,
        reason: skip_spaces(line, end),
    })
}

/// Whether `line` can be the beginning of a status line.
pub(super) fn may_be_response(line: &[u8]) -> bool {
    let name = b"HTTP/";
    let shown = name.len().min(line.len());
    let fits = line
        .iter()
        .zip(name)
        .all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
    fits && line.get(shown).is_none_or(|byte| byte.is_ascii_digit())
}

fn skip_spaces(line: &[u8], from: usize) -> usize {
    from + line
        .iter()
        .skip(from)
        .take_while(|byte| is_space(**byte))
        .count()
}
