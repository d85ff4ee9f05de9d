//! Requests and replies, one at a time: every type of both protocols, errors, transactions, secrets.

use anyhow::Result;

use super::server::{Redis, Session, agree, record};
use crate::record::Folder;

pub fn commands(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let mut truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        for line in EVERYDAY {
            session.say(line)?;
        }
        session.ask(&["SET", "empty", ""])?;
        session.ask(&["SET", "two words", "a \"quoted\" value\r\n"])?;
        session.ask(&["EVAL", "return redis.call('GET', KEYS[1])", "1", "name"])?;
        session.ask(&["FOO", "bar"])?;
        session.say("QUIT")?;
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[("GET", 1), ("FOO", -1)])?;
    truth
        .server_differs
        .push("the script's GET is counted; FOO is no command");
    rename(&mut truth, "FOO", "other");
    folder.truth(&truth)?;
    let what = "One connection, one request at a time, RESP2: strings, lists, hashes, sets, sorted sets, \
        streams, geo, bits, empty and missing replies, nested arrays, and errors: WRONGTYPE, wrong number of \
        arguments, not an integer, an unknown command.";
    folder.readme(&redis.version(), what)
}

const EVERYDAY: &[&str] = &[
    "PING",
    "ECHO hello",
    "SET name tcpkit",
    "GET name",
    "GET missing",
    "GETRANGE name 0 2",
    "MSET a 1 b 2 c 3",
    "MGET a b missing c",
    "INCR a",
    "INCRBY a 41",
    "INCR name",
    "EXPIRE a 100",
    "TTL a",
    "EXISTS a b missing",
    "RPUSH list one two three",
    "LRANGE list 0 -1",
    "LRANGE missing 0 -1",
    "LPOP list 2",
    "GET list",
    "HSET hash field value other 2",
    "HGETALL hash",
    "HGET hash missing",
    "SADD set x y z",
    "SMEMBERS set",
    "SISMEMBER set x",
    "ZADD scores 1.5 low 99 high",
    "ZRANGE scores 0 -1 WITHSCORES",
    "ZSCORE scores low",
    "XADD stream * field value",
    "XLEN stream",
    "XRANGE stream - +",
    "GEOADD places 13.361389 38.115556 Palermo",
    "GEOPOS places Palermo nowhere",
    "SETBIT bits 7 1",
    "BITCOUNT bits",
    "TYPE hash",
    "OBJECT ENCODING list",
    "SCAN 0 COUNT 100",
    "DBSIZE",
    "CLIENT SETNAME tester",
    "CLIENT GETNAME",
    "CONFIG GET maxmemory*",
    "COMMAND COUNT",
    "SELECT 1",
    "SELECT 99",
    "SELECT 0",
    "GET",
    "SET name",
    "set lower case",
    "Get lower",
    "DEL a b c missing",
    "FLUSHALL",
];

pub fn transactions(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let mut truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        for line in TRANSACTIONS {
            session.say(line)?;
        }
        session.end(truth);
        Ok(())
    })?;
    agree(&truth, &[("SET", -2), ("INCR", -1)])?;
    truth
        .server_differs
        .push("commands queued and then discarded were never called");
    folder.truth(&truth)?;
    let what = "MULTI and EXEC: run, with an error inside, aborted by an error while queueing, discarded, \
        stopped by WATCH, empty, and EXEC without MULTI.";
    folder.readme(&redis.version(), what)
}

const TRANSACTIONS: &[&str] = &[
    "MULTI",
    "SET a 1",
    "INCR a",
    "GET a",
    "LRANGE missing 0 -1",
    "EXEC",
    "MULTI",
    "SET word text",
    "INCR word",
    "EXEC",
    "MULTI",
    "SET a 2",
    "GET",
    "EXEC",
    "MULTI",
    "SET a 3",
    "DISCARD",
    "WATCH a",
    "SET a 4",
    "MULTI",
    "INCR a",
    "EXEC",
    "MULTI",
    "EXEC",
    "EXEC",
    "GET a",
];

pub fn resp3(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let truth = record(folder, &redis, |truth| {
        let mut session = Session::new("[::1]")?;
        let mut other = Session::new("[::1]")?;
        for line in RESP3 {
            session.say(line)?;
        }
        // Tracking: the server pushes that a key it has read was changed by somebody else.
        for line in ["CLIENT TRACKING ON", "GET tracked"] {
            session.say(line)?;
        }
        other.say("SET tracked 2")?;
        session.hear(1)?;
        session.say("GET tracked")?;
        other.say("SET tracked 3")?;
        session.say("PING")?;
        session.say("CLIENT TRACKING OFF")?;
        session.end(truth);
        other.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    folder.truth(&truth)?;
    let what = "RESP3 over IPv6: HELLO 3, maps, sets, doubles, booleans, big numbers, verbatim strings, nulls, an \
        attribute before a reply, a push before a reply, and invalidation pushes of CLIENT TRACKING; then \
        back to RESP2.";
    folder.readme(&redis.version(), what)
}

const RESP3: &[&str] = &[
    "PING",
    "HELLO 3",
    "HSET hash field value other 2",
    "HGETALL hash",
    "SADD set x y",
    "SMEMBERS set",
    "ZADD scores 1.5 low 99 high",
    "ZSCORE scores low",
    "ZRANGE scores 0 -1 WITHSCORES",
    "GET missing",
    "LRANGE missing 0 -1",
    "CONFIG GET maxmemory*",
    "DEBUG PROTOCOL string",
    "DEBUG PROTOCOL integer",
    "DEBUG PROTOCOL double",
    "DEBUG PROTOCOL null",
    "DEBUG PROTOCOL array",
    "DEBUG PROTOCOL set",
    "DEBUG PROTOCOL map",
    "DEBUG PROTOCOL attrib",
    "DEBUG PROTOCOL push",
    "DEBUG PROTOCOL verbatim",
    "DEBUG PROTOCOL true",
    "DEBUG PROTOCOL false",
    "DEBUG PROTOCOL bignum",
    "GET hash",
    "SET tracked 1",
    "HELLO 2",
    "HGETALL hash",
    "HELLO 3 SETNAME tester",
];

const SECRETS: &[&str] = &[
    "hunter2-first",
    "hunter2-second",
    "hunter2-user",
    "hunter2-wrong",
];

pub fn secrets(folder: &Folder) -> Result<()> {
    let redis = Redis::start("redis", super::PORT)?;
    let mut truth = record(folder, &redis, |truth| {
        let mut session = Session::new("127.0.0.1")?;
        session.say("CONFIG SET requirepass hunter2-first")?;
        session.say("ACL SETUSER alice on >hunter2-user ~* +@all")?;
        let mut other = Session::new("127.0.0.1")?;
        for line in LOGINS {
            other.say(line)?;
        }
        session.say("CONFIG SET masterauth hunter2-second requirepass hunter2-second")?;
        session.say("MIGRATE 127.0.0.1 1 key 0 10 AUTH2 alice hunter2-user")?;
        session.say("SET key value")?;
        session.say("MIGRATE 127.0.0.1 1 key 0 10 AUTH hunter2-second")?;
        session.say("ACL SETUSER bob on >hunter2-user <hunter2-user nopass ~* +get")?;
        session.end(truth);
        other.end(truth);
        Ok(())
    })?;
    agree(&truth, &[])?;
    truth.secrets = SECRETS.to_vec();
    folder.truth(&truth)?;
    let what = "Two connections: passwords in CONFIG SET, ACL SETUSER, AUTH with one word and two, HELLO and \
        MIGRATE, right and wrong ones, and commands refused for want of one (NOAUTH). No output may show \
        a word that begins with hunter2.";
    folder.readme(&redis.version(), what)
}

const LOGINS: &[&str] = &[
    "GET a",
    "AUTH hunter2-wrong",
    "AUTH default hunter2-wrong",
    "AUTH hunter2-first",
    "GET a",
    "AUTH alice hunter2-user",
    "HELLO 3 AUTH default hunter2-wrong SETNAME me",
    "HELLO 3 AUTH default hunter2-first SETNAME me",
    "GET a",
];

fn rename(truth: &mut crate::record::truth::Truth, from: &str, to: &str) {
    if let Some(count) = truth.exchanges.remove(from) {
        truth.exchanges.insert(to.to_owned(), count);
    }
}
