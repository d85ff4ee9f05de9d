//! Live capture by programs in the kernel, at XDP and TC.
//!
//! Reads the rings that the programs in `tcpkit-ebpf` fill, makes frames in the order of their times. The only
//! place that names aya. What must be root's to do is done in [`open`]; the [`Engine`] that it makes needs no
//! privilege but for interfaces that appear later.

mod attach;
mod clsact;
mod cost;
mod doctor;
mod engine;
mod interfaces;
mod ladder;
mod log;
mod merge;
mod netlink;
mod object;
mod pace;
mod ring;
mod system;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;

use crate::source::live::{Engine, Interest};

pub use doctor::{clean, doctor};

/// Where frames are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hooks {
    /// TC, both ways.
    Tc,
    /// XDP for what the host receives, TC for what it sends.
    Xdp(XdpMode),
}

/// Who runs the program at XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// The driver where it can, else the stack.
    Auto,
    /// The driver.
    Native,
    /// The stack.
    Generic,
}

/// Why there can be no capture by eBPF here: a sentence for the user, who may have libpcap instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// An engine that captures, and what the user should know about how: each step down from what was asked for.
pub type Opened = (Box<dyn Engine>, Vec<String>);

/// Loads the programs and attaches them to the interfaces.
///
/// # Errors
/// When the kernel refuses the programs, or no interface takes them.
pub fn open(interest: &Interest, hooks: Hooks) -> Result<Opened, Refusal> {
    let (engine, notices) = engine::Rings::open(interest, hooks)?;
    Ok((Box::new(engine), notices))
}
