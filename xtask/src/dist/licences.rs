//! The licences of all that is linked into the static binary: what has to be handed on with it.
//!
//! Reads the sources that it was built from, makes one text: each licence once, with those that are under it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::libpcap::Libpcap;
use crate::shell;

/// Licences of C sources inside crates.
const INSIDE: &[(&str, &str)] = &[
    ("luajit-src", "luajit2/COPYRIGHT"),
    ("zstd-sys", "zstd/LICENSE"),
];

/// The C library's own, which it is delivered with: the copyright file names the LGPL, which stands behind it.
const GLIBC: [&str; 2] = [
    "/usr/share/doc/libc6/copyright",
    "/usr/share/common-licenses/LGPL-2.1",
];

const HEAD: &str = "\
tcpkit is under MIT or Apache-2.0, at your choice. Linked into this binary are the works below, each under the terms
that follow it. The GNU C library is under the LGPL 2.1 or later: tcpkit's sources, and `cargo xtask dist` in them, which
links the binary with the C library of the machine that it runs on, are what its section 6 asks for. Parts of GCC's
libgcc are under the GPL 3 with the GCC Runtime Library Exception 3.1, which asks for nothing here. The programs for the
kernel that are embedded are tcpkit's own.
";

/// All of them as one text.
///
/// # Errors
/// When the crates cannot be listed, or a licence that must be there is not.
pub fn text(libpcap: &Libpcap, target: &str) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for krate in crates(target)? {
        for text in krate.texts()? {
            texts.entry(text).or_default().push(krate.title());
        }
    }
    let title = format!("libpcap {}", libpcap.version);
    texts.insert(libpcap.licence.trim().to_owned(), vec![title]);
    for file in GLIBC {
        let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
        texts.insert(text.trim().to_owned(), vec!["the GNU C library".to_owned()]);
    }
    let mut all = HEAD.to_owned();
    let mut by_title: Vec<_> = texts.into_iter().map(|(text, of)| (of, text)).collect();
    by_title.sort();
    for (of, text) in by_title {
        let rule = "=".repeat(80);
        let _ = write!(all, "\n{rule}\n{}\n{rule}\n{text}\n", of.join("\n"));
    }
    Ok(all)
}

/// Where cargo keeps what it has fetched.
pub fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// A crate that is linked.
struct Crate {
    name: String,
    version: String,
    licence: String,
    folder: PathBuf,
}

impl Crate {
    fn title(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.licence)
    }

    /// Its licences' texts; one that has no file is listed by the name of its licence.
    fn texts(&self) -> Result<Vec<String>> {
        let mut files = licence_files(&self.folder)?;
        for (_, inside) in INSIDE.iter().filter(|(name, _)| *name == self.name) {
            files.push(self.folder.join(inside));
        }
        let mut texts = Vec::new();
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("{}", file.display()))?;
            texts.push(String::from_utf8_lossy(&bytes).trim().to_owned());
        }
        if texts.is_empty() {
            texts.push(format!("No text of its own: {}", self.licence));
        }
        Ok(texts)
    }
}

/// Files of a crate's folder that are named as licences are.
fn licence_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_uppercase();
        let starts = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
        if path.is_file() && starts.iter().any(|start| name.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The crates of others that are linked, by name.
fn crates(target: &str) -> Result<Vec<Crate>> {
    let linked = linked(target)?;
    let args = ["metadata", "--locked", "--format-version", "1"];
    let metadata: Value = serde_json::from_slice(&shell::output(&mut shell::cargo(&args))?)?;
    let packages = metadata["packages"].as_array();
    let mut crates: Vec<Crate> = packages.into_iter().flatten().filter_map(krate).collect();
    crates.retain(|krate| linked.contains(&format!("{} v{}", krate.name, krate.version)));
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    for (name, _) in INSIDE {
        if !crates.iter().any(|krate| krate.name == *name) {
            bail!("{name} is linked no longer: its place in the licences is out of date");
        }
    }
    Ok(crates)
}

/// What cargo says of a package; `None` for the project's own.
fn krate(package: &Value) -> Option<Crate> {
    package["source"].as_str()?;
    let text = |field: &str| package[field].as_str().map(str::to_owned);
    Some(Crate {
        name: text("name")?,
        version: text("version")?,
        licence: text("license").unwrap_or_else(|| "see its licence".to_owned()),
        folder: Path::new(package["manifest_path"].as_str()?)
            .parent()?
            .to_path_buf(),
    })
}

/// `name vVERSION` of each crate in the program.
fn linked(target: &str) -> Result<Vec<String>> {
    let mut linked = tree(target, &["--package", "tcpkit", "--edges", "normal"])?;
    // LuaJIT's source is no dependency of the program, but of what builds it.
    let builds = tree(target, &["--package", "tcpkit", "--edges", "normal,build"])?;
    let sources = |line: &String| line.starts_with("luajit-src ");
    linked.extend(builds.into_iter().filter(sources));
    Ok(linked)
}

/// The first two words of each line of `cargo tree`.
fn tree(target: &str, which: &[&str]) -> Result<Vec<String>> {
    let mut tree = shell::cargo(&["tree", "--locked", "--prefix", "none", "--target", target]);
    let text = shell::text(tree.args(["--format", "{p}"]).args(which))?;
    let words = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    Ok(words.collect())
}
