//! Live capture, against real servers in network namespaces.
//!
//! What a server counted is what tcpkit has to report, all of it exact, with every engine of this build. The tests
//! need root: without it they say so and pass, except where `CI=true` asks for all of them. Those that take more of a kernel than
//! this machine's may have are left out unless asked for; `cargo xtask vm` asks, on kernels that have it.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod bonds;
mod clients;
mod clsact;
mod counts;
mod disturbed;
mod doctor;
mod interfaces;
mod kernel;
mod life;
mod net;
mod output;
mod prometheus;
mod readers;
mod rings;
mod run;
mod scripts;
mod servers;
mod times;
mod top;

/// The engines that every count is checked with, as arguments.
const ENGINES: &[&[&str]] = &[
    &["--backend", "ebpf"],
    &["--xdp"],
    &["--xdp=generic"],
    &["--backend", "pcap"],
];
