//! Prints a request as a user would type it, without its secrets.
//!
//! Reads the first bytes of a request as they were on the wire, makes one line: arguments apart
//! by a space, quoted as `redis-cli` quotes where they are empty or not plain. Passwords of AUTH,
//! HELLO, ACL SETUSER, MIGRATE, CONFIG SET and SENTINEL SET are `***`, also where the bytes end
//! within one, and where an argument was forgotten.

use super::request::{self, Argument, Arguments, Words};
use super::token;
use crate::protocol::escape;

/// What stands in a secret's place.
const HIDDEN: &[u8] = b"***";

/// Bytes of a command or option that are compared.
const OPTION_BYTES: usize = 32;

/// Appends the text of the request that begins with `kept`; returns how many bytes of the
/// unescaped text that is.
pub(super) fn render(kept: &[u8], max: usize, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    if let Some(written) = common(kept, max, out) {
        return written;
    }
    out.truncate(begin);
    if kept.first() == Some(&b'*') {
        let arguments = Arguments::of(kept);
        let total = arguments.left();
        return print(arguments, total, max, out);
    }
    let end = memchr::memchr(b'\n', kept).unwrap_or(kept.len());
    let line = kept.get(..end).unwrap_or(kept);
    let words = Words::of(line.strip_suffix(b"\r").unwrap_or(line));
    let total = words.clone().count() as u32;
    print(words, total, max, out)
}

/// What nearly all requests are: whole, without secrets, and nothing in them needs quotes. `None` is for all
/// others, with something appended perhaps.
fn common(kept: &[u8], max: usize, out: &mut Vec<u8>) -> Option<usize> {
    let begin = out.len();
    let (arguments, mut len, mut data) = request::begin(kept)?;
    if rule_of(data.get(..len as usize)?) != Rule::Open {
        return None;
    }
    for index in 0..arguments {
        if index > 0 {
            (len, data) = token::next_string(data, len)?;
            out.push(b' ');
        }
        let bytes = data.get(..len as usize).filter(|bytes| !bytes.is_empty())?;
        // A copy whose length is known, of which some is taken back, is faster than one of any length.
        match data.first_chunk::<BLOCK>() {
            Some(block) if bytes.len() <= BLOCK => {
                if !begins_plain(block, len as u8) {
                    return None;
                }
                let end = out.len() + bytes.len();
                out.extend_from_slice(block);
                out.truncate(end);
            }
            _ if are_plain(bytes) => out.extend_from_slice(bytes),
            _ => return None,
        }
        if out.len() - begin > max {
            return None;
        }
    }
    Some(out.len() - begin)
}

fn print<'a>(
    arguments: impl Iterator<Item = Argument<'a>>,
    total: u32,
    max: usize,
    out: &mut Vec<u8>,
) -> usize {
    let mut page = Page {
        begin: out.len(),
        max,
        out,
    };
    let mut secrets = Secrets::new(total);
    let mut written = 0;
    for (index, argument) in arguments.enumerate() {
        if index > 0 {
            if !page.put(b" ") {
                break;
            }
            written += 1;
        }
        let shown = secrets.shown(&argument.bytes);
        let Some(len) = page.argument(&argument, shown) else {
            break;
        };
        written += len;
        if len < argument.len as usize {
            break;
        }
    }
    written
}

/// How much of an argument may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    All,
    /// Only so many first bytes; the rest is a secret.
    First(usize),
}

/// Where text is written, up to a limit.
struct Page<'a> {
    begin: usize,
    max: usize,
    out: &'a mut Vec<u8>,
}

impl Page<'_> {
    fn room(&self) -> usize {
        self.max.saturating_sub(self.out.len() - self.begin)
    }

    /// Writes all of `bytes` or nothing.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.out.extend_from_slice(bytes);
        }
        fits
    }

    /// Writes an argument; returns how many of its bytes that tells, `None` if nothing could be
    /// written.
    fn argument(&mut self, argument: &Argument<'_>, shown: Shown) -> Option<usize> {
        match shown {
            Shown::All => self.text(argument),
            Shown::First(len) => {
                let first = argument.bytes.get(..len).unwrap_or_default();
                (self.put(first) && self.put(HIDDEN)).then_some(argument.len as usize)
            }
        }
    }

    fn text(&mut self, argument: &Argument<'_>) -> Option<usize> {
        let visible = argument.bytes.get(..self.room()).unwrap_or(&argument.bytes);
        if !argument.bytes.is_empty() && are_plain(visible) {
            self.out.extend_from_slice(visible);
            return Some(visible.len());
        }
        if argument.bytes.is_empty() && argument.len > 0 {
            return Some(0);
        }
        self.quoted(argument)
    }

    fn quoted(&mut self, argument: &Argument<'_>) -> Option<usize> {
        if !self.put(b"\"") {
            return None;
        }
        let mut written = 0;
        let mut sign = Vec::with_capacity(4);
        for byte in argument.bytes.iter() {
            sign.clear();
            match byte {
                b'"' => sign.extend_from_slice(b"\\\""),
                byte => escape(*byte, &mut sign),
            }
            if !self.put(&sign) {
                return Some(written);
            }
            written += 1;
        }
        if written == argument.len as usize {
            self.put(b"\"");
        }
        Some(written)
    }
}

/// What needs no quotes to be read back as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() & (byte != b'"') & (byte != b'\'')
}

/// Bytes that are looked at in one go: one by one they would be most of what printing a request costs.
const BLOCK: usize = 16;

/// Whether none of these bytes needs quotes. The last block may overlap the one before.
fn are_plain(bytes: &[u8]) -> bool {
    let odd = |all: u8, byte: &u8| all | u8::from(!is_plain(*byte));
    let whole = |block: &[u8; BLOCK]| block.iter().fold(0, odd) == 0;
    match bytes.last_chunk() {
        Some(last) => bytes.as_chunks().0.iter().all(whole) && whole(last),
        None => bytes.iter().all(|byte| is_plain(*byte)),
    }
}

/// Whether none of the first `len` bytes of a block needs quotes; at least one. Eight bytes at a time as a number: what the
/// compiler makes of single bytes, of which some do not count, takes twice as many instructions.
fn begins_plain(block: &[u8; BLOCK], len: u8) -> bool {
    const PLAIN: u128 = u128::from_ne_bytes([b'a'; BLOCK]);
    let counts = u128::MAX >> (8 * (BLOCK - usize::from(len).clamp(1, BLOCK)));
    let block = u128::from_le_bytes(*block) & counts | PLAIN & !counts;
    (odd_in(block as u64) | odd_in((block >> 64) as u64)) == 0
}

/// Not 0 if one of eight bytes is not plain.
#[inline(always)]
fn odd_in(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The highest bit of some byte is set if a byte is below `least`, which is at most 128; all bytes being below 128.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, b'!') | is(0x7f) | is(b'"') | is(b'\'')) & (ONES << 7)
}

/// Which rule of [`Secrets`] holds for the arguments that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The command's name comes.
    Name,
    /// Nothing is secret.
    Open,
    /// AUTH: the last argument, with a user before it perhaps; of any other number, all.
    Auth,
    /// All that follows.
    Secret,
    /// HELLO: behind the option AUTH and a user.
    Hello,
    /// ACL: rules of SETUSER.
    Acl,
    AclUser,
    AclRules,
    /// ACL DRYRUN: a user, and then a request.
    AclDryrun,
    /// COMMAND: the request behind GETKEYS and GETKEYSANDFLAGS.
    Command,
    /// MIGRATE: behind AUTH, and behind AUTH2 and a user.
    Migrate,
    /// CONFIG, SENTINEL, MODULE: values of settings whose name says so.
    Settings,
    /// Behind the first of them: names and values by turns, a name being next.
    Names,
    /// A value being next.
    Values,
}

/// Tells secrets, argument by argument.
#[derive(Debug)]
struct Secrets {
    rule: Rule,
    total: u32,
    index: u32,
    /// In how many arguments a secret comes; 0 for never.
    due: u32,
    /// Arguments that are an option's value and no option.
    values: u32,
}

impl Secrets {
    /// Of a request with so many arguments.
    fn new(total: u32) -> Self {
        Self {
            rule: Rule::Name,
            total,
            index: 0,
            due: 0,
            values: 0,
        }
    }

    /// How much of the next argument may be shown.
    #[inline]
    fn shown(&mut self, bytes: &[u8]) -> Shown {
        let index = self.index;
        self.index += 1;
        match self.rule {
            Rule::Open => Shown::All,
            Rule::Name => {
                self.rule = rule_of(bytes);
                Shown::All
            }
            _ => self.by_rule(index, bytes),
        }
    }

    #[inline(never)]
    fn by_rule(&mut self, index: u32, bytes: &[u8]) -> Shown {
        if self.values > 0 {
            self.values -= 1;
            return Shown::All;
        }
        // Of a user and a password behind AUTH2 one may be forgotten, and then the first is the secret.
        let secret = self.due == 1 || self.due > 1 && self.rule == Rule::Migrate;
        self.due = self.due.saturating_sub(1);
        if secret {
            if self.rule == Rule::Values {
                self.rule = Rule::Names;
            }
            return Shown::First(0);
        }
        let word = bytes
            .get(..OPTION_BYTES)
            .unwrap_or(bytes)
            .to_ascii_uppercase();
        self.option(index, &word, bytes)
    }

    fn option(&mut self, index: u32, word: &[u8], bytes: &[u8]) -> Shown {
        let left = self.total.saturating_sub(index + 1);
        match self.rule {
            Rule::Secret => return Shown::First(0),
            Rule::Auth if index > 1 || self.total != 3 => return Shown::First(0),
            // A user, a password, and perhaps SETNAME and a name; else somebody forgot one of them.
            Rule::Hello if word == b"AUTH" && self.due == 0 => self.pairs(left, 2),
            Rule::Hello if word == b"SETNAME" && self.due == 0 => self.values = 1,
            // In place of the database and the timeout, which are numbers, it is an option as well.
            Rule::Migrate if index < 4 || self.due > 0 => {}
            Rule::Migrate if word == b"AUTH" => self.due = 1,
            Rule::Migrate if word == b"AUTH2" => self.due = left.clamp(1, 2),
            Rule::Migrate if word == b"KEYS" => self.rule = Rule::Open,
            Rule::Acl => self.rule = acl_command(word),
            Rule::AclUser => self.rule = Rule::AclRules,
            Rule::AclRules => return acl_rule(bytes),
            Rule::AclDryrun => self.nested(left),
            Rule::Command if word.starts_with(b"GETKEYS") => self.nested(left),
            Rule::Command => self.rule = Rule::Open,
            Rule::Settings if word.contains(&b' ') => {
                let name = bytes.iter().position(|byte| *byte == b' ').unwrap_or(0);
                let prefix = word.get(..name).unwrap_or_default();
                if is_secret_setting(prefix) {
                    return Shown::First(name);
                }
            }
            Rule::Settings if is_secret_setting(word) => {
                self.rule = Rule::Values;
                // Of which one is the value's, and two are each other's.
                self.pairs(left + 1, 1);
            }
            Rule::Names if !may_be_setting(bytes) => {
                // A password of several words, more likely.
                self.rule = Rule::Secret;
                return Shown::First(0);
            }
            Rule::Names => {
                self.rule = Rule::Values;
                self.due = u32::from(is_secret_setting(word));
            }
            Rule::Values => self.rule = Rule::Names,
            _ => {}
        }
        Shown::All
    }

    /// So many arguments follow, a secret being in `due` of them; where they do not come in pairs, who knows where.
    fn pairs(&mut self, follow: u32, due: u32) {
        match follow % 2 {
            0 => self.due = due,
            _ => self.rule = Rule::Secret,
        }
    }

    /// A request of so many arguments follows.
    fn nested(&mut self, arguments: u32) {
        *self = Self::new(arguments);
    }
}

/// Commands that may have secrets among their arguments.
const RULES: [(&[u8], Rule); 8] = [
    (b"ACL", Rule::Acl),
    (b"AUTH", Rule::Auth),
    (b"COMMAND", Rule::Command),
    (b"CONFIG", Rule::Settings),
    (b"HELLO", Rule::Hello),
    (b"MIGRATE", Rule::Migrate),
    (b"MODULE", Rule::Settings),
    (b"SENTINEL", Rule::Settings),
];

fn rule_of(command: &[u8]) -> Rule {
    let named = |(name, _): &&(&[u8], Rule)| command.eq_ignore_ascii_case(name);
    RULES
        .iter()
        .find(named)
        .map_or(Rule::Open, |(_, rule)| *rule)
}

fn acl_command(name: &[u8]) -> Rule {
    match name {
        b"SETUSER" => Rule::AclUser,
        b"DRYRUN" => Rule::AclDryrun,
        _ => Rule::Open,
    }
}

/// `>password`, `<password`, `#hash`, `!hash`: the sign may be seen. A selector, `(…)`, may have none, but somebody may try.
fn acl_rule(rule: &[u8]) -> Shown {
    let is_sign = |byte: &u8| matches!(byte, b'>' | b'<' | b'#' | b'!');
    let begun = rule.trim_ascii_start();
    let is_secret = match begun.first() {
        Some(b'(') => begun.iter().any(is_sign),
        first => first.is_some_and(is_sign),
    };
    match is_secret {
        true => Shown::First(usize::from(begun.len() == rule.len())),
        false => Shown::All,
    }
}

/// `requirepass`, `masterauth`, `tls-key-file-pass`, `sentinel-pass`, `auth-pass`, and what
/// modules and later versions name alike.
fn is_secret_setting(name: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
    has(b"PASS") || has(b"SECRET") || has(b"TOKEN") || name.ends_with(b"AUTH")
}

/// Settings of one word that a running server takes.
#[rustfmt::skip]
const SETTINGS: [&[u8]; 18] = [
    b"activedefrag", b"activerehashing", b"appendfsync", b"appendonly", b"bind", b"dbfilename", b"dir", b"hz",
    b"loglevel", b"masterauth", b"masteruser", b"maxclients", b"maxmemory", b"port", b"quorum", b"requirepass",
    b"save", b"timeout",
];

/// Whether a setting may have this name: a word of a password would have to look just so.
fn may_be_setting(name: &[u8]) -> bool {
    let is_part =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte);
    let is_compound = name.iter().any(|byte| b"-.".contains(byte));
    SETTINGS.contains(&name) || is_compound && name.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests of words that are plain, secret, empty, or need quotes, in one piece.
    fn requests() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            "(?-u)[!-~]{0,40}".prop_map(String::into_bytes),
            prop::sample::select(vec![
                "AUTH", "auth", "CONFIG", "SET", "get", "HELLO", "pass"
            ])
            .prop_map(|word| word.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(word, 1..6).prop_map(|words| {
            let mut request = format!("*{}\r\n", words.len()).into_bytes();
            for word in words {
                request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                request.extend_from_slice(&word);
                request.extend_from_slice(b"\r\n");
            }
            request
        })
    }

    /// Mostly plain bytes, and those at the edges of what is.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![8 => b'!'..=b'~', 1 => any::<u8>(), 1 => prop::sample::select(b" !\x7f~\x80\"'".to_vec())]
    }

    proptest! {
        #[test]
        fn a_block_is_plain_where_each_of_its_bytes_is(
            block in prop::array::uniform16(byte()),
            len in 1..=BLOCK,
        ) {
            let expected = block.iter().take(len).all(|byte| is_plain(*byte));
            prop_assert_eq!(begins_plain(&block, len as u8), expected);
        }

        #[test]
        fn the_common_way_says_what_the_whole_one_says(
            request in requests(),
            kept in 0..200_usize,
            max in 0..100_usize,
        ) {
            let kept = request.get(..kept).unwrap_or(&request);
            let mut common = b"before ".to_vec();
            let written = super::common(kept, max, &mut common);
            let mut whole = b"before ".to_vec();
            let arguments = Arguments::of(kept);
            let total = arguments.left();
            let said = print(arguments, total, max, &mut whole);
            prop_assert!(written.is_none_or(|written| written == said && common == whole));
        }
    }
}
