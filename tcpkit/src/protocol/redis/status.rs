//! Names of error replies: the first word of an error.

/// Code of an error whose first word is not in the list.
const OTHER: u16 = 1;

/// Every word that redis, its cluster and its sentinel send, behind "fine" and "other".
static NAMES: &[&str] = &[
    "OK",
    "other",
    "ERR",
    "WRONGTYPE",
    "MOVED",
    "ASK",
    "NOAUTH",
    "NOPERM",
    "BUSY",
    "LOADING",
    "OOM",
    "READONLY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "TRYAGAIN",
    "MASTERDOWN",
    "MISCONF",
    "NOSCRIPT",
    "EXECABORT",
    "UNKILLABLE",
    "BUSYGROUP",
    "NOGROUP",
    "NOREPLICAS",
    "NOGOODSLAVE",
    "NOMASTERLINK",
    "NOTREADY",
    "BUSYKEY",
    "INPROG",
    "INVALIDOBJ",
    "IOERR",
    "NOPROTO",
    "NOKEY",
    "UNBLOCKED",
    "UNSTABLE",
    "WRONGPASS",
    "NOTBUSY",
    "DENIED",
    "SYNTAX",
    "DUPLICATE",
    "REDIRECT",
    "STALE",
];

/// The code of the error with this text.
pub(super) fn of(text: &[u8]) -> u16 {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let errors = NAMES.iter().enumerate().skip(2);
    errors
        .filter(|(_, name)| name.as_bytes() == word)
        .map(|(code, _)| code as u16)
        .next()
        .unwrap_or(OTHER)
}

/// The name of a code.
pub(super) fn name(code: u16) -> Option<&'static str> {
    NAMES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names() {
        assert_eq!(name(of(b"ERR no such key")), Some("ERR"));
        assert_eq!(name(of(b"MOVED 3999 127.0.0.1:6381")), Some("MOVED"));
        assert_eq!(name(of(b"my own error")), Some("other"));
        assert_eq!(name(of(b"OK")), Some("other"));
        assert_eq!(name(of(b"")), Some("other"));
        assert_eq!(name(0), Some("OK"));
        assert_eq!(name(9999), None);
    }
}
