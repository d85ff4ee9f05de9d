//! A file in parts comes to what the whole does, or to nothing.

use std::ffi::OsString;

use super::*;
use crate::cli::{self, Command, Options};
use crate::pipeline::run::Signals;
use crate::pipeline::scripts::Scripts;
use crate::pipeline::setup::Setup;
use crate::sink::stats::summary::Summary;
use crate::source::file::make::Scratch;

/// A recording: redis conversations that wait for their answers, a value of 1 KiB each time.
struct Recording {
    bytes: Vec<u8>,
    /// Where each record begins.
    records: Vec<usize>,
}

const CLIENTS: u16 = 20;
const HEADERS: usize = 14 + 20 + 20;

impl Recording {
    /// About so many bytes of it.
    fn new(bytes: usize) -> Self {
        let mut bytes_out = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        bytes_out.extend([0; 8]);
        bytes_out.extend([0, 0, 4, 0, 1, 0, 0, 0]);
        let mut recording = Self {
            bytes: bytes_out,
            records: Vec::new(),
        };
        let value = "v".repeat(1024);
        let ask = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1024\r\n{value}\r\n");
        let mut next = vec![[1000_u32, 2000]; usize::from(CLIENTS)];
        let mut turn = 0_usize;
        while recording.bytes.len() < bytes {
            let client = turn % usize::from(CLIENTS);
            let port = 40_000 + client as u16;
            let [asked, answered] = &mut next[client];
            if turn < usize::from(CLIENTS) {
                recording.segment(port, true, [*asked - 1, 0], 2, b"");
                recording.segment(port, false, [*answered - 1, *asked], 0x12, b"");
                recording.segment(port, true, [*asked, *answered], 0x10, b"");
            }
            recording.segment(port, true, [*asked, *answered], 0x18, ask.as_bytes());
            *asked += ask.len() as u32;
            recording.segment(port, false, [*answered, *asked], 0x18, b"+OK\r\n");
            *answered += 5;
            turn += 1;
        }
        recording
    }

    fn segment(&mut self, port: u16, asks: bool, numbers: [u32; 2], flags: u8, payload: &[u8]) {
        let at = self.records.len() as u32 * 20;
        self.records.push(self.bytes.len());
        let length = (HEADERS + payload.len()) as u32;
        for number in [
            1_700_000_000 + at / 1_000_000,
            at % 1_000_000,
            length,
            length,
        ] {
            self.bytes.extend(number.to_le_bytes());
        }
        let mut headers = [0; HEADERS];
        headers[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6]);
        headers[16..18].copy_from_slice(&(length as u16 - 14).to_be_bytes());
        let (ends, ports) = match asks {
            true => ([1, 2], [port, 6379]),
            false => ([2, 1], [6379, port]),
        };
        headers[26..34].copy_from_slice(&[10, 0, 0, ends[0], 10, 0, 0, ends[1]]);
        headers[34..36].copy_from_slice(&ports[0].to_be_bytes());
        headers[36..38].copy_from_slice(&ports[1].to_be_bytes());
        headers[38..42].copy_from_slice(&numbers[0].to_be_bytes());
        headers[42..46].copy_from_slice(&numbers[1].to_be_bytes());
        headers[46..48].copy_from_slice(&[0x50, flags]);
        headers[48] = 1;
        self.bytes.extend(headers);
        self.bytes.extend(payload);
    }

    /// The record at so many hundredths of the file, as a place in it.
    fn record(&self, hundredths: usize) -> usize {
        self.records[self.records.len() * hundredths / 100]
    }
}

fn options(file: &Scratch) -> Options {
    let args = ["tcpkit", "-q", "-t", "10us", "-r"].map(OsString::from);
    let args = args.into_iter().chain([file.0.clone().into_os_string()]);
    match cli::parse(args) {
        Ok(Command::Run(options)) => *options,
        other => panic!("{other:?}"),
    }
}

fn told((outlet, report): Read) -> String {
    let mut out = Vec::new();
    Summary::new(&outlet.stats, 0).write_json(&mut out).unwrap();
    let summary = String::from_utf8(out).unwrap();
    format!("{:?} {:?} {summary}", outlet.notices, report.notices)
}

/// What following the file as a whole comes to, and in parts.
fn followed(bytes: &[u8], threads: usize) -> (String, Option<String>) {
    let file = Scratch::new(bytes);
    let options = options(&file);
    let (signals, scripts) = (Signals::default(), Scripts::default());
    let setup = Setup::new(&options, &signals, &scripts);
    let report = setup.report().unwrap();
    let (setup, service) = (&setup, None);
    let run = Run {
        setup,
        service,
        report,
    };
    let source = FileSource::open(&file.0).unwrap();
    let again = source.reopen().unwrap();
    let parts = run.read_parts(&source, threads).unwrap().map(told);
    let whole = run.work(again, 0, Owners::alone(), Vec::new()).unwrap();
    (told(whole), parts)
}

const BYTES: usize = limits::PARTS_FROM + (3 << 20);

#[test]
fn a_file_in_parts_comes_to_what_the_whole_does() {
    let recording = Recording::new(BYTES);
    for threads in [1, 2, 3, 8] {
        let (whole, parts) = followed(&recording.bytes, threads);
        assert_eq!(parts.as_deref(), Some(&*whole), "{threads} threads");
        assert!(whole.contains("\"conversations\":20,"), "{whole}");
    }
}

#[test]
fn what_is_special_about_a_record_is_told_as_of_the_whole() {
    let recording = Recording::new(BYTES);
    // More captured than there was; an empty record; the end within a record.
    for (name, hundredths) in [("early", 10), ("amid", 50), ("late", 90)] {
        let mut bytes = recording.bytes.clone();
        let at = recording.record(hundredths);
        bytes[at + 12..at + 16].copy_from_slice(&5_u32.to_le_bytes());
        let seconds = bytes[at..at + 4].to_vec();
        bytes.splice(at..at, [&seconds[..], &[0; 12]].concat());
        bytes.truncate(bytes.len() - 7);
        let (whole, parts) = followed(&bytes, 2);
        assert_eq!(parts.as_deref(), Some(&*whole), "{name}");
        let frames = recording.records.len();
        assert!(whole.contains(&format!("after frame {frames}")), "{whole}");
    }
}

#[test]
fn damage_ends_a_file_in_parts_where_it_ends_the_whole() {
    let recording = Recording::new(BYTES);
    for hundredths in [30, 97] {
        let mut bytes = recording.bytes.clone();
        let at = recording.record(hundredths);
        bytes[at + 8..at + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        let (whole, parts) = followed(&bytes, 2);
        assert!(whole.contains("damaged at byte"), "{whole}");
        assert!(parts.is_none_or(|parts| parts == whole), "{hundredths}");
    }
}

#[test]
fn a_loss_that_outlasts_a_part_is_followed_another_way() {
    let recording = Recording::new(BYTES);
    let mut bytes = recording.bytes.clone();
    let place = recording.records.len() / 3;
    bytes.drain(recording.records[place]..recording.records[place + 1]);
    let (whole, parts) = followed(&bytes, 2);
    assert_eq!(parts, None);
    assert!(whole.contains("\"gaps\":1,"), "{whole}");
}

#[test]
fn parts_are_as_long_as_they_may_be() {
    assert!(places(limits::PARTS_FROM - 1, 2).is_empty());
    for (length, threads) in [(BYTES, 1), (BYTES, 64), (1 << 30, 2), (1 << 36, 16)] {
        let places = places(length, threads);
        let begins = std::iter::once(0).chain(places.iter().copied());
        let ends = places.iter().copied().chain([length]);
        let parts: Vec<_> = begins.zip(ends).map(|(from, to)| to - from).collect();
        assert!(
            parts.iter().all(|&part| part >= limits::PART_BYTES),
            "{parts:?}"
        );
        let longest = length / (2 * threads).min(2);
        assert!(parts.iter().all(|&part| part <= longest), "{parts:?}");
        assert!(parts.len() < 1000, "{}", parts.len());
    }
}
