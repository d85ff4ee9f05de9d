//! How requests lie in segments: inline, large, cut in odd places, pipelined with replies of their own.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::server::{Redis, Session, agree, record};
use crate::record::Folder;
use crate::record::resp;

pub fn inline(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        for line in [
            "PING\r\n",
            "set a 1\n",
            "GET  a\r\n",
            "SET b 'two words'\r\n",
            "GET \"b\"\r\n",
        ] {
            session.client.send(line.as_bytes())?;
            session.answered(&[line.split(' ').next().unwrap_or(line).trim()])?;
        }
        // Empty lines are no commands; inline and framed ones may follow each other.
        session
            .client
            .send(b"\r\n\r\nINCR a\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nDEL a b\r\n")?;
        for name in ["INCR", "GET", "DEL"] {
            session.answered(&[name])?;
        }
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "Inline commands as typed into telnet: both line ends, double spaces, quotes, empty lines, mixed \
        with framed ones in one segment.";
    folder.readme(&redis.version(), what)
}

pub fn large(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        let value = "v".repeat(100_000);
        session.ask(&["SET", "big", &value])?;
        session.say("STRLEN big")?;
        // Requests behind a large reply, in one write.
        let lines: [&[&str]; 3] = [&["GET", "big"], &["PING"], &["GET", "missing"]];
        session.client.send(&lines.map(resp::command).concat())?;
        for words in lines {
            session.answered(words)?;
        }
        session.say("DEL big")?;
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "A value of 100,000 bytes written and read, in segments of up to 65,483 bytes, with requests \
        pipelined behind the read.";
    folder.readme(&redis.version(), what)
}

pub fn split(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        let mut random = Random(7);
        let mut bytes = Vec::new();
        let mut asked: Vec<Vec<String>> = Vec::new();
        for index in 0..80 {
            let value = "\r\n$3*".repeat(random.below(8));
            let words = match index % 4 {
                0 => vec!["SET".to_owned(), format!("key:{index}"), value],
                1 => vec!["GET".to_owned(), format!("key:{}", index - 1)],
                2 => vec!["APPEND".to_owned(), format!("key:{}", index - 2), value],
                _ => vec!["PING".to_owned()],
            };
            bytes.extend(resp::command(
                &words.iter().map(String::as_str).collect::<Vec<_>>(),
            ));
            asked.push(words);
        }
        // Every write is a segment of its own: Nagle's algorithm is off and loopback does not wait.
        while !bytes.is_empty() {
            let size = (1 + random.below(23)).min(bytes.len());
            session.client.send(&bytes[..size])?;
            bytes.drain(..size);
            std::thread::sleep(Duration::from_millis(1));
        }
        for words in &asked {
            session.answered(&[words[0].as_str()])?;
        }
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "A pipelined batch of 80 commands in segments of 1 to 23 bytes, cut anywhere: inside lengths, \
        between CR and LF, inside values that look like framing.";
    folder.readme(&redis.version(), what)
}

/// Requests and replies that tell by their sizes alone which belongs to which.
pub fn echo(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut random = Random(11);
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(Session::new("127.0.0.1")?);
        }
        for round in 0..120 {
            let depth = if round % 3 == 0 {
                1
            } else {
                1 + random.below(16)
            };
            let words: Vec<String> = (0..depth)
                .map(|_| "e".repeat(10 + random.below(89)))
                .collect();
            let session = &mut sessions[round % 4];
            let batch = words.iter().flat_map(|word| resp::command(&["ECHO", word]));
            session.client.send(&batch.collect::<Vec<_>>())?;
            for word in &words {
                let reply = session.answered(&["ECHO"])?;
                ensure!(
                    reply.text() == *word,
                    "another reply than the one asked for"
                );
            }
        }
        for session in sessions {
            session.end(truth);
        }
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    folder.text_args("-q")?;
    let what = "ECHO with words of 10 to 98 bytes on four connections, alone and pipelined up to 16 deep: \
        every request is 14 bytes larger than the reply \
        that belongs to it, so that a wrong pair shows by its sizes.";
    folder.readme(&redis.version(), what)
}

/// Numbers that are the same in every recording (a linear congruential generator).
struct Random(u64);

impl Random {
    /// A number less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
