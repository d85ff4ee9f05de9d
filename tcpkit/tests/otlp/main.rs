//! What an OpenTelemetry collector is pushed, and which collectors cannot keep a run from its work.
//!
//! What is pushed is read by a receiver on OpenTelemetry's own Python package, at once or behind a collector that somebody else
//! wrote; the oracle is the summary of the same run, or its snapshot, which other tests hold to what servers and clients knew.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;

mod bad;
mod collector;
mod receiver;
mod told;

use std::process::Command;

use support::cases::Case;
use support::tcpkit;

/// Counters of a command: their names where they are pushed, and in summaries and snapshots.
const OF_COMMANDS: [(&str, &str); 6] = [
    ("tcpkit.response.errors", "errors"),
    ("tcpkit.unanswered_requests", "unanswered"),
    ("tcpkit.key.hits", "hits"),
    ("tcpkit.key.misses", "misses"),
    ("tcpkit.request.bytes", "request_bytes"),
    ("tcpkit.response.bytes", "response_bytes"),
];

/// tcpkit over a case's capture file, which pushes there every 100 ms.
fn pushing(case: &Case, url: &str) -> Command {
    let mut command = tcpkit();
    // Arguments name scripts from the case's folder.
    command.current_dir(case.input().parent().unwrap());
    command.arg("-r").arg(case.input()).args(case.args());
    command.args(["-q", "--format", "json", "--otlp", url]);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "100");
    command
}
