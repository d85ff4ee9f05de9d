//! The receiver, and what it was told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::python;

/// A running receiver.
pub struct Receiver {
    child: Child,
    out: BufReader<ChildStdout>,
    pub port: u16,
}

impl Receiver {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Receiver::start`], with TLS.
    pub fn with_tls(certificate: &Path, key: &Path) -> Self {
        Self::with(&[certificate, key])
    }

    fn with(args: &[&Path]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/receiver.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python().display()));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("no receiver; `cargo xtask test` installs it"));
        Self { child, out, port }
    }

    /// What the next request held.
    pub fn next(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// All that was told, by the time that the sender has ended.
    pub fn all(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        let lines = self.out.by_ref().lines().map_while(Result::ok);
        lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Points by metric, then by the values of their attributes.
pub type Points = BTreeMap<String, BTreeMap<String, Value>>;

/// The points of a push, which may have been several requests; none is there twice.
pub fn points(requests: &[Value]) -> Points {
    let mut points = Points::new();
    let metrics = requests
        .iter()
        .flat_map(|request| request["metrics"].as_array().unwrap());
    for metric in metrics {
        let name = metric["name"].as_str().unwrap().to_owned();
        let family = points.entry(name).or_default();
        for point in metric["points"].as_array().unwrap() {
            let key = key(&point["attributes"]);
            assert!(family.insert(key, point.clone()).is_none());
        }
    }
    points
}

fn key(attributes: &Value) -> String {
    let values = [
        "port",
        "protocol",
        "command",
        "status",
        "error",
        "direction",
        "stage",
        "outcome",
    ];
    let values = values.iter().filter_map(|name| match &attributes[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    values.collect::<Vec<_>>().join(" ")
}

/// The value, in seconds, that this part of all are at or under: the middle of its bucket.
pub fn quantile(point: &Value, part: f64) -> f64 {
    let number = |name: &str| point[name].as_f64().unwrap();
    let rank = (part * number("count")).ceil().max(1.0);
    let mut reached = number("zeros");
    if reached >= rank {
        return 0.0;
    }
    let base = (-number("scale")).exp2();
    let mut buckets = point["buckets"].as_array().unwrap().iter();
    let reaches = |count: &Value| {
        reached += count.as_f64().unwrap();
        reached >= rank
    };
    let place = buckets.position(reaches).unwrap() as f64 + number("offset");
    f64::midpoint((place * base).exp2(), ((place + 1.0) * base).exp2())
}
