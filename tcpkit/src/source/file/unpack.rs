//! Decompression in a thread of its own, so that unpacking and pairing overlap.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, Sender, SyncSender, channel, sync_channel,
};

use super::input::{Input, MOMENT};
use super::progress::Progress;

/// Bytes that the thread hands over at most at once.
const CHUNK: usize = 256 << 10;

/// Chunks that wait between the thread and the walk.
const WAITING: usize = 4;

/// A compression, known by its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 8878, of any number of frames, skippable ones too.
    Zstd,
}

impl Packing {
    /// The compression of a file that begins so.
    pub fn of(magic: [u8; 4]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn reader(self, input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => {
                let input = BufReader::with_capacity(CHUNK, input);
                Box::new(flate2::bufread::MultiGzDecoder::new(input))
            }
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(input)?),
        })
    }
}

/// Starts a thread that decompresses `input`; its result is read from what this gives. The
/// thread ends with the input, or when the reader is dropped.
///
/// # Errors
/// When there is no memory for a decompressor, or no thread.
pub(super) fn in_background(
    packing: Packing,
    input: Box<dyn Read + Send>,
    progress: Option<Arc<Progress>>,
) -> io::Result<Box<dyn Input>> {
    let mut decoder = packing.reader(Counted {
        input,
        bytes: 0,
        progress,
    })?;
    let (full, chunks) = sync_channel(WAITING);
    let (spent, empty) = channel();
    std::thread::Builder::new()
        .name("decompress".to_owned())
        .spawn(move || unpack(decoder.as_mut(), &full, &empty))?;
    Ok(Box::new(Chunks {
        chunks,
        spent,
        next: None,
        chunk: Vec::new(),
        len: 0,
        passed: 0,
        over: false,
    }))
}

/// A chunk and how much of it is filled.
type Chunk = io::Result<(Vec<u8>, usize)>;

fn unpack(decoder: &mut dyn Read, full: &SyncSender<Chunk>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let result = match decoder.read(&mut chunk) {
            Ok(0) => return,
            Ok(len) => Ok((chunk, len)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        if full.send(result).is_err() || failed {
            return;
        }
    }
}

/// Counts compressed bytes for the progress handle.
struct Counted {
    input: Box<dyn Read + Send>,
    bytes: u64,
    progress: Option<Arc<Progress>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        if let Some(progress) = &self.progress {
            progress.reached(self.bytes);
        }
        Ok(count)
    }
}

/// Reads what the thread hands over, and gives spent chunks back to it.
struct Chunks {
    chunks: Receiver<Chunk>,
    spent: Sender<Vec<u8>>,
    /// What was received while looking whether something comes.
    next: Option<Result<Chunk, RecvError>>,
    chunk: Vec<u8>,
    len: usize,
    passed: usize,
    over: bool,
}

impl Chunks {
    fn next(&mut self) -> io::Result<()> {
        let spent = std::mem::take(&mut self.chunk);
        (self.len, self.passed) = (0, 0);
        if !spent.is_empty() {
            // The thread may have ended; then nobody needs it.
            let _ = self.spent.send(spent);
        }
        match self.next.take().unwrap_or_else(|| self.chunks.recv()) {
            Ok(Ok((chunk, len))) => (self.chunk, self.len) = (chunk, len),
            Ok(Err(error)) => {
                self.over = true;
                return Err(error);
            }
            Err(_) => self.over = true,
        }
        Ok(())
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.passed == self.len && !self.over {
            self.next()?;
        }
        let mut ready = self.chunk.get(self.passed..self.len).unwrap_or_default();
        let count = ready.read(buffer)?;
        self.passed += count;
        Ok(count)
    }
}

impl Input for Chunks {
    fn is_ready(&mut self) -> bool {
        if self.passed < self.len || self.over || self.next.is_some() {
            return true;
        }
        self.next = match self.chunks.recv_timeout(MOMENT) {
            Ok(chunk) => Some(Ok(chunk)),
            Err(RecvTimeoutError::Disconnected) => Some(Err(RecvError)),
            Err(RecvTimeoutError::Timeout) => None,
        };
        self.next.is_some()
    }
}
