//! tcpkit tells which requests were slow, and why, from the packets alone.
//!
//! The major components are, in the order that data takes:
//!
//! * [`source`]: yields [`source::Frame`]s: link-layer bytes with a timestamp.
//! * [`wire`]: decodes a frame into a [`wire::Packet`].
//! * [`flow`]: says whose conversation it is, and rebuilds both directions of it in order.
//! * [`protocol`]: cuts a direction's bytes into [`protocol::Message`]s.
//! * [`exchange`]: pairs every request with its own response.
//! * [`sink`]: prints, saves and counts what comes out as [`event::Event`]s.
//! * `lua`: runs scripts: their hooks are a sink, the protocols that they teach are protocols.
//! * [`serve`]: answers those who ask for statistics while the run goes on.
//! * [`top`]: draws the same figures in a terminal.
//! * [`pipeline`]: the only place that knows all of the above.
//!
//! A room names only the rooms above it in this list.

pub mod cli;
pub mod event;
pub mod exchange;
pub mod flow;
pub mod limits;
#[cfg(feature = "lua")]
pub mod lua;
pub mod pipeline;
pub mod protocol;
pub mod serve;
pub mod sink;
pub mod source;
pub mod top;
pub mod wire;
