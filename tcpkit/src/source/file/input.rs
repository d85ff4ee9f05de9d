//! Where a stream's bytes come from, and whether one would have to wait for them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A moment: who waits for bytes looks at other things as often.
pub(super) const MOMENT: Duration = Duration::from_millis(100);

/// Bytes that may be a while in coming.
pub(super) trait Input: Read + Send {
    /// Whether bytes or the end are there, so that reading does not wait; looks out for them for a moment.
    fn is_ready(&mut self) -> bool;
}

/// A file, a pipe or a device.
pub(super) struct Plain(pub File);

impl Plain {
    /// Standard input, without the standard library's buffer: what waits there could not be seen from outside.
    pub fn standard_input() -> io::Result<Self> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(File::from(descriptor)))
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Input for Plain {
    fn is_ready(&mut self) -> bool {
        let moment = Timespec::try_from(MOMENT).ok();
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut polled, moment.as_ref()) {
            Ok(ready) => ready > 0,
            // What cannot be looked at is read, which tells why.
            Err(error) => error != rustix::io::Errno::INTR,
        }
    }
}

/// A reader of which nothing more is known.
pub(super) struct Any<R>(pub R);

impl<R: Read> Read for Any<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read + Send> Input for Any<R> {
    fn is_ready(&mut self) -> bool {
        true
    }
}
