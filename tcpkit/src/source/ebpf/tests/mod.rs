//! Tests in the kernel: test runs with exact results, and live capture in network namespaces.
//!
//! They need root. Without it they say so and pass, unless `CI=true`.

mod cost;
mod frames;
mod goldens;
mod host;
mod live;
mod neighbours;
mod object;

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::system;
use crate::source::live::Interest;

/// Whether the kernel lets tests do what they have to; says why not.
fn is_privileged() -> bool {
    let missing = system::missing_capabilities();
    if missing.is_empty() {
        return true;
    }
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!is_ci, "tests in the kernel need {}", missing.join(", "));
    eprintln!("not tested: this needs {}", missing.join(", "));
    false
}

/// One test at a time: they measure and fill rings, and machines have few CPUs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port that most tests monitor.
const PORT: u16 = 6399;

/// What tests want unless they say otherwise: TCP and UDP of [`PORT`].
fn interest() -> Interest {
    Interest {
        ports: vec![PORT..=PORT],
        tcp: true,
        udp: true,
        ..Interest::default()
    }
}
