//! A redis-server of our own, and a client that keeps a tally of what it asked.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::record::resp::{self, Client, Reply};
use crate::record::server::Server;
use crate::record::truth::{Counts, Truth, add};
use crate::record::{Folder, capture, scratch};
use crate::shell;

/// Where it listens.
pub const PORT: u16 = 6390;

/// A running redis-server. It is asked for its counters over a Unix socket, unseen by a capture.
pub struct Redis {
    _server: Server,
    socket: PathBuf,
    version: String,
}

impl Redis {
    /// Starts one with an empty database.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(name: &str, port: u16) -> Result<Self> {
        let folder = scratch(name)?;
        let socket = folder.join("socket");
        let port = port.to_string();
        let socket_name = socket.to_string_lossy();
        let mut command = shell::program("redis-server");
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "::1",
            "--unixsocket",
            &socket_name,
        ]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--enable-debug-command", "yes"]);
        let ready = || {
            Client::unix(&socket)
                .and_then(|mut client| client.ask(&["PING"]))
                .is_ok()
        };
        let server = Server::start(&mut command, &folder, ready)?;
        let version = shell::text(shell::program("redis-server").arg("--version"))?;
        let version = version.split(' ').nth(2).unwrap_or(&version).to_owned();
        Ok(Self {
            _server: server,
            socket,
            version,
        })
    }

    /// Its version, for a README.
    pub fn version(&self) -> String {
        format!("redis-server {}", self.version.trim_start_matches("v="))
    }

    /// A connection out of sight of a capture.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn admin(&self) -> Result<Client> {
        Client::unix(&self.socket)
    }

    /// Calls by command since [`Redis::forget`], rejected ones included, as the server counted.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn calls(&self, admin: &mut Client) -> Result<Counts> {
        let info = admin.ask(&["INFO", "commandstats"])?.text();
        let mut calls = Counts::new();
        for line in info.lines() {
            let Some((name, fields)) = line
                .strip_prefix("cmdstat_")
                .and_then(|l| l.split_once(':'))
            else {
                continue;
            };
            // `config|get` is a call of CONFIG: on the wire, the first word is the command.
            let command = name.split('|').next().unwrap_or(name).to_uppercase();
            let count = field(fields, "calls") + field(fields, "rejected_calls");
            if count > 0 {
                *calls.entry(command).or_default() += count;
            }
        }
        // The reset counts itself.
        let reset = calls
            .get_mut("CONFIG")
            .context("the counters were never reset")?;
        *reset -= 1;
        calls.retain(|_, count| *count > 0);
        Ok(calls)
    }

    /// Sets the counters to nothing.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn forget(&self, admin: &mut Client) -> Result<()> {
        let reply = admin.ask(&["CONFIG", "RESETSTAT"])?;
        if reply.text() != "OK" {
            bail!("{reply:?}");
        }
        Ok(())
    }
}

/// A client over TCP with a tally.
pub struct Session {
    /// The connection.
    pub client: Client,
    tally: Truth,
}

impl Session {
    /// Connects to the recorded port.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn new(host: &str) -> Result<Self> {
        Ok(Self {
            client: Client::tcp(&format!("{host}:{PORT}"))?,
            tally: Truth::new("redis"),
        })
    }

    /// Asks and waits; pushes that come before the reply are counted as such.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        self.client.send(&resp::command(words))?;
        self.answered(words)
    }

    /// Asks with words that one string holds, parted by spaces.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn say(&mut self, line: &str) -> Result<Reply> {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// Waits for the reply to what was sent already.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn answered(&mut self, words: &[&str]) -> Result<Reply> {
        let mut reply = self.client.reply()?;
        while reply.kind == b'>' {
            self.tally.pushed += 1;
            reply = self.client.reply()?;
        }
        self.count(words);
        Ok(reply)
    }

    /// Counts an exchange.
    pub fn count(&mut self, words: &[&str]) {
        add(&mut self.tally.exchanges, &label(words));
    }

    /// Sends what nobody answers.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn tell(&mut self, words: &[&str]) -> Result<()> {
        add(&mut self.tally.silent, &label(words));
        self.client.send(&resp::command(words))
    }

    /// Waits for messages that answer nothing.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn hear(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.client.reply()?;
        }
        self.tally.pushed += count;
        Ok(())
    }

    /// Counts a request that will never be answered.
    pub fn give_up(&mut self) {
        self.tally.unanswered += 1;
    }

    /// Ends the connection; what was counted goes into `truth`.
    pub fn end(self, truth: &mut Truth) {
        for (from, to) in [
            (self.tally.exchanges, &mut truth.exchanges),
            (self.tally.silent, &mut truth.silent),
        ] {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        }
        truth.pushed += self.tally.pushed;
        truth.unanswered += self.tally.unanswered;
    }
}

/// Records one case: `traffic` between resetting and asking the server's counters.
///
/// # Errors
/// When recording fails.
pub fn record(
    folder: &Folder,
    redis: &Redis,
    traffic: impl FnOnce(&mut Truth) -> Result<()>,
) -> Result<Truth> {
    let mut truth = Truth::new("redis");
    let mut admin = redis.admin()?;
    redis.forget(&mut admin)?;
    let filter = format!("tcp port {PORT}");
    capture::around(&folder.input(), &filter, || traffic(&mut truth))?;
    truth.server = redis.calls(&mut admin)?;
    folder.args(&format!("-p {PORT}=redis"))?;
    Ok(truth)
}

/// Refuses a recording where the server counted other commands than the client, but for what the
/// case explains: `differs` is by how much the server counted more.
///
/// # Errors
/// When they disagree.
pub fn agree(truth: &Truth, differs: &[(&str, i64)]) -> Result<()> {
    let mut expected: std::collections::BTreeMap<&str, i64> = truth
        .server
        .iter()
        .map(|(name, count)| (name.as_str(), *count as i64))
        .collect();
    for (name, more) in differs {
        *expected.entry(name).or_default() -= more;
    }
    for (name, count) in truth.exchanges.iter().chain(&truth.silent) {
        *expected.entry(name).or_default() -= *count as i64;
    }
    expected.retain(|_, left| *left != 0);
    if !expected.is_empty() {
        bail!("the server counted more than the client: {expected:?}");
    }
    Ok(())
}

fn label(words: &[&str]) -> String {
    words.first().unwrap_or(&"").to_uppercase()
}

fn field(fields: &str, name: &str) -> u64 {
    let value = fields
        .split(',')
        .find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
