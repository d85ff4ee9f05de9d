//! redis' own tools: redis-cli and redis-benchmark. The truth is what the server counted.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::server::{PORT, Redis, record};
use crate::record::Folder;
use crate::shell;

pub fn redis_cli(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", PORT)?;
    let mut truth = record(folder, &redis, |_| {
        from_input()?;
        for line in SINGLE {
            let words = line.split(' ');
            shell::output(cli().arg("-3").args(words))?;
        }
        Ok(())
    })?;
    truth.exchanges = truth.server.clone();
    folder.truth(&truth)?;
    let what = "redis-cli: commands from its standard input on one connection, before which it asks for COMMAND \
        DOCS, and single ones with RESP3, a connection each.";
    folder.readme(&redis.version(), what)
}

fn cli() -> Command {
    let mut command = shell::program("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &PORT.to_string()]);
    command
}

fn from_input() -> Result<()> {
    let mut child = cli()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("redis-cli")?;
    let mut stdin = child.stdin.take().context("redis-cli takes no input")?;
    stdin.write_all(LINES.as_bytes())?;
    drop(stdin);
    child.wait()?;
    Ok(())
}

const SINGLE: &[&str] = &[
    "PING",
    "HGETALL user:1001",
    "SMEMBERS tags",
    "ZRANGE board 0 -1 WITHSCORES",
];

const LINES: &str = "SET user:1000 'Ada Lovelace'\nGET user:1000\nHSET user:1001 name Grace rank admiral\n\
    HGETALL user:1001\nLPUSH queue a b c\nLRANGE queue 0 -1\nSADD tags x y\nSMEMBERS tags\nINCR user:1000\n\
    ZADD board 10 ada 20 grace\nZREVRANGE board 0 -1 WITHSCORES\nEXPIRE user:1000 60\nDEL queue\n";

pub fn unpipelined(folder: &Folder) -> Result<()> {
    benchmark(folder, 1, 350)
}

pub fn pipelined_16(folder: &Folder) -> Result<()> {
    benchmark(folder, 16, 1600)
}

pub fn pipelined_64(folder: &Folder) -> Result<()> {
    benchmark(folder, 64, 1600)
}

/// `count` commands of each of three kinds, `depth` of them sent at a time.
fn benchmark(folder: &Folder, depth: u32, count: u32) -> Result<()> {
    let redis = Redis::start("redis", PORT)?;
    let (port, depth, count) = (PORT.to_string(), depth.to_string(), count.to_string());
    let args = [
        "-p",
        &port,
        "-P",
        &depth,
        "-n",
        &count,
        "-c",
        "5",
        "-r",
        "1000",
        "-t",
        "set,get,incr",
        "-q",
    ];
    let mut truth = record(folder, &redis, |_| {
        shell::output(
            shell::program("redis-benchmark")
                .args(["-h", "127.0.0.1"])
                .args(args),
        )?;
        Ok(())
    })?;
    truth.exchanges = truth.server.clone();
    folder.truth(&truth)?;
    folder.text_args("-q")?;
    let what = format!("redis-benchmark {}", args.join(" "));
    folder.readme(&redis.version(), &what)
}
