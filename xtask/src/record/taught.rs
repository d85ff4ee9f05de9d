//! Cases of protocols that tcpkit is taught by a script: beanstalkd, whose responses come in order, and
//! MQTT, whose packets carry identifiers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::truth::{Counts, Truth, add};
use super::{Case, Folder, capture, scratch};
use crate::shell;

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "taught-beanstalkd",
        record: beanstalkd,
    },
    Case {
        name: "taught-mqtt",
        record: mqtt,
    },
];

const BEANSTALKD: u16 = 11390;
const MQTT: u16 = 18830;

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(stream)
}

fn args(folder: &Folder, name: &str, port: u16) -> Result<()> {
    folder.args(&format!(
        "-S ../../../../scripts/protocols/{name}.lua -m {name} -p {port}"
    ))
}

/// Requests of beanstalkd: the whole text, and how its response begins.
const JOBS: &[(&str, &str)] = &[
    ("use mail\r\n", "USING mail"),
    ("watch mail\r\n", "WATCHING 2"),
    ("put 10 0 60 5\r\nhello\r\n", "INSERTED 1"),
    ("put 20 0 60 12\r\nput 1 2 3 4\r\r\n", "INSERTED 2"),
    ("peek-ready\r\n", "FOUND 1 5"),
    ("reserve\r\n", "RESERVED 1 5"),
    ("touch 1\r\n", "TOUCHED"),
    ("bury 1 10\r\n", "BURIED"),
    ("kick 10\r\n", "KICKED 1"),
    ("stats-job 1\r\n", "OK "),
    ("reserve-with-timeout 0\r\n", "RESERVED 1 5"),
    ("delete 1\r\n", "DELETED"),
    ("delete 99\r\n", "NOT_FOUND"),
    ("list-tubes\r\n", "OK "),
    ("nonsense\r\n", "UNKNOWN_COMMAND"),
];

fn beanstalkd(folder: &Folder) -> Result<()> {
    let place = scratch("beanstalkd")?;
    let port = BEANSTALKD.to_string();
    let mut command = shell::program("beanstalkd");
    command.args(["-l", "127.0.0.1", "-p", &port]);
    let _server = Server::start(&mut command, &place, || connect(BEANSTALKD).is_ok())?;
    let version = shell::text(shell::program("beanstalkd").arg("-v"))?;
    let mut truth = Truth::new("beanstalkd");
    capture::around(&folder.input(), &format!("tcp port {BEANSTALKD}"), || {
        let mut stream = connect(BEANSTALKD)?;
        for (request, begins) in JOBS {
            stream.write_all(request.as_bytes())?;
            let said = said(&mut stream)?;
            ensure!(said.starts_with(begins), "{request:?}: {said:?}");
            add(&mut truth.exchanges, label(request));
        }
        // A body that comes in many segments, and requests that do not wait for their answers.
        let large = format!("put 5 0 60 60000\r\n{}\r\n", "L".repeat(60_000));
        stream.write_all(large.as_bytes())?;
        add(&mut truth.exchanges, "put");
        ensure!(
            said(&mut stream)?.starts_with("INSERTED 3"),
            "the large job"
        );
        let many = [
            "put 7 0 60 3\r\nabc\r\n",
            "peek 3\r\n",
            "stats-tube mail\r\n",
            "delete 3\r\n",
        ];
        stream.write_all(many.concat().as_bytes())?;
        many.iter()
            .for_each(|one| add(&mut truth.exchanges, label(one)));
        let mut all = String::new();
        while !all.ends_with("DELETED\r\n") {
            all.push_str(&said(&mut stream)?);
        }
        Ok(())
    })?;
    truth.server = jobs_counted()?;
    for (command, count) in &truth.exchanges {
        let counted = truth.server.get(&format!("cmd-{command}")).copied();
        ensure!(
            counted.is_none_or(|counted| counted == *count),
            "{command}: beanstalkd counted {counted:?}, the client {count}"
        );
    }
    args(folder, "beanstalkd", BEANSTALKD)?;
    folder.truth(&truth)?;
    let what = "The work queue beanstalkd, taught by scripts/protocols/beanstalkd.lua: jobs put, reserved, buried, \
        kicked and deleted, one that reads like a command, one of 60,000 bytes, errors, and four requests in one segment.";
    folder.readme(&version, what)
}

fn label(request: &str) -> &str {
    match request.split([' ', '\r']).next() {
        Some("nonsense") | None => "other",
        Some(word) => word,
    }
}

/// What comes next, up to the end of a line.
fn said(stream: &mut TcpStream) -> Result<String> {
    let mut said = Vec::new();
    let mut bytes = [0; 1 << 16];
    while !said.ends_with(b"\r\n") {
        let read = stream.read(&mut bytes)?;
        ensure!(read > 0, "the server has closed");
        said.extend_from_slice(&bytes[..read]);
    }
    Ok(String::from_utf8(said)?)
}

/// The server's own counts of commands: a line `cmd-put: 3` each.
fn jobs_counted() -> Result<Counts> {
    let mut stream = connect(BEANSTALKD)?;
    stream.write_all(b"stats\r\n")?;
    let stats = said(&mut stream)?;
    let counts = stats.lines().filter_map(|line| {
        let (name, count) = line.split_once(": ")?;
        let asked = name.starts_with("cmd-") && name != "cmd-stats";
        let count = count.parse().ok().filter(|&count| count > 0)?;
        asked.then(|| (name.to_owned(), count))
    });
    Ok(counts.collect())
}

/// One MQTT packet of type and flags `first` (OASIS MQTT 3.1.1, section 2.2).
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let more = if left >= 128 { 128 } else { 0 };
        bytes.push((left % 128) as u8 | more);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Text with its length before it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn publish(flags: u8, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let id = id.map(u16::to_be_bytes);
    let id = id.as_ref().map_or(&[][..], |id| id);
    packet(0x30 | flags, &[&text("home/room"), id, payload].concat())
}

/// A client that has connected.
fn client(name: &str, truth: &mut Truth) -> Result<TcpStream> {
    let mut stream = connect(MQTT)?;
    let body = [&text("MQTT"), &[4, 2, 0, 60][..], &text(name)].concat();
    ask(&mut stream, &packet(0x10, &body), &[0x20, 2, 0, 0])?;
    add(&mut truth.exchanges, "CONNECT");
    Ok(stream)
}

/// Sends packets, and waits for exactly these bytes.
fn ask(stream: &mut TcpStream, request: &[u8], response: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut got = vec![0; response.len()];
    stream.read_exact(&mut got)?;
    ensure!(got == response, "{request:02x?}: {got:02x?}");
    Ok(())
}

fn mqtt(folder: &Folder) -> Result<()> {
    let place = scratch("mosquitto")?;
    let config = place.join("mosquitto.conf");
    let settings =
        format!("listener {MQTT} 127.0.0.1\nallow_anonymous true\nlog_type all\nuser root\n");
    std::fs::write(&config, settings)?;
    let mut command = shell::program("mosquitto");
    command.arg("-c").arg(&config).arg("-v");
    let server = Server::start(&mut command, &place, || connect(MQTT).is_ok())?;
    let mut truth = Truth::new("mqtt");
    capture::around(&folder.input(), &format!("tcp port {MQTT}"), || {
        talk(&mut truth)
    })?;
    drop(server);
    let log = std::fs::read_to_string(place.join("log"))?;
    truth.server = received(&log);
    for (name, count) in &truth.exchanges {
        let counted = truth.server.get(name).copied().unwrap_or(0);
        // A PUBLISH at QoS 0 is no request.
        let silent = truth.silent.get(name).copied().unwrap_or(0);
        ensure!(
            counted == count + silent,
            "{name}: mosquitto received {counted}, {count} were sent"
        );
    }
    args(folder, "mqtt", MQTT)?;
    folder.truth(&truth)?;
    let version = log
        .lines()
        .find_map(|line| line.split_once("mosquitto version "));
    let version = version.context("no version in the log")?.1;
    let version = version.split(' ').next().unwrap_or_default();
    let what = "MQTT 3.1.1, taught by scripts/protocols/mqtt.lua: two clients connect, subscribe, and publish at QoS 0, 1 \
        and 2; messages of several sizes, several under way at once, pushed ones between responses, pings, an \
        unsubscription and a refused version.";
    folder.readme(&format!("mosquitto {version}"), what)
}

fn talk(truth: &mut Truth) -> Result<()> {
    let mut reader = client("reader", truth)?;
    let mut writer = client("writer", truth)?;
    let filter = [&[0, 9][..], &text("home/#"), &[1]].concat();
    ask(&mut reader, &packet(0x82, &filter), &[0x90, 3, 0, 9, 1])?;
    add(&mut truth.exchanges, "SUBSCRIBE");
    // Nobody answers QoS 0; the ping behind it is answered when it was read.
    let both = [publish(0, None, b"\0\x01\xff"), packet(0xc0, &[])].concat();
    ask(&mut writer, &both, &[0xd0, 0])?;
    add(&mut truth.silent, "PUBLISH");
    add(&mut truth.exchanges, "PINGREQ");
    for (id, size) in [(1, 1), (2, 300), (3, 20_000)] {
        let message = publish(2, Some(id), &vec![b'p'; size]);
        ask(&mut writer, &message, &[0x40, 2, 0, id as u8])?;
        add(&mut truth.exchanges, "PUBLISH");
    }
    // QoS 2: two exchanges with one packet identifier. Two messages are under way at once.
    let two = [
        publish(4, Some(10), b"ten"),
        publish(4, Some(11), b"eleven"),
    ]
    .concat();
    ask(&mut writer, &two, &[0x50, 2, 0, 10, 0x50, 2, 0, 11])?;
    let release = [packet(0x62, &[0, 10]), packet(0x62, &[0, 11])].concat();
    ask(&mut writer, &release, &[0x70, 2, 0, 10, 0x70, 2, 0, 11])?;
    for name in ["PUBLISH", "PUBLISH", "PUBREL", "PUBREL"] {
        add(&mut truth.exchanges, name);
    }
    acknowledge(&mut reader, truth)?;
    let gone = [&[0, 10][..], &text("home/#")].concat();
    ask(&mut reader, &packet(0xa2, &gone), &[0xb0, 2, 0, 10])?;
    add(&mut truth.exchanges, "UNSUBSCRIBE");
    for stream in [&mut reader, &mut writer] {
        stream.write_all(&packet(0xe0, &[]))?;
        add(&mut truth.silent, "DISCONNECT");
    }
    let mut stale = connect(MQTT)?;
    let body = [&text("MQTT"), &[9, 2, 0, 60][..], &text("stale")].concat();
    ask(&mut stale, &packet(0x10, &body), &[0x20, 2, 0, 1])?;
    add(&mut truth.exchanges, "CONNECT");
    Ok(())
}

/// Reads the six messages that were published, and acknowledges those at QoS 1.
fn acknowledge(reader: &mut TcpStream, truth: &mut Truth) -> Result<()> {
    for _ in 0..6 {
        let mut first = [0];
        reader.read_exact(&mut first)?;
        let (mut size, mut shift) = (0, 0);
        loop {
            let mut digit = [0];
            reader.read_exact(&mut digit)?;
            size |= usize::from(digit[0] & 127) << shift;
            shift += 7;
            if digit[0] < 128 {
                break;
            }
        }
        let mut body = vec![0; size];
        reader.read_exact(&mut body)?;
        truth.pushed += 1;
        if first[0] & 6 != 0 {
            let id = body
                .get(11..13)
                .context("a message without an identifier")?;
            reader.write_all(&packet(0x40, id))?;
            add(&mut truth.silent, "PUBACK");
        }
    }
    Ok(())
}

/// What mosquitto logged that it received, by packet type.
fn received(log: &str) -> Counts {
    let mut counts = Counts::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Received ")
            && let Some((name, _)) = rest.split_once(" from")
        {
            add(&mut counts, name);
        } else if line.contains("New client connected from")
            || line.contains("Invalid protocol version")
        {
            add(&mut counts, "CONNECT");
        }
    }
    counts
}
