//! Lua scripts: their hooks are a sink, the protocols that they teach are protocols.
//!
//! Reads events in batches and the bytes of taught protocols; makes what scripts print, count and find.
//! A script has a VM and a thread of its own ([`host`]), so that nothing that it does reaches the
//! capture:
//!
//! 1. it is fed through a bounded queue, waited for over a file, passed by live;
//! 2. each call has a time ([`watch`]), all of it a memory limit; what is over either is switched off
//!    and named, and the run goes on;
//! 3. its globals hold nothing that could harm the host (`sandbox.lua`), and no FFI pointer.
//!
//! `docs/lua.md` is the page for those who write scripts.

mod api;
pub mod batch;
mod complaint;
pub mod dissector;
mod garbage;
pub mod heap;
pub mod hooks;
pub mod host;
pub mod json;
pub mod payloads;
pub mod print;
pub mod record;
pub mod sink;
pub mod taught;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may")]
mod tests;
pub mod vm;
pub mod watch;

pub use dissector::{Taught, Teacher};
pub use host::{Host, Loading, Policy, Settings};
pub use sink::LuaSink;
