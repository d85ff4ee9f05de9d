//! A memcached of our own, with a second port for its counters, out of sight of the capture.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

use crate::record::server::Server;
use crate::record::truth::{Counts, Truth};
use crate::record::{Folder, capture, scratch};
use crate::shell;

/// Where it listens, TCP and UDP.
pub const PORT: u16 = 11290;

const ADMIN: &str = "127.0.0.1:11291";

/// A running memcached.
pub struct Memcached {
    _server: Server,
    version: String,
}

impl Memcached {
    /// Starts one that is empty.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> Result<Self> {
        let folder = scratch("memcached")?;
        let mut command = shell::program("memcached");
        let (listen, port) = (format!("127.0.0.1:{PORT},{ADMIN}"), PORT.to_string());
        // It refuses to run as root without being told a user.
        command.args([
            "-u", "root", "-l", &listen, "-p", &port, "-U", &port, "-t", "1",
        ]);
        let server = Server::start(&mut command, &folder, || stats().is_ok())?;
        let version = shell::text(shell::program("memcached").arg("--version"))?;
        Ok(Self {
            _server: server,
            version,
        })
    }

    /// Its version, for a README.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// Records one case: `traffic` between two looks at the server's counters.
///
/// # Errors
/// When recording fails.
pub fn record(folder: &Folder, traffic: impl FnOnce(&mut Truth) -> Result<()>) -> Result<Truth> {
    let mut truth = Truth::new("memcached");
    let before = stats()?;
    capture::around(&folder.input(), &format!("port {PORT}"), || {
        traffic(&mut truth)
    })?;
    for (name, count) in stats()? {
        let more = count - before.get(&name).copied().unwrap_or(0);
        if more > 0 && COUNTERS.contains(&name.as_str()) {
            truth.server.insert(name, more);
        }
    }
    folder.args(&format!("-p {PORT}=memcached"))?;
    Ok(truth)
}

/// Counters that say what clients asked.
const COUNTERS: &[&str] = &[
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "delete_hits",
    "delete_misses",
    "incr_hits",
    "incr_misses",
    "decr_hits",
    "decr_misses",
    "cas_hits",
    "cas_misses",
    "cas_badval",
    "touch_hits",
    "touch_misses",
];

/// Refuses a recording where a sum of the server's counters is not what the client knows.
///
/// # Errors
/// When they disagree.
pub fn agree(truth: &Truth, counters: &[&str], known: u64) -> Result<()> {
    let server: u64 = counters
        .iter()
        .filter_map(|name| truth.server.get(*name))
        .sum();
    if server != known {
        bail!(
            "{counters:?} of the server are {server}, the client knows {known}: {:?}",
            truth.server
        );
    }
    Ok(())
}

fn stats() -> Result<Counts> {
    let mut stream = TcpStream::connect(ADMIN)?;
    stream.write_all(b"stats\r\n")?;
    let mut counts = Counts::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line == "END" {
            return Ok(counts);
        }
        let mut words = line.split(' ').skip(1);
        let name = words.next().context("a line without a name")?;
        if let Some(Ok(count)) = words.next().map(str::parse) {
            counts.insert(name.to_owned(), count);
        }
    }
    bail!("the counters end early")
}
