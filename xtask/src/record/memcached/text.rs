//! The text protocol and its meta commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, bail};

use super::server::{Memcached, PORT, agree, record};
use crate::record::Folder;
use crate::record::truth::{Truth, add};

/// A connection that keeps a tally.
struct Session {
    input: BufReader<TcpStream>,
    truth: Truth,
    hits: u64,
    keys: u64,
}

impl Session {
    fn new() -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", PORT))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            input: BufReader::new(stream),
            truth: Truth::default(),
            hits: 0,
            keys: 0,
        })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.input.get_mut().write_all(bytes)?)
    }

    /// Sends a request and waits for its reply.
    fn ask(&mut self, request: &str) -> Result<()> {
        self.send(request.as_bytes())?;
        self.answered(request)
    }

    /// Waits for the reply to a request that was sent, and counts both.
    fn answered(&mut self, request: &str) -> Result<()> {
        let line = request.split("\r\n").next().unwrap_or(request);
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let lines = self.reply(command)?;
        add(&mut self.truth.exchanges, label(command));
        let keys = match command {
            "get" | "gets" => words.count(),
            "gat" | "gats" => words.count() - 1,
            _ => return Ok(()),
        };
        self.keys += keys as u64;
        self.hits += lines
            .iter()
            .filter(|line| line.starts_with("VALUE "))
            .count() as u64;
        Ok(())
    }

    /// Sends a request that is not answered.
    fn tell(&mut self, request: &str) -> Result<()> {
        add(
            &mut self.truth.silent,
            label(request.split(' ').next().unwrap_or(request)),
        );
        self.send(request.as_bytes())
    }

    /// The lines of one reply, without values.
    fn reply(&mut self, command: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let size = match line.split(' ').collect::<Vec<_>>()[..] {
                ["VALUE", _, _, size, ..] | ["VA", size, ..] => Some(size.parse::<usize>()?),
                _ => None,
            };
            if let Some(size) = size {
                self.input.read_exact(&mut vec![0; size + 2])?;
            }
            let more = line.starts_with("VALUE ") || line.starts_with("STAT ");
            lines.push(line);
            if !more || (command.starts_with('m') && size.is_some()) {
                return Ok(lines);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => bail!("memcached closed the connection"),
        }
    }

    fn end(self, truth: &mut Truth) {
        truth.exchanges = self.truth.exchanges;
        truth.silent = self.truth.silent;
        truth.hits = Some((self.hits, self.keys - self.hits));
    }
}

/// Its own name, or `other` for what is no command.
fn label(command: &str) -> &str {
    if command == "nonsense" {
        "other"
    } else {
        command
    }
}

pub fn text(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let truth = record(folder, |truth| {
        let mut session = Session::new()?;
        for request in REQUESTS {
            session.ask(request)?;
        }
        let large = format!("set large 0 0 40000\r\n{}\r\n", "L".repeat(40_000));
        session.ask(&large)?;
        session.ask("get large\r\n")?;
        session.send(format!("get {}\r\n", "k".repeat(251)).as_bytes())?;
        session.answered("get\r\n")?;
        session.end(truth);
        Ok(())
    })?;
    let (hits, misses) = truth.hits.unwrap_or_default();
    // gat is counted as a touch; there is one touch of a key that is there, one of one that is not.
    agree(&truth, &["get_hits", "touch_hits"], hits + 1)?;
    agree(&truth, &["get_misses", "touch_misses"], misses + 1)?;
    let sets: u64 = ["set", "add", "replace", "append", "prepend", "cas"]
        .iter()
        .filter_map(|name| truth.exchanges.get(*name))
        .sum();
    agree(&truth, &["cmd_set"], sets)?;
    folder.truth(&truth)?;
    let what = "The text protocol on one connection: storage commands, reads of one key and of several, cas, \
        arithmetic, touch, delete, stats, flush_all, values with line ends inside, one of 40,000 bytes, and \
        errors: an unknown command, a key too long, arithmetic on text.";
    folder.readme(server.version(), what)
}

const REQUESTS: &[&str] = &[
    "version\r\n",
    "set a 0 0 5\r\nhello\r\n",
    "set b 7 100 12\r\nEND\r\nVALUE x\r\n",
    "get a\r\n",
    "get b\r\n",
    "get missing\r\n",
    "get a b missing c\r\n",
    "gets a b\r\n",
    "add a 0 0 1\r\n1\r\n",
    "add c 0 0 1\r\n1\r\n",
    "replace c 0 0 2\r\n22\r\n",
    "replace missing 0 0 1\r\n1\r\n",
    "append c 0 0 1\r\n3\r\n",
    "prepend c 0 0 1\r\n1\r\n",
    "incr c 10\r\n",
    "decr c 5\r\n",
    "incr missing 1\r\n",
    "incr a 1\r\n",
    "cas a 0 0 1 999999\r\nx\r\n",
    "cas missing 0 0 1 1\r\nx\r\n",
    "touch a 100\r\n",
    "touch missing 100\r\n",
    "gat 100 a\r\n",
    "gats 100 a b missing\r\n",
    "set empty 0 0 0\r\n\r\n",
    "get empty\r\n",
    "nonsense\r\n",
    "delete a\r\n",
    "delete missing\r\n",
    "stats\r\n",
    "stats settings\r\n",
    "verbosity 1\r\n",
    "flush_all\r\n",
    "get b\r\n",
];

pub fn noreply(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let truth = record(folder, |truth| {
        let mut session = Session::new()?;
        session.ask("set a 0 0 1\r\n1\r\n")?;
        session.tell("set a 0 0 1 noreply\r\n2\r\n")?;
        session.ask("get a\r\n")?;
        session.tell("incr a 5 noreply\r\n")?;
        session.tell("append a 0 0 1 noreply\r\n0\r\n")?;
        session.tell("add a 0 0 1 noreply\r\n1\r\n")?;
        session.ask("get a missing\r\n")?;
        session.tell("delete a noreply\r\n")?;
        session.tell("touch b 10 noreply\r\n")?;
        session.ask("get a\r\n")?;
        // All in one segment.
        add(&mut session.truth.silent, "set");
        add(&mut session.truth.silent, "set");
        session.send(
            b"set x 0 0 1 noreply\r\n1\r\nget x\r\nset y 0 0 1 noreply\r\n1\r\nget x y\r\n",
        )?;
        session.answered("get x\r\n")?;
        session.answered("get x y\r\n")?;
        session.tell("flush_all noreply\r\n")?;
        session.ask("get x\r\n")?;
        session.end(truth);
        Ok(())
    })?;
    let (hits, misses) = truth.hits.unwrap_or_default();
    agree(&truth, &["get_hits"], hits)?;
    agree(&truth, &["get_misses"], misses)?;
    agree(&truth, &["cmd_set"], 6)?;
    folder.truth(&truth)?;
    folder.readme(
        server.version(),
        "Commands with noreply between commands that are answered.",
    )
}

pub fn pipelined(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let truth = record(folder, |truth| {
        let mut session = Session::new()?;
        let mut requests = Vec::new();
        for index in 0..40 {
            requests.push(format!(
                "set key{index} 0 0 {}\r\n{}\r\n",
                index * 7,
                "v".repeat(index * 7)
            ));
            requests.push(format!("get key{index} missing{index}\r\n"));
            requests.push(format!("delete key{}\r\n", index * 2));
        }
        let bytes = requests.concat().into_bytes();
        // Pieces that end anywhere, each a segment of its own.
        for piece in bytes.chunks(53) {
            session.send(piece)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        for request in &requests {
            session.answered(request)?;
        }
        session.end(truth);
        Ok(())
    })?;
    let (hits, misses) = truth.hits.unwrap_or_default();
    agree(&truth, &["get_hits"], hits)?;
    agree(&truth, &["get_misses"], misses)?;
    agree(&truth, &["cmd_set"], 40)?;
    folder.truth(&truth)?;
    folder.readme(
        server.version(),
        "A pipelined batch of 120 text commands in segments of 53 bytes, cut inside lines, values and line ends.",
    )
}

pub fn meta(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let truth = record(folder, |truth| {
        let mut session = Session::new()?;
        for request in META {
            session.ask(request)?;
        }
        // Quiet ones are answered only with what is worth a reply: a hit, a failure.
        for quiet in ["ms q1 2 q\r\nhi\r\n", "mg missing v q\r\n", "md q2 q\r\n"] {
            session.tell(quiet)?;
        }
        session.send(b"mg q1 v q k\r\n")?;
        session.answered("mg q1 v q k\r\n")?;
        session.ask("mn\r\n")?;
        // A batch as clients send it, in one segment: two hits among four quiet gets.
        add(&mut session.truth.silent, "mg");
        add(&mut session.truth.silent, "mg");
        session.send(b"mg m1 k v q\r\nmg q1 k v q\r\nmg m2 k v q\r\nmg a k v q\r\nmn\r\n")?;
        for line in ["mg q1\r\n", "mg a\r\n", "mn\r\n"] {
            session.answered(line)?;
        }
        session.end(truth);
        truth.hits = None;
        Ok(())
    })?;
    folder.truth(&truth)?;
    let what = "Meta commands: mn, ms, mg, md, ma, me, with hits and misses, flags that are returned, opaque \
        tokens, and the quiet flag, which leaves out the replies that say nothing, up to the mn that ends a batch.";
    folder.readme(server.version(), what)
}

const META: &[&str] = &[
    "mn\r\n",
    "ms a 5\r\nhello\r\n",
    "ms b 2 T100 F7 c\r\nhi\r\n",
    "mg a\r\n",
    "mg a v\r\n",
    "mg b s v f t k Oopaque1\r\n",
    "mg missing v\r\n",
    "ms n 2\r\n10\r\n",
    "ma n\r\n",
    "ma n D5 v\r\n",
    "ma missing\r\n",
    "ms a 2 ME\r\nno\r\n",
    "ms a 1 MA\r\n!\r\n",
    "mg a v k\r\n",
    "me a\r\n",
    "me missing\r\n",
    "md b Oopaque2\r\n",
    "md missing\r\n",
    "ms a 3 C999\r\nnew\r\n",
    "mg\r\n",
];
