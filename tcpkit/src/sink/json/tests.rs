//! Objects against the schema, the document and each other.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::*;
use crate::exchange::{Confidence, Silence};
use crate::flow::Direction;
use crate::sink::sample;
use crate::sink::stats::live::Live;
use crate::sink::stats::metrics::Metrics;
use crate::sink::stats::summary::Summary;
use crate::sink::stats::{Rules, Stats};
use crate::source::live::{Counters, RingFill};
use crate::wire::Transport;

const DOCUMENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/json-lines.md"
));

fn schema() -> Value {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/schema/exchange-1.json"
    ));
    serde_json::from_str(text).unwrap()
}

fn print(select: Select, events: &[Event<'_>]) -> Vec<Value> {
    let mut out = Vec::new();
    let mut sink = JsonSink::new(&mut out, select).with_packets(true);
    events.iter().for_each(|event| sink.event(event).unwrap());
    sink.finish().unwrap();
    drop(sink);
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn one(event: &Event<'_>) -> Value {
    let mut objects = print(Select::default(), std::slice::from_ref(event));
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

fn ambiguous() -> Exchange<'static> {
    Exchange {
        response: None,
        latency: None,
        confidence: Confidence::Ambiguous,
        ..sample::exchange()
    }
}

#[test]
fn an_exchange_is_the_documented_object() {
    let expected = json!({
        "v": 1, "type": "exchange", "time": "2018-11-16T10:38:36.873067890Z",
        "client": {"ip": "172.20.64.106", "port": 53499},
        "server": {"ip": "192.168.1.2", "port": 6379},
        "protocol": "sample", "command": "SET",
        "text": "set foo bar", "text_len": 11, "text_cut": 0,
        "latency_ns": 11_234_567, "wait_ns": 1_000,
        "request_first_ns": 1_542_364_716_861_767_890_u64,
        "request_last_ns": 1_542_364_716_861_833_323_u64,
        "response_first_ns": 1_542_364_716_873_067_890_u64,
        "response_last_ns": 1_542_364_716_873_068_890_u64,
        "request_bytes": 31, "response_bytes": 5,
        "status": "OK", "status_text": "",
        "error": false, "blocking": false, "early": false, "cut": false,
        "hits": 0, "misses": 0, "confidence": "exact",
        "frames": {"request_first": 4, "request_last": 5, "response_first": 6, "response_last": 7},
    });
    assert_eq!(one(&Event::Exchange(&sample::exchange())), expected);
}

#[test]
fn an_unanswered_request_is_the_documented_object() {
    let expected = json!({
        "v": 1, "type": "unanswered", "time": "2018-11-16T10:38:36.873067890Z",
        "client": {"ip": "172.20.64.106", "port": 53499},
        "server": {"ip": "192.168.1.2", "port": 6379},
        "protocol": "sample", "command": "SET",
        "text": "set foo bar", "text_len": 11, "text_cut": 0,
        "why": "closed", "waited_ns": 5_003_120_000_u64,
        "request_first_ns": 1_542_364_711_869_947_890_u64,
        "request_last_ns": 1_542_364_711_869_947_890_u64,
        "request_bytes": 31, "blocking": false,
        "frames": {"request_first": 9, "request_last": 9},
    });
    assert_eq!(one(&Event::Unanswered(&sample::unanswered())), expected);
}

#[test]
fn a_packet_is_the_documented_object() {
    let expected = json!({
        "v": 1, "type": "packet", "time": "2018-11-16T10:38:36.873067890Z",
        "client": {"ip": "172.20.64.106", "port": 53499},
        "server": {"ip": "192.168.1.2", "port": 6379},
        "transport": "tcp", "direction": "request",
        "seq": 3_405_691_582_u32, "ack": 12_648_430, "flags": 0x58,
        "text": "*1\\r\\n\\xff", "text_len": 5, "text_cut": 0,
        "time_ns": 1_542_364_716_873_067_890_u64, "frame": 1,
    });
    let packet = sample::packet(Transport::Tcp, b"*1\r\n\xff");
    assert_eq!(one(&Event::Packet(&packet)), expected);
    let answer = PacketEvent {
        direction: Direction::ToClient,
        ..packet
    };
    let object = one(&Event::Packet(&answer));
    assert_eq!(object["direction"], "response");
    assert_eq!(object["client"], expected["server"]);
}

#[test]
fn a_payload_is_cut_and_what_the_snap_length_took_is_counted() {
    let long = [b'x'; 300];
    let mut cut = sample::packet(Transport::Udp, &long);
    cut.packet.payload_len = 500;
    let object = one(&Event::Packet(&cut));
    assert_eq!(object["text"], "x".repeat(255));
    assert_eq!(object["text_len"], 500);
    assert_eq!(object["text_cut"], 245);
}

#[test]
fn packets_that_are_not_asked_for_are_left_out() {
    let packet = sample::packet(Transport::Tcp, b"x");
    let mut out = Vec::new();
    let mut sink = JsonSink::new(&mut out, Select::default());
    assert!(!sink.needs().packets);
    sink.event(&Event::Packet(&packet)).unwrap();
    sink.finish().unwrap();
    drop(sink);
    assert!(out.is_empty());
    let errors = Select {
        errors: true,
        ..Select::default()
    };
    assert!(print(errors, &[Event::Packet(&packet)]).is_empty());
}

#[test]
fn an_ambiguous_pair_states_no_latency() {
    let object = one(&Event::Exchange(&ambiguous()));
    for field in [
        "latency_ns",
        "response_first_ns",
        "response_last_ns",
        "response_bytes",
        "status",
    ] {
        assert_eq!(object[field], Value::Null, "{field}");
    }
    assert_eq!(object["confidence"], "ambiguous");
    assert_eq!(object["time"], "2018-11-16T10:38:36.861833323Z");
}

#[test]
fn hostile_bytes_stay_inside_their_string() {
    let text = b"\"}\n\x1b\x00\xff";
    let exchange = Exchange {
        text,
        text_len: 6,
        status: 404,
        status_text: b"a\r\n\"",
        ..sample::exchange()
    };
    let object = one(&Event::Exchange(&exchange));
    assert_eq!(object["text"], r#""}\n\x1b\x00\xff"#);
    assert_eq!(object["status_text"], r#"a\r\n""#);
    assert_eq!(object["status"], "404");
}

#[test]
fn long_text_is_cut_and_the_rest_counted() {
    let text = vec![b'x'; 1000];
    let exchange = Exchange {
        text: &text,
        text_len: 70_000,
        ..sample::exchange()
    };
    let object = one(&Event::Exchange(&exchange));
    assert_eq!(object["text"], "x".repeat(255));
    assert_eq!(
        (&object["text_len"], &object["text_cut"]),
        (&json!(70_000), &json!(69_745))
    );
}

/// Objects of every shape that there is.
fn shapes() -> Vec<Value> {
    let mut six = sample::exchange();
    let mut ends = sample::endpoints();
    ends.client = "[2001:db8::1]:1".parse().unwrap();
    six.endpoints = &ends;
    six.confidence = Confidence::Resynced;
    six.status_text = b"ERR \xff";
    let mut objects: Vec<_> = [sample::exchange(), ambiguous(), six]
        .iter()
        .map(|exchange| one(&Event::Exchange(exchange)))
        .collect();
    for why in [Silence::Closed, Silence::Timeout, Silence::End] {
        let unanswered = Unanswered {
            why,
            ..sample::unanswered()
        };
        objects.push(one(&Event::Unanswered(&unanswered)));
    }
    for transport in [Transport::Tcp, Transport::Udp] {
        objects.push(one(&Event::Packet(&sample::packet(transport, b"ping"))));
    }
    objects
}

#[test]
fn every_object_is_of_the_schema() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for object in shapes() {
        if let Err(error) = validator.validate(&object) {
            panic!("{error}\n{object}");
        }
        assert_each_field_is_needed(&validator, &object);
    }
}

#[test]
fn the_summary_of_a_live_run_is_of_the_schema_and_told() {
    let counters = Counters {
        matched: 10,
        delivered: 7,
        lost: vec![("ring full", 3)],
        rings: vec![RingFill {
            size: 4096,
            highest: 4000,
        }],
        ..Counters::default()
    };
    let mut summary = Summary::new(&Stats::new(Rules::default(), &[6379]), 1);
    summary.live = Some(Live::new("TC (TCX) on lo".to_owned(), counters));
    let object = serde_json::to_value(&summary).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    if let Err(error) = validator.validate(&object) {
        panic!("{error}\n{object}");
    }
    for field in object["live"].as_object().unwrap().keys() {
        assert!(DOCUMENT.contains(&format!("`{field}`")), "{field}");
        let mut without = object.clone();
        without["live"].as_object_mut().unwrap().remove(field);
        assert!(!validator.is_valid(&without), "{field} may be missing");
    }
}

#[test]
fn what_scripts_have_counted_is_of_the_schema_and_told() {
    let metrics = Metrics::default();
    let labels = [("node".to_owned(), "a\"b".to_owned())];
    metrics.add("seen", &labels, 1.5);
    metrics.record("size", &[], 0.25);
    let stats = Stats::new(Rules::default(), &[6379]);
    let summary = Summary::new(&stats, 1).with_scripts(&metrics);
    let object = serde_json::to_value(&summary).unwrap();
    assert_eq!(object["scripts"]["counters"][0]["labels"]["node"], "a\"b");
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(validator.is_valid(&object), "{object}");
    for part in ["", "/counters/0", "/histograms/0"] {
        let place = format!("/scripts{part}");
        for field in object.pointer(&place).unwrap().as_object().unwrap().keys() {
            assert!(DOCUMENT.contains(&format!("`{field}`")), "{field}");
            let mut without = object.clone();
            let fields = without.pointer_mut(&place).unwrap();
            fields.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&without), "{field} may be missing");
        }
    }
    let nothing = Summary::new(&stats, 1).with_scripts(&Metrics::default());
    assert_eq!(serde_json::to_value(&nothing).unwrap().get("scripts"), None);
}

/// A schema that lets everything through would prove nothing.
fn assert_each_field_is_needed(validator: &Validator, object: &Value) {
    for (field, value) in object.as_object().unwrap() {
        let mut without = object.clone();
        without.as_object_mut().unwrap().remove(field);
        assert!(!validator.is_valid(&without), "{field} may be missing");
        let mut wrong = object.clone();
        wrong[field] = json!([value]);
        assert!(!validator.is_valid(&wrong), "{field} may be anything");
    }
}

#[test]
fn the_document_tells_every_field() {
    for object in shapes() {
        for field in object.as_object().unwrap().keys() {
            assert!(DOCUMENT.contains(&format!("`{field}`")), "{field}");
        }
    }
}

#[test]
fn objects_come_in_the_order_of_their_times() {
    let early = sample::exchange();
    let mut late = sample::exchange();
    if let Some(response) = &mut late.response {
        response.first.time.0 += 10_000;
        response.last.time.0 += 20_000;
    }
    let objects = print(
        Select::default(),
        &[Event::Exchange(&late), Event::Exchange(&early)],
    );
    let times: Vec<_> = objects
        .iter()
        .map(|object| object["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn selected_objects_only() {
    let select = Select {
        commands: vec!["get".to_owned()],
        ..Select::default()
    };
    let (exchange, unanswered) = (sample::exchange(), sample::unanswered());
    assert!(
        print(
            select,
            &[Event::Exchange(&exchange), Event::Unanswered(&unanswered)]
        )
        .is_empty()
    );
}
