//! Where what a script prints goes: the report's own destination, whole lines.
//!
//! Over a file and beside a report's lines, what is printed is put among them by time
//! ([`Inbox`]); else it is written as it comes.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{LUA_PRINTED_BYTES, REPORT_BUFFER};
use crate::sink::inbox::Inbox;
use crate::source::Timestamp;

/// Where lines go once the report is open.
pub enum Target {
    /// Written as they come.
    Direct(Box<dyn Write + Send>),
    /// Put among the report's lines.
    Ordered(Arc<Inbox>),
}

/// Takes what one script prints; shared by its thread and the capture's.
#[derive(Default)]
pub struct Printer {
    state: Arc<Mutex<State>>,
    closed: AtomicBool,
    /// Another script prints to the same place after this one.
    succeeded: AtomicBool,
}

#[derive(Default)]
struct State {
    place: Place,
    failure: Option<io::Error>,
    /// Bytes of a terminal's control are shown, not sent.
    escape: bool,
}

enum Place {
    /// Nothing is open yet: what a script prints while it loads.
    Waiting(Vec<u8>),
    Direct(BufWriter<Box<dyn Write + Send>>),
    Ordered(Arc<Inbox>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Waiting(Vec::new())
    }
}

impl Printer {
    /// From now on lines go there. `escape` is for terminals, which would act on some bytes.
    pub fn open(&self, target: Target, escape: bool) {
        let mut state = self.lock();
        state.escape = escape;
        let place = match target {
            Target::Direct(out) => Place::Direct(BufWriter::with_capacity(REPORT_BUFFER, out)),
            Target::Ordered(inbox) => Place::Ordered(inbox),
        };
        if let Place::Waiting(early) = std::mem::replace(&mut state.place, place) {
            state.write(&early, Timestamp::default());
        }
    }

    /// A printer to the same place, for the script that is to come after this one.
    pub fn successor(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            ..Self::default()
        }
    }

    /// The successor has come: the place stays open when this script ends.
    pub fn is_succeeded(&self) {
        self.succeeded.store(true, Ordering::Relaxed);
    }

    /// Lines of the time `stamp`.
    pub fn print(&self, text: &[u8], stamp: Timestamp) {
        if !self.closed.load(Ordering::Relaxed) {
            self.lock().write(text, stamp);
        }
    }

    /// The script has done what there was until `stamp`.
    pub fn reached(&self, stamp: Timestamp) {
        if let Place::Ordered(inbox) = &self.lock().place {
            inbox.reach(stamp);
        }
    }

    /// Writes what was collected.
    pub fn flush(&self) {
        let mut state = self.lock();
        if let Place::Direct(out) = &mut state.place
            && let Err(error) = out.flush()
        {
            state.failure.get_or_insert(error);
        }
    }

    /// The script is gone: nothing more is taken from it, and nothing waits for it.
    pub fn close(&self) {
        self.flush();
        self.closed.store(true, Ordering::Relaxed);
        if let Place::Ordered(inbox) = &self.lock().place
            && !self.succeeded.load(Ordering::Relaxed)
        {
            inbox.reach(Timestamp(u64::MAX));
        }
    }

    /// The first failure to write, once.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, text: &[u8], stamp: Timestamp) {
        if text.is_empty() {
            return;
        }
        let safe;
        let text = match self.escape {
            true => {
                safe = for_terminal(text);
                &safe
            }
            false => text,
        };
        match &mut self.place {
            Place::Waiting(early) if early.len() + text.len() <= LUA_PRINTED_BYTES => {
                early.extend_from_slice(text);
            }
            Place::Waiting(_) => {}
            Place::Direct(out) => {
                if let Err(error) = out.write_all(text) {
                    self.failure.get_or_insert(error);
                }
            }
            Place::Ordered(inbox) => inbox.put(stamp, text),
        }
    }
}

/// Shows what a terminal would act on, and leaves text of any language as it is.
fn for_terminal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() && !matches!(char, '\n' | '\t') {
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|byte| crate::protocol::escape(byte, &mut out));
            } else {
                out.extend(char.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        let invalid = chunk.invalid().iter();
        invalid.for_each(|&byte| crate::protocol::escape(byte, &mut out));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_no_commands() {
        let shown = for_terminal("µs\t\x1b[2J\u{9b}1m\r\n".as_bytes());
        assert_eq!(shown, "µs\t\\x1b[2J\\xc2\\x9b1m\\r\n".as_bytes());
        assert_eq!(for_terminal(b"\xff\x00a"), b"\\xff\\x00a");
    }
}
