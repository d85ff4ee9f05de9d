//! Cases of HTTP, against nginx: the truth is its access log, line by line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::server::Server;
use super::truth::{Truth, add};
use super::{Case, Folder, capture, scratch};
use crate::shell;

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "http-keepalive",
        record: keepalive,
    },
    Case {
        name: "http-pipelined",
        record: pipelined,
    },
    Case {
        name: "http-bodies",
        record: bodies,
    },
    Case {
        name: "http-close",
        record: close,
    },
    Case {
        name: "http-secrets",
        record: secrets,
    },
];

const PORT: u16 = 8190;

const CONFIG: &str = r#"
daemon off;
worker_processes 1;
user root;
pid nginx.pid;
events { worker_connections 64; }
http {
    default_type text/plain;
    log_format line '$request_method|$request_uri|$status';
    access_log access.log line;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000;
    gzip on;
    gzip_min_length 1;
    gzip_types text/css;
    gzip_http_version 1.0;
    server {
        listen 127.0.0.1:8190;
        root www;
        location = /empty { return 204; }
        location = /moved { return 302 /elsewhere; }
        location = /teapot { return 418 "short and stout\n"; }
        location = /ready { return 200 "ok\n"; }
        location = /missing { return 404; }
    }
}
"#;

/// A running nginx.
struct Nginx {
    _server: Server,
    folder: PathBuf,
    version: String,
}

impl Nginx {
    fn start() -> Result<Self> {
        let folder = scratch("nginx")?;
        let www = folder.join("www");
        std::fs::create_dir_all(&www)?;
        std::fs::write(www.join("page.html"), "<p>hello</p>\n".repeat(20))?;
        std::fs::write(www.join("style.css"), numbers(6000))?;
        std::fs::write(www.join("large.bin"), "0123456789abcdef".repeat(2500))?;
        std::fs::write(www.join("nothing.txt"), "")?;
        std::fs::write(folder.join("nginx.conf"), CONFIG)?;
        let mut command = shell::program("nginx");
        command
            .arg("-p")
            .arg(&folder)
            .args(["-c", "nginx.conf", "-e", "error.log"]);
        let ready =
            || folder.join("nginx.pid").exists() && TcpStream::connect(("127.0.0.1", PORT)).is_ok();
        let server = Server::start(&mut command, &folder, ready)?;
        let version = version()?;
        Ok(Self {
            _server: server,
            folder,
            version,
        })
    }
}

impl Drop for Nginx {
    /// nginx' master ends its workers when it is asked to end; killed, it would leave them.
    fn drop(&mut self) {
        let Ok(pid) = std::fs::read_to_string(self.folder.join("nginx.pid")) else {
            return;
        };
        let _ = shell::output(shell::program("kill").args(["-TERM", pid.trim()]));
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// nginx says its version on standard error.
fn version() -> Result<String> {
    let output = shell::program("nginx")
        .arg("-v")
        .output()
        .context("nginx")?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said
        .trim()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Numbers without a pattern: gzip leaves several segments of them.
fn numbers(count: u32) -> String {
    let mut state = 1_u32;
    let mut text = String::new();
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("{:x} ", state >> 16));
    }
    text
}

/// A client on one connection. Requests are counted by method when they are answered.
struct Session {
    input: BufReader<TcpStream>,
    waiting: VecDeque<String>,
    truth: Truth,
}

impl Session {
    fn new() -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", PORT))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self {
            input: BufReader::new(stream),
            waiting: VecDeque::new(),
            truth: Truth::default(),
        })
    }

    /// Sends a head with `Host` added, and a body.
    fn send(&mut self, head: &str, body: &str) -> Result<()> {
        let bytes = self.request(head, body);
        self.write(&bytes)
    }

    /// The bytes of a request that will be answered.
    fn request(&mut self, head: &str, body: &str) -> String {
        self.waiting
            .push_back(head.split(' ').next().unwrap_or(head).to_owned());
        format!(
            "{}\r\nHost: test.example\r\n\r\n{body}",
            head.replace('\n', "\r\n")
        )
    }

    fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.input.get_mut().write_all(text.as_bytes())?)
    }

    fn ask(&mut self, head: &str) -> Result<()> {
        self.send(head, "")?;
        self.answer()
    }

    /// Reads one response, interim ones before it included.
    fn answer(&mut self) -> Result<()> {
        let method = self.waiting.pop_front().context("nothing was asked")?;
        let mut head = self.head()?;
        while head.status == 100 {
            self.truth.pushed += 1;
            head = self.head()?;
        }
        if method != "HEAD" && head.status != 204 && head.status != 304 {
            self.body(&head)?;
        }
        add(&mut self.truth.exchanges, &method);
        add(&mut self.truth.statuses, &head.status.to_string());
        Ok(())
    }

    fn head(&mut self) -> Result<Head> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .context(line)?;
        let mut head = Head {
            status,
            length: None,
            chunked: false,
        };
        loop {
            let line = self.line()?.to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => head.length = Some(value.parse()?),
                Some(("transfer-encoding", value)) => head.chunked = value == "chunked",
                Some(_) => {}
                None => return Ok(head),
            }
        }
    }

    fn body(&mut self, head: &Head) -> Result<()> {
        if head.chunked {
            while self.chunk()? > 0 {}
        } else if let Some(length) = head.length {
            self.input.read_exact(&mut vec![0; length])?;
        } else {
            self.input.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    fn chunk(&mut self) -> Result<usize> {
        let size = usize::from_str_radix(&self.line()?, 16)?;
        self.input.read_exact(&mut vec![0; size + 2])?;
        Ok(size)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => bail!("nginx closed the connection"),
        }
    }

    fn end(self, truth: &mut Truth) -> Result<()> {
        ensure!(self.waiting.is_empty(), "no response to {:?}", self.waiting);
        let pairs = [
            (self.truth.exchanges, &mut truth.exchanges),
            (self.truth.statuses, &mut truth.statuses),
        ];
        for (from, to) in pairs {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        }
        truth.pushed += self.truth.pushed;
        Ok(())
    }
}

/// What of a response's head says where its body ends.
struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
}

/// Records one case and compares the client's tally with the access log.
fn record(
    folder: &Folder,
    what: &str,
    traffic: impl FnOnce(&mut Truth) -> Result<()>,
) -> Result<()> {
    let nginx = Nginx::start()?;
    let log = nginx.folder.join("access.log");
    std::fs::write(&log, "")?;
    let mut truth = Truth::new("http");
    capture::around(&folder.input(), &format!("tcp port {PORT}"), || {
        traffic(&mut truth)
    })?;
    compare(&mut truth, &log)?;
    folder.args(&format!("-p {PORT}=http"))?;
    folder.truth(&truth)?;
    folder.readme(&nginx.version, what)
}

fn compare(truth: &mut Truth, log: &Path) -> Result<()> {
    let (mut methods, mut statuses) = (super::truth::Counts::new(), super::truth::Counts::new());
    for line in std::fs::read_to_string(log)?.lines() {
        let [method, _, status] = line.split('|').collect::<Vec<_>>()[..] else {
            bail!("{line}")
        };
        add(&mut methods, method);
        add(&mut statuses, status);
        add(&mut truth.server, line);
    }
    ensure!(
        methods == truth.exchanges,
        "nginx logged {methods:?}, not {:?}",
        truth.exchanges
    );
    ensure!(
        statuses == truth.statuses,
        "nginx logged {statuses:?}, not {:?}",
        truth.statuses
    );
    Ok(())
}

fn keepalive(folder: &Folder) -> Result<()> {
    let what = "One connection, one request at a time: bodies by length, chunked (gzip on the fly), empty, \
        HEAD, 204, 302, 304 by date, 404, 405, 416, ranges, an empty line before a request.";
    record(folder, what, |truth| {
        let mut session = Session::new()?;
        for head in [
            "GET /page.html HTTP/1.1",
            "GET /page.html?a=1&b=2 HTTP/1.1\nAccept-Encoding: gzip",
            "HEAD /page.html HTTP/1.1",
            "HEAD /style.css HTTP/1.1\nAccept-Encoding: gzip",
            "GET /style.css HTTP/1.1\nAccept-Encoding: gzip",
            "GET /nothing.txt HTTP/1.1",
            "GET /empty HTTP/1.1",
            "GET /moved HTTP/1.1",
            "GET /teapot HTTP/1.1",
            "GET /missing HTTP/1.1",
            "HEAD /missing HTTP/1.1",
            "DELETE /page.html HTTP/1.1",
            "OPTIONS /page.html HTTP/1.1",
            "GET /page.html HTTP/1.1\nIf-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
            "GET /large.bin HTTP/1.1\nRange: bytes=100-199",
            "GET /large.bin HTTP/1.1\nRange: bytes=0-9,20-29",
            "GET /large.bin HTTP/1.1\nRange: bytes=999999-",
        ] {
            session.ask(head)?;
        }
        session.write("\r\n")?;
        session.ask("GET /page.html HTTP/1.1\nConnection: close")?;
        session.end(truth)
    })
}

fn pipelined(folder: &Folder) -> Result<()> {
    let what = "Pipelined requests on two connections: ten in one segment, and twelve cut into segments of 37 \
        bytes; bodies by length, chunked and none, HEAD and 204 between them, POST with bodies.";
    record(folder, what, |truth| {
        let mut session = Session::new()?;
        let mut bytes = String::new();
        for _ in 0..2 {
            for head in PIPELINE {
                bytes += &session.request(head, "");
            }
        }
        session.write(&bytes)?;
        for _ in 0..2 * PIPELINE.len() {
            session.answer()?;
        }
        session.end(truth)?;
        let mut session = Session::new()?;
        let mut bytes = String::new();
        for _ in 0..2 {
            for head in PIPELINE {
                bytes += &session.request(head, "");
            }
            bytes += &session.request("POST /ready HTTP/1.1\nContent-Length: 11", "GET / HTTP/");
        }
        for piece in bytes.as_bytes().chunks(37) {
            session.input.get_mut().write_all(piece)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..2 * PIPELINE.len() + 2 {
            session.answer()?;
        }
        session.end(truth)
    })
}

const PIPELINE: &[&str] = &[
    "GET /page.html HTTP/1.1",
    "HEAD /page.html HTTP/1.1",
    "GET /style.css HTTP/1.1\nAccept-Encoding: gzip",
    "GET /empty HTTP/1.1",
    "GET /missing HTTP/1.1",
];

fn bodies(folder: &Folder) -> Result<()> {
    let what = "Request bodies: by length, chunked with extensions and a trailer, empty, one sent only after \
        100 Continue, one sent in pieces (nginx answers before all of it has come), and a large response.";
    record(folder, what, |truth| {
        let mut session = Session::new()?;
        session.send("POST /ready HTTP/1.1\nContent-Length: 13", "name=a&size=2")?;
        session.answer()?;
        session.send("POST /ready HTTP/1.1\nContent-Length: 0", "")?;
        session.answer()?;
        session.send(
            "POST /ready HTTP/1.1\nTransfer-Encoding: chunked",
            "5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: here\r\n\r\n",
        )?;
        session.answer()?;
        session.send("POST /ready HTTP/1.1\nContent-Length: 40", "0123456789")?;
        for piece in ["GET / HTTP", "/1.1\r\n\r\n..", "0123456789"] {
            std::thread::sleep(Duration::from_millis(20));
            session.write(piece)?;
        }
        session.answer()?;
        session.send(
            "POST /ready HTTP/1.1\nContent-Length: 5\nExpect: 100-continue",
            "",
        )?;
        session.continued()?;
        session.write("hello")?;
        session.answer()?;
        session.ask("GET /large.bin HTTP/1.1")?;
        session.end(truth)
    })
}

impl Session {
    /// Waits for the interim response that asks for the body.
    fn continued(&mut self) -> Result<()> {
        let head = self.head()?;
        ensure!(head.status == 100, "{} instead of 100", head.status);
        self.truth.pushed += 1;
        Ok(())
    }
}

fn close(folder: &Folder) -> Result<()> {
    let what = "HTTP/1.0, a connection a request: a body that ends when the server closes (gzip on the fly), \
        one by length, HEAD, 204, and HTTP/1.0 with keep-alive.";
    record(folder, what, |truth| {
        for head in [
            "GET /style.css HTTP/1.0\nAccept-Encoding: gzip",
            "GET /page.html HTTP/1.0",
            "HEAD /page.html HTTP/1.0",
            "GET /empty HTTP/1.0",
        ] {
            let mut session = Session::new()?;
            session.ask(head)?;
            session.end(truth)?;
        }
        let mut session = Session::new()?;
        session.ask("GET /page.html HTTP/1.0\nConnection: keep-alive")?;
        session.ask("GET /ready HTTP/1.0")?;
        session.end(truth)
    })
}

fn secrets(folder: &Folder) -> Result<()> {
    let what = "Requests with credentials: Authorization, Cookie, Proxy-Authorization and user information in a \
        target. No output may show a word that begins with hunter2.";
    record(folder, what, |truth| {
        truth.secrets = vec!["hunter2-token", "hunter2-cookie", "hunter2-proxy"];
        let mut session = Session::new()?;
        session.ask("GET /ready HTTP/1.1\nAuthorization: Bearer hunter2-token")?;
        session.ask("GET /ready HTTP/1.1\nCookie: session=hunter2-cookie")?;
        session.ask("GET /ready HTTP/1.1\nProxy-Authorization: Basic hunter2-proxy")?;
        session.end(truth)
    })
}
