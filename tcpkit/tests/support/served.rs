//! A run over a file that goes on answering after its end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use super::client::ask;
use super::tcpkit;

/// The run; dropped, it ends.
pub struct Served {
    child: Child,
    /// Where it answers.
    pub address: String,
    /// The objects that it printed: intervals, and last the summary.
    pub said: Vec<Value>,
}

impl Served {
    /// Runs over `file` to its end, with lines of JSON.
    pub fn start(file: &Path, args: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = tcpkit();
        command.arg("-r").arg(file).args(["-q", "--format", "json"]);
        command.args(["--linger", "-P", &address]).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut said: Vec<Value> = Vec::new();
        for line in out.lines() {
            said.push(serde_json::from_str(&line.unwrap()).unwrap());
            if said.last().is_some_and(|last| last["type"] == "summary") {
                break;
            }
        }
        Self {
            child,
            address,
            said,
        }
    }

    /// The summary.
    pub fn summary(&self) -> &Value {
        self.said.last().unwrap()
    }

    /// The body of an answer.
    pub fn body(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = ask(&self.address, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        body.to_owned()
    }

    /// What it tells.
    pub fn snapshot(&self) -> Value {
        serde_json::from_str(&self.body("/api/v1/snapshot")).unwrap()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of this host that nobody listens at. No two tests of a program are given the same.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}
