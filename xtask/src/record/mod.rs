//! `cargo xtask record`: records the golden cases from real servers on loopback.
//!
//! A case is a folder of `tcpkit/tests/cases`: `input.pcap`, `args` (what tcpkit is called with),
//! `truth.json` (what client and server knew, see [`truth`]) and `README` (where it is from). The
//! expected output is written by `cargo xtask bless`. Needs the servers, tcpdump and the right to
//! capture; takes ports of its own and ends only what it started.

pub mod capture;
mod demo;
mod dns;
mod http;
mod loss;
mod memcached;
mod pcap;
pub mod redis;
mod resp;
pub mod server;
mod taught;
mod truth;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{packages, shell};
use truth::Truth;

/// What to record.
#[derive(clap::Args)]
pub struct Options {
    /// Names of cases, or beginnings of names; all without any
    names: Vec<String>,
}

/// One case: its name and who records it.
pub struct Case {
    name: &'static str,
    record: fn(&Folder) -> Result<()>,
}

const CASES: &[&[Case]] = &[
    redis::CASES,
    memcached::CASES,
    http::CASES,
    dns::CASES,
    loss::CASES,
    taught::CASES,
];

/// Records the chosen cases.
///
/// # Errors
/// When a server or tcpdump fails, frames were lost, or client and server disagree.
pub fn main(options: &Options) -> Result<()> {
    packages::install(packages::TEST)?;
    let wanted = |name: &str| {
        options.names.is_empty() || options.names.iter().any(|start| name.starts_with(start))
    };
    let mut recorded = 0;
    for case in CASES
        .iter()
        .copied()
        .flatten()
        .filter(|case| wanted(case.name))
    {
        eprintln!("recording {}", case.name);
        let folder = Folder::new(case.name)?;
        (case.record)(&folder).with_context(|| format!("case {}", case.name))?;
        recorded += 1;
    }
    if wanted("demo") {
        demo::record()?;
        recorded += 1;
    }
    if recorded == 0 {
        bail!("no case is called so");
    }
    Ok(())
}

/// A case's folder.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = shell::root().join("tcpkit/tests/cases").join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Where the frames go.
    pub fn input(&self) -> PathBuf {
        self.path.join("input.pcap")
    }

    /// A neighbouring case's frames.
    pub fn neighbour(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name).join("input.pcap")
    }

    /// What tcpkit is called with.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn args(&self, args: &str) -> Result<()> {
        self.write("args", args)
    }

    /// More arguments for the text that `expected.txt` holds, where a line an exchange is too much.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text_args(&self, args: &str) -> Result<()> {
        self.write("args.text", args)
    }

    /// What client and server knew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn truth(&self, truth: &Truth) -> Result<()> {
        self.write(
            "truth.json",
            &serde_json::to_string_pretty(&truth.to_json())?,
        )
    }

    /// Where it is from: a few lines on what was done, with which server.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn readme(&self, server: &str, what: &str) -> Result<()> {
        let words: Vec<&str> = what.split_whitespace().collect();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let date = today()?;
        let text = format!(
            "{}\n\nServer: {server}\nRecorded: {date}, `cargo xtask record {name}`, tcpdump on loopback\n",
            wrapped(&words, 100)
        );
        self.write("README", &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        std::fs::write(&path, format!("{}\n", text.trim_end()))
            .with_context(|| format!("{}", path.display()))
    }
}

/// A folder for what a recording leaves behind, emptied first.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = shell::target().join("record").join(name);
    remove(&path)?;
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Today in UTC as `2026-11-22`.
pub fn today() -> Result<String> {
    shell::text(&mut shell::command("date", &["-u", "+%Y-%m-%d"]))
}

fn wrapped(words: &[&str], width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words {
        let gap = usize::from(column > 0);
        if column > 0 && column + gap + word.len() > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text
}
