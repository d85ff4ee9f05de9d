//! Where replies and requests are not one to one: published messages, MONITOR, replies switched off,
//! commands that wait.

use std::time::Duration;

use anyhow::Result;

use super::server::{Redis, Session, agree, record};
use crate::record::Folder;
use crate::record::resp;

pub fn pubsub(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut listener = Session::new("127.0.0.1")?;
        let mut speaker = Session::new("127.0.0.1")?;
        listener.say("SUBSCRIBE news")?;
        confirmed(&mut listener, "SUBSCRIBE sport weather", 2)?;
        listener.say("PSUBSCRIBE n*")?;
        speaker.say("PUBLISH sport goal")?;
        listener.hear(1)?;
        speaker.say("PUBLISH news both")?;
        listener.hear(2)?;
        listener.say("PING")?;
        listener.say("GET refused-here")?;
        speaker.say("PUBLISH nobody listens")?;
        listener.hear(1)?;
        speaker.say("SET a 1")?;
        listener.say("UNSUBSCRIBE sport")?;
        confirmed(&mut listener, "UNSUBSCRIBE", 2)?;
        listener.say("PUNSUBSCRIBE n*")?;
        listener.say("UNSUBSCRIBE")?;
        listener.say("GET a")?;
        listener.end(truth);
        speaker.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "RESP2 subscriptions: one channel, two in one command (two confirmations), a pattern, published \
        messages, PING and a refused command while subscribed, unsubscribing from all without naming \
        them, and ordinary commands afterwards.";
    folder.readme(&redis.version(), what)
}

pub fn pubsub_resp3(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut listener = Session::new("[::1]")?;
        let mut speaker = Session::new("[::1]")?;
        listener.say("HELLO 3")?;
        confirmed(&mut listener, "SUBSCRIBE news sport", 2)?;
        listener.say("SET a 1")?;
        speaker.say("PUBLISH news first")?;
        speaker.say("PUBLISH sport second")?;
        listener.hear(2)?;
        listener.say("GET a")?;
        speaker.say("PUBLISH news third")?;
        listener.say("GET a")?;
        confirmed(&mut listener, "UNSUBSCRIBE", 2)?;
        listener.say("GET a")?;
        listener.end(truth);
        speaker.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "RESP3 subscriptions over IPv6: confirmations and messages are pushes, ordinary commands go on \
        between them on the same connection.";
    folder.readme(&redis.version(), what)
}

/// A command that is answered by `replies` confirmations, which in RESP3 are pushes.
fn confirmed(session: &mut Session, line: &str, replies: usize) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    session.client.send(&resp::command(&words))?;
    for _ in 0..replies {
        session.client.reply()?;
    }
    session.count(&words);
    Ok(())
}

pub fn monitor(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut watcher = Session::new("127.0.0.1")?;
        let mut worker = Session::new("127.0.0.1")?;
        watcher.say("PING")?;
        watcher.say("MONITOR")?;
        for line in ["SET a 1", "GET a", "INCR a", "LPUSH list x y", "GET list"] {
            worker.say(line)?;
        }
        watcher.hear(5)?;
        worker.end(truth);
        watcher.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "One connection asks MONITOR and is told what the other one does, line by line: lines that \
        answer nothing.";
    folder.readme(&redis.version(), what)
}

pub fn reply_off(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        session.say("SET a 1")?;
        session.tell(&["CLIENT", "REPLY", "OFF"])?;
        session.tell(&["SET", "a", "2"])?;
        session.tell(&["INCR", "a"])?;
        session.tell(&["NOSUCHCOMMAND"])?;
        session.say("CLIENT REPLY ON")?;
        session.say("GET a")?;
        session.tell(&["CLIENT", "REPLY", "SKIP"])?;
        session.tell(&["SET", "a", "9"])?;
        session.say("GET a")?;
        // In one write: the skipped reply is told apart by counting alone.
        session.tell(&["client", "reply", "skip"])?;
        session.tell(&["INCR", "a"])?;
        session
            .client
            .send(&[resp::command(&["INCR", "a"]), resp::command(&["GET", "a"])].concat())?;
        session.answered(&["INCR"])?;
        session.answered(&["GET"])?;
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[("NOSUCHCOMMAND", -1)])?;
    folder.truth(&truth)?;
    let what = "CLIENT REPLY OFF, ON and SKIP: commands whose replies never come, an unknown one among them, \
        and those after them that are answered again.";
    folder.readme(&redis.version(), what)
}

pub fn blocking(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut waiter = Session::new("127.0.0.1")?;
        let mut worker = Session::new("127.0.0.1")?;
        waiter
            .client
            .send(&resp::command(&["BLPOP", "jobs", "0"]))?;
        std::thread::sleep(Duration::from_millis(60));
        worker.say("LPUSH jobs first")?;
        waiter.answered(&["BLPOP"])?;
        worker.say("LPUSH jobs second")?;
        waiter.say("BLPOP jobs 0")?;
        waiter.say("BRPOP jobs 0.05")?;
        waiter.say("XADD events * kind start")?;
        waiter.say("XREAD COUNT 1 STREAMS events 0")?;
        waiter.say("XREAD BLOCK 30 STREAMS events $")?;
        waiter.say("BZPOPMIN scores 0.03")?;
        waiter.say("WAIT 0 10")?;
        waiter.say("GET a")?;
        waiter
            .client
            .send(&resp::command(&["BLPOP", "jobs", "0"]))?;
        std::thread::sleep(Duration::from_millis(60));
        waiter.give_up();
        waiter.end(truth);
        worker.say("PING")?;
        worker.end(truth);
        Ok(())
    })?;
    let waiting = truth.server.get("BLPOP").copied().unwrap_or(0) as i64 - 2;
    agree(&truth, &[("BLPOP", waiting)])?;
    folder.truth(&truth)?;
    let what = "Commands that wait by design: woken by another connection, answered at once, timed out, and one \
        still waiting when its connection closes.";
    folder.readme(&redis.version(), what)
}
