//! The commands of redis 7.4 and 8 and of its usual modules, and how to find one fast.
//!
//! Reads a command name as sent, in any case, makes its index in [`names`] and its [`Kind`]:
//! what has to be remembered until its response comes. A container command (`CONFIG GET`) is
//! told as the container. The table is built by the compiler: a name is packed into three
//! integers, upper-cased four operations a word, and found by one multiplication.

/// What a command does to the conversation, and what shape its reply has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Answered by one scalar.
    Scalar,
    /// A read of one key: a null is a miss.
    Hit,
    /// Answered by one aggregate of scalars.
    Flat,
    /// A read of several keys: every null in the array is a miss.
    Hits,
    /// Answered by whatever.
    Any,
    /// Waits by design.
    Block,
    /// XREAD: waits where it has BLOCK.
    Xread,
    /// XREADGROUP: likewise.
    Xreadgroup,
    /// SUBSCRIBE: one confirmation a channel.
    Subscribe,
    /// PSUBSCRIBE: likewise.
    Psubscribe,
    /// SSUBSCRIBE: likewise.
    Ssubscribe,
    /// UNSUBSCRIBE: one confirmation a channel, also for channels not named.
    Unsubscribe,
    /// PUNSUBSCRIBE: likewise.
    Punsubscribe,
    /// SUNSUBSCRIBE: likewise.
    Sunsubscribe,
    /// Every command that the server runs follows.
    Monitor,
    /// PSYNC or SYNC: a replication link begins.
    Sync,
    /// A replica's messages to its master; ACK has no reply.
    Replconf,
    /// CLIENT, of which REPLY changes what is answered.
    Client,
    /// Refused within a transaction, and no part of it.
    Watch,
    /// Begins a transaction.
    Multi,
    /// Ends one.
    Exec,
    /// What EXEC's response holds of a command that is answered by one value.
    Element,
    /// Gives one up.
    Discard,
    /// Back to the state of a new connection.
    Reset,
}

impl Kind {
    /// Whether it asks for one response and leaves the conversation as it was.
    #[inline]
    pub(super) fn is_plain(self) -> bool {
        self <= Self::Any
    }

    /// Whether it is answered by confirmations.
    pub(super) fn subscribes(self) -> bool {
        self >= Self::Subscribe && self <= Self::Sunsubscribe
    }

    /// Whether channels are given up by it.
    pub(super) fn unsubscribes(self) -> bool {
        self >= Self::Unsubscribe && self <= Self::Sunsubscribe
    }

    /// Whether its effect depends on its arguments.
    #[inline]
    pub(super) fn has_options(self) -> bool {
        matches!(
            self,
            Self::Xread | Self::Xreadgroup | Self::Replconf | Self::Client
        )
    }
}

/// Index of a command that is not in the table.
pub(super) const OTHER: u16 = 0;

/// Longest name in the table.
const LONGEST: usize = 24;

#[rustfmt::skip]
const GROUPS: &[(Kind, &[&str])] = &[
    (Kind::Any, &[
        "other",
    ]),
    (Kind::Scalar, &[
        "SET", "INCR", "DECR", "DEL", "EXPIRE", "EXISTS", "HSET", "LPUSH", "RPUSH",
        "SADD", "ZADD", "PING", "MSET", "APPEND", "ASKING", "AUTH", "BGREWRITEAOF",
        "BGSAVE", "BITCOUNT", "BITOP", "BITPOS", "COPY", "DBSIZE", "DECRBY", "DELEX",
        "DIGEST", "DUMP", "ECHO", "EXPIREAT", "EXPIRETIME", "FAILOVER", "FLUSHALL",
        "FLUSHDB", "GEOADD", "GEODIST", "GEOSEARCHSTORE", "GETBIT", "GETRANGE", "HDEL",
        "HEXISTS", "HINCRBY", "HINCRBYFLOAT", "HLEN", "HMSET", "HSETEX", "HSETNX",
        "HSTRLEN", "INCRBY", "INCRBYFLOAT", "INFO", "LASTSAVE", "LINSERT", "LLEN",
        "LMOVE", "LOLWUT", "LPUSHX", "LREM", "LSET", "LTRIM", "MIGRATE", "MOVE",
        "MSETEX", "MSETNX", "PERSIST", "PEXPIRE", "PEXPIREAT", "PEXPIRETIME", "PFADD",
        "PFCOUNT", "PFMERGE", "PFSELFTEST", "PSETEX", "PTTL", "PUBLISH", "QUIT",
        "RANDOMKEY", "READONLY", "READWRITE", "RENAME", "RENAMENX", "REPLICAOF",
        "RESTORE", "RESTORE-ASKING", "RPOPLPUSH", "RPUSHX", "SAVE", "SCARD",
        "SDIFFSTORE", "SELECT", "SETBIT", "SETEX", "SETNX", "SETRANGE", "SHUTDOWN",
        "SINTERCARD", "SINTERSTORE", "SISMEMBER", "SLAVEOF", "SMOVE", "SPUBLISH",
        "SREM", "STRLEN", "SUBSTR", "SUNIONSTORE", "SWAPDB", "TOUCH", "TTL", "TYPE",
        "UNLINK", "UNWATCH", "VADD", "VCARD", "VDIM", "VISMEMBER", "VREM", "VSETATTR",
        "XACK", "XADD", "XDEL", "XLEN", "XSETID", "XTRIM", "ZCARD", "ZCOUNT",
        "ZDIFFSTORE", "ZINCRBY", "ZINTERCARD", "ZINTERSTORE", "ZLEXCOUNT",
        "ZRANGESTORE", "ZREM", "ZREMRANGEBYLEX", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE",
        "ZUNIONSTORE",
        "BF.ADD", "BF.CARD", "BF.EXISTS", "BF.LOADCHUNK", "BF.RESERVE", "CF.ADD",
        "CF.ADDNX", "CF.COUNT", "CF.DEL", "CF.EXISTS", "CF.LOADCHUNK", "CF.RESERVE",
        "CMS.INITBYDIM", "CMS.INITBYPROB", "CMS.MERGE", "TDIGEST.ADD", "TDIGEST.CREATE",
        "TDIGEST.MAX", "TDIGEST.MERGE", "TDIGEST.MIN", "TDIGEST.RESET",
        "TDIGEST.TRIMMED_MEAN", "TOPK.RESERVE", "JSON.MERGE", "JSON.MSET", "JSON.SET",
        "TS.ADD", "TS.ALTER", "TS.CREATE", "TS.CREATERULE", "TS.DECRBY", "TS.DEL",
        "TS.DELETERULE", "TS.INCRBY", "FT.ADD", "FT.ALTER", "FT.ALIASADD",
        "FT.ALIASDEL", "FT.ALIASUPDATE", "FT.CREATE", "FT.DEL", "FT.DICTADD",
        "FT.DICTDEL", "FT.DROP", "FT.DROPINDEX", "FT.EXPLAIN", "FT.SUGADD", "FT.SUGDEL",
        "FT.SUGLEN", "FT.SYNUPDATE", "GRAPH.DELETE",
    ]),
    (Kind::Hit, &[
        "GET", "GETDEL", "GETEX", "GETSET", "HGET", "LINDEX", "ZSCORE",
        "JSON.GET",
    ]),
    (Kind::Flat, &[
        "BITFIELD", "BITFIELD_RO", "GEOHASH", "HEXPIRE", "HEXPIREAT", "HEXPIRETIME",
        "HGETALL", "HKEYS", "HPERSIST", "HPEXPIRE", "HPEXPIREAT", "HPEXPIRETIME",
        "HPTTL", "HTTL", "HVALS", "KEYS", "LRANGE", "SDIFF", "SINTER", "SMEMBERS",
        "SMISMEMBER", "SUNION", "TIME", "XACKDEL", "XDELEX", "ZMSCORE", "ZRANGEBYLEX",
        "ZREVRANGEBYLEX",
        "BF.MADD", "BF.MEXISTS", "CF.INSERT", "CF.INSERTNX", "CF.MEXISTS", "CMS.INCRBY",
        "CMS.QUERY", "TDIGEST.BYRANK", "TDIGEST.BYREVRANK", "TDIGEST.CDF",
        "TDIGEST.QUANTILE", "TDIGEST.RANK", "TDIGEST.REVRANK", "TOPK.ADD", "TOPK.COUNT",
        "TOPK.INCRBY", "TOPK.QUERY", "TS.QUERYINDEX", "TS.MADD", "FT._LIST",
        "FT.DICTDUMP", "FT.TAGVALS", "GRAPH.LIST",
    ]),
    (Kind::Hits, &[
        "MGET", "HMGET", "HGETDEL", "HGETEX",
        "JSON.MGET",
    ]),
    (Kind::Any, &[
        "ACL", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "EVAL", "EVALSHA", "EVALSHA_RO",
        "EVAL_RO", "FCALL", "FCALL_RO", "FUNCTION", "GEOPOS", "GEORADIUS",
        "GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO", "GEORADIUS_RO", "GEOSEARCH",
        "HELLO", "HOTKEYS", "HRANDFIELD", "HSCAN", "LATENCY", "LCS", "LMPOP", "LPOP",
        "LPOS", "MEMORY", "MODULE", "OBJECT", "PFDEBUG", "PUBSUB", "ROLE", "RPOP",
        "SCAN", "SCRIPT", "SENTINEL", "SLOWLOG", "SORT", "SORT_RO", "SPOP",
        "SRANDMEMBER", "SSCAN", "VEMB", "VGETATTR", "VINFO", "VLINKS", "VRANDMEMBER",
        "VRANGE", "VSIM", "XAUTOCLAIM", "XCFGSET", "XCLAIM", "XGROUP", "XINFO",
        "XPENDING", "XRANGE", "XREVRANGE", "ZDIFF", "ZINTER", "ZMPOP", "ZPOPMAX",
        "ZPOPMIN", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE",
        "ZREVRANGEBYSCORE", "ZREVRANK", "ZSCAN", "ZUNION", "TFCALL", "TFCALLASYNC",
        "TFUNCTION",
        "BF.DEBUG", "BF.INFO", "BF.INSERT", "BF.SCANDUMP", "CF.COMPACT", "CF.DEBUG",
        "CF.INFO", "CF.SCANDUMP", "CMS.INFO", "TDIGEST.INFO", "TOPK.INFO", "TOPK.LIST",
        "JSON.ARRAPPEND", "JSON.ARRINDEX", "JSON.ARRINSERT", "JSON.ARRLEN",
        "JSON.ARRPOP", "JSON.ARRTRIM", "JSON.CLEAR", "JSON.DEBUG", "JSON.DEL",
        "JSON.FORGET", "JSON.NUMINCRBY", "JSON.NUMMULTBY", "JSON.NUMPOWBY",
        "JSON.OBJKEYS", "JSON.OBJLEN", "JSON.RESP", "JSON.STRAPPEND", "JSON.STRLEN",
        "JSON.TOGGLE", "JSON.TYPE", "TS.GET", "TS.INFO", "TS.MGET", "TS.MRANGE",
        "TS.MREVRANGE", "TS.RANGE", "TS.REVRANGE", "FT.AGGREGATE", "FT.CONFIG",
        "FT.CURSOR", "FT.DEBUG", "FT.EXPLAINCLI", "FT.GET", "FT.HYBRID", "FT.INFO",
        "FT.MGET", "FT.PROFILE", "FT.SEARCH", "FT.SPELLCHECK", "FT.SUGGET",
        "FT.SYNDUMP", "GRAPH.CONFIG", "GRAPH.CONSTRAINT", "GRAPH.EXPLAIN",
        "GRAPH.PROFILE", "GRAPH.QUERY", "GRAPH.RO_QUERY", "GRAPH.SLOWLOG",
    ]),
    (Kind::Block, &[
        "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX",
        "BZMPOP", "WAIT", "WAITAOF",
    ]),
    (Kind::Xread, &[
        "XREAD",
    ]),
    (Kind::Xreadgroup, &[
        "XREADGROUP",
    ]),
    (Kind::Subscribe, &[
        "SUBSCRIBE",
    ]),
    (Kind::Psubscribe, &[
        "PSUBSCRIBE",
    ]),
    (Kind::Ssubscribe, &[
        "SSUBSCRIBE",
    ]),
    (Kind::Unsubscribe, &[
        "UNSUBSCRIBE",
    ]),
    (Kind::Punsubscribe, &[
        "PUNSUBSCRIBE",
    ]),
    (Kind::Sunsubscribe, &[
        "SUNSUBSCRIBE",
    ]),
    (Kind::Monitor, &[
        "MONITOR",
    ]),
    (Kind::Sync, &[
        "PSYNC", "SYNC",
    ]),
    (Kind::Replconf, &[
        "REPLCONF",
    ]),
    (Kind::Client, &[
        "CLIENT",
    ]),
    (Kind::Watch, &[
        "WATCH",
    ]),
    (Kind::Multi, &[
        "MULTI",
    ]),
    (Kind::Exec, &[
        "EXEC",
    ]),
    (Kind::Discard, &[
        "DISCARD",
    ]),
    (Kind::Reset, &[
        "RESET",
    ]),
];

/// Labels of all commands; index 0 is `other`.
pub(super) fn names() -> &'static [&'static str] {
    &NAMES
}

/// Index and kind of the command whose name is the first `len` bytes of `bytes`. What lies behind
/// them in `bytes` is not looked at, but makes the look-up faster.
#[inline(always)]
pub(super) fn find(bytes: &[u8], len: usize) -> (u16, Kind) {
    match bytes.first_chunk::<8>() {
        Some(chunk) if len <= 8 => {
            let word = u64::from_le_bytes(*chunk) & mask(len);
            seek(&SHORT, fold(word), len)
        }
        _ => find_slowly(bytes, len),
    }
}

/// Index and kind of a command by its whole name.
pub(super) fn by_name(name: &[u8]) -> (u16, Kind) {
    find(name, name.len())
}

#[cold]
fn find_slowly(bytes: &[u8], len: usize) -> (u16, Kind) {
    let Some(name) = bytes.get(..len).filter(|name| name.len() <= LONGEST) else {
        return (OTHER, Kind::Any);
    };
    let key = pack(name);
    match key {
        [word, 0, 0] => seek(&SHORT, word, len),
        key => seek(&LONG, key, len),
    }
}

/// The low `len` bytes of a word.
#[inline(always)]
fn mask(len: usize) -> u64 {
    if len == 0 {
        0
    } else {
        u64::MAX >> (64_usize.saturating_sub(8 * len) & 63)
    }
}

/// Lower case to upper case in all eight bytes: a byte of 0x40 and above loses bit 0x20. That
/// also folds a few signs that stand in no command name.
#[inline(always)]
const fn fold(word: u64) -> u64 {
    word & !((word & 0x4040_4040_4040_4040) >> 1)
}

/// A name of up to 24 bytes as three words, upper case.
const fn pack(name: &[u8]) -> [u64; 3] {
    let mut key = [0_u64; 3];
    let mut rest = name;
    let mut index = 0;
    while let [byte, others @ ..] = rest {
        let value = (*byte as u64) << (8 * (index % 8));
        let [first, second, third] = &mut key;
        match index / 8 {
            0 => *first |= value,
            1 => *second |= value,
            _ => *third |= value,
        }
        index += 1;
        rest = others;
    }
    let [first, second, third] = key;
    [fold(first), fold(second), fold(third)]
}

/// A place in a table of names; `len` 0 where it is free.
#[derive(Clone, Copy)]
struct Slot<Key> {
    key: Key,
    index: u16,
    kind: Kind,
    len: u8,
}

/// Where a packed name is looked for first.
trait Key: Copy + PartialEq {
    fn slot(self) -> usize;
}

impl Key for u64 {
    #[inline(always)]
    fn slot(self) -> usize {
        short_slot(self)
    }
}

impl Key for [u64; 3] {
    #[inline]
    fn slot(self) -> usize {
        long_slot(self)
    }
}

const fn short_slot(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

const fn long_slot(key: [u64; 3]) -> usize {
    let [first, second, third] = key;
    short_slot(first ^ second.rotate_left(23) ^ third.rotate_left(47))
}

/// A power of two, several times the number of names, so that nearly every look-up is one step.
const SLOTS: usize = 1024;

#[inline(always)]
fn seek<K: Key>(table: &[Slot<K>; SLOTS], key: K, len: usize) -> (u16, Kind) {
    let mut at = key.slot();
    while let Some(found) = table.get(at % SLOTS) {
        if found.key == key && usize::from(found.len) == len {
            return (found.index, found.kind);
        }
        if found.len == 0 {
            break;
        }
        at += 1;
    }
    (OTHER, Kind::Any)
}

const COUNT: usize = count();
static NAMES: [&str; COUNT] = list();
static SHORT: [Slot<u64>; SLOTS] = short();
static LONG: [Slot<[u64; 3]>; SLOTS] = long();

const fn count() -> usize {
    let mut total = 0;
    let mut groups = GROUPS;
    while let [(_, names), rest @ ..] = groups {
        total += names.len();
        groups = rest;
    }
    total
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler alone")]
const fn list() -> [&'static str; COUNT] {
    let mut all = [""; COUNT];
    let mut index = 0;
    let mut groups = GROUPS;
    while let [(_, names), rest @ ..] = groups {
        let mut names = *names;
        while let [name, others @ ..] = names {
            all[index] = name;
            index += 1;
            names = others;
        }
        groups = rest;
    }
    all
}

/// The names of up to eight bytes.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler alone")]
const fn short() -> [Slot<u64>; SLOTS] {
    let mut table = [Slot {
        key: 0,
        index: 0,
        kind: Kind::Any,
        len: 0,
    }; SLOTS];
    let mut index = 1;
    while index < COUNT {
        let (name, kind) = entry(index);
        if name.len() <= 8 {
            let [key, _, _] = pack(name.as_bytes());
            let mut at = short_slot(key) % SLOTS;
            while table[at].len != 0 {
                at = (at + 1) % SLOTS;
            }
            table[at] = Slot {
                key,
                index: index as u16,
                kind,
                len: name.len() as u8,
            };
        }
        index += 1;
    }
    table
}

/// The longer ones.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler alone")]
const fn long() -> [Slot<[u64; 3]>; SLOTS] {
    let mut table = [Slot {
        key: [0; 3],
        index: 0,
        kind: Kind::Any,
        len: 0,
    }; SLOTS];
    let mut index = 1;
    while index < COUNT {
        let (name, kind) = entry(index);
        if name.len() > 8 {
            let key = pack(name.as_bytes());
            let mut at = long_slot(key) % SLOTS;
            while table[at].len != 0 {
                at = (at + 1) % SLOTS;
            }
            table[at] = Slot {
                key,
                index: index as u16,
                kind,
                len: name.len() as u8,
            };
        }
        index += 1;
    }
    table
}

/// The name and kind with this index.
const fn entry(index: usize) -> (&'static str, Kind) {
    let mut left = index;
    let mut groups = GROUPS;
    while let [(kind, names), rest @ ..] = groups {
        if let Some((_, [name, ..])) = names.split_at_checked(left) {
            return (name, *kind);
        }
        left -= names.len();
        groups = rest;
    }
    ("", Kind::Any)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_finds_itself_in_any_case() {
        for (index, name) in names().iter().enumerate().skip(1) {
            assert_eq!(usize::from(by_name(name.as_bytes()).0), index, "{name}");
            assert_eq!(
                usize::from(by_name(name.to_lowercase().as_bytes()).0),
                index,
                "{name}"
            );
            let mut long = name.as_bytes().to_vec();
            long.extend_from_slice(b"\r\n$3\r\nfoo\r\n");
            assert_eq!(usize::from(find(&long, name.len()).0), index, "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_fit() {
        let unique: HashSet<_> = names().iter().collect();
        assert_eq!(unique.len(), names().len());
        assert!(
            names()
                .iter()
                .all(|name| (1..=LONGEST).contains(&name.len()))
        );
        assert_eq!(names().first(), Some(&"other"));
    }

    #[test]
    fn other_names_are_other() {
        for name in [
            &b""[..],
            b"GETX",
            b"GE",
            b"GET\0",
            b"\0",
            b"other",
            b"TDIGEST.TRIMMED_MEANING.OF",
            &[b'A'; 64],
        ] {
            assert_eq!(by_name(name).0, OTHER, "{name:?}");
        }
    }

    /// Of redis 7.0's own `COMMAND LIST`, so that no label is forgotten.
    #[test]
    fn all_of_a_real_server_are_known() {
        for name in include_str!("testdata/commands-7.0.txt").split_whitespace() {
            assert_ne!(by_name(name.as_bytes()).0, OTHER, "{name}");
        }
    }
}
