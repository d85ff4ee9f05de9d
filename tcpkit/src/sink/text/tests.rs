//! The lines to the letter, against cli.md's own examples.

use super::*;
use crate::flow::Direction;
use crate::sink::sample::{self, STAMP};
use crate::wire::Transport;

/// Where cli.md's examples were written: eight hours ahead of UTC.
fn zone() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(8))
}

fn print(select: Select, events: &[Event<'_>]) -> String {
    let mut out = Vec::new();
    let mut sink = TextSink::new(&mut out, select, zone()).with_packets(true);
    events.iter().for_each(|event| sink.event(event).unwrap());
    sink.finish().unwrap();
    drop(sink);
    String::from_utf8(out).unwrap()
}

fn all(events: &[Event<'_>]) -> String {
    print(Select::default(), events)
}

#[test]
fn an_exchange_is_the_line_of_the_specification() {
    assert_eq!(
        all(&[Event::Exchange(&sample::exchange())]),
        "2018-11-16 18:38:36.873067 172.20.64.106:53499 => 192.168.1.2:6379 | 11.234 ms | set foo bar\n"
    );
}

#[test]
fn an_unanswered_request_is_a_line_too() {
    assert_eq!(
        all(&[Event::Unanswered(&sample::unanswered())]),
        "2018-11-16 18:38:36.873067 172.20.64.106:53499 => 192.168.1.2:6379 | no answer 5003.120 ms | set foo bar\n"
    );
}

#[test]
fn ipv6_has_brackets() {
    let mut exchange = sample::exchange();
    let ends = crate::flow::Endpoints {
        client: "[2001:db8::1]:53499".parse().unwrap(),
        server: "[::1]:6379".parse().unwrap(),
    };
    exchange.endpoints = &ends;
    assert!(
        all(&[Event::Exchange(&exchange)]).contains(" [2001:db8::1]:53499 => [::1]:6379 | 11.234 ")
    );
}

#[test]
fn long_text_is_cut_and_the_rest_counted() {
    let text = vec![b'x'; 1000];
    let exchange = Exchange {
        text: &text,
        text_len: 70_000,
        ..sample::exchange()
    };
    let end = format!(" ms | {}…(+69745)\n", "x".repeat(255));
    assert!(all(&[Event::Exchange(&exchange)]).ends_with(&end));
}

#[test]
fn no_byte_of_a_request_reaches_the_terminal_as_a_command() {
    let exchange = Exchange {
        text: b"a\x1b[2J\n\xff",
        text_len: 7,
        ..sample::exchange()
    };
    assert!(all(&[Event::Exchange(&exchange)]).ends_with("| a\\x1b[2J\\n\\xff\n"));
}

#[test]
fn what_has_no_latency_is_no_line() {
    let unknown = Exchange {
        response: None,
        latency: None,
        confidence: Confidence::Ambiguous,
        ..sample::exchange()
    };
    assert_eq!(all(&[Event::Exchange(&unknown)]), "");
}

#[test]
fn lines_come_in_the_order_of_their_stamps() {
    let early = sample::exchange();
    let mut late = sample::exchange();
    late.text = b"late";
    late.text_len = 4;
    if let Some(response) = &mut late.response {
        response.first.time.0 += 10_000;
        response.last.time.0 += 20_000;
    }
    let out = all(&[Event::Exchange(&late), Event::Exchange(&early)]);
    let texts: Vec<_> = out
        .lines()
        .filter_map(|line| line.rsplit(" | ").next())
        .collect();
    assert_eq!(texts, ["set foo bar", "late"]);
}

#[test]
fn a_line_is_out_within_two_ticks_and_not_before_its_time() {
    let exchange = sample::exchange();
    let mut out = Vec::new();
    let mut sink = TextSink::new(&mut out, Select::default(), zone());
    sink.event(&Event::Exchange(&exchange)).unwrap();
    assert_eq!(sink.sorter.held(), 1);
    sink.event(&Event::Tick(Timestamp(STAMP.0 + 1_000_000_000)))
        .unwrap();
    assert_eq!(sink.sorter.held(), 0);
    assert!(sink.out.buffer().is_empty());
}

#[test]
fn selected_lines_only() {
    let select = Select {
        commands: vec!["get".to_owned()],
        ..Select::default()
    };
    let (exchange, unanswered) = (sample::exchange(), sample::unanswered());
    assert_eq!(
        print(
            select,
            &[Event::Exchange(&exchange), Event::Unanswered(&unanswered)]
        ),
        ""
    );
}

#[test]
fn a_clock_follows_its_zone() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let mut clock = Clock::new(zone, b'T');
    let mut out = Vec::new();
    // Around the end of summer time in 2024, asked for in no order.
    for second in [
        1_729_990_799_u64,
        1_729_990_800,
        1_729_990_799,
        0,
        18_446_744_073,
    ] {
        clock.push_nanos(Timestamp::new(second, 7), &mut out);
        out.push(b'\n');
    }
    let expected = "2024-10-27T02:59:59.000000007\n2024-10-27T02:00:00.000000007\n\
        2024-10-27T02:59:59.000000007\n1970-01-01T01:00:00.000000007\n2554-07-22T01:34:33.000000007\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn packet(payload: &[u8]) -> PacketEvent<'_> {
    sample::packet(Transport::Tcp, payload)
}

fn raw(packet: &PacketEvent<'_>, select: Select) -> String {
    print(select, &[Event::Packet(packet)])
}

#[test]
fn a_packet_is_the_line_of_the_specification() {
    let mut whole = packet(b"*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$3\r\nbar\r\n");
    assert_eq!(
        raw(&whole, Select::default()),
        "2018-11-16 18:38:36 172.20.64.106:53499=>192.168.1.2:6379 REQ 3405691582 12648430 24 31 \
         *3\\r\\n$3\\r\\nset\\r\\n$3\\r\\nfoo\\r\\n$3\\r\\nbar\\r\\n\n"
    );
    whole.direction = Direction::ToClient;
    assert!(raw(&whole, Select::default()).contains(":6379 RSP 34"));
}

#[test]
fn udp_has_no_sequence_numbers() {
    let line = raw(&sample::packet(Transport::Udp, b"hello"), Select::default());
    assert!(line.ends_with("=>192.168.1.2:6379 REQ 5 hello\n"));
}

#[test]
fn packets_without_payload_and_of_other_clients_are_not_shown() {
    assert_eq!(raw(&packet(b""), Select::default()), "");
    let only = Select {
        clients: vec!["172.20.64.106/32".parse().unwrap()],
        ..Select::default()
    };
    let mut sent = packet(b"x");
    assert_ne!(raw(&sent, only.clone()), "");
    sent.direction = Direction::ToClient;
    assert_eq!(raw(&sent, only), "");
}

#[test]
fn a_packet_is_no_error_has_no_command_and_is_shown_once() {
    let errors = Select {
        errors: true,
        ..Select::default()
    };
    assert_eq!(raw(&packet(b"x"), errors), "");
    let commands = Select {
        commands: vec!["GET".to_owned()],
        ..Select::default()
    };
    assert_eq!(raw(&packet(b"x"), commands), "");
    let copy = PacketEvent {
        copy: true,
        ..packet(b"x")
    };
    assert_eq!(raw(&copy, Select::default()), "");
    // What another port says may hold a secret.
    let read = PacketEvent {
        raw: false,
        ..packet(b"x")
    };
    assert_eq!(raw(&read, Select::default()), "");
}

#[test]
fn a_payload_is_cut_and_what_the_snap_length_took_is_counted() {
    let long = vec![b'x'; 300];
    let line = raw(&packet(&long), Select::default());
    assert!(line.ends_with(&format!(" 300 {}…(+45)\n", "x".repeat(255))));
    let mut cut = packet(b"abc");
    cut.packet.payload_len = 1460;
    let line = raw(&cut, Select::default());
    assert!(line.ends_with(" 1460 abc…(+1457)\n"));
}
