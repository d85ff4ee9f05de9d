//! JSON lines for programs: one object an exchange, one a request without an answer.
//!
//! Reads events, makes lines in the order of their stamps. `docs/json-lines.md` says what each
//! field means, `docs/schema/exchange-1.json` is their schema, and the tests hold both together.
//! Every string is printable: what a request held beyond that is escaped before it is written.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::order::Sorter;
use super::select::Select;
use super::text::clock::Clock;
use super::{Needs, Sink};
use crate::event::Event;
use crate::exchange::{Confidence, Exchange, Silence, Span, Unanswered};
use crate::limits::{REPORT_BUFFER, TEXT_BYTES};
use crate::protocol::{Protocol, StatusName, escape};
use crate::source::Timestamp;

/// Version of the objects: a field that changes its meaning, or goes, makes it another.
pub const VERSION: u32 = 1;

/// Prints objects to `W`.
#[derive(Debug)]
pub struct JsonSink<W: Write> {
    out: BufWriter<W>,
    select: Select,
    sorter: Sorter,
    scratch: Scratch,
    now: Timestamp,
}

impl<W: Write> JsonSink<W> {
    /// Prints what `select` wants.
    pub fn new(out: W, select: Select) -> Self {
        Self {
            out: BufWriter::with_capacity(REPORT_BUFFER, out),
            select,
            sorter: Sorter::new(),
            scratch: Scratch::new(),
            now: Timestamp::default(),
        }
    }

    /// What the objects go to, for what is printed behind the last of them. Holds all of them after
    /// [`Sink::finish`]; who writes more flushes it.
    pub fn get_mut(&mut self) -> &mut BufWriter<W> {
        &mut self.out
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) -> io::Result<()> {
        let response = exchange
            .response
            .map(|span| (span.first.time, span.last.time));
        let sent = exchange.request.last.time;
        let (stamp, now) = response.unwrap_or((sent, sent));
        self.now = self.now.max(now);
        if !self.select.exchange(exchange) {
            return self.sorter.advance(self.now, &mut self.out);
        }
        let object = self.scratch.exchange(exchange, stamp);
        push(&mut self.sorter, stamp, self.now, &mut self.out, &object)
    }

    fn unanswered(&mut self, unanswered: &Unanswered<'_>) -> io::Result<()> {
        self.now = self.now.max(unanswered.time);
        if !self.select.unanswered(unanswered) {
            return self.sorter.advance(self.now, &mut self.out);
        }
        let object = self.scratch.unanswered(unanswered);
        push(
            &mut self.sorter,
            unanswered.time,
            self.now,
            &mut self.out,
            &object,
        )
    }

    /// Lets out what has waited, so that a live report is never a second behind its capture.
    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.now = self.now.max(now);
        self.sorter.advance(self.now, &mut self.out)?;
        self.out.flush()
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn needs(&self) -> Needs {
        Needs {
            packets: false,
            text: true,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::Exchange(exchange) => self.exchange(exchange),
            Event::Unanswered(unanswered) => self.unanswered(unanswered),
            Event::Tick(now) => self.tick(*now),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sorter.finish(&mut self.out)?;
        self.out.flush()
    }
}

fn push(
    sorter: &mut Sorter,
    stamp: Timestamp,
    now: Timestamp,
    out: &mut impl Write,
    object: &impl Serialize,
) -> io::Result<()> {
    let mut written = Ok(());
    sorter.push(stamp, now, out, |line| {
        written = serde_json::to_writer(&mut *line, object);
        line.push(b'\n');
    })?;
    written.map_err(io::Error::from)
}

/// Where the strings of one object are made; reused from object to object.
#[derive(Debug)]
struct Scratch {
    clock: Clock,
    time: Vec<u8>,
    text: Vec<u8>,
    status: Vec<u8>,
}

impl Scratch {
    fn new() -> Self {
        let clock = Clock::new(TimeZone::UTC, b'T');
        Self {
            clock,
            time: Vec::new(),
            text: Vec::new(),
            status: Vec::new(),
        }
    }

    fn exchange(&mut self, exchange: &Exchange<'_>, stamp: Timestamp) -> ExchangeObject<'_> {
        let written = self.fill(exchange.protocol, exchange.text, stamp);
        self.status.clear();
        exchange
            .status_text
            .iter()
            .for_each(|&byte| escape(byte, &mut self.status));
        let response = exchange.response;
        ExchangeObject {
            v: VERSION,
            kind: "exchange",
            time: Ascii(&self.time),
            client: exchange.endpoints.client.into(),
            server: exchange.endpoints.server.into(),
            protocol: exchange.protocol.name(),
            command: label(exchange.protocol, exchange.command),
            text: Ascii(&self.text),
            text_len: exchange.text_len,
            text_cut: exchange.text_len.saturating_sub(written),
            latency_ns: exchange.latency,
            wait_ns: exchange.wait,
            request_first_ns: exchange.request.first.time.0,
            request_last_ns: exchange.request.last.time.0,
            response_first_ns: response.map(|span| span.first.time.0),
            response_last_ns: response.map(|span| span.last.time.0),
            request_bytes: exchange.request.size,
            response_bytes: response.map(|span| span.size),
            status: response.map(|_| Status(exchange.protocol.status(exchange.status))),
            status_text: Ascii(&self.status),
            error: exchange.error,
            blocking: exchange.blocking,
            early: exchange.early,
            cut: exchange.cut,
            hits: exchange.hits,
            misses: exchange.misses,
            confidence: confidence(exchange.confidence),
            frames: Frames::new(exchange.request, response),
        }
    }

    fn unanswered(&mut self, unanswered: &Unanswered<'_>) -> UnansweredObject<'_> {
        let written = self.fill(unanswered.protocol, unanswered.text, unanswered.time);
        let request = unanswered.request;
        UnansweredObject {
            v: VERSION,
            kind: "unanswered",
            time: Ascii(&self.time),
            client: unanswered.endpoints.client.into(),
            server: unanswered.endpoints.server.into(),
            protocol: unanswered.protocol.name(),
            command: label(unanswered.protocol, unanswered.command),
            text: Ascii(&self.text),
            text_len: unanswered.text_len,
            text_cut: unanswered.text_len.saturating_sub(written),
            why: why(unanswered.why),
            waited_ns: unanswered.time.since(request.last.time),
            request_first_ns: request.first.time.0,
            request_last_ns: request.last.time.0,
            request_bytes: request.size,
            blocking: unanswered.blocking,
            frames: RequestFrames::new(request),
        }
    }

    /// Writes time and text; returns how many bytes of the request's text were written.
    fn fill(&mut self, protocol: &dyn Protocol, kept: &[u8], stamp: Timestamp) -> u32 {
        self.time.clear();
        self.clock.push_nanos(stamp, &mut self.time);
        self.time.push(b'Z');
        self.text.clear();
        u32::try_from(protocol.render(kept, TEXT_BYTES, &mut self.text)).unwrap_or(u32::MAX)
    }
}

fn label(protocol: &dyn Protocol, command: u16) -> &'static str {
    protocol
        .commands()
        .get(usize::from(command))
        .copied()
        .unwrap_or("other")
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Exact => "exact",
        Confidence::Resynced => "resynced",
        Confidence::Ambiguous => "ambiguous",
    }
}

fn why(why: Silence) -> &'static str {
    match why {
        Silence::Closed => "closed",
        Silence::Timeout => "timeout",
        Silence::End => "end",
    }
}

/// A request and its response, in the order of `docs/json-lines.md`.
#[derive(Serialize)]
struct ExchangeObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    client: Endpoint,
    server: Endpoint,
    protocol: &'static str,
    command: &'static str,
    text: Ascii<'a>,
    text_len: u32,
    text_cut: u32,
    latency_ns: Option<u64>,
    wait_ns: u64,
    request_first_ns: u64,
    request_last_ns: u64,
    response_first_ns: Option<u64>,
    response_last_ns: Option<u64>,
    request_bytes: u64,
    response_bytes: Option<u64>,
    status: Option<Status>,
    status_text: Ascii<'a>,
    error: bool,
    blocking: bool,
    early: bool,
    cut: bool,
    hits: u32,
    misses: u32,
    confidence: &'static str,
    frames: Frames,
}

/// A request whose response never came.
#[derive(Serialize)]
struct UnansweredObject<'a> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Ascii<'a>,
    client: Endpoint,
    server: Endpoint,
    protocol: &'static str,
    command: &'static str,
    text: Ascii<'a>,
    text_len: u32,
    text_cut: u32,
    why: &'static str,
    waited_ns: u64,
    request_first_ns: u64,
    request_last_ns: u64,
    request_bytes: u64,
    blocking: bool,
    frames: RequestFrames,
}

#[derive(Serialize)]
struct Endpoint {
    ip: std::net::IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }
}

/// Numbers of the frames that the four times are from.
#[derive(Serialize)]
struct Frames {
    request_first: u64,
    request_last: u64,
    response_first: Option<u64>,
    response_last: Option<u64>,
}

impl Frames {
    fn new(request: Span, response: Option<Span>) -> Self {
        Self {
            request_first: request.first.frame,
            request_last: request.last.frame,
            response_first: response.map(|span| span.first.frame),
            response_last: response.map(|span| span.last.frame),
        }
    }
}

#[derive(Serialize)]
struct RequestFrames {
    request_first: u64,
    request_last: u64,
}

impl RequestFrames {
    fn new(request: Span) -> Self {
        Self {
            request_first: request.first.frame,
            request_last: request.last.frame,
        }
    }
}

/// Text that was escaped when it was made.
struct Ascii<'a>(&'a [u8]);

impl Serialize for Ascii<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            // A renderer that lets such bytes through must not stop the report.
            Err(_) => serializer.serialize_str(&String::from_utf8_lossy(self.0)),
        }
    }
}

/// A status is a string, be it a word or a number.
struct Status(StatusName);

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            StatusName::Name(name) => serializer.serialize_str(name),
            code @ StatusName::Code(_) => serializer.collect_str(&code),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use jsonschema::Validator;
    use serde_json::{Value, json};

    use super::*;
    use crate::sink::sample;

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
        let mut sink = JsonSink::new(&mut out, select);
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
        six.endpoints.client = "[2001:db8::1]:1".parse().unwrap();
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
}
