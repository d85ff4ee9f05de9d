//! Files made byte by byte, and the frames that must come out of them.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read, Write};

use proptest::prelude::*;

use super::make::{Blocks, Bytes, MICRO, MODIFIED, NANO, Sample, Scratch, pcap, samples};
use super::*;
use crate::source::LinkType;

/// What a frame was, kept beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub time: u64,
    pub data: Vec<u8>,
    pub wire: u32,
    pub number: u64,
    pub interface: u32,
    pub link: u16,
}

impl Seen {
    fn of(frame: &Frame<'_>) -> Self {
        assert!(frame.wire_len as usize >= frame.data.len());
        Self {
            time: frame.time.0,
            data: frame.data.to_vec(),
            wire: frame.wire_len,
            number: frame.number,
            interface: frame.interface,
            link: frame.link.0,
        }
    }
}

/// All that a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct All {
    pub frames: Vec<Seen>,
    pub interfaces: Vec<Interface>,
    pub report: SourceReport,
}

pub(super) fn all(mut source: FileSource) -> Result<All, SourceError> {
    let mut frames = Vec::new();
    while let Some(frame) = source.next_frame()? {
        frames.push(Seen::of(&frame));
    }
    assert!(source.next_frame()?.is_none(), "the end stays the end");
    let (interfaces, report) = (source.interfaces().to_vec(), source.report());
    Ok(All {
        frames,
        interfaces,
        report,
    })
}

/// As [`all`], in batches.
fn batched(mut source: FileSource) -> Result<All, SourceError> {
    let mut frames = Vec::new();
    source.each_batch(BATCH, |batch| {
        frames.extend(batch.iter().map(Seen::of));
        true
    })?;
    let (interfaces, report) = (source.interfaces().to_vec(), source.report());
    Ok(All {
        frames,
        interfaces,
        report,
    })
}

/// Gives a few bytes at a time, as a pipe may.
struct Dripping(std::io::Cursor<Vec<u8>>, usize);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(self.1);
        self.1 = self.1 % 13 + 1;
        self.0.read(&mut buffer[..len])
    }
}

fn streamed(bytes: &[u8]) -> Result<All, SourceError> {
    let open = || {
        let reader = Dripping(std::io::Cursor::new(bytes.to_vec()), 1);
        FileSource::from_reader("f", reader)
    };
    let stream = open().and_then(all);
    if !is_packed(bytes) {
        assert_eq!(open().and_then(batched), stream);
    }
    stream
}

/// Reads the bytes mapped and streamed, and wants the same from both.
fn read(bytes: &[u8]) -> Result<All, SourceError> {
    let file = Scratch::new(bytes);
    let strip = |text: &str| text.replace(&file.0.display().to_string(), "f");
    let mapped = FileSource::open(&file.0).and_then(all);
    if !is_packed(bytes) {
        assert_eq!(FileSource::open(&file.0).and_then(batched), mapped);
    }
    let mapped = mapped
        .map_err(|error| SourceError(strip(&error.0)))
        .map(|mut all| {
            for notice in &mut all.report.notices {
                *notice = strip(notice);
            }
            all
        });
    let stream = streamed(bytes);
    match (&mapped, &stream) {
        // A decompressor gives up at a place that depends on how its bytes came.
        (mapped, stream) if is_packed(bytes) => agree_at_first(mapped, stream),
        (Ok(mapped), Ok(stream)) => assert_eq!(mapped, stream),
        (Err(mapped), Err(stream)) if bytes.is_empty() => {
            assert_ne!(mapped.0, "", "{}", stream.0);
        }
        (Err(mapped), Err(stream)) => assert_eq!(mapped.0, stream.0),
        _ => unreachable!("mapped {mapped:?} streamed {stream:?}"),
    }
    mapped
}

fn is_packed(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|magic| unpack::Packing::of(*magic).is_some())
}

fn agree_at_first(one: &Result<All, SourceError>, other: &Result<All, SourceError>) {
    if let (Ok(one), Ok(other)) = (one, other) {
        let both = one.frames.len().min(other.frames.len());
        assert_eq!(one.frames[..both], other.frames[..both]);
    }
}

fn matches(seen: &[Seen], frames: &[Sample]) {
    assert_eq!(seen.len(), frames.len());
    for (index, (seen, frame)) in seen.iter().zip(frames).enumerate() {
        assert_eq!(seen.number, index as u64 + 1);
        assert_eq!(
            (seen.time, &seen.data, seen.wire),
            (frame.time, &frame.data, frame.wire)
        );
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

#[test]
fn every_classic_variant() {
    for (big, magic) in [MICRO, NANO, MODIFIED]
        .into_iter()
        .flat_map(|m| [(false, m), (true, m)])
    {
        let got = read(&pcap(big, magic, 1, &samples())).unwrap();
        matches(&got.frames, &samples());
        assert_eq!(got.report, SourceReport::default());
        let interface = Interface {
            link: LinkType::ETHERNET,
            name: None,
            snaplen: 65_535,
        };
        assert_eq!(got.interfaces, [interface]);
    }
}

#[test]
fn nanoseconds_are_kept() {
    let frames = [Sample::new(1_500_000_000_123_456_789, 9, 9)];
    matches(
        &read(&pcap(false, NANO, 1, &frames)).unwrap().frames,
        &frames,
    );
}

#[test]
fn the_upper_half_of_the_link_type_is_not_the_link() {
    let got = read(&pcap(false, MICRO, 0x3400_0001, &samples())).unwrap();
    assert!(got.frames.iter().all(|frame| frame.link == 1));
    let got = read(&pcap(false, MICRO, 12, &samples())).unwrap();
    assert!(got.frames.iter().all(|frame| frame.link == LinkType::RAW.0));
}

#[test]
fn a_header_alone_is_a_file_without_frames() {
    for bytes in [pcap(false, MICRO, 1, &[]), Blocks::new(true).bytes()] {
        let got = read(&bytes).unwrap();
        assert!(got.frames.is_empty() && got.report.notices.is_empty());
    }
}

#[test]
fn lengths_the_wrong_way_round() {
    // Version 2.3 files of some programs have the length on the wire first.
    let mut bytes = Bytes::new(false);
    bytes.u32(MICRO).u16(2).u16(3).u32(0).u32(0).u32(96).u32(1);
    bytes.u32(5).u32(0).u32(100).u32(3).raw(b"abc");
    let old = read(&bytes.bytes).unwrap();
    assert_eq!(
        (old.frames[0].data.as_slice(), old.frames[0].wire),
        (b"abc".as_slice(), 100)
    );
    // Version 2.4 means what it says; a wire length that is too short is put right.
    let mut bytes = Bytes::new(false);
    bytes.u32(MICRO).u16(2).u16(4).u32(0).u32(0).u32(96).u32(1);
    bytes.u32(5).u32(0).u32(3).u32(1).raw(b"abc");
    let new = read(&bytes.bytes).unwrap();
    assert_eq!(
        (new.frames[0].data.as_slice(), new.frames[0].wire),
        (b"abc".as_slice(), 3)
    );
}

/// A pcapng file with everything in it, and the frames that it holds.
fn blocks(big: bool) -> (Vec<u8>, Vec<Seen>) {
    let frames = samples();
    let seen = |index: usize, time, wire, number, interface, link| Seen {
        time,
        data: frames[index].data.clone(),
        wire,
        number,
        interface,
        link,
    };
    let file = Blocks::new(big);
    let (offset, drops) = (file.value(100), file.value(3));
    let bytes = file
        .interface(1, 0, &[(2, b"eth0".to_vec())])
        .interface(
            113,
            96,
            &[
                (9, vec![9]),
                (2, b"any\0".to_vec()),
                (1, b"a comment".to_vec()),
            ],
        )
        .interface(101, 33, &[(9, vec![0x80 | 10]), (14, offset)])
        .enhanced(0, frames[0].time / 1000, &frames[0], &[])
        .block(0x0bad, b"unknown!")
        .enhanced(
            1,
            42,
            &frames[3],
            &[(2, vec![0, 0, 0, 1]), (4, drops.clone())],
        )
        .enhanced(2, 1536, &frames[2], &[])
        .obsolete(1, 2, 43, &frames[1])
        .simple(&frames[2])
        .statistics(
            0,
            &[(4, drops.clone()), (5, drops.clone()), (7, drops.clone())],
        )
        .statistics(0, &[(5, drops)])
        .section(!big)
        .interface(1, 0, &[(2, b"eth0".to_vec())])
        .interface(228, 0, &[])
        .enhanced(1, 7, &frames[4], &[])
        .bytes();
    let expected = vec![
        seen(0, frames[0].time, 60, 1, 0, 1),
        seen(3, 42, 1514, 2, 1, 113),
        seen(2, 101_500_000_000, 33, 3, 2, 101),
        seen(1, 43, 0, 4, 1, 113),
        seen(2, 43, 33, 5, 0, 1),
        seen(4, 7000, 1, 6, 3, 228),
    ];
    (bytes, expected)
}

#[test]
fn every_block() {
    for big in [false, true] {
        let (bytes, expected) = blocks(big);
        let got = read(&bytes).unwrap();
        assert_eq!(got.frames, expected);
        assert_eq!(
            got.report,
            SourceReport {
                dropped: 3 + 5,
                notices: Vec::new()
            }
        );
        let names: Vec<_> = got
            .interfaces
            .iter()
            .map(|known| known.name.as_deref())
            .collect();
        assert_eq!(names, [Some("eth0"), Some("any"), None, None]);
        assert_eq!(got.interfaces[1].snaplen, 96);
    }
}

#[test]
fn simple_packets_are_as_long_as_the_snap_length() {
    let frame = Sample::new(0, 8, 1514);
    let bytes = Blocks::new(false)
        .interface(1, 6, &[])
        .simple(&frame)
        .bytes();
    let got = read(&bytes).unwrap();
    assert_eq!(
        (got.frames[0].data.as_slice(), got.frames[0].wire),
        (&frame.data[..6], 1514)
    );
}

#[test]
fn compressed_in_several_members() {
    for plain in [pcap(true, NANO, 1, &samples()), blocks(false).0] {
        let expected = read(&plain).unwrap();
        let (left, right) = plain.split_at(plain.len() / 2);
        for packed in [[gzip(left), gzip(right)], [zstd(left), zstd(right)]] {
            assert_eq!(read(&packed.concat()).unwrap(), expected);
        }
    }
}

#[test]
fn zstd_may_begin_with_a_skippable_frame() {
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    let bytes = [&skippable[..], &zstd(&pcap(false, MICRO, 1, &samples()))].concat();
    matches(&read(&bytes).unwrap().frames, &samples());
}

#[test]
fn cut_compressed_files_give_what_could_be_unpacked() {
    let plain = pcap(false, NANO, 1, &samples());
    for packed in [gzip(&plain), zstd(&plain)] {
        for cut in 0..packed.len() {
            match read(&packed[..cut]) {
                Ok(got) => {
                    matches(&got.frames, &samples()[..got.frames.len()]);
                    assert_eq!(got.report.notices.len(), 1, "{cut}");
                    assert!(
                        got.report.notices[0].contains("cut off"),
                        "{:?}",
                        got.report
                    );
                }
                Err(error) => assert!(error.0.starts_with("f: ") || cut == 0, "{error}"),
            }
        }
    }
}

#[test]
fn damaged_compression_is_a_notice() {
    let plain = pcap(false, NANO, 1, &vec![Sample::new(5, 200, 200); 50_000]);
    for mut packed in [gzip(&plain), zstd(&plain)] {
        let middle = packed.len() / 2;
        packed[middle..middle + 8].fill(0xff);
        let got = read(&packed).unwrap();
        assert!(got.frames.len() < 50_000);
        // Either the decompressor finds it, or what it made of it is no record.
        assert!(
            got.report.notices[0].contains("damaged"),
            "{:?}",
            got.report.notices
        );
    }
}

#[test]
fn classic_files_cut_at_every_byte() {
    let frames = samples();
    let bytes = pcap(false, MICRO, 1, &frames);
    let mut ends = vec![24];
    for frame in &frames {
        ends.push(ends.last().unwrap() + 16 + frame.data.len());
    }
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let Ok(got) = read(&bytes[..cut]) else {
            assert!(cut < 24, "{cut}");
            continue;
        };
        matches(&got.frames, &frames[..whole - 1]);
        assert_eq!(got.report.notices.is_empty(), ends.contains(&cut), "{cut}");
    }
}

#[test]
fn block_files_cut_at_every_byte() {
    let (bytes, expected) = blocks(true);
    let mut clean = 0;
    for cut in 0..bytes.len() {
        let Ok(got) = read(&bytes[..cut]) else {
            assert!(cut < 64, "{cut}");
            continue;
        };
        assert_eq!(got.frames, expected[..got.frames.len()]);
        clean += usize::from(got.report.notices.is_empty());
    }
    assert_eq!(clean, 15, "a cut between two blocks is no cut");
}

#[test]
fn a_cut_is_told_with_its_place() {
    let bytes = pcap(false, MICRO, 1, &samples());
    let got = read(&bytes[..24 + 76 + 7]).unwrap();
    let notice = "f: cut off at byte 100, after frame 1: the header of a record needs 16 bytes, and 7 are left";
    assert_eq!(got.report.notices, [notice]);
}

#[test]
fn a_frame_too_long_ends_the_file() {
    let mut bytes = Bytes::new(false);
    bytes.raw(&pcap(false, MICRO, 1, &samples()));
    let at = bytes.bytes.len();
    bytes
        .u32(1)
        .u32(1)
        .u32(262_145)
        .u32(262_145)
        .raw(&[0; 300_000]);
    let got = read(&bytes.bytes).unwrap();
    matches(&got.frames, &samples());
    let notice = format!(
        "f: damaged at byte {at}, after frame 5: a frame of 262145 bytes, where 262144 is the most; what follows was not read"
    );
    assert_eq!(got.report.notices, [notice]);
}

#[test]
fn damaged_blocks_end_the_file() {
    let frame = Sample::new(0, 8, 8);
    let good = || {
        Blocks::new(false)
            .interface(1, 0, &[])
            .enhanced(0, 1, &frame, &[])
    };
    let mut trailer = good().enhanced(0, 1, &frame, &[]).bytes();
    let last = trailer.len() - 4;
    trailer[last] ^= 4;
    let cases = [
        (
            good().enhanced(1, 1, &frame, &[]).bytes(),
            "interface 1, which was not described",
        ),
        (
            good().block(6, &[0; 8]).bytes(),
            "a packet block of 20 bytes",
        ),
        (
            good().section(false).simple(&frame).bytes(),
            "interface 0, which was not described",
        ),
        (trailer, "says"),
        ([good().bytes(), vec![0; 40]].concat(), "a block of 0 bytes"),
    ];
    for (bytes, words) in cases {
        let got = read(&bytes).unwrap();
        assert_eq!(got.frames.len(), 1);
        assert!(
            got.report.notices[0].contains(words),
            "{:?}",
            got.report.notices
        );
    }
}

#[test]
fn interfaces_are_bounded() {
    let mut file = Blocks::new(false);
    for _ in 0..=crate::limits::INTERFACES {
        file = file.interface(1, 0, &[]);
    }
    let got = streamed_whole(file.bytes());
    assert_eq!(got.interfaces.len(), crate::limits::INTERFACES);
    assert!(got.report.notices[0].contains("more than 65536 interfaces"));
}

fn streamed_whole(bytes: Vec<u8>) -> All {
    all(FileSource::from_reader("f", std::io::Cursor::new(bytes)).unwrap()).unwrap()
}

#[test]
fn long_unknown_blocks_are_passed_over_and_not_held() {
    let frame = Sample::new(0, 8, 8);
    let bytes = Blocks::new(false)
        .interface(1, 0, &[])
        .block(0x4000_0bad, &vec![0; 20 << 20])
        .enhanced(0, 0, &frame, &[])
        .bytes();
    let mut source = FileSource::from_reader("f", std::io::Cursor::new(bytes)).unwrap();
    assert_eq!(source.next_frame().unwrap().unwrap().data, frame.data);
}

#[test]
fn what_is_not_a_capture_file_is_said() {
    let error = |bytes: &[u8]| read(bytes).unwrap_err().0;
    assert_eq!(
        error(b"GET / HTTP/1.1\r\n"),
        "f: not a capture file (begins with \"GET / HT\"; pcap, pcapng, and either of them gzip or zstd compressed are read)"
    );
    assert!(error(&[0x7f, b'E', b'L', b'F', 2]).contains("(begins with 7f 45 4c 46 02;"));
    assert!(error(&gzip(b"hello, world")).contains("inside the gzip data, not a capture file"));
    assert!(error(&gzip(b"")).contains("inside the gzip data, there is nothing to read"));
    assert!(error(&pcap(false, MICRO, 1, &[])[..20]).contains("after 20 of 24 bytes"));
    assert!(error(&Blocks::new(false).bytes()[..20]).contains("after 20 of 28 bytes"));
    let mut version = pcap(false, MICRO, 1, &[]);
    version[4] = 1;
    assert_eq!(
        error(&version),
        "f: a pcap file of version 1.4; only 2.x is read"
    );
    let mut version = Blocks::new(false).bytes();
    version[12] = 2;
    assert!(error(&version).contains("a section of version 2.0"));
}

#[test]
fn what_cannot_be_opened_is_said() {
    let error = |path: &Path| FileSource::open(path).unwrap_err().0;
    assert_eq!(
        error(Path::new("/nonexistent/x")),
        "/nonexistent/x: there is no such file"
    );
    assert!(error(Path::new("/")).contains("it is a directory"));
    assert!(error(&Scratch::new(b"").0).ends_with("the file is empty"));
    assert!(error(Path::new("/dev/null")).ends_with("there is nothing to read"));
}

#[test]
fn a_file_that_grew_is_read_to_its_new_end_once() {
    let bytes = pcap(false, MICRO, 1, &samples());
    let file = Scratch::new(&bytes[..24 + 76 + 3]);
    let mut first = FileSource::open(&file.0).unwrap();
    let second = first.reopen().unwrap();
    assert_eq!(first.next_frame().unwrap().unwrap().number, 1);
    std::fs::write(&file.0, &bytes[..bytes.len() - 1]).unwrap();
    let rest = all(first).unwrap();
    assert_eq!(rest.frames.len(), 3);
    assert!(rest.report.notices[0].contains("needs 17 bytes, and 16 are left"));
    // What comes later still is for nobody: all readers see the same end.
    std::fs::write(&file.0, &bytes).unwrap();
    let again = all(second).unwrap();
    matches(&again.frames, &samples()[..4]);
    assert_eq!(again.report, rest.report);
}

/// Shortens a mapped file between two frames: within a page, where zeros follow, at the end of
/// a page, where the next read is a SIGBUS, and to nothing.
#[test]
fn a_file_that_shrank_ends_with_a_notice() {
    let frames = vec![Sample::new(1, 200, 200); 1000];
    for bytes in [pcap(false, MICRO, 1, &frames), block_file(&frames)] {
        for len in [6000, 4096, 0] {
            shorten_while_reading(&bytes, len);
        }
    }
}

fn shorten_while_reading(bytes: &[u8], len: u64) {
    let file = Scratch::new(bytes);
    let mut source = FileSource::open(&file.0).unwrap();
    let mut other = source.reopen().unwrap();
    assert_eq!(source.next_frame().unwrap().unwrap().number, 1);
    let handle = std::fs::OpenOptions::new().write(true).open(&file.0);
    handle.unwrap().set_len(len).unwrap();
    let got = all(source).unwrap();
    assert!(got.frames.len() < 40, "{}", got.frames.len());
    let words = format!("it was shortened to {len} bytes while it was read");
    assert!(got.report.notices[0].contains(&words), "{:?}", got.report);
    while other.next_frame().unwrap().is_some() {}
    assert!(other.report().notices[0].contains(&words));
}

fn block_file(frames: &[Sample]) -> Vec<u8> {
    let file = Blocks::new(false).interface(1, 0, &[]);
    frames
        .iter()
        .fold(file, |file, frame| file.enhanced(0, 1, frame, &[]))
        .bytes()
}

#[test]
fn readers_share_a_map() {
    let file = Scratch::new(&blocks(false).0);
    let source = FileSource::open(&file.0).unwrap();
    let again = source.reopen().unwrap();
    assert_eq!(all(again).unwrap(), all(source).unwrap());
    let packed = Scratch::new(&gzip(&blocks(false).0));
    assert!(FileSource::open(&packed.0).unwrap().reopen().is_none());
}

#[test]
fn progress_reaches_the_end() {
    for bytes in [pcap(false, MICRO, 1, &samples()), gzip(&blocks(false).0)] {
        let file = Scratch::new(&bytes);
        let source = FileSource::open(&file.0).unwrap();
        let progress = source.progress().unwrap();
        all(source).unwrap();
        assert_eq!(
            (progress.done(), progress.total()),
            (bytes.len() as u64, bytes.len() as u64)
        );
    }
    assert!(FileSource::from_reader("f", &b"\xd4\xc3\xb2\xa1"[..]).is_err());
}

#[test]
fn a_reader_that_is_dropped_early_ends_its_thread() {
    let plain = pcap(false, MICRO, 1, &vec![Sample::new(1, 250, 250); 100_000]);
    let packed = gzip(&plain);
    let mut source = FileSource::from_reader("f", std::io::Cursor::new(packed)).unwrap();
    assert!(source.next_frame().unwrap().is_some());
}

#[test]
fn a_failing_reader_is_an_error() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let header = std::io::Cursor::new(pcap(false, MICRO, 1, &[]));
    let mut source = FileSource::from_reader("f", header.chain(Failing)).unwrap();
    assert!(
        source
            .next_frame()
            .unwrap_err()
            .0
            .starts_with("f: cannot be read on: ")
    );
}

/// Bytes that begin as a capture file of some kind and go on as they like.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop_oneof![
        Just(Vec::new()),
        Just(pcap(false, MICRO, 1, &samples())),
        Just(pcap(true, MODIFIED, 1, &samples())),
        Just(blocks(false).0),
        Just(blocks(true).0),
        Just(gzip(&blocks(true).0)),
        Just(zstd(&pcap(false, NANO, 1, &samples()))),
    ];
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    let tail = proptest::collection::vec(any::<u8>(), 0..200);
    (heads, changes, tail).prop_map(|(mut bytes, changes, tail)| {
        bytes.extend(tail);
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing panics, nothing hangs, and a map and a stream tell the same.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in hostile()) {
        if let Ok(got) = read(&bytes) {
            let held: usize = got.frames.iter().map(|frame| frame.data.len()).sum();
            prop_assert!(held <= 1 << 20);
            prop_assert!(got.report.notices.len() <= 1);
        }
    }

    #[test]
    fn frames_come_back_as_they_were(
        lens in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u32>()), 0..40),
        big in any::<bool>(),
    ) {
        let frames: Vec<Sample> = lens.iter().map(|(len, more, time)| {
            Sample::new(u64::from(*time) * 1_000, *len, u32::from(*len) + u32::from(*more))
        }).collect();
        matches(&read(&pcap(big, NANO, 1, &frames)).unwrap().frames, &frames);
        let file = Blocks::new(big).interface(1, 0, &[]);
        let file = frames.iter().fold(file, |file, frame| {
            file.enhanced(0, frame.time / 1000, frame, &[])
        });
        matches(&read(&file.bytes()).unwrap().frames, &frames);
    }
}
