//! Debian's packages from releases that this machine does not use: lists of their own, beside the system's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Lists of packages in a folder of their own.
pub struct Archive {
    folder: PathBuf,
    options: [String; 6],
}

impl Archive {
    /// Fetches the lists of `sources`, a file as sources.list(5) describes it in deb822 style.
    ///
    /// # Errors
    /// When the folder cannot be written, or apt fails.
    pub fn fetch(folder: &Path, sources: &str) -> Result<Self> {
        let parts = folder.join("apt/parts");
        fs::create_dir_all(folder.join("apt/lists/partial"))?;
        fs::create_dir_all(&parts)?;
        fs::write(parts.join("tcpkit.sources"), sources)?;
        let lists = folder.join("apt/lists");
        let archive = Self {
            folder: folder.to_path_buf(),
            options: [
                "-oDir::Etc::sourcelist=/dev/null".to_owned(),
                format!("-oDir::Etc::sourceparts={}", parts.display()),
                format!("-oDir::State::lists={}", lists.display()),
                // The folder need not be open to apt's own user.
                "-oAPT::Sandbox::User=root".to_owned(),
                // What is said about packages in other languages, and their pictures, is half of what there is.
                "-oAcquire::Languages=none".to_owned(),
                "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            ],
        };
        shell::run(archive.command("apt-get").arg("update"))?;
        Ok(archive)
    }

    /// One of apt's programs, with these lists, in the folder.
    pub fn command(&self, program: &str) -> Command {
        let mut command = shell::program(program);
        command.args(&self.options).current_dir(&self.folder);
        command
    }
}
