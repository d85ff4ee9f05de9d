//! The only place that knows every room: builds the pipeline that the options ask for, and runs it.

mod conversation;
pub mod outlet;
mod readers;
mod report;
mod run;
pub mod select;
pub mod talk;
pub mod worker;

pub use run::{Signals, run};
