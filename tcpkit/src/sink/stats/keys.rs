//! Hot and big keys, for a bounded number of them.
//!
//! Requests are counted as Misra and Gries do: of more keys than there is room for, all lose as many requests as the
//! median has, and those left with none go. A key's true count lies between what is told and that plus the error,
//! and summaries of several workers or seconds add up (Agarwal and others, "Mergeable Summaries", 2012).

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hasher as _, RandomState};

use hashbrown::HashTable;

use super::snapshot::{BigKey, HotKey, KeyForm};
use crate::limits;
use crate::protocol::Protocol;

type Name = (u16, Key);

/// Keys of a span of time.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// By port and key.
    hot: HashTable<Hot>,
    hasher: foldhash::fast::RandomState,
    /// The most that a key's count may be too small.
    error: u64,
    big: Vec<Big>,
    /// What is smaller than this is not among the biggest.
    floor: u64,
}

/// Bytes of a key that need no allocation: most keys are seen once, and forgotten soon.
const SHORT: usize = 38;

/// A key's bytes.
#[derive(Clone, Debug)]
enum Key {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, short) => short.get(..usize::from(*length)).unwrap_or(short),
            Self::Long(bytes) => bytes,
        }
    }
}

#[derive(Clone, Debug)]
struct Hot {
    name: Name,
    count: u64,
}

impl Hot {
    fn is(&self, port: u16, key: &[u8]) -> bool {
        self.name.0 == port && self.name.1.bytes() == key
    }
}

fn hash(hasher: &foldhash::fast::RandomState, port: u16, key: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u16(port);
    hasher.write(key);
    hasher.finish()
}

#[derive(Clone, Debug)]
struct Big {
    name: Name,
    bytes: u64,
    protocol: &'static dyn Protocol,
    command: u16,
}

impl Big {
    fn order(&self) -> (u16, &[u8]) {
        (self.name.0, self.name.1.bytes())
    }

    fn is(&self, (port, key): &Name) -> bool {
        self.order() == (*port, key.bytes())
    }
}

impl Keys {
    /// A request named this key at this port.
    pub fn count(&mut self, port: u16, key: &[u8]) {
        let key = key.get(..limits::KEY_BYTES).unwrap_or(key);
        self.add(port, key, 1);
        if self.hot.len() > limits::KEYS {
            self.cut();
        }
    }

    /// Hashes once, whether the key is known or new.
    fn add(&mut self, port: u16, key: &[u8], more: u64) {
        let hasher = &self.hasher;
        let entry = self.hot.entry(
            hash(hasher, port, key),
            |hot| hot.is(port, key),
            |hot| hash(hasher, hot.name.0, hot.name.1.bytes()),
        );
        let new = || Hot {
            name: (port, Key::new(key)),
            count: 0,
        };
        entry.or_insert_with(new).into_mut().count += more;
    }

    /// Whether a message of so many bytes may be among the biggest. Of equally large ones those that came first are.
    pub fn is_big(&self, bytes: u64) -> bool {
        bytes > self.floor
    }

    /// A message of so many bytes came with this key.
    pub fn weigh(
        &mut self,
        port: u16,
        key: &[u8],
        bytes: u64,
        command: (&'static dyn Protocol, u16),
    ) {
        if !self.is_big(bytes) {
            return;
        }
        let key = key.get(..limits::KEY_BYTES).unwrap_or(key);
        let (protocol, command) = command;
        self.add_big(Big {
            name: (port, Key::new(key)),
            bytes,
            protocol,
            command,
        });
    }

    fn add_big(&mut self, big: Big) {
        match self.big.iter_mut().find(|known| known.is(&big.name)) {
            Some(known) if known.bytes >= big.bytes => {}
            Some(known) => *known = big,
            None => self.big.push(big),
        }
        if self.big.len() > 2 * limits::KEYS_LISTED {
            self.cut_big();
        }
    }

    fn cut_big(&mut self) {
        self.big
            .sort_by(|a, b| (Reverse(a.bytes), a.order()).cmp(&(Reverse(b.bytes), b.order())));
        self.big.truncate(limits::KEYS_LISTED);
        if self.big.len() == limits::KEYS_LISTED {
            self.floor = self.big.last().map_or(0, |big| big.bytes);
        }
    }

    fn cut(&mut self) {
        let mut counts: Vec<u64> = self.hot.iter().map(|hot| hot.count).collect();
        let middle = counts.len() / 2;
        let (_, &mut median, _) = counts.select_nth_unstable(middle);
        self.error += median;
        self.hot.retain(|hot| {
            hot.count = hot.count.saturating_sub(median);
            hot.count > 0
        });
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        for hot in &other.hot {
            self.add(hot.name.0, hot.name.1.bytes(), hot.count);
        }
        self.error += other.error;
        if self.hot.len() > limits::KEYS {
            self.cut();
        }
        for big in other
            .big
            .iter()
            .filter(|big| big.bytes > self.floor)
            .cloned()
            .collect::<Vec<_>>()
        {
            self.add_big(big);
        }
    }

    /// The hottest, most requests first.
    pub fn hot(&self, shown: &Shown) -> Vec<HotKey> {
        let mut hot: Vec<&Hot> = self.hot.iter().collect();
        hot.sort_by_key(|hot| (Reverse(hot.count), hot.name.0, hot.name.1.bytes()));
        let listed = hot.into_iter().take(limits::KEYS_LISTED);
        listed
            .filter_map(|hot| {
                Some(HotKey {
                    port: hot.name.0,
                    key: shown.show(hot.name.1.bytes())?,
                    requests: hot.count,
                    error: self.error,
                })
            })
            .collect()
    }

    /// The biggest, largest first.
    pub fn big(&self, shown: &Shown) -> Vec<BigKey> {
        let mut sorted = self.clone();
        sorted.cut_big();
        let told = sorted.big.iter().filter_map(|big| {
            let (port, key) = &big.name;
            Some(BigKey {
                port: *port,
                key: shown.show(key.bytes())?,
                bytes: big.bytes,
                command: super::label(big.protocol, big.command).to_owned(),
            })
        });
        told.collect()
    }
}

/// How keys are shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Not at all.
    Not,
    /// As they are, escaped for a terminal.
    Plain,
    /// As a hash under a secret of this run (SipHash).
    Hashed(RandomState),
}

impl Shown {
    /// As the options ask.
    pub fn new(form: KeyForm) -> Self {
        match form {
            KeyForm::None => Self::Not,
            KeyForm::Plain => Self::Plain,
            KeyForm::Hash => Self::Hashed(RandomState::new()),
        }
    }

    /// What the snapshot says of it.
    pub fn form(&self) -> KeyForm {
        match self {
            Self::Not => KeyForm::None,
            Self::Plain => KeyForm::Plain,
            Self::Hashed(_) => KeyForm::Hash,
        }
    }

    /// A key as it is told.
    pub fn show(&self, key: &[u8]) -> Option<String> {
        match self {
            Self::Not => None,
            Self::Plain => {
                let mut text = Vec::with_capacity(key.len());
                for &byte in key {
                    crate::protocol::escape(byte, &mut text);
                }
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            Self::Hashed(secret) => Some(format!("{:016x}", secret.hash_one(key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key `i` is asked for `1000 / i` times, between floods of keys that are asked for once.
    fn traffic() -> (Keys, u64) {
        let (mut all, mut requests) = (Keys::default(), 0);
        for part in 0..4_u32 {
            let mut keys = Keys::default();
            for flood in 0..20_000_u32 {
                keys.count(1, format!("once:{part}:{flood}").as_bytes());
                requests += 1;
                for hot in 1..10 {
                    if flood % (hot * 8) == 0 {
                        keys.count(1, format!("hot:{hot}").as_bytes());
                        requests += 1;
                    }
                }
            }
            assert!(keys.hot.len() <= limits::KEYS);
            all.merge(&keys);
        }
        (all, requests)
    }

    #[test]
    fn hot_keys_are_found_within_the_stated_error() {
        let (keys, requests) = traffic();
        let told = keys.hot(&Shown::Plain);
        assert!(
            keys.error <= requests / (limits::KEYS as u64 / 2),
            "{}",
            keys.error
        );
        for hot in 1..10_u64 {
            let truth = 4 * 20_000_u64.div_ceil(hot * 8);
            let found = told.iter().find(|key| key.key == format!("hot:{hot}"));
            let (requests, error) = found.map_or((0, 0), |key| (key.requests, key.error));
            assert!(
                (requests..=requests + error).contains(&truth),
                "{hot}: {requests}+{error}, {truth}"
            );
        }
        assert_eq!(told[0].key, "hot:1");
    }

    #[test]
    fn the_biggest_message_of_each_key_is_kept() {
        let mut keys = Keys::default();
        let get = (crate::protocol::PROTOCOLS[0], 0);
        for size in 0..10_000_u64 {
            keys.weigh(1, format!("k{}", size % 500).as_bytes(), size, get);
        }
        let told = keys.big(&Shown::Plain);
        assert_eq!(told.len(), limits::KEYS_LISTED);
        assert_eq!((told[0].key.as_str(), told[0].bytes), ("k499", 9999));
        assert_eq!(told[63].bytes, 10_000 - 64);
    }

    #[test]
    fn hashes_tell_keys_apart_and_nothing_else() {
        let shown = Shown::new(KeyForm::Hash);
        assert_eq!(shown.show(b"a"), shown.show(b"a"));
        assert_ne!(shown.show(b"a"), shown.show(b"b"));
        assert_ne!(shown.show(b"a"), Shown::new(KeyForm::Hash).show(b"a"));
        assert_eq!(Shown::Not.show(b"a"), None);
    }
}
