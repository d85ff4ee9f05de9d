//! What a user is told, so that no terminal acts on it: sentences, and the names of files in them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// The name of a file within a sentence: on one line, whatever it is called.
pub fn path(path: &Path) -> String {
    word(&path.display().to_string()).into_owned()
}

/// A word that a user gave within a sentence: on one line too.
pub fn word(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A sentence for the user. It may have lines, as tracebacks have.
pub fn sentence(text: &str) -> Cow<'_, str> {
    escaped(text, |byte| matches!(byte, '\n' | '\t'))
}

fn escaped(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |byte: char| byte.is_control() && !allowed(byte);
    if !text.contains(acts) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.chars() {
        // Writing to a string cannot fail.
        let _ = match byte {
            '\n' => out.write_str(if acts(byte) { "\\n" } else { "\n" }),
            _ if acts(byte) => write!(out, "\\x{:02x}", u32::from(byte)),
            _ => out.write_char(byte),
        };
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        assert_eq!(
            path(Path::new("a\x1b[31m\nb\t\u{9b}\x7fé")),
            "a\\x1b[31m\\nb\\x09\\x9b\\x7fé"
        );
        assert_eq!(word("a\nb"), "a\\nb");
        assert_eq!(sentence("a\n\tb\r\x07"), "a\n\tb\\x0d\\x07");
        assert!(matches!(sentence("plain"), Cow::Borrowed(_)));
    }
}
