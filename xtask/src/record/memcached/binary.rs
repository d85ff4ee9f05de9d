//! The binary protocol: frames of 24 bytes and a body, paired by their opaque numbers.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};

use super::server::{Memcached, PORT, agree, record};
use crate::record::Folder;
use crate::record::truth::{Truth, add};

/// A request. Its name is without what tells variants apart: `getkq` is a `get`.
struct Frame {
    name: &'static str,
    opcode: u8,
    extras: &'static [u8],
    key: &'static str,
    value: &'static str,
    answered: bool,
}

const fn frame(name: &'static str, opcode: u8, key: &'static str) -> Frame {
    Frame {
        name,
        opcode,
        extras: &[],
        key,
        value: "",
        answered: true,
    }
}

impl Frame {
    const fn extras(mut self, extras: &'static [u8]) -> Self {
        self.extras = extras;
        self
    }

    const fn value(mut self, value: &'static str) -> Self {
        self.value = value;
        self
    }

    const fn silent(mut self) -> Self {
        self.answered = false;
        self
    }

    fn bytes(&self, opaque: u32) -> Vec<u8> {
        let body = self.extras.len() + self.key.len() + self.value.len();
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend((self.key.len() as u16).to_be_bytes());
        bytes.extend([self.extras.len() as u8, 0, 0, 0]);
        bytes.extend((body as u32).to_be_bytes());
        bytes.extend(opaque.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.extras);
        bytes.extend(self.key.bytes());
        bytes.extend(self.value.bytes());
        bytes
    }
}

/// Flags and expiry of a store.
const STORE: &[u8] = &[0, 0, 0, 7, 0, 0, 0, 0];

/// Delta 5, initial value 10, no expiry.
const COUNT: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0];

/// Each is sent alone and waited for.
const ALONE: &[Frame] = &[
    frame("version", 0x0b, ""),
    frame("set", 0x01, "a").extras(STORE).value("hello"),
    frame("get", 0x00, "a"),
    frame("get", 0x0c, "a"),
    frame("get", 0x00, "missing"),
    frame("add", 0x02, "a").extras(STORE).value("again"),
    frame("replace", 0x03, "a").extras(STORE).value("other"),
    frame("append", 0x0e, "a").value("!"),
    frame("prepend", 0x0f, "a").value("?"),
    frame("incr", 0x05, "n").extras(COUNT),
    frame("incr", 0x05, "n").extras(COUNT),
    frame("decr", 0x06, "n").extras(COUNT),
    frame("incr", 0x05, "a").extras(COUNT),
    frame("touch", 0x1c, "a").extras(&[0, 0, 0, 100]),
    frame("gat", 0x1d, "a").extras(&[0, 0, 0, 100]),
    frame("delete", 0x04, "a"),
    frame("delete", 0x04, "missing"),
    frame("other", 0x70, ""),
    frame("noop", 0x0a, ""),
];

/// All in one segment, ended by a noop. Quiet ones are answered only with a hit or a failure.
const BATCH: &[Frame] = &[
    frame("set", 0x11, "q1").extras(STORE).value("one").silent(),
    frame("set", 0x11, "q2").extras(STORE).value("two").silent(),
    frame("add", 0x12, "q1").extras(STORE).value("no"),
    frame("get", 0x09, "q1"),
    frame("get", 0x0d, "missing").silent(),
    frame("get", 0x0d, "q2"),
    frame("get", 0x09, "missing").silent(),
    frame("delete", 0x14, "q1").silent(),
    frame("get", 0x00, "q1"),
    frame("incr", 0x15, "n").extras(COUNT).silent(),
    frame("noop", 0x0a, ""),
];

pub fn binary(folder: &Folder) -> Result<()> {
    let server = Memcached::start()?;
    let truth = record(folder, |truth| {
        let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
        stream.set_nodelay(true)?;
        for (index, frame) in ALONE.iter().enumerate() {
            let opaque = 0x1000 + index as u32;
            stream.write_all(&frame.bytes(opaque))?;
            reply(&mut stream, opaque)?;
            count(truth, frame);
        }
        let batch = BATCH
            .iter()
            .zip(0x2000..)
            .flat_map(|(frame, opaque)| frame.bytes(opaque));
        stream.write_all(&batch.collect::<Vec<_>>())?;
        for (frame, opaque) in BATCH.iter().zip(0x2000..) {
            if frame.answered {
                reply(&mut stream, opaque)?;
            }
            count(truth, frame);
        }
        stats(&mut stream, truth)?;
        let quit = frame("quit", 0x07, "");
        stream.write_all(&quit.bytes(0x3001))?;
        reply(&mut stream, 0x3001)?;
        count(truth, &quit);
        Ok(())
    })?;
    agree(&truth, &["cmd_get"], 8)?;
    folder.truth(&truth)?;
    let what = "The binary protocol, frames made by hand: every common command, hits, misses and failures, an \
        unknown opcode, a batch with quiet commands in one segment ended by a noop, and stat, which \
        is answered by many frames.";
    folder.readme(server.version(), what)
}

fn count(truth: &mut Truth, frame: &Frame) {
    let counts = if frame.answered {
        &mut truth.exchanges
    } else {
        &mut truth.silent
    };
    add(counts, frame.name);
}

/// Asks for all statistics: one request, a frame a line, and an empty one at the end.
fn stats(stream: &mut TcpStream, truth: &mut Truth) -> Result<()> {
    let stat = frame("stats", 0x10, "");
    stream.write_all(&stat.bytes(0x3000))?;
    while reply(stream, 0x3000)? > 0 {}
    count(truth, &stat);
    Ok(())
}

/// Waits for the reply with this number; the length of its body.
fn reply(stream: &mut TcpStream, opaque: u32) -> Result<usize> {
    let mut head = [0; 24];
    stream.read_exact(&mut head)?;
    let number = |at: usize| {
        head.get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes)
    };
    let length = number(8).unwrap_or(0) as usize;
    stream.read_exact(&mut vec![0; length])?;
    let got = number(12).unwrap_or(0);
    (got == opaque)
        .then_some(length)
        .with_context(|| format!("reply {got:#x}, not {opaque:#x}"))
}
