//! Collectors that are away, slow, refusing or broken: the run goes on, ends in time, and says so.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::pushing;
use crate::support::cases::Case;
use crate::support::client::ask;
use crate::support::served::free_port;
use crate::support::wait_for;

/// What a last push may take, and a machine that is busy beside.
const END: Duration = Duration::from_secs(8);

/// A server that does this with every connection; its address, and how many there were.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let (counted, serve) = (Arc::clone(&count), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    (url, count)
}

/// Reads a request, and says this.
fn answers(answer: impl Into<Vec<u8>>) -> impl Fn(TcpStream) + Send + Sync {
    let answer = answer.into();
    move |mut stream| {
        let time = Some(Duration::from_secs(20));
        stream.set_read_timeout(time).unwrap();
        if read_request(&stream).is_ok() {
            let _ = stream.write_all(&answer);
        }
    }
}

/// Reads a request to its end; what it holds is of no interest here.
fn read_request(stream: &TcpStream) -> std::io::Result<()> {
    let (mut stream, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    Ok(())
}

/// A run does what it does without a collector, ends in time, and says this in one line.
fn is_said(url: &str, words: &[&str]) {
    let begun = Instant::now();
    let output = pushing(&Case::named("redis-cli"), url).output().unwrap();
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && took < END, "{took:?}: {said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["type"], "summary");
    let told: Vec<_> = said
        .lines()
        .filter(|line| line.contains("--otlp"))
        .collect();
    assert_eq!(told.len(), 1, "{said}");
    for word in words {
        assert!(told[0].contains(word), "{word}: {said}");
    }
}

#[test]
fn one_that_is_away() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    is_said(&format!("http://{address}"), &["refused"]);
    is_said(
        "http://no-such-host.invalid:4318",
        &["no-such-host.invalid"],
    );
}

#[test]
fn one_that_refuses() {
    let refusal = |head: &str| format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
    for (head, words) in [
        (
            "400 Bad Request\r\nContent-Length: 9\r\n\r\nno \x1b[31m!\r\n",
            &["400", "no \\u{1b}[31m!"][..],
        ),
        ("401 Unauthorized", &["401"]),
        ("429 Too Many Requests\r\nRetry-After: 3600", &["429"]),
        (
            "503 Service Unavailable\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT",
            &["503"],
        ),
        (
            "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/",
            &["307"],
        ),
    ] {
        let (url, _) = server(answers(refusal(head)));
        is_said(&url, words);
    }
}

#[test]
fn one_that_is_broken() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let kind = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n";
    let rejected = b"\x0a\x08\x08\x07\x12\x04full".to_vec();
    let part = [
        format!("{kind}Content-Length: 10\r\n\r\n").into_bytes(),
        rejected,
    ]
    .concat();
    let undecodable = [
        format!("{kind}Content-Length: 3\r\n\r\n").into_bytes(),
        vec![0xff; 3],
    ]
    .concat();
    for (answer, words) in [
        (Vec::new(), &["--otlp"][..]),
        (b"\x00\xff\x16\x03garbage\r\n\r\n".to_vec(), &["--otlp"]),
        (page.into(), &["200", "application/x-protobuf"]),
        (undecodable, &["200"]),
        (
            format!("{kind}Content-Length: 9\r\n\r\n").into_bytes(),
            &["breaks off"],
        ),
        (part, &["7 of the values", "full"]),
        (vec![b'a'; 4 << 20], &["--otlp"]),
    ] {
        let (url, _) = server(answers(answer));
        is_said(&url, words);
    }
}

/// The time of a push bounds each of them, whatever drips.
#[test]
fn one_that_is_slow() {
    let (silent, _) = server(|_stream| std::thread::sleep(Duration::from_secs(60)));
    let (dripping, _) = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    for url in [silent, dripping] {
        is_said(&url, &["time"]);
    }
}

/// Nothing piles up for a collector that fails for long, others are answered meanwhile, and failures are counted.
#[test]
fn a_long_failure_grows_nothing_and_is_told_seldom() {
    let (url, pushes) = server(answers(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    ));
    let port = free_port();
    let mut command = pushing(&Case::named("redis-benchmark-16"), &url);
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "20");
    command.args(["--linger", "-P", &port.to_string()]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let after = |count: u64| {
        let begun = Instant::now();
        while pushes.load(Ordering::Relaxed) < count {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{pushes:?} pushes"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        memory(child.id())
    };
    let (before, later) = (after(10), after(30));
    assert!(later < before + (4 << 20), "{before} bytes, then {later}");
    let metrics = ask(("127.0.0.1", port), b"GET /metrics HTTP/1.0\r\n\r\n");
    let failed = "tcpkit_otlp_pushes_total{outcome=\"failed\"} ";
    let failed = metrics.lines().find_map(|line| line.strip_prefix(failed));
    assert!(failed.unwrap().parse::<u64>().unwrap() >= 29, "{metrics}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.matches("--otlp").count() <= 2,
        "{said}"
    );
}

/// A collector that says when to come back is left alone until then.
#[test]
fn retry_after_is_heeded() {
    let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
    let (url, pushes) = server(answers(answer));
    let port = free_port();
    let mut command = pushing(&Case::named("redis-cli"), &url);
    command.args(["--linger", "-P", &port.to_string()]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("no push", || pushes.load(Ordering::Relaxed) > 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pushes.load(Ordering::Relaxed), 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Anonymous memory in bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}
