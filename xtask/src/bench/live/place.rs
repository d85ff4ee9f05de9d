//! Two network namespaces with redis-server in one of them, and redis-benchmark from the other.

use std::process::Command;

use anyhow::{Context, Result};

use super::process::{Spent, cpu, softirqs};
use crate::bench::time::sample_output;
use crate::record::scratch;
use crate::record::server::Server;
use crate::shell;

/// Where redis-server is watched, inside its namespace.
pub const INTERFACE: &str = "tax0";
/// Its port.
pub const PORT: u16 = 6477;

const ADDRESS: &str = "10.77.0.1";

/// The CPU of the server, and that of client and monitor.
const SERVER_CPU: &str = "1";
/// The CPU of client and monitor.
pub const CLIENT_CPU: &str = "0";

/// A namespace of our own; gone with its owner.
pub struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Result<Self> {
        let name = format!("tcpkit-bench-{}-{name}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self(name);
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        ip(&[&["-n", self.0.as_str()], args].concat())
    }

    /// The program inside, on one CPU. It becomes that program at once.
    pub fn command(&self, cpu: &str, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.0, "taskset", "-c", cpu]);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    shell::output(Command::new("ip").args(args)).map(drop)
}

/// redis-server on [`INTERFACE`], and where its client is. Fields are dropped in order: the server goes first.
pub struct Place {
    /// The server.
    pub redis: Redis,
    /// The server's namespace.
    pub namespace: Namespace,
    client: Namespace,
}

impl Place {
    /// Makes both namespaces and starts the server.
    ///
    /// # Errors
    /// When that cannot be: root is needed.
    pub fn new() -> Result<Self> {
        let (namespace, client) = (Namespace::new("server")?, Namespace::new("client")?);
        namespace.ip(&[
            "link", "add", INTERFACE, "type", "veth", "peer", "name", "tax1", "netns", &client.0,
        ])?;
        for (place, name, address) in [
            (&namespace, INTERFACE, "10.77.0.1/24"),
            (&client, "tax1", "10.77.0.2/24"),
        ] {
            place.ip(&["addr", "add", address, "dev", name])?;
            place.ip(&["link", "set", name, "up"])?;
        }
        let redis = Redis::start(&namespace)?;
        Ok(Self {
            redis,
            namespace,
            client,
        })
    }

    /// One run of redis-benchmark: a `scale`th of so many requests, so many at a time.
    ///
    /// # Errors
    /// When it fails or says something else.
    pub fn bench(
        &self,
        monitor: Option<u32>,
        (depth, requests): (u32, u64),
        scale: u64,
    ) -> Result<Spent> {
        let requests = requests / scale;
        let (depth, count, port) = (depth.to_string(), requests.to_string(), PORT.to_string());
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.args([
            "-h", ADDRESS, "-p", &port, "-t", "set", "-d", "100", "-c", "50",
        ]);
        benchmark.args(["-n", &count, "-P", &depth, "--csv"]);
        let beside = || cpu(self.redis.pid()) + softirqs() + monitor.map_or(0.0, cpu);
        let before = beside();
        let (said, client) = sample_output(&mut self.client.command(CLIENT_CPU, &benchmark))?;
        let used = beside() - before + client.cpu.as_secs_f64();
        Ok(Spent {
            cpu: used / requests as f64,
            speed: speed(&said).with_context(|| said.clone())?,
        })
    }
}

/// Requests a second, the second column of the last line.
fn speed(said: &str) -> Option<f64> {
    let (_, rest) = said.trim().lines().last()?.split_once(',')?;
    rest.split(',').next()?.trim_matches('"').parse().ok()
}

/// redis-server, asked over a Unix socket that no monitor sees.
pub struct Redis {
    server: Server,
    socket: String,
}

impl Redis {
    fn start(namespace: &Namespace) -> Result<Self> {
        let folder = scratch("tax")?;
        let socket = folder.join("socket").to_string_lossy().into_owned();
        let port = PORT.to_string();
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port, "--bind", ADDRESS, "--protected-mode", "no"]);
        redis.args(["--save", "", "--unixsocket", &socket]);
        let ready = || ask(&socket, &["PING"]).is_ok_and(|said| said == "PONG");
        let server = Server::start(&mut namespace.command(SERVER_CPU, &redis), &folder, ready)?;
        Ok(Self { server, socket })
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Sets the counters to nothing.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn forget(&self) -> Result<()> {
        ask(&self.socket, &["CONFIG", "RESETSTAT"]).map(drop)
    }

    /// Calls of SET, as the server counted.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn calls(&self) -> Result<u64> {
        let info = ask(&self.socket, &["INFO", "commandstats"])?;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_set:calls="));
        let calls = line.and_then(|rest| rest.split(',').next());
        Ok(calls.context("no calls of SET")?.parse()?)
    }
}

fn ask(socket: &str, words: &[&str]) -> Result<String> {
    shell::text(Command::new("redis-cli").args(["-s", socket]).args(words))
}
