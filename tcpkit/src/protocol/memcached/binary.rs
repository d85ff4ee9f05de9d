//! Binary packets: a header of 24 bytes, then extras, key and value.
//!
//! Follows memcached's BinaryProtocolRevamped page. Of a request the header, extras and key are
//! kept, of a response the header, and the key where it tells whose response it is; values are
//! stepped over.

use super::command::{self, Kind, Opcode, STAT, is_error, status};
use super::pending::{Entry, Reply, hash};
use super::reply::Done;
use super::{Head, Step, render};
use crate::limits::{MEMCACHED_KEY, MEMCACHED_REPLY_LINE};

/// First byte of a request.
pub(super) const REQUEST: u8 = 0x80;
/// First byte of a response.
pub(super) const RESPONSE: u8 = 0x81;
/// Length of the header in bytes.
pub(super) const HEADER: usize = 24;
/// The largest value that any build accepts is 1 GiB; a body beyond it is no memcached packet.
const BODY: u32 = (1 << 30) + 1024;

/// The header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub magic: u8,
    pub opcode: u8,
    pub key: u16,
    pub extras: u8,
    pub data_type: u8,
    /// The status of a response, the virtual bucket of a request.
    pub status: u16,
    pub body: u32,
    pub opaque: u32,
}

impl Header {
    /// The header that `bytes` begin with, if all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let &[
            magic,
            opcode,
            k0,
            k1,
            extras,
            data_type,
            s0,
            s1,
            b0,
            b1,
            b2,
            b3,
            o0,
            o1,
            o2,
            o3,
            ..,
        ] = bytes;
        Some(Self {
            magic,
            opcode,
            key: u16::from_be_bytes([k0, k1]),
            extras,
            data_type,
            status: u16::from_be_bytes([s0, s1]),
            body: u32::from_be_bytes([b0, b1, b2, b3]),
            opaque: u32::from_be_bytes([o0, o1, o2, o3]),
        })
    }

    /// Whether its lengths contradict each other.
    fn is_broken(&self) -> bool {
        self.prefix() as u64 > u64::from(self.body) || self.body > BODY
    }

    /// Length of extras and key.
    fn prefix(&self) -> usize {
        usize::from(self.extras) + usize::from(self.key)
    }

    /// Length of header, extras and key.
    fn head(&self) -> usize {
        HEADER + self.prefix()
    }

    /// Length of the whole packet.
    pub(super) fn len(&self) -> usize {
        HEADER + self.body as usize
    }

    /// Whether every field is as its opcode wants it, so that hardly anything else can look like it.
    pub(super) fn unmistakable(&self) -> bool {
        let opcode = command::opcode(self.opcode);
        let lengths = !self.is_broken() && usize::from(self.key) <= MEMCACHED_KEY;
        let fields = match self.magic {
            REQUEST => opcode.extras.fits(self.extras) && self.status < 0x400,
            RESPONSE => {
                matches!(self.extras, 0 | 4)
                    && command::status_name(self.status & 0xff).is_some()
                    && self.status < 0x100
            }
            _ => false,
        };
        lengths && fields && opcode.known() && self.data_type == 0
    }
}

/// The key and the extras of a packet, as far as `bytes` hold them.
pub(super) fn extras_and_key<'a>(header: &Header, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let end = bytes.len();
    let key = (HEADER + usize::from(header.extras)).min(end);
    let extras = bytes.get(HEADER.min(key)..key).unwrap_or_default();
    (
        extras,
        bytes.get(key..header.head().min(end)).unwrap_or_default(),
    )
}

/// The request that `bytes` begin with.
pub(super) fn request(bytes: &[u8]) -> Step<Head> {
    let Some(header) = Header::read(bytes) else {
        return Step::More;
    };
    if header.is_broken() {
        return Step::Bad("a binary request whose lengths contradict each other");
    }
    // A key that is too long is refused by the server; it need not be seen whole.
    let keep = header
        .head()
        .min(HEADER + usize::from(u8::MAX) + MEMCACHED_KEY);
    let Some(kept) = bytes.get(..keep) else {
        return Step::More;
    };
    let opcode = command::opcode(header.opcode);
    let rest = header.len() - keep;
    Step::Done(Head {
        len: keep,
        body: rest.saturating_sub(1) as u64,
        trailer: rest.min(1) as u8,
        command: opcode.label,
        entry: (opcode.name != "quitq").then(|| entry(&header, opcode, kept)),
        text: keep,
        text_len: render::binary_len(kept) as u32,
    })
}

fn entry(header: &Header, opcode: &Opcode, bytes: &[u8]) -> Entry {
    let mut entry = Entry::new(Kind::Binary);
    entry.count = u16::from(header.opcode);
    entry.tag = header.opaque;
    if opcode.quiet {
        entry.flags |= Entry::QUIET;
        entry.key = named_key(header, opcode, bytes);
    }
    if opcode.reads {
        entry.flags |= Entry::READS;
    }
    entry
}

/// The hash of the key where a quiet command's response repeats it.
fn named_key(header: &Header, opcode: &Opcode, bytes: &[u8]) -> u32 {
    let (_, key) = extras_and_key(header, bytes);
    let names = matches!(opcode.name, "getkq" | "gatkq") && !key.is_empty();
    if names { hash(key) } else { 0 }
}

/// A response packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Bytes looked at.
    pub len: usize,
    /// Bytes after them to step over.
    pub body: u64,
    /// Bytes after these that end the packet.
    pub trailer: u8,
    /// For finding its request.
    pub reply: Reply,
    /// Its status.
    pub status: u16,
    /// Keys found.
    pub hits: u32,
    /// Keys not found.
    pub misses: u32,
    /// Where in the bytes of this call the text of an error stands.
    pub text: Option<(usize, usize)>,
    /// More packets of the same response follow.
    pub more: bool,
}

impl Packet {
    /// The response that it ends.
    pub(super) fn done(&self) -> Done {
        Done {
            reply: self.reply,
            status: self.status,
            hits: self.hits,
            misses: self.misses,
            text: self.text,
        }
    }
}

/// The response packet that `bytes` begin with.
pub(super) fn response(bytes: &[u8]) -> Step<Packet> {
    let Some(header) = Header::read(bytes) else {
        return Step::More;
    };
    if header.is_broken() {
        return Step::Bad("a binary response whose lengths contradict each other");
    }
    let opcode = command::opcode(header.opcode);
    let error = is_error(header.status) && header.len() <= MEMCACHED_REPLY_LINE;
    let named = opcode.quiet && usize::from(header.key) <= MEMCACHED_KEY;
    let keep = match (error, named) {
        (true, _) => header.len(),
        (_, true) => header.head(),
        _ => HEADER,
    };
    let Some(kept) = bytes.get(..keep) else {
        return Step::More;
    };
    let rest = header.len() - keep;
    let reply = Reply {
        opcode: Some(header.opcode),
        quiet: opcode.quiet,
        tag: header.opaque,
        key: if named {
            named_key(&header, opcode, kept)
        } else {
            0
        },
        ..Reply::default()
    };
    Step::Done(Packet {
        len: keep,
        body: rest.saturating_sub(1) as u64,
        trailer: rest.min(1) as u8,
        reply,
        status: header.status,
        hits: u32::from(opcode.reads && header.status == 0),
        misses: u32::from(opcode.reads && header.status == status::NOT_FOUND),
        text: (error && header.head() < header.len()).then(|| (header.head(), header.len())),
        more: header.opcode == STAT && header.status == 0 && header.key > 0,
    })
}
