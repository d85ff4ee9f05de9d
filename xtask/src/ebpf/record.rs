//! What the committed object was built from and with: lines of a name and a value.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

use super::toolchain::Toolchain;
use crate::shell;

/// A record of one build.
pub struct Record {
    /// Digest of the sources, the lock file and the flags.
    pub sources: String,
    /// The compiler's version and that of its LLVM.
    pub compiler: String,
    /// The linker's version.
    pub linker: String,
    /// Digest of the object.
    pub object: String,
}

impl Record {
    /// Of an object that was just built.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn new(toolchain: &Toolchain, object: &[u8]) -> Result<Self> {
        Ok(Self {
            sources: sources()?,
            compiler: toolchain.version.clone(),
            linker: toolchain.linker_version.clone(),
            object: digest(object),
        })
    }

    /// As it was written.
    ///
    /// # Errors
    /// When there is none, or a line is missing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        let line = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            let found = lines.find(|(key, _)| *key == name);
            found
                .map(|(_, value)| value.to_owned())
                .ok_or_else(|| anyhow!("{}: no line `{name}`", path.display()))
        };
        Ok(Self {
            sources: line("sources")?,
            compiler: line("compiler")?,
            linker: line("linker")?,
            object: line("object")?,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sources: {}", self.sources)?;
        writeln!(f, "compiler: {}", self.compiler)?;
        writeln!(f, "linker: {}", self.linker)?;
        writeln!(f, "object: {}", self.object)
    }
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Digest of everything that the object depends on, but for the compiler.
fn sources() -> Result<String> {
    let mut files = Vec::new();
    for folder in ["tcpkit-ebpf", "tcpkit-common"] {
        find(&shell::root().join(folder), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file
            .strip_prefix(shell::root())?
            .to_string_lossy()
            .into_owned();
        let bytes = std::fs::read(&file)?;
        hash.update(format!("{name} {}\n", bytes.len()));
        hash.update(bytes);
    }
    for flag in Toolchain::FLAGS {
        hash.update(flag);
    }
    Ok(hex(&hash.finalize()))
}

/// Sources, manifests and lock files below a folder.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            find(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|kind| ["rs", "toml", "lock"].iter().any(|known| kind == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
