//! Makes capture files for tests, byte by byte from the specifications.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is removed when dropped.
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpkit-file-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A frame that goes into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Nanoseconds since the epoch.
    pub time: u64,
    pub data: Vec<u8>,
    pub wire: u32,
}

impl Sample {
    pub(crate) fn new(time: u64, len: u8, wire: u32) -> Self {
        Self {
            time,
            data: (0..len).map(|byte| byte.wrapping_mul(7) ^ len).collect(),
            wire,
        }
    }
}

/// Some frames: one empty, one of odd length, one cut by a snap length, whole microseconds.
pub(crate) fn samples() -> Vec<Sample> {
    vec![
        Sample::new(1_500_000_000_123_456_000, 60, 60),
        Sample::new(1_500_000_000_123_457_000, 0, 0),
        Sample::new(1_500_000_001_000_000_000, 33, 33),
        Sample::new(1_500_000_001_999_999_000, 96, 1514),
        Sample::new(4_000_000_000_000_001_000, 1, 1),
    ]
}

/// Writes numbers in one byte order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes {
    pub bytes: Vec<u8>,
    pub big: bool,
}

impl Bytes {
    pub(crate) fn new(big: bool) -> Self {
        Self {
            bytes: Vec::new(),
            big,
        }
    }

    pub(crate) fn u16(&mut self, number: u16) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn put(&mut self, number: &[u8]) -> &mut Self {
        match self.big {
            true => self.bytes.extend(number),
            false => self.bytes.extend(number.iter().rev()),
        }
        self
    }
}

/// The magic numbers of classic files.
pub(crate) const MICRO: u32 = 0xa1b2_c3d4;
pub(crate) const NANO: u32 = 0xa1b2_3c4d;
pub(crate) const MODIFIED: u32 = 0xa1b2_cd34;

/// A classic file.
pub(crate) fn pcap(big: bool, magic: u32, link: u32, frames: &[Sample]) -> Vec<u8> {
    let mut out = Bytes::new(big);
    out.u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(65_535)
        .u32(link);
    let unit = if magic == NANO { 1 } else { 1000 };
    for frame in frames {
        record(&mut out, frame, unit, magic == MODIFIED);
    }
    out.bytes
}

fn record(out: &mut Bytes, frame: &Sample, unit: u64, modified: bool) {
    let (seconds, rest) = (frame.time / 1_000_000_000, frame.time % 1_000_000_000);
    out.u32(seconds as u32).u32((rest / unit) as u32);
    out.u32(frame.data.len() as u32).u32(frame.wire);
    if modified {
        out.u32(3).u16(0x0800).raw(&[0, 0]);
    }
    out.raw(&frame.data);
}

/// A pcapng file, block by block.
#[derive(Clone, Debug)]
pub(crate) struct Blocks(pub Bytes);

impl Blocks {
    /// A file that begins with a section in this byte order.
    pub(crate) fn new(big: bool) -> Self {
        Self(Bytes::new(big)).section(big)
    }

    pub(crate) fn section(mut self, big: bool) -> Self {
        self.0.big = big;
        let mut body = Bytes::new(big);
        body.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
        option(&mut body, 3, b"an operating system");
        body.u32(0);
        self.block(0x0a0d_0d0a, &body.bytes)
    }

    /// `options` are codes and values as in the file.
    pub(crate) fn interface(self, link: u16, snaplen: u32, options: &[(u16, Vec<u8>)]) -> Self {
        let mut body = Bytes::new(self.0.big);
        body.u16(link).u16(0).u32(snaplen);
        options_of(&mut body, options);
        self.block(1, &body.bytes)
    }

    pub(crate) fn enhanced(
        self,
        interface: u32,
        ticks: u64,
        frame: &Sample,
        options: &[(u16, Vec<u8>)],
    ) -> Self {
        let mut body = Bytes::new(self.0.big);
        body.u32(interface)
            .u32((ticks >> 32) as u32)
            .u32(ticks as u32);
        body.u32(frame.data.len() as u32).u32(frame.wire);
        padded(&mut body, &frame.data);
        options_of(&mut body, options);
        self.block(6, &body.bytes)
    }

    pub(crate) fn simple(self, frame: &Sample) -> Self {
        let mut body = Bytes::new(self.0.big);
        body.u32(frame.wire);
        padded(&mut body, &frame.data);
        self.block(3, &body.bytes)
    }

    pub(crate) fn obsolete(self, interface: u16, drops: u16, ticks: u64, frame: &Sample) -> Self {
        let mut body = Bytes::new(self.0.big);
        body.u16(interface)
            .u16(drops)
            .u32((ticks >> 32) as u32)
            .u32(ticks as u32);
        body.u32(frame.data.len() as u32).u32(frame.wire);
        padded(&mut body, &frame.data);
        self.block(2, &body.bytes)
    }

    pub(crate) fn statistics(self, interface: u32, options: &[(u16, Vec<u8>)]) -> Self {
        let mut body = Bytes::new(self.0.big);
        body.u32(interface).u32(0).u32(0);
        options_of(&mut body, options);
        self.block(5, &body.bytes)
    }

    /// A block of any type.
    pub(crate) fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let len = 12 + body.len() as u32;
        self.0.u32(kind).u32(len).raw(body).u32(len);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.bytes
    }

    /// A number as an option's value.
    pub(crate) fn value(&self, number: u64) -> Vec<u8> {
        let mut value = Bytes::new(self.0.big);
        value.u64(number);
        value.bytes
    }
}

fn options_of(body: &mut Bytes, options: &[(u16, Vec<u8>)]) {
    for (code, value) in options {
        option(body, *code, value);
    }
    if !options.is_empty() {
        body.u32(0);
    }
}

fn option(body: &mut Bytes, code: u16, value: &[u8]) {
    body.u16(code).u16(value.len() as u16);
    padded(body, value);
}

fn padded(body: &mut Bytes, bytes: &[u8]) {
    body.raw(bytes);
    body.bytes.resize(body.bytes.len().next_multiple_of(4), 0);
}
