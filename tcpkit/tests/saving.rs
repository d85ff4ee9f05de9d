//! Saved frames (`-w`): datagrams that came in fragments, and copies that were translated.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;
use std::process::Command;

use support::cases::Case;
use support::pcap::{Pcap, Record};
use support::scratch::Scratch;
use support::{Report, say, tcpkit};

/// Link-layer header of the recordings: Ethernet.
const LINK: usize = 14;
const IP: usize = 20;

fn recording(name: &str) -> Pcap {
    Pcap::parse(&std::fs::read(Case::named(name).input()).unwrap())
}

fn is_ipv4(frame: &Record) -> bool {
    frame.data[12..14] == [8, 0] && frame.data[LINK] == 0x45
}

/// A frame of an IPv4 datagram as frames of fragments, each with so many bytes (RFC 791, section 3.2).
fn fragments(frame: &Record, size: usize, id: u16) -> Vec<Record> {
    let (head, body) = frame.data.split_at(LINK + IP);
    let count = body.len().div_ceil(size);
    let make = |(index, part): (usize, &[u8])| {
        let mut data = head.to_vec();
        let more = u16::from(index + 1 < count) << 13;
        let place = more | (index * size / 8) as u16;
        data[LINK + 2..LINK + 4].copy_from_slice(&((IP + part.len()) as u16).to_be_bytes());
        data[LINK + 4..LINK + 6].copy_from_slice(&id.to_be_bytes());
        data[LINK + 6..LINK + 8].copy_from_slice(&place.to_be_bytes());
        data.extend(part);
        Record {
            stamp: frame.stamp,
            data,
        }
    };
    body.chunks(size).enumerate().map(make).collect()
}

/// What tshark finds: messages of DNS, put together from fragments.
fn dns_messages(file: &Path) -> Option<usize> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file);
    tshark.args(["-d", "udp.port==5390,dns", "-Y", "dns && ip.fragment"]);
    let Ok(output) = tshark.output() else {
        say("tshark is not there: what it would read back is not compared");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().lines().count())
}

#[test]
fn all_fragments_of_a_datagram_are_saved() {
    let scratch = Scratch::new("fragments");
    let recorded = recording("dns-udp");
    let whole: Vec<&Record> = recorded.frames.iter().filter(|f| is_ipv4(f)).collect();
    let mut cut = Vec::new();
    for (number, frame) in whole.iter().enumerate() {
        let mut parts = fragments(frame, 16, number as u16);
        assert!(parts.len() > 1);
        // Fragments overtake each other; what is saved comes as they came.
        if number % 2 == 1 {
            parts.reverse();
        }
        cut.extend(parts);
    }
    let (input, output) = (scratch.0.join("input.pcap"), scratch.0.join("output.pcap"));
    std::fs::write(&input, recorded.with(&cut)).unwrap();
    let args = ["-p", "5390=dns", "-w", output.to_str().unwrap()].map(str::to_owned);
    let found = Report::of(&input, &args);
    assert!(found.exchanges.len() > 10);
    let saved = Pcap::parse(&std::fs::read(&output).unwrap());
    let bytes = |frames: &[Record]| frames.iter().map(|f| f.data.clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&saved.frames), bytes(&cut));
    let again = Report::of(&output, &args[..2]);
    assert_eq!(again.exchanges, found.exchanges);
    if let Some(messages) = dns_messages(&output) {
        assert_eq!(messages, whole.len());
    }
}

/// Every frame, and behind it the same frame as it is between other addresses.
fn translated(recorded: &Pcap) -> Vec<Record> {
    let both = |frame: &Record| {
        let mut copy = frame.clone();
        if is_ipv4(frame) {
            // 127.0.0.1 on both sides becomes 10.0.0.1: the ports stay.
            for at in [LINK + 12, LINK + 16] {
                copy.data[at..at + 4].copy_from_slice(&[10, 0, 0, 1]);
            }
        }
        [frame.clone(), copy]
    };
    recorded.frames.iter().flat_map(both).collect()
}

#[test]
fn a_translated_copy_is_told_in_the_summary() {
    let scratch = Scratch::new("translated");
    let recorded = recording("redis-split");
    let input = scratch.0.join("input.pcap");
    std::fs::write(&input, recorded.with(&translated(&recorded))).unwrap();
    let args = ["-p", "6390=redis"].map(str::to_owned);
    let one = Report::of(&Case::named("redis-split").input(), &args);
    assert_eq!(one.summary["capture"]["translated"], 0);
    for threads in ["1", "3"] {
        let args = [&args[..], &["-j".to_owned(), threads.to_owned()]].concat();
        let both = Report::of(&input, &args);
        assert_eq!(both.exchanges.len(), 2 * one.exchanges.len());
        let openings = one.summary["capture"]["conversations"].as_u64().unwrap();
        assert_eq!(both.summary["capture"]["translated"], openings);
    }
    let output = tcpkit().arg("-r").arg(&input).arg("-q").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let sentence = "1 SYNs and datagrams seen again with other addresses (NAT)";
    assert!(said.contains(sentence), "{said}");
}

/// How many bytes of each frame of a pcap file are there, and how many it had on the wire.
fn lengths(file: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut lengths) = (24, Vec::new());
    while at < file.len() {
        let number = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        lengths.push((number(at + 8), number(at + 12)));
        at += 16 + number(at + 8);
    }
    lengths
}

/// As a capture with this snap length would have it: exchanges are found as far as frames go, and no more is saved.
#[test]
fn a_snap_length_holds_for_files_too() {
    const SNAPLEN: usize = 96;
    let scratch = Scratch::new("snaplen");
    let case = Case::named("redis-commands");
    let output = scratch.0.join("output.pcap");
    let mut args = case.args();
    let whole = Report::of(&case.input(), &args);
    let saving = ["--snaplen", "96", "-w", output.to_str().unwrap()].map(str::to_owned);
    args.extend(saving);
    let found = Report::of(&case.input(), &args);
    let saved = lengths(&std::fs::read(&output).unwrap());
    assert!(
        saved
            .iter()
            .all(|(kept, whole)| *kept == SNAPLEN.min(*whole))
    );
    assert!(saved.iter().any(|(kept, whole)| kept < whole));
    assert!(found.exchanges.len() > 10 && found.exchanges != whole.exchanges);
    let again = Report::of(&output, &case.args());
    assert_eq!(again.exchanges, found.exchanges);
}
