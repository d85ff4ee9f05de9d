//! The file that is being written: buffered, counted, its errors named after it.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::sink::overwrite;
use crate::source::shown;

/// Bytes that are held back to be written at once.
const BUFFER: usize = 256 << 10;

/// An open output file.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
}

impl Output {
    /// Creates a file, or takes standard output for `-`. Never touches `inputs`.
    pub fn create(path: &Path, inputs: &[PathBuf]) -> io::Result<Self> {
        let opened = match path == Path::new("-") {
            true => standard_output(),
            false => overwrite::refuse(path, inputs).and_then(|()| File::create(path)),
        };
        let file = opened.map_err(|error| named(path, error.kind(), &error))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(Self {
            path: path.to_owned(),
            file,
            written: 0,
        })
    }

    /// Bytes written since it was created, those held back included.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        let result = self.file.write_all(bytes);
        result.map_err(|error| named(&self.path, error.kind(), &error))
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        result.map_err(|error| named(&self.path, error.kind(), &error))
    }

    /// Whether the path still leads to this file. Standard output and devices always do.
    pub fn still_stands(&self) -> bool {
        let Ok(own) = self.file.get_ref().metadata() else {
            return true;
        };
        if !own.is_file() || self.path == Path::new("-") {
            return true;
        }
        std::fs::metadata(&self.path).is_ok_and(|there| overwrite::is_same(&own, &there))
    }

    /// An error about this file.
    pub fn error(&self, kind: io::ErrorKind, why: &str) -> io::Error {
        named(&self.path, kind, why)
    }
}

/// Standard output without the standard library's buffer, which writes at every newline byte.
fn standard_output() -> io::Result<File> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        let why = "standard output is a terminal: frames need a pipe or a file";
        return Err(io::Error::other(why));
    }
    Ok(File::from(stdout.as_fd().try_clone_to_owned()?))
}

/// Keeps the kind: a closed pipe ends the run quietly.
fn named(path: &Path, kind: io::ErrorKind, why: impl std::fmt::Display) -> io::Error {
    let name = if path == Path::new("-") {
        "standard output".into()
    } else {
        shown::path(path)
    };
    io::Error::new(kind, format!("{name}: cannot be written: {why}"))
}
