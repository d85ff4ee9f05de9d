//! The only place that knows every room: builds the pipeline that the options ask for, and runs it.

mod conversation;
mod daemon;
mod ladder;
mod live;
mod loss;
mod offline;
pub mod outlet;
mod outputs;
mod privileges;
mod report;
mod run;
pub mod select;
mod setup;
pub mod talk;
pub mod worker;

pub use daemon::{Caller, Forked};
pub use run::{Signals, run};
