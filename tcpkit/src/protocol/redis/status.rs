//! Error replies: their names, which are their first words, and what is told of them.

use std::borrow::Cow;

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

/// Behind these, errors repeat what a client sent; and what stands behind that, if it is one argument.
static REPEATED: [(&[u8], Option<&[u8]>); 6] = [
    (b"modifier '", Some(b"': ")),
    (b"HELLO option '", None),
    // The quotes behind it are backticks before redis 7.
    (b", with args beginning with: ", None),
    (b"Invalid argument '", Some(b"' for ")),
    (b"number of arguments for CONFIG SET - '", None),
    (b"number of arguments for SENTINEL SET '", None),
];

/// Whether the server may mean with it that it does not do what `CLIENT REPLY` says: it is from before the command is looked
/// at, or names it. What redis before 7.0 says to a subscribed client names the commands that it takes.
pub(super) fn may_refuse_reply(text: &[u8]) -> bool {
    let names = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    match text.get(..3) {
        Some(b"ERR") => {
            names(b"client")
                || names(b"CLIENT")
                || names(b"REPLY")
                || names(b"allowed in this context")
        }
        _ => text.starts_with(b"NOAUTH") || text.starts_with(b"NOPERM"),
    }
}

/// The text of an error that repeats what may be a password (of ACL SETUSER, HELLO and settings, and of commands that this
/// server does not have), without it; all others as they are.
pub(super) fn without_secrets(text: &[u8]) -> Cow<'_, [u8]> {
    let secret = REPEATED.iter().find_map(|(before, behind)| {
        let start = memchr::memmem::find(text, before)? + before.len();
        let end = behind.and_then(|behind| memchr::memmem::rfind(text, behind));
        (start < text.len()).then_some((start, end.filter(|end| *end >= start)))
    });
    let Some((start, end)) = secret else {
        return text.into();
    };
    let (before, rest) = text.split_at(start);
    let behind = rest.get(end.unwrap_or(text.len()) - start..);
    [before, b"***", behind.unwrap_or_default()].concat().into()
}

/// The name of a code.
pub(super) fn name(code: u16) -> Option<&'static str> {
    NAMES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        let shown = |text: &str| {
            let shown = without_secrets(text.as_bytes());
            String::from_utf8_lossy(&shown).into_owned()
        };
        for (text, expected) in [
            (
                "ERR Error in ACL SETUSER modifier '<S3': CRET': The password you are trying",
                "ERR Error in ACL SETUSER modifier '***': The password you are trying",
            ),
            (
                "ERR Error in ACL SETUSER modifier '#S3CRET",
                "ERR Error in ACL SETUSER modifier '***",
            ),
            (
                "ERR unknown command 'AUTH', with args beginning with: 'S3CRET' ",
                "ERR unknown command 'AUTH', with args beginning with: ***",
            ),
            (
                "ERR unknown command 'X', with args beginning with: 'a': b' 'S3CRET' ",
                "ERR unknown command 'X', with args beginning with: ***",
            ),
            (
                "ERR unknown command `AUTH`, with args beginning with: `S3CRET`, ",
                "ERR unknown command `AUTH`, with args beginning with: ***",
            ),
            (
                "ERR Invalid argument 'S3' for CRET' for CONFIG SET 'tls-key-file-pass' - Unable to",
                "ERR Invalid argument '***' for CONFIG SET 'tls-key-file-pass' - Unable to",
            ),
            (
                "ERR Invalid argument 'S3CRET' for SENTINEL SET 'auth-pass'",
                "ERR Invalid argument '***' for SENTINEL SET 'auth-pass'",
            ),
            (
                "ERR Unknown option or number of arguments for CONFIG SET - 'S3CRET'",
                "ERR Unknown option or number of arguments for CONFIG SET - '***",
            ),
            (
                "ERR Unknown option or number of arguments for SENTINEL SET 'S3CRET'",
                "ERR Unknown option or number of arguments for SENTINEL SET '***",
            ),
            (
                "ERR Syntax error in HELLO option 'S3CRET'",
                "ERR Syntax error in HELLO option '***",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
        for open in [
            "ERR unknown command 'FOO'",
            "ERR unknown command 'FOO', with args beginning with: ",
            "MOVED 1 a:1",
            "",
        ] {
            assert_eq!(shown(open), open);
        }
    }

    #[test]
    fn what_may_be_said_to_client_reply() {
        for refusal in [
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to run the 'client|reply' command",
            "ERR wrong number of arguments for 'client|reply' command",
            "ERR Can't execute 'client|reply': only (P|S)SUBSCRIBE / PING are allowed in this context",
            "ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context",
            "ERR unknown command `CLIENT`, with args beginning with: `REPLY`, `SKIP`, ",
        ] {
            assert!(may_refuse_reply(refusal.as_bytes()), "{refusal}");
        }
        for other in [
            "ERR value is not an integer or out of range",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "MOVED 3999 127.0.0.1:6381",
            "",
        ] {
            assert!(!may_refuse_reply(other.as_bytes()), "{other}");
        }
    }

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
