//! `demo/redis.pcap`: the capture that README runs tcpkit on.

use std::time::Duration;

use anyhow::Result;

use super::redis::Redis;
use super::resp::{Client, command};
use super::{capture, today};
use crate::shell;

/// The well-known port, so that no option has to name it.
const PORT: u16 = 6379;

/// Records it: a web shop's sessions, among them requests that are slow for different reasons.
pub fn record() -> Result<()> {
    let folder = shell::root().join("demo");
    std::fs::create_dir_all(&folder)?;
    let redis = Redis::start("demo", PORT)?;
    let mut admin = redis.admin()?;
    admin.ask(&["DEBUG", "POPULATE", "200000", "session"])?;
    let file = folder.join("redis.pcap");
    capture::around(&file, &format!("tcp port {PORT}"), traffic)?;
    let text = format!(
        "redis.pcap: a few commands recorded from a real {} on loopback, {}, with\n\
        `cargo xtask record demo`. Slow are a script that counts, KEYS over 200,000 keys, DEBUG SLEEP, and\n\
        what had to wait behind them.\n",
        redis.version(),
        today()?
    );
    std::fs::write(folder.join("README"), text)?;
    Ok(())
}

fn traffic() -> Result<()> {
    let address = format!("127.0.0.1:{PORT}");
    let mut shop = Client::tcp(&address)?;
    for line in BEFORE {
        shop.ask(&line.split(' ').collect::<Vec<_>>())?;
    }
    shop.ask(&[
        "EVAL",
        "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + i end return n",
        "0",
        "1000000",
    ])?;
    let mut report = Client::tcp(&address)?;
    report.ask(&["KEYS", "session:19999*"])?;
    // One slow command on its own connection, and others that wait for it.
    report.send(&command(&["DEBUG", "SLEEP", "0.05"]))?;
    std::thread::sleep(Duration::from_millis(10));
    shop.send(&[command(&["GET", "user:1000"]), command(&["INCR", "visits"])].concat())?;
    report.reply()?;
    shop.reply()?;
    shop.reply()?;
    for line in AFTER {
        shop.ask(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

const BEFORE: &[&str] = &[
    "SET user:1000 Ada",
    "GET user:1000",
    "HSET cart:1000 apple 3 pear 1",
    "HGETALL cart:1000",
    "INCR visits",
    "LPUSH cart:1000 oops",
];

const AFTER: &[&str] = &[
    "ZADD ranking 12.5 ada 99 grace",
    "ZRANGE ranking 0 -1 WITHSCORES",
    "DEL cart:1000",
];
