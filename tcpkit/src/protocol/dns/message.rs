//! What pairing and printing need of a DNS message: header, first question, extended response code.
//!
//! Read by hand, since a message must be paired even if what follows its first question is broken, and
//! a full parser refuses such a message as a whole. Layout: RFC 1035, section 4; the extended
//! response code: RFC 6891, section 6.1.3; zone transfers: RFC 5936 and RFC 1995.

use super::names;

/// Length of the header in bytes.
pub(super) const HEADER: usize = 12;

/// Longest name in bytes, and most labels in it.
const NAME: usize = 255;
/// Compression pointers that are followed in one name.
const HOPS: usize = 32;

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub id: u16,
    pub flags: u16,
    pub questions: u16,
    pub answers: u16,
    pub authorities: u16,
    pub additionals: u16,
}

/// QUERY.
pub(super) const QUERY: u8 = 0;
/// DNS stateful operations (RFC 8490).
pub(super) const DSO: u8 = 6;

impl Header {
    /// The header that a message begins with.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let &[i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, r0, r1] = message.first_chunk::<HEADER>()?;
        Some(Self {
            id: u16::from_be_bytes([i0, i1]),
            flags: u16::from_be_bytes([f0, f1]),
            questions: u16::from_be_bytes([q0, q1]),
            answers: u16::from_be_bytes([a0, a1]),
            authorities: u16::from_be_bytes([n0, n1]),
            additionals: u16::from_be_bytes([r0, r1]),
        })
    }

    /// Whether it is a response (QR).
    pub(super) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(super) fn opcode(&self) -> u8 {
        (self.flags >> 11 & 15) as u8
    }

    /// The lower four bits of the response code.
    fn rcode(&self) -> u16 {
        self.flags & 15
    }

    fn records(&self) -> usize {
        usize::from(self.answers) + usize::from(self.authorities) + usize::from(self.additionals)
    }
}

/// The first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Hash of name, without regard to case, type and class; never 0.
    pub hash: u64,
    /// The type that is asked for.
    pub kind: u16,
    /// The class.
    pub class: u16,
}

/// Why there is no question to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The header says that there is none.
    None,
    /// The message ends in it.
    Cut,
    /// It breaks the grammar.
    Broken,
}

/// The first question of a message.
pub(super) fn question(message: &[u8], header: &Header) -> Result<Question, Unread> {
    if header.questions == 0 {
        return Err(Unread::None);
    }
    let mut hash = Hash::new();
    let at = name(message, HEADER, &mut |label| {
        hash.byte(label.len() as u8);
        label
            .iter()
            .for_each(|byte| hash.byte(byte.to_ascii_lowercase()));
    })?;
    let tail = message.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let &[k0, k1, c0, c1] = tail.ok_or(Unread::Cut)?;
    [k0, k1, c0, c1].iter().for_each(|byte| hash.byte(*byte));
    Ok(Question {
        hash: hash.0.max(1),
        kind: u16::from_be_bytes([k0, k1]),
        class: u16::from_be_bytes([c0, c1]),
    })
}

/// Hands the labels of the name at `at` to `label`; returns where it ends. Pointers lead only
/// backwards (RFC 1035, section 4.1.4), so that none can lead in a circle.
pub(super) fn name(
    message: &[u8],
    at: usize,
    label: &mut dyn FnMut(&[u8]),
) -> Result<usize, Unread> {
    let (mut at, mut floor, mut end, mut hops, mut total) = (at, at, None, 0, 0);
    loop {
        let length = *message.get(at).ok_or(Unread::Cut)?;
        match length {
            0 => return Ok(end.unwrap_or(at + 1)),
            1..=63 => {
                let text = message.get(at + 1..at + 1 + usize::from(length));
                let text = text.ok_or(Unread::Cut)?;
                total += text.len() + 1;
                if total >= NAME {
                    return Err(Unread::Broken);
                }
                label(text);
                at += 1 + text.len();
            }
            0xc0.. => {
                let low = *message.get(at + 1).ok_or(Unread::Cut)?;
                let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                end = end.or(Some(at + 2));
                hops += 1;
                if target >= floor || hops > HOPS {
                    return Err(Unread::Broken);
                }
                (at, floor) = (target, target);
            }
            _ => return Err(Unread::Broken),
        }
    }
}

/// Where the name at `at` ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// A resource record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub kind: u16,
    ttl: u32,
    data: &'a [u8],
}

impl Record<'_> {
    /// The serial number of an SOA record: the first of the five numbers that end its data.
    pub(super) fn serial(&self) -> Option<u32> {
        let numbers = self.data.len().checked_sub(20)?;
        self.data
            .get(numbers..)?
            .first_chunk()
            .map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// The records of a message, until they end or break.
pub(super) struct Records<'a> {
    message: &'a [u8],
    /// Where the next one begins.
    pub at: usize,
    /// How many the header says are left.
    pub left: usize,
}

impl<'a> Records<'a> {
    /// All records, of answer, authority and additional section.
    pub(super) fn new(message: &'a [u8], header: &Header) -> Option<Self> {
        let mut at = HEADER;
        for _ in 0..header.questions {
            at = skip_name(message, at)? + 4;
        }
        Some(Self {
            message,
            at,
            left: header.records(),
        })
    }

    /// Whether all of them were read, and the message ends there.
    pub(super) fn ends_exactly(mut self) -> bool {
        while self.next().is_some() {}
        self.left == 0 && self.at == self.message.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let left = self.left.checked_sub(1)?;
        let at = skip_name(self.message, self.at)?;
        let &[k0, k1, _, _, t0, t1, t2, t3, l0, l1] = self.message.get(at..)?.first_chunk()?;
        let start = at + 10;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        let data = self.message.get(start..end)?;
        (self.left, self.at) = (left, end);
        let kind = u16::from_be_bytes([k0, k1]);
        Some(Record {
            kind,
            ttl: u32::from_be_bytes([t0, t1, t2, t3]),
            data,
        })
    }
}

const OPT: u16 = 41;
/// SOA.
pub(super) const SOA: u16 = 6;

/// The serial number of the copy of a zone that the client of an incremental transfer has (RFC 1995, section 3).
pub(super) fn copy(message: &[u8], header: &Header) -> Option<u32> {
    let record = Records::new(message, header)?.next()?;
    (record.kind == SOA).then(|| record.serial())?
}

/// The response code, with the upper eight bits that an OPT record brings.
pub(super) fn rcode(message: &[u8], header: &Header) -> u16 {
    let extended = || Records::new(message, header)?.find(|record| record.kind == OPT);
    let upper = if header.additionals > 0 {
        extended()
    } else {
        None
    };
    upper.map_or(0, |record| (record.ttl >> 24) as u16) << 4 | header.rcode()
}

/// Whether these bytes are a DNS message and can hardly be anything else: its flags fit each other,
/// one question of a known type and class, and records that end where the message ends.
///
/// Left out on purpose, since they share the format but nobody answers them on the same
/// conversation: multicast DNS (identifier 0; RFC 6762, section 18.1), LLMNR (a bare host name, no
/// recursion), NetBIOS names.
pub(super) fn unmistakable(message: &[u8]) -> Option<Header> {
    let header = plausible(message)?;
    let question = question(message, &header).ok()?;
    let known = names::kind(question.kind).is_some() && !matches!(question.kind, OPT);
    let class = matches!(question.class, 1 | 3 | 4 | 254 | 255);
    let alien = is_netbios(message) || is_llmnr(message, &header);
    let exact = Records::new(message, &header)?.ends_exactly();
    (known && class && !alien && exact).then_some(header)
}

/// The header of a message whose flags and counts are as they can be.
pub(super) fn plausible(message: &[u8]) -> Option<Header> {
    const Z: u16 = 0x0040;
    const TC_RA_RCODE: u16 = 0x0200 | 0x0080 | 0x000f;
    let header = Header::read(message)?;
    let flags = header.flags & Z == 0
        && header.id != 0
        && matches!(header.opcode(), QUERY | 4 | 5)
        && (header.is_response() || header.flags & TC_RA_RCODE == 0);
    let counts = header.questions == 1
        && (header.is_response()
            || header.opcode() != QUERY
            || (header.answers == 0 && header.authorities <= 1 && header.additionals <= 4));
    (flags && counts).then_some(header)
}

/// A NetBIOS name is 16 bytes, each written as two letters from A to P (RFC 1001, section 14.1).
fn is_netbios(message: &[u8]) -> bool {
    let name = message.get(HEADER + 1..HEADER + 33).unwrap_or_default();
    message.get(HEADER) == Some(&32) && name.iter().all(|byte| matches!(byte, b'A'..=b'P'))
}

/// Link-local multicast name resolution asks for single labels and never for recursion (RFC 4795).
fn is_llmnr(message: &[u8], header: &Header) -> bool {
    const RD_RA_AA: u16 = 0x0100 | 0x0080 | 0x0400;
    let mut labels = 0;
    let read = name(message, HEADER, &mut |_| labels += 1);
    header.opcode() == QUERY && header.flags & RD_RA_AA == 0 && read.is_ok() && labels == 1
}

/// A small hash that is the same in every run (FNV-1a).
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// Hands the pieces of the printed request to `put`: each its bytes as they are, and whether they
/// are a label to be escaped. `NOTIFY SOA example.com.`: the operation unless it is a query, the
/// type, the name.
pub(super) fn compose(message: &[u8], put: &mut dyn FnMut(&[u8], bool)) {
    let Some(header) = Header::read(message) else {
        return;
    };
    let mut number = [0_u8; 11];
    let opcode = header.opcode();
    let asked = question(message, &header).ok();
    if opcode != QUERY || asked.is_none() {
        let known = if opcode == QUERY {
            Some("QUERY")
        } else {
            names::opcode(opcode)
        };
        put(
            known.map_or(
                numbered(b"OPCODE", opcode.into(), &mut number),
                str::as_bytes,
            ),
            false,
        );
    }
    let Some(asked) = asked else { return };
    if opcode != QUERY {
        put(b" ", false);
    }
    let known = names::kind(asked.kind);
    // RFC 3597, section 5.
    put(
        known.map_or(numbered(b"TYPE", asked.kind, &mut number), str::as_bytes),
        false,
    );
    put(b" ", false);
    let mut root = true;
    let _ = name(message, HEADER, &mut |label| {
        root = false;
        put(label, true);
        put(b".", false);
    });
    if root {
        put(b".", false);
    }
}

/// A word and a number behind it, without an allocation.
fn numbered<'a>(word: &[u8], number: u16, out: &'a mut [u8; 11]) -> &'a [u8] {
    let digits = [10_000, 1000, 100, 10, 1].map(|unit| b'0' + (number / unit % 10) as u8);
    let zeros = digits
        .iter()
        .take(4)
        .take_while(|digit| **digit == b'0')
        .count();
    let text = word.iter().chain(digits.iter().skip(zeros));
    let mut used = 0;
    for (slot, byte) in out.iter_mut().zip(text) {
        *slot = *byte;
        used += 1;
    }
    out.get(..used).unwrap_or_default()
}
