//! Opening: what a file is, how its bytes are got at, and why it cannot be read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use super::cursor::Cursor;
use super::input::{Input, Plain};
use super::map::Mapped;
use super::pcap::{Pcap, is_pcap};
use super::pcapng::{Pcapng, is_pcapng};
use super::progress::Progress;
use super::stream::Stream;
use super::unpack::{self, Packing};
use super::{FileSource, SourceError, Walk};
use crate::source::shown;

/// Bytes that tell what a file is.
const MAGIC: usize = 4;

/// Opens a path, or standard input for `-`.
pub(super) fn path(path: &Path, ended: &dyn Fn() -> bool) -> Result<FileSource, SourceError> {
    if path == Path::new("-") {
        let name = "standard input";
        let input = Plain::standard_input().map_err(|error| cannot(name, &error))?;
        return reader(name, Box::new(input), None, ended);
    }
    let name = shown::path(path);
    let (file, metadata) = File::open(path)
        .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
        .map_err(|error| cannot(&name, &error))?;
    if metadata.is_dir() {
        return Err(SourceError(format!(
            "{name}: it is a directory; -r reads one file"
        )));
    }
    if metadata.is_file() {
        return regular(&name, file, metadata.len());
    }
    reader(&name, Box::new(Plain(file)), None, ended)
}

/// Opens a stream, packed or plain. `progress` counts the bytes of `reader`.
pub(super) fn reader(
    name: &str,
    reader: Box<dyn Input>,
    progress: Option<Arc<Progress>>,
    ended: &dyn Fn() -> bool,
) -> Result<FileSource, SourceError> {
    let mut stream = Stream::new(name.to_owned(), reader, progress.clone());
    begin(&mut stream, ended)?;
    if let Some(packing) = magic(&mut stream)?.and_then(Packing::of) {
        let (_, input) = stream.into_reader();
        stream = unpacked(name, packing, input, progress.clone())?;
        begin(&mut stream, ended)?;
    }
    let walk = streamed(stream)?;
    Ok(FileSource { walk, progress })
}

/// Waits for the first bytes.
fn begin(stream: &mut Stream, ended: &dyn Fn() -> bool) -> Result<(), SourceError> {
    while !stream.is_settled(MAGIC)? {
        if ended() {
            let name = stream.name();
            return Err(SourceError(format!("{name}: ended before anything came")));
        }
    }
    Ok(())
}

/// Opens a regular file of `len` bytes: mapped where it is plain and can be.
fn regular(name: &str, file: File, len: u64) -> Result<FileSource, SourceError> {
    if len == 0 {
        return Err(SourceError(format!("{name}: the file is empty")));
    }
    let mut mapped = match Mapped::new(name, file, len) {
        Ok(mapped) => mapped,
        Err(file) => {
            let progress = Arc::new(Progress::new(len));
            return reader(name, Box::new(Plain(file)), Some(progress), &|| false);
        }
    };
    let progress = mapped.progress();
    if magic(&mut mapped)?.and_then(Packing::of).is_some() {
        let file = mapped.into_file().ok_or_else(|| no_descriptor(name))?;
        return reader(name, Box::new(Plain(file)), Some(progress), &|| false);
    }
    let walk = if magic(&mut mapped)?.is_some_and(is_pcapng) {
        Walk::MappedBlocks(Pcapng::open(mapped)?)
    } else {
        known(&mut mapped, None)?;
        Walk::Mapped(Pcap::open(mapped)?)
    };
    Ok(FileSource {
        walk,
        progress: Some(progress),
    })
}

fn unpacked(
    name: &str,
    packing: Packing,
    input: Box<dyn Read + Send>,
    progress: Option<Arc<Progress>>,
) -> Result<Stream, SourceError> {
    let input = unpack::in_background(packing, input, progress)
        .map_err(|error| SourceError(format!("{name}: cannot be decompressed: {error}")))?;
    Ok(Stream::unpacked(name.to_owned(), input, packing.name()))
}

fn streamed(mut stream: Stream) -> Result<Walk, SourceError> {
    if magic(&mut stream)?.is_some_and(is_pcapng) {
        return Ok(Walk::StreamedBlocks(Pcapng::open(stream)?));
    }
    let packing = stream.packing();
    known(&mut stream, packing)?;
    Ok(Walk::Streamed(Pcap::open(stream)?))
}

/// The first bytes, where there are as many.
fn magic(cursor: &mut impl Cursor) -> Result<Option<[u8; MAGIC]>, SourceError> {
    cursor.ensure(MAGIC)?;
    Ok(cursor.ahead().first_chunk().copied())
}

/// Refuses what does not begin as a classic capture file.
fn known(cursor: &mut impl Cursor, packing: Option<&str>) -> Result<(), SourceError> {
    if magic(cursor)?.is_some_and(is_pcap) {
        return Ok(());
    }
    cursor.ensure(8)?;
    let within = packing
        .map(|name| format!("inside the {name} data, "))
        .unwrap_or_default();
    let why = match (cursor.trouble(), cursor.ahead()) {
        (Some(trouble), []) => trouble,
        (None, []) => format!("{within}there is nothing to read"),
        (_, bytes) => format!(
            "{within}not a capture file (begins with {}; pcap, pcapng, and either of them gzip or zstd compressed are read)",
            shown(bytes.get(..8).unwrap_or(bytes))
        ),
    };
    Err(SourceError(format!("{}: {why}", cursor.name())))
}

/// Bytes as text where they are, else as numbers.
fn shown(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return format!("\"{}\"", String::from_utf8_lossy(bytes));
    }
    let numbers: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    numbers.join(" ")
}

fn cannot(name: &str, error: &std::io::Error) -> SourceError {
    SourceError(match error.kind() {
        ErrorKind::NotFound => format!("{name}: there is no such file"),
        ErrorKind::PermissionDenied => {
            format!("{name}: this user may not read it (permission denied)")
        }
        _ => format!("{name}: cannot be opened: {error}"),
    })
}

fn no_descriptor(name: &str) -> SourceError {
    SourceError(format!(
        "{name}: cannot be opened again: too many open files"
    ))
}
