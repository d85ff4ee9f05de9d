//! Creating a file empties it: one that the run reads would be lost.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Refuses to create `path` where that is one of the files `read`, by whatever name.
///
/// # Errors
/// When it is.
pub fn refuse(path: &Path, read: &[PathBuf]) -> io::Result<()> {
    let there = |path: &Path| std::fs::metadata(path).ok().filter(Metadata::is_file);
    let Some(output) = there(path) else {
        return Ok(());
    };
    let mut inputs = read.iter().filter_map(|input| there(input));
    if inputs.any(|input| is_same(&output, &input)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a file that the run reads",
        ));
    }
    Ok(())
}

/// Whether both are of one file.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
