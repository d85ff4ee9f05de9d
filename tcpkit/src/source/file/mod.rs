//! Capture files: pcap and pcapng, plain or inside gzip or zstd, by path or on standard input.
//!
//! Reads a file, makes [`Frame`]s in the order of the file. What the file is, is told by its
//! first bytes, never by its name. A plain regular file is mapped, and its frames borrow from
//! the map; anything else is streamed through a bounded buffer, and decompressed in a thread of
//! its own so that unpacking and pairing overlap.
//!
//! Damage is not an error: what came before it is delivered, and a notice names the place. A
//! file that is still being written is read up to where it ends when its end is first reached.

mod account;
mod ahead;
mod cursor;
mod input;
mod map;
mod open;
mod options;
mod pcap;
mod pcapng;
mod progress;
mod stream;
mod truncation;
mod unpack;

#[cfg(test)]
mod corpus;
#[cfg(test)]
pub(crate) mod make;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub use progress::{Guard, Progress, ProgressBar};

use super::{BATCH, Frame, Interface, Source, SourceError, SourceReport};
use input::Any;
use map::Mapped;
use pcap::Pcap;
use pcapng::Pcapng;
use stream::Stream;

/// A capture file that is being read.
#[derive(Debug)]
pub struct FileSource {
    walk: Walk,
    progress: Option<Arc<Progress>>,
}

/// One walk for each kind of file over each way of getting at its bytes.
#[derive(Debug)]
enum Walk {
    Mapped(Pcap<Mapped>),
    MappedBlocks(Pcapng<Mapped>),
    Streamed(Pcap<Stream>),
    StreamedBlocks(Pcapng<Stream>),
}

/// Does the same with whichever walk it is.
macro_rules! each {
    ($walk:expr, $name:ident => $body:expr) => {
        match $walk {
            Walk::Mapped($name) => $body,
            Walk::MappedBlocks($name) => $body,
            Walk::Streamed($name) => $body,
            Walk::StreamedBlocks($name) => $body,
        }
    };
}

impl FileSource {
    /// Opens a capture file; `-` is standard input.
    ///
    /// # Errors
    /// When there is nothing to read, as a sentence that begins with the file's name: it does
    /// not exist, may not be read, is a directory, is empty, is not a capture file, or ends
    /// within its own header.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::open_unless(path, &|| false)
    }

    /// As [`FileSource::open`], but waits for the first bytes of a stream only as long as `ended` answers false.
    ///
    /// # Errors
    /// As [`FileSource::open`], and when it was ended.
    pub fn open_unless(path: &Path, ended: &dyn Fn() -> bool) -> Result<Self, SourceError> {
        open::path(path, ended)
    }

    /// Reads a capture file from any reader; `name` stands for it in notices and errors.
    ///
    /// # Errors
    /// As [`FileSource::open`].
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, SourceError> {
        open::reader(name, Box::new(Any(reader)), None, &|| false)
    }

    /// Tells `listener` all interfaces that are known, now and whenever the file describes another, always before the
    /// first frame of it.
    pub fn tell_interfaces(&mut self, listener: impl Fn(&[Interface]) + Send + 'static) {
        listener(self.interfaces());
        let listener = Listener(Some(Box::new(listener)));
        match &mut self.walk {
            // A classic file has one.
            Walk::Mapped(_) | Walk::Streamed(_) => {}
            Walk::MappedBlocks(walk) => walk.listen(listener),
            Walk::StreamedBlocks(walk) => walk.listen(listener),
        }
    }

    /// The same file once more, from its first frame, for another worker: the map is shared,
    /// and every reader sees the same end even while the file grows. `None` for what is streamed.
    pub fn reopen(&self) -> Option<Self> {
        let walk = match &self.walk {
            Walk::Mapped(walk) => Walk::Mapped(walk.again()),
            Walk::MappedBlocks(walk) => Walk::MappedBlocks(walk.again()),
            Walk::Streamed(_) | Walk::StreamedBlocks(_) => return None,
        };
        Some(Self {
            walk,
            progress: self.progress.clone(),
        })
    }

    /// The same file in parts, in their order, each for a worker of its own: the first from its beginning, others from
    /// records near these `places` in bytes, which ascend; `None` where it is streamed, is no classic capture file, or shows no
    /// records there.
    ///
    /// Where a part begins is a guess: [`FileSource::is_followed_by`] tells whether it was right. All parts but the first
    /// stop before a record about which anything is special; [`FileSource::follow`] lets them go on.
    pub fn parts(&self, places: &[usize]) -> Option<Vec<Self>> {
        let Walk::Mapped(walk) = &self.walk else {
            return None;
        };
        let of = |walk| Self {
            walk: Walk::Mapped(walk),
            progress: self.progress.clone(),
        };
        Some(walk.parts(places)?.into_iter().map(of).collect())
    }

    /// Whether this part was read to where `next` begins.
    pub fn is_followed_by(&self, next: &Self) -> bool {
        match (&self.walk, &next.walk) {
            (Walk::Mapped(walk), Walk::Mapped(next)) => walk.is_followed_by(next),
            _ => false,
        }
    }

    /// Whether the file was shortened while it was read; what comes here is none of it.
    pub fn is_lost(&self) -> bool {
        each!(&self.walk, walk => walk.is_lost())
    }

    /// This part follows `before`, which was read: the rest of it is read as a whole file's is.
    pub fn follow(&mut self, before: &Self) {
        if let (Walk::Mapped(walk), Walk::Mapped(before)) = (&mut self.walk, &before.walk) {
            walk.follow(before.frames());
        }
    }

    /// Hands all frames to `take`, at most `most` (and [`BATCH`]) at a time, until it answers false or the file ends.
    /// What [`Source::next_frame`] does, with less to do for each frame. Where frames are waited for, `take` is asked
    /// about none every now and then.
    ///
    /// # Errors
    /// As [`Source::next_frame`].
    #[inline]
    pub fn each_batch(
        &mut self,
        most: usize,
        mut take: impl FnMut(&[Frame<'_>]) -> bool,
    ) -> Result<(), SourceError> {
        let most = most.clamp(1, BATCH);
        match &mut self.walk {
            Walk::Mapped(walk) => walk.each_batch(most, &mut take),
            Walk::Streamed(walk) => walk.each_batch(most, &mut take),
            Walk::MappedBlocks(walk) => walk.each_batch(&mut take),
            Walk::StreamedBlocks(walk) => walk.each_batch(&mut take),
        }
    }

    /// How far reading has come, shared by every reader of the file; `None` where the length
    /// is not known, as on a pipe.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }
}

/// Who wants to know of interfaces.
#[derive(Default)]
struct Listener(Option<Box<Hear>>);

type Hear = dyn Fn(&[Interface]) + Send;

impl Listener {
    fn tell(&self, interfaces: &[Interface]) {
        if let Some(listener) = &self.0 {
            listener(interfaces);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}

impl Source for FileSource {
    #[inline]
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        each!(&mut self.walk, walk => walk.next_frame())
    }

    fn interfaces(&self) -> &[Interface] {
        each!(&self.walk, walk => walk.interfaces())
    }

    fn report(&self) -> SourceReport {
        each!(&self.walk, walk => walk.report())
    }
}
