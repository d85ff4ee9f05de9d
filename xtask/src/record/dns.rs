//! Cases of DNS, against dnsmasq with records of its own: the truth is its query log.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::truth::{Counts, Truth, add};
use super::{Case, Folder, capture, scratch};
use crate::shell;

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "dns-udp",
        record: udp,
    },
    Case {
        name: "dns-tcp",
        record: tcp,
    },
    Case {
        name: "dns-outstanding",
        record: outstanding,
    },
];

const PORT: u16 = 5390;

const RECORDS: &[&str] = &[
    "--host-record=www.example.test,192.0.2.1,2001:db8::1",
    "--host-record=mail.example.test,192.0.2.25",
    "--cname=alias.example.test,www.example.test",
    "--txt-record=example.test,v=spf1 -all,second string",
    "--mx-host=example.test,mail.example.test,10",
    "--srv-host=_sip._tcp.example.test,www.example.test,5060,1,2",
    "--ptr-record=1.2.0.192.in-addr.arpa,www.example.test",
    "--caa-record=example.test,0,issue,ca.example.test",
    "--local=/example.test/",
];

/// A running dnsmasq.
struct Dnsmasq {
    _server: Server,
    folder: PathBuf,
    version: String,
}

impl Dnsmasq {
    fn start() -> Result<Self> {
        let folder = scratch("dnsmasq")?;
        let mut command = shell::program("dnsmasq");
        let port = format!("--port={PORT}");
        let log = format!("--log-facility={}", folder.join("queries").display());
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--pid-file",
        ]);
        command.args([
            &port,
            "--listen-address=127.0.0.1,::1",
            "--bind-interfaces",
            "--no-resolv",
        ]);
        command
            .args(["--no-hosts", "--log-queries", &log])
            .args(RECORDS);
        let ready = || TcpStream::connect(("127.0.0.1", PORT)).is_ok();
        let server = Server::start(&mut command, &folder, ready)?;
        let version = shell::text(shell::program("dnsmasq").arg("--version"))?;
        let version = version
            .split("  ")
            .next()
            .unwrap_or_default()
            .to_lowercase();
        Ok(Self {
            _server: server,
            folder,
            version,
        })
    }

    /// Queries by type since the start, as it logged them.
    fn queries(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in std::fs::read_to_string(self.folder.join("queries"))?.lines() {
            let kind = line
                .split_once(" query[")
                .and_then(|(_, rest)| rest.split(']').next());
            if let Some(kind) = kind {
                // dnsmasq knows some types by number only.
                add(&mut counts, if kind == "type=257" { "CAA" } else { kind });
            }
        }
        Ok(counts)
    }
}

fn record(
    folder: &Folder,
    what: &str,
    traffic: impl FnOnce(&mut Truth) -> Result<()>,
) -> Result<()> {
    let server = Dnsmasq::start()?;
    let mut truth = Truth::new("dns");
    capture::around(&folder.input(), &format!("port {PORT}"), || {
        traffic(&mut truth)
    })?;
    truth.server = server.queries()?;
    ensure!(
        truth.server == truth.exchanges,
        "dnsmasq logged {:?}, not {:?}",
        truth.server,
        truth.exchanges
    );
    folder.args(&format!("-p {PORT}=dns"))?;
    folder.truth(&truth)?;
    folder.readme(&server.version, what)
}

/// One run of dig: type, name, options.
fn dig(truth: &mut Truth, host: &str, questions: &[(&str, &str)], options: &[&str]) -> Result<()> {
    let mut command = shell::program("dig");
    command.args([
        &format!("@{host}"),
        "-p",
        &PORT.to_string(),
        "+tries=1",
        "+time=2",
    ]);
    command.args(options);
    for (kind, name) in questions {
        command.args([*name, *kind]);
        add(&mut truth.exchanges, kind);
    }
    let said = shell::text(&mut command)?;
    for status in said.split("status: ").skip(1) {
        add(
            &mut truth.statuses,
            status.split(',').next().unwrap_or_default(),
        );
    }
    Ok(())
}

const QUESTIONS: &[(&str, &str)] = &[
    ("A", "www.example.test"),
    ("AAAA", "www.example.test"),
    ("A", "alias.example.test"),
    ("TXT", "example.test"),
    ("MX", "example.test"),
    ("SRV", "_sip._tcp.example.test"),
    ("PTR", "1.2.0.192.in-addr.arpa"),
    ("CAA", "example.test"),
    ("AAAA", "mail.example.test"),
    ("A", "nothing.example.test"),
    ("A", "elsewhere.test"),
    ("NS", "example.test"),
    ("SOA", "example.test"),
];

fn udp(folder: &Folder) -> Result<()> {
    let what = "dig over UDP, with and without EDNS, over IPv4 and IPv6: answers of many types, an alias, no \
        data, NXDOMAIN, REFUSED for a foreign name, a cookie, odd case.";
    record(folder, what, |truth| {
        for question in QUESTIONS {
            dig(truth, "127.0.0.1", &[*question], &[])?;
        }
        dig(
            truth,
            "127.0.0.1",
            &[("A", "www.example.test")],
            &["+noedns"],
        )?;
        dig(
            truth,
            "127.0.0.1",
            &[("TXT", "example.test")],
            &["+dnssec", "+bufsize=512"],
        )?;
        dig(truth, "::1", &[("A", "WWW.Example.TEST")], &["+nocookie"])?;
        dig(truth, "::1", &[("AAAA", "www.example.test")], &["+nsid"])
    })
}

fn tcp(folder: &Folder) -> Result<()> {
    let what = "DNS over TCP: dig with a connection a query and with one connection kept open, then three \
        queries in one segment and one cut after its length's first byte.";
    record(folder, what, |truth| {
        for question in &QUESTIONS[..5] {
            dig(truth, "127.0.0.1", &[*question], &["+tcp"])?;
        }
        dig(truth, "::1", &QUESTIONS[5..10], &["+tcp", "+keepopen"])?;
        let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let framed = |id, name| {
            let query = query(id, name);
            [&(query.len() as u16).to_be_bytes()[..], &query].concat()
        };
        let batch = [1, 2, 3].map(|id| framed(id, "www.example.test")).concat();
        stream.write_all(&batch)?;
        for _ in 0..3 {
            read_framed(&mut stream, truth)?;
        }
        let last = framed(4, "nothing.example.test");
        for piece in [&last[..1], &last[1..20], &last[20..]] {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        read_framed(&mut stream, truth)
    })
}

fn outstanding(folder: &Folder) -> Result<()> {
    let what = "Twenty queries from one UDP port, sent before the first answer is read, in random order of their \
        numbers; one is sent twice.";
    record(folder, what, |truth| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", PORT))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        for number in 0..20_u16 {
            let name = if number % 3 == 0 {
                "nothing.example.test"
            } else {
                "www.example.test"
            };
            socket.send(&query(number.wrapping_mul(7919), name))?;
        }
        let mut buffer = [0; 1500];
        for _ in 0..20 {
            let length = socket.recv(&mut buffer).context("no answer")?;
            count(truth, &buffer[..length]);
        }
        Ok(())
    })
}

fn read_framed(stream: &mut TcpStream, truth: &mut Truth) -> Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    count(truth, &answer);
    Ok(())
}

/// Counts the answer to a query of [`query`].
fn count(truth: &mut Truth, answer: &[u8]) {
    add(&mut truth.exchanges, "A");
    let code = answer.get(3).map_or(0, |flags| flags & 15);
    add(
        &mut truth.statuses,
        if code == 3 { "NXDOMAIN" } else { "NOERROR" },
    );
}

/// A query for the address of a name.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = Vec::from(id.to_be_bytes());
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}
