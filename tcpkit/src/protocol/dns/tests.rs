#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use hickory_proto::op::{Message as Hickory, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::message::Header;
use super::*;
use crate::flow::Direction::{self, ToClient, ToServer};
use crate::protocol::testing::{Driver, Pairs, rendered};
use crate::protocol::{Mark, Message, Text};

fn udp() -> Driver {
    Driver::new(&Dns, Transport::Udp)
}

fn tcp() -> Driver {
    Driver::new(&Dns, Transport::Tcp)
}

/// A name in wire format.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A message: id, flags, the four counts, and what follows.
fn message(id: u16, flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for field in [id, flags, counts[0], counts[1], counts[2], counts[3]] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    parts
        .iter()
        .for_each(|part| message.extend_from_slice(part));
    message
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    [&wire(name)[..], &kind.to_be_bytes(), &[0, 1]].concat()
}

fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    message(id, 0x0100, [1, 0, 0, 0], &[&question(name, kind)])
}

fn answer(id: u16, rcode: u16, name: &str, kind: u16) -> Vec<u8> {
    message(id, 0x8180 | rcode, [1, 0, 0, 0], &[&question(name, kind)])
}

/// A record whose name is a pointer to the question's.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u16).to_be_bytes();
    [
        &[0xc0, 12][..],
        &kind.to_be_bytes(),
        &[0, 1, 0, 0, 0, 60],
        &len,
        data,
    ]
    .concat()
}

fn soa(serial: u32) -> Vec<u8> {
    record(6, &[&[0, 0][..], &serial.to_be_bytes(), &[0; 16]].concat())
}

fn framed_with_length(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// `question => code` of each pair.
fn lines(pairs: &Pairs) -> Vec<String> {
    let line = |pair: &crate::protocol::testing::Pair| {
        let (asked, written) = rendered(&Dns, &pair.asked, 255);
        assert_eq!(written, pair.request.text_len as usize);
        format!("{asked} => {}", Dns.status(pair.response.status))
    };
    pairs.made.iter().map(line).collect()
}

// --- conversations recorded from a server -------------------------------------------------------

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn recorded(file: &str) -> Vec<(Direction, Vec<u8>)> {
    let segment = |line: &str| match line.split_once(' ')? {
        (">", bytes) => Some((ToServer, unhex(bytes))),
        ("<", bytes) => Some((ToClient, unhex(bytes))),
        _ => None,
    };
    file.lines().filter_map(segment).collect()
}

#[test]
fn what_dig_asked_a_server_is_paired_as_dig_printed_it() {
    let file = include_str!("recorded/udp.txt");
    let mut driver = udp();
    recorded(file).iter().for_each(|(direction, bytes)| {
        driver.feed(*direction, bytes);
    });
    let pairs = driver.close().pairs();
    assert_eq!((pairs.unanswered, pairs.orphans, pairs.one_way), (0, 0, 0));
    let printed: Vec<_> = file
        .lines()
        .filter_map(|line| line.strip_prefix("= "))
        .collect();
    // Where dig retried, or printed no question, its line is not compared.
    for line in printed.iter().filter(|line| !line.ends_with('-')) {
        let mut words = line.split(' ');
        let (code, name) = (words.next().unwrap(), words.next().unwrap());
        let kind = words.nth(1).unwrap();
        let ours = format!("{kind} {name} => {code}");
        let told = lines(&pairs);
        assert!(
            told.iter().any(|line| line.ends_with(&ours)),
            "{ours} in {told:#?}"
        );
    }
}

#[test]
fn several_queries_on_one_tcp_connection_are_paired() {
    let mut driver = tcp();
    let file = recorded(include_str!("recorded/tcp.txt"));
    file.iter().for_each(|(direction, bytes)| {
        driver.feed(*direction, bytes);
    });
    assert_eq!(driver.refused, [""; 0]);
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.made.len(), pairs.unanswered, pairs.orphans),
        (3, 0, 0)
    );
}

#[test]
fn a_zone_transfer_of_one_message_is_one_exchange() {
    let mut driver = tcp();
    let file = recorded(include_str!("recorded/axfr.txt"));
    file.iter().for_each(|(direction, bytes)| {
        driver.feed(*direction, bytes);
    });
    let pairs = driver.pairs();
    assert_eq!(
        lines(&pairs),
        ["AXFR zone.test. => NOERROR", "IXFR zone.test. => NOERROR"]
    );
    assert!(
        pairs
            .made
            .iter()
            .all(|pair| !pair.response.has(Message::MORE))
    );
    assert_eq!(pairs.unanswered, 0);
}

// --- pairing -----------------------------------------------------------------------------------

#[test]
fn identifier_and_question_pair_together() {
    let mut driver = udp();
    driver
        .ask(&query(7, "a.test", 1))
        .ask(&query(7, "a.test", 28))
        .ask(&query(8, "a.test", 1));
    driver
        .reply(&answer(8, 0, "a.test", 1))
        .reply(&answer(7, 3, "A.TEST", 28));
    driver.reply(&answer(7, 0, "a.test", 1));
    let told = [
        "A a.test. => NOERROR",
        "AAAA a.test. => NXDOMAIN",
        "A a.test. => NOERROR",
    ];
    assert_eq!(lines(&driver.pairs()), told);
    let frames: Vec<_> = driver
        .pairs()
        .made
        .iter()
        .map(|p| p.request.first.frame)
        .collect();
    assert_eq!(frames, [3, 2, 1]);
}

#[test]
fn another_question_is_no_answer() {
    let mut driver = udp();
    driver
        .ask(&query(7, "a.test", 1))
        .reply(&answer(7, 0, "b.test", 1))
        .wait(201);
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.made.len(), pairs.orphans, pairs.unanswered),
        (0, 1, 1)
    );
}

/// Within the window a response may come before its query, twice too.
#[test]
fn a_response_that_overtook_its_query_is_its_own() {
    let mut driver = udp();
    driver
        .reply(&answer(7, 0, "a.test", 1))
        .reply(&answer(8, 3, "b.test", 1))
        .reply(&answer(7, 0, "a.test", 1))
        .ask(&query(8, "b.test", 1))
        .ask(&query(7, "a.test", 1));
    let pairs = driver.pairs();
    assert_eq!(
        lines(&pairs),
        ["A b.test. => NXDOMAIN", "A a.test. => NOERROR"]
    );
    assert_eq!((pairs.orphans, pairs.one_way, pairs.unanswered), (0, 1, 0));
}

/// Behind the window it is nobody's, and so it is where sixteen datagrams came meanwhile.
#[test]
fn a_query_that_comes_too_late_is_another_one() {
    let mut slow = udp();
    slow.reply(&answer(7, 0, "a.test", 1)).wait(201);
    let mut busy = udp();
    busy.reply(&answer(7, 0, "a.test", 1));
    for id in 100..116 {
        busy.ask(&query(id, "b.test", 1));
    }
    for driver in [&mut slow, &mut busy] {
        driver.ask(&query(7, "a.test", 1)).close();
        let pairs = driver.pairs();
        assert_eq!((pairs.made.len(), pairs.orphans), (0, 1));
    }
}

#[test]
fn a_response_without_a_question_is_paired_by_its_identifier() {
    let mut driver = udp();
    driver
        .ask(&query(7, "a.test", 1))
        .ask(&query(8, "b.test", 1));
    driver.reply(&message(7, 0x8185, [0; 4], &[])).wait(201);
    assert_eq!(lines(&driver.pairs()), ["A a.test. => REFUSED"]);
}

/// What is told of each pair, and whether it is unsure.
fn sureness(driver: &Driver) -> Vec<(String, bool)> {
    let pairs = driver.pairs();
    let unsure = pairs
        .made
        .iter()
        .map(|pair| pair.response.has(Message::UNSURE));
    lines(&pairs).into_iter().zip(unsure).collect()
}

/// Two queries of one identifier wait, and a refusal has no question: neither is sure from then on.
#[test]
fn a_response_without_a_question_may_be_of_any_query_of_its_identifier() {
    let mut driver = udp();
    driver
        .ask(&query(7, "a.test", 1))
        .ask(&query(7, "b.test", 1))
        .ask(&query(8, "c.test", 1));
    driver.reply(&message(7, 0x8185, [0; 4], &[]));
    driver.reply(&answer(7, 0, "a.test", 1));
    driver.reply(&answer(8, 0, "c.test", 1)).wait(201);
    let told = sureness(&driver);
    let told: Vec<_> = told
        .iter()
        .map(|(line, unsure)| (&line[..], *unsure))
        .collect();
    let sure = ["A a.test. => NOERROR", "A c.test. => NOERROR"].map(|line| (line, false));
    assert_eq!(told[..2], sure);
    assert_eq!(told[2..], [("A b.test. => REFUSED", true)]);
}

#[test]
fn a_query_whose_question_cannot_be_read_is_paired_with_its_refusal() {
    let mut driver = udp();
    driver.ask(&message(7, 0, [9, 0, 0, 0], &[&[0xff; 30]]));
    driver.reply(&message(7, 0x8081, [0; 4], &[]));
    assert_eq!(driver.refused, ["a question that cannot be read"]);
    assert_eq!(lines(&driver.close().pairs()), ["QUERY => FORMERR"]);
}

#[test]
fn a_repeated_query_is_one_request_and_the_first() {
    let mut driver = udp();
    let asked = query(7, "a.test", 1);
    driver
        .ask(&asked)
        .ask(&asked)
        .reply(&answer(7, 0, "a.test", 1));
    driver.reply(&answer(7, 0, "a.test", 1));
    let pairs = driver.pairs();
    assert_eq!(pairs.made[0].request.first.frame, 1);
    assert_eq!((pairs.made.len(), pairs.one_way), (1, 2));
    assert_eq!((pairs.unanswered, pairs.orphans), (0, 0));
    // Asked again once it is answered, it is another request.
    driver.ask(&asked).reply(&answer(7, 0, "a.test", 1));
    assert_eq!(driver.pairs().made.len(), 2);
}

#[test]
fn a_query_sent_again_after_its_time_is_another_attempt() {
    let mut driver = udp();
    let asked = query(7, "a.test", 1);
    driver
        .ask(&asked)
        .wait(5_100)
        .ask(&asked)
        .wait(4_000)
        .ask(&asked);
    driver.reply(&answer(7, 0, "a.test", 1));
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.made.len(), pairs.unanswered, pairs.one_way),
        (1, 1, 1)
    );
    assert_eq!(pairs.made[0].request.first.frame, 2);
}

#[test]
fn a_question_cut_short_is_not_malformed() {
    let mut driver = udp();
    let asked = query(7, "www.example.com", 1);
    driver
        .ask(&asked[..20])
        .reply(&answer(7, 0, "www.example.com", 1)[..20]);
    assert_eq!(driver.refused, [""; 0]);
    assert_eq!(lines(&driver.close().pairs()), ["QUERY => NOERROR"]);
}

#[test]
fn the_role_is_in_the_message_not_in_the_direction() {
    let mut driver = udp();
    driver
        .feed(ToClient, &query(7, "a.test", 1))
        .feed(ToServer, &answer(7, 0, "a.test", 1));
    assert_eq!(lines(&driver.pairs()), ["A a.test. => NOERROR"]);
}

#[test]
fn records_that_are_broken_or_cut_do_not_matter() {
    let mut driver = udp();
    driver.ask(&query(7, "a.test", 1));
    let cut = message(7, 0x8180, [1, 9, 9, 9], &[&question("a.test", 1), &[0xc0]]);
    driver.reply(&cut);
    assert_eq!(lines(&driver.pairs()), ["A a.test. => NOERROR"]);
    assert!(Hickory::from_vec(&cut).is_err());
}

#[test]
fn a_malformed_datagram_does_not_end_the_flow() {
    let mut driver = udp();
    driver
        .ask(b"short")
        .ask(&query(7, "a.test", 1))
        .reply(&answer(7, 0, "a.test", 1));
    assert_eq!(driver.refused, ["shorter than a header"]);
    assert_eq!(driver.pairs().made.len(), 1);
}

#[test]
fn the_extended_code_is_read() {
    let opt = [0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0];
    let mut driver = udp();
    driver.ask(&query(7, "a.test", 1));
    driver.reply(&message(
        7,
        0x8180,
        [1, 0, 0, 1],
        &[&question("a.test", 1), &opt],
    ));
    assert_eq!(lines(&driver.pairs()), ["A a.test. => BADVERS"]);
}

#[test]
fn errors_are_all_but_success_and_no_such_name() {
    let flags = |rcode| {
        let mut driver = udp();
        driver
            .ask(&query(7, "a.test", 1))
            .reply(&answer(7, rcode, "a.test", 1));
        driver.pairs().made[0].response.has(Message::ERROR)
    };
    assert!(!flags(0) && !flags(3));
    assert!(flags(1) && flags(2) && flags(4) && flags(5));
}

#[test]
fn operations_other_than_queries_have_labels_and_names() {
    let mut driver = udp();
    driver.ask(&message(
        7,
        4 << 11,
        [1, 0, 0, 0],
        &[&question("example.com", 6)],
    ));
    driver.reply(&message(
        7,
        0x8000 | 4 << 11,
        [1, 0, 0, 0],
        &[&question("example.com", 6)],
    ));
    driver.ask(&message(
        8,
        9 << 11,
        [1, 0, 0, 0],
        &[&question("a.test", 1)],
    ));
    driver.reply(&message(
        8,
        0x8000 | 9 << 11,
        [1, 0, 0, 0],
        &[&question("a.test", 1)],
    ));
    let pairs = driver.pairs();
    assert_eq!(
        lines(&pairs),
        [
            "NOTIFY SOA example.com. => NOERROR",
            "OPCODE9 A a.test. => NOERROR"
        ]
    );
    assert_eq!(
        Dns.commands()[usize::from(pairs.made[0].request.command)],
        "NOTIFY"
    );
}

#[test]
fn unacknowledged_stateful_operations_are_one_way() {
    let mut driver = tcp();
    driver.ask(&framed_with_length(&message(
        0,
        6 << 11,
        [0; 4],
        &[&[0, 1, 0, 0]],
    )));
    assert_eq!(driver.pairs().one_way, 1);
}

// --- names -------------------------------------------------------------------------------------

#[test]
fn questions_are_shown_in_presentation_format() {
    let shown = |message: &[u8]| rendered(&Dns, message, 255).0;
    assert_eq!(shown(&query(1, "example.com", 1)), "A example.com.");
    assert_eq!(shown(&query(1, "", 2)), "NS .");
    assert_eq!(shown(&query(1, "a.test", 1234)), "TYPE1234 a.test.");
    let odd = message(
        1,
        0,
        [1, 0, 0, 0],
        &[b"\x04a.b\x07\x01\\\x00\x00\x01\x00\x01"],
    );
    assert_eq!(shown(&odd), "A a\\.b\\007.\\\\.");
    assert_eq!(
        rendered(&Dns, &query(1, "example.com", 1), 5),
        ("A exa".into(), 5)
    );
}

#[test]
fn compression_in_a_question_is_followed_backwards_only() {
    let read = |name: &[u8]| {
        let message = message(1, 0, [1, 0, 0, 0], &[name, &[0, 1, 0, 1]]);
        let header = Header::read(&message).unwrap();
        message::question(&message, &header).is_ok()
    };
    assert!(read(b"\x01a\x00"));
    assert!(!read(b"\xc0\x0c"), "to itself");
    assert!(!read(b"\x01a\xc0\x0c"), "in a circle");
    assert!(!read(b"\xc0\x20"), "forwards");
    assert!(!read(b"\x40a"), "a label type that is not in use");
    assert!(!read(&[63; 300]), "longer than a name may be");
    // A pointer into the header: odd, but it ends.
    assert!(read(b"\xc0\x06"));
}

#[test]
fn a_chain_of_pointers_is_followed_a_bounded_way() {
    let mut names = vec![0];
    for hop in 0..200_u16 {
        let target = if hop == 0 { 12 } else { 13 + (hop - 1) * 2 };
        names.extend_from_slice(&(0xc000 | target).to_be_bytes());
    }
    let message = message(1, 0, [1, 0, 0, 0], &[&names]);
    assert!(message::name(&message, 13, &mut |_| {}).is_ok());
    assert!(message::name(&message, message.len() - 2, &mut |_| {}).is_err());
}

#[test]
fn the_names_of_types_and_codes_are_the_registrys() {
    for number in 0..=300_u16 {
        let theirs = RecordType::from(number);
        let named = !matches!(theirs, RecordType::Unknown(_) | RecordType::ZERO);
        if named {
            assert_eq!(names::kind(number).unwrap(), theirs.to_string());
        }
    }
    // hickory names codes in words; the mnemonic stands in its Debug form.
    for number in 0..=23_u16 {
        let theirs = format!(
            "{:?}",
            ResponseCode::from((number >> 4) as u8, number as u8 & 15)
        );
        let ours = names::rcode(number).unwrap_or_default();
        let known = [
            "NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused",
        ];
        if known.contains(&theirs.as_str()) {
            assert_eq!(ours, theirs.to_uppercase());
        }
    }
}

#[test]
fn labels_are_unique_and_other_is_the_first() {
    let labels = Dns.commands();
    assert_eq!(labels[0], "other");
    let unique: std::collections::BTreeSet<_> = labels.iter().collect();
    assert_eq!(unique.len(), labels.len());
}

// --- TCP ---------------------------------------------------------------------------------------

/// The messages of a transfer, of records each, and how they are flagged.
fn transfer(kind: u16, messages: &[&[Vec<u8>]]) -> Vec<bool> {
    let mut driver = tcp();
    driver.ask(&framed_with_length(&query(7, "zone.test", kind)));
    for (index, records) in messages.iter().enumerate() {
        let asked = question("zone.test", kind);
        // Only the first repeats the question (RFC 5936, section 2.2.1 allows it).
        let (questions, asked) = if index == 0 {
            (1, &asked[..])
        } else {
            (0, &[][..])
        };
        let mut parts = vec![asked];
        parts.extend(records.iter().map(Vec::as_slice));
        let counts = [questions, records.len() as u16, 0, 0];
        driver.reply(&framed_with_length(&message(7, 0x8400, counts, &parts)));
    }
    let pairs = driver.pairs();
    assert_eq!((pairs.orphans, pairs.made.len()), (0, messages.len()));
    pairs
        .made
        .iter()
        .map(|pair| pair.response.has(Message::MORE))
        .collect()
}

#[test]
fn a_transfer_goes_on_until_its_second_soa_record() {
    let host = record(1, &[192, 0, 2, 1]);
    let full = [
        &[soa(9), host.clone()][..],
        std::slice::from_ref(&host),
        &[host.clone(), soa(9)],
    ];
    assert_eq!(transfer(252, &full), [true, true, false]);
    assert_eq!(
        transfer(252, &[&[soa(9)], std::slice::from_ref(&host), &[soa(9)]]),
        [true, true, false]
    );
}

#[test]
fn an_incremental_transfer_tells_by_its_second_record_which_form_it_has() {
    let host = record(1, &[192, 0, 2, 1]);
    assert_eq!(transfer(251, &[&[soa(9)]]), [false]);
    assert_eq!(
        transfer(251, &[&[soa(9), host.clone()], &[soa(9)]]),
        [true, false]
    );
    let differences = [
        &[soa(9), soa(8), host.clone()][..],
        &[soa(9), host.clone()],
        &[host.clone(), soa(9)],
    ];
    assert_eq!(transfer(251, &differences), [true, true, false]);
}

#[test]
fn a_transfer_that_is_refused_is_over() {
    let mut driver = tcp();
    driver.ask(&framed_with_length(&query(7, "zone.test", 252)));
    driver.reply(&framed_with_length(&answer(7, 5, "zone.test", 252)));
    assert!(!driver.pairs().made[0].response.has(Message::MORE));
}

#[test]
fn the_same_query_twice_on_a_connection_is_two() {
    let mut driver = tcp();
    let (asked, answered) = (query(7, "a.test", 1), answer(7, 0, "a.test", 1));
    driver
        .ask(&framed_with_length(&asked))
        .ask(&framed_with_length(&asked));
    driver
        .reply(&framed_with_length(&answered))
        .reply(&framed_with_length(&answered));
    let pairs = driver.pairs();
    assert_eq!(
        (pairs.made.len(), pairs.one_way, pairs.unanswered),
        (2, 0, 0)
    );
    // Which is which nobody can tell; one alone is sure again.
    driver.ask(&framed_with_length(&asked));
    driver.reply(&framed_with_length(&answered));
    let told = sureness(&driver);
    let unsure: Vec<bool> = told.iter().map(|(_, unsure)| *unsure).collect();
    assert_eq!(unsure, [true, true, false]);
}

/// The first message of a transfer is lost: when its response began is not known.
#[test]
fn a_transfer_without_its_first_message_is_unsure() {
    let host = record(1, &[192, 0, 2, 1]);
    let mut driver = tcp();
    driver.ask(&framed_with_length(&query(7, "zone.test", 252)));
    for records in [&[host.clone(), host.clone()][..], &[host.clone(), soa(9)]] {
        let parts: Vec<_> = records.iter().map(Vec::as_slice).collect();
        driver.reply(&framed_with_length(&message(
            7,
            0x8400,
            [0, 2, 0, 0],
            &parts,
        )));
    }
    let pairs = driver.pairs();
    let flags = |flag| {
        pairs
            .made
            .iter()
            .map(|pair| pair.response.has(flag))
            .collect::<Vec<_>>()
    };
    assert_eq!(flags(Message::UNSURE), [true, true]);
    assert_eq!(flags(Message::MORE), [true, false]);
}

/// One record a message: the first one alone says that the client's copy is current only where it is.
#[test]
fn an_incremental_transfer_goes_on_behind_a_newer_serial_number() {
    for (copy, goes_on) in [(8, true), (9, false), (10, false)] {
        let mut driver = tcp();
        let asked = [question("zone.test", 251), soa(copy)];
        let asked = message(7, 0, [1, 0, 1, 0], &[&asked[0], &asked[1]]);
        driver.ask(&framed_with_length(&asked));
        let zone = question("zone.test", 251);
        for _ in 0..=usize::from(goes_on) {
            let answer = message(7, 0x8400, [1, 1, 0, 0], &[&zone, &soa(9)]);
            driver.reply(&framed_with_length(&answer));
        }
        let pairs = driver.pairs();
        let more: Vec<_> = pairs
            .made
            .iter()
            .map(|pair| pair.response.has(Message::MORE))
            .collect();
        match goes_on {
            true => assert_eq!(more, [true, false]),
            false => assert_eq!(more, [false]),
        }
    }
}

/// A snap length leaves the header, or less than the question: identifier and beginning are known all the same.
#[test]
fn messages_that_are_cut_in_their_question_are_paired_by_identifier() {
    for (kept, text) in [(40, "TXT a.test. => NOERROR"), (20, " => NOERROR")] {
        let mut driver = tcp();
        let mut asked = query(7, "a.test", 16);
        asked.extend(&[0; 30]);
        let asked = framed_with_length(&asked);
        let data = record(16, &[b'x'; 200]);
        let long = message(7, 0x8180, [1, 1, 0, 0], &[&question("a.test", 16), &data]);
        let long = framed_with_length(&long);
        driver
            .ask(&asked[..kept])
            .lose(ToServer, (asked.len() - kept) as u64);
        driver
            .reply(&long[..kept])
            .lose(ToClient, (long.len() - kept) as u64);
        driver.ask(&framed_with_length(&query(8, "b.test", 1)));
        driver.reply(&framed_with_length(&answer(8, 0, "b.test", 1)));
        assert_eq!(lines(&driver.pairs()), [text, "A b.test. => NOERROR"]);
    }
}

#[test]
fn a_message_that_a_gap_cut_is_paired_all_the_same() {
    let mut driver = tcp();
    driver.ask(&framed_with_length(&query(7, "a.test", 16)));
    let data = record(16, &[b'x'; 200]);
    let long = message(7, 0x8180, [1, 1, 0, 0], &[&question("a.test", 16), &data]);
    let long = framed_with_length(&long);
    driver
        .reply(&long[..100])
        .lose(ToClient, 60)
        .reply(&long[160..]);
    driver.ask(&framed_with_length(&query(8, "b.test", 1)));
    driver.reply(&framed_with_length(&answer(8, 0, "b.test", 1)));
    let pairs = driver.pairs();
    assert_eq!(
        lines(&pairs),
        ["TXT a.test. => NOERROR", "A b.test. => NOERROR"]
    );
    assert!(pairs.made[0].response.has(Message::CUT));
}

#[test]
fn after_a_gap_the_next_message_is_found() {
    let mut driver = tcp();
    driver.lose(ToServer, 3);
    driver.ask(&[&[1, 2, 3][..], &framed_with_length(&query(8, "b.test", 1))].concat());
    driver
        .lose(ToClient, 3)
        .reply(&framed_with_length(&answer(8, 0, "b.test", 1)));
    assert_eq!(lines(&driver.pairs()), ["A b.test. => NOERROR"]);
}

#[test]
fn a_length_without_room_for_a_header_is_malformed() {
    let mut driver = tcp();
    driver
        .ask(b"\x00\x05hello")
        .ask(&framed_with_length(&query(8, "b.test", 1)));
    assert_eq!(driver.refused, ["a length that holds no header"]);
    assert_eq!(driver.told.len(), 1);
}

#[test]
fn a_conversation_takes_little_room() {
    assert!(size_of::<Conversation>() <= 64);
}

// --- probes ------------------------------------------------------------------------------------

#[test]
fn first_bytes_are_told() {
    let told = |bytes: &[u8]| Dns.probe(Transport::Udp, bytes);
    assert_eq!(told(&query(7, "www.test", 1)), Probe::Request);
    assert_eq!(told(&answer(7, 3, "www.test", 1)), Probe::Response);
    for (direction, bytes) in recorded(include_str!("recorded/udp.txt")) {
        let header = Header::read(&bytes).unwrap();
        let plain = header.opcode() == 0 && header.questions == 1 && header.flags & 0x40 == 0;
        let known = message::question(&bytes, &header)
            .is_ok_and(|question| names::kind(question.kind).is_some());
        if plain && known {
            let expected = if direction == ToServer {
                Probe::Request
            } else {
                Probe::Response
            };
            assert_eq!(told(&bytes), expected, "{bytes:02x?}");
        }
    }
    let mdns = message(0, 0, [1, 0, 0, 0], &[&question("host.local", 1)]);
    let llmnr = message(7, 0, [1, 0, 0, 0], &[&question("wpad", 1)]);
    let netbios = "CACACACACACACACACACACACACACACACA";
    let netbios = message(7, 0x0110, [1, 0, 0, 0], &[&question(netbios, 33)]);
    let trailing = [&query(7, "www.test", 1)[..], &[0]].concat();
    for other in [
        &mdns[..],
        &llmnr,
        &netbios,
        &trailing,
        &[0; 12],
        b"",
        b"SIP/2.0 200 OK\r\n",
    ] {
        assert_eq!(told(other), Probe::No, "{other:02x?}");
    }
}

#[test]
fn first_bytes_over_tcp_are_told_once_a_message_is_whole() {
    let bytes = framed_with_length(&query(7, "www.test", 1));
    for len in 0..bytes.len() {
        assert_eq!(Dns.probe(Transport::Tcp, &bytes[..len]), Probe::More);
    }
    assert_eq!(Dns.probe(Transport::Tcp, &bytes), Probe::Request);
    assert_eq!(
        Dns.probe(Transport::Tcp, b"GET / HTTP/1.1\r\n\r\n"),
        Probe::No
    );
    assert_eq!(
        Dns.probe(
            Transport::Tcp,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaa"
        ),
        Probe::No
    );
}

// --- properties --------------------------------------------------------------------------------

fn told(segments: &[(Direction, Vec<u8>)]) -> Vec<(Message, Vec<u8>)> {
    let mut driver = tcp();
    segments.iter().for_each(|(direction, bytes)| {
        driver.feed(*direction, bytes);
    });
    driver.close();
    let mut told = driver.told;
    for (message, _) in &mut told {
        (message.first, message.last) = (Mark::default(), Mark::default());
        message.text = Text::None;
    }
    told
}

fn names_and_types() -> impl Strategy<Value = Vec<(String, u16)>> {
    let label = "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,19}";
    let name = prop::collection::vec(label, 0..5).prop_map(|labels| labels.join("."));
    prop::collection::vec((name, 1..300_u16), 1..8)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        asked in names_and_types(),
        cuts in prop::collection::vec(1..40_usize, 0..60),
    ) {
        let mut requests = Vec::new();
        let mut responses = Vec::new();
        for (id, (name, kind)) in asked.iter().enumerate() {
            requests.extend(framed_with_length(&query(id as u16 + 1, name, *kind)));
            responses.extend(framed_with_length(&answer(id as u16 + 1, 0, name, *kind)));
        }
        let whole = [(ToServer, requests.clone()), (ToClient, responses.clone())];
        let mut split = Vec::new();
        for (direction, bytes) in &whole {
            let mut rest = &bytes[..];
            for cut in &cuts {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                split.push((*direction, piece.to_vec()));
                rest = more;
            }
            split.push((*direction, rest.to_vec()));
        }
        prop_assert_eq!(told(&split), told(&whole));
    }

    #[test]
    fn hickory_reads_the_same_question(asked in names_and_types(), id in any::<u16>()) {
        for (name, kind) in asked {
            let bytes = query(id, &name, kind);
            let theirs = Hickory::from_vec(&bytes).unwrap();
            let theirs = &theirs.queries[0];
            let (shown, _) = rendered(&Dns, &bytes, 255);
            let mut words = shown.split(' ');
            let (ours, named) = (words.next().unwrap(), words.next().unwrap());
            prop_assert_eq!(named, theirs.name().to_string());
            if !matches!(theirs.query_type(), RecordType::Unknown(_) | RecordType::ZERO) {
                prop_assert_eq!(ours, theirs.query_type().to_string());
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        segments in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..30),
        datagram in any::<bool>(),
    ) {
        let mut driver = if datagram { udp() } else { tcp() };
        for (asks, bytes) in &segments {
            driver.feed(if *asks { ToServer } else { ToClient }, bytes);
            Dns.probe(Transport::Udp, bytes);
            Dns.probe(Transport::Tcp, bytes);
        }
        driver.lose(ToServer, 7).close();
    }

    #[test]
    fn nearly_right_messages_do_not_make_it_panic(
        mut bytes in prop::sample::select(recorded(include_str!("recorded/udp.txt"))),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for (place, value) in flips {
            let place = place.index(bytes.1.len());
            bytes.1[place] = value;
        }
        bytes.1.truncate(cut.index(bytes.1.len()) + 1);
        let mut driver = udp();
        driver.feed(bytes.0, &bytes.1);
        rendered(&Dns, &bytes.1, 255);
        let _ = message::unmistakable(&bytes.1);
    }

    #[test]
    fn rendering_keeps_to_its_limit(kept in prop::collection::vec(any::<u8>(), 0..300), max in 0..255_usize) {
        let (shown, written) = rendered(&Dns, &kept, max);
        prop_assert!(written <= max);
        prop_assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }
}

#[test]
fn a_name_is_cut_where_its_text_is_full() {
    // One question, whose name is a label of 59 zero bytes.
    let mut question = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 59];
    question.resize(question.len() + 59, 0);
    question.extend([0, 0, 1, 0, 1]);
    for (max, written) in [(0, 0), (1, 1), (3, 2), (9, 3), (10, 4), (1000, 2 + 59 + 1)] {
        let mut out = Vec::new();
        assert_eq!(Dns.render(&question, max, &mut out), written, "{max}");
        assert!(out.len() <= max, "{max}: {}", String::from_utf8_lossy(&out));
        assert!("A \\000\\000".as_bytes().starts_with(&out) || max == 1000);
    }
}
