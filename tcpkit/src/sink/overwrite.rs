//! Creating a file empties it: one that the run reads would be lost.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Refuses to create `path` where that is the file `read`, by whatever name.
///
/// # Errors
/// When it is.
pub fn refuse(path: &Path, read: &Path) -> io::Result<()> {
    let there = |path: &Path| std::fs::metadata(path).ok().filter(Metadata::is_file);
    match (there(path), there(read)) {
        (Some(output), Some(input)) if is_same(&output, &input) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a file that the run reads",
        )),
        _ => Ok(()),
    }
}

/// Whether both are of one file.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
