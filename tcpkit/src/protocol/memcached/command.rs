//! The commands: their names, labels, and the answers that each can get.
//!
//! Text commands are those of memcached's doc/protocol.txt, binary ones those of its
//! BinaryProtocolRevamped page. Both share one list of labels.

/// Labels for statistics; an index into it is [`crate::protocol::Message::command`].
/// Variants that ask for the same thing share a label: `getq`, `getk` and `getkq` count as `get`.
pub(super) const LABELS: &[&str] = &[
    "other",
    "get",
    "gets",
    "gat",
    "gats",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "incr",
    "decr",
    "touch",
    "delete",
    "stats",
    "version",
    "verbosity",
    "flush_all",
    "quit",
    "cache_memlimit",
    "shutdown",
    "lru",
    "lru_crawler",
    "slabs",
    "watch",
    "extstore",
    "refresh_certs",
    "mg",
    "ms",
    "md",
    "ma",
    "mn",
    "me",
    "noop",
    "sasl",
];

/// The label of `set`.
pub(super) const SET: u16 = label("set");

/// The index of a label; 0, `other`, for one that is not listed.
#[expect(
    clippy::indexing_slicing,
    reason = "in bounds by the loop, and run at compile time"
)]
const fn label(name: &str) -> u16 {
    let mut index = 0;
    while index < LABELS.len() {
        if same(LABELS[index].as_bytes(), name.as_bytes()) {
            return index as u16;
        }
        index += 1;
    }
    0
}

#[expect(
    clippy::indexing_slicing,
    reason = "in bounds by the loop, and run at compile time"
)]
const fn same(left: &[u8], right: &[u8]) -> bool {
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}

/// Classes of answers, a bit each.
pub(super) mod word {
    /// `VALUE` items up to `END`, or `END` alone.
    pub const ITEMS: u32 = 1;
    /// `STORED`, `NOT_STORED`, `EXISTS`.
    pub const STORED: u32 = 1 << 1;
    /// `NOT_FOUND`.
    pub const NOT_FOUND: u32 = 1 << 2;
    /// A decimal number.
    pub const NUMBER: u32 = 1 << 3;
    /// `DELETED`.
    pub const DELETED: u32 = 1 << 4;
    /// `TOUCHED`.
    pub const TOUCHED: u32 = 1 << 5;
    /// `OK`.
    pub const OK: u32 = 1 << 6;
    /// `VERSION …`.
    pub const VERSION: u32 = 1 << 7;
    /// `STAT`, `ITEM`, `PREFIX` and `key=` lines up to `END`, or `END` alone; `RESET`.
    pub const LINES: u32 = 1 << 8;
    /// `HD`.
    pub const HD: u32 = 1 << 9;
    /// `VA`.
    pub const VA: u32 = 1 << 10;
    /// `EN`.
    pub const EN: u32 = 1 << 11;
    /// `NF`.
    pub const NF: u32 = 1 << 12;
    /// `NS`.
    pub const NS: u32 = 1 << 13;
    /// `EX`.
    pub const EX: u32 = 1 << 14;
    /// `MN`.
    pub const MN: u32 = 1 << 15;
    /// `ME …`.
    pub const ME: u32 = 1 << 16;
    /// `ERROR`, `CLIENT_ERROR`, `SERVER_ERROR`.
    pub const ERROR: u32 = 1 << 17;
    /// Any other line: `BUSY …`, `Error TLS not enabled`.
    pub const OTHER: u32 = 1 << 18;
    /// The answers of meta commands that repeat the request's `O` and `k` flags.
    pub const ECHO: u32 = HD | VA | NF | NS | EX;
}

/// What a request expects, as far as telling answers apart needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Store,
    Count,
    Delete,
    Touch,
    Stats,
    Sizes,
    Ok,
    Version,
    Watch,
    Shutdown,
    Admin,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaCount,
    MetaNoop,
    MetaDebug,
    /// No command, but to a server that takes it for one.
    Secret,
    Binary,
}

impl Kind {
    /// The classes of answers that a request of this kind can get; `quiet` where success goes unsaid.
    pub(super) fn accepts(self, quiet: bool) -> u32 {
        let all = self.answers()
            | if self == Self::MetaNoop {
                0
            } else {
                word::ERROR
            };
        if quiet { all & !self.silenced() } else { all }
    }

    fn answers(self) -> u32 {
        match self {
            Self::Get => word::ITEMS,
            Self::Store => word::STORED | word::NOT_FOUND,
            Self::Count => word::NUMBER | word::NOT_FOUND,
            Self::Delete => word::DELETED | word::NOT_FOUND,
            Self::Touch => word::TOUCHED | word::NOT_FOUND,
            Self::Stats => word::LINES | word::ITEMS | word::OK,
            Self::Sizes => word::LINES,
            Self::Ok => word::OK,
            Self::Version => word::VERSION,
            Self::Watch => word::OK | word::OTHER,
            Self::Shutdown => word::OK | word::OTHER,
            Self::Admin => word::OK | word::LINES | word::ITEMS | word::EN | word::OTHER,
            Self::MetaGet => word::VA | word::HD | word::EN,
            Self::MetaSet | Self::MetaDelete => word::HD | word::NS | word::EX | word::NF,
            Self::MetaCount => word::VA | word::HD | word::NF | word::NS | word::EX,
            Self::MetaNoop => word::MN,
            Self::MetaDebug => word::ME | word::EN,
            Self::Secret | Self::Binary => 0,
        }
    }

    /// What the `q` flag, or `noreply`, keeps the server from saying: what 1.6.18 and later ones never say. (That a key is
    /// not there is something that 1.6.18 says, and others not.)
    fn silenced(self) -> u32 {
        match self {
            Self::MetaGet => word::EN,
            Self::MetaSet | Self::MetaDelete => word::HD,
            Self::MetaCount => word::HD | word::VA,
            Self::Admin => word::ITEMS | word::LINES | word::EN,
            _ => 0,
        }
    }
}

/// How the parameters of a text command are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Keys from this parameter on.
    Keys(u8),
    /// `key flags exptime bytes`, then so many more, then `noreply`; a data block follows.
    Data(u8),
    /// Anything. The last parameter may be `noreply`, where there are so many of them, at least and at most: with
    /// more or less the server answers an error, or takes it for a key.
    Noreply(u8, u8),
    /// Anything.
    Plain,
    /// `key flags…`.
    Meta,
    /// `key datalen flags…`; a data block follows.
    MetaData,
    /// Nobody answers.
    Silent,
}

/// One text command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its word.
    pub name: &'static str,
    /// Index of its label.
    pub label: u16,
    /// What it expects.
    pub kind: Kind,
    /// Its parameters.
    pub shape: Shape,
}

const fn command(name: &'static str, kind: Kind, shape: Shape) -> Command {
    Command {
        name,
        label: label(name),
        kind,
        shape,
    }
}

/// The text commands, the frequent ones first.
static COMMANDS: &[Command] = &[
    command("get", Kind::Get, Shape::Keys(0)),
    command("set", Kind::Store, Shape::Data(0)),
    command("mg", Kind::MetaGet, Shape::Meta),
    command("ms", Kind::MetaSet, Shape::MetaData),
    command("gets", Kind::Get, Shape::Keys(0)),
    command("mn", Kind::MetaNoop, Shape::Plain),
    command("md", Kind::MetaDelete, Shape::Meta),
    command("ma", Kind::MetaCount, Shape::Meta),
    command("delete", Kind::Delete, Shape::Noreply(2, 3)),
    command("incr", Kind::Count, Shape::Noreply(2, 3)),
    command("decr", Kind::Count, Shape::Noreply(2, 3)),
    command("add", Kind::Store, Shape::Data(0)),
    command("replace", Kind::Store, Shape::Data(0)),
    command("append", Kind::Store, Shape::Data(0)),
    command("prepend", Kind::Store, Shape::Data(0)),
    command("cas", Kind::Store, Shape::Data(1)),
    command("touch", Kind::Touch, Shape::Noreply(2, 3)),
    command("gat", Kind::Get, Shape::Keys(1)),
    command("gats", Kind::Get, Shape::Keys(1)),
    command("me", Kind::MetaDebug, Shape::Plain),
    command("stats", Kind::Stats, Shape::Plain),
    command("version", Kind::Version, Shape::Plain),
    command("verbosity", Kind::Ok, Shape::Noreply(1, 2)),
    command("flush_all", Kind::Ok, Shape::Noreply(1, 2)),
    command("cache_memlimit", Kind::Ok, Shape::Noreply(1, 2)),
    command("quit", Kind::Ok, Shape::Silent),
    command("watch", Kind::Watch, Shape::Plain),
    command("shutdown", Kind::Shutdown, Shape::Plain),
    command("lru", Kind::Admin, Shape::Plain),
    command("lru_crawler", Kind::Admin, Shape::Plain),
    command("slabs", Kind::Admin, Shape::Plain),
    command("extstore", Kind::Admin, Shape::Plain),
    command("refresh_certs", Kind::Admin, Shape::Plain),
];

/// The text command of this word.
pub(super) fn text(word: &[u8]) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .find(|command| command.name.as_bytes() == word)
}

/// Whether the word of a text command begins so.
pub(super) fn might_begin(start: &[u8]) -> bool {
    let start = start.strip_suffix(b"\r").unwrap_or(start);
    COMMANDS
        .iter()
        .any(|command| command.name.as_bytes().starts_with(start))
}

/// What a binary request's extras hold, for printing and for checking its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extras {
    /// None.
    None,
    /// Flags and expiration of a value that is stored.
    Store,
    /// Delta, initial value, expiration.
    Count,
    /// Expiration.
    Expiry,
    /// Expiration, or none.
    MaybeExpiry,
    /// Verbosity level.
    Level,
    /// Anything: an opcode that is not known.
    Any,
}

impl Extras {
    /// Whether a request may have extras of this many bytes.
    pub(super) fn fits(self, length: u8) -> bool {
        match self {
            Self::None => length == 0,
            Self::Store => length == 8,
            Self::Count => length == 20,
            Self::Expiry | Self::Level => length == 4,
            Self::MaybeExpiry => length == 0 || length == 4,
            Self::Any => true,
        }
    }
}

/// One binary opcode.
#[derive(Debug)]
pub(super) struct Opcode {
    /// Its number.
    pub code: u8,
    /// Its name in the specification, lower case; what is printed.
    pub name: &'static str,
    /// Index of the label that it counts as.
    pub label: u16,
    /// The server may stay silent.
    pub quiet: bool,
    /// It reads one key: found or not counts.
    pub reads: bool,
    /// Its extras.
    pub extras: Extras,
}

const fn op(
    code: u8,
    name: &'static str,
    counts_as: &str,
    extras: Extras,
    quiet: bool,
    reads: bool,
) -> Opcode {
    Opcode {
        code,
        name,
        label: label(counts_as),
        quiet,
        reads,
        extras,
    }
}

static OPCODES: &[Opcode] = &[
    op(0x00, "get", "get", Extras::None, false, true),
    op(0x01, "set", "set", Extras::Store, false, false),
    op(0x02, "add", "add", Extras::Store, false, false),
    op(0x03, "replace", "replace", Extras::Store, false, false),
    op(0x04, "delete", "delete", Extras::None, false, false),
    op(0x05, "incr", "incr", Extras::Count, false, false),
    op(0x06, "decr", "decr", Extras::Count, false, false),
    op(0x07, "quit", "quit", Extras::None, false, false),
    op(
        0x08,
        "flush_all",
        "flush_all",
        Extras::MaybeExpiry,
        false,
        false,
    ),
    op(0x09, "getq", "get", Extras::None, true, true),
    op(0x0a, "noop", "noop", Extras::None, false, false),
    op(0x0b, "version", "version", Extras::None, false, false),
    op(0x0c, "getk", "get", Extras::None, false, true),
    op(0x0d, "getkq", "get", Extras::None, true, true),
    op(0x0e, "append", "append", Extras::None, false, false),
    op(0x0f, "prepend", "prepend", Extras::None, false, false),
    op(0x10, "stats", "stats", Extras::None, false, false),
    op(0x11, "setq", "set", Extras::Store, true, false),
    op(0x12, "addq", "add", Extras::Store, true, false),
    op(0x13, "replaceq", "replace", Extras::Store, true, false),
    op(0x14, "deleteq", "delete", Extras::None, true, false),
    op(0x15, "incrq", "incr", Extras::Count, true, false),
    op(0x16, "decrq", "decr", Extras::Count, true, false),
    op(0x17, "quitq", "quit", Extras::None, true, false),
    op(
        0x18,
        "flush_allq",
        "flush_all",
        Extras::MaybeExpiry,
        true,
        false,
    ),
    op(0x19, "appendq", "append", Extras::None, true, false),
    op(0x1a, "prependq", "prepend", Extras::None, true, false),
    op(0x1b, "verbosity", "verbosity", Extras::Level, false, false),
    op(0x1c, "touch", "touch", Extras::Expiry, false, false),
    op(0x1d, "gat", "gat", Extras::Expiry, false, true),
    op(0x1e, "gatq", "gat", Extras::Expiry, true, true),
    op(0x20, "sasl_list_mechs", "sasl", Extras::None, false, false),
    op(0x21, "sasl_auth", "sasl", Extras::None, false, false),
    op(0x22, "sasl_step", "sasl", Extras::None, false, false),
    op(0x23, "gatk", "gat", Extras::Expiry, false, true),
    op(0x24, "gatkq", "gat", Extras::Expiry, true, true),
];

static UNKNOWN: Opcode = op(0xff, "unknown", "other", Extras::Any, false, false);

/// The opcode of this number; a nameless one for a number that is not listed.
pub(super) fn opcode(code: u8) -> &'static Opcode {
    let is = |opcode: &&Opcode| opcode.code == code;
    // All but the last few stand at their own number.
    OPCODES
        .get(usize::from(code))
        .filter(is)
        .or_else(|| OPCODES.iter().find(is))
        .unwrap_or(&UNKNOWN)
}

impl Opcode {
    /// Whether it is one that the specification lists.
    pub(super) fn known(&self) -> bool {
        self.extras != Extras::Any
    }
}

/// The statistics opcode: many packets answer it.
pub(super) const STAT: u8 = 0x10;

/// Status codes. Up to 0xff they are the binary protocol's, and text answers of the same meaning
/// share them; above are those that only text has.
pub(super) mod status {
    pub const NOT_FOUND: u16 = 0x01;
    pub const EXISTS: u16 = 0x02;
    pub const NOT_STORED: u16 = 0x05;
    pub const AUTH_CONTINUE: u16 = 0x21;
    pub const ERROR: u16 = 0x100;
    pub const CLIENT_ERROR: u16 = 0x101;
    pub const SERVER_ERROR: u16 = 0x102;
    pub const BUSY: u16 = 0x103;
    pub const BADCLASS: u16 = 0x104;
    pub const NOSPARE: u16 = 0x105;
    pub const NOTFULL: u16 = 0x106;
    pub const UNSAFE: u16 = 0x107;
    pub const SAME: u16 = 0x108;
}

/// The name of a status.
pub(super) fn status_name(code: u16) -> Option<&'static str> {
    Some(match code {
        0x00 => "OK",
        status::NOT_FOUND => "NOT_FOUND",
        status::EXISTS => "EXISTS",
        0x03 => "TOO_LARGE",
        0x04 => "INVALID_ARGUMENTS",
        status::NOT_STORED => "NOT_STORED",
        0x06 => "NON_NUMERIC",
        0x07 => "WRONG_VBUCKET",
        0x20 => "AUTH_ERROR",
        status::AUTH_CONTINUE => "AUTH_CONTINUE",
        0x81 => "UNKNOWN_COMMAND",
        0x82 => "OUT_OF_MEMORY",
        0x83 => "NOT_SUPPORTED",
        0x84 => "INTERNAL_ERROR",
        0x85 => "BUSY",
        0x86 => "TEMPORARY_FAILURE",
        status::ERROR => "ERROR",
        status::CLIENT_ERROR => "CLIENT_ERROR",
        status::SERVER_ERROR => "SERVER_ERROR",
        status::BUSY => "BUSY",
        status::BADCLASS => "BADCLASS",
        status::NOSPARE => "NOSPARE",
        status::NOTFULL => "NOTFULL",
        status::UNSAFE => "UNSAFE",
        status::SAME => "SAME",
        _ => return None,
    })
}

/// Whether a status says that the server could not do what it was asked. A key that is not there,
/// is there already, or has changed is an outcome, and asking for the next SASL step is too.
pub(super) fn is_error(code: u16) -> bool {
    !matches!(
        code,
        0 | status::NOT_FOUND | status::EXISTS | status::NOT_STORED | status::AUTH_CONTINUE
    )
}
