//! Where the report goes: standard output, or a file that is opened anew when it was moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::notice::tell;
use crate::source::shown;

/// The report's destination; clones write to the same place.
#[derive(Clone, Debug)]
pub struct Report {
    file: Option<Arc<Kept>>,
    /// Standard output is taken by something else.
    aside: bool,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: std::sync::Mutex<File>,
    moved: AtomicBool,
}

impl Report {
    /// A report to this file, which is emptied, or to standard output; `aside` says that saved frames
    /// go there, and the report to standard error.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(path: Option<&Path>, aside: bool) -> io::Result<Self> {
        let file = path
            .map(|path| {
                let file = std::sync::Mutex::new(File::create(path)?);
                let path = path.to_owned();
                Ok::<_, io::Error>(Arc::new(Kept {
                    path,
                    file,
                    moved: AtomicBool::new(false),
                }))
            })
            .transpose()?;
        Ok(Self { file, aside })
    }

    /// Whether it is standard output.
    #[cfg(feature = "lua")]
    pub fn is_stdout(&self) -> bool {
        self.file.is_none() && !self.aside
    }

    /// The file was moved away: the next write makes a new one of its name. Where that cannot be, the old one goes on.
    pub fn reopen(&self) {
        if let Some(kept) = &self.file {
            kept.moved.store(true, Ordering::Relaxed);
        }
    }
}

impl Kept {
    fn open_anew(&self, file: &mut File) {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path);
        match opened {
            Ok(opened) => *file = opened,
            Err(error) => {
                let path = shown::path(&self.path);
                tell(&format!(
                    "--output {path} is not opened anew, the old file goes on: {error}"
                ));
            }
        }
    }
}

impl Write for Report {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|error| self.named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.file.is_none() && !self.aside {
            return io::stdout().flush().map_err(|error| self.named(&error));
        }
        Ok(())
    }
}

impl Report {
    /// Keeps the kind: a closed pipe ends the run quietly.
    fn named(&self, error: &io::Error) -> io::Error {
        let name = match (&self.file, self.aside) {
            (Some(kept), _) => shown::path(&kept.path),
            (None, true) => "standard error".to_owned(),
            (None, false) => "standard output".to_owned(),
        };
        io::Error::new(
            error.kind(),
            format!("{name}: the report cannot be written: {error}"),
        )
    }

    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(kept) = &self.file else {
            return match self.aside {
                true => io::stderr().write(bytes),
                false => io::stdout().write(bytes),
            };
        };
        let mut file = kept
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.moved.swap(false, Ordering::Relaxed) {
            kept.open_anew(&mut file);
        }
        file.write(bytes)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_anew_goes_on() {
        let base = std::env::temp_dir().join(format!("tcpkit-report-{}", std::process::id()));
        let (folder, moved) = (base.join("logs"), base.join("moved"));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report");
        let mut report = Report::new(Some(&path), false).unwrap();
        report.write_all(b"one\n").unwrap();
        fs::rename(&folder, &moved).unwrap();
        report.reopen();
        report.write_all(b"two\n").unwrap();
        let old = || fs::read_to_string(moved.join("report")).unwrap();
        assert_eq!(old(), "one\ntwo\n");
        fs::create_dir(&folder).unwrap();
        report.reopen();
        report.write_all(b"three\n").unwrap();
        assert_eq!(old(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(base).unwrap();
    }
}
