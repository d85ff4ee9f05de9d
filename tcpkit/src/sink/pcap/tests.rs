//! What is written is read back: by this program's own reader, and by tshark.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::source::file::FileSource;
use crate::source::{LinkType, Source, Timestamp};

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpkit-save-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn writer(&self, name: &str) -> Writer {
        Writer::create(Settings {
            path: self.0.join(name),
            ..Settings::default()
        })
        .unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const DATA: [u8; 61] = [0x5a; 61];

fn frame(number: u64, len: usize, interface: u32, link: LinkType) -> Frame<'static> {
    Frame {
        data: &DATA[..len],
        time: Timestamp(1_700_000_000_123_456_000 + number),
        number,
        wire_len: 1500,
        interface,
        link,
    }
}

/// Time, data, wire length, link type and interface name of every frame.
type Row = (u64, Vec<u8>, u32, u16, Option<String>);

fn rows(path: &Path) -> Vec<Row> {
    let mut source = FileSource::open(path).unwrap();
    let mut rows = Vec::new();
    while let Some(frame) = source.next_frame().unwrap() {
        let (time, data) = (frame.time.0, frame.data.to_vec());
        let (wire, link, interface) = (frame.wire_len, frame.link.0, frame.interface as usize);
        rows.push((
            time,
            data,
            wire,
            link,
            source.interfaces()[interface].name.clone(),
        ));
    }
    assert_eq!(source.report().notices, [""; 0]);
    rows
}

fn row(frame: &Frame<'_>, name: Option<&str>) -> Row {
    (
        frame.time.0,
        frame.data.to_vec(),
        frame.wire_len,
        frame.link.0,
        name.map(str::to_owned),
    )
}

/// Frames as tshark prints them, or nothing where it is missing.
fn tshark(path: &Path) -> Option<Vec<String>> {
    let fields = [
        "frame.time_epoch",
        "frame.cap_len",
        "frame.len",
        "frame.interface_name",
    ];
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let run = Command::new("tshark")
        .arg("-r")
        .arg(path)
        .args(["-T", "fields"])
        .args(fields)
        .output();
    let Ok(run) = run else {
        println!("skipped: tshark is not installed");
        return None;
    };
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    Some(
        String::from_utf8(run.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn classic_files_come_back() {
    let scratch = Scratch::new();
    let frames = [
        frame(1, 60, 0, LinkType::RAW),
        frame(2, 0, 0, LinkType::RAW),
        frame(3, 61, 0, LinkType::RAW),
    ];
    let mut writer = scratch.writer("a.pcap");
    for frame in &frames {
        writer.save(frame).unwrap();
    }
    writer.finish().unwrap();
    let path = scratch.0.join("a.pcap");
    assert_eq!(rows(&path), frames.each_ref().map(|frame| row(frame, None)));
    if let Some(lines) = tshark(&path) {
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].trim_end(), "1700000000.123456003\t61\t1500");
    }
}

#[test]
fn a_number_that_means_another_interface_is_described_anew() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer("a.pcapng");
    let interface = |name: &str| Interface {
        link: LinkType::ETHERNET,
        name: Some(name.to_owned()),
        snaplen: 0,
    };
    let known = writer.interfaces();
    known.learn(&["eth0", "veth1"].map(interface));
    let frames = [1, 0, 1, 1, 0, 1].map(|of| frame(1, 60, of, LinkType::ETHERNET));
    let (before, after) = frames.split_at(3);
    before.iter().for_each(|frame| writer.save(frame).unwrap());
    known.replace(1, &interface("veth2"));
    after.iter().for_each(|frame| writer.save(frame).unwrap());
    writer.finish().unwrap();
    let names = ["veth1", "eth0", "veth1", "veth2", "eth0", "veth2"];
    let expected: Vec<_> = frames
        .iter()
        .zip(names)
        .map(|(frame, name)| row(frame, Some(name)))
        .collect();
    assert_eq!(rows(&scratch.0.join("a.pcapng")), expected);
}

#[test]
fn block_files_come_back_with_their_interfaces() {
    let scratch = Scratch::new();
    let frames = [
        frame(1, 60, 2, LinkType::ETHERNET),
        frame(2, 33, 0, LinkType::LINUX_SLL),
        frame(3, 0, 2, LinkType::ETHERNET),
        frame(4, 61, 7, LinkType::RAW),
    ];
    let mut writer = scratch.writer("a.PcapNG");
    let interface = |link, name: &str| Interface {
        link,
        name: Some(name.to_owned()),
        snaplen: 96,
    };
    let known = [
        interface(LinkType::LINUX_SLL, "any"),
        interface(LinkType::ETHERNET, "eth1"),
        interface(LinkType::ETHERNET, "eth2"),
    ];
    writer.interfaces().learn(&known[..1]);
    writer.interfaces().learn(&known);
    for frame in &frames {
        writer.save(frame).unwrap();
    }
    writer.finish().unwrap();
    let path = scratch.0.join("a.PcapNG");
    let names = [Some("eth2"), Some("any"), Some("eth2"), None];
    let expected: Vec<_> = frames
        .iter()
        .zip(names)
        .map(|(frame, name)| row(frame, name))
        .collect();
    assert_eq!(rows(&path), expected);
    if let Some(lines) = tshark(&path) {
        assert_eq!(lines[0], "1700000000.123456001\t60\t1500\teth2");
        assert_eq!(lines[1], "1700000000.123456002\t33\t1500\tany");
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn files_without_frames_are_files() {
    let scratch = Scratch::new();
    for name in ["a.pcap", "a.pcapng"] {
        let mut writer = scratch.writer(name);
        writer.finish().unwrap();
        assert!(rows(&scratch.0.join(name)).is_empty());
        assert!(tshark(&scratch.0.join(name)).is_none_or(|lines| lines.is_empty()));
    }
}

#[test]
fn two_links_in_a_classic_file_are_refused_with_the_way_out() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer("a.pcap");
    writer.save(&frame(1, 60, 0, LinkType::ETHERNET)).unwrap();
    let error = writer
        .save(&frame(2, 60, 1, LinkType::RAW))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a.pcap: cannot be written: a pcap file holds one link type"),
        "{error}"
    );
    assert!(
        error.contains("frame 2 is raw IP after Ethernet; name the file .pcapng"),
        "{error}"
    );
    writer.finish().unwrap();
    assert_eq!(rows(&scratch.0.join("a.pcap")).len(), 1);
}

#[test]
fn rotation_never_exceeds_the_size_and_loses_nothing() {
    for name in ["a.pcap", "a.pcapng"] {
        let scratch = Scratch::new();
        let path = scratch.0.join(name);
        let settings = Settings {
            path: path.clone(),
            size: Some(500),
            ..Settings::default()
        };
        let mut writer = Writer::create(settings).unwrap();
        for number in 1..=40 {
            writer
                .save(&frame(number, 60, 0, LinkType::ETHERNET))
                .unwrap();
        }
        writer.finish().unwrap();
        let mut times = Vec::new();
        for turn in 0..scratch.names().len() {
            let suffix = if turn == 0 {
                String::new()
            } else {
                turn.to_string()
            };
            let part = scratch.0.join(format!("{name}{suffix}"));
            assert!(std::fs::metadata(&part).unwrap().size() <= 500);
            times.extend(
                rows(&part)
                    .into_iter()
                    .map(|row| row.0 - 1_700_000_000_123_456_000),
            );
        }
        assert_eq!(times, (1..=40).collect::<Vec<u64>>());
    }
}

#[test]
fn a_ring_keeps_the_latest_files() {
    let scratch = Scratch::new();
    let path = scratch.0.join("a.pcap");
    let settings = Settings {
        path,
        size: Some(30),
        files: Some(11),
        ..Settings::default()
    };
    let mut writer = Writer::create(settings).unwrap();
    for number in 1..=13 {
        writer
            .save(&frame(number, 60, 0, LinkType::ETHERNET))
            .unwrap();
    }
    writer.finish().unwrap();
    let names: Vec<_> = (0..11).map(|turn| format!("a.pcap{turn:02}")).collect();
    assert_eq!(scratch.names(), names);
    let first = |name: &str| rows(&scratch.0.join(name))[0].0 - 1_700_000_000_123_456_000;
    assert_eq!(
        (first("a.pcap00"), first("a.pcap01"), first("a.pcap02")),
        (12, 13, 3)
    );
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let scratch = Scratch::new();
    let mut writer = scratch.writer("a.pcapng");
    let (path, moved) = (scratch.0.join("a.pcapng"), scratch.0.join("b.pcapng"));
    writer.save(&frame(1, 60, 0, LinkType::ETHERNET)).unwrap();
    writer.reopen().unwrap();
    writer.save(&frame(2, 60, 0, LinkType::ETHERNET)).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    writer.reopen().unwrap();
    writer.save(&frame(3, 60, 0, LinkType::ETHERNET)).unwrap();
    writer.finish().unwrap();
    assert_eq!((rows(&moved).len(), rows(&path).len()), (2, 1));
}

#[test]
fn errors_name_the_file_or_the_option() {
    let create = |settings| Writer::create(settings).unwrap_err().to_string();
    let missing = Settings {
        path: "/nonexistent/a.pcap".into(),
        ..Settings::default()
    };
    assert!(create(missing).starts_with("/nonexistent/a.pcap: cannot be written: "));
    let files = Settings {
        path: "a.pcap".into(),
        files: Some(3),
        ..Settings::default()
    };
    assert!(create(files).contains("--write-files needs --write-size"));
    let output = Settings {
        path: "-".into(),
        size: Some(3),
        ..Settings::default()
    };
    assert!(create(output).contains("--write-size needs a file"));
    let full = Settings {
        path: "/dev/full".into(),
        ..Settings::default()
    };
    let mut writer = Writer::create(full).unwrap();
    writer.save(&frame(1, 60, 0, LinkType::ETHERNET)).unwrap();
    assert!(
        writer
            .finish()
            .unwrap_err()
            .to_string()
            .starts_with("/dev/full: cannot be written")
    );
}

#[test]
fn the_file_that_is_read_is_not_written_over() {
    let scratch = Scratch::new();
    let path = scratch.0.join("a.pcap");
    std::fs::write(&path, b"precious").unwrap();
    std::fs::hard_link(&path, scratch.0.join("b.pcap")).unwrap();
    let inputs = vec![scratch.0.join("c.pcap"), scratch.0.join("b.pcap")];
    let settings = Settings {
        path: path.clone(),
        inputs,
        ..Settings::default()
    };
    let error = Writer::create(settings).unwrap_err().to_string();
    assert!(
        error.ends_with("it is a file that the run reads"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}
