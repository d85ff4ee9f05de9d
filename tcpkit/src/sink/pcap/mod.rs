//! Saved frames (`-w`): what was selected goes to a capture file as it came.
//!
//! Reads [`Event::Packet`]s, writes their frames: pcapng where the file's name ends in
//! `.pcapng`, with an interface description for each interface that a frame came from, and
//! classic pcap otherwise. Both keep nanoseconds; the classic one by its nanosecond magic
//! number, which libpcap, tcpdump and Wireshark read since 2013. A classic file has one link
//! type: a frame of another one is an error that says so.
//!
//! A datagram that came in fragments is known to be selected when it is whole: its frames are saved then, in their
//! own order.
//!
//! # Rotation
//! With a size, the next file begins before a frame would make this one larger; only a single
//! frame that is larger by itself goes beyond. Names are tcpdump's: `dump.pcap`, `dump.pcap1`,
//! `dump.pcap2`, …; with a limit on the number of files `dump.pcap0` to `dump.pcap9`, with as
//! many leading zeros as the limit needs, over and over, so that the latest are kept.

mod format;
mod output;
pub mod queued;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Needs, Sink};
use crate::event::Event;
use crate::source::{Frame, Interface};
use format::Format;
use output::Output;

/// Where frames are saved, and when the next file begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The file, or `-` for standard output.
    pub path: PathBuf,
    /// Bytes that a file may have (`--write-size`).
    pub size: Option<u64>,
    /// Files that are kept (`--write-files`); needs a size.
    pub files: Option<u32>,
    /// The files that the run reads: none is written over.
    pub inputs: Vec<PathBuf>,
}

/// Whether a file of this name holds one link type alone.
pub fn holds_one_link(path: &Path) -> bool {
    matches!(Format::named(path), Format::Pcap(_))
}

/// The interfaces that frames came from, told to the writer while they become known. Cheap to
/// clone; all clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Interfaces(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<List>,
    /// Whether there are numbers in [`List::anew`]: looked at for each frame.
    has_anew: AtomicBool,
}

#[derive(Debug, Default)]
struct List {
    known: Vec<Interface>,
    /// Numbers that mean another interface now, until the writer has heard of it.
    anew: Vec<u32>,
}

impl Interfaces {
    /// Takes over what a source knows by now; returns at once where nothing is new.
    pub fn learn(&self, known: &[Interface]) {
        let held = &mut self.list().known;
        let new = known.get(held.len()..).unwrap_or_default();
        held.extend_from_slice(new);
    }

    /// Takes over what a number means that meant another interface before.
    pub fn replace(&self, number: u32, interface: &Interface) {
        let mut list = self.list();
        if let Some(place) = list.known.get_mut(number as usize) {
            place.clone_from(interface);
        }
        if !list.anew.contains(&number) {
            list.anew.push(number);
        }
        self.0.has_anew.store(true, Ordering::Release);
    }

    /// What was replaced since the last call.
    fn take_anew(&self) -> Vec<u32> {
        if !self.0.has_anew.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut list = self.list();
        self.0.has_anew.store(false, Ordering::Release);
        std::mem::take(&mut list.anew)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, frame: &Frame<'_>) -> Interface {
        let list = self.list();
        let known = list.known.get(frame.interface as usize);
        let (name, snaplen) = known.map_or((None, 0), |known| (known.name.clone(), known.snaplen));
        Interface {
            link: frame.link,
            name,
            snaplen,
        }
    }

    fn first(&self) -> Option<Interface> {
        self.list().known.first().cloned()
    }
}

/// The sink behind `-w`.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    interfaces: Interfaces,
    output: Output,
    format: Format,
    /// Files that were begun before this one.
    turn: u64,
    /// What is encoded of the next frame, before it is known where it goes.
    scratch: Vec<u8>,
}

impl Writer {
    /// Creates the (first) file.
    ///
    /// # Errors
    /// When it cannot be created or is a file that the run reads, when standard output is to be
    /// rotated or is a terminal, or when a number of files is given without a size; each names
    /// the file or the option.
    pub fn create(settings: Settings) -> io::Result<Self> {
        check(&settings)?;
        let output = Output::create(&numbered(&settings, 0), &settings.inputs)?;
        let format = Format::named(&settings.path);
        let interfaces = Interfaces::default();
        Ok(Self {
            settings,
            interfaces,
            output,
            format,
            turn: 0,
            scratch: Vec::new(),
        })
    }

    /// The list that gives saved interfaces their names and snap lengths.
    pub fn interfaces(&self) -> Interfaces {
        self.interfaces.clone()
    }

    /// Saves one frame.
    ///
    /// # Errors
    /// When the file cannot be written, or is classic pcap of another link type.
    pub fn save(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.encode(frame)?;
        if self.is_full() {
            self.rotate()?;
            self.encode(frame)?;
        }
        self.output.write(&self.scratch)
    }

    /// Begins the current file anew where it was moved away or removed, as after a SIGHUP of
    /// logrotate; where it still stands, only writes out what is held back.
    ///
    /// # Errors
    /// When the file cannot be written or created.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.output.flush()?;
        if self.output.still_stands() {
            return Ok(());
        }
        self.conclude()?;
        self.begin(self.turn)
    }

    /// Encodes a frame and all that must stand before it in the current file.
    fn encode(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.scratch.clear();
        let (interfaces, format) = (&self.interfaces, &mut self.format);
        for number in interfaces.take_anew() {
            format.forget(number);
        }
        format
            .frame(&mut self.scratch, frame, || interfaces.get(frame))
            .map_err(|why| self.output.error(io::ErrorKind::InvalidInput, &why))
    }

    /// Whether what is encoded would make the file too large. A file takes one frame at least.
    fn is_full(&self) -> bool {
        let after = self.output.written() + self.scratch.len() as u64;
        self.output.written() > 0 && self.settings.size.is_some_and(|size| after > size)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.output.flush()?;
        self.begin(self.turn + 1)
    }

    fn begin(&mut self, turn: u64) -> io::Result<()> {
        let path = numbered(&self.settings, turn);
        self.output = Output::create(&path, &self.settings.inputs)?;
        self.format = Format::named(&self.settings.path);
        self.turn = turn;
        Ok(())
    }

    /// Makes a file without frames a valid one, and writes out what is held back.
    fn conclude(&mut self) -> io::Result<()> {
        if self.output.written() == 0 {
            self.scratch.clear();
            self.format
                .empty(&mut self.scratch, self.interfaces.first());
            self.output.write(&self.scratch)?;
        }
        self.output.flush()
    }
}

impl Sink for Writer {
    fn needs(&self) -> Needs {
        Needs {
            packets: true,
            text: false,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Packet(packet) => {
                for fragment in packet.fragments {
                    self.save(&fragment.frame())?;
                }
                self.save(&packet.frame)
            }
            // Who reads the file while it grows waits a second at most.
            Event::Tick(_) => self.output.flush(),
            Event::Reopen => self.reopen(),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.conclude()
    }
}

fn check(settings: &Settings) -> io::Result<()> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
    if settings.files.is_some() && settings.size.is_none() {
        return refuse("--write-files needs --write-size: files are counted when one is full");
    }
    if settings.path == Path::new("-") && settings.size.is_some() {
        return refuse("--write-size needs a file to write; standard output (-w -) is only one");
    }
    Ok(())
}

/// The name of the file that follows after `turn` others.
fn numbered(settings: &Settings, turn: u64) -> PathBuf {
    let mut name = settings.path.clone().into_os_string();
    match (settings.size, settings.files) {
        (Some(_), Some(files)) => {
            let files = u64::from(files.max(1));
            let width = (files - 1).to_string().len();
            name.push(format!("{:0width$}", turn % files));
        }
        _ if turn > 0 => name.push(turn.to_string()),
        _ => {}
    }
    PathBuf::from(name)
}
