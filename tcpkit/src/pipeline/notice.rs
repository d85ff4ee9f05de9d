//! Sentences for the user, which go to standard error. Nobody may read them: that is no failure.

use std::io::{self, Write as _};

use crate::source::shown;

/// A sentence as it is written: in one piece, and without what a terminal would act on.
pub(super) fn line(sentence: &str) -> String {
    format!("tcpkit: {}\n", shown::sentence(sentence))
}

/// Tells one.
pub fn tell(sentence: &str) {
    let _ = io::stderr().lock().write_all(line(sentence).as_bytes());
}
