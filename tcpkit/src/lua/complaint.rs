//! Errors of scripts as the user is told them: how often, and in which words.

use mlua::Error;

/// The first errors, then each power of ten: a script that fails in every call is no flood.
pub fn is_told(errors: u64) -> bool {
    let power = errors.checked_ilog10().map(|power| 10_u64.pow(power));
    errors <= 3 || power == Some(errors)
}

/// Whether memory was refused.
pub fn is_memory(error: &Error) -> bool {
    match error {
        Error::MemoryError(_) => true,
        Error::CallbackError { cause, .. } => is_memory(cause),
        Error::RuntimeError(text) => text.lines().next() == Some("not enough memory"),
        _ => false,
    }
}

/// Why a function refuses what a script wants of it: without what only a traceback needs.
pub fn reason(error: &Error) -> String {
    let text = match error {
        Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    };
    match text.split_once("\nstack traceback:") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// An error as the user reads it: the file is named once, and where it is in the driver is left out.
pub fn told(path: &str, error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("syntax error: ").unwrap_or(&text);
    let text = text.strip_prefix("runtime error: ").unwrap_or(text);
    let (first, traceback) = text.split_once('\n').unwrap_or((text, ""));
    let lines = traceback
        .lines()
        .filter(|line| !line.trim_start().starts_with("tcpkit:"))
        .filter(|line| line.trim() != "[C]: in ?");
    let lines: Vec<&str> = std::iter::once(without_place(first)).chain(lines).collect();
    let text = lines.join("\n");
    match text.contains(path) {
        true => text,
        false => format!("{path}: {text}"),
    }
}

/// A message that the driver's own code begins, as in `tcpkit:40: attempt to …`, without that place.
fn without_place(message: &str) -> &str {
    let behind = || {
        let (line, text) = message.strip_prefix("tcpkit:")?.split_once(": ")?;
        line.parse::<u32>().ok().map(|_| text)
    };
    behind().unwrap_or(message)
}
