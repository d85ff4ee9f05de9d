//! What the tests of the built program share: running it, and reading what it says.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

pub mod cases;
pub mod client;
pub mod pcap;
pub mod process;
pub mod scratch;
pub mod served;
pub mod window;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long something may take that is only waited for: an emulated processor on a busy machine takes its time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether something becomes true within [`PATIENCE`]; looks every now and then.
pub fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Waits for something to become true.
pub fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    assert!(comes_true(is_so), "{what}");
}

/// The program under test: the one just built, or the one that `TCPKIT_PROGRAM` names.
pub fn program() -> PathBuf {
    let named = std::env::var_os("TCPKIT_PROGRAM");
    named.map_or_else(|| env!("CARGO_BIN_EXE_tcpkit").into(), PathBuf::from)
}

/// The Python of the environment that `cargo xtask test` makes.
pub fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python/bin/python")
}

/// The program, in a time zone that does not depend on the machine.
pub fn tcpkit() -> Command {
    let mut command = Command::new(program());
    command.env("TZ", "UTC").env_remove("RUST_LOG");
    command
}

/// What a run said.
pub struct Report {
    /// An object an exchange, as `docs/json-lines.md` describes it.
    pub exchanges: Vec<Value>,
    /// An object a request without an answer.
    pub unanswered: Vec<Value>,
    /// The last object.
    pub summary: Value,
}

impl Report {
    /// Runs tcpkit on a file, JSON asked for, blocking commands included.
    ///
    /// # Panics
    /// When it fails, or says what is no JSON.
    pub fn of(file: &Path, args: &[String]) -> Self {
        let mut command = tcpkit();
        // Arguments name scripts from the case's folder.
        command.current_dir(file.parent().unwrap());
        command.arg("-r").arg(file).args(args);
        command.args(["--format", "json", "--include-blocking"]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {}\n{said}",
            file.display(),
            output.status
        );
        let text = String::from_utf8(output.stdout).unwrap();
        Self::parse(&text).unwrap_or_else(|error| panic!("{}: {error}\n{said}", file.display()))
    }

    /// Sorts the objects of a report by type.
    ///
    /// # Errors
    /// When a line is no JSON or there is no summary.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut exchanges, mut unanswered, mut summary) = (Vec::new(), Vec::new(), None);
        for line in text.lines() {
            let object: Value =
                serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
            match object["type"].as_str() {
                Some("exchange") => exchanges.push(object),
                Some("unanswered") => unanswered.push(object),
                Some("summary") => summary = Some(object),
                _ => {}
            }
        }
        let summary = summary.ok_or("no summary")?;
        Ok(Self {
            exchanges,
            unanswered,
            summary,
        })
    }
}

/// Exchanges of a protocol that state a latency.
pub fn paired<'a>(exchanges: &'a [Value], protocol: &'a str) -> impl Iterator<Item = &'a Value> {
    exchanges.iter().filter(move |exchange| {
        exchange["protocol"] == protocol && exchange["confidence"] != "ambiguous"
    })
}

/// A frame's number in an exchange; 0 where there is none.
pub fn frame(exchange: &Value, name: &str) -> u64 {
    exchange["frames"][name].as_u64().unwrap_or(0)
}

/// Says something even though the test passes and its output is captured.
pub fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
