//! How a walk ended: the notices for the user, made in one place for every format.

use super::SourceError;
use super::cursor::Cursor;

/// Why a walk stops where it is.
#[derive(Debug)]
pub(super) enum Stop {
    /// Reading failed, for a reason outside the file's bytes.
    Failed(SourceError),
    /// The bytes ran out: `what` begins at byte `from` and needs `need` bytes.
    RanOut {
        what: &'static str,
        from: u64,
        need: u64,
    },
    /// The bytes at the cursor cannot be what they should be.
    Damaged(String),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

/// A walk's frame count and the story of its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// Nothing more is read.
    pub over: bool,
    /// Frames delivered so far.
    pub frames: u64,
    /// What went wrong, in sentences.
    pub notices: Vec<String>,
}

impl Account {
    /// Ends the walk, with a notice unless the bytes ran out between two records.
    ///
    /// # Errors
    /// When reading failed.
    #[cold]
    pub fn stop(&mut self, cursor: &impl Cursor, stop: Stop) -> Result<(), SourceError> {
        self.over = true;
        cursor.mark();
        let story = match stop {
            Stop::Failed(error) => return Err(error),
            Stop::RanOut { what, from, need } => cursor
                .trouble()
                .or_else(|| self.ran_out(cursor, what, from, need)),
            Stop::Damaged(why) => Some(self.damaged(cursor, &why)),
        };
        if let Some(story) = cursor.shortened().or(story) {
            self.notices.push(format!("{}: {story}", cursor.name()));
        }
        Ok(())
    }

    fn ran_out(&self, cursor: &impl Cursor, what: &str, from: u64, need: u64) -> Option<String> {
        let have = cursor.offset() - from + cursor.ahead().len() as u64;
        (have > 0).then(|| {
            format!(
                "cut off at {} {from}, after frame {}: {what} needs {need} bytes, and {have} are left",
                cursor.measure(),
                self.frames,
            )
        })
    }

    fn damaged(&self, cursor: &impl Cursor, why: &str) -> String {
        format!(
            "damaged at {} {}, after frame {}: {why}; what follows was not read",
            cursor.measure(),
            cursor.offset(),
            self.frames,
        )
    }
}
