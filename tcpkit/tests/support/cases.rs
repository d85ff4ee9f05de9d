//! The golden cases: folders with a recording, arguments, expected output and the truth.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Report;

/// One case.
pub struct Case {
    /// Its folder's name.
    pub name: String,
    folder: PathBuf,
}

impl Case {
    /// Every case, by name.
    pub fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut cases: Vec<Self> = entries
            .map(|entry| Self::new(entry.unwrap().path()))
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// The case of this name.
    pub fn named(name: &str) -> Self {
        Self::new(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/cases")
                .join(name),
        )
    }

    fn new(folder: PathBuf) -> Self {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Self { name, folder }
    }

    /// A file of its folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The recording.
    pub fn input(&self) -> PathBuf {
        self.path("input.pcap")
    }

    /// A file of its folder as text; empty where there is none.
    pub fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// What tcpkit is called with.
    pub fn args(&self) -> Vec<String> {
        words(&self.text("args"))
    }

    /// More arguments for the expected text.
    pub fn text_args(&self) -> Vec<String> {
        words(&self.text("args.text"))
    }

    /// What client and server knew.
    pub fn truth(&self) -> Value {
        serde_json::from_str(&self.text("truth.json")).unwrap()
    }

    /// What tcpkit finds in the recording.
    pub fn report(&self) -> Report {
        Report::of(&self.input(), &self.args())
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
