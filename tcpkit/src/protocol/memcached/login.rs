//! Logging in with text commands, where the server wants it (`-Y`).
//!
//! Reads the heads of requests until the server has answered by more than errors, and says which of them may be answered
//! though they are not as they should be, and which lines are not to be shown.
//!
//! Such a server takes a `set` whose data are a name and a password ("Authentication" in memcached's doc/protocol.txt). It
//! looks at nothing but the length of these: the other words may be anything, and `noreply` is answered. What other servers
//! then take for commands are credentials there; what the server is, nothing says before its answer. All this was checked
//! against memcached 1.6.18 with and without `-Y`.

use super::command::{self, Kind, status};
use super::pending::Entry;
use super::{Head, binary, text};

/// Longest data that a name and a password are looked for in: an entry of the server's file is shorter.
const CREDENTIALS: u64 = 256;

/// Whether the server may still be waiting for credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Login {
    /// It has answered by more than an error, or may have.
    Past,
    /// It may.
    #[default]
    Open,
    /// So it may, and a `set` was asked last.
    Behind {
        /// The line behind it is its data, if it is as long as this.
        length: u16,
        /// It may be answered.
        heard: bool,
    },
}

/// What is behind a request that came while the server may be waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It can be told when more of it has come.
    More,
    /// It can be told.
    Shown,
    /// It can be told, but not shown.
    Hidden,
}

impl Login {
    /// Takes the request that `bytes` begin with; `first` where no other waits.
    #[cold]
    pub(super) fn ask(&mut self, head: &mut Head, bytes: &[u8], first: bool) -> Asked {
        if bytes.first() == Some(&binary::REQUEST) {
            *self = Self::Past;
            return Asked::Shown;
        }
        if head.command == command::SET {
            return self.set(head, bytes, first);
        }
        match std::mem::replace(self, Self::Open) {
            Self::Behind { length, heard } if is_secret(head, length) => {
                let heard = heard || head.entry.is_none();
                let entry = head.entry.get_or_insert(Entry::new(Kind::Secret));
                if head.command == 0 {
                    entry.kind = Kind::Secret;
                }
                if heard {
                    entry.flags |= Entry::QUIET;
                }
                Asked::Hidden
            }
            _ => Asked::Shown,
        }
    }

    fn set(&mut self, head: &mut Head, bytes: &[u8], first: bool) -> Asked {
        if head.entry.is_none() && first {
            match logs_in(head, bytes) {
                None => return Asked::More,
                Some(false) => {}
                Some(true) => {
                    let mut entry = Entry::new(Kind::Store);
                    entry.flags |= Entry::QUIET;
                    head.entry = Some(entry);
                }
            }
        }
        let line = bytes.get(..head.text).unwrap_or_default();
        let length = text::words(line).nth(4).and_then(text::number);
        let length = length.filter(|_| head.trailer == 0);
        let length = length.and_then(|length| u16::try_from(length).ok());
        *self = Self::Behind {
            length: length.unwrap_or(0),
            heard: head.entry.is_some(),
        };
        Asked::Shown
    }

    /// Takes the status of a response.
    #[cold]
    pub(super) fn answer(&mut self, status: u16) {
        if status != status::CLIENT_ERROR {
            *self = Self::Past;
        }
    }
}

/// Whether a `set` with `noreply` may hold a name and a password; `None` where its data have not come yet.
fn logs_in(head: &Head, bytes: &[u8]) -> Option<bool> {
    if head.trailer == 0 {
        return Some(true);
    }
    if head.body > CREDENTIALS {
        return Some(false);
    }
    let data = bytes.get(head.len..)?.get(..head.body as usize)?;
    Some(text::words(data).nth(1).is_some())
}

/// Whether the line behind a `set` is, or ends, what the `set` should have had for its data.
fn is_secret(head: &Head, length: u16) -> bool {
    let unknown = head.command == 0;
    unknown || length > 0 && head.text == usize::from(length)
}

/// Whether an error says that the server waits for credentials. Until it has them it answers all that came at once by one.
pub(super) fn is_refused(error: &[u8]) -> bool {
    let texts = [
        &b"unauthenticated"[..],
        b"authentication failure",
        b"bad authentication token format",
        b"bad command line termination",
    ];
    texts.contains(&error)
}
