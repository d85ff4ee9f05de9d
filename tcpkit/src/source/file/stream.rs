//! A capture file that comes as a stream: a pipe, standard input, something decompressed.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use super::SourceError;
use super::cursor::Cursor;
use super::input::Input;
use super::progress::Progress;

/// Bytes that are read at once where the reader has them.
const CHUNK: usize = 256 << 10;

/// A bounded window over a reader.
pub(super) struct Stream {
    name: String,
    reader: Box<dyn Input>,
    /// The window is `buffer[start..end]`; it grows only when one record or block asks for more
    /// than it has, which their own bounds limit.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes passed before the window.
    offset: u64,
    over: bool,
    trouble: Option<String>,
    /// The compression that the bytes came out of.
    packing: Option<&'static str>,
    /// Of plain streams of known length; a compressed one is counted where it is read.
    progress: Option<Arc<Progress>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// A plain stream.
    pub fn new(name: String, reader: Box<dyn Input>, progress: Option<Arc<Progress>>) -> Self {
        Self {
            name,
            reader,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            over: false,
            trouble: None,
            packing: None,
            progress,
        }
    }

    /// A stream whose bytes come out of a decompressor.
    pub fn unpacked(name: String, reader: Box<dyn Input>, packing: &'static str) -> Self {
        Self {
            packing: Some(packing),
            ..Self::new(name, reader, None)
        }
    }

    /// The compression that the bytes came out of.
    pub fn packing(&self) -> Option<&'static str> {
        self.packing
    }

    /// Gives the reader back with all that was read from it put in front again.
    pub fn into_reader(mut self) -> (String, Box<dyn Read + Send>) {
        self.buffer.truncate(self.end);
        let head = std::io::Cursor::new(self.buffer.split_off(self.start.min(self.end)));
        (self.name, Box::new(head.chain(self.reader)))
    }

    /// Reads once, with room for `need` bytes in the window. False at the end.
    fn fill(&mut self, need: usize) -> Result<bool, SourceError> {
        if self.over {
            return Ok(false);
        }
        self.make_room(need);
        match self
            .reader
            .read(self.buffer.get_mut(self.end..).unwrap_or_default())
        {
            Ok(0) => self.over = true,
            Ok(count) => self.end = self.buffer.len().min(self.end + count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.failed(&error)?,
        }
        Ok(!self.over)
    }

    /// A failed read ends everything; a decompressor that cannot go on ends the stream.
    fn failed(&mut self, error: &std::io::Error) -> Result<(), SourceError> {
        self.over = true;
        let Some(packing) = self.packing.filter(|_| error.raw_os_error().is_none()) else {
            return Err(SourceError(format!(
                "{}: cannot be read on: {error}",
                self.name
            )));
        };
        let bytes = self.offset + (self.end - self.start) as u64;
        let how = match error.kind() {
            ErrorKind::UnexpectedEof => "cut off".to_owned(),
            _ => format!("damaged ({error})"),
        };
        self.trouble = Some(format!(
            "its {packing} data is {how}; {bytes} bytes could be decompressed"
        ));
        Ok(())
    }

    fn make_room(&mut self, need: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.start < need || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = need.max(self.end + 1).next_multiple_of(CHUNK);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
    }
}

impl Cursor for Stream {
    #[inline]
    fn ensure(&mut self, need: usize) -> Result<bool, SourceError> {
        while self.end - self.start < need {
            if !self.fill(need)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_settled(&mut self, need: usize) -> Result<bool, SourceError> {
        if self.over || self.end - self.start >= need {
            return Ok(true);
        }
        if self.reader.is_ready() {
            self.fill(need)?;
        }
        Ok(false)
    }

    #[inline]
    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    fn take(&mut self, skip: usize, len: usize) -> &[u8] {
        let from = self.start + skip;
        if from + len > self.end {
            return &[];
        }
        self.pass(skip + len);
        self.buffer.get(from..from + len).unwrap_or_default()
    }

    #[inline]
    fn pass(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    fn skip(&mut self, mut count: u64) -> Result<bool, SourceError> {
        loop {
            let there = self.end - self.start;
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(there);
            self.pass(step);
            count -= step as u64;
            if count == 0 {
                return Ok(true);
            }
            if !self.fill(1)? {
                return Ok(false);
            }
        }
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    #[inline]
    fn is_lost(&self) -> bool {
        false
    }

    fn shortened(&self) -> Option<String> {
        None
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn mark(&self) {
        if let Some(progress) = &self.progress {
            progress.reached(self.offset);
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn measure(&self) -> &'static str {
        if self.packing.is_some() {
            "decompressed byte"
        } else {
            "byte"
        }
    }
}
